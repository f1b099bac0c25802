import json
import pickle
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import surgrec.stream._order
from surgrec.errors import ConfigError, MixtureError
from surgrec.stream import Level, Mixture, Stage, rank_positions, sample_key
from surgrec.stream._order import DrawArrays, Order
from surgrec.stream._permutation import uniform
from surgrec.stream._shares import Stratum


def stratum(source: str, domain: str, size: int) -> Stratum:
    return Stratum(
        source=source,
        domain=domain,
        source_digest=f"digest of {source}",
        source_rows_digest=f"rows of {source}",
        size=size,
    )


# beartype checks a random item of a list, also within strategies; their draws do not depend on it.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
few_examples = settings(max_examples=settings().max_examples // 4)

STRATA = [
    stratum("alpha", "laparoscopy", 10),
    stratum("beta", "laparoscopy", 7),
    stratum("gamma", "cataract", 5),
]
MIXTURE = Mixture(block=16, shuffle_block=2, shuffle_window=2)


def rows(draws: DrawArrays) -> list[tuple[int, int, int]]:
    """Return (stratum, sample, epoch) position by position."""
    return list(
        zip(draws.stratum.tolist(), draws.sample.tolist(), draws.epoch.tolist(), strict=True)
    )


@st.composite
def orders(draw: st.DrawFn) -> Order:
    """Draw the order of a small corpus under a mixture that fits it."""
    sizes = draw(
        st.lists(
            st.one_of(st.integers(0, 40), st.integers(1, 5000)), min_size=1, max_size=6
        ).filter(any)
    )
    strata = [
        stratum(f"s{index}", draw(st.sampled_from(["x", "y", "z"])), size)
        for index, size in enumerate(sizes)
    ]
    alpha = st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1))
    levels = [Level(by="domain", alpha=draw(alpha)), Level(by="source", alpha=draw(alpha))]
    kept = draw(
        st.sampled_from([stratum.source for stratum in strata if stratum.size])
    )  # at least one source must be drawn
    weights = {
        stratum.source: draw(
            st.sampled_from([0.1, 1.0, 3.0] if stratum.source == kept else [0.0, 0.1, 1.0, 3.0])
        )
        for stratum in strata
        if stratum.size and draw(st.booleans())
    }
    mixture = Mixture(
        levels=levels[: draw(st.integers(0, 2))],
        weights=weights,
        block=draw(st.one_of(st.integers(6, 100), st.just(1024))),
        shuffle_block=draw(st.one_of(st.just(1), st.integers(1, 300))),
        shuffle_window=draw(st.one_of(st.just(1), st.integers(1, 600))),
    )
    return Order(strata, mixture, seed=draw(st.integers(0, 2**63)))


def test_the_order_never_changes() -> None:
    """Golden values: if one changes, no earlier run can be resumed or repeated."""
    order = Order(STRATA, MIXTURE, seed=239)
    assert order.counts.tolist() == [[4, 4, 8]]
    draws = order(np.arange(36))
    assert draws.stratum.tolist() == [
        *(2, 2, 0, 2, 0, 0, 2, 1, 2, 2, 0, 2, 1, 1, 2, 1),
        *(1, 2, 2, 2, 0, 0, 1, 2, 2, 0, 0, 1, 2, 1, 2, 2),
        *(2, 0, 2, 2),
    ]
    assert draws.sample.tolist() == [
        *(0, 1, 2, 4, 8, 9, 2, 2, 3, 3, 3, 1, 3, 0, 2, 1),
        *(4, 0, 4, 1, 5, 1, 6, 0, 4, 0, 4, 5, 2, 2, 3, 3),
        *(2, 7, 4, 0),
    ]
    assert draws.epoch.tolist() == [
        *(0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 1, 0),
        *(0, 1, 1, 2, 0, 0, 0, 2, 2, 0, 0, 0, 2, 1, 2, 3),
        *(3, 0, 3, 3),
    ]
    assert rows(order(np.array([10**6, 10**9 + 7, 10**12]))) == [
        (2, 1, 100_000),
        (1, 6, 35_714_285),
        (2, 3, 100_000_000_000),
    ]
    assert [list(order.substitutes(position)) for position in (0, 5)] == [
        [4, 1, 2, 3],
        [0, 2, 4, 7, 5, 6, 1, 3, 8],
    ]
    assert [int(sample_key(239, 5)), int(sample_key(239, 5, view=1))] == [
        14394350915687925631,
        8349935883529655026,
    ]


