"""Encoders of other projects, by a preset and a local file of weights. Nothing is downloaded."""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor, nn

from surgrec.clips import ClipSampling
from surgrec.convert import ImportOptions, checkpoint_sha256, read_checkpoint_file, read_external
from surgrec.encoders import Preprocessing, Preset, read_preset
from surgrec.errors import CheckpointError, ConfigError, cut
from surgrec.features.interface import mean_over_tokens
from surgrec.features.own_encoder import encoder_sha256, random_encoder, random_name
from surgrec.models import Encoder
from surgrec.models.encoder_file import load_strictly

_ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}
"""Activations that arguments of a model name by text."""
_REFUSED_ARGUMENTS = {
    "cache_dir",
    "checkpoint_path",
    "features_only",
    "num_classes",
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
}
"""Arguments with which timm would read other files, download, or return another network."""
_TORCHVISION_CONVNEXT = (
    (r"^features\.0\.(\d+)", r"stem.\1"),
    (r"^classifier\.0", r"head.norm"),
)
_CONVNEXT_BLOCK = {
    "block.0": "conv_dw",
    "block.2": "norm",
    "block.3": "mlp.fc1",
    "block.5": "mlp.fc2",
    "layer_scale": "gamma",
}


class FramesNetwork(nn.Module):
    """An image model of timm that sees each frame of a clip alone.

    Args:
        model: The model, without a classifier.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    @property
    def blocks(self) -> list[nn.Module]:
        """The blocks of the model, or those of its stages."""
        if hasattr(self.model, "blocks"):
            return list(self.model.blocks)
        stages = getattr(self.model, "stages", ())
        return [block for stage in stages for block in getattr(stage, "blocks", [stage])]

    def forward(self, clips: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b n d"]:
        """Return the tokens of all frames, without class and register tokens."""
        found: Tensor = self._maps(clips)
        if found.ndim == 4:
            channels_last = getattr(self.model, "output_fmt", "NCHW") == "NHWC"
            pattern = "f h w d -> f (h w) d" if channels_last else "f d h w -> f (h w) d"
            tokens = rearrange(found, pattern)
        else:
            tokens = found[:, getattr(self.model, "num_prefix_tokens", 0) :]
        by_clip: Tensor = rearrange(tokens, "(b t) n d -> b (t n) d", b=len(clips))
        return by_clip

    def pooled(self, clips: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b d"]:
        """Return the mean over the frames of the features that the model pools itself."""
        frames = self.model.forward_head(self._maps(clips), pre_logits=True)
        means: Tensor = reduce(frames.float(), "(b t) d -> b d", "mean", b=len(clips))
        return means

    def _maps(self, clips: Float[Tensor, "b c t h w"]) -> Tensor:
        maps: Tensor = self.model.forward_features(rearrange(clips, "b c t h w -> (b t) c h w"))
        return maps


@dataclass(frozen=True, kw_only=True)
class PresetEncoder:
    """An encoder of another project in evaluation mode, as a `VideoEncoder`."""

    network: Encoder | FramesNetwork
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
        """Return the mean token, or of an image model the mean of its own pooled features."""
        if isinstance(self.network, FramesNetwork):
            return self.network.pooled(clips)
        return mean_over_tokens(self.tokens(clips))


def open_preset_encoder(
    choice: str,
    weights: Path | None,
    device: torch.device,
    *,
    random_seed: int | None = None,
    fps: float | None = None,
) -> PresetEncoder:
    """Load an encoder of another project to a device. The random state does not change.

    Args:
        choice: `preset:NAME`, NAME, or the path of a YAML file.
        weights: Local file of its weights.
        device: Device of the encoder.
        random_seed: Replace the weights with random ones from this seed.
        fps: Frames per second within a window. Default: that of the preset.

    Raises:
        ConfigError: The preset is wrong, or no file of weights is given.
        CheckpointError: The file is damaged, or has other tensors than the encoder.
    """
    preset = read_preset(choice)
    name = Path(choice.removeprefix("preset:")).stem
    needs_file = random_seed is None or preset.reader == "checkpoint"
    if weights is None and needs_file:
        raise ConfigError(
            f"the encoder {name} needs its weights, and nothing is downloaded; copy the file from "
            f"{preset.source} to this machine and give --weights FILE"
        )

    # Building a network draws random weights, which the stored ones then replace.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(random_seed or 0)
        network = _network(preset, weights, random_seed)

    stated = asdict(preset)
    architecture = {key: stated[key] for key in stated if key not in ("summary", "source")}
    if random_seed is not None:
        sha256 = encoder_sha256(architecture | _config(network), random_seed)
    else:
        assert weights is not None
        sha256 = encoder_sha256(architecture, checkpoint_sha256(weights))

    provenance = {} if random_seed is not None else _provenance(preset, name)
    config: dict[str, Any] = {"preset": name, "num_frames": preset.num_frames} | _config(network)
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
            "license": preset.license if random_seed is None else None,
            "preprocessing": stated["preprocessing"],
        },
    )


def _network(
    preset: Preset, weights: Path | None, random_seed: int | None
) -> Encoder | FramesNetwork:
    """Return the network of a preset, with the weights of a file or with random ones."""
    if preset.reader == "timm":
        model = _timm_model(preset)
        if random_seed is None:
            assert weights is not None
            load_strictly(model, _timm_tensors(preset, weights, model), str(weights))
        return FramesNetwork(model)

    assert weights is not None
    options = ImportOptions(
        num_heads=preset.num_heads,
        num_frames=preset.num_frames,
        crop_px=preset.preprocessing.size_px,
        positions=preset.positions,
    )
    read = read_external(weights, preset.format, options)
    config = read.encoder.config
    if random_seed is not None:
        return random_encoder(config, random_seed)
    encoder = Encoder(config)
    load_strictly(encoder, read.encoder.state, str(weights))
    return encoder


def _timm_model(preset: Preset) -> nn.Module:
    if not timm.is_model(preset.model):
        raise ConfigError(
            f"timm {timm.__version__} has no model '{cut(preset.model)}'; correct `model`, or "
            "install another version of timm"
        )
    if refused := sorted(_REFUSED_ARGUMENTS & preset.arguments.keys()):
        raise ConfigError(
            f"`arguments` of the preset has {', '.join(refused)}, which would load other weights "
            "or change the output; remove it, and give the weights with --weights"
        )
    arguments: dict[str, Any] = {
        name: _ACTIVATIONS.get(value, value) if isinstance(value, str) else value
        for name, value in preset.arguments.items()
    }
    try:
        model: nn.Module = timm.create_model(
            preset.model, pretrained=False, num_classes=0, **arguments
        )
    except (TypeError, ValueError, AssertionError) as error:
        raise ConfigError(
            f"timm refuses the arguments of {preset.model} ({cut(str(error), 200)}); correct "
            "`arguments`"
        ) from error
    return model


def _timm_tensors(preset: Preset, weights: Path, model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a file under timm's names."""
    content: Any = read_checkpoint_file(weights).content
    if preset.entry:
        if not isinstance(content.get(preset.entry), Mapping):
            found = ", ".join(f"'{name}'" for name in list(content)[:3]) or "none"
            raise CheckpointError(
                f"{weights} has no entry '{preset.entry}' of tensors (first entries: {found}); "
                f"give the file from {preset.source}"
            )
        content = content[preset.entry]
    tensors = {
        name.removeprefix(preset.prefix): value
        for name, value in content.items()
        if isinstance(name, str) and name.startswith(preset.prefix) and isinstance(value, Tensor)
    }
    tensors = {
        name: value
        for name, value in tensors.items()
        if not name.startswith(preset.left_out or ("\0",))
    }

    convert: Callable[[dict[str, Tensor], nn.Module], dict[str, Tensor]] | None = (
        _from_torchvision_convnext
        if preset.layout == "torchvision_convnext"
        else getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    )
    try:
        return dict(convert(tensors, model)) if convert else tensors
    except (LookupError, RuntimeError, ValueError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f"{weights} has other tensors than timm's {preset.model} ({cut(str(error), 200)}); "
            f"give the file from {preset.source}"
        ) from error


def _from_torchvision_convnext(tensors: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of torchvision's ConvNeXt under timm's names."""
    renamed = {}
    for name, tensor in tensors.items():
        if name.startswith("classifier.2"):  # the classifier
            continue
        for pattern, replacement in _TORCHVISION_CONVNEXT:
            name = re.sub(pattern, replacement, name)
        if found := re.fullmatch(r"features\.(\d+)\.(\d+)\.(.+)", name):
            number, place, rest = int(found[1]), found[2], found[3]
            if number % 2:
                inner = next((key for key in _CONVNEXT_BLOCK if rest.startswith(key)), "")
                rest = _CONVNEXT_BLOCK.get(inner, inner) + rest.removeprefix(inner)
                name = f"stages.{number // 2}.blocks.{place}.{rest}"
            else:
                name = f"stages.{number // 2}.downsample.{place}.{rest}"
        renamed[name] = tensor.flatten() if name.endswith("gamma") else tensor
    return renamed


def _config(network: Encoder | FramesNetwork) -> dict[str, Any]:
    if isinstance(network, Encoder):
        return asdict(network.config)
    return {"width": int(network.model.num_features)}


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
