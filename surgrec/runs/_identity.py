"""The identity of a run, which a resumed run must share, and the provenance of its weights."""

from collections.abc import Mapping
from typing import Any

from surgrec import __version__
from surgrec.cli import as_plain
from surgrec.stream import Stream

CHANGEABLE_ON_RESUME = {
    "run_dir",
    "corpus",
    "mixture",
    "init_from",
    "init_format",
    "init_license",
    "steps",
    "loader",
    "log",
    "save_every",
    "keep_checkpoints",
    "resume",
}
"""Fields of a recipe's config that a resumed run may change.

The mixture is compared as part of the order, and the initial weights by their digest.
"""


def run_identity(
    recipe: str,
    stream: Stream,
    config: object,
    init_from: Mapping[str, Any] | None,
    *,
    positions: int,
) -> dict[str, Any]:
    """Return the JSON values that a run and its resumption must share.

    Args:
        recipe: Name of the recipe, such as `jepa`.
        stream: Order of the samples. Stages of the mixture that begin later may differ.
        config: The recipe's config; fields in `CHANGEABLE_ON_RESUME` are left out.
        init_from: Record of the initial weights; None for random weights.
        positions: Positions of the stream that the run has consumed.
    """
    fixed = {
        name: value for name, value in as_plain(config).items() if name not in CHANGEABLE_ON_RESUME
    }
    order = stream.order.identity(positions)
    return {"recipe": recipe, "order": order, "config": fixed, "init_from": init_from}


def provenance(
    identity: Mapping[str, Any], stream: Stream, *, step: int, positions: int
) -> dict[str, Any]:
    """Return the record of how weights were made, as JSON values.

    Args:
        identity: Value of `run_identity` at this step.
        stream: Order of the samples.
        step: Number of optimizer steps done.
        positions: Positions of the stream that the run has consumed.
    """
    consumed = stream.order.consumed(positions)
    return {**identity, "step": step, "consumed": consumed, "surgrec": __version__}
