"""Open the encoder of an extraction: trained weights, or the same architecture with random ones."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch

from surgrec.clips import ClipSampling
from surgrec.errors import ConfigError
from surgrec.models import Encoder, encoder_provenance, read_encoder
from surgrec.models.encoder_file import find_encoder_file
from surgrec.ranges import Range, Seed, check_ranges
from surgrec.runs import RunFiles
from surgrec.runs.drawn import summarize_drawn
from surgrec.storage import file_sha256


@dataclass(frozen=True, kw_only=True)
class EncoderChoice:
    """The choice of an encoder and of its frame rate."""

    path: Path
    """Folder of a run, or an encoder file."""
    random_seed: Seed | None = None
    """Replace the weights with random ones from this seed: the baseline that training must beat."""
    fps: Annotated[float, Range(0, 1000, above=True)] | None = None
    """Frames per second within a window. Default: the rate of the encoder's training."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, kw_only=True)
class FrozenEncoder:
    """An encoder in evaluation mode, with its sampling and its origin."""

    encoder: Encoder
    """In evaluation mode, without gradients."""
    sampling: ClipSampling
    """Frames of a window."""
    provenance: dict[str, Any]
    """Record of how the weights were made; empty for random weights."""
    facts: dict[str, Any]
    """Its origin as JSON: name, config, provenance with numbers of drawn videos in place of their
    digests, random_seed, and the sha256 of its file, or of architecture and seed."""


def open_encoder(choice: EncoderChoice, device: torch.device) -> FrozenEncoder:
    """Load an encoder to a device. The random state of the process does not change.

    Raises:
        MissingError: The run or the file does not exist, or the run has not saved an encoder yet.
        CheckpointError: The file is damaged or not an encoder file, or is older than the newest
            checkpoint of its run.
        ConfigError: The frame rate is neither stored in the file nor given, or the file was
            overwritten while it was being read.
    """
    path = find_encoder_file(choice.path)
    checkpoints = RunFiles(choice.path).checkpoint_steps()
    sha256 = file_sha256(path)
    # Building an encoder draws random weights, which the stored ones then replace.
    with torch.random.fork_rng(devices=[]):
        encoder, provenance = read_encoder(path), encoder_provenance(path)
    if file_sha256(path) != sha256:
        raise ConfigError(
            f"{path} was overwritten while it was being read; wait until its run is done, "
            "or copy it"
        )
    RunFiles(choice.path).require_newest(provenance, checkpoints)

    fps = choice.fps if choice.fps is not None else provenance.get("config", {}).get("sampling_fps")
    if fps is None:
        raise ConfigError(f"{path} does not contain the frame rate of its training; give --fps")

    name = choice.path.stem if choice.path == path else choice.path.resolve().name
    config = asdict(encoder.config)
    if choice.random_seed is not None:  # a baseline: architecture and seed identify it
        encoder = _random_encoder(encoder, choice.random_seed)
        name, provenance = f"{name} with random weights, seed {choice.random_seed}", {}
        identity = json.dumps([config, choice.random_seed], sort_keys=True)
        sha256 = hashlib.sha256(identity.encode("ascii")).hexdigest()

    return FrozenEncoder(
        encoder=encoder.to(device).eval().requires_grad_(False),
        sampling=ClipSampling(num_frames=encoder.config.num_frames, fps=fps),
        provenance=provenance,
        facts={
            "name": name,
            "sha256": sha256,
            "config": config,
            "provenance": summarize_drawn(provenance),
            "random_seed": choice.random_seed,
        },
    )


def describe_encoder(facts: Mapping[str, Any]) -> str:
    """Return name and step of an encoder for a message: `jepa, step 300`.

    Args:
        facts: Origin of the encoder, as in `FrozenEncoder.facts`, features.json or evaluation.json.
    """
    step = facts["provenance"].get("step")
    return facts["name"] if step is None else f"{facts['name']}, step {step}"


def _random_encoder(encoder: Encoder, seed: int) -> Encoder:
    """Return the same architecture, initialized as for training."""
    with torch.random.fork_rng(devices=[]):  # weights are drawn on the CPU, whatever the device
        torch.default_generator.manual_seed(seed)
        return Encoder(encoder.config)
