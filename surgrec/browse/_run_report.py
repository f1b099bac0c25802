"""The page of `surgrec report` about a run, with its reconstructions, made when it is asked for."""

import tempfile
from collections.abc import Set
from pathlib import Path

from starlette.responses import Response

from surgrec.browse._inside import check_all_inside
from surgrec.browse._run_logs import BrowsedRun
from surgrec.errors import ConfigError, SetupError
from surgrec.runs import read_plan

_HEADERS = {
    "Content-Security-Policy": (
        "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}
"""The page holds its own styles and pictures, and no script."""


def report_answer(run: BrowsedRun, corpora: Set[str]) -> Response:
    """Return the report of a run as a page of its own.

    Args:
        run: The run.
        corpora: Addresses of the corpora that may be read.

    Raises:
        ConfigError: The run draws from a corpus that was not named, or is damaged; or a link leads
            out of the run or of a corpus.
        SetupError: A package of the extra `train` is missing.
    """
    check_all_inside(run.folder)

    # A report shows clips, so the user must have named every corpus it reads.
    named = {_settled(each) for each in corpora}
    others = [each for each in read_plan(run.folder)["corpora"] if _settled(each) not in named]
    if others:
        raise ConfigError(
            f"the report of {run.address} shows clips of {others[0]}, which was not named; start "
            "`surgrec browse` with this address, too"
        )
    for each in named:
        if not each.startswith("s3://"):
            check_all_inside(Path(each))

    try:
        from surgrec.report import write_report
    except ModuleNotFoundError as error:
        raise SetupError(
            f"{error.name} is not installed, which the report needs; install SurgRec with the "
            "extra [train]"
        ) from error

    with tempfile.TemporaryDirectory(prefix="surgrec-report-") as folder:
        page = Path(folder) / "report.html"
        write_report([run.folder], page)
        return Response(page.read_bytes(), media_type="text/html", headers=_HEADERS)


def _settled(address: str) -> str:
    """Return an address in the form in which equal ones are equal texts."""
    if address.startswith("s3://"):
        return address.rstrip("/")
    return str(Path(address).expanduser().resolve())
