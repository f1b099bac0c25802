from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Int64

from surgrec.errors import MixtureError, ShardError
from surgrec.parquet import parquet_bytes, read_parquet
from surgrec.shards import Clip, open_corpus
from surgrec.shards.layout import INDEX_FILE
from surgrec.stream import Mixture, Stream
from surgrec.stream._water_filling import divide_by_weight, divide_fairly, fair_copies
from surgrec.stream.cluster_policy import ClusterPolicy
from tests.support.samples import CLIP, make_mp4, write_corpus

# Division of a total


def divided_one_by_one(rooms: Sequence[int], total: int, ties: Sequence[int]) -> list[int]:
    """Give one unit after the other to the part with fewest; an independent, slow division."""
    units = [0] * len(rooms)
    for _ in range(min(total, sum(rooms))):
        open_parts = [part for part in ties if units[part] < rooms[part]]
        units[min(open_parts, key=lambda part: units[part])] += 1
    return units


def test_large_parts_are_capped_and_small_ones_stay_whole() -> None:
    assert divide_fairly(np.array([20, 3, 2]), 10, np.arange(3)).tolist() == [5, 3, 2]
    # 11 = 5 + 3 + 2 and one more; only the first part has room.
    assert divide_fairly(np.array([20, 3, 2]), 11, np.arange(3)).tolist() == [6, 3, 2]
    # The cap is 2, and one unit is left for the first tie with room.
    assert divide_fairly(np.array([4, 2, 4]), 7, np.array([1, 2, 0])).tolist() == [2, 2, 3]


@given(
    rooms=st.lists(st.integers(1, 20), min_size=1, max_size=9),
    total=st.integers(0, 120),
    seed=st.integers(0, 99),
)
def test_a_fair_division_equals_one_by_one(rooms: list[int], total: int, seed: int) -> None:
    ties = np.random.default_rng(seed).permutation(len(rooms))
    fair = divide_fairly(np.array(rooms), total, ties)
    assert fair.tolist() == divided_one_by_one(rooms, total, ties.tolist())


def test_what_a_full_part_cannot_take_goes_to_the_others_in_proportion() -> None:
    rooms, weights = np.array([1, 100, 100, 50]), np.array([0.5, 0.3, 0.2, 0.0])
    # The first part takes 1 of 5; 9 are left for 0.3 and 0.2: 5.4 and 3.6.
    assert divide_by_weight(rooms, weights, 10).tolist() == [1, 5, 4, 0]


@given(
    parts=st.lists(st.tuples(st.integers(1, 20), st.integers(0, 5)), min_size=1, max_size=9),
    total=st.integers(0, 120),
)
def test_a_weighted_division_keeps_its_limits_and_order(
    parts: list[tuple[int, int]], total: int
) -> None:
    rooms, weights = np.array(parts).T
    units = divide_by_weight(rooms, weights.astype(float), total)
    assert (units <= rooms).all()
    assert units[weights == 0].sum() == 0
    assert units.sum() == min(total, rooms[weights > 0].sum())

    # Of two parts with room, none is more than a unit above the other's share.
    has_room = np.flatnonzero((units < rooms) & (weights > 0))
    for part in has_room:
        for other in np.flatnonzero(weights > 0):
            assert (units[other] - 1) / weights[other] < (units[part] + 1) / weights[part]


def test_copies_follow_the_tree_worked_out_by_hand() -> None:
    # Two coarse clusters of 6 and 2 clips; the first has fine clusters of 4, 1 and 1.
    coarse = np.array([0, 0, 0, 0, 0, 0, 1, 1])
    fine = np.array([0, 0, 0, 0, 1, 2, 3, 3])
    copies = fair_copies([coarse, fine], 6, repeats=1, key=0)
    # 6 copies: the cap is 4, so 4 and 2. Of the 4, the fine clusters get 2, 1 and 1.
    assert np.bincount(fine, copies).tolist() == [2, 1, 1, 2]
    assert copies.max() == 1

    # With two draws per clip, 12 copies: 8 and 4; of the 8, the fine clusters get 4, 2 and 2.
    copies = fair_copies([coarse, fine], 12, repeats=2, key=0)
    assert np.bincount(fine, copies).tolist() == [4, 2, 2, 4]
    assert copies.max() == 2


@given(
    clips=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4)), min_size=1, max_size=40),
    total=st.integers(0, 100),
    repeats=st.integers(1, 3),
)
def test_the_copies_of_a_group_differ_by_one_at_most(
    clips: list[tuple[int, int]], total: int, repeats: int
) -> None:
    levels = list(np.array(clips).T)
    copies = fair_copies(levels, total, repeats=repeats, key=5)
    assert copies.sum() == min(total, repeats * len(clips))
    for group in set(clips):
        own = copies[[clip == group for clip in clips]]
        assert own.max() - own.min() <= 1
        assert own.max() <= repeats


# Clusters of a corpus

SIZES = (1000, 300, 100, 30, 10, 7, 5, 3, 2, 1)
"""Clips of ten planted clusters, 1,000 to 1."""


