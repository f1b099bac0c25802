"""Lists of stretches that a user does not want stored: read from a CSV file, then left out."""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from surgrec.annotations import VideoLabels
from surgrec.errors import ManifestError
from surgrec.table_files import read_table_rows
from surgrec_shard.sampling import Frames

REASON = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
"""A word that is published in `dropped.parquet`."""


@dataclass(frozen=True, kw_only=True)
class ListedStretch:
    """A stretch of a video that its user does not want stored, seconds."""

    start_s: float
    end_s: float
    reason: str
    """One word, published in `dropped.parquet`; empty: none is given."""


@dataclass(kw_only=True)
class _Span:
    """The frames of a listed stretch."""

    first: int
    end: int
    reason: str
    dropped: tuple[int, int] | None = None
    """The first dropped frame, and the one behind the last."""


def read_listed(path: Path) -> tuple[ListedStretch, ...]:
    """Return the stretches of a CSV file with the columns start_s, end_s and perhaps reason.

    Raises:
        ManifestError: The file cannot be read, or a row is not a stretch.
    """
    listed = []
    for line, row in read_table_rows(path, required=("start_s", "end_s"), optional=("reason",)):
        context = f"{path}, line {line}"
        start_s, end_s = (_seconds(row[name], name, context) for name in ("start_s", "end_s"))

        if end_s <= start_s:
            raise ManifestError(
                f"{context}: the stretch ends at {end_s:g} s, but starts at {start_s:g} s; give "
                "an end after the start"
            )

        reason = row.get("reason", "")
        if reason and not REASON.fullmatch(reason):
            raise ManifestError(
                f"{context}: the reason {reason!r:.60} is not one word of lower-case letters, "
                "digits, '_' and '-'; use such a word, it is published"
            )

        listed.append(ListedStretch(start_s=start_s, end_s=end_s, reason=reason))
    return tuple(sorted(listed, key=lambda stretch: (stretch.start_s, stretch.end_s)))


def listed_by(labels: VideoLabels) -> tuple[ListedStretch, ...]:
    """Return the stretches that the annotations of a video leave out.

    Raises:
        ManifestError: A reason is not one word.
    """
    for label in labels.dropped:
        if not REASON.fullmatch(label.value):
            raise ManifestError(
                f"the track {label.task!r} drops a stretch with the reason {label.value!r:.60}, "
                "not one word of lower-case letters, digits, '_' and '-'; give such a word in "
                "`names` of the mapping, it is published"
            )
    return tuple(
        ListedStretch(start_s=label.start_s, end_s=label.end_s, reason=label.value)
        for label in labels.dropped
    )


class ListedFilter:
    """Leaves out the frames of listed stretches.

    Args:
        listed: The stretches, by their start.
        rate: Frames per second. A frame at the start of a stretch belongs to it, one at its end
            does not.
    """

    def __init__(self, listed: Sequence[ListedStretch], rate: Fraction) -> None:
        self._spans: list[_Span] = []
        for stretch in listed:
            first, end = (
                math.ceil(Fraction(time_s) * rate) for time_s in (stretch.start_s, stretch.end_s)
            )
            first = max(first, self._spans[-1].end) if self._spans else first
            if first < end:
                reason = f"listed:{stretch.reason}" if stretch.reason else "listed"
                self._spans.append(_Span(first=first, end=end, reason=reason))

    def kept(self, frames: Iterable[Frames]) -> Iterator[Frames]:
        """Yield the frames of no listed stretch. Behind one an encoder must start anew."""
        waiting, is_cut = 0, False
        for shown in frames:
            end = shown.first + shown.count
            while waiting < len(self._spans) and self._spans[waiting].end <= shown.first:
                waiting += 1
            behind = waiting
            while behind < len(self._spans) and self._spans[behind].first < end:
                behind += 1
            spans = self._spans[waiting:behind]

            edges = {shown.first, end} | {edge for span in spans for edge in (span.first, span.end)}
            inside = sorted(edge for edge in edges if shown.first <= edge <= end)
            for first, until in itertools.pairwise(inside):
                span = next((span for span in spans if span.first <= first < span.end), None)
                if span is not None:
                    span.dropped = (span.dropped[0] if span.dropped else first, until)
                    is_cut = True
                else:
                    starts = is_cut or (shown.starts and first == shown.first)
                    yield replace(shown, first=first, count=until - first, starts=starts)
                    is_cut = False

    def dropped(self) -> Iterator[tuple[int, int, str]]:
        """Yield the dropped frames, first and behind the last, with their reason."""
        for span in self._spans:
            if span.dropped is not None:
                yield (*span.dropped, span.reason)


def _seconds(text: str, name: str, context: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf or "_" in text:
        raise ManifestError(
            f"{context}: {name} is {text!r:.40}, not a number of seconds; give seconds of the "
            "video, 0 or more"
        )
    return seconds
