"""The encoder that features come from: one that a run trained, or its architecture with random weights."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from surgrec.clips import ClipSampling
from surgrec.errors import ConfigError, MissingError
from surgrec.models import ENCODER_FILE, Encoder, encoder_provenance, load_encoder
from surgrec.storage import file_sha256


@dataclass(frozen=True, kw_only=True)
class EncoderChoice:
    """Which encoder, and at which frame rate it looks."""

    path: Path
    """Folder of a run, or an encoder file that SurgRec saved."""
    random_seed: int | None = None
    """Its architecture with fresh weights from this seed instead of its own: the baseline that training must beat."""
    fps: float | None = None
    """Frames per second of the video in a window. Default: as in the encoder's training."""


@dataclass(frozen=True, kw_only=True)
class FrozenEncoder:
    """An encoder that is only looked through."""

    encoder: Encoder
    """In evaluation mode, without gradients."""
    sampling: ClipSampling
    """Frames of a window."""
    facts: dict[str, Any]
    """What it is, as JSON: name, sha256 (of its file, or of architecture and seed), config, provenance, random_seed."""


def open_encoder(choice: EncoderChoice, device: torch.device) -> FrozenEncoder:
    """The encoder on a device. The random state of the process stays as it was.

    Raises:
        MissingError: There is no such run or file, or the run has not saved an encoder yet.
        CheckpointError: The file is damaged or no encoder of ours.
        ConfigError: The file does not say its frame rate, and nobody else does; or its run replaced it just now.
    """
    path = _encoder_file(choice.path)
    sha256 = file_sha256(path)
    with torch.random.fork_rng(
        devices=[]
    ):  # an encoder draws random weights before it gets its own
        encoder, provenance = load_encoder(path), encoder_provenance(path)
    if file_sha256(path) != sha256:
        raise ConfigError(
            f"{path} was replaced while it was read; wait until its run is done, or take a copy of it"
        )
    fps = choice.fps if choice.fps is not None else provenance.get("config", {}).get("sampling_fps")
    if fps is None:
        raise ConfigError(
            f"{path} does not say at how many frames per second it was trained; give --fps"
        )
    name = choice.path.stem if choice.path == path else choice.path.resolve().name
    config = asdict(encoder.config)
    if choice.random_seed is not None:
        encoder = _random_encoder(encoder, choice.random_seed)
        name, provenance = f"{name} with random weights, seed {choice.random_seed}", {}
        sha256 = hashlib.sha256(
            json.dumps([config, choice.random_seed], sort_keys=True).encode("ascii")
        ).hexdigest()
    return FrozenEncoder(
        encoder=encoder.to(device).eval().requires_grad_(False),
        sampling=ClipSampling(num_frames=encoder.config.num_frames, fps=fps),
        facts={
            "name": name,
            "sha256": sha256,
            "config": config,
            "provenance": provenance,
            "random_seed": choice.random_seed,
        },
    )


def _encoder_file(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise MissingError(
            f"{path} does not exist; give the folder of a run, or an encoder's .safetensors file"
        )
    if not (path / ENCODER_FILE).is_file():
        raise MissingError(
            f"{path} has no {ENCODER_FILE}, which a run writes with its first checkpoint; name another run"
        )
    return path / ENCODER_FILE


def _random_encoder(encoder: Encoder, seed: int) -> Encoder:
    """The same architecture, initialized as for training."""
    with torch.random.fork_rng(devices=[]):  # weights are drawn on the CPU, whatever the device
        torch.default_generator.manual_seed(seed)
        return Encoder(encoder.config)
