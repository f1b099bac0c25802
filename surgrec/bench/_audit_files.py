"""The findings that `surgrec audit --json` printed."""

from typing import TypedDict


class FindingRow(TypedDict):
    """One finding about a split."""

    name: str
    severity: str
    sentence: str
    allowed: bool


class AuditFile(TypedDict):
    """The part of an audit's output that a benchmark reads."""

    findings: list[FindingRow]


def fails(finding: FindingRow) -> bool:
    """Return whether a finding makes an audit fail."""
    return finding["severity"] == "fail" and not finding["allowed"]
