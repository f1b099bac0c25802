from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surgrec.shards import open_corpus
from surgrec.stream import Level, Mixture, Stage, Stream
from surgrec.stream._cache_policy import CacheStep, Demand, ShardDemands, next_step
from tests.support.samples import make_clips, write_corpus


def make_demand(next_use: int, horizon_bytes: int = 0, run_bytes: float = 1e9) -> Demand:
    return Demand(next_use=next_use, horizon_bytes=horizon_bytes, run_bytes=run_bytes)


SIZES = {"a": 10, "b": 10, "c": 10}


def test_shards_come_in_by_next_use_into_free_room() -> None:
    demands = {"a": make_demand(7), "b": make_demand(3), "c": make_demand(5)}
    cached: dict[str, int] = {}
    fetched = []
    while step := next_step(demands, SIZES, cached, limit_bytes=25):
        assert step.drop == ()
        fetched.append(step.fetch)
        cached[step.fetch] = 10
    assert fetched == ["b", "c"]


def test_unneeded_shards_are_dropped_first_then_the_latest_needed() -> None:
    cached = {"b": 10, "c": 10, "other": 5}
    demands = {"a": make_demand(1, horizon_bytes=30), "b": make_demand(9), "c": make_demand(4)}
    assert next_step(demands, SIZES, cached, limit_bytes=30) == CacheStep(
        fetch="a", drop=("other",)
    )
    assert next_step(demands, SIZES, cached, limit_bytes=25) == CacheStep(
        fetch="a", drop=("other", "b")
    )


def test_a_shard_is_not_exchanged_for_one_that_is_read_as_much() -> None:
    demands = {"a": make_demand(1, horizon_bytes=30), "b": make_demand(9, horizon_bytes=30)}
    assert next_step(demands, SIZES, {"b": 10}, limit_bytes=10) is None
    demands["a"] = make_demand(1, horizon_bytes=40)
    assert next_step(demands, SIZES, {"b": 10}, limit_bytes=10) == CacheStep(fetch="a", drop=("b",))


def test_a_shard_of_which_the_run_reads_little_is_left_to_ranged_reads() -> None:
    assert next_step({"a": make_demand(1, 4, run_bytes=4.9)}, SIZES, {}, limit_bytes=100) is None
    assert (
        next_step({"a": make_demand(1, 4, run_bytes=5.0)}, SIZES, {}, limit_bytes=100) is not None
    )


def test_a_shard_that_is_larger_than_the_cache_is_left_to_ranged_reads() -> None:
    assert next_step({"a": make_demand(1)}, SIZES, {}, limit_bytes=9) is None


@given(
    st.dictionaries(
        st.text("abcdefgh", min_size=1, max_size=2),
        st.tuples(
            st.integers(1, 40),
            st.integers(0, 9),
            st.sampled_from([0, 0, 7, 50, 300]),
            st.floats(0, 1000),
        ),
        min_size=1,
    ),
    st.integers(1, 120),
)
def test_the_limit_is_kept_and_the_changes_come_to_an_end(
    shards: dict[str, tuple[int, int, int, float]], limit: int
) -> None:
    sizes = {name: size for name, (size, _, _, _) in shards.items()}
    demands = {
        name: make_demand(use, soon, later) for name, (_, use, soon, later) in shards.items()
    }
    cached: dict[str, int] = {}
    for _ in range(20 * len(shards)):
        step = next_step(demands, sizes, cached, limit)
        if step is None:
            break
        lost = sum(demands[name].horizon_bytes for name in step.drop)
        for name in step.drop:
            del cached[name]
        cached[step.fetch] = sizes[step.fetch]
        assert sum(cached.values()) <= limit
        assert not step.drop or demands[step.fetch].horizon_bytes - lost >= sizes[step.fetch]
    else:
        pytest.fail(f"shards are exchanged for ever: {demands}")


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    corpus = write_corpus(
        tmp_path / "c",
        {name: make_clips(count, name) for name, count in {"large": 40, "small": 4}.items()},
    )
    mixture = Mixture(
        levels=[Level(by="source", alpha=0.0)],
        block=16,
        stages=[Stage(start=64, weights={"small": 0.0})],
    )
    return Stream(open_corpus([corpus]), mixture, seed=3)


def drawn(stream: Stream, positions: np.ndarray) -> list[tuple[str, int]]:
    """Return shard and bytes of the sample at each position, one by one."""
    samples = [stream.sample(draw) for draw in stream.draws(positions)]
    return [(f"{sample.clip.source}/{sample.shard}", sample.mp4_size) for sample in samples]


@pytest.mark.parametrize("slots", [(0, 8), (2, 6)])
def test_demands_are_what_the_order_will_read(stream: Stream, slots: tuple[int, int]) -> None:
    demands = ShardDemands(stream, positions=128, slots=slots, global_batch=8)
    names = {file.sha256: file.name for file in demands.files}
    demands_by_name = {names[sha256]: demand for sha256, demand in demands.between(20, 60).items()}
    positions = np.array(
        [position for position in range(20, 60) if slots[0] <= position % 8 < slots[1]],
        dtype=np.int64,
    )
    read = drawn(stream, positions)
    for name, demand in demands_by_name.items():
        uses = [
            (int(position), size)
            for position, (shard, size) in zip(positions, read, strict=True)
            if shard == name
        ]
        assert demand.next_use == min((position for position, _ in uses), default=128)
        assert demand.horizon_bytes == sum(size for _, size in uses)
    whole_run = np.array(
        [p for p in range(20, 128) if slots[0] <= p % 8 < slots[1]], dtype=np.int64
    )
    rest = drawn(stream, whole_run)
    total = sum(demand.run_bytes for demand in demands_by_name.values())
    assert total == pytest.approx(sum(size for _, size in rest), rel=0.1)


def test_a_source_that_a_stage_ends_is_needed_no_more(stream: Stream) -> None:
    demands = ShardDemands(stream, positions=128, slots=(0, 8), global_batch=8)
    names = {file.sha256: file.name for file in demands.files}
    assert {names[sha256].split("/")[0] for sha256 in demands.between(0, 32)} == {"large", "small"}
    assert {names[sha256].split("/")[0] for sha256 in demands.between(64, 96)} == {"large"}


def test_the_horizon_reaches_as_far_as_the_bytes_that_fit(stream: Stream) -> None:
    demands = ShardDemands(stream, positions=100_000, slots=(0, 8), global_batch=8)
    end = demands.horizon(1000, 500_000)
    read = sum(size for _, size in drawn(stream, np.arange(1000, end)))
    assert read == pytest.approx(500_000, rel=0.05)
    assert demands.horizon(99_990, 10**12) == 100_000
