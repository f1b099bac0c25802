import json
import multiprocessing
import pickle
import re
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from surgrec.errors import MixtureError, ShardError
from surgrec.shards import Clip, open_corpus
from surgrec.stream import DrawPlan, Level, Mixture, Stream
from tests.support.samples import make_clips, write_corpus
from tests.support.tool import QUICK, build_folder, run_here
from tests.support.videos import make_video


def keys(stream: Stream, positions: int) -> list[str]:
    return [stream.key(draw) for draw in stream.draws(np.arange(positions))]


def test_a_draw_names_its_source_its_row_and_its_epoch(tiny_corpus: Path) -> None:
    stream = Stream(open_corpus([tiny_corpus]), Mixture(block=16), seed=0)
    draws = stream.draws(np.arange(100))
    assert [draw.position for draw in draws] == list(range(100))
    for draw in draws:
        sample = stream.sample(draw)
        assert sample.key == stream.key(draw)
        assert sample.clip.source == draw.source
    of_beta = [draw for draw in draws if draw.source == "beta"]
    assert [draw.source_epoch for draw in of_beta] == [index // 6 for index in range(len(of_beta))]
    assert len({draw.row for draw in of_beta[:6]}) == 6


@pytest.mark.parametrize(("splits", "beta"), [(["train"], 6), (["val"], 2), (["train", "val"], 8)])
def test_only_the_splits_of_the_mixture_are_drawn(
    tiny_corpus: Path, splits: list[str], beta: int
) -> None:
    stream = Stream(open_corpus([tiny_corpus]), Mixture(splits=splits, block=16), seed=0)
    samples = [stream.sample(draw) for draw in stream.draws(np.arange(300))]
    assert {sample.clip.split for sample in samples} == set(splits)
    assert len({sample.key for sample in samples if sample.clip.source == "beta"}) == beta


def test_the_same_corpus_in_one_or_two_roots_is_the_same_stream(tmp_path: Path) -> None:
    alpha, beta = make_clips(9, "alpha"), make_clips(5, "beta")
    together = write_corpus(tmp_path / "both", {"alpha": alpha, "beta": beta})
    roots = [
        write_corpus(tmp_path / "b", {"beta": beta}),
        write_corpus(tmp_path / "a", {"alpha": alpha}),
    ]
    one = Stream(open_corpus([together]), Mixture(), seed=3)
    two = Stream(open_corpus(roots), Mixture(), seed=3)
    assert keys(one, 200) == keys(two, 200)
    assert one.order.identity() == two.order.identity()


@pytest.mark.parametrize("change", ["packed in another order", "stored in other splits"])
def test_the_same_clips_in_other_rows_are_another_stream(tmp_path: Path, change: str) -> None:
    """A source's digest ignores the order and the splits of its rows, but draws depend on them."""

    def clips(splits: str) -> list[Clip]:
        return [
            replace(clip, split=split)
            for clip, split in zip(make_clips(4), splits.split(), strict=True)
        ]

    before = clips("train train train val")
    after = before[::-1] if change == "packed in another order" else clips("train train val train")
    streams = [
        Stream(open_corpus([write_corpus(tmp_path / name, {"alpha": clips_of})]), Mixture(), seed=0)
        for name, clips_of in (("before", before), ("after", after))
    ]
    assert streams[0].sources["alpha"].entry.digest == streams[1].sources["alpha"].entry.digest
    assert keys(streams[0], 20) != keys(streams[1], 20)
    assert streams[0].order.identity() != streams[1].order.identity()


def test_substitutes_of_a_bad_sample_are_the_other_clips_of_its_source(tiny_corpus: Path) -> None:
    stream = Stream(open_corpus([tiny_corpus]), Mixture(), seed=0)
    for draw in stream.draws(np.arange(12)):
        substitutes = list(stream.substitutes(draw))
        assert {substitute.source for substitute in substitutes} == {draw.source}
        assert {stream.sample(substitute).clip.split for substitute in substitutes} == {"train"}
        drawn = {"alpha": 10, "beta": 6, "gamma": 10}[draw.source]
        assert (
            len({draw.row, *(substitute.row for substitute in substitutes)})
            == drawn
            == len(substitutes) + 1
        )


def test_clips_shorter_than_a_training_clip_are_refused_or_left_out(
    tiny_corpus: Path,
) -> None:
    sources = open_corpus([tiny_corpus])
    stream = Stream(sources, Mixture(), seed=0)
    assert stream.require_sampling(8, 4.0) == []
    with pytest.raises(
        MixtureError, match=r"gamma: 2 of 10 clips are shorter than the 4 s .*min_duration_s to 4"
    ):
        stream.require_sampling(16, 4.0)
    long_enough = Stream(sources, Mixture(min_duration_s=4.0), seed=0)
    long_enough.require_sampling(16, 4.0)
    assert {stratum.source: stratum.size for stratum in long_enough.order.strata} == {
        "alpha": 10,
        "beta": 6,
        "gamma": 8,
    }
    Stream(sources, Mixture(weights={"gamma": 0.0}), seed=0).require_sampling(16, 4.0)


def test_the_remedies_for_clips_that_are_all_too_short_work(tmp_path: Path) -> None:
    """A training clip of 8 s, and stored clips of 4 s."""
    video = make_video(tmp_path / "videos" / "one.mp4", seconds=20)
    build = (*build_folder(video.parent), *QUICK, "--encode.clip_s", 4, "--encode.min_clip_s", 2)
    assert run_here(*build, "--out", tmp_path / "short").returncode == 0

    stream = Stream(open_corpus([tmp_path / "short"]), Mixture(), seed=0)
    with pytest.raises(
        MixtureError, match=r"all 5 clips \(the longest lasts 4 s\) are shorter than the 8 s"
    ) as error:
        stream.require_sampling(32, 4.0)
    flags = re.search(r"(--encode\.clip_s \S+ --encode\.min_clip_s \S+),", str(error.value))
    rate = re.search(r"at most (\S+) frames per second", str(error.value))
    assert flags
    assert rate

    built = run_here(*build, *flags.group(1).split(), "--out", tmp_path / "long")
    assert built.returncode == 0, built.stderr
    long = Stream(open_corpus([tmp_path / "long"]), Mixture(), seed=0)
    long.require_sampling(32, 4.0)
    assert [stratum.size for stratum in long.order.strata] == [2]
    stream.require_sampling(32, float(rate.group(1)))


def test_clips_that_store_fewer_frames_than_are_sampled_are_refused(tmp_path: Path) -> None:
    slow = [replace(clip, fps=2.0, num_frames=20) for clip in make_clips(3, "capsule")]
    corpus = {"capsule": slow + make_clips(9, "capsule")[3:], "alpha": make_clips(4)}
    sources = open_corpus([write_corpus(tmp_path / "corpus", corpus)])
    stream = Stream(sources, Mixture(), seed=0)
    assert stream.require_sampling(8, 2.0) == []
    with pytest.raises(
        MixtureError,
        match=r"3 of 9 clips of capsule store 2 frames per second, but a training clip has 4; "
        r"sample at most 2 .*allow_repeated_frames",
    ):
        stream.require_sampling(8, 4.0)
    with pytest.raises(MixtureError, match=r"4 of 4 clips of alpha store 8 .*; 9 of 9 clips"):
        stream.require_sampling(8, 60.0)

    (row,) = stream.require_sampling(8, 4.0, allow_repeated_frames=True)
    assert (row.source, row.clips, row.of, row.least_fps) == ("capsule", 3, 9, 2.0)
    without = Stream(sources, Mixture(weights={"capsule": 0.0}), seed=0)
    assert without.require_sampling(8, 8.01) == []  # a rounded rate


def test_a_stream_survives_pickling_and_spawning_with_the_same_draws(tiny_corpus: Path) -> None:
    stream = Stream(open_corpus([tiny_corpus]), Mixture(block=16), seed=7)
    expected = stream.draws(np.arange(40))
    assert pickle.loads(pickle.dumps(stream)).draws(np.arange(40)) == expected
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
        assert processes.submit(stream.draws, np.arange(40)).result(timeout=120) == expected


def test_the_plan_of_a_run_says_what_it_will_draw_of_each_source(tiny_corpus: Path) -> None:
    stream = Stream(open_corpus([tiny_corpus]), Mixture(block=100, splits=["train"]), seed=0)
    plan = {row.source: row for row in DrawPlan.for_positions(stream, 1000).sources}
    drawn = [draw.source for draw in stream.draws(np.arange(1000))]
    for name, samples in (("alpha", 10), ("beta", 6), ("gamma", 10)):
        row = plan[name]
        assert (row.samples, row.draws) == (samples, drawn.count(name))
        assert row.share == pytest.approx(row.draws / 1000)
        assert row.epochs == pytest.approx(row.draws / samples)
    assert plan["gamma"].share == 0.5


def test_a_level_over_a_column_balances_inside_a_source(tmp_path: Path) -> None:
    clips = [
        replace(clip, procedure="bypass" if index < 9 else "sleeve")
        for index, clip in enumerate(make_clips(12))
    ]
    sources = open_corpus(
        [write_corpus(tmp_path / "corpus", {"alpha": clips, "beta": make_clips(4, "beta")})]
    )
    mixture = Mixture(
        levels=[Level(by="source", alpha=0.0), Level(by="procedure", alpha=0.0)], block=8
    )
    stream = Stream(sources, mixture, seed=1)
    samples = [stream.sample(draw) for draw in stream.draws(np.arange(80))]
    assert Counter((sample.clip.source, sample.clip.procedure) for sample in samples) == {
        ("alpha", "bypass"): 20,
        ("alpha", "sleeve"): 20,
        ("beta", "cholecystectomy"): 40,
    }
    sleeves = [sample.key for sample in samples if sample.clip.procedure == "sleeve"]
    assert len(set(sleeves[:3])) == 3, "an epoch of the group holds each of its samples once"
    plan = {row.source: row for row in DrawPlan.for_positions(stream, 80).sources}
    assert (plan["alpha"].samples, plan["alpha"].draws, plan["alpha"].share) == (12, 40, 0.5)
    assert plan["alpha"].hours == pytest.approx(120 / 3600)


def test_a_level_over_a_missing_column_is_refused_with_the_columns(
    tiny_corpus: Path,
) -> None:
    with pytest.raises(
        ShardError,
        match=r"no column 'cluster', by which a level divides samples; "
        r"use one of .*case, .*procedure",
    ):
        Stream(open_corpus([tiny_corpus]), Mixture(levels=[Level(by="cluster", alpha=0.0)]), seed=0)


def test_only_clips_within_the_limits_are_drawn(tiny_corpus: Path) -> None:
    sources = open_corpus([tiny_corpus])
    values = sorted(
        value for source in sources.values() for value in source.index.column("motion").to_pylist()
    )
    middle = values[len(values) // 2]
    stream = Stream(sources, Mixture(limits={"motion": (0.0, middle)}), seed=0)
    drawn = [stream.sample(draw).clip.motion for draw in stream.draws(np.arange(2000))]
    assert max(drawn) <= middle
    assert len(set(drawn)) > 1


def test_limits_are_part_of_the_identity_and_checked(tiny_corpus: Path) -> None:
    sources = open_corpus([tiny_corpus])
    identities = [
        json.dumps(Stream(sources, Mixture(limits=limits), seed=0).order.identity(100))
        for limits in ({}, {"blur": (0.0, 1.0)})
    ]
    assert identities[0] != identities[1]
    with pytest.raises(MixtureError, match=r"limits of blur are 1 and 0; give the smallest value"):
        Mixture(limits={"blur": (1.0, 0.0)})
    with pytest.raises(
        MixtureError, match="check splits, weights, min_duration_s, min_stretch_s and limits"
    ):
        Stream(sources, Mixture(limits={"blur": (0.0, 0.0)}), seed=0)


def test_repeats_beyond_the_cap_are_refused_or_told(tiny_corpus: Path) -> None:
    sources = open_corpus([tiny_corpus])

    def plan(mixture: Mixture, positions: int) -> DrawPlan:
        return DrawPlan.for_positions(Stream(sources, mixture, seed=0), positions)

    uncapped = Mixture(block=100)
    capped = replace(uncapped, max_repeats=4.5)
    plan(uncapped, 10**9).require_few_repeats()
    plan(capped, 90).require_few_repeats()
    with pytest.raises(MixtureError, match=r"max_repeats 4\.5 in gamma \(5\.0\); lower the weight"):
        plan(capped, 100).require_few_repeats()
    plan(replace(capped, over_max_repeats="warn"), 100).require_few_repeats()

    assert plan(capped, 100).repeats_warning().endswith("max_repeats 4.5 in gamma (5.0)")
    assert plan(capped, 90).repeats_warning() == plan(uncapped, 10**9).repeats_warning() == ""
