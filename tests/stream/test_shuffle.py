import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surgrec.stream._shuffle import shuffled_sample


def epoch(size: int, key: int, *, block: int, window: int) -> list[int]:
    """Return all samples of one source in shuffled order."""
    sizes, keys = np.full(size, size), np.full(size, key, dtype=np.uint64)
    samples = shuffled_sample(np.arange(size), sizes, keys, block=block, window=window)
    return [int(sample) for sample in samples]


def test_the_shuffled_order_never_changes() -> None:
    assert epoch(12, 99, block=3, window=2) == [2, 3, 5, 1, 4, 0, 7, 9, 8, 11, 10, 6]
    assert epoch(11, 99, block=3, window=2) == [2, 3, 5, 1, 4, 0, 7, 9, 8, 6, 10]


@given(
    size=st.integers(1, 5000),
    key=st.integers(0, 2**64 - 1),
    block=st.one_of(st.just(1), st.integers(1, 6000)),
    window=st.one_of(st.just(1), st.integers(1, 600)),
)
def test_an_epoch_holds_every_sample_exactly_once(
    size: int, key: int, block: int, window: int
) -> None:
    assert sorted(epoch(size, key, block=block, window=window)) == list(range(size))


@given(
    st.lists(
        st.tuples(st.integers(1, 400), st.integers(0, 2**64 - 1), st.floats(0, 0.999)),
        min_size=1,
        max_size=8,
    ),
    st.integers(1, 50),
    st.integers(1, 20),
)
def test_samples_of_several_sources_do_not_depend_on_each_other(
    rows: list[tuple[int, int, float]], block: int, window: int
) -> None:
    rank = np.array([int(place * size) for size, _, place in rows])
    size = np.array([size for size, _, _ in rows])
    key = np.array([key for _, key, _ in rows], dtype=np.uint64)
    together = shuffled_sample(rank, size, key, block=block, window=window)
    separate = [
        int(shuffled_sample(rank[[row]], size[[row]], key[[row]], block=block, window=window)[0])
        for row in range(len(rows))
    ]
    assert together.tolist() == separate


@given(
    blocks=st.integers(1, 200),
    key=st.integers(0, 2**64 - 1),
    block=st.integers(1, 20),
    window=st.integers(1, 10),
)
def test_a_window_touches_no_more_runs_of_neighbors_than_it_may(
    blocks: int, key: int, block: int, window: int
) -> None:
    order = np.array(epoch(blocks * block, key, block=block, window=window))
    for start in range(0, len(order), block * window):
        assert len(np.unique(order[start : start + block * window] // block)) <= window


def test_neighbors_are_spread_over_the_window() -> None:
    order = np.array(epoch(10_000, 5, block=10, window=100))
    distance = np.abs(np.diff(np.argsort(order)))
    assert np.median(distance) > 100


@pytest.mark.parametrize(("block", "window"), [(1, 1), (1, 512), (100, 1), (256, 512)])
def test_two_keys_give_two_orders(block: int, window: int) -> None:
    assert epoch(300, 1, block=block, window=window) != epoch(300, 2, block=block, window=window)


def test_block_1_puts_every_sample_at_every_place_about_equally_often() -> None:
    keys = 4000
    size = 6
    order = shuffled_sample(
        np.tile(np.arange(size), keys),
        np.full(size * keys, size),
        np.repeat(np.arange(keys, dtype=np.uint64), size),
        block=1,
        window=2,
    ).reshape(keys, size)
    counts = np.stack([np.bincount(order[:, place], minlength=size) for place in range(size)])
    assert np.abs(counts / keys - 1 / size).max() < 0.03
