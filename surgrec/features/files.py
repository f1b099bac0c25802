"""The features of one video as a safetensors file that says what they were computed from and with."""

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

from surgrec.errors import CheckpointError
from surgrec.storage import Store

_FORMAT = "surgrec-features-1"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A window that was left out."""

    start_s: float | None
    """None where the whole video cannot be read."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class VideoFeatures:
    """The features of one video's windows."""

    features: Float32[Tensor, "n d"]
    start_s: Float64[np.ndarray, " n"]
    """Where each window starts, seconds of the video's own time."""
    failed: tuple[Failure, ...]


@dataclass(frozen=True, kw_only=True)
class FeaturesHeader:
    """What a file of features says of itself."""

    settings: dict[str, Any]
    """What determines a feature but for the video: equal for all files of a folder."""
    digest: str
    """Of the video."""
    made_by: dict[str, Any]
    """What may move the last bits of a feature: versions, device, batch."""
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
    """Writes the features of a video, complete under their name or not at all; equal features give equal bytes."""
    header = FeaturesHeader(
        settings=dict(settings), digest=digest, made_by=dict(made_by), failed=video.failed
    )
    tensors = {"features": video.features.contiguous(), "start_s": torch.from_numpy(video.start_s)}
    # One metadata entry: safetensors does not keep the order of several.
    metadata = {"surgrec": json.dumps({"format": _FORMAT, **asdict(header)}, sort_keys=True)}
    store.write(name, save(tensors, metadata=metadata))
    return header


def read_header_and_starts(path: Path) -> tuple[FeaturesHeader, Float64[np.ndarray, " n"]]:
    """What a file says of itself, and where its windows start; the features stay on the disk.

    Raises:
        CheckpointError: The file is missing or damaged, or holds no features of ours.
    """
    header, tensors = _read(path, ("start_s",))
    return header, tensors["start_s"].numpy()


def read_values(path: Path) -> Float32[Tensor, "n d"]:
    """The features of a file. Raises as `read_header_and_starts` does."""
    return _read(path, ("features",))[1]["features"]


def _read(path: Path, names: Collection[str]) -> tuple[FeaturesHeader, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("surgrec", "{}"))
            if header.pop("format", None) != _FORMAT:
                raise CheckpointError(
                    f"{path}: not a file of features ({_FORMAT}); choose another folder"
                )
            tensors = {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"{path}: not a readable file of features ({error}); remove it and run again"
        ) from error
    failed = tuple(Failure(**failure) for failure in header.pop("failed"))
    return FeaturesHeader(failed=failed, **header), tensors
