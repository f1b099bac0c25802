"""Properties of the recordings of a file: usually one, or several that were joined."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from surgrec.recordings._facts import PartFacts, inspect_part
from surgrec.recordings._recording import BadVideoError, Recording
from surgrec.recordings._timeline import Timeline, join_timelines


@dataclass(frozen=True, kw_only=True)
class RecordingFacts:
    """Properties of the video of a file as displayed: upright, with square pixels."""

    parts: tuple[PartFacts, ...]
    """The recordings of the file, in order."""
    starts_s: tuple[float, ...]
    """When each begins, seconds of the video."""
    timeline: Timeline
    notes: tuple[str, ...]
    """Sentences for the private report."""
    unread: tuple[str, ...]
    """Sentences about a part of the video that is missing or cannot be read."""

    @property
    def width(self) -> int:
        """Return the width of the picture as displayed, pixels."""
        return self.parts[0].width

    @property
    def height(self) -> int:
        """Return the height of the picture as displayed, pixels."""
        return self.parts[0].height

    @property
    def colors(self) -> tuple[str, ...]:
        """Return the file's description of its colors, as options of ffmpeg's `setparams`."""
        return self.parts[0].colors

    @property
    def fps(self) -> float:
        """Return the highest rate of pictures that the recording really has, 1/s."""
        return float(self.timeline.rate)

    @property
    def duration_s(self) -> float:
        """Return the length of the video, from its first to the end of its last picture."""
        return self.timeline.duration_s

    @property
    def is_cut(self) -> bool:
        """Return whether data is missing at the end of the file."""
        return self.parts[-1].is_cut

    @property
    def stated_s(self) -> float | None:
        """Return the duration that the container states, seconds."""
        stated_s = self.parts[-1].stated_s
        return None if stated_s is None else self.starts_s[-1] + stated_s

    @property
    def choice(self) -> str:
        """Return which one of several video streams is taken; empty if there is one."""
        return next((part.choice for part in self.parts if part.choice), "")


def inspect(recording: Recording) -> RecordingFacts:
    """Return the properties of the video of a file. Reads the whole file once.

    Recordings that were joined to the first one are read as its continuation.

    Raises:
        BadVideoError: The file is not a video, has no video stream, or cannot be read for now.
    """
    starts = recording.beginnings()
    parts, refused = [], []
    for start, end in itertools.zip_longest(starts, starts[1:]):
        try:
            parts.append(inspect_part(recording.part(start, end)))
        except BadVideoError as error:
            if start == 0 or error.may_pass:
                raise
            refused.append(
                f"another recording, from byte {start} of the file on, cannot be used: {error}"
            )

    timeline, starts_s = join_timelines([part.timeline for part in parts])
    return RecordingFacts(
        parts=tuple(parts),
        starts_s=starts_s,
        timeline=timeline,
        notes=(
            *_told([part.notes for part in parts], starts_s),
            *_join_notes(parts, starts_s),
            *refused,
        ),
        unread=(*_told([part.unread for part in parts], starts_s), *refused),
    )


def _told(sentences: Sequence[Sequence[str]], starts_s: Sequence[float]) -> Iterator[str]:
    """Yield the sentences about all recordings. Their times count from the beginning of each."""
    for number, (own, start_s) in enumerate(zip(sentences, starts_s, strict=True), 1):
        about = f"in recording {number}, which begins at {start_s:.2f} s: " if number > 1 else ""
        yield from (about + sentence for sentence in own)


def _join_notes(parts: Sequence[PartFacts], starts_s: Sequence[float]) -> Iterator[str]:
    """Yield sentences about the recordings behind the first one."""
    size = (parts[0].width, parts[0].height)
    for part, start_s in zip(parts[1:], starts_s[1:], strict=True):
        is_other = (part.width, part.height) != size
        scaled = f"; its pictures of {part.width} x {part.height} pixels are scaled to those before"
        yield (
            f"another recording was joined to the file at {start_s:.2f} s: times run on"
            f"{scaled if is_other else ''}"
        )
