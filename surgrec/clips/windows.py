"""Windows: the stored clips that hold the frames of one training clip, and the frames' times."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int64, UInt8
from torch import Tensor

from surgrec.clips._crop import Box
from surgrec.clips._decode import decode_clip
from surgrec.clips._sampling import ClipSampling
from surgrec.errors import SampleError
from surgrec.shards import Clip, Sample
from surgrec.stream import Fetcher, Stream
from surgrec.stream.sampling_checks import TOLERANCE_S
from surgrec.stream.stretches import HAIR_S


class BadClipError(SampleError):
    """A bad clip of a window."""

    def __init__(self, message: str, clip: str) -> None:
        super().__init__(message)
        self.clip = clip
        """Its key."""


@dataclass(frozen=True, kw_only=True)
class ClipWindow:
    """The frames of one training clip."""

    sample: Sample
    """The sample that is drawn."""
    start_s: float
    """Time of the first frame, seconds of the video."""
    clips: tuple[Sample, ...]
    """The stored clips that hold the frames, in the order of time."""
    times: tuple[Float64[np.ndarray, " _"], ...]
    """Times of the frames in each of them, seconds from its start."""


def place_window(
    stream: Stream, source: str, row: int, sampling: ClipSampling, offset: float, *, join: bool
) -> ClipWindow:
    """Return the window of a drawn sample.

    It lies within the stored clip, if that is long enough. Otherwise it contains the whole clip,
    and continues into the adjacent clips before and behind.

    Args:
        stream: Names the adjacent clips.
        source: Name of the source.
        row: Row of the sample in the index of the source.
        sampling: Frames of the window.
        offset: Place of the window, from 0 (as early as possible) to 1 (as late as possible).
        join: Whether a window may continue into adjacent clips.

    Raises:
        ConfigError: The stored clip, or its stretch, is shorter than the window.
    """
    index = stream.sources[source].index
    sample = index.sample(row)
    clip = sample.clip
    if not join or clip.duration_s >= sampling.span_s - TOLERANCE_S:
        times = sampling.times(clip.duration_s, offset)
        return ClipWindow(
            sample=sample, start_s=clip.start_s + times[0], clips=(sample,), times=(times,)
        )

    # The window contains the clip, and lies within the stretch.
    rows = stream.stretches(source).around(row)
    starts_s, durations_s = (
        index.column(name).to_numpy()[rows] for name in ("start_s", "duration_s")
    )
    first_s, end_s = float(starts_s[0]), float(starts_s[-1] + durations_s[-1])
    earliest_s = max(first_s, clip.start_s + clip.duration_s - sampling.span_s)
    latest_s = max(earliest_s, min(clip.start_s, end_s - sampling.span_s))
    start_s = earliest_s + offset * (latest_s - earliest_s)

    # The times of a clip at offset 0, from the start of the window on.
    times = start_s + sampling.times(end_s - first_s, 0.0)
    owners = clips_at(starts_s, times)
    parts = [index.sample(int(rows[owner])) for owner in np.unique(owners)]
    return ClipWindow(
        sample=sample,
        start_s=start_s,
        clips=tuple(parts),
        times=tuple(
            times_in_clip(part.clip, times[owners == owner])
            for part, owner in zip(parts, np.unique(owners), strict=True)
        ),
    )


def clips_at(
    starts_s: Float64[np.ndarray, " k"], times: Float64[np.ndarray, " t"]
) -> Int64[np.ndarray, " t"]:
    """Return the number of the clip that is on screen at each time: the last that has begun.

    Args:
        starts_s: Start of each clip, seconds of the video, ascending.
        times: Seconds of the video.
    """
    return np.searchsorted(starts_s, times + HAIR_S, side="right").astype(np.int64) - 1


def times_in_clip(clip: Clip, times: Float64[np.ndarray, " t"]) -> Float64[np.ndarray, " t"]:
    """Return times of a video as seconds from the start of one of its stored clips.

    At a time between two clips, the last frame before it is on screen.
    """
    # A hair later: a rounded time may fall just before its frame.
    return np.clip(times - clip.start_s + HAIR_S, 0.0, (clip.num_frames - 0.5) / clip.fps)


def fetch_windows(
    fetcher: Fetcher, windows: Sequence[ClipWindow]
) -> list[list[bytes | SampleError]]:
    """Return the bytes of the clips of each window, or why they cannot be used.

    Raises:
        StorageError: A shard cannot be read. This is an outage, never a bad sample.
        ShardError: A shard is not the one that the index describes.
    """
    mp4s = iter(fetcher.fetch([clip for window in windows for clip in window.clips]))
    return [[next(mp4s) for _ in window.clips] for window in windows]


def decode_window(
    window: ClipWindow, mp4s: Sequence[bytes | SampleError], box: Box
) -> UInt8[Tensor, "t c h w"]:
    """Decode the frames of a window, cropped to a box.

    Args:
        window: The window.
        mp4s: The bytes of its clips.
        box: Part of each frame to keep.

    Raises:
        BadClipError: A clip of the window is bad.
        MachineError: Memory ran out.
    """
    parts = []
    for sample, times, mp4 in zip(window.clips, window.times, mp4s, strict=True):
        if isinstance(mp4, SampleError):
            raise BadClipError(str(mp4), sample.key)
        try:
            frames = decode_clip(
                mp4,
                times,
                box,
                num_frames=sample.clip.num_frames,
                key=sample.key,
                clock=sample.clock,
            )
        except SampleError as error:
            raise BadClipError(str(error), sample.key) from error
        parts.append(frames)
    return parts[0] if len(parts) == 1 else torch.cat(parts)
