"""Labels of videos, read from annotation files.

A reader turns one file layout into lines and their `Label`s. `read_labels` chooses the reader by
the suffix of the file. To support another layout, add a function and an entry in `READERS`.
"""

from collections.abc import Callable, Iterator, Mapping
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


@dataclass(frozen=True, kw_only=True)
class VideoLabels:
    """The labels of one video, from its annotation file."""

    labels: tuple[Label, ...] = ()
    """Sorted by time."""
    lines: tuple[int, ...] = ()
    """Line of each label in the file."""
    zero_lengths: int = 0
    """Rows that end at their start. They label no frame, so they are not in `labels`."""


def read_labels(path: Path) -> VideoLabels:
    """Return the labels of one video.

    Args:
        path: An annotation file. Its suffix, in lower case, must be a key of `READERS`.

    Raises:
        ManifestError: The suffix is unknown, or the reader cannot use the file.

    Example:
        >>> read_labels(Path("phases/2024-017.csv")).labels[0]
        Label(task='phase', start_s=0.0, end_s=95.5, value='dissection')
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ManifestError(
            f"{path} has the suffix {path.suffix!r}, but a file of labels ends in "
            f"{' or '.join(READERS)}; convert it"
        )

    rows = list(reader(path))
    segments = sorted(
        ((line, label) for line, label in rows if label.start_s < label.end_s),
        key=lambda row: (row[1].start_s, row[1].end_s, row[1].task, row[1].value, row[0]),
    )
    return VideoLabels(
        labels=tuple(label for _, label in segments),
        lines=tuple(line for line, _ in segments),
        zero_lengths=len(rows) - len(segments),
    )


def read_csv(path: Path) -> Iterator[tuple[int, Label]]:
    """Yield the lines and labels of a CSV file with the columns task, start_s, end_s, value.

    Raises:
        ManifestError: The file cannot be read, or a row is not a time segment with a task and a
            value.
    """
    for line, row in read_csv_rows(path, required=_COLUMNS):
        context = f"{path}, line {line}"
        try:
            start_s, end_s = float(row["start_s"]), float(row["end_s"])
        except ValueError:
            raise ManifestError(
                f"{context}: start_s is {row['start_s']!r} and end_s is {row['end_s']!r}; "
                "write both as numbers of seconds"
            ) from None

        if not 0 <= start_s <= end_s < float("inf"):
            raise ManifestError(
                f"{context}: start_s is {start_s:g} and end_s is {end_s:g}; "
                "start_s must be 0 or more, and end_s must not be before start_s"
            )
        if not row["task"] or not row["value"]:
            raise ManifestError(
                f"{context}: task is {row['task']!r} and value is {row['value']!r}; fill in both"
            )
        yield line, Label(task=row["task"], start_s=start_s, end_s=end_s, value=row["value"])


READERS: Mapping[str, Callable[[Path], Iterator[tuple[int, Label]]]] = {
    ".csv": read_csv,
    ".tsv": read_csv,
}
"""Readers of annotation files, by suffix."""
