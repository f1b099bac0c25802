"""The console script `surgrec`: report. Thin: parse, call, print."""

from pathlib import Path

from rich.console import Console

from surgrec.cli import Command, run
from surgrec.errors import SetupError


def main() -> None:
    """Entry point of `surgrec`."""
    run("surgrec", {"report": Command(function=report, positional="run_dir")})


def report(run_dir: str, out: Path = Path("report.html")) -> None:
    """One page about a run, without a request to the outside.

    Args:
        run_dir: Folder of the run.
        out: The HTML file to write.
    """
    try:
        from surgrec.evaluation.report import write_report  # here, so that `surgrec --help` does not wait for torch
    except ModuleNotFoundError as error:
        raise SetupError(f"{error.name} is not installed, which a report needs: pip install 'surgrec[train]'") from None
    write_report(Path(run_dir), out)
    Console(stderr=True).print(f"report: {out}")
