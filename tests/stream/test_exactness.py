"""The guarantees of the order, for streams over arbitrary small corpora and mixtures."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from surgrec.parquet import read_parquet
from surgrec.shards import Clip, Sample, Source, SourceEntry, source_digest
from surgrec.shards._index import SourceIndex
from surgrec.storage import open_store
from surgrec.stream import DrawPlan, Level, Mixture, Stage, Stream, rank_positions
from surgrec.stream._mixture import level_columns, resolved_stages
from surgrec.stream._shares import Stratum
from tests.support.samples import CLIP, samples_to_parquet

# beartype checks a random item of a list, also within strategies; their draws do not depend on it.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
few_examples = settings(max_examples=settings().max_examples // 2)

SOURCES = ("alpha", "beta", "delta", "gamma")
LEVELS = ("domain", "source", "procedure", "view")
LONG_S = 10.0
Row = tuple[str, int, int]


def draw_rows(stream: Stream, positions: Sequence[int]) -> list[Row]:
    """Return source, index row and epoch at these positions."""
    draws = stream.draws(np.array(positions, dtype=np.int64))
    return [(draw.source, draw.row, draw.source_epoch) for draw in draws]


def draw_steps(stream: Stream, steps: range, *, global_batch: int, world_size: int) -> list[Row]:
    """Return the draws of all ranks in some steps; each rank asks for its own positions only."""
    by_rank = []
    for rank in range(world_size):
        positions = [
            rank_positions(step, global_batch=global_batch, rank=rank, world_size=world_size)
            for step in steps
        ]
        by_rank.append(
            iter(draw_rows(stream, np.concatenate(positions).tolist() if positions else []))
        )
    share = global_batch // world_size
    return [row for _ in steps for rank in by_rank for row in islice(rank, share)]


def source_of(clips: Sequence[Clip]) -> Source:
    """Return an opened source of these clips, which has an index and no bytes."""
    samples = [
        Sample(
            key=clip.key,
            clip=clip,
            shard=f"{clip.source}-train-00000000.tar",
            offset=index * 1024,
            size=1024,
            mp4_offset=index * 1024 + 512,
            mp4_size=512,
            sha256=f"{index:064x}",
        )
        for index, clip in enumerate(clips)
    ]
    digest = source_digest((sample.key, sample.sha256) for sample in samples)
    entry = SourceEntry(
        domain=clips[0].domain,
        shards=[],
        samples=len(samples),
        videos=1,
        videos_failed=0,
        cases=1,
        hours=1.0,
        bytes=0,
        digest=digest,
        plan="plan",
    )
    index = SourceIndex(read_parquet(samples_to_parquet(samples), "index"), "index")
    return Source(name=clips[0].source, entry=entry, index=index, store=open_store("/nowhere"))


@st.composite
def corpora(draw: st.DrawFn) -> dict[str, Source]:
    """Draw small corpora, from one sample in one source on; some samples are short or held out."""
    sources = {}
    for name in SOURCES[: draw(st.integers(1, len(SOURCES)))]:
        domain = draw(st.sampled_from(["laparoscopy", "cataract"]))
        others = draw(st.one_of(st.just(0), st.integers(0, 60)))
        traits = st.tuples(
            st.sampled_from(["bypass", "sleeve"]),
            st.sampled_from(["", "left", "right"]),
            st.sampled_from(["train", "train", "train", "val"]),
            st.sampled_from([LONG_S, LONG_S, LONG_S, 1.0]),
        )
        drawn = [
            ("bypass", "", "train", LONG_S),
            *draw(st.lists(traits, min_size=others, max_size=others)),
        ]
        sources[name] = source_of(
            [
                replace(
                    CLIP,
                    source=name,
                    domain=domain,
                    procedure=procedure,
                    view=view,
                    split=split,
                    duration_s=duration_s,
                    start_s=LONG_S * index,
                )
                for index, (procedure, view, split, duration_s) in enumerate(drawn)
            ]
        )
    return sources


def some_levels() -> st.SearchStrategy[list[Level]]:
    """Return up to four levels in any order; four sources then have at most 24 strata."""
    alpha = st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1))
    columns = st.lists(st.sampled_from(LEVELS), unique=True, max_size=4)
    return columns.flatmap(
        lambda names: st.tuples(
            *(st.builds(Level, by=st.just(name), alpha=alpha) for name in names)
        ).map(list)
    )


def some_weights(sources: Sequence[str]) -> st.SearchStrategy[dict[str, float]]:
    """Return factors for any of the sources; the first one always has samples drawn."""
    first = st.sampled_from([0.1, 1.0, 3.0])
    other = st.sampled_from([0.0, 0.1, 1.0, 3.0])
    factors = {name: other if index else first for index, name in enumerate(sources)}
    return st.fixed_dictionaries({}, optional=factors)


def some_stage(sources: Sequence[str], start: int) -> st.SearchStrategy[Stage]:
    """Return a stage that changes levels, weights or both."""
    levels, weights = some_levels(), some_weights(sources)
    changes = st.one_of(
        st.tuples(levels, st.none()), st.tuples(st.none(), weights), st.tuples(levels, weights)
    )  # a stage must change at least one of them
    return changes.map(lambda change: Stage(start=start, levels=change[0], weights=change[1]))


@dataclass(frozen=True)
class Run:
    """A stream with its sources and its mixture."""

    sources: dict[str, Source]
    mixture: Mixture
    stream: Stream

    def stratum_name(self, row: Row) -> tuple[str, ...]:
        """Return the source of a draw, and its values in the level columns."""
        index = self.sources[row[0]].index
        return (
            row[0],
            *(str(index.column(column)[row[1]]) for column in level_columns(self.mixture)),
        )

    def drawable(self) -> dict[tuple[str, ...], list[int]]:
        """Return the admitted rows of each stratum, by a check of every sample."""
        rows_by_stratum = defaultdict(list)
        for name, source in self.sources.items():
            for row in range(source.index.num_rows):
                clip = source.index.sample(row).clip
                if (
                    clip.split in self.mixture.splits
                    and clip.duration_s >= self.mixture.min_duration_s
                ):
                    rows_by_stratum[self.stratum_name((name, row, 0))].append(row)
        return rows_by_stratum


@st.composite
def runs(draw: st.DrawFn, *, stages: int = 2) -> Run:
    """Draw a stream over small corpora."""
    sources = draw(corpora())
    names = list(sources)
    block = draw(st.integers(24, 60))
    starts = draw(st.lists(st.integers(1, 6), max_size=stages, unique=True).map(sorted))
    mixture = Mixture(
        levels=draw(some_levels()),
        weights=draw(some_weights(names)),
        stages=[
            draw(some_stage(names, start * block - draw(st.integers(0, block - 1))))
            for start in starts
        ],
        splits=draw(st.sampled_from([["train"], ["train", "val"]])),
        min_duration_s=draw(st.sampled_from([0.0, 2.0])),
        block=block,
        shuffle_block=draw(st.one_of(st.just(1), st.integers(1, 40))),
        shuffle_window=draw(st.one_of(st.just(1), st.integers(1, 40))),
    )
    return Run(sources, mixture, Stream(sources, mixture, seed=draw(st.integers(0, 2**63))))


def divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


@few_examples
@given(
    runs(), st.sampled_from([1, 2, 4, 6, 8]), st.one_of(st.integers(0, 20), st.integers(0, 10**9))
)
def test_the_ranks_of_every_world_size_draw_the_same_global_sequence(
    run: Run, global_batch: int, start: int
) -> None:
    steps = range(start, start + 3)
    expected = draw_rows(run.stream, range(steps.start * global_batch, steps.stop * global_batch))
    for world_size in divisors(global_batch):
        assert (
            draw_steps(run.stream, steps, global_batch=global_batch, world_size=world_size)
            == expected
        )


@pytest.mark.slow
@few_examples
@given(runs(), st.integers(1, 3), st.data())
def test_a_run_resumed_in_other_worlds_draws_as_one_without_a_break(
    run: Run, quarter: int, data: st.DataObject
) -> None:
    """Resume with 4, then 2, then 1 rank from corpora, mixture, seed and step number alone."""
    global_batch, steps = 4 * quarter, 24
    first, second = sorted(data.draw(st.tuples(st.integers(0, steps), st.integers(0, steps))))
    rows: list[Row] = []
    for world_size, part in (
        (4, range(first)),
        (2, range(first, second)),
        (1, range(second, steps)),
    ):
        resumed = Stream(run.sources, run.mixture, run.stream.order.seed)
        rows += draw_steps(resumed, part, global_batch=global_batch, world_size=world_size)
    assert rows == draw_rows(run.stream, range(steps * global_batch))


@few_examples
@given(runs(), st.integers(0, 500))
def test_every_epoch_of_a_stratum_holds_each_of_its_samples_exactly_once(
    run: Run, extra: int
) -> None:
    """This holds across stages, and for strata that are parts of a source."""
    drawn: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in draw_rows(run.stream, range(4 * run.mixture.block + extra)):
        drawn[run.stratum_name(row)].append(row)
    samples = run.drawable()
    assert set(drawn) <= set(samples)
    for stratum, rows in drawn.items():
        size = len(samples[stratum])
        assert [epoch for _, _, epoch in rows] == [index // size for index in range(len(rows))]
        for first in range(0, len(rows), size):
            epoch = [row for _, row, _ in rows[first : first + size]]
            assert len(set(epoch)) == len(epoch)
            assert set(epoch) <= set(samples[stratum])
            assert len(epoch) < size or sorted(epoch) == samples[stratum]


def declared_shares(
    samples: Mapping[tuple[str, ...], int],
    names: Sequence[str],
    levels: Sequence[Level],
    weights: Mapping[str, float],
) -> dict[tuple[str, ...], float]:
    """Compute shares independently, by the README's definition: ~ samples^alpha at every level.

    Args:
        samples: Samples by stratum; a stratum is given by its values in the columns.
        names: Names of the columns; the first is the source.
        levels: Outermost first.
        weights: Factors by source.
    """
    shares: dict[tuple[str, ...], float] = {
        stratum: 1.0 for stratum in samples if weights.get(stratum[0], 1.0) > 0
    }
    inside = dict.fromkeys(shares, ())
    for level in levels:
        column = names.index(level.by)
        group = {stratum: (*inside[stratum], stratum[column]) for stratum in shares}
        sizes, parts = Counter[tuple[str, ...]](), defaultdict[tuple[str, ...], float](float)
        for stratum, name in group.items():
            sizes[name] += samples[stratum]
        for name in sizes:
            parts[name[:-1]] += sizes[name] ** level.alpha
        shares = {
            stratum: share * sizes[group[stratum]] ** level.alpha / parts[inside[stratum]]
            for stratum, share in shares.items()
        }
        inside = group
    innermost = Counter[tuple[str, ...]]()
    for stratum in shares:
        innermost[inside[stratum]] += samples[stratum]
    shares = {
        stratum: share
        * samples[stratum]
        / innermost[inside[stratum]]
        * weights.get(stratum[0], 1.0)
        for stratum, share in shares.items()
    }
    whole = sum(shares.values())
    return {stratum: share / whole for stratum, share in shares.items()}


@few_examples
@given(runs())
def test_every_mixing_block_of_a_stage_holds_the_declared_shares(
    run: Run,
) -> None:
    block, columns = run.mixture.block, level_columns(run.mixture)
    samples = {stratum: len(rows) for stratum, rows in run.drawable().items()}
    domains = {name: source.entry.domain for name, source in run.sources.items()}
    with_domain = {
        (stratum[0], domains[stratum[0]], *stratum[1:]): count for stratum, count in samples.items()
    }
    blocks = 9
    rows = draw_rows(run.stream, range(blocks * block))
    drawn = [
        Counter(map(run.stratum_name, rows[first : first + block]))
        for first in range(0, len(rows), block)
    ]
    starts = [stage.start_block for stage in resolved_stages(run.mixture)]
    assert starts == [0, *(-(-stage.start // block) for stage in run.mixture.stages)]
    for stage, start, end in zip(
        resolved_stages(run.mixture), starts, [*starts[1:], blocks], strict=True
    ):
        assert start < end
        assert all(counts == drawn[start] for counts in drawn[start:end])
        shares = declared_shares(
            with_domain, ["source", "domain", *columns], stage.levels, stage.weights
        )
        quota = {(stratum[0], *stratum[2:]): share * block for stratum, share in shares.items()}
        assert drawn[start].keys() == quota.keys()
        # With a smaller quota, strata are lifted to a whole position at the cost of others.
        if min(quota.values()) >= 1:
            assert all(abs(drawn[start][stratum] - quota[stratum]) < 1 + 1e-6 for stratum in quota)
        else:
            assert all(
                1 <= drawn[start][stratum] < max(1, quota[stratum]) + 1 + 1e-6 for stratum in quota
            )


@few_examples
@given(runs(), st.data())
def test_an_appended_stage_changes_no_draw_and_no_identity_before_it(
    run: Run, data: st.DataObject
) -> None:
    block = run.mixture.block
    last = resolved_stages(run.mixture)[-1].start_block
    start = data.draw(st.integers((last + 1) * block - block + 1, (last + 4) * block))
    stage = data.draw(some_stage(list(run.sources), start))
    assume(
        set(level_columns(Mixture(levels=stage.levels or []))) <= set(level_columns(run.mixture))
    )
    longer = Stream(
        run.sources,
        replace(run.mixture, stages=[*run.mixture.stages, stage]),
        run.stream.order.seed,
    )
    begins = -(-start // block) * block
    assert draw_rows(longer, range(begins)) == draw_rows(run.stream, range(begins))
    for positions in (0, 1, begins - 1, begins):
        assert longer.order.identity(positions) == run.stream.order.identity(positions)
    assert longer.order.identity(begins + 1) != run.stream.order.identity(begins + 1)


@few_examples
@given(runs(stages=0))
def test_a_stage_that_divides_by_a_new_column_makes_another_run(
    run: Run,
) -> None:
    """Strata are fixed from the first position on, so a later stage cannot divide them further."""
    (new, *_) = [
        column
        for column in ("procedure", "view", "case")
        if column not in level_columns(run.mixture)
    ]
    stage = Stage(start=1, levels=[Level(by=new, alpha=0.0)])
    finer = Stream(run.sources, replace(run.mixture, stages=[stage]), run.stream.order.seed)
    assert finer.order.identity(1) != run.stream.order.identity(1)


@few_examples
@given(runs(), st.lists(st.integers(0, 10**6), max_size=6), st.data())
def test_draws_depend_on_neither_the_order_of_roots_nor_earlier_calls(
    run: Run, positions: list[int], data: st.DataObject
) -> None:
    names = data.draw(st.permutations(list(run.sources)))
    other = Stream({name: run.sources[name] for name in names}, run.mixture, run.stream.order.seed)
    asked = draw_rows(other, positions)
    assert asked == draw_rows(run.stream, positions)
    assert [draw_rows(run.stream, [position])[0] for position in positions[::-1]] == asked[::-1]
    assert other.order.identity() == run.stream.order.identity()


@few_examples
@given(runs(), st.integers(0, 1000))
def test_the_plan_of_a_run_is_what_counting_its_draws_gives(run: Run, positions: int) -> None:
    counted = Counter(source for source, _, _ in draw_rows(run.stream, range(positions)))
    plan = DrawPlan.for_positions(run.stream, positions).sources
    assert {row.source: row.draws for row in plan} == {name: counted[name] for name in run.sources}
    samples = Counter[str]()
    for stratum, rows in run.drawable().items():
        samples[stratum[0]] += len(rows)
    assert {row.source: row.samples for row in plan} == dict(samples)
    for row in plan:
        assert row.epochs == row.draws / row.samples


@few_examples
@given(runs(), st.integers(0, 10**6))
def test_substitutes_are_the_other_samples_of_the_stratum_each_once(
    run: Run, position: int
) -> None:
    (draw,) = run.stream.draws(np.array([position]))
    stratum: Stratum = run.stream.order.strata[draw.stratum]
    rows = run.drawable()[run.stratum_name((draw.source, draw.row, 0))]
    assert stratum.size == len(rows)
    substitutes = [substitute.row for substitute in run.stream.substitutes(draw)]
    assert sorted([draw.row, *substitutes]) == rows
    resumed = Stream(run.sources, run.mixture, run.stream.order.seed)
    assert [substitute.row for substitute in resumed.substitutes(draw)] == substitutes
