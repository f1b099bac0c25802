import numpy as np
import pytest

from surgrec.errors import ConfigError
from surgrec.masks import TubeletGrid
from surgrec.masks._running_cell import decoded_tokens

GRID = TubeletGrid(8, 14, 14)


def test_the_run_moves_on_by_one_tubelet_with_every_step_in_time():
    """By hand, for tubelets 0 1 / 2 3 of a cell; the first run starts one before the offset."""
    decoded = decoded_tokens(TubeletGrid(4, 2, 2), 0.5, np.array([0])).reshape(4, 4)
    assert decoded.astype(int).tolist() == [[0, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 1], [0, 0, 1, 1]]


def test_every_offset_is_a_shift_of_the_same_pattern():
    decoded = decoded_tokens(GRID, 0.5, np.arange(4)).reshape(4, 8, 196)
    for offset in range(3):
        assert (decoded[offset, 1:] == decoded[offset + 1, :-1]).all()
    assert len({row.tobytes() for row in decoded}) == 4


def test_half_of_the_tokens_are_decoded_and_half_of_every_tube_and_cell():
    decoded = decoded_tokens(GRID, 0.5, np.array([2])).reshape(8, 7, 2, 7, 2)
    assert decoded.sum() == 784
    assert (decoded.sum(axis=0) == 4).all()
    assert (decoded.sum(axis=(2, 4)) == 2).all()
    assert (decoded == decoded[:, :1, :, :1]).all(), "all cells of a frame look alike"


@pytest.mark.parametrize(("ratio", "share"), [(0.25, 0.75), (0.75, 0.25), (0.6, 0.5)])
def test_the_ratio_counts_whole_tubelets_of_a_cell(ratio, share):
    assert decoded_tokens(GRID, ratio, np.arange(4)).mean() == share


@pytest.mark.parametrize(
    ("grid", "ratio", "message"),
    [
        (GRID, 0.2, r"decoder_mask_ratio 0\.2 skips 0"),
        (TubeletGrid(6, 14, 14), 0.5, "6 x 14 x 14"),
        (TubeletGrid(8, 13, 14), 0.5, "8 x 13 x 14"),
    ],
)
def test_cells_that_do_not_fit_are_refused(grid, ratio, message):
    with pytest.raises(ConfigError, match=message):
        decoded_tokens(grid, ratio, np.arange(2))
