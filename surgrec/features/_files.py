"""The safetensors file of one video: features, start times, and their origin."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
import torch
from jaxtyping import Float32, Float64
from safetensors.torch import save
from torch import Tensor

from surgrec.errors import CheckpointError
from surgrec.json_files import decode_json, typed
from surgrec.models.tensor_files import is_finite, open_tensor_file
from surgrec.storage import Store

_FORMAT = "surgrec-features-1"
_HEADER = "surgrec"
"""Name of the header in the metadata of the file."""
_TENSORS = {"features": (2, torch.float32), "start_s": (1, torch.float64)}
"""Axes and type of each tensor."""
_REMEDY = "remove the file and run again"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A window that was left out."""

    start_s: float | None
    """None if the whole video is unreadable."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A stretch of a video without pictures, seconds."""

    start_s: float
    end_s: float
    windows: int
    """Windows that it costs."""


@dataclass(frozen=True, kw_only=True)
class VideoFeatures:
    """The features of one video's windows."""

    features: Float32[Tensor, "n d"]
    start_s: Float64[np.ndarray, " n"]
    """Start of each window, in seconds of the video."""
    failed: tuple[Failure, ...]
    """Windows that were left out."""
    gaps: tuple[Gap, ...] = ()
    """Stretches without pictures that cost windows."""
    repeats_frames: bool = False
    """Whether the video has fewer frames per second than a window, so that some repeat."""


@dataclass(frozen=True, kw_only=True)
class FeaturesHeader:
    """The header of a file of features."""

    settings: dict[str, Any]
    """All that determines a feature except the video; equal for all files of a folder."""
    digest: str
    """Digest of the video."""
    made_by: dict[str, Any]
    """Versions, device and batch: they may change the last bits of a feature."""
    failed: tuple[Failure, ...]
    gaps: tuple[Gap, ...] = ()
    repeats_frames: bool = False
    """Whether the video has fewer frames per second than a window."""


def write_features_file(
    store: Store,
    name: str,
    video: VideoFeatures,
    *,
    settings: Mapping[str, Any],
    digest: str,
    made_by: Mapping[str, Any],
) -> FeaturesHeader:
    """Write the features of a video, completely or not at all. Equal features give equal bytes."""
    header = FeaturesHeader(
        settings=dict(settings),
        digest=digest,
        made_by=dict(made_by),
        failed=video.failed,
        gaps=video.gaps,
        repeats_frames=video.repeats_frames,
    )

    tensors = {"features": video.features.contiguous(), "start_s": torch.from_numpy(video.start_s)}
    # One metadata entry: safetensors does not keep the order of several.
    metadata = {_HEADER: json.dumps({"format": _FORMAT, **asdict(header)}, sort_keys=True)}
    store.write(name, save(tensors, metadata=metadata))
    return header


def read_header_and_starts(path: Path) -> tuple[FeaturesHeader, Float64[np.ndarray, " n"]]:
    """Read the header and the window starts of a file, without its features.

    Raises:
        CheckpointError: The file is missing or damaged, or not a file of features.
    """
    header, tensors = _read(path, ("start_s",))
    return header, tensors["start_s"].numpy()


def read_reusable(
    path: Path, settings: Mapping[str, Any], digest: str
) -> tuple[FeaturesHeader, Float64[np.ndarray, " n"]] | None:
    """Read the header and the window starts of an earlier extraction, if its file can be reused.

    A file with failed windows cannot, as the video may have been repaired.

    Args:
        path: The file, which may be missing.
        settings: Settings of the features, as in a header.
        digest: Digest of the video.

    Returns:
        None if the file is missing, has failed windows, or is of other settings or another video.

    Raises:
        CheckpointError: The file is damaged, or not a file of features.
    """
    if not path.exists():
        return None
    header, starts = read_header_and_starts(path)
    is_same = header.settings == settings and header.digest == digest
    return (header, starts) if is_same and not header.failed else None


def read_values(path: Path) -> Float32[Tensor, "n d"]:
    """Read the features of a file. Raises CheckpointError as `read_header_and_starts` does."""
    return _read(path, ("features",))[1]["features"]


class _Header(TypedDict):
    """The header as stored."""

    format: str
    settings: dict[str, Any]
    digest: str
    made_by: dict[str, str | int]
    failed: list[dict[str, Any]]
    gaps: NotRequired[list[dict[str, Any]]]
    repeats_frames: NotRequired[bool]


def _read(path: Path, names: Collection[str]) -> tuple[FeaturesHeader, dict[str, Tensor]]:
    with open_tensor_file(path) as file:
        text = file.metadata.get(_HEADER, "")
        if f'"{_FORMAT}"' not in text:
            raise CheckpointError(
                f"{path} is not a file of features ({_FORMAT}); choose another folder"
            )
        context = f"{path}, header"
        header = decode_json(text, _Header, context, error=CheckpointError, remedy=_REMEDY)
        tensors = file.read(names)

    for name, tensor in tensors.items():
        axes, dtype = _TENSORS[name]
        if tensor.ndim != axes or tensor.dtype != dtype:
            raise CheckpointError(
                f"{path}: the tensor {name} has {tensor.ndim} axes and type {tensor.dtype}, "
                f"expected {axes} and {dtype}; {_REMEDY}"
            )
        if not is_finite(tensor):
            raise CheckpointError(f"{path}: the tensor {name} is NaN or infinite; {_REMEDY}")
    failed = typed(
        header["failed"],
        list[Failure],
        f"{context}, failed",
        error=CheckpointError,
        remedy=_REMEDY,
    )
    gaps = typed(
        header.get("gaps", []),
        list[Gap],
        f"{context}, gaps",
        error=CheckpointError,
        remedy=_REMEDY,
    )
    return FeaturesHeader(
        settings=header["settings"],
        digest=header["digest"],
        made_by=header["made_by"],
        failed=tuple(failed),
        gaps=tuple(gaps),
        repeats_frames=header.get("repeats_frames", False),
    ), tensors
