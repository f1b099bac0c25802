"""Features of an encoder that is in memory, such as that of a run that trains."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float32, Float64
from torch import Tensor

from surgrec.clips import ClipSampling
from surgrec.clips.windows import ClipWindow, fetch_windows
from surgrec.errors import SampleError
from surgrec.features._extract_video import (
    Precision,
    clip_features,
    steady_arithmetic,
    video_features,
)
from surgrec.features._files import (
    VideoFeatures,
    read_reusable,
    read_values,
    write_features_file,
)
from surgrec.features._videos import VideoEntry, VideoSet
from surgrec.features.corpora import decoded
from surgrec.features.interface import VideoEncoder, prepare
from surgrec.features.own_encoder import FrozenEncoder
from surgrec.models import Encoder
from surgrec.shards import Source
from surgrec.storage import open_store
from surgrec.stream import Fetcher

_BATCH = 16
"""Windows per forward pass."""
_FETCH_THREADS = 4


@contextmanager
def frozen(encoder: Encoder, sampling: ClipSampling) -> Iterator[FrozenEncoder]:
    """Yield an encoder in evaluation mode; restore the mode of each of its modules afterwards.

    Args:
        encoder: The encoder, on its device. It is not copied.
        sampling: Frames of a window.
    """
    modes = {module: module.training for module in encoder.modules()}
    encoder.eval()
    try:
        yield FrozenEncoder(encoder=encoder, sampling=sampling, provenance={}, facts={})
    finally:
        for module, training in modes.items():
            module.training = training


def features_of_videos(
    videos: VideoSet,
    entries: Sequence[VideoEntry],
    encoder: VideoEncoder,
    *,
    stride_s: float,
    precision: Precision,
    allow_repeated_frames: bool,
) -> list[VideoFeatures]:
    """Return the features of all windows of some videos, as `surgrec features` computes them.

    Args:
        videos: The opened videos.
        entries: Those to process.
        encoder: From `frozen` or `open_encoder`.
        stride_s: Seconds from one window to the next.
        precision: Autocast of the forward pass.
        allow_repeated_frames: Accept a video with fewer frames per second than a window.

    Raises:
        StorageError: The store cannot be read: an outage, never a bad sample.
    """
    return [
        video_features(
            videos.open(entry),
            encoder,
            stride_s=stride_s,
            batch=_BATCH,
            precision=precision,
            device=_device(encoder),
            allow_repeated_frames=allow_repeated_frames,
        )
        for entry in entries
    ]


def stored_features(
    videos: VideoSet,
    entry: VideoEntry,
    encoder: VideoEncoder,
    folder: Path,
    *,
    settings: Mapping[str, Any],
    stride_s: float,
    precision: Precision,
) -> VideoFeatures:
    """Return the features of all windows of a video, from a file if it exists, or else write it.

    A file of other settings or of another video is replaced. So is one with failed windows, as the
    video may have been repaired.

    Args:
        videos: The opened videos; `require` has accepted their frame rates.
        entry: One of them.
        encoder: From `open_encoder`, or another `VideoEncoder`.
        folder: Folder of the file.
        settings: All that decides a feature except the video, as JSON.
        stride_s: Seconds from one window to the next.
        precision: Autocast of the forward pass.

    Raises:
        StorageError: The store cannot be read, or the file cannot be written.
        CheckpointError: The file is damaged.
    """
    reader = videos.open(entry)
    name = f"{entry.source}/{reader.name}.safetensors"
    path = folder / name
    found = read_reusable(path, settings, reader.digest)
    if found is not None:
        header, starts = found
        return VideoFeatures(
            features=read_values(path),
            start_s=starts,
            failed=(),
            gaps=header.gaps,
            repeats_frames=header.repeats_frames,
        )

    with steady_arithmetic(_device(encoder)):
        (video,) = features_of_videos(
            videos,
            [entry],
            encoder,
            stride_s=stride_s,
            precision=precision,
            allow_repeated_frames=True,
        )
    write_features_file(
        open_store(folder), name, video, settings=settings, digest=reader.digest, made_by={}
    )
    return video


def features_of_clips(
    windows: Sequence[ClipWindow],
    sources: Mapping[str, Source],
    encoder: FrozenEncoder,
    precision: Precision,
) -> list[Float32[Tensor, " d"] | SampleError]:
    """Return the feature of each window of stored clips, or why it cannot be decoded.

    Args:
        windows: Windows of the encoder's sampling.
        sources: Opened sources by name.
        encoder: From `frozen`.
        precision: Autocast of the forward pass.

    Raises:
        StorageError: The store cannot be read: an outage, never a bad sample.
    """
    fetcher = Fetcher(dict(sources), _FETCH_THREADS)
    offsets = np.arange(encoder.sampling.num_frames)
    results: list[Float32[Tensor, " d"] | SampleError] = []
    for first in range(0, len(windows), _BATCH):
        chunk = windows[first : first + _BATCH]
        frames = [
            _decoded_window(window, mp4s, window.start_s + offsets / encoder.sampling.fps)
            for window, mp4s in zip(chunk, fetch_windows(fetcher, chunk), strict=True)
        ]

        clips = [
            rearrange(prepare(clip, encoder.preprocessing, _device(encoder)), "t c h w -> c t h w")
            for clip in frames
            if not isinstance(clip, SampleError)
        ]
        features = iter(clip_features(encoder, torch.stack(clips), precision) if clips else ())
        results += [clip if isinstance(clip, SampleError) else next(features) for clip in frames]
    return results


def _decoded_window(
    window: ClipWindow, mp4s: Sequence[bytes | SampleError], times: Float64[np.ndarray, " t"]
) -> Tensor | SampleError:
    """Return the central square of the frames at some times of a video."""
    ends = np.cumsum([len(own) for own in window.times])
    parts: list[Tensor] = []
    for sample, mp4, own in zip(window.clips, mp4s, np.split(times, ends[:-1]), strict=True):
        part = decoded(sample, mp4, own)
        if isinstance(part, SampleError):
            return part
        parts.append(part)
    return torch.cat(parts)


def _device(encoder: VideoEncoder) -> torch.device:
    """Return the device of the weights; the CPU for an encoder without torch's weights."""
    devices = (parameter.device for parameter in encoder.network.parameters())
    return next(devices, torch.device("cpu"))
