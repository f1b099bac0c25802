"""Audit of evaluation splits: leaks, odd labels, sizes, baselines. No video, no torch.

Example:
    >>> audit = audit_split(read_split_clips(["splits/kvasir-capsule"]))
    >>> [finding.name for finding in audit.failures]
    ['shared_cases', 'shared_times', 'neighbors', 'shared_cases', 'equal_parts']
"""

from surgrec.audit._audit import Audit, audit_split, require_passed
from surgrec.audit._clips import Clip, SplitClips
from surgrec.audit._columns import Columns
from surgrec.audit._corpus import clips_of
from surgrec.audit._findings import FINDINGS, Finding
from surgrec.audit._pretraining import check_pretraining
from surgrec.audit._published import TableAudit, audit_table
from surgrec.audit._rows import is_header
from surgrec.audit._split import read_split_clips
from surgrec.audit._table_numbers import PublishedMetric
from surgrec.audit._terminal_table import print_audit

__all__ = [
    "FINDINGS",
    "Audit",
    "Clip",
    "Columns",
    "Finding",
    "PublishedMetric",
    "SplitClips",
    "TableAudit",
    "audit_split",
    "audit_table",
    "check_pretraining",
    "clips_of",
    "is_header",
    "print_audit",
    "read_split_clips",
    "require_passed",
]
