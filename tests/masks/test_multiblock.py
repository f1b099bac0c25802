import hashlib

import numpy as np
import pytest

from surgrec.errors import ConfigError
from surgrec.masks import (
    LONG_RANGE,
    MASKS_VERSION,
    SHORT_RANGE,
    Masks,
    MultiblockConfig,
    TubeletGrid,
)
from surgrec.masks._multiblock import sample_group

GRID = TubeletGrid(8, 14, 14)


def digest(masks: Masks) -> str:
    """Return a digest of values and shapes that is equal on every platform."""
    rows = [masks.context_index.tolist(), masks.target_index.tolist()]
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]


@pytest.mark.parametrize("config", [SHORT_RANGE, LONG_RANGE])
@pytest.mark.parametrize("trim", ["prefix", "random"])
def test_context_and_target_are_sorted_disjoint_and_inside_the_grid(config, trim):
    for group in range(5):
        masks = sample_group(GRID, config, seed=3, group=group, size=24, trim=trim)
        both = np.concatenate([masks.context_index, masks.target_index], axis=1)
        assert len(both) == 24
        assert all(len(set(row)) == len(row) for row in both.tolist())
        assert both.min() >= 0
        assert both.max() < GRID.num_tokens
        assert (np.diff(masks.context_index, axis=1) > 0).all()
        assert (np.diff(masks.target_index, axis=1) > 0).all()


@pytest.mark.parametrize(
    ("grid", "config", "group_size", "context", "target"),
    [
        # Simulated with V-JEPA 2's collator at these batch sizes per rank: means of tokens kept, at
        # 224 px,
        (GRID, SHORT_RANGE, 1, 582, 986),
        (GRID, SHORT_RANGE, 8, 416, 813),
        (GRID, SHORT_RANGE, 24, 363, 767),
        (GRID, SHORT_RANGE, 64, 330, 694),
        (GRID, SHORT_RANGE, 128, 301, 668),
        (GRID, LONG_RANGE, 1, 291, 1277),
        (GRID, LONG_RANGE, 8, 138, 1137),
        (GRID, LONG_RANGE, 24, 104, 1101),
        (GRID, LONG_RANGE, 64, 89, 1105),
        (GRID, LONG_RANGE, 128, 77, 1105),
        # at 256 px, and there with 64 frames.
        (TubeletGrid(8, 16, 16), SHORT_RANGE, 24, 497, 963),
        (TubeletGrid(8, 16, 16), LONG_RANGE, 24, 128, 1439),
        (TubeletGrid(32, 16, 16), SHORT_RANGE, 8, 2315, 4200),
        (TubeletGrid(32, 16, 16), LONG_RANGE, 8, 692, 5915),
    ],
)
def test_kept_fractions_are_those_of_vjepa(grid, config, group_size, context, target):
    num_groups = 200 if group_size > 1 else 1000
    groups = [
        sample_group(grid, config, seed=0, group=group, size=group_size)
        for group in range(num_groups)
    ]
    kept_context = np.mean([masks.context_index.shape[1] for masks in groups]) / grid.num_tokens
    kept_target = np.mean([masks.target_index.shape[1] for masks in groups]) / grid.num_tokens
    assert kept_context == pytest.approx(context / grid.num_tokens, abs=0.02)
    assert kept_target == pytest.approx(target / grid.num_tokens, abs=0.02)


@pytest.mark.parametrize(
    ("grid", "scale", "expected"),
    [
        # Heights and widths of 29, 137, 38 and 179 tubelets (0.15 and 0.7 of a frame) at ratios
        # 0.75 to 1.5, by hand.
        (GRID, 0.15, "5x6 5x5 6x5 6x4 7x4"),
        (GRID, 0.7, "10x14 10x13 11x13 11x12 12x12 12x11 13x11 13x10 14x10"),
        (TubeletGrid(8, 16, 16), 0.15, "5x7 6x7 6x6 7x6 7x5 8x5"),
        (TubeletGrid(8, 16, 16), 0.7, "12x15 12x14 13x14 13x13 14x13 14x12 15x12 16x12 16x11"),
    ],
)
def test_blocks_span_all_frames_and_have_the_configured_area_and_aspect(grid, scale, expected):
    """P12 of the parity plan. Every size has 0.2 % of the ratios or more: 4000 groups show all."""
    one_block = MultiblockConfig(num_blocks=1, spatial_scale=scale)
    sizes = set()
    for group in range(4000):
        target = sample_group(grid, one_block, seed=0, group=group, size=1).target_index[0]
        t, h, w = np.unravel_index(target, (grid.frames, grid.height, grid.width))
        height, width = np.ptp(h) + 1, np.ptp(w) + 1
        assert len(target) == grid.frames * height * width
        assert np.ptp(t) + 1 == grid.frames
        sizes.add(f"{height}x{width}")
    assert sizes == set(expected.split())


