import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surgrec.stream._permutation import hash_text, hash_words, permute, uniform, unpermute

KEYS = st.integers(min_value=-(2**63), max_value=2**64 - 1)


def test_the_words_of_the_mixer_never_change() -> None:
    # Published: the first output of SplitMix64 from seed 0.
    assert int(hash_words(0)) == 0xE220A8397B1DCDAF
    assert int(hash_words(1, 2, 3)) == 15020427595393229491
    assert int(hash_words(2**64 - 1, 7)) == 1869568459174662326
    assert [hash_text(name) for name in ("alpha", "", "größe")] == [
        11099342189553124947,
        13020603013274838756,
        16832822397561338100,
    ]
    assert uniform(np.arange(3), 5).tolist() == [
        0.24491767505262274,
        0.6924455848746632,
        0.5829760463163652,
    ]


def test_the_permutations_never_change() -> None:
    assert permute(np.arange(10), 10, 7).tolist() == [4, 9, 1, 7, 0, 3, 8, 5, 6, 2]
    assert permute(np.array([0, 1, 999_999]), 1_000_000, 123).tolist() == [8852, 694121, 459928]


def test_a_negative_word_counts_modulo_two_to_the_64_whatever_its_type() -> None:
    assert (
        int(hash_words(-1))
        == int(hash_words(2**64 - 1))
        == int(hash_words(np.int64(-1)))
        == int(hash_words(np.array(-1)))
    )


def test_words_broadcast_against_each_other() -> None:
    table = hash_words(5, np.arange(3)[:, None], np.arange(4)[None, :])
    assert table.shape == (3, 4)
    assert all(
        table[row, column] == hash_words(5, row, column) for row in range(3) for column in range(4)
    )
    assert len(np.unique(table)) == 12


def test_the_order_of_words_matters() -> None:
    assert hash_words(1, 2) != hash_words(2, 1)
    assert hash_words(1) != hash_words(1, 0)


@given(size=st.integers(1, 5000), key=KEYS)
def test_a_permutation_reaches_every_index_once_and_its_inverse_undoes_it(
    size: int, key: int
) -> None:
    index = np.arange(size)
    image = permute(index, size, key)
    assert np.array_equal(np.sort(image), index)
    assert np.array_equal(unpermute(image, size, key), index)


@given(index=st.integers(0, 2**63 - 1), spare=st.integers(1, 2**62), key=KEYS)
def test_huge_permutations_stay_inside_and_are_undone(index: int, spare: int, key: int) -> None:
    size = index + spare
    image = int(permute(index, size, key))
    assert 0 <= image < size
    assert int(unpermute(image, size, key)) == index


@given(
    st.lists(
        st.tuples(st.integers(1, 3000), KEYS, st.floats(0, 1, exclude_max=True)),
        min_size=1,
        max_size=8,
    )
)
def test_each_element_may_have_its_own_size_and_key(rows: list[tuple[int, int, float]]) -> None:
    sizes = [size for size, _, _ in rows]
    keys = np.array([key & 0xFFFFFFFFFFFFFFFF for _, key, _ in rows], dtype=np.uint64)
    index = [int(fraction * size) for size, _, fraction in rows]
    together = permute(np.array(index), np.array(sizes), keys)
    separate = [int(permute(*row)) for row in zip(index, sizes, keys, strict=True)]
    assert together.tolist() == separate


def test_an_index_outside_the_permutation_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError, match="outside the permutation"):
        permute(10, 10, 0)


@pytest.mark.parametrize("size", [2, 3, 5, 16, 17, 60])
def test_every_index_is_sent_everywhere_about_equally_often(size: int) -> None:
    keys = 3000
    image = permute(np.arange(size)[:, None], size, np.arange(keys)[None, :])
    counts = np.stack([np.bincount(row.astype(np.int64), minlength=size) for row in image])
    expected = keys / size
    chi_square = ((counts - expected) ** 2 / expected).sum()
    freedom = (size - 1) ** 2  # rows and columns both sum to `keys`
    assert abs(chi_square - freedom) < 5 * np.sqrt(2 * freedom) + 5


def test_pairs_of_neighbors_are_not_kept_together() -> None:
    """Otherwise clips of one video would follow each other."""
    image = permute(np.arange(200)[None, :], 200, np.arange(200)[:, None]).astype(np.int64)
    adjacent = np.abs(np.diff(image, axis=1)) == 1
    assert 0.005 < adjacent.mean() < 0.015  # 2 / 200 by chance


def test_uniform_numbers_fill_the_half_open_interval_evenly() -> None:
    numbers = uniform(np.arange(100_000), 3)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = np.bincount((numbers * 100).astype(int), minlength=100)
    assert ((counts - 1000) ** 2 / 1000).sum() < 99 + 5 * np.sqrt(2 * 99)
