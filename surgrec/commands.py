"""The console script `surgrec`: report. Thin: parse, call, print."""

from pathlib import Path

from rich.console import Console

from surgrec.cli import Command, run


def main() -> None:
    """Entry point of `surgrec`."""
    run("surgrec", {"report": Command(function=report, positional="run_dir")})


def report(run_dir: str, out: Path = Path("report.html")) -> None:
    """One page about a run, without a request to the outside.

    Args:
        run_dir: Folder of the run.
        out: The HTML file to write.
    """
    from surgrec.evaluation.report import write_report  # here, so that `surgrec --help` does not wait for torch

    write_report(Path(run_dir), out)
    Console(stderr=True).print(f"report: {out}")
