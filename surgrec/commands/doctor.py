"""`surgrec doctor`: check this machine."""

from collections.abc import Sequence
from dataclasses import asdict

from surgrec.doctor import (
    Finding,
    examine_corpus,
    examine_folder,
    examine_machine,
    examine_programs,
)
from surgrec.terminal import escape, print_json, print_result, result_table, spinner
from surgrec.text import counted

_SIGNS = {"good": "[green]ok[/green]", "note": "[yellow]note[/yellow]", "fault": "[red]FAULT[/red]"}


def doctor(
    corpus: list[str] | None = None, *, folder: str | list[str] = ".", json: bool = False
) -> int:
    """Check this machine: programs, packages, GPUs, limits, folders, and corpora if any are named.

    A fault makes a command fail; its line gives the remedy. A note names a limit. Exit status 1:
    there is a fault. The check takes about ten seconds and leaves no file.

    Args:
        corpus: Corpora to read a clip of each source from: folders or s3://bucket/prefix.
        folder: Folder for runs, corpora or caches, or a list of them: free space, rights and locks
            are checked. In s3://bucket/prefix, an object is written, read and deleted.
        json: Print the findings as JSON.

    Example:
        surgrec doctor
        surgrec doctor s3://hospital/corpus --folder "['runs', '/scratch/me']"
    """
    with spinner("checking") as status:
        findings = [*examine_programs(), *examine_machine()]
        for each in folder if isinstance(folder, list) else [folder]:
            findings += examine_folder(each)
        for address in corpus or ():
            status.update(f"reading {escape(address)}")
            findings += examine_corpus(address)

    if json:
        print_json([asdict(finding) for finding in findings])
    else:
        _print(findings)
    return int(any(finding.state == "fault" for finding in findings))


def _print(findings: Sequence[Finding]) -> None:
    table = result_table(
        "this machine", left=("", "what", "found", "what to do"), right=(), wrap=True
    )
    for finding in findings:
        words = (finding.what, finding.found, finding.remedy)
        table.add_row(_SIGNS[finding.state], *map(escape, words))
    print_result(table)

    faults = sum(finding.state == "fault" for finding in findings)
    if faults:
        print_result(f"[red]{counted(faults, 'fault')}[/red]")
