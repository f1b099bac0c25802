"""The section on the corpora: what they hold, and how it looks."""

from collections.abc import Sequence

from surgrec.errors import StorageError
from surgrec.manifest import SPLITS
from surgrec.report.contact_sheet import contact_sheet
from surgrec.report.html import Markup, element, image, join, missing, note, table
from surgrec.report.runs import OpenedCorpora
from surgrec.shards import Source

_COLUMNS = ("source", "domain", "cases", "videos", "clips", *SPLITS, "hours", "MB")


def corpus_section(corpora: OpenedCorpora) -> Markup:
    """A table and contact sheets of every corpus, and a sentence for each that cannot be read."""
    parts = [element("h2", "Corpus")]
    for address, sources in corpora.sources.items():
        parts.append(note(element("code", address)))
        parts.append(table(_COLUMNS, [_row(source) for source in sources.values()], words=2))
        parts.append(element("div", *map(_sheet, sources.values()), class_="sheets"))
    parts += map(missing, corpora.missing.values())
    return element("section", *parts)


def _row(source: Source) -> Sequence[object]:
    entry = source.entry
    by_split = [len(source.index.rows(splits=[split])) for split in SPLITS]
    counts = (entry.cases, entry.videos, entry.samples, *by_split)
    return (source.name, entry.domain, *counts, f"{entry.hours:.2f}", f"{entry.bytes / 1e6:.1f}")


def _sheet(source: Source) -> Markup:
    words = f"{source.name}, {source.entry.domain}"
    try:
        sheet = contact_sheet(source, columns=8, rows=1)
    except StorageError as error:
        return missing(f"No frames of {source.name}: {error}.")
    picture = (
        image(sheet.picture, "jpeg", alt=f"frames of {source.name}") if sheet.picture else Markup()
    )
    bad = join(missing(f"A clip is missing: {reason}.") for reason in sheet.bad)
    return element("figure", element("figcaption", words), picture, bad)
