"""Check values of a Hugging Face config.json, and convert them to SurgRec's."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from surgrec.errors import CheckpointError
from surgrec.models import State
from surgrec.normalize import RGB_MEAN, RGB_STD

Number = TypeVar("Number", int, float)

_BILINEAR = 2
"""The number of bilinear resampling in processors."""

EXACT_GELU = ("gelu",)
"""Values of `hidden_act` for the GELU without approximation."""

MAX_NUMBER, MAX_BLOCKS = 10**6, 500
"""Limits above those of any model. Without them, a config could request hours of work before a
single tensor is compared."""


def config_number(
    config: Mapping[str, Any], name: str, default: Number, context: str, least: int = 1
) -> Number:
    """Return a number of the config.

    Args:
        config: Content of config.json.
        name: The field.
        default: Default of transformers, which omits some values that equal it. Its type decides
            whether fractions are allowed.
        context: The folder, for the error.
        least: The smallest allowed value.

    Raises:
        CheckpointError: The value is not a number, out of range, or a fraction in place of a whole
            number.
    """
    value = config.get(name, default)
    # A square patch may be stored as height and width.
    if isinstance(value, list) and value and value.count(value[0]) == len(value):
        value = value[0]

    types = (int, float) if isinstance(default, float) else int
    most = MAX_BLOCKS if name.endswith("num_hidden_layers") else MAX_NUMBER
    if isinstance(value, bool) or not isinstance(value, types) or not least <= value <= most:
        kind = "a number" if isinstance(default, float) else "a whole number"
        raise CheckpointError(
            f"{context}: '{name}' in config.json is {value!r}, expected {kind} from {least} to "
            f"{most}; give the folder as it was published"
        )
    return type(default)(value)


def require_values(
    config: Mapping[str, Any], allowed: Mapping[str, Sequence[object]], context: str
) -> None:
    """Raise if the config asks for something that no encoder here has.

    Args:
        config: Content of config.json.
        allowed: Allowed values by field. A missing field has transformers' default, the first one.
        context: The folder, for the error.

    Raises:
        CheckpointError: Names the field, its value and the allowed ones.
    """
    for name, values in allowed.items():
        if config.get(name, values[0]) not in values:
            expected = " or ".join(repr(value) for value in values)
            raise CheckpointError(
                f"{context}: '{name}' in config.json is {config[name]!r}, expected {expected}; "
                "give a model with that value, as others cannot be imported"
            )


def dtype_name(state: State) -> str:
    """Return the config's `dtype` for an encoder of SurgRec."""
    return str(state["patch_embed.proj.weight"].dtype).removeprefix("torch.")


def read_mlp_ratio(config: Mapping[str, Any], prefix: str, width: int, context: str) -> float:
    """Return the MLP ratio that gives as many hidden channels here as in VJEPA2Model.

    transformers truncates `width * ratio`; networks here round it.
    """
    ratio = config_number(config, f"{prefix}mlp_ratio", 4.0, context)
    hidden = int(width * ratio)
    return ratio if round(width * ratio) == hidden else hidden / width


def write_mlp_ratio(width: int, ratio: float) -> float:
    """Return the MLP ratio that gives as many hidden channels in VJEPA2Model as `ratio` gives here.

    The inverse of `read_mlp_ratio`.
    """
    hidden = round(width * ratio)
    candidates = (ratio, hidden / width, (hidden + 0.5) / width)
    return next(candidate for candidate in candidates if int(width * candidate) == hidden)


def processor_config(crop_px: int) -> dict[str, Any]:
    """Return a processor's config without its class, with the view of `surgrec features`.

    The shorter side is resized to the crop, so the center crop is the largest square of a frame.

    Args:
        crop_px: Side of the center crop, pixels.
    """
    return {
        "do_resize": True,
        "resample": _BILINEAR,
        "size": {"shortest_edge": crop_px},
        "do_center_crop": True,
        "crop_size": {"height": crop_px, "width": crop_px},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(RGB_MEAN),
        "image_std": list(RGB_STD),
    }
