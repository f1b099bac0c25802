"""The safetensors file of one video: features, start times, and their origin."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Float64
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from surgrec.errors import CheckpointError, reason
from surgrec.storage import Store

_FORMAT = "surgrec-features-1"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A window that was left out."""

    start_s: float | None
    """None if the whole video is unreadable."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class VideoFeatures:
    """The features of one video's windows."""

    features: Float32[Tensor, "n d"]
    start_s: Float64[np.ndarray, " n"]
    """Start of each window, in seconds of the video."""
    failed: tuple[Failure, ...]
    """Windows that were left out."""


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
        settings=dict(settings), digest=digest, made_by=dict(made_by), failed=video.failed
    )

    tensors = {"features": video.features.contiguous(), "start_s": torch.from_numpy(video.start_s)}
    # One metadata entry: safetensors does not keep the order of several.
    metadata = {"surgrec": json.dumps({"format": _FORMAT, **asdict(header)}, sort_keys=True)}
    store.write(name, save(tensors, metadata=metadata))
    return header


def read_header_and_starts(path: Path) -> tuple[FeaturesHeader, Float64[np.ndarray, " n"]]:
    """Read the header and the window starts of a file, without its features.

    Raises:
        CheckpointError: The file is missing or damaged, or not a file of features.
    """
    header, tensors = _read(path, ("start_s",))
    return header, tensors["start_s"].numpy()


def read_values(path: Path) -> Float32[Tensor, "n d"]:
    """Read the features of a file. Raises CheckpointError as `read_header_and_starts` does."""
    return _read(path, ("features",))[1]["features"]


def _read(path: Path, names: Collection[str]) -> tuple[FeaturesHeader, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("surgrec", "{}"))
            if header.pop("format", None) != _FORMAT:
                raise CheckpointError(
                    f"{path} is not a file of features ({_FORMAT}); choose another folder"
                )
            tensors = {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a readable file of features ({reason(error)}); remove it and run again"
        ) from error

    failed = tuple(Failure(**failure) for failure in header.pop("failed"))
    return FeaturesHeader(failed=failed, **header), tensors
