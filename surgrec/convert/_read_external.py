"""Weights of other projects, in and out: which format a file has, and one function for each direction."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from surgrec.convert._checkpoint_file import CheckpointFile, read_checkpoint_file
from surgrec.convert._key_map import is_named_tensors
from surgrec.convert._pretrained import ImportOptions, Pretrained
from surgrec.convert._surgrec_release import read_surgrec
from surgrec.convert._timm import read_timm
from surgrec.convert._videomae import read_videomae
from surgrec.convert._vjepa import KEYS, read_vjepa
from surgrec.convert.hf_videomae import read_hf_videomae
from surgrec.convert.hf_vjepa2 import read_hf_vjepa2
from surgrec.errors import CheckpointError, ConfigError
from surgrec.models import ENCODER_SIZES

Format: TypeAlias = Literal["vjepa", "videomae", "hf", "timm", "surgrec"]

ImportFormat: TypeAlias = Format | Literal["auto"]
"""What a user says of a file: its format, or `auto` to tell it from the entries."""

Reader: TypeAlias = Callable[[CheckpointFile, ImportOptions], Pretrained]


def read_external(path: Path, format_name: ImportFormat, options: ImportOptions) -> Pretrained:
    """The weights of a foreign file or folder. Nothing in it is run; every tensor is taken or named as left out.

    Args:
        path: A `.pth`, `.pt`, `.pth.tar` or `.safetensors` file, or a folder with a config.json.
        format_name: The format, or `auto` to tell it from the entries.
        options: What the file does not say.

    Raises:
        CheckpointError: It cannot be read, is of no known format or may be of two, does not hold exactly the tensors of one, or
            its sizes and what was given make no encoder.
    """
    container = read_checkpoint_file(path)
    reader = _reader(container, _format(container) if format_name == "auto" else format_name)
    try:
        weights = reader(container, options)
    except ConfigError as error:
        raise CheckpointError(
            f"{container.name} and what was given of it make no encoder: {error}"
        ) from error
    if format_name != "auto":
        return weights
    if container.note is None and _may_be_surgrec_jepa(weights):
        raise CheckpointError(
            f"{container.name} may be V-JEPA's ViT-L or SurgRec-JEPA, which store the same names but have other licenses and use "
            "another entry: say which by --format vjepa or --format surgrec, in a recipe by --init_format"
        )
    return weights


def _may_be_surgrec_jepa(weights: Pretrained) -> bool:
    """Whether this is V-JEPA's container with a ViT-L, of which SurgRec published one too."""
    large = ENCODER_SIZES["large"]
    config, published = weights.encoder.config, weights.origin.format in ("vjepa1", "vjepa2")
    return published and (config.width, config.depth) == (large["width"], large["depth"])


def _format(container: CheckpointFile) -> Format:
    content, config = container.content, container.config
    if config is not None:
        return "timm" if "architecture" in config else "hf"
    if any(key in content for key in KEYS):
        return "vjepa"
    if "model" in content or "module" in content or "encoder.blocks.0.norm1.weight" in content:
        return "videomae"
    if _is_image_model(content):
        return "timm"
    if any(
        name.removeprefix("module.").removeprefix("backbone.").startswith("blocks.")
        for name in content
    ):
        return "vjepa"
    some = ", ".join(f"'{name}'" for name in list(content)[:3]) or "nothing"
    raise CheckpointError(
        f"{container.name} begins with {some}, which no known format does; name its format, or give the folder with its "
        "config.json"
    )


def _is_image_model(content: Mapping[str, object]) -> bool:
    projection = content.get("patch_embed.proj.weight")
    return getattr(projection, "ndim", None) == 4


def _reader(container: CheckpointFile, format_name: Format) -> Reader:
    if format_name in ("hf", "timm") and not is_named_tensors(container.content):
        raise CheckpointError(
            f"{container.name} holds more than tensors by name, which {format_name}'s files do not"
        )
    if format_name != "hf":
        return {
            "vjepa": read_vjepa,
            "videomae": read_videomae,
            "timm": read_timm,
            "surgrec": read_surgrec,
        }[format_name]
    model = (container.config or {}).get("model_type")
    readers: dict[str, Reader] = {"vjepa2": read_hf_vjepa2, "videomae": read_hf_videomae}
    if not isinstance(model, str) or model not in readers:
        found = (
            f"'model_type' {model!r} in its config.json" if container.config else "no config.json"
        )
        raise CheckpointError(
            f"{container.name} has {found}; of Hugging Face's models vjepa2 and videomae can be read"
        )
    return readers[model]
