"""Masks of a few fixed lengths, for compiled models, with the lengths of the recipes' configs."""

from dataclasses import replace

import numpy as np
import pytest
import yaml

from surgrec.config_values import from_plain
from surgrec.errors import ConfigError
from surgrec.masks import LONG_RANGE, SHORT_RANGE, MultiblockConfig, Trim, TubeletGrid, batch_masks
from surgrec.masks._multiblock import sample_group
from tests.support.processes import ROOT

GRID = TubeletGrid(4, 8, 8)
FEW = replace(SHORT_RANGE, lengths=((40, 80), (60, 100), (80, 80)))


def config_masks(name: str) -> list[MultiblockConfig]:
    """Return the mask configurations of a config file with `lengths`."""
    fields = yaml.safe_load(
        (ROOT / f"recipes/configs/overlays/{name}.yaml").read_text(encoding="utf-8")
    )
    return [from_plain(MultiblockConfig, mask, name) for mask in fields["objective"]["masks"]]


def shape(
    grid: TubeletGrid, config: MultiblockConfig, group: int, size: int, number: int
) -> tuple[int, int]:
    """Return a group's lengths of context and target; both trims give the same."""
    masks = sample_group(grid, config, seed=3, group=group, size=size, mask_config=number)
    return masks.context_index.shape[1], masks.target_index.shape[1]


@pytest.mark.parametrize("number", [0, 1], ids=["short", "long"])
@pytest.mark.parametrize(
    ("name", "grid", "size", "kept", "groups"),
    [
        ("static_16x224", TubeletGrid(8, 14, 14), 24, [(0.87, 0.89), (0.89, 0.94)], 400),
        pytest.param(
            *("static_16x224", TubeletGrid(8, 14, 14), 24, [(0.87, 0.89), (0.89, 0.94)], 2000),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("static_16x256", TubeletGrid(8, 16, 16), 24, [(0.88, 0.88), (0.91, 0.93)], 2000),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("static_64x256", TubeletGrid(32, 16, 16), 12, [(0.87, 0.88), (0.85, 0.92)], 2000),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_groups_keep_the_documented_shares_of_tokens(
    name: str,
    grid: TubeletGrid,
    size: int,
    kept: list[tuple[float, float]],
    groups: int,
    number: int,
) -> None:
    config = config_masks(name)[number]
    assert replace(config, lengths=()) == (SHORT_RANGE, LONG_RANGE)[number], (
        "as published, except for the lengths"
    )
    whole = np.array(
        [shape(grid, replace(config, lengths=()), group, size, number) for group in range(groups)]
    )
    cut = np.array([shape(grid, config, group, size, number) for group in range(groups)])
    assert set(map(tuple, cut.tolist())) == set(config.lengths), "all pairs are used, and no others"
    assert len(config.lengths) <= 4 < 20 < len(set(map(tuple, whole.tolist())))
    assert cut.mean(axis=0) / whole.mean(axis=0) == pytest.approx(kept[number], abs=0.015)
    drawn_again = 1 - np.mean(
        [any(c <= context and t <= target for c, t in config.lengths) for context, target in whole]
    )
    assert drawn_again <= 0.015


@pytest.mark.parametrize("trim", ["prefix", "random"])
def test_a_group_is_trimmed_to_the_pair_that_keeps_most(trim: Trim) -> None:
    used = set()
    for group in range(200):
        whole = sample_group(GRID, SHORT_RANGE, seed=0, group=group, size=6, trim=trim)
        context, target = whole.context_index.shape[1], whole.target_index.shape[1]
        fitting = [pair for pair in FEW.lengths if pair[0] <= context and pair[1] <= target]
        cut = sample_group(GRID, FEW, seed=0, group=group, size=6, trim=trim)
        pair = (cut.context_index.shape[1], cut.target_index.shape[1])
        assert pair in FEW.lengths
        assert (np.diff(cut.context_index, axis=1) > 0).all()
        assert (np.diff(cut.target_index, axis=1) > 0).all()
        if fitting:
            assert sum(pair) == max(map(sum, fitting))
            used.add(pair)
        if fitting and trim == "prefix":
            assert (cut.context_index == whole.context_index[:, : pair[0]]).all()
            assert (cut.target_index == whole.target_index[:, : pair[1]]).all()
    assert len(used) >= 2


def test_a_random_trim_to_a_length_is_unbiased_and_a_prefix_is_not() -> None:
    """A clip's loss is a mean over its target tokens. Here the loss of a token is its time."""

    def mean_time(config: MultiblockConfig, trim: Trim) -> float:
        groups = [
            sample_group(GRID, config, seed=0, group=group, size=6, trim=trim)
            for group in range(500)
        ]
        return float(np.mean([np.mean(masks.target_index // 64) for masks in groups]))

    assert mean_time(FEW, "random") == pytest.approx(1.5, abs=0.01)
    assert mean_time(FEW, "prefix") < 1.3


def test_masks_of_fixed_lengths_depend_on_the_position_alone() -> None:
    whole = batch_masks(
        GRID, (FEW, LONG_RANGE), seed=1, positions=np.arange(24), mask_group=6, trim="random"
    )
    rows = np.concatenate([group.masks[0].target_index[:, :80] for group in whole])
    (part,) = batch_masks(
        GRID, (FEW, LONG_RANGE), seed=1, positions=np.arange(14, 17), mask_group=6, trim="random"
    )
    assert (part.masks[0].target_index[:, :80] == rows[14:17]).all()


def test_lengths_that_no_group_reaches_are_refused() -> None:
    with pytest.raises(
        ConfigError,
        match=r"4 x 8 x 8 tubelets have too few tokens for every pair in lengths \(\(250, 2",
    ):
        sample_group(GRID, replace(SHORT_RANGE, lengths=((250, 250),)), seed=0, group=0, size=2)
