"""The form in which a video is stored: the part of its pictures, their size and their rates."""

from dataclasses import dataclass
from fractions import Fraction

from surgrec.recordings import RecordingFacts, stored_size
from surgrec.recordings.view import Box, View
from surgrec_shard.clip_writer import FrameFormat
from surgrec_shard.sampling import picture_rate


@dataclass(frozen=True, kw_only=True)
class StoredForm:
    """The stored pictures of one video."""

    view: View
    shown: Box
    """The stored part of the native frame."""
    frames: FrameFormat
    picture_rate: float | None
    """Pictures that are decoded per second; None: all."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.frames.width, self.frames.height


def form_of(facts: RecordingFacts, view: View, *, short_side_px: int, fps: float) -> StoredForm:
    """Return the form in which a recording is stored.

    Args:
        facts: Properties of the recording.
        view: The part of its pictures that is shown.
        short_side_px: Length of the shorter side, pixels, at most.
        fps: Frames per second, at most; 0: the native rate.
    """
    shown = view.crop or Box(x=0, y=0, width=facts.width, height=facts.height)
    width, height = stored_size(shown, short_side_px)
    native = facts.timeline.rate
    rate = min(Fraction(fps).limit_denominator(10**6), native) if fps else native
    return StoredForm(
        view=view,
        shown=shown,
        frames=FrameFormat(width=width, height=height, rate=rate, colors=facts.colors),
        picture_rate=picture_rate(facts.timeline, rate),
    )
