"""Encoders of other projects, by a preset and a local file of weights. Nothing is downloaded."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from surgrec.clips import ClipSampling
from surgrec.convert import ImportOptions, checkpoint_sha256, read_external
from surgrec.encoders import TIMM, Preprocessing, Preset, read_preset
from surgrec.errors import ConfigError
from surgrec.features._onnx_encoder import OnnxNetwork
from surgrec.features._pixels_network import PixelsNetwork
from surgrec.features._timm_encoder import FramesNetwork, timm_network, timm_preset
from surgrec.features._video_transformers import SeparateSinusoids, TimeSformer, video_transformer
from surgrec.features.interface import mean_over_tokens
from surgrec.features.own_encoder import encoder_sha256, random_encoder, random_name
from surgrec.models import Encoder
from surgrec.models.encoder_file import load_strictly

_Network: TypeAlias = (
    Encoder | FramesNetwork | OnnxNetwork | PixelsNetwork | SeparateSinusoids | TimeSformer
)
_ANY_FRAMES = ("pixels", "timm")
"""Readers whose networks take any number of frames."""
_NOT_IDENTITY = ("license", "pretraining", "source", "sources", "summary")
"""Fields of a preset that change no feature."""


@dataclass(frozen=True, kw_only=True)
class PresetEncoder:
    """An encoder of another project in evaluation mode, as a `VideoEncoder`."""

    network: _Network
    sampling: ClipSampling
    preprocessing: Preprocessing
    width: int
    provenance: dict[str, Any]
    facts: dict[str, Any]

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The blocks of the network."""
        return list(self.network.blocks)

    def tokens(self, clips: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b n d"]:
        """Return the output tokens, see `VideoEncoder.tokens`."""
        tokens: Float[Tensor, "b n d"] = self.network(clips)
        return tokens

    def features(self, clips: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b d"]:
        """Return the mean token, or the features that the network pools itself."""
        if isinstance(self.network, FramesNetwork | TimeSformer):
            return self.network.pooled(clips)
        return mean_over_tokens(self.tokens(clips))


def open_preset_encoder(
    choice: str,
    weights: Path | None,
    device: torch.device,
    *,
    random_seed: int | None = None,
    fps: float | None = None,
    num_frames: int | None = None,
) -> PresetEncoder:
    """Load an encoder of another project to a device. The random state does not change.

    Args:
        choice: `preset:NAME`, NAME, or the path of a YAML file.
        weights: Local file of its weights.
        device: Device of the encoder.
        random_seed: Replace the weights with random ones from this seed.
        fps: Frames per second within a window. Default: that of the preset.
        num_frames: Frames of a window, for networks that take any number. Default: that of the
            preset.

    Raises:
        ConfigError: The preset is wrong, no file of weights is given, or one for a preset without
            weights.
        CheckpointError: The file is damaged, or has other tensors than the encoder.
    """
    preset = timm_preset(choice) if choice.startswith(TIMM) else read_preset(choice)
    name = Path(choice.removeprefix("preset:")).stem if choice.endswith(".yaml") else choice
    name = name.removeprefix("preset:").removeprefix(TIMM)
    _require_weights(preset, name, weights, random_seed)
    if num_frames is not None:
        if preset.reader not in _ANY_FRAMES:
            raise ConfigError(f"{name} states its frames itself; leave out num_frames")
        preset = replace(preset, num_frames=num_frames)

    # Building a network draws random weights, which the stored ones then replace.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(random_seed or 0)
        network = _network(preset, weights, random_seed)

    stated = asdict(preset)
    identity = {key: value for key, value in stated.items() if key not in _NOT_IDENTITY}
    if isinstance(network, PixelsNetwork):
        sha256 = encoder_sha256(identity, "no weights")
    elif random_seed is None:
        sha256 = encoder_sha256(identity, checkpoint_sha256(_file(weights)))
    elif isinstance(network, OnnxNetwork):
        shuffled = identity | {"shuffled": checkpoint_sha256(_file(weights))}
        sha256 = encoder_sha256(shuffled, random_seed)
    else:
        sha256 = encoder_sha256(identity | _config(network), random_seed)

    provenance = {} if random_seed is not None else _provenance(preset, name)
    config: dict[str, Any] = {
        "preset": name,
        "reader": preset.reader,
        "num_frames": preset.num_frames,
    } | _config(network)
    return PresetEncoder(
        network=network.to(device).eval().requires_grad_(False),
        sampling=ClipSampling(num_frames=preset.num_frames, fps=fps or preset.fps),
        preprocessing=preset.preprocessing,
        width=config["width"],
        provenance=provenance,
        facts={
            "name": name if random_seed is None else random_name(name, random_seed),
            "sha256": sha256,
            "config": config,
            "provenance": provenance,
            "random_seed": random_seed,
            "license": (preset.license or None) if random_seed is None else None,
            "preprocessing": stated["preprocessing"],
        },
    )


def _require_weights(
    preset: Preset, name: str, weights: Path | None, random_seed: int | None
) -> None:
    """Refuse a preset without its file, and a file or random weights for one without weights."""
    if preset.reader == "pixels":
        if weights is not None or random_seed is not None:
            raise ConfigError(
                f"the encoder {name} has no weights, neither trained nor random ones; leave out "
                "--weights and --random_seed"
            )
    elif weights is None and (random_seed is None or preset.reader != "timm"):
        raise ConfigError(
            f"the encoder {name} needs its weights, and nothing is downloaded; copy the file from "
            f"{preset.source} to this machine and give --weights FILE"
        )


def _network(preset: Preset, weights: Path | None, random_seed: int | None) -> _Network:
    """Return the network of a preset, with the weights of a file or with random ones."""
    if preset.reader == "timm":
        return timm_network(preset, weights if random_seed is None else None)
    if preset.reader == "pixels":
        return PixelsNetwork(preset)
    file = _file(weights)
    if preset.reader == "onnx":
        return OnnxNetwork(file, preset, random_seed)
    if preset.reader in ("timesformer", "separate_sinusoids"):
        return video_transformer(preset, file, random=random_seed is not None)

    options = ImportOptions(
        num_heads=preset.num_heads,
        num_frames=preset.num_frames,
        crop_px=preset.preprocessing.size_px,
        positions=preset.positions,
    )
    read = read_external(file, preset.format, options)
    config = read.encoder.config
    if random_seed is not None:
        return random_encoder(config, random_seed)
    encoder = Encoder(config)
    load_strictly(encoder, read.encoder.state, str(file))
    return encoder


def _file(weights: Path | None) -> Path:
    """Return the file of the weights, which was required before."""
    if weights is None:
        raise ConfigError("the encoder needs the file of its weights; give --weights FILE")
    return weights


def _config(network: _Network) -> dict[str, Any]:
    if isinstance(network, Encoder):
        return asdict(network.config)
    if isinstance(network, SeparateSinusoids | TimeSformer):
        return {"width": network.width, "depth": len(network.blocks), "heads": network.num_heads}
    return {"width": network.width}


def _provenance(preset: Preset, name: str) -> dict[str, Any]:
    """Return the record of the weights. Data without surgery overlaps no surgical test case."""
    known: dict[str, Any] = (
        {"drawn": {"sources": {}}} if preset.pretraining.has_surgery == "no" else {}
    )
    return {
        "preset": name,
        "license": preset.license,
        "pretraining": asdict(preset.pretraining),
        **known,
    }
