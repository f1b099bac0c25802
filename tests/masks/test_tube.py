import hashlib

import numpy as np
import pytest

from surgrec.errors import ConfigError
from surgrec.masks import TubeletGrid, tube_masks

GRID = TubeletGrid(8, 14, 14)


def test_nine_tenths_hide_176_of_196_tubelets_in_every_frame():
    masks = tube_masks(GRID, 0.9, seed=0, positions=np.arange(6))
    assert masks.context_index.shape == (6, 160)
    assert masks.target_index.shape == (6, 1408)
    both = np.concatenate([masks.context_index, masks.target_index], axis=1)
    assert (np.sort(both, axis=1) == np.arange(1568)).all()
    assert (np.diff(masks.context_index, axis=1) > 0).all()
    assert (np.diff(masks.target_index, axis=1) > 0).all()


def test_the_same_tubelets_are_visible_in_all_frames():
    visible = tube_masks(GRID, 0.9, seed=0, positions=np.arange(6)).context_index.reshape(6, 8, 20)
    assert (visible - 196 * np.arange(8)[:, None] == visible[:, :1]).all()


def test_every_tubelet_is_hidden_equally_often():
    visible = tube_masks(GRID, 0.9, seed=0, positions=np.arange(4000)).context_index[:, :20]
    counts = np.bincount(visible.ravel(), minlength=196)
    assert counts.mean() == pytest.approx(4000 * 20 / 196)
    assert abs(counts - counts.mean()).max() < 5 * counts.mean() ** 0.5


def test_a_mask_depends_on_seed_and_position_alone():
    def row(position: int, positions: np.ndarray, seed: int = 3) -> list[int]:
        masks = tube_masks(GRID, 0.9, seed=seed, positions=positions)
        return masks.context_index[positions.tolist().index(position)].tolist()

    expected = row(40, np.arange(32, 64))
    assert row(40, np.arange(40, 42)) == expected
    assert row(40, np.array([7, 40, 10**9])) == expected
    assert row(41, np.arange(40, 42)) != expected
    assert row(40, np.arange(40, 42), seed=4) != expected


def test_masks_are_the_golden_ones():
    masks = tube_masks(GRID, 0.9, seed=2**63, positions=np.array([0, 239, 10**9]))
    digest = hashlib.sha256(repr(masks.context_index.tolist()).encode()).hexdigest()[:16]
    assert digest == "a418af76049dbef8"


def test_videomae_2_decodes_half_of_all_tokens_and_scores_hidden_ones():
    plain = tube_masks(GRID, 0.9, seed=0, positions=np.arange(6))
    masks = tube_masks(GRID, 0.9, seed=0, positions=np.arange(6), decoder_ratio=0.5)
    assert (masks.context_index == plain.context_index).all(), (
        "the encoder sees the same tokens as in VideoMAE"
    )
    assert masks.target_index.shape == (6, 704)
    assert masks.unscored_index.shape == (6, 80)
    for row in range(6):
        assert set(masks.unscored_index[row]) < set(plain.context_index[row])
        assert set(masks.target_index[row]) < set(plain.target_index[row])
    assert (np.diff(masks.target_index, axis=1) > 0).all()


def test_the_decoders_cells_start_at_every_tubelet_equally_often():
    masks = tube_masks(GRID, 0.9, seed=0, positions=np.arange(400), decoder_ratio=0.5)
    decoded = np.concatenate([masks.target_index, masks.unscored_index], axis=1)
    first = (decoded == 0).any(axis=1)
    second = (decoded == 1).any(axis=1)
    assert np.mean(first) == pytest.approx(0.5, abs=0.08)
    assert np.mean(first & second) == pytest.approx(0.25, abs=0.08)


@pytest.mark.parametrize("decoder_ratio", [0.0, 0.5])
def test_each_view_has_another_mask_and_the_first_that_of_a_single_view(decoder_ratio):
    def rows(positions: np.ndarray, views: int) -> np.ndarray:
        masks = tube_masks(
            GRID, 0.9, seed=3, positions=positions, decoder_ratio=decoder_ratio, views=views
        )
        return np.concatenate([masks.context_index, masks.target_index], axis=1)

    alone, four = rows(np.arange(5, 8), 1), rows(np.arange(5, 8), 4)
    assert (four[::4] == alone).all()
    assert len({tuple(row) for row in four.tolist()}) == 12
    assert (rows(np.array([6]), 4) == four[4:8]).all()
    assert (rows(np.array([6]), 2) == four[4:6]).all()


@pytest.mark.parametrize(
    ("ratio", "message"), [(0.1, "mask_ratio 0.1 hides 0 of 2 x 4"), (1.0, "hides 8 of")]
)
def test_a_ratio_that_hides_nothing_or_everything_is_refused(ratio, message):
    with pytest.raises(ConfigError, match=message):
        tube_masks(TubeletGrid(2, 2, 4), ratio, seed=0, positions=np.arange(2))
