"""Image models of timm as encoders: each frame passes through the model alone."""

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor, nn

from surgrec.encoders import TIMM, Preprocessing, Preset, Pretraining, Sources
from surgrec.errors import CheckpointError, ConfigError, cut
from surgrec.features._preset_tensors import stored_tensors
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
_MOST_PARAMETERS, _MOST_SIZE, _MOST_BLOCKS = 10**10, 65_536, 500
"""Limits of a network, and of one number among its arguments."""
_COUNTER = "num_batches_tracked"
"""Counter of a batch norm, which an encoder in evaluation mode does not use."""
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
    def width(self) -> int:
        """Channels of a token and of a feature."""
        return int(self.model.num_features)

    @property
    def blocks(self) -> list[nn.Module]:
        """The blocks of the model, or those of its stages."""
        if hasattr(self.model, "blocks"):
            return list(self.model.blocks)
        stages = getattr(self.model, "stages", getattr(self.model, "layers", ()))
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


def timm_preset(choice: str) -> Preset:
    """Return the preset of any image model of timm, from the facts that timm states about it.

    Args:
        choice: `timm:NAME`, where NAME may have a tag: `timm:vit_base_patch16_224.augreg_in21k`.

    Raises:
        ConfigError: timm has no such model, or states an input that no preset has.
    """
    name = choice.removeprefix(TIMM)
    _require_model(name)
    try:
        stated: Any = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        raise ConfigError(f"{cut(choice)}: {cut(str(error), 200)}; correct the tag") from error
    if not stated or not _is_square(stated):
        raise ConfigError(
            f"timm does not state a square input of {cut(name)} with a known interpolation; write "
            "a YAML file as docs/encoders.md says"
        )

    classifier = stated.classifier or ()
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    license = stated.license if stated.license not in (None, "unknown", "other") else "NOASSERTION"
    origin = stated.hf_hub_id or stated.origin_url or stated.url or "its publisher"
    facts = f"timm {timm.__version__}, configuration of {name}"
    return Preset(
        summary=f"{name} of timm, frames pooled",
        reader="timm",
        num_frames=4,
        fps=1.0,
        preprocessing=Preprocessing(
            size_px=stated.input_size[1],
            interpolation=stated.interpolation,
            antialias=True,
            mean=tuple(stated.mean),
            std=tuple(stated.std),
        ),
        license=license,
        pretraining=Pretraining(data=(), has_surgery="unknown"),
        source=f"https://huggingface.co/{origin}" if stated.hf_hub_id else str(origin),
        sources=Sources(
            sampling="chosen here",
            preprocessing=facts,
            license=facts if license != "NOASSERTION" else "unknown",
            pretraining="unknown",
        ),
        model=name,
        left_out=tuple(f"{head}." for head in heads),
    )


def _is_square(stated: Any) -> bool:
    _, height, width = stated.input_size
    return bool(height == width and stated.interpolation in ("bilinear", "bicubic"))


def timm_network(preset: Preset, weights: Path | None) -> FramesNetwork:
    """Return the network of a preset.

    Args:
        preset: The preset; its reader is timm.
        weights: File of the weights. None: random ones, from torch's random state.

    Raises:
        ConfigError: timm has no such model, or refuses its arguments.
        CheckpointError: The file is damaged, or has other tensors.
    """
    model = _timm_model(preset)
    for module in model.modules():
        if hasattr(module, _COUNTER):
            setattr(module, _COUNTER, None)
    if weights is not None:
        load_strictly(model, _timm_tensors(preset, weights, model), str(weights))
    return FramesNetwork(model)


def _timm_model(preset: Preset) -> nn.Module:
    _require_model(preset.model)
    if refused := sorted(_REFUSED_ARGUMENTS & preset.arguments.keys()):
        raise ConfigError(
            f"`arguments` of the preset has {', '.join(refused)}, which would load other weights "
            "or change the output; remove it, and give the weights with --weights"
        )
    _require_bounded(preset.arguments)
    arguments: dict[str, Any] = {
        name: _ACTIVATIONS.get(value, value) if isinstance(value, str) else value
        for name, value in preset.arguments.items()
    }
    try:
        # Without memory for weights at first: wrong arguments may ask for terabytes.
        with torch.device("meta"):
            shape: nn.Module = timm.create_model(preset.model, num_classes=0, **arguments)
        count = sum(parameter.numel() for parameter in shape.parameters())
        if count > _MOST_PARAMETERS:
            raise ConfigError(
                f"{preset.model} with the `arguments` of the preset has {count:,} parameters, more "
                f"than {_MOST_PARAMETERS:,}; correct `arguments`"
            )
        model: nn.Module = timm.create_model(
            preset.model, pretrained=False, num_classes=0, **arguments
        )
    except (TypeError, ValueError, AssertionError, RuntimeError, ZeroDivisionError) as error:
        raise ConfigError(
            f"timm refuses the arguments of {preset.model} ({cut(str(error), 200)}); correct "
            "`arguments`"
        ) from error
    return model


def _require_bounded(arguments: Mapping[str, Any]) -> None:
    """Refuse numbers with which even the outline of a network takes hours."""
    for name, value in arguments.items():
        values = value if isinstance(value, list) else [value]
        most = _MOST_BLOCKS if name.startswith("depth") else _MOST_SIZE
        numbers = (number for number in values if isinstance(number, int | float))
        if any(not -most <= number <= most for number in numbers):
            raise ConfigError(
                f"`arguments` of the preset has {cut(name)} {cut(str(value))}, beyond {most:,}; "
                "correct it"
            )


def _require_model(name: str) -> None:
    if not timm.is_model(name):
        raise ConfigError(
            f"timm {timm.__version__} has no model '{cut(name)}'; correct its name, or install "
            "another version of timm"
        )


def _timm_tensors(preset: Preset, weights: Path, model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a file under timm's names."""
    tensors = {
        name: value
        for name, value in stored_tensors(preset, weights).items()
        if not name.endswith(_COUNTER)
    }

    # timm has a filter for files of many of its models.
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
