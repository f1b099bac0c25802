"""Write the audit of a split as one HTML page."""

from pathlib import Path

from surgrec.audit import Audit
from surgrec.report._html import render


def write_audit(audit: Audit, out: Path) -> None:
    """Write one page about an audit, without scripts and without network requests.

    The same audit gives the same bytes. The page has names of clips and cases, as the split has
    them.

    Args:
        audit: The audit.
        out: HTML file to write. Missing parent folders are created.

    Example:
        >>> write_audit(audit_split(split), Path("audit.html"))
    """
    page = render(
        "audit.html.j2",
        audit=audit,
        parts=[
            [part.part, *(f"{n:,}" for n in (part.clips, part.cases, part.videos, part.classes))]
            for part in audit.parts
        ],
        baselines=[
            [row.name, *(f"{x:.2%}" for x in (row.accuracy, row.balanced_accuracy, row.macro_f1))]
            for row in audit.baselines
        ],
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding="utf-8")
