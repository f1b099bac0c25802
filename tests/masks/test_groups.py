import numpy as np
import pytest

from surgrec.masks import LONG_RANGE, SHORT_RANGE, TubeletGrid, batch_masks
from surgrec.masks._multiblock import sample_group

GRID = TubeletGrid(4, 8, 8)
CONFIGS = (SHORT_RANGE, LONG_RANGE)


def masks_by_position(positions: np.ndarray, **options) -> dict[int, tuple]:
    """Position -> its context and target ids under each mask configuration."""
    rows = {}
    for group in batch_masks(GRID, CONFIGS, seed=5, positions=positions, **options):
        for row, position in enumerate(positions[group.rows].tolist()):
            rows[position] = tuple(
                (m.context_index[row].tolist(), m.target_index[row].tolist()) for m in group.masks
            )
    return rows


@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("global_batch", [8, 20, 48])
def test_masks_do_not_depend_on_world_size_or_batch_size(world_size, global_batch):
    expected = masks_by_position(np.arange(96))
    rank_batch = global_batch // world_size
    actual = {}
    for step in range(96 // global_batch):
        for rank in range(world_size):
            start = step * global_batch + rank * rank_batch
            actual.update(masks_by_position(np.arange(start, start + rank_batch)))
    assert len(actual) >= 80
    assert all(actual[position] == expected[position] for position in actual)


def test_the_groups_cut_the_batch_into_slices_in_order():
    batch = batch_masks(GRID, CONFIGS, seed=0, positions=np.arange(20, 50))
    assert [(group.rows.start, group.rows.stop) for group in batch] == [(0, 4), (4, 28), (28, 30)]
    assert [[len(masks.context_index) for masks in group.masks] for group in batch] == [
        [4, 4],
        [24, 24],
        [2, 2],
    ]


def test_a_batch_takes_the_rows_of_its_group():
    (group,) = batch_masks(GRID, CONFIGS, seed=0, positions=np.arange(25, 30), trim="random")
    whole = sample_group(GRID, LONG_RANGE, seed=0, group=1, size=24, mask_config=1, trim="random")
    assert (group.masks[1].target_index == whole.target_index[1:6]).all()


def test_the_group_sets_how_much_is_trimmed():
    def context_length(mask_group: int) -> float:
        batch = batch_masks(
            GRID, (SHORT_RANGE,), seed=0, positions=np.arange(480), mask_group=mask_group
        )
        return float(np.mean([group.masks[0].context_index.shape[1] for group in batch]))

    assert context_length(1) > 1.3 * context_length(24)
