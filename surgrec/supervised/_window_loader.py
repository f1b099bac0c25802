"""The train windows of this rank, decoded by threads while the encoder computes."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from surgrec.clips import AugmentConfig, Box, central_crop
from surgrec.clips.augment import draw_view
from surgrec.errors import SampleError
from surgrec.features import VideoEncoder
from surgrec.features.window_clips import (
    CorpusVideos,
    JoinedClips,
    Piece,
    VideoEntry,
    decode_window,
    prepare_window,
)
from surgrec.stream import sample_key
from surgrec.supervised._order import WindowOrder

_OPEN_VIDEOS = 64
"""Videos that stay open."""


@dataclass(frozen=True, kw_only=True)
class TrainWindows:
    """The train windows of a task."""

    video: Int64[np.ndarray, " n"]
    """Video of each window, as an index into `entries`."""
    start_s: Float64[np.ndarray, " n"]
    """Start of each window, seconds of the video."""
    entries: Sequence[VideoEntry]
    """The videos."""

    def __len__(self) -> int:
        return len(self.start_s)


@dataclass(frozen=True, kw_only=True)
class ClipPart:
    """One part of a global batch, on the device."""

    windows: Int64[Tensor, " b"]
    """Indices of the windows that could be read, on the CPU."""
    clips: Float[Tensor, "b c t h w"]
    """Their frames, prepared for the encoder."""


class WindowLoader:
    """Yields the parts of each step that this rank computes.

    A window that cannot be decoded is left out of its part, and counted in `failed`.

    Args:
        videos: The opened corpora.
        windows: The train windows.
        encoder: Gives sampling and preprocessing.
        order: Order of the windows.
        augment: Distribution of the random views; None takes the central square.
        seed: Seed of the views.
        parts: Parts of this rank, from `rank_parts`.
        device: Device of the clips.
        threads: Decoding threads; None: the cores of this rank.
        steps_ahead: Steps that are decoded in advance.
    """

    def __init__(
        self,
        videos: CorpusVideos,
        windows: TrainWindows,
        encoder: VideoEncoder,
        order: WindowOrder,
        *,
        augment: AugmentConfig | None,
        seed: int,
        parts: range,
        device: torch.device,
        threads: int | None = None,
        steps_ahead: int = 1,
    ) -> None:
        self._windows, self._encoder, self._order = windows, encoder, order
        self._augment, self._seed = augment, seed
        self._parts, self._device, self._steps_ahead = parts, device, steps_ahead
        self._open = lru_cache(maxsize=_OPEN_VIDEOS)(
            lambda video: videos.open(windows.entries[video])
        )
        self._pool = ThreadPoolExecutor(threads or _cores(), thread_name_prefix="decode")
        self._begun: dict[tuple[int, int], list[Future[list[Piece] | SampleError]]] = {}
        self.failed: dict[int, str] = {}
        """Reason of each window that could not be read, by its index."""

    def parts(self, step: int) -> Iterator[ClipPart]:
        """Yield the parts of this rank in a step.

        Raises:
            StorageError: The store cannot be read.
        """
        for ahead in range(step, step + self._steps_ahead + 1):
            for part in self._parts:
                self._begin(ahead, part)
        for part in self._parts:
            yield self._collect(step, part)

    def close(self) -> None:
        """End the threads; drop the parts that were decoded in advance."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _begin(self, step: int, part: int) -> None:
        if (step, part) not in self._begun:
            positions = self._order.positions(step, part)
            windows = self._order.windows(positions)
            self._begun[step, part] = [
                self._pool.submit(self._decode, position, window)
                for position, window in zip(positions, windows, strict=True)
            ]

    def _decode(self, position: int, window: int) -> list[Piece] | SampleError:
        video: JoinedClips = self._open(int(self._windows.video[window]))
        key = sample_key(self._seed, position)

        def crop(height: int, width: int) -> Box:
            if self._augment is None:
                return central_crop(height, width)
            return draw_view(height, width, self._augment, key).box

        start_s = float(self._windows.start_s[window])
        return decode_window(video, start_s, self._encoder.sampling, crop)

    def _collect(self, step: int, part: int) -> ClipPart:
        positions = self._order.positions(step, part)
        windows, clips = [], []
        decoded = self._begun.pop((step, part))
        numbers = self._order.windows(positions)
        for position, window, future in zip(positions, numbers, decoded, strict=True):
            pieces = future.result()
            if isinstance(pieces, SampleError):
                self.failed[window] = str(pieces)
                continue
            windows.append(window)
            clips.append(self._prepared(pieces, position))

        size = self._encoder.preprocessing.size_px
        empty = torch.zeros(0, 3, self._encoder.sampling.num_frames, size, size)
        return ClipPart(
            windows=torch.tensor(windows, dtype=torch.int64),
            clips=torch.stack(clips) if clips else empty.to(self._device),
        )

    def _prepared(self, pieces: Sequence[Piece], position: int) -> Float[Tensor, "c t h w"]:
        clip = prepare_window(pieces, self._encoder.preprocessing, self._device)
        if self._augment is None:
            return clip
        # The box depends on the size of the frame, the flip does not.
        view = draw_view(256, 256, self._augment, sample_key(self._seed, position))
        return clip.flip(-1) if view.flip else clip


def _cores() -> int:
    """Return the cores of this rank: its share of the machine's."""
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(len(os.sched_getaffinity(0)) // ranks, 1)
