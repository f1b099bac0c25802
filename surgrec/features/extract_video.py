"""The features of one video: windows in batches, the frames of the next batch decoded during the forward pass of this one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from einops import rearrange, reduce
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

from surgrec.errors import SampleError
from surgrec.features.encoders import FrozenEncoder
from surgrec.features.files import Failure, VideoFeatures
from surgrec.features.videos import DecodedFrames, VideoReader
from surgrec.features.windows import window_starts, window_times
from surgrec.normalize import normalize

Precision = Literal["no", "bf16"]


@dataclass(frozen=True, kw_only=True)
class _Chunk:
    """Neighboring windows of a video, which share frames."""

    starts: Float64[np.ndarray, " b"]
    times: Float64[np.ndarray, " k"]
    """Every moment that they need, once, ascending."""
    frames: Int64[np.ndarray, "b t"]
    """Places in `times` of the frames of each window."""


def video_features(
    footage: VideoReader,
    frozen: FrozenEncoder,
    *,
    stride_s: float,
    batch: int,
    precision: Precision,
    device: torch.device,
) -> VideoFeatures:
    """The features of every window of a video, each the mean of the encoder's tokens.

    A batch never holds windows of two videos, so a feature does not depend on which other videos there are.

    Args:
        footage: The video.
        frozen: The encoder, on the device.
        stride_s: Seconds from one window to the next.
        batch: Windows per forward pass.
        precision: Autocast of the forward pass.
        device: Where it runs.

    Raises:
        StorageError: The video cannot be read: an outage, never a bad sample.
    """
    features: list[Float32[Tensor, "b d"]] = [torch.zeros(0, frozen.encoder.config.width)]
    starts: list[Float64[np.ndarray, " b"]] = [np.zeros(0)]
    failed: list[Failure] = []
    try:
        chunks = _chunks(
            window_starts(footage.stretches, frozen.sampling.span_s, stride_s), frozen, batch
        )
    except SampleError as error:
        chunks, failed = [], [Failure(start_s=None, reason=str(error))]
    for chunk, pieces in _decoded_ahead(footage, chunks):
        reasons = _reasons(chunk, pieces)
        failed += [
            Failure(start_s=float(chunk.starts[window]), reason=reason)
            for window, reason in reasons.items()
        ]
        good = np.array(
            [window for window in range(len(chunk.starts)) if window not in reasons], dtype=np.int64
        )
        if len(good):
            clips = _network_clips(
                chunk.frames[good], pieces, frozen.encoder.config.crop_px, device
            )
            features.append(_forward(frozen, clips, precision))
            starts.append(chunk.starts[good])
    return VideoFeatures(
        features=torch.cat(features), start_s=np.concatenate(starts), failed=tuple(failed)
    )


@contextmanager
def steady_arithmetic(device: torch.device) -> Iterator[None]:
    """On a CPU, one thread for the arithmetic: bfloat16 products differ in their last bits with the number of threads."""
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _chunks(starts: Float64[np.ndarray, " n"], frozen: FrozenEncoder, batch: int) -> list[_Chunk]:
    chunks = []
    for first in range(0, len(starts), batch):
        members = starts[first : first + batch]
        asked = window_times(members, frozen.sampling)
        times, frames = np.unique(asked, return_inverse=True)
        chunks.append(_Chunk(starts=members, times=times, frames=frames.reshape(asked.shape)))
    return chunks


def _decoded_ahead(
    footage: VideoReader, chunks: list[_Chunk]
) -> Iterator[tuple[_Chunk, list[DecodedFrames]]]:
    """Chunks with their frames; while one is worked on, a thread decodes the next."""
    with ThreadPoolExecutor(1, thread_name_prefix="decode") as decoder:
        upcoming = [decoder.submit(footage.pieces, chunk.times) for chunk in chunks[:1]]
        for number, chunk in enumerate(chunks):
            pieces = upcoming.pop().result()
            upcoming = [
                decoder.submit(footage.pieces, following.times)
                for following in chunks[number + 1 : number + 2]
            ]
            yield chunk, pieces


def _reasons(chunk: _Chunk, pieces: list[DecodedFrames]) -> dict[int, str]:
    """Why windows cannot be shown, by their number in the chunk: the first reason of each."""
    reasons: dict[int, str] = {}
    for piece in pieces:
        if isinstance(piece.frames, SampleError):
            touched = np.isin(chunk.frames, piece.places).any(axis=1)
            reasons |= {
                int(window): str(piece.frames)
                for window in np.flatnonzero(touched)
                if window not in reasons
            }
    return dict(sorted(reasons.items()))


def _network_clips(
    frames: Int64[np.ndarray, "b t"],
    pieces: list[DecodedFrames],
    crop_px: int,
    device: torch.device,
) -> Float[Tensor, "b c t h w"]:
    """The windows as the network takes them. Each frame is resized once, however many windows show it."""
    shown = [
        (piece.places, piece.frames)
        for piece in pieces
        if not isinstance(piece.frames, SampleError)
    ]
    row_of = {
        int(place): row for row, place in enumerate(np.concatenate([places for places, _ in shown]))
    }
    rows = torch.tensor(
        [[row_of[int(place)] for place in window] for window in frames], device=device
    )
    resized = torch.cat([normalize(square, crop_px, device) for _, square in shown])
    return rearrange(resized[rows], "b t c h w -> b c t h w")


def _forward(
    frozen: FrozenEncoder, clips: Float[Tensor, "b c t h w"], precision: Precision
) -> Float32[Tensor, "b d"]:
    half = (
        torch.autocast(clips.device.type, dtype=torch.bfloat16)
        if precision == "bf16"
        else nullcontext()
    )
    with torch.inference_mode(), half:
        tokens: Float[Tensor, "b n d"] = frozen.encoder(clips)
        return reduce(tokens.float(), "b n d -> b d", "mean").cpu()
