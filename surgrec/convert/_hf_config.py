"""Values of a Hugging Face config.json: those that shape the model are taken, those that no model here has are refused."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from surgrec.errors import CheckpointError
from surgrec.models import State

Number = TypeVar("Number", int, float)

EXACT_GELU = ("gelu",)
"""What `hidden_act` says for the activation without approximation."""


MOST, MOST_BLOCKS = 10**6, 500
"""More than any number of a config that a model has, and any number of blocks: each takes time before a tensor is looked at."""


def config_value(
    config: Mapping[str, Any], name: str, default: Number, where: str, least: int = 1
) -> Number:
    """A number of the config, or transformers' default, which it does not always write down.

    Raises:
        CheckpointError: The value is not a number, is none of a model's, or has a fraction where there can be none.
    """
    value = config.get(name, default)
    if (
        isinstance(value, list) and value and value.count(value[0]) == len(value)
    ):  # a square patch, as height and width
        value = value[0]
    wanted = (int, float) if isinstance(default, float) else int
    most = MOST_BLOCKS if name.endswith("num_hidden_layers") else MOST
    if isinstance(value, bool) or not isinstance(value, wanted) or not least <= value <= most:
        kind = "a number" if isinstance(default, float) else "a whole number"
        raise CheckpointError(
            f"{where}: '{name}' of its config.json is {value!r}, {kind} of {least} or more, at most {most}, expected"
        )
    return type(default)(value)


def dtype_name(state: State) -> str:
    """What `dtype` of the config says of the tensors of an encoder of ours."""
    return str(state["patch_embed.proj.weight"].dtype).removeprefix("torch.")


def mlp_ratio(config: Mapping[str, Any], prefix: str, width: int, where: str) -> float:
    """The ratio of hidden channels in a config of VJEPA2Model, as ours: transformers cuts where networks here round."""
    ratio = config_value(config, f"{prefix}mlp_ratio", 4.0, where)
    hidden = int(width * ratio)
    return ratio if round(width * ratio) == hidden else hidden / width


def cut_ratio(width: int, ratio: float) -> float:
    """The other way round: a ratio that gives transformers as many hidden channels as this one gives here."""
    hidden = round(width * ratio)
    return next(
        found
        for found in (ratio, hidden / width, (hidden + 0.5) / width)
        if int(width * found) == hidden
    )


def checked(config: Mapping[str, Any], wanted: Mapping[str, Sequence[object]], where: str) -> None:
    """Refuses a config with another value than these; a value that is not there is transformers' default, the first.

    Raises:
        CheckpointError: Names the value.
    """
    for name, values in wanted.items():
        if config.get(name, values[0]) not in values:
            raise CheckpointError(
                f"{where}: '{name}' of its config.json is {config[name]!r}, and encoders here have {values[0]!r} only"
            )
