"""`surgrec browse`: corpora, runs and evaluations in a web browser."""

from typing import Annotated

from surgrec.errors import SetupError, how_to_install
from surgrec.ranges import Range
from surgrec.terminal import escape, print_json, print_result, say, spinner


def browse(
    address: list[str],
    *,
    port: Annotated[int, Range(0, 65_535)] = 8765,
    json: bool = False,
) -> None:
    """Show corpora, runs and evaluations in a web browser on this machine, until Ctrl-C.

    The pages are served to 127.0.0.1 only, to those who know the token in the printed address.
    Nothing is changed, no file outside the named folders can be reached, and no page makes a
    request to another machine. From another machine, use a tunnel:
    ssh -L 8765:127.0.0.1:8765 HOST

    Args:
        address: Corpora (folders or s3://bucket/prefix), runs, and results of `surgrec evaluate`.
            Name the corpus beside an evaluation to watch its errors.
        port: Port of the server; 0: any free one.
        json: Print the address as JSON.

    Example:
        surgrec browse /data/corpus
        surgrec browse /data/corpus runs/jepa runs/mae --port 9000
    """
    try:
        from surgrec.browse import open_subjects, serve
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("starlette", "uvicorn"):
            raise
        raise SetupError(f"{package} is not installed; {how_to_install('browse')}") from error

    def started(url: str) -> None:
        if json:
            print_json({"url": url})
        else:
            print_result(escape(url))
            say("open this address in a browser on this machine; Ctrl-C ends the server")

    with spinner("opening"):
        subjects = open_subjects(address)
    serve(subjects, port, started)
    say("the server has ended")