def planted(clusters: Sequence[int]) -> list[Clip]:
    """Return clips, four to a case, in an order without relation to their clusters."""
    return [
        replace(CLIP, start_s=10.0 * number, case=f"case-{number % 4}", video=f"{number % 4:012x}")
        for number in range(len(clusters))
    ]


def with_clusters(
    root: Path,
    clusters: dict[str, Sequence[int | None]],
    *,
    levels: int = 2,
    clustering: str = "of all sources",
) -> Path:
    """Write a corpus of one sample per cluster number, and the columns of its levels."""
    write_corpus(
        root,
        {
            name: [replace(clip, source=name) for clip in planted(numbers)]
            for name, numbers in clusters.items()
        },
        clips_per_shard=512,
        mp4=lambda clip: make_mp4(clip)[:32],
    )
    for name, numbers in clusters.items():
        path = root / name / INDEX_FILE
        table = read_parquet(path.read_bytes(), str(path))
        order = np.argsort(table.column("start_s").to_numpy())
        fine: list[int | None] = [None] * len(numbers)
        for row, number in zip(order.tolist(), numbers, strict=True):
            fine[row] = number
        for level in range(levels):
            column = [None if number is None else number // 5**level for number in fine]
            table = table.append_column(f"cluster_{level + 1}", pa.array(column, pa.int64()))
        if clustering:
            table = table.append_column("clustering", pa.array([clustering] * len(numbers)))
        path.write_bytes(parquet_bytes(table))
    return root


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    numbers = np.repeat(np.arange(len(SIZES)), SIZES)
    np.random.default_rng(0).shuffle(numbers)
    few = [0] * 30 + [1] * 10
    return with_clusters(
        tmp_path_factory.mktemp("corpus"), {"alpha": numbers.tolist(), "beta": few}
    )


def draws_by_cluster(corpus: Path, policy: ClusterPolicy, source: str = "alpha") -> Counter[int]:
    """Return the draws of one epoch of a source, by fine cluster."""
    mixture = Mixture(clusters=policy, weights={name: 0.0 for name in {"alpha", "beta"} - {source}})
    stream = Stream(open_corpus(corpus), mixture, seed=0)
    place = [stratum.source for stratum in stream.order.strata].index(source)
    column = stream.sources[source].index.column("cluster_1")
    draws = stream.draws(np.arange(len(stream.rows[place])))
    return Counter(column[draw.row].as_py() for draw in draws)


def test_balance_caps_the_large_clusters_that_natural_draws_prefer(corpus: Path) -> None:
    natural = draws_by_cluster(corpus, ClusterPolicy())
    assert [natural[number] for number in range(len(SIZES))] == list(SIZES)

    balanced = draws_by_cluster(corpus, ClusterPolicy(policy="balance", share=0.1))
    # 146 of 1,458 clips. The second coarse cluster has 18, and keeps them all. Of the 128 of the
    # first one, a fine cluster of 10 is kept whole, and four others get 29 or 30 each.
    assert sum(balanced.values()) == 146
    assert [balanced[number] for number in range(5, 10)] == [7, 5, 3, 2, 1]
    assert balanced[4] == 10
    assert sorted(balanced[number] for number in range(4)) == [29, 29, 30, 30]


def test_small_clusters_repeat_up_to_the_limit(corpus: Path) -> None:
    balanced = draws_by_cluster(corpus, ClusterPolicy(policy="balance", share=0.1, max_repeats=3))
    assert sum(balanced.values()) == 146
    assert [balanced[number] for number in range(5, 10)] == [21, 15, 9, 6, 3]
    assert [balanced[number] for number in range(5)] == pytest.approx([18.4] * 5, abs=1)


def test_each_source_is_balanced_alone(corpus: Path) -> None:
    balanced = draws_by_cluster(corpus, ClusterPolicy(policy="balance", share=0.5), "beta")
    assert balanced == {0: 10, 1: 10}


def test_a_target_gives_clusters_its_shares(corpus: Path) -> None:
    # The clips of beta are of the clusters 0 and 1, three to one.
    policy = ClusterPolicy(policy="target", share=0.2, target_sources=["beta"])
    mixture = Mixture(clusters=policy)
    stream = Stream(open_corpus(corpus), mixture, seed=0)
    rows = dict(zip([s.source for s in stream.order.strata], stream.rows, strict=True))
    clusters = stream.sources["alpha"].index.column("cluster_1").take(pa.array(rows["alpha"]))
    assert Counter(clusters.to_pylist()) == {0: 219, 1: 73}


def test_the_draws_of_a_cluster_are_spread_over_cases(corpus: Path) -> None:
    policy = ClusterPolicy(policy="balance", share=0.1)
    stream = Stream(open_corpus(corpus), Mixture(clusters=policy), seed=0)
    index = stream.sources["alpha"].index
    cases: Counter[str] = Counter()
    for row in stream.rows[0].tolist():
        if index.column("cluster_1")[row].as_py() == 0:
            cases[index.column("case")[row].as_py()] += 1
    assert len(cases) == 4
    assert max(cases.values()) - min(cases.values()) <= 1


def test_the_mixture_of_sources_stays_exact_and_any_position_is_computed(corpus: Path) -> None:
    policy = ClusterPolicy(policy="balance", share=0.3, max_repeats=2)
    stream = Stream(open_corpus(corpus), Mixture(clusters=policy), seed=3)
    counts = Counter(draw.source for draw in stream.draws(np.arange(1024)))
    shares = np.sqrt([437, 12])
    assert counts["beta"] == pytest.approx(1024 * shares[1] / shares.sum(), abs=1)

    # Each epoch of alpha has every chosen row as often as it was chosen.
    alpha: Int64[np.ndarray, " _"] = stream.rows[0]
    rows = [draw.row for draw in stream.draws(np.arange(4096)) if draw.source == "alpha"]
    assert sorted(rows[: len(alpha)]) == alpha.tolist()
    later = stream.draws(np.array([3000, 17]))
    assert later[0] == stream.draws(np.arange(4096))[3000]


def test_the_identity_of_a_run_names_the_choice(corpus: Path) -> None:
    sources = open_corpus(corpus)
    identities = [
        Stream(sources, Mixture(clusters=policy), seed=0).identity()["sources"]["alpha"]["admitted"]
        for policy in (
            ClusterPolicy(),
            ClusterPolicy(policy="balance", share=0.1),
            ClusterPolicy(policy="balance", share=0.1, seed=1),
        )
    ]
    assert len(set(identities)) == 3


# What cannot be chosen


def test_a_corpus_without_clusters_is_refused_with_the_command(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path, {"alpha": planted([0] * 8)})
    with pytest.raises(ShardError, match=r"alpha has no column cluster_1 .* run `surgrec cluster"):
        Stream(open_corpus(corpus), Mixture(clusters=ClusterPolicy(policy="balance")), seed=0)


def test_clips_that_were_added_since_are_refused(tmp_path: Path) -> None:
    corpus = with_clusters(tmp_path, {"alpha": [0, 1, None, 0]})
    with pytest.raises(ShardError, match="1 of 4 clips of alpha have no cluster"):
        Stream(open_corpus(corpus), Mixture(clusters=ClusterPolicy(policy="balance")), seed=0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"policy": "target"}, "no clips are the target; give target_sources or target_cases"),
        (
            {"policy": "balance", "target_cases": ["a"]},
            "need policy: target, but policy is balance",
        ),
        ({"policy": "balance", "share": 1.5}, "each clip may come 1 times; lower share, or raise"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(MixtureError, match=message):
        ClusterPolicy(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"target_sources": ["gamma"]}, "no source of the corpus matches 'gamma'"),
        (
            {"target_sources": ["beta"], "target_level": 3},
            "target_level is 3, but alpha has 2 levels",
        ),
    ],
)
def test_a_target_that_is_not_in_the_corpus_is_refused(
    corpus: Path, target: dict[str, object], message: str
) -> None:
    policy = ClusterPolicy(policy="target", **target)  # type: ignore[arg-type]
    with pytest.raises(MixtureError, match=message):
        Stream(open_corpus(corpus), Mixture(clusters=policy), seed=0)


