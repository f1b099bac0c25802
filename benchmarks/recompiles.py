"""Compiled versions of the blocks over many steps of a JEPA, and its losses beside an eager run.

    .venv/bin/python -m benchmarks.recompiles                                # counts, traced only
    .venv/bin/python -m benchmarks.recompiles --steps 20 --backend inductor  # the real compiler

The masks are those of 16 frames of 224 px in groups of 24, with the fixed lengths of the overlay
`static_16x224` or the published ones (`--fixed false`). The networks are narrow, and each step
takes one clip of a group. After the step of the last new version, nothing was compiled.
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from torch._dynamo.backends.registry import set_default_backend
from torch._dynamo.utils import counters

from surgrec.cli import parse
from surgrec.masks import MultiblockConfig
from surgrec.models import Encoder, EncoderConfig, PredictorConfig
from surgrec.models.blocks import compile_blocks
from surgrec.objectives import JepaObjective, JepaObjectiveConfig, jepa_masks, target_features
from surgrec.ranges import Range, check_ranges
from surgrec.training import OptimizerConfig, build_optimizer, ema_copy, update_ema
from surgrec.yaml_files import read_yaml

OVERLAY = Path(__file__).parents[1] / "recipes/configs/overlays/static_16x224.yaml"
GROUP = 24
COMPARED = 20
"""First steps whose losses are compared; no run has fewer."""


@dataclass(frozen=True, kw_only=True)
class Recompiles:
    """Amount of work."""

    steps: Annotated[int, Range(COMPARED, 10**6)] = 1000
    """Steps of both runs."""
    fixed: bool = True
    """Masks of fixed lengths."""
    backend: Literal["aot_eager", "inductor"] = "aot_eager"
    """What torch.compile makes of a graph; `aot_eager` traces it and calls PyTorch's kernels."""
    width: Annotated[int, Range(8, 4096)] = 24
    """Width of the encoder."""

    def __post_init__(self) -> None:
        check_ranges(self)


class NarrowRun:
    """A JEPA that trains on one random clip per step."""

    def __init__(self, config: Recompiles) -> None:
        torch.manual_seed(0)
        encoder = EncoderConfig(width=config.width, depth=2, num_heads=1, crop_px=224)
        predictor = PredictorConfig(width=config.width, depth=1, num_heads=1)
        self.masks = JepaObjectiveConfig(predictor=predictor, mask_group=GROUP)
        if config.fixed:
            overlay = read_yaml(OVERLAY)["objective"]
            masks = tuple(MultiblockConfig(**_tuples(mask)) for mask in overlay["masks"])
            self.masks = JepaObjectiveConfig(
                predictor=predictor, mask_group=GROUP, trim=overlay["trim"], masks=masks
            )
        self.objective = JepaObjective(Encoder(encoder), self.masks)
        self.target = ema_copy(self.objective.encoder)
        self.optimizer = build_optimizer(self.objective, OptimizerConfig())

    def compile(self) -> None:
        """Compile the blocks, as a run does."""
        for module in (self.objective, self.target):
            compile_blocks(module, fixed_shapes=self.objective.has_fixed_shapes)

    def step(self, number: int) -> float:
        """Run a step and return its loss."""
        grid = self.objective.encoder.config.grid
        clips = torch.randn(1, 3, 16, 224, 224, generator=torch.Generator().manual_seed(number))
        masks = jepa_masks(self.masks, grid, seed=0, positions=np.array([number * GROUP]))
        losses = self.objective(clips, target_features(self.target, clips), masks)
        losses["loss"].backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        update_ema(self.target, self.objective.encoder, 0.99)
        return float(losses["loss"].detach())


def main(config: Recompiles) -> None:
    """Run both and print each step with a new version, and the largest difference of losses."""
    torch.set_num_threads(1)
    set_default_backend(config.backend)
    run = NarrowRun(config)
    eager = copy.deepcopy(run)
    run.compile()

    versions, largest = 0, 0.0
    for number in range(config.steps):
        loss = run.step(number)
        if number < COMPARED:
            largest = max(largest, abs(loss - eager.step(number)))
        compiled = counters["stats"]["unique_graphs"]
        if compiled > versions:
            print(f"step {number}: {compiled} versions", flush=True)
        versions = compiled
    print(f"{config.steps} steps: {versions} versions; losses of the first {COMPARED} differ by at")
    print(f"most {largest:.1e} from those without compilation")


def _tuples(mask: dict[str, object]) -> dict[str, object]:
    """Return a mapping with tuples instead of lists."""
    return {
        name: tuple(tuple(v) if isinstance(v, list) else v for v in value)
        if isinstance(value, list)
        else value
        for name, value in mask.items()
    }


if __name__ == "__main__":
    main(parse(Recompiles))
