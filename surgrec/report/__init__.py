"""Write one HTML page about runs, their corpora and their evaluations."""

from surgrec.report._page import write_report

__all__ = ["write_report"]