def test_the_worked_example_of_the_docstring_holds() -> None:
    assert surgrec.stream._order.__doc__ is not None
    lines = surgrec.stream._order.__doc__.splitlines()
    table = {
        name: line.replace("|", "").replace("...", "").split()[1:]
        for name in ("position", "stratum", "draw", "epoch", "rank", "sample")
        for line in lines
        if line.startswith(f"    {name} ")
    }
    numbers = {name: np.array(row, dtype=int) for name, row in table.items() if name != "stratum"}
    draws = Order(STRATA, MIXTURE, seed=239)(numbers["position"])
    assert ["abg"[index] for index in draws.stratum] == table["stratum"]
    assert draws.epoch.tolist() == numbers["epoch"].tolist()
    assert draws.sample.tolist() == numbers["sample"].tolist()

    sizes = np.array([STRATA[index].size for index in draws.stratum])
    assert numbers["draw"].tolist() == (numbers["epoch"] * sizes + numbers["rank"]).tolist()
    for stratum in range(3):
        own = numbers["draw"][draws.stratum == stratum]
        assert own.tolist() == list(range(len(own)))


def test_a_pickled_order_draws_the_same() -> None:
    order = Order(STRATA, MIXTURE, seed=239)
    before = rows(order(np.arange(40)))
    copy = pickle.loads(pickle.dumps(order))
    assert rows(copy(np.arange(40))) == before
    assert copy.identity() == order.identity()


@few_examples
@given(orders(), st.data())
def test_every_world_size_sees_the_same_global_sequence_from_any_step(
    order: Order, data: st.DataObject
) -> None:
    start, steps, global_batch = (
        data.draw(st.integers(0, 10**6)),
        2,
        8 * data.draw(st.integers(1, 4)),
    )
    whole = np.arange(start * global_batch, (start + steps) * global_batch)
    expected = rows(order(whole))
    for world_size in (2, 8):
        sequence = []
        for step in range(start, start + steps):
            for rank in range(world_size):
                positions = rank_positions(
                    step, global_batch=global_batch, rank=rank, world_size=world_size
                )
                assert len(positions) == global_batch // world_size
                sequence += rows(order(positions))
        assert sequence == expected


@few_examples
@given(orders(), st.lists(st.integers(0, 10**7), max_size=60))
def test_a_position_holds_the_same_whatever_else_is_asked(
    order: Order, positions: list[int]
) -> None:
    together = rows(order(np.array(positions, dtype=np.int64)))
    separate = [rows(order(np.array([position])))[0] for position in positions[:10]]
    assert together[:10] == separate
    backwards = rows(order(np.array(positions[::-1], dtype=np.int64)))
    assert together == backwards[::-1]


@few_examples
@given(orders(), st.integers(0, 10**6))
def test_every_block_holds_the_exact_counts(order: Order, block: int) -> None:
    size = order.mixture.block
    draws = order(np.arange(block * size, (block + 3) * size)).stratum.reshape(3, size)
    for row in draws:
        assert np.array_equal(np.bincount(row, minlength=len(order.strata)), order.counts[0])
    for stratum, count in zip(order.strata, order.counts[0], strict=True):
        assert (count > 0) == (
            stratum.size > 0 and order.mixture.weights.get(stratum.source, 1.0) > 0
        )


@few_examples
@given(orders())
def test_each_source_epoch_covers_each_sample_exactly_once(order: Order) -> None:
    draws = order(np.arange(20_000))
    for index, stratum in enumerate(order.strata):
        is_own = draws.stratum == index
        sample, epoch = draws.sample[is_own], draws.epoch[is_own]
        assert np.array_equal(epoch, np.arange(len(epoch)) // max(stratum.size, 1)), (
            "epochs must follow each other"
        )
        for number in range(0, int(epoch.max(initial=-1)) + 1):
            drawn = sample[epoch == number]
            assert len(np.unique(drawn)) == len(drawn)
            is_complete = number < epoch.max()
            assert not is_complete or np.array_equal(np.sort(drawn), np.arange(stratum.size))


@given(orders(), st.integers(0, 5000))
def test_consumed_is_what_counting_gives(order: Order, positions: int) -> None:
    counts = Counter(
        order.strata[stratum].source for stratum in order(np.arange(positions)).stratum
    )
    assert order.consumed(positions) == {
        stratum.source: counts[stratum.source] for stratum in order.strata
    }


def test_consumed_of_a_long_run_is_exact() -> None:
    order = Order(STRATA, MIXTURE, seed=1)
    assert order.consumed(16 * 10**12) == {
        "alpha": 4 * 10**12,
        "beta": 4 * 10**12,
        "gamma": 8 * 10**12,
    }


