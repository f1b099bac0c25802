"""The style with which every page begins: reports, comparisons and the pages of the browser."""

from pathlib import Path

PAGE_STYLE = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
"""A style sheet. A room adds its own rules behind it."""
