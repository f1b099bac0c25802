"""The options of `surgrec plan` beside those of a recipe."""

from dataclasses import dataclass
from typing import Annotated

from surgrec.ranges import Range


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """Show what a run needs of its machine, and the options with which it fits.

    Give --config and any option of the recipe; --corpus and --run_dir are not needed, nor is a GPU:
    memory is counted from the model with tensors that have no data.

    Example:
        surgrec plan --config jepa_vitl16 --gpus 8 --gpu h100-80
        surgrec plan --config mae_vitb16 --gpus 1 --gpu 3090-24 --global_batch 64
    """

    gpus: Annotated[int, Range(1, 100_000)] = 8
    """Number of GPUs, one process each."""
    gpu: str = "h100-80"
    """Kind of GPU: h200-141, h100-80, a100-80, a100-40, l40s-48, a40-48, 4090-24, 3090-24 or
    v100-32."""
    mfu: Annotated[float, Range(0, 1, above=True)] = 0.4
    """Share of the peak rate that a step reaches. 0.4 is an assumption, as in the costs of the
    configs; V-JEPA 2's own code reached 0.27 on A100 (EchoJEPA)."""
    json: bool = False
    """Print one JSON value instead of a table; sizes are bytes."""
