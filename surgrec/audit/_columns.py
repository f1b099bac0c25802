"""Columns of a table of clips: those that a user names, and the usual names."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass

from surgrec.errors import ManifestError
from surgrec.text import one_line


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Columns of a table with a header. Empty: the usual names are tried."""

    path: str = ""
    """Name of the clip."""
    label: str = ""
    """Its label."""
    part: str = ""
    """Its part: train, val or test."""
    case: str = ""
    """Its case."""
    patient: str = ""
    """Patient of the case; without a case, this is the case."""
    start: str = ""
    """Its start, a number."""
    end: str = ""
    """Its end, a number."""


_USUAL = {
    "path": ("path", "file", "filename", "file_name", "file-name", "video_path", "clip_path",
             "clip", "video", "name", "image"),
    "label": ("label", "class", "target", "y", "class-name", "class_name", "label_name"),
    "part": ("split", "part", "subset", "partition"),
    "case": ("case", "case_id"),
    "patient": ("patient", "patient_id"),
    "start": ("start", "start_s", "start_frame"),
    "end": ("end", "end_s", "end_frame"),
}  # fmt: skip


def header_of(line: str, columns: Columns) -> list[str]:
    """Return the columns of a header line; empty if the line is a row."""
    delimiter = max(",;\t", key=line.count)
    cells = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
    names = {columns.path} if columns.path else set(_USUAL["path"])
    is_header = any(cell.lower() in names or cell in names for cell in cells)
    return cells if is_header and (len(cells) > 1 or columns.path) else []


def chosen_columns(place: str, header: Sequence[str], columns: Columns) -> dict[str, str]:
    """Return the column of each property of a clip, of those that there are.

    Args:
        place: File or row, for errors.
        header: Names of all columns.
        columns: Names that the user gave.

    Raises:
        ManifestError: A given column is missing, or no column has the names of clips.
    """
    chosen = {}

    # Of several usual names, the first of the list is taken.
    for key, usual in _USUAL.items():
        wanted = getattr(columns, key)
        names = [
            name for name in header if name == wanted or (not wanted and name.lower() in usual)
        ]
        names.sort(key=lambda name: usual.index(name.lower()) if name.lower() in usual else 0)
        if wanted and not names:
            raise ManifestError(
                f"{place} has no column {wanted!r} (it has {one_line(', '.join(header), 200)}); "
                f"correct --columns.{key}"
            )
        if names:
            chosen[key] = names[0]

    if "path" not in chosen:
        raise ManifestError(
            f"{place} has no column for the name of a clip (it has "
            f"{one_line(', '.join(header), 200)}); name it with --columns.path"
        )
    return chosen
