"""Checks that the configs of encoder, predictor and decoder share."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, TypeAlias

from surgrec.errors import ConfigError
from surgrec.ranges import Range

Width: TypeAlias = Annotated[int, Range(1, 65_536)]
Depth: TypeAlias = Annotated[int, Range(0, 512)]
MlpRatio: TypeAlias = Annotated[float, Range(0, 64, above=True)]

_GREATEST_TABLE = 1 << 28
"""Greatest number of values in a table of positions: 1 GiB."""


def check_block_sizes(width: int, num_heads: int, mlp_ratio: float | int) -> None:
    """Raise an error if no transformer has blocks of these sizes.

    Raises:
        ConfigError: The MLP has no channel, or the heads cannot share the width.
    """
    if mlp_ratio * width < 1:
        raise ConfigError(
            f"mlp_ratio is {mlp_ratio} and width is {width}, so the MLP has no channel; raise "
            "mlp_ratio"
        )
    check_heads(width, num_heads)


def check_table(num_tokens: int, width: int) -> None:
    """Raise ConfigError if a table of positions would not fit into memory."""
    if num_tokens * width > _GREATEST_TABLE:
        raise ConfigError(
            f"a clip has {num_tokens} tokens of width {width}, whose table of positions would have "
            f"more than {_GREATEST_TABLE} values; lower num_frames, crop_px or width, or raise "
            "tubelet_size or patch_size"
        )


def check_heads(width: int, num_heads: int) -> None:
    """Raise an error if attention heads cannot share a width equally.

    A head needs 6 channels, so that each of three axes has one rotary pair.

    Raises:
        ConfigError: The heads are unequal, or have fewer than 6 channels.
    """
    if num_heads < 1 or width % num_heads or width // num_heads < 6:
        raise ConfigError(
            f"width {width} does not split into {num_heads} equal heads of 6 or more channels; "
            "change width or num_heads"
        )


def weight_differences(
    saved: Mapping[str, Any], current: Mapping[str, Any], ignored: Collection[str]
) -> str | None:
    """Return the fields in which two configs of one network need different weights.

    MLPs are compared by hidden channels: equal channels may come from slightly different ratios.

    Args:
        saved: Config of the stored weights, as a dict. Has `width` and `mlp_ratio`.
        current: Config of the network that receives them.
        ignored: Fields that no weight depends on.

    Returns:
        For a reader: `depth is 2 in the file, 3 in the config; ...`. None if the weights fit.
    """
    saved_hidden, hidden = (round(c["width"] * c["mlp_ratio"]) for c in (saved, current))
    skipped = {*ignored, "mlp_ratio"} if saved_hidden == hidden else set(ignored)

    differences = [
        f"{name} is {saved[name]} in the file, {current[name]} in the config"
        for name in current
        if saved[name] != current[name] and name not in skipped
    ]
    return "; ".join(differences) or None
