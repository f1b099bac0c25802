"""Write HTML pages: runs with their corpora and evaluations; the audit of a split.

Names are imported on first use: only `write_report` needs torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from surgrec.report._audit_page import write_audit
    from surgrec.report._page import write_report

__all__ = ["write_audit", "write_report"]

_FILE_OF = {
    "write_audit": "surgrec.report._audit_page",
    "write_report": "surgrec.report._page",
}


def __getattr__(name: str) -> Any:
    if name not in _FILE_OF:
        raise AttributeError(f"module 'surgrec.report' has no attribute {name!r}")
    return getattr(import_module(_FILE_OF[name]), name)
