"""Labels of videos, read from annotation files.

A reader turns one file layout into `Label`s. `read_labels` chooses the reader by the suffix of the
file. To support another layout, add a function and an entry in `READERS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from surgrec.csv_table import read_csv_rows
from surgrec.errors import ManifestError

_COLUMNS = ("task", "start_s", "end_s", "value")


@dataclass(frozen=True, kw_only=True)
class Label:
    """A value of a task over a time segment of a video or of a clip."""

    task: str
    """Name of the task, such as `phase`."""
    start_s: float
    """Start of the segment, seconds from the start of the video, or in a shard of the clip."""
    end_s: float
    """End of the segment, seconds, after `start_s`."""
    value: str
    """Value of the task, such as `dissection`."""


def read_labels(path: Path) -> list[Label]:
    """Return the labels of one video, sorted by time.

    Args:
        path: An annotation file. Its suffix, in lower case, must be a key of `READERS`.

    Raises:
        ManifestError: The suffix is unknown, or the reader cannot use the file.

    Example:
        >>> read_labels(Path("phases/2024-017.csv"))[0]
        Label(task='phase', start_s=0.0, end_s=95.5, value='dissection')
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ManifestError(
            f"{path} has the suffix {path.suffix!r}, but a file of labels ends in "
            f"{' or '.join(READERS)}; convert it"
        )
    return sorted(
        reader(path), key=lambda label: (label.start_s, label.end_s, label.task, label.value)
    )


def read_csv(path: Path) -> list[Label]:
    """Return the labels of a CSV file with the columns task, start_s, end_s, value.

    Raises:
        ManifestError: The file cannot be read, or a row is not a time segment with a task and a
            value.
    """
    labels = []
    for line, row in read_csv_rows(path, required=_COLUMNS):
        context = f"{path}, line {line}"
        try:
            start_s, end_s = float(row["start_s"]), float(row["end_s"])
        except ValueError:
            raise ManifestError(
                f"{context}: start_s is {row['start_s']!r} and end_s is {row['end_s']!r}; "
                "write both as numbers of seconds"
            ) from None

        if not 0 <= start_s < end_s < float("inf"):
            raise ManifestError(
                f"{context}: start_s is {start_s:g} and end_s is {end_s:g}; "
                "start_s must be 0 or more, and end_s must be after start_s"
            )
        if not row["task"] or not row["value"]:
            raise ManifestError(
                f"{context}: task is {row['task']!r} and value is {row['value']!r}; fill in both"
            )
        labels.append(Label(task=row["task"], start_s=start_s, end_s=end_s, value=row["value"]))
    return labels


READERS: Mapping[str, Callable[[Path], list[Label]]] = {".csv": read_csv, ".tsv": read_csv}
"""Readers of annotation files, by suffix."""
