import hashlib

import numpy as np
import pytest

from surgrec.errors import ConfigError
from surgrec.masks.grid import TubeletGrid
from surgrec.masks.tube import tube_masks

GRID = TubeletGrid(8, 14, 14)


def test_nine_tenths_hide_176_of_196_places_in_every_frame():
    masks = tube_masks(GRID, 0.9, seed=0, positions=np.arange(6))
    assert masks.context_index.shape == (6, 160)
    assert masks.target_index.shape == (6, 1408)
    both = np.concatenate([masks.context_index, masks.target_index], axis=1)
    assert (np.sort(both, axis=1) == np.arange(1568)).all()
    assert (np.diff(masks.context_index, axis=1) > 0).all()
    assert (np.diff(masks.target_index, axis=1) > 0).all()


def test_the_same_places_are_visible_in_all_frames():
    visible = tube_masks(GRID, 0.9, seed=0, positions=np.arange(6)).context_index.reshape(6, 8, 20)
    assert (visible - 196 * np.arange(8)[:, None] == visible[:, :1]).all()


def test_every_place_is_hidden_as_often_as_any_other():
    visible = tube_masks(GRID, 0.9, seed=0, positions=np.arange(4000)).context_index[:, :20]
    counts = np.bincount(visible.ravel(), minlength=196)
    assert counts.mean() == pytest.approx(4000 * 20 / 196)
    assert abs(counts - counts.mean()).max() < 5 * counts.mean() ** 0.5


def test_a_samples_mask_depends_on_seed_and_position_alone():
    def row(position: int, positions: np.ndarray, seed: int = 3) -> list[int]:
        masks = tube_masks(GRID, 0.9, seed=seed, positions=positions)
        return masks.context_index[positions.tolist().index(position)].tolist()

    here = row(40, np.arange(32, 64))
    assert row(40, np.arange(40, 42)) == here
    assert row(40, np.array([7, 40, 10**9])) == here
    assert row(41, np.arange(40, 42)) != here
    assert row(40, np.arange(40, 42), seed=4) != here


def test_masks_are_the_golden_ones():
    masks = tube_masks(GRID, 0.9, seed=2**63, positions=np.array([0, 239, 10**9]))
    digest = hashlib.sha256(repr(masks.context_index.tolist()).encode()).hexdigest()[:16]
    assert digest == "a418af76049dbef8"


@pytest.mark.parametrize(("ratio", "found"), [(0.1, "mask_ratio 0.1 hides 0 of the 2 x 4"), (1.0, "hides 8 of")])
def test_a_ratio_that_hides_nothing_or_everything_is_refused(ratio, found):
    with pytest.raises(ConfigError, match=found):
        tube_masks(TubeletGrid(2, 2, 4), ratio, seed=0, positions=np.arange(2))