@pytest.mark.parametrize("shallow", ["alpha", "beta"])
def test_a_level_that_one_source_lacks_is_refused_as_a_target(tmp_path: Path, shallow: str) -> None:
    (deep,) = {"alpha", "beta"} - {shallow}
    with_clusters(tmp_path / "deep", {deep: [0, 1, 5, 6]}, levels=2)
    with_clusters(tmp_path / "shallow", {shallow: [0, 1, 5, 6]}, levels=1)
    policy = ClusterPolicy(policy="target", target_sources=["alpha"], target_level=2)
    sources = open_corpus([tmp_path / "deep", tmp_path / "shallow"])
    with pytest.raises(MixtureError, match=f"target_level is 2, but {shallow} has 1 level;"):
        Stream(sources, Mixture(clusters=policy), seed=0)

    # A source that is not drawn may lack it.
    alone = Mixture(clusters=replace(policy, target_sources=[deep]), weights={shallow: 0.0})
    assert len(Stream(sources, alone, seed=0).order.strata)


@pytest.mark.parametrize("other", ["of beta alone", ""])
def test_a_target_over_corpora_that_were_clustered_apart_is_refused(
    tmp_path: Path, other: str
) -> None:
    with_clusters(tmp_path / "a", {"alpha": [0, 1, 5, 6]})
    with_clusters(tmp_path / "b", {"beta": [0, 1, 5, 6]}, clustering=other)
    sources = open_corpus([tmp_path / "a", tmp_path / "b"])
    target = ClusterPolicy(policy="target", target_sources=["alpha"])
    with pytest.raises(MixtureError, match="alpha and beta were clustered apart"):
        Stream(sources, Mixture(clusters=target), seed=0)

    # Within a source, the numbers are enough.
    balance = Mixture(clusters=ClusterPolicy(policy="balance"))
    assert len(Stream(sources, balance, seed=0).order.strata) == 2
