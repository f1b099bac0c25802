"""Checks that the configs of encoder, predictor and decoder share."""

from collections.abc import Collection, Mapping
from typing import Any

from surgrec.errors import ConfigError


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
