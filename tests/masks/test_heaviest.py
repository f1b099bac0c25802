"""The greatest lengths of mask groups, found without drawing the groups."""

from dataclasses import replace

import numpy as np
import pytest

from surgrec.masks import (
    LONG_RANGE,
    SHORT_RANGE,
    MultiblockConfig,
    TubeletGrid,
    batch_masks,
    heaviest_lengths,
)

GRID = TubeletGrid(4, 8, 8)
CONFIGS = (SHORT_RANGE, LONG_RANGE)
CONTEXT, TARGET = 5.0, 1.0
"""Costs of a token."""


def cost(lengths: list[tuple[int, int]]) -> float:
    return sum(CONTEXT * context + TARGET * target for context, target in lengths)


def bound(
    grid: TubeletGrid, configs: tuple[MultiblockConfig, ...], mask_group: int, **options: float
) -> float:
    lengths = heaviest_lengths(
        grid,
        configs,
        mask_group=mask_group,
        context_cost=CONTEXT,
        target_cost=TARGET,
        **options,
    )
    assert len(lengths) == len(configs)
    assert all(context > 0 and context + target <= grid.num_tokens for context, target in lengths)
    return cost(lengths)


def drawn(
    grid: TubeletGrid, configs: tuple[MultiblockConfig, ...], mask_group: int, groups: range
) -> list[float]:
    """Return the costs of real mask groups."""
    positions = np.arange(groups.start * mask_group, groups.stop * mask_group)
    masks = batch_masks(grid, configs, seed=3, positions=positions, mask_group=mask_group)
    return [
        cost([(mask.context_index.shape[1], mask.target_index.shape[1]) for mask in group.masks])
        for group in masks
    ]


@pytest.mark.parametrize(("mask_group", "temporal_scale"), [(6, 1.0), (1, 0.5)])
def test_no_group_exceeds_the_bound_and_the_bound_is_near(
    mask_group: int, temporal_scale: float
) -> None:
    configs = tuple(replace(config, temporal_scale=temporal_scale) for config in CONFIGS)
    heaviest = max(drawn(GRID, configs, mask_group, range(400)))
    assert heaviest <= bound(GRID, configs, mask_group) < 1.4 * heaviest


@pytest.mark.parametrize(
    "configs",
    [(LONG_RANGE,), CONFIGS, pytest.param((*CONFIGS, SHORT_RANGE), marks=pytest.mark.slow)],
)
def test_the_stated_share_of_the_groups_costs_more(configs: tuple[MultiblockConfig, ...]) -> None:
    costs = np.array(drawn(GRID, configs, 4, range(1000)))
    above = np.mean(costs > bound(GRID, configs, 4, above=0.1))
    assert 0.06 < above < 0.13


def test_given_lengths_are_bounded_by_the_most_expensive_pair() -> None:
    static = replace(SHORT_RANGE, lengths=((40, 100), (60, 60), (20, 140)))
    assert bound(GRID, (static,), 4) == 60 * CONTEXT + 60 * TARGET


@pytest.mark.slow
@pytest.mark.parametrize(
    ("grid", "mask_group"), [(TubeletGrid(8, 16, 16), 48), (TubeletGrid(8, 14, 14), 24)]
)
def test_none_of_5_000_published_groups_exceeds_the_bound(
    grid: TubeletGrid, mask_group: int
) -> None:
    highest = bound(grid, CONFIGS, mask_group)
    for first in range(0, 5_000, 1_000):
        costs = drawn(grid, CONFIGS, mask_group, range(first, first + 1_000))
        assert max(costs) <= highest
