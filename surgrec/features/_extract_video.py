"""Compute the features of one video; prepare a batch during the forward pass of the one before."""

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

from surgrec.clips import ClipSampling
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


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """The windows of a chunk as input of encoders."""

    starts: Float64[np.ndarray, " b"]
    """Starts of the windows that can be read."""
    clips: dict[Preprocessing, Float[Tensor, "b c t h w"]]
    """These windows, on the device, for each preprocessing; empty without any."""
    failed: list[Failure]


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
    """Return the features of all windows of a video, see `features_by_encoder`."""
    (features,) = features_by_encoder(
        reader,
        [encoder],
        stride_s=stride_s,
        batch=batch,
        precision=precision,
        device=device,
        allow_repeated_frames=allow_repeated_frames,
    )
    return features


def features_by_encoder(
    reader: VideoReader,
    encoders: Sequence[VideoEncoder],
    *,
    stride_s: float,
    batch: int,
    precision: Precision,
    device: torch.device,
    allow_repeated_frames: bool,
) -> list[VideoFeatures]:
    """Return the features of all windows of a video, for each encoder; decode the video once.

    A batch never holds windows of two videos, so a feature does not depend on other videos.

    Args:
        reader: The video.
        encoders: One or several encoders, on the device, with the same windows.
        stride_s: Seconds from one window to the next.
        batch: Windows per forward pass.
        precision: Autocast of the forward pass.
        device: Device of the encoder and of the forward pass.
        allow_repeated_frames: Accept a video with fewer frames per second than a window.

    Raises:
        StorageError: The store cannot be read: an outage, never a bad sample.
    """
    sampling = encoders[0].sampling
    features: list[list[Float32[Tensor, "b d"]]] = [
        [torch.zeros(0, encoder.width)] for encoder in encoders
    ]
    starts: list[Float64[np.ndarray, " b"]] = [np.zeros(0)]
    failed: list[Failure] = []
    gaps: list[Gap] = []

    # An unreadable video has no windows, and one failure.
    repeats = False
    try:
        repeats = repeats_frames(reader.fps, sampling.fps)
        if repeats and not allow_repeated_frames:
            raise SampleError(
                f"it has {reader.fps:g} frames per second, but a window has "
                f"{sampling.fps:g}, so frames would repeat: give a lower --fps, or "
                "--allow_repeated_frames true"
            )
        spans = reader.spans
        all_starts = window_starts(spans, sampling.span_s, stride_s)
        gaps = [
            Gap(start_s=start_s, end_s=end_s, windows=windows)
            for (start_s, end_s), windows in windows_in_gaps(spans, sampling.span_s, stride_s)
        ]
        failed = [Failure(start_s=spans[-1][1], reason=reason) for reason in reader.unread]
    except SampleError as error:
        all_starts, failed = np.zeros(0), [Failure(start_s=None, reason=str(error))]

    for windows in _prepared_ahead(
        reader,
        all_times(all_starts, sampling),
        _chunks(all_starts, sampling, batch),
        {encoder.preprocessing for encoder in encoders},
        device,
    ):
        failed += windows.failed
        starts.append(windows.starts)
        if windows.clips:
            for found, encoder in zip(features, encoders, strict=True):
                clips = windows.clips[encoder.preprocessing]
                found.append(clip_features(encoder, clips, precision))

    return [
        VideoFeatures(
            features=torch.cat(found),
            start_s=np.concatenate(starts),
            failed=tuple(failed),
            gaps=tuple(gaps),
            repeats_frames=repeats,
        )
        for found in features
    ]


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
    starts: Float64[np.ndarray, " n"], sampling: ClipSampling, batch: int
) -> Iterator[_Chunk]:
    for first in range(0, len(starts), batch):
        members = starts[first : first + batch]
        frame_times = window_times(members, sampling)
        times, frames = np.unique(frame_times, return_inverse=True)
        yield _Chunk(starts=members, times=times, frames=frames.reshape(frame_times.shape))


def _prepared_ahead(
    reader: VideoReader,
    needed: Float64[np.ndarray, " n"],
    chunks: Iterator[_Chunk],
    preprocessings: Collection[Preprocessing],
    device: torch.device,
) -> Iterator[_Batch]:
    """Yield the windows of chunks; a thread decodes and resizes those of the next one meanwhile."""
    started: deque[_Chunk] = deque()

    def times() -> Iterator[Float64[np.ndarray, " _"]]:
        for chunk in chunks:
            started.append(chunk)
            yield chunk.times

    with (
        closing(reader.pieces_in_order(needed, times())) as decoded,
        ThreadPoolExecutor(1, thread_name_prefix="decode") as decoder,
    ):

        def following() -> _Batch | None:
            pieces = next(decoded, None)
            if pieces is None:
                return None
            return _batch(started.popleft(), pieces, preprocessings, device)

        upcoming = decoder.submit(following)
        while (batch := upcoming.result()) is not None:
            upcoming = decoder.submit(following)
            yield batch


def _batch(
    chunk: _Chunk,
    pieces: list[Piece],
    preprocessings: Collection[Preprocessing],
    device: torch.device,
) -> _Batch:
    """Return the readable windows of a chunk as input of encoders, and the others' failures."""
    reasons = _reasons(chunk, pieces)
    good = np.array(
        [window for window in range(len(chunk.starts)) if window not in reasons], dtype=np.int64
    )
    return _Batch(
        starts=chunk.starts[good],
        clips={
            each: model_clips(chunk.frames[good], pieces, each, device)
            for each in preprocessings
            if len(good)
        },
        failed=[
            Failure(start_s=float(chunk.starts[window]), reason=reason)
            for window, reason in reasons.items()
        ],
    )


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


def model_clips(
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
