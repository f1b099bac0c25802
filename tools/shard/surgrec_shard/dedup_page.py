"""The HTML page of near-duplicates: one file without scripts, pictures or links."""

from html import escape

from surgrec_shard.dedup import Duplicate, Duplicates

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { border-bottom: 1px solid #ccc; padding: .3rem .6rem; text-align: left }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
"""
_HEAD = (
    *("video", "split", "time, s", "shows the same as", "split", "time, s", "note"),
    *("speed", "seconds", "similarity"),
)
_NUMBERS = 3
"""Columns of numbers, at the right."""


def dedup_page(duplicates: Duplicates, corpus: str, against: str = "") -> str:
    """Return a page with all copies. It has the names of the corpora and their addresses.

    Args:
        duplicates: The result of a search.
        corpus: Address of the searched corpus.
        against: Address of the other corpus; empty if there is none.
    """
    title = f"Near-duplicates in {corpus}" + (f" and {against}" if against else "")
    known = "".join(f"<li>{escape(overlap.sentence())}</li>" for overlap in duplicates.known)
    documented = f"<h2>Documented overlaps</h2><ul>{known}</ul>" if known else ""
    rows = "".join(_row(_cells(row), "td") for row in duplicates.found)
    table = f"<table><thead>{_row(_HEAD, 'th')}</thead><tbody>{rows}</tbody></table>"

    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>"
        f"<p>{escape(duplicates.summary())}</p>{documented}"
        f"{table if duplicates.found else ''}</body></html>\n"
    )


def _cells(row: Duplicate) -> tuple[str, ...]:
    return (
        *(f"{row.source}/{row.video}", row.split, f"{row.start_s:g}-{row.end_s:g}"),
        *(f"{row.other_source}/{row.other_video}", row.other_split),
        f"{row.other_start_s:g}-{row.other_end_s:g}",
        *(", ".join(row.notes()), f"{row.speed:.2f}", str(row.seconds), f"{row.similarity:.2f}"),
    )


def _row(cells: tuple[str, ...], tag: str) -> str:
    texts, numbers = cells[:-_NUMBERS], cells[-_NUMBERS:]
    text = "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in texts)
    number = "".join(f'<{tag} class="number">{escape(cell)}</{tag}>' for cell in numbers)
    return f"<tr>{text}{number}</tr>\n"