@few_examples
@given(orders(), st.integers(0, 10**9))
def test_substitutes_are_all_other_samples_of_the_source_each_once(
    order: Order, position: int
) -> None:
    draw = order(np.array([position]))
    stratum, bad = order.strata[draw.stratum[0]], int(draw.sample[0])
    if stratum.size > 300:
        return
    substitutes = list(order.substitutes(position))
    assert sorted([bad, *substitutes]) == list(range(stratum.size))
    assert substitutes == list(order.substitutes(position))


def test_bad_samples_are_not_all_replaced_by_the_same_one() -> None:
    order = Order([stratum("alpha", "x", 100)], Mixture(), seed=3)
    assert len({next(order.substitutes(position)) for position in range(50)}) > 30


def test_epochs_of_a_source_are_shuffled_differently() -> None:
    order = Order([stratum("alpha", "x", 50)], Mixture(shuffle_block=1), seed=3)
    first, second = order(np.arange(100)).sample.reshape(2, 50).tolist()
    assert first != second


def test_two_sources_of_the_same_size_do_not_share_an_order() -> None:
    order = Order(
        [stratum("alpha", "x", 64), stratum("beta", "x", 64)], Mixture(shuffle_block=1), seed=3
    )
    draws = order(np.arange(128))
    alpha, beta = (
        draws.sample[draws.stratum == 0][:50].tolist(),
        draws.sample[draws.stratum == 1][:50].tolist(),
    )
    assert alpha != beta
    assert sum(one == other for one, other in zip(alpha, beta, strict=True)) < 10


def test_seeds_give_different_orders() -> None:
    first, second = (Order(STRATA, MIXTURE, seed=seed)(np.arange(64)) for seed in (0, 1))
    assert first.stratum.tolist() != second.stratum.tolist()
    assert first.sample.tolist() != second.sample.tolist()


def test_sources_are_spread_through_the_block() -> None:
    """Otherwise a run of steps would get its gradients from one source."""
    stratum_of = Order(STRATA, replace(MIXTURE, block=1024), seed=5)(np.arange(1024)).stratum
    halves = [np.bincount(half, minlength=3) for half in stratum_of.reshape(2, 512)]
    assert np.abs(halves[0] - halves[1]).max() < 100


def test_the_order_of_the_given_sources_does_not_matter() -> None:
    assert rows(Order(STRATA[::-1], MIXTURE, 7)(np.arange(200))) == rows(
        Order(STRATA, MIXTURE, 7)(np.arange(200))
    )


@pytest.mark.parametrize(
    "other",
    [
        Order(STRATA, MIXTURE, seed=1),
        Order(STRATA, replace(MIXTURE, block=17), seed=0),
        Order(STRATA, replace(MIXTURE, shuffle_block=3), seed=0),
        Order(STRATA, replace(MIXTURE, weights={"alpha": 2.0}), seed=0),
        Order(STRATA[:2], MIXTURE, seed=0),
        Order([*STRATA, stratum("delta", "cataract", 5)], MIXTURE, seed=0),
        Order([*STRATA[:2], replace(STRATA[2], size=6)], MIXTURE, seed=0),
        Order([*STRATA[:2], replace(STRATA[2], source_digest="other clips")], MIXTURE, seed=0),
        Order([*STRATA[:2], replace(STRATA[2], source_rows_digest="other rows")], MIXTURE, seed=0),
        Order(STRATA, replace(MIXTURE, stages=[Stage(start=99, weights={})]), seed=0),
        Order(
            [*STRATA[:2], replace(STRATA[2], values={"view": "left"}, rows_digest="some")],
            MIXTURE,
            seed=0,
        ),
    ],
)
def test_whatever_may_change_the_order_changes_its_identity(other: Order) -> None:
    identity = Order(STRATA, MIXTURE, seed=0).identity()
    assert other.identity() != identity
    assert json.loads(json.dumps(identity)) == identity
    assert identity == Order(STRATA[::-1], MIXTURE, seed=0).identity()


STAGED = replace(
    MIXTURE, stages=[Stage(start=40, weights={"alpha": 0.0}), Stage(start=64, levels=[])]
)


def test_stages_change_the_shares_and_nothing_before_them() -> None:
    plain, staged = Order(STRATA, MIXTURE, seed=4), Order(STRATA, STAGED, seed=4)
    assert rows(plain(np.arange(48))) == rows(staged(np.arange(48)))
    stratum_of = staged(np.arange(48, 96)).stratum.reshape(3, 16)
    assert [np.bincount(block, minlength=3).tolist() for block in stratum_of] == staged.counts[
        [1, 2, 2]
    ].tolist()
    assert staged.counts[1].tolist() == [0, 8, 8]


