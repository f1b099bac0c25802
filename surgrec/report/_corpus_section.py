"""Draw the section about corpora: their sizes and some of their frames."""

from dataclasses import dataclass
from itertools import islice

from markupsafe import Markup

from surgrec.errors import StorageError
from surgrec.manifest import SPLITS
from surgrec.report._contact_sheet import ContactSheet, contact_sheet
from surgrec.report._html import render
from surgrec.report._logged_run import OpenedCorpora
from surgrec.shards import Source

_COLUMNS = ("source", "domain", "cases", "videos", "clips", *SPLITS, "hours", "MB")

_MOST_SHEETS = 40
"""Sources of a corpus whose frames are shown. The table lists all sources."""


@dataclass(frozen=True, kw_only=True)
class _Frames:
    """Frames of one source, or the reason why they cannot be read."""

    source: Source
    sheet: ContactSheet | None
    error: str = ""


def corpus_section(corpora: OpenedCorpora) -> Markup:
    """Return a table and contact sheets of each corpus, and a sentence for each unreadable one."""
    return render(
        "corpus.html.j2",
        columns=_COLUMNS,
        corpora={
            address: (
                [_row(source) for source in sources.values()],
                [_frames(source) for source in islice(sources.values(), _MOST_SHEETS)],
            )
            for address, sources in corpora.sources.items()
        },
        unreadable=list(corpora.missing.values()),
    )


def _row(source: Source) -> list[object]:
    entry = source.entry
    clips_by_split = [len(source.index.rows(splits=[split])) for split in SPLITS]
    counts = (entry.cases, entry.videos, entry.samples, *clips_by_split)
    size = (f"{entry.hours:.2f}", f"{entry.bytes / 1e6:.1f}")
    return [source.name, entry.domain, *counts, *size]


def _frames(source: Source) -> _Frames:
    try:
        return _Frames(source=source, sheet=contact_sheet(source, columns=8, rows=1))
    except StorageError as error:
        return _Frames(source=source, sheet=None, error=str(error))
