"""`surgrec report`: one HTML page about runs."""

from pathlib import Path

from surgrec.commands._train_extra import train_extra
from surgrec.terminal import escape, say


def report(run_dirs: list[str], out: Path = Path("report.html")) -> None:
    """Write one HTML page about one or several runs. The page makes no network request.

    Args:
        run_dirs: Folders of the runs.
        out: HTML file to write.

    Example:
        surgrec report runs/jepa runs/mae --out report.html
    """
    with train_extra():
        from surgrec.report import write_report

    write_report([Path(run_dir) for run_dir in run_dirs], out)
    say(escape(f"report: {out}"))
