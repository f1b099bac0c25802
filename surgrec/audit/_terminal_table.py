"""Print an audit on the terminal."""

from rich.table import Table

from surgrec.audit._audit import Audit
from surgrec.audit._published import TableAudit
from surgrec.terminal import escape, print_result, result_table
from surgrec.text import one_line

_COLORS = {"fail": "red", "warn": "yellow", "note": "cyan"}
_NAME_CHARACTERS = 60
_SHOWN_EXAMPLES = 3


def print_audit(audit: Audit | TableAudit) -> None:
    """Print an audit on standard output.

    Args:
        audit: Of a split: sizes, findings, baselines and the result are printed. Of a published
            table: its suspicious cells.
    """
    if isinstance(audit, TableAudit):
        _print_table(audit)
    else:
        _print_split(audit)


def _print_split(audit: Audit) -> None:
    name = escape(one_line(audit.split, _NAME_CHARACTERS))
    sizes = result_table(
        f"{name}; a case is {escape(audit.case_rule)}",
        left=("part",),
        right=("clips", "cases", "videos", "classes"),
    )
    for part in audit.parts:
        numbers = (part.clips, part.cases, part.videos, part.classes)
        sizes.add_row(part.part, *(f"{number:,}" for number in numbers))
    print_result(sizes)

    if audit.findings:
        print_result(_findings(audit))
    if audit.baselines:
        _print_baselines(audit)
    if audit.precision is not None:
        print_result(
            f"{audit.precision.level:.0%} interval of an accuracy near a half: "
            f"±{audit.precision.clips:.1%} if clips were independent, up to "
            f"±{audit.precision.cases:.1%} if the clips of a case are alike"
        )
    for sentence in audit.overrides:
        print_result(f"[yellow]{escape(sentence)}[/yellow]")
    failures = sorted({finding.name for finding in audit.failures})
    print_result(f"[red]failed[/red]: {', '.join(failures)}" if failures else "passed")


def _findings(audit: Audit) -> Table:
    table = result_table("", left=("", "finding", "parts", "sentence"), right=(), wrap=True)
    for finding in audit.findings:
        color = _COLORS[finding.severity]
        severity = "allowed" if finding.allowed else finding.severity
        examples = f" ({', '.join(finding.examples[:_SHOWN_EXAMPLES])})" if finding.examples else ""
        table.add_row(
            f"[{color}]{severity}[/{color}]",
            finding.name,
            ", ".join(finding.parts),
            escape(f"{finding.sentence}{examples}; {finding.remedy}"),
        )
    return table


def _print_baselines(audit: Audit) -> None:
    table = result_table(
        "test scores of classifiers that look at no clip",
        left=("baseline",),
        right=("accuracy", "balanced accuracy", "macro F1"),
    )
    for row in audit.baselines:
        scores = (row.accuracy, row.balanced_accuracy, row.macro_f1)
        table.add_row(row.name, *(f"{score:.2%}" for score in scores))
    print_result(table)


def _print_table(audit: TableAudit) -> None:
    table = result_table(
        f"cells of {escape(audit.table)}, {audit.clips} test clips",
        left=("row", "column", "metric", "value", "finding"),
        right=(),
        wrap=True,
    )

    for cell in audit.cells:
        findings = [f"always {name}" for name in cell.constant[:_SHOWN_EXAMPLES]]
        findings += ["no fraction of n"] if cell.fraction is False else []
        if findings:
            names = (cell.row, cell.column, cell.metric, cell.printed, ", ".join(findings))
            table.add_row(*map(escape, names))

    if table.row_count:
        print_result(table)
    for sentence in audit.sentences or ["no cell is suspicious"]:
        print_result(escape(sentence))
    for sentence in audit.remarks:
        print_result(f"[yellow]{escape(sentence)}[/yellow]")