def test_a_group_has_one_block_size_and_each_sample_its_corners():
    one_block = MultiblockConfig(num_blocks=1, spatial_scale=0.15, temporal_scale=0.5)
    masks = sample_group(GRID, one_block, seed=0, group=0, size=24)
    first = masks.target_index[:, 0]
    assert len(set(first.tolist())) > 12
    assert (masks.target_index - first[:, None] == masks.target_index[0] - first[0]).all()


def test_prefix_trim_keeps_the_lowest_ids_and_random_trim_is_unbiased():
    prefix = [sample_group(GRID, SHORT_RANGE, seed=0, group=group, size=24) for group in range(30)]
    random = [
        sample_group(GRID, SHORT_RANGE, seed=0, group=group, size=24, trim="random")
        for group in range(30)
    ]
    for by_prefix, by_chance in zip(prefix, random, strict=True):
        assert by_prefix.context_index.shape == by_chance.context_index.shape
    last_frame = 7 * 14 * 14
    in_last_frame_prefix = np.mean([(masks.context_index >= last_frame).mean() for masks in prefix])
    in_last_frame_random = np.mean([(masks.context_index >= last_frame).mean() for masks in random])
    assert in_last_frame_prefix < 0.05
    assert in_last_frame_random == pytest.approx(1 / 8, abs=0.01)


def test_every_argument_of_the_key_changes_the_mask():
    def key(**changes):
        return digest(
            sample_group(
                GRID, SHORT_RANGE, **{"seed": 1, "group": 2, "size": 8, "mask_config": 0, **changes}
            )
        )

    assert key() == key()
    assert len({key(), key(seed=2), key(group=3), key(mask_config=1)}) == 4


def test_masks_are_the_golden_ones():
    golden = [
        digest(sample_group(GRID, SHORT_RANGE, seed=0, group=0, size=24)),
        digest(sample_group(GRID, LONG_RANGE, seed=239, group=10**9, size=24, mask_config=1)),
        digest(sample_group(GRID, SHORT_RANGE, seed=2**63, group=7, size=24, trim="random")),
    ]
    assert golden == ["9d0bac6049e9e297", "ce82f4fe3f1481e9", "200646a6fa16cb7a"]
    assert MASKS_VERSION == 1, "other masks need another version"


def test_a_context_is_never_empty():
    grid = TubeletGrid(1, 3, 4)  # two blocks of 3 x 3 that differ cover it all
    config = MultiblockConfig(num_blocks=2, spatial_scale=0.8, aspect_ratio=(1.0, 1.0))
    for group in range(50):
        masks = sample_group(grid, config, seed=0, group=group, size=4)
        assert masks.context_index.shape == (4, 3)


@pytest.mark.parametrize("scale", [0.01, 1.0])
def test_a_scale_that_hides_nothing_or_everything_is_refused(scale):
    config = MultiblockConfig(num_blocks=2, spatial_scale=scale, aspect_ratio=(1.0, 1.0))
    with pytest.raises(ConfigError, match=f"spatial_scale {scale} .* 2 x 4 x 4"):
        sample_group(TubeletGrid(2, 4, 4), config, seed=0, group=0, size=2)


def test_blocks_that_always_cover_the_grid_are_refused():
    config = MultiblockConfig(num_blocks=500, spatial_scale=0.5)
    with pytest.raises(ConfigError, match="500 blocks"):
        sample_group(TubeletGrid(1, 4, 4), config, seed=0, group=0, size=1)


@pytest.mark.parametrize(
    ("changes", "value"),
    [
        ({"lengths": ((8, 16), (0, 8))}, r"lengths\[1\]\[0\] is 0; give 1 to"),
        ({"num_blocks": 0}, "0"),
        ({"spatial_scale": 1.5}, r"1\.5"),
        ({"temporal_scale": 0.0}, r"0\.0"),
        ({"aspect_ratio": (1.5, 0.75)}, r"1\.5, 0\.75"),
    ],
)
def test_an_impossible_configuration_is_refused(changes, value):
    with pytest.raises(ConfigError, match=value):
        MultiblockConfig(**{"num_blocks": 2, "spatial_scale": 0.5, **changes})