@few_examples
@given(orders(), st.data())
def test_epochs_and_consumed_counts_stay_exact_across_stages(
    order: Order, data: st.DataObject
) -> None:
    block = order.mixture.block
    starts = data.draw(st.lists(st.integers(1, 8), min_size=1, max_size=3, unique=True).map(sorted))
    alphas = data.draw(st.lists(st.floats(0, 1), min_size=3, max_size=3))
    stages = [
        Stage(start=start * block, levels=[Level(by="source", alpha=alpha)])
        for start, alpha in zip(starts, alphas, strict=False)
    ]
    staged = Order(order.strata, replace(order.mixture, stages=stages), order.seed)
    positions = data.draw(st.integers(0, 12 * block))
    draws = staged(np.arange(positions))
    for index, stratum in enumerate(staged.strata):
        is_own = draws.stratum == index
        assert np.array_equal(draws.epoch[is_own], np.arange(is_own.sum()) // max(stratum.size, 1))
        pairs = set(zip(draws.epoch[is_own].tolist(), draws.sample[is_own].tolist(), strict=True))
        assert len(pairs) == is_own.sum()
    counts = Counter(staged.strata[stratum].source for stratum in draws.stratum)
    assert staged.consumed(positions) == {
        stratum.source: counts[stratum.source] for stratum in staged.strata
    }


def test_a_stage_that_has_not_begun_may_still_be_changed() -> None:
    plain, staged = Order(STRATA, MIXTURE, seed=4), Order(STRATA, STAGED, seed=4)
    assert plain.identity(48) == staged.identity(48), "the first stage starts with position 48"
    assert plain.identity(49) != staged.identity(49)
    other = Order(
        STRATA, replace(STAGED, stages=[STAGED.stages[0], Stage(start=80, levels=[])]), seed=4
    )
    assert other.identity(64) == staged.identity(64) != plain.identity(64)
    assert other.identity(65) != staged.identity(65)


def test_repeat_caps_are_no_part_of_the_order() -> None:
    assert (
        Order(STRATA, replace(MIXTURE, max_repeats=2.0), 0).identity()
        == Order(STRATA, MIXTURE, 0).identity()
    )


def test_a_block_that_cannot_serve_every_source_is_refused() -> None:
    with pytest.raises(
        MixtureError, match="block is 2, but domain and source divide the samples into 3 strata"
    ):
        Order(STRATA, replace(MIXTURE, block=2), seed=0)


def test_ranks_share_a_batch_in_order() -> None:
    parts = [
        rank_positions(5, global_batch=12, rank=rank, world_size=3).tolist() for rank in range(3)
    ]
    assert parts == [[60, 61, 62, 63], [64, 65, 66, 67], [68, 69, 70, 71]]


@pytest.mark.parametrize(("global_batch", "world_size"), [(16, 3), (16, 32)])
def test_a_world_that_does_not_divide_the_batch_is_refused(
    global_batch: int, world_size: int
) -> None:
    with pytest.raises(
        ConfigError,
        match=f"global_batch {global_batch} cannot be shared equally by {world_size} ranks",
    ):
        rank_positions(0, global_batch=global_batch, rank=0, world_size=world_size)


@pytest.mark.parametrize(("global_batch", "world_size"), [(16, 0), (0, 1)])
def test_an_empty_batch_or_world_is_refused(global_batch: int, world_size: int) -> None:
    with pytest.raises(
        ConfigError,
        match=f"global_batch is {global_batch} and world_size is {world_size}; give at least 1",
    ):
        rank_positions(0, global_batch=global_batch, rank=0, world_size=world_size)


@pytest.mark.parametrize("rank", [-1, 4])
def test_a_rank_outside_the_world_is_refused(rank: int) -> None:
    with pytest.raises(
        ConfigError, match=rf"rank is {rank} and world_size is 4; give a rank from 0 to 3"
    ):
        rank_positions(0, global_batch=8, rank=rank, world_size=4)


def test_a_sample_key_depends_on_seed_position_and_view_alone() -> None:
    keys = {
        int(sample_key(seed, position, view))
        for seed in (0, 1)
        for position in range(50)
        for view in (0, 1)
    }
    assert len(keys) == 200
    assert (
        0.4
        < float(np.mean([uniform(sample_key(0, position), 3) for position in range(2000)]))
        < 0.6
    )
