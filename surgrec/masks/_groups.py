"""Multi-block masks of a batch of any size, cut from whole mask groups of the stream."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from surgrec.masks._grid import TubeletGrid
from surgrec.masks._multiblock import Masks, MultiblockConfig, Trim, sample_group


@dataclass(frozen=True, kw_only=True)
class GroupMasks:
    """The rows of a batch that share a mask group, and their masks."""

    rows: slice
    """Rows of the batch."""

    masks: tuple[Masks, ...]
    """One per mask configuration."""


def batch_masks(
    grid: TubeletGrid,
    configs: Sequence[MultiblockConfig],
    *,
    seed: int,
    positions: Int64[np.ndarray, " b"],
    mask_group: int = 24,
    trim: Trim = "prefix",
) -> list[GroupMasks]:
    """Return the masks of the samples at these positions, one entry per mask group.

    Every group is sampled whole, including rows of other batches or ranks. So a sample's masks
    depend on its position alone, never on the batch size, the rank or the world size.

    Args:
        grid: Grid of the clips.
        configs: Mask configurations.
        seed: Seed of the run.
        positions: Positions of the batch in the stream, ascending.
        mask_group: Positions per group. 24 is the batch per GPU of V-JEPA 1 and 2, which determines
            how much they trim.
        trim: See `sample_group`.
    """
    assert np.all(np.diff(positions) >= 0), (
        "a group is one slice of the batch only if positions ascend"
    )
    groups, starts = np.unique(positions // mask_group, return_index=True)
    stops = np.append(starts[1:], len(positions))

    batch = []
    for group, start, stop in zip(groups.tolist(), starts.tolist(), stops.tolist(), strict=True):
        # Sample the whole group, then take this batch's rows.
        rows_in_group = positions[start:stop] % mask_group
        masks = [
            sample_group(
                grid, config, seed=seed, group=group, size=mask_group, mask_config=number, trim=trim
            )
            for number, config in enumerate(configs)
        ]
        batch.append(
            GroupMasks(
                rows=slice(start, stop), masks=tuple(whole.take(rows_in_group) for whole in masks)
            )
        )
    return batch
