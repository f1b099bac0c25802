"""Stretches of adjacent clips, and the streams that may join them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surgrec.errors import MixtureError
from surgrec.parquet import parquet_bytes
from surgrec.shards import Clip, Source, open_corpus
from surgrec.shards.layout import DUPLICATE_GROUP, INDEX_FILE
from surgrec.stream import Mixture, Stream
from surgrec.stream.stretches import Stretches
from tests.support.samples import change_cell, make_clips, write_corpus


def source_of(folder: Path, clips: Sequence[Clip]) -> Source:
    return open_corpus([write_corpus(folder, {"alpha": clips})])["alpha"]


def starts_around(source: Source, stretches: Stretches, start_s: float) -> list[float]:
    """Return the starts of the clips in the stretch of the clip that starts at `start_s`."""
    starts_s = source.index.column("start_s").to_numpy()
    row = int(np.flatnonzero(starts_s == start_s)[0])
    return [float(start) for start in starts_s[stretches.around(row)]]


@pytest.mark.parametrize(
    ("change", "after"),
    [
        pytest.param({}, [0.0, 10.0, 20.0], id="nothing"),
        pytest.param({"start_s": 10.1}, [0.0, 10.1, 20.0], id="a frame of 0.125 s at most is lost"),
        pytest.param({"start_s": 10.2}, [0.0], id="a gap of more than a frame before it"),
        pytest.param({"start_s": 9.0}, [0.0], id="an overlap"),
        pytest.param({"duration_s": 9.5, "num_frames": 76}, [0.0, 10.0], id="a gap behind it"),
        pytest.param({"video": "ba9876543210"}, [0.0], id="another video"),
        pytest.param({"width": 95}, [0.0], id="another width"),
        pytest.param({"height": 65}, [0.0], id="another height"),
        pytest.param({"fps": 4.0, "num_frames": 40}, [0.0], id="another frame rate"),
    ],
)
def test_a_stretch_ends_where_the_next_clip_does_not_continue_it(
    tmp_path: Path, change: dict[str, Any], after: list[float]
) -> None:
    first, second, third = make_clips(3)
    source = source_of(tmp_path, [third, first, replace(second, **change)])
    stretches = Stretches(source, np.arange(3))
    assert starts_around(source, stretches, 0.0) == after


def test_rows_that_are_left_out_are_gaps(tmp_path: Path) -> None:
    source = source_of(tmp_path, make_clips(6))
    stretches = Stretches(source, np.array([5, 1, 0, 3, 3]))  # a repeated clip has several rows
    assert [stretches.around(row).tolist() for row in (0, 1, 3, 5)] == [[0, 1], [0, 1], [3], [5]]
    assert stretches.lengths_s(np.array([5, 0, 1, 3])).tolist() == [10.0, 20.0, 20.0, 10.0]


def test_no_rows_have_no_stretches(tmp_path: Path) -> None:
    stretches = Stretches(source_of(tmp_path, make_clips(2)), np.zeros(0, dtype=np.int64))
    assert stretches.lengths_s(np.zeros(0, dtype=np.int64)).tolist() == []


@given(gaps=st.lists(st.booleans(), min_size=1, max_size=12), data=st.data())
def test_every_clip_is_in_one_stretch_whose_length_is_that_of_its_clips(
    gaps: list[bool], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    clips = []
    start_s = 0.0
    for clip, is_gap in zip(make_clips(len(gaps)), gaps, strict=True):
        start_s += 3.0 if is_gap else 0.0
        clips.append(replace(clip, start_s=start_s))
        start_s += clip.duration_s
    order = data.draw(st.permutations(range(len(clips))))
    source = source_of(tmp_path_factory.mktemp("corpus"), [clips[number] for number in order])

    stretches = Stretches(source, np.arange(len(clips)))
    found = {tuple(stretches.around(row).tolist()) for row in range(len(clips))}
    assert sorted(row for rows in found for row in rows) == list(range(len(clips)))
    assert len(found) == 1 + sum(gaps[1:])
    for rows in found:
        assert stretches.lengths_s(np.array(rows)).tolist() == [10.0 * len(rows)] * len(rows)


@pytest.fixture
def gaps(tmp_path: Path) -> dict[str, Source]:
    """Return stretches of 40 s and 10 s of one video, and of 20 s of another."""
    one = [clip for clip in make_clips(6) if clip.start_s != 40.0]
    other = [replace(clip, video="ba9876543210") for clip in make_clips(12)[10:]]
    return open_corpus([write_corpus(tmp_path / "corpus", {"alpha": one + other})])


def drawn(stream: Stream) -> set[float]:
    """Return the starts of all drawn clips."""
    return {stream.sample(draw).clip.start_s for draw in stream.draws(np.arange(64))}


def test_clips_are_long_enough_if_their_stretch_is(gaps: dict[str, Source]) -> None:
    stream = Stream(gaps, Mixture(block=16), seed=0)
    with pytest.raises(MixtureError, match=r"all 7 clips .*set join_clips to true to continue"):
        stream.require_sampling(64, 4.0)
    with pytest.raises(
        MixtureError,
        match=r"1 of 7 clips, joined with their adjacent clips, are shorter than the 16 s .*; "
        r"set mixture.min_stretch_s to 16 to leave them out, ",
    ):
        stream.require_sampling(64, 4.0, join_clips=True)
    assert stream.require_sampling(40, 4.0, join_clips=True) == []


def test_the_remedy_leaves_out_clips_of_short_stretches_only(gaps: dict[str, Source]) -> None:
    stream = Stream(gaps, Mixture(block=16, min_stretch_s=16.0), seed=0)
    assert drawn(stream) == {0.0, 10.0, 20.0, 30.0, 100.0, 110.0}
    assert stream.require_sampling(64, 4.0, join_clips=True) == []

    with pytest.raises(
        MixtureError, match=r"all 6 clips \(the longest, joined .*, lasts 40 s\) are"
    ):
        stream.require_sampling(200, 4.0, join_clips=True)
    with pytest.raises(MixtureError, match="min_stretch_s and limits"):
        Stream(gaps, Mixture(block=16, min_stretch_s=41.0), seed=0)


def test_a_clip_that_the_mixture_leaves_out_ends_a_stretch(tmp_path: Path) -> None:
    clips = [replace(clip, blur=0.9 if clip.start_s == 20.0 else 0.1) for clip in make_clips(6)]
    sources = open_corpus([write_corpus(tmp_path / "corpus", {"alpha": clips})])
    sharp = Mixture(block=16, limits={"blur": (0.0, 0.5)}, min_stretch_s=30.0)
    assert drawn(Stream(sources, sharp, seed=0)) == {30.0, 40.0, 50.0}


def test_without_a_least_stretch_the_order_is_the_one_of_before(gaps: dict[str, Source]) -> None:
    plain = Stream(gaps, Mixture(block=16), seed=0)
    none_left_out = Stream(gaps, Mixture(block=16, min_stretch_s=10.0), seed=0)
    assert plain.identity() == none_left_out.identity()
    assert (
        plain.identity() != Stream(gaps, Mixture(block=16, min_stretch_s=16.0), seed=0).identity()
    )


@pytest.mark.parametrize(
    ("column", "value"), [("start_s", 20.05), ("fps", 8.1), ("video", "ba9876543210")]
)
def test_what_decides_adjacency_is_in_the_identity_of_joined_streams_only(
    tmp_path: Path, column: str, value: float | str
) -> None:
    corpus = write_corpus(
        tmp_path / "corpus", {"alpha": make_clips(4), "beta": make_clips(4, "beta")}
    )
    before = Stream(open_corpus([corpus]), Mixture(block=16), seed=0)
    change_cell(corpus, "alpha", column, 2, lambda _: value)
    after = Stream(open_corpus([corpus]), Mixture(block=16), seed=0)
    assert before.identity() == after.identity()

    joined = [stream.identity(join_clips=True)["sources"] for stream in (before, after)]
    assert joined[0]["alpha"] != joined[1]["alpha"]
    assert joined[0]["beta"] == joined[1]["beta"]


def of_groups(folder: Path, clips: Sequence[Clip], groups: Sequence[int]) -> dict[str, Source]:
    """Return a source of clips with the duplicate group of each; 0: no copy."""
    corpus = write_corpus(folder, {"alpha": clips})
    group_of = {
        (clip.video, clip.start_s): group for clip, group in zip(clips, groups, strict=True)
    }
    table = open_corpus([corpus])["alpha"].index.table()
    rows = zip(table.column("video").to_pylist(), table.column("start_s").to_pylist(), strict=True)
    column = pa.array([group_of[row] for row in rows], pa.int64())
    table = table.append_column(DUPLICATE_GROUP, column)
    (corpus / "alpha" / INDEX_FILE).write_bytes(parquet_bytes(table))
    return open_corpus([corpus])


def test_a_group_keeps_no_copy_whose_stretch_is_too_short(tmp_path: Path) -> None:
    """The longest video has gaps: of its copy in one stretch, all clips are drawn."""
    longest = [replace(clip, video="ba9876543210") for clip in make_clips(20)[10::2]]
    copy = make_clips(3)
    sources = of_groups(tmp_path / "corpus", longest + copy, [1] * len(longest + copy))
    one = Mixture(block=16, duplicates="one")
    assert drawn(Stream(sources, one, seed=0)) == {100.0, 120.0, 140.0, 160.0, 180.0}
    assert drawn(Stream(sources, replace(one, min_stretch_s=30.0), seed=0)) == {0.0, 10.0, 20.0}


def test_a_copy_that_is_left_out_divides_its_stretch(tmp_path: Path) -> None:
    longest = [replace(clip, video="ba9876543210") for clip in make_clips(14)[10:]]
    divided = make_clips(3)
    sources = of_groups(tmp_path / "corpus", longest + divided, [2, 0, 0, 0, 0, 2, 0])
    one = Mixture(block=16, duplicates="one")
    rest = {100.0, 110.0, 120.0, 130.0}
    assert drawn(Stream(sources, one, seed=0)) == rest | {0.0, 20.0}
    assert drawn(Stream(sources, replace(one, min_stretch_s=30.0), seed=0)) == rest
