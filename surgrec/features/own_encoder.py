"""Encoders of SurgRec: trained weights, or the same architecture with random ones."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from surgrec.clips import ClipSampling
from surgrec.encoders import Preprocessing
from surgrec.errors import ConfigError
from surgrec.features.interface import mean_over_tokens
from surgrec.models import Encoder, EncoderConfig, encoder_provenance, read_encoder
from surgrec.models.encoder_file import find_encoder_file
from surgrec.runs import RunFiles
from surgrec.runs.drawn import summarize_drawn
from surgrec.storage import file_sha256


@dataclass(frozen=True, kw_only=True)
class FrozenEncoder:
    """An encoder of SurgRec in evaluation mode, as a `VideoEncoder`."""

    encoder: Encoder
    """In evaluation mode, without gradients."""
    sampling: ClipSampling
    """Frames of a window."""
    provenance: dict[str, Any]
    """Record of how the weights were made; empty for random weights."""
    facts: dict[str, Any]
    """Its origin as JSON, see `VideoEncoder.facts`. The sha256 is that of its file, or of
    architecture and seed."""

    @property
    def network(self) -> nn.Module:
        """The encoder."""
        return self.encoder

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The transformer blocks."""
        return list(self.encoder.blocks)

    @property
    def preprocessing(self) -> Preprocessing:
        """The view of training without its randomness, resized with antialiasing."""
        return Preprocessing(size_px=self.encoder.config.crop_px)

    @property
    def width(self) -> int:
        """Channels of a token and of a feature."""
        return self.encoder.config.width

    def tokens(self, clips: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b n d"]:
        """Return the output token of each tubelet, see `VideoEncoder.tokens`."""
        tokens: Float[Tensor, "b n d"] = self.encoder(clips)
        return tokens

    def features(self, clips: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b d"]:
        """Return the mean output token of each clip, in float32."""
        return mean_over_tokens(self.tokens(clips))


def open_own_encoder(
    path: Path, device: torch.device, *, random_seed: int | None = None, fps: float | None = None
) -> FrozenEncoder:
    """Load an encoder of SurgRec to a device. The random state of the process does not change.

    Args:
        path: Folder of a run, or an encoder file.
        device: Device of the encoder.
        random_seed: Replace the weights with random ones from this seed.
        fps: Frames per second within a window. Default: the rate of the encoder's training.

    Raises:
        MissingError: The run or the file does not exist, or the run has not saved an encoder yet.
        CheckpointError: The file is damaged or not an encoder file, or is older than the newest
            checkpoint of its run.
        ConfigError: The frame rate is neither stored in the file nor given, or the file was
            overwritten while it was being read.
    """
    file = find_encoder_file(path)
    checkpoints = RunFiles(path).checkpoint_steps()
    sha256 = file_sha256(file)
    # Building an encoder draws random weights, which the stored ones then replace.
    with torch.random.fork_rng(devices=[]):
        encoder, provenance = read_encoder(file), encoder_provenance(file)
    if file_sha256(file) != sha256:
        raise ConfigError(
            f"{file} was overwritten while it was being read; wait until its run is done, "
            "or copy it"
        )
    RunFiles(path).require_newest(provenance, checkpoints)

    if fps is None:
        fps = provenance.get("config", {}).get("sampling_fps")
    if fps is None:
        raise ConfigError(f"{file} does not contain the frame rate of its training; give --fps")

    name = path.stem if path == file else path.resolve().name
    license = _license(provenance)
    if random_seed is not None:  # a baseline: architecture and seed identify it
        encoder = random_encoder(encoder.config, random_seed)
        name, provenance, license = random_name(name, random_seed), {}, None
        sha256 = encoder_sha256(asdict(encoder.config), random_seed)

    return FrozenEncoder(
        encoder=encoder.to(device).eval().requires_grad_(False),
        sampling=ClipSampling(num_frames=encoder.config.num_frames, fps=fps),
        provenance=provenance,
        facts={
            "name": name,
            "sha256": sha256,
            "config": asdict(encoder.config),
            "provenance": summarize_drawn(provenance),
            "random_seed": random_seed,
            "license": license,
            "preprocessing": asdict(Preprocessing(size_px=encoder.config.crop_px)),
        },
    )


def random_encoder(config: EncoderConfig, seed: int) -> Encoder:
    """Return an encoder with random weights, initialized as for training."""
    with torch.random.fork_rng(devices=[]):  # weights are drawn on the CPU, whatever the device
        torch.default_generator.manual_seed(seed)
        return Encoder(config)


def random_name(name: str, seed: int) -> str:
    """Return the name of an encoder with random weights."""
    return f"{name} with random weights, seed {seed}"


def encoder_sha256(architecture: Mapping[str, Any], weights: str | int) -> str:
    """Return the identity of an encoder that is more than one file.

    Args:
        architecture: All that determines the encoder except its weights, as JSON.
        weights: Digest of the file of its weights, or the seed of random ones.
    """
    identity = json.dumps([architecture, weights], sort_keys=True)
    return hashlib.sha256(identity.encode("ascii")).hexdigest()


def _license(provenance: Mapping[str, Any]) -> str | None:
    """Return the license that was recorded with the weights. A run has that of its start."""
    origin = provenance.get("init_from")
    return origin.get("license") if isinstance(origin, Mapping) else None
