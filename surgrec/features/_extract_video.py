"""Compute the features of one video; decode a batch during the forward pass of the one before."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

from surgrec.encoders import Preprocessing
from surgrec.errors import SampleError
from surgrec.features._files import Failure, Gap, VideoFeatures
from surgrec.features._videos import Piece, VideoReader
from surgrec.features._windows import all_times, window_starts, window_times, windows_in_gaps
from surgrec.features.interface import VideoEncoder, prepare
from surgrec.stream.sampling_checks import repeats_frames

Precision = Literal["no", "bf16"]


@dataclass(frozen=True, kw_only=True)
class _Chunk:
    """Neighboring windows of a video, which share frames."""

    starts: Float64[np.ndarray, " b"]
    times: Float64[np.ndarray, " k"]
    """Times of all their frames, each once, ascending."""
    frames: Int64[np.ndarray, "b t"]
    """Indices into `times` of the frames of each window."""


def video_features(
    reader: VideoReader,
    encoder: VideoEncoder,
    *,
    stride_s: float,
    batch: int,
    precision: Precision,
    device: torch.device,
    allow_repeated_frames: bool,
) -> VideoFeatures:
    """Return the features of all windows of a video.

    A batch never holds windows of two videos, so a feature does not depend on other videos.

    Args:
        reader: The video.
        encoder: The encoder, on the device.
        stride_s: Seconds from one window to the next.
        batch: Windows per forward pass.
        precision: Autocast of the forward pass.
        device: Device of the encoder and of the forward pass.
        allow_repeated_frames: Accept a video with fewer frames per second than a window.

    Raises:
        StorageError: The store cannot be read: an outage, never a bad sample.
    """
    features: list[Float32[Tensor, "b d"]] = [torch.zeros(0, encoder.width)]
    starts: list[Float64[np.ndarray, " b"]] = [np.zeros(0)]
    failed: list[Failure] = []
    gaps: list[Gap] = []

    # An unreadable video has no windows, and one failure.
    repeats = False
    try:
        repeats = repeats_frames(reader.fps, encoder.sampling.fps)
        if repeats and not allow_repeated_frames:
            raise SampleError(
                f"it has {reader.fps:g} frames per second, but a window has "
                f"{encoder.sampling.fps:g}, so frames would repeat: give a lower --fps, or "
                "--allow_repeated_frames true"
            )
        spans = reader.spans
        all_starts = window_starts(spans, encoder.sampling.span_s, stride_s)
        gaps = [
            Gap(start_s=start_s, end_s=end_s, windows=windows)
            for (start_s, end_s), windows in windows_in_gaps(
                spans, encoder.sampling.span_s, stride_s
            )
        ]
        failed = [Failure(start_s=spans[-1][1], reason=reason) for reason in reader.unread]
    except SampleError as error:
        all_starts, failed = np.zeros(0), [Failure(start_s=None, reason=str(error))]

    needed = all_times(all_starts, encoder.sampling)
    for chunk, pieces in _decoded_ahead(reader, needed, _chunks(all_starts, encoder, batch)):
        reasons = _reasons(chunk, pieces)
        failed += [
            Failure(start_s=float(chunk.starts[window]), reason=reason)
            for window, reason in reasons.items()
        ]

        good = np.array(
            [window for window in range(len(chunk.starts)) if window not in reasons], dtype=np.int64
        )
        if len(good):
            clips = _model_clips(chunk.frames[good], pieces, encoder.preprocessing, device)
            features.append(clip_features(encoder, clips, precision))
            starts.append(chunk.starts[good])

    return VideoFeatures(
        features=torch.cat(features),
        start_s=np.concatenate(starts),
        failed=tuple(failed),
        gaps=tuple(gaps),
        repeats_frames=repeats,
    )


@contextmanager
def steady_arithmetic(device: torch.device) -> Iterator[None]:
    """Use one thread for arithmetic on a CPU.

    The last bits of bfloat16 products depend on the number of threads.
    """
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _chunks(
    starts: Float64[np.ndarray, " n"], encoder: VideoEncoder, batch: int
) -> Iterator[_Chunk]:
    for first in range(0, len(starts), batch):
        members = starts[first : first + batch]
        frame_times = window_times(members, encoder.sampling)
        times, frames = np.unique(frame_times, return_inverse=True)
        yield _Chunk(starts=members, times=times, frames=frames.reshape(frame_times.shape))


def _decoded_ahead(
    reader: VideoReader, needed: Float64[np.ndarray, " n"], chunks: Iterator[_Chunk]
) -> Iterator[tuple[_Chunk, list[Piece]]]:
    """Yield chunks with their frames; a thread decodes the next chunk meanwhile."""
    started: deque[_Chunk] = deque()

    def times() -> Iterator[Float64[np.ndarray, " _"]]:
        for chunk in chunks:
            started.append(chunk)
            yield chunk.times

    with (
        closing(reader.pieces_in_order(needed, times())) as decoded,
        ThreadPoolExecutor(1, thread_name_prefix="decode") as decoder,
    ):
        upcoming = decoder.submit(next, decoded, None)
        while (pieces := upcoming.result()) is not None:
            chunk = started.popleft()
            upcoming = decoder.submit(next, decoded, None)
            yield chunk, pieces


def _reasons(chunk: _Chunk, pieces: list[Piece]) -> dict[int, str]:
    """Return the first reason why a window is unreadable, by its number in the chunk."""
    reasons: dict[int, str] = {}
    for piece in pieces:
        if isinstance(piece.frames, SampleError):
            touched = np.isin(chunk.frames, piece.indices).any(axis=1)
            reasons |= {
                int(window): str(piece.frames)
                for window in np.flatnonzero(touched)
                if window not in reasons
            }
    return dict(sorted(reasons.items()))


def _model_clips(
    frames: Int64[np.ndarray, "b t"],
    pieces: list[Piece],
    preprocessing: Preprocessing,
    device: torch.device,
) -> Float[Tensor, "b c t h w"]:
    """Return the windows as input of the encoder. A frame that windows share is resized once."""
    shown = [
        (piece.indices, piece.frames)
        for piece in pieces
        if not isinstance(piece.frames, SampleError)
    ]
    row_of = {
        int(index): row
        for row, index in enumerate(np.concatenate([indices for indices, _ in shown]))
    }
    rows = torch.tensor(
        [[row_of[int(index)] for index in window] for window in frames], device=device
    )

    resized = torch.cat([prepare(square, preprocessing, device) for _, square in shown])
    return rearrange(resized[rows], "b t c h w -> b c t h w")


def clip_features(
    encoder: VideoEncoder, clips: Float[Tensor, "b c t h w"], precision: Precision
) -> Float32[Tensor, "b d"]:
    """Return the feature of each clip, on the CPU.

    Args:
        encoder: The encoder.
        clips: Prepared clips, on its device.
        precision: Autocast type of the forward pass.
    """
    half = (
        torch.autocast(clips.device.type, dtype=torch.bfloat16)
        if precision == "bf16"
        else nullcontext()
    )
    with torch.inference_mode(), half:
        return encoder.features(clips).float().cpu()
