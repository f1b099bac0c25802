"""Duplicate groups: which clips form them, how a corpus gets them, and what a mixture draws."""

import hashlib
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as parquet
import pytest
from surgrec_shard.dedup import Duplicate, Duplicates
from surgrec_shard.dedup_page import dedup_page
from surgrec_shard.duplicate_groups import group_clips, groups_table
from surgrec_shard.further_columns import publish_further_columns
from surgrec_shard.stored_hashes import StoredVideo, videos_of_sources

from surgrec.errors import ShardError
from surgrec.shards import CorpusFile, open_corpus
from surgrec.storage import open_store
from surgrec.stream import Mixture, Stream
from tests.support.tool import run_here


def copy_of(
    video: StoredVideo, other: StoredVideo, *, start_s: float = 0.0, end_s: float = 1e4
) -> Duplicate:
    """Return a copy whose stretches have the same times in both videos."""
    return Duplicate(
        source=video.source,
        video=video.name,
        case=video.case,
        split=video.split,
        start_s=float(start_s),
        end_s=float(end_s),
        other_source=other.source,
        other_video=other.name,
        other_case=other.case,
        other_split=other.split,
        other_start_s=float(start_s),
        other_end_s=float(end_s),
        speed=1.0,
        same_case=0,
        mirrored=0,
        seconds=10,
        similarity=0.9,
    )


def train_videos(corpus: Path) -> list[StoredVideo]:
    return [video for video in videos_of_sources(open_corpus(corpus)) if video.split == "train"]


def write(corpus: Path, groups: dict[tuple[str, str], int]) -> list[str]:
    return publish_further_columns(
        open_store(corpus), open_corpus(corpus), groups_table(groups), is_alone=False
    )


def shard_digests(corpus: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in corpus.rglob("*.tar")
    }


def drawn_videos(corpus: Path, mixture: Mixture) -> set[str]:
    stream = Stream(open_corpus(corpus), mixture, seed=0)
    return {stream.sample(draw).clip.video for draw in stream.draws(np.arange(2048))}


def made_videos(corpus: Path, **lengths_s: float) -> list[StoredVideo]:
    """Return videos of these names and lengths, in clips of 10 s."""
    (sample, *_) = videos_of_sources(open_corpus(corpus))[0].samples
    return [
        StoredVideo(
            store=open_store(corpus),
            source="made",
            name=name,
            samples=[
                replace(
                    sample,
                    key=f"{name}{number}",
                    clip=replace(
                        sample.clip,
                        video=name,
                        start_s=10.0 * number,
                        duration_s=min(10.0, float(length_s) - 10 * number),
                    ),
                )
                for number in range(ceil(length_s / 10))
            ],
        )
        for name, length_s in lengths_s.items()
    ]


def united(videos: list[StoredVideo], *copies: Duplicate) -> set[frozenset[str]]:
    """Return the keys of the clips of each group."""
    groups: dict[int, set[str]] = {}
    for (key, _), number in group_clips(videos, copies).items():
        groups.setdefault(number, set()).add(key)
    assert set(groups) - {0} == set(range(1, len(set(groups) - {0}) + 1))
    return {frozenset(keys) for number, keys in groups.items() if number}


def shifted(
    video: StoredVideo,
    other: StoredVideo,
    span: tuple[float, float],
    other_span: tuple[float, float],
) -> Duplicate:
    return replace(
        copy_of(video, other, start_s=span[0], end_s=span[1]),
        other_start_s=float(other_span[0]),
        other_end_s=float(other_span[1]),
    )


def test_a_clip_joins_the_clip_that_shows_the_same_seconds(tiny_corpus: Path) -> None:
    first, second = videos = made_videos(tiny_corpus, a=40, b=30)
    found = united(videos, shifted(first, second, (12, 40), (2, 30)))
    assert found == {frozenset({"a1", "b0"}), frozenset({"a2", "b1"}), frozenset({"a3", "b2"})}


@pytest.mark.parametrize(
    ("similarity", "same_case", "groups"), [(0.73, 1, 0), (0.73, 0, 3), (0.85, 1, 3)]
)
def test_a_still_view_of_one_case_unites_no_clips(
    tiny_corpus: Path, similarity: float, same_case: int, groups: int
) -> None:
    first, second = videos = made_videos(tiny_corpus, a=40, b=30)
    copy = shifted(first, second, (12, 40), (2, 30))
    copy = replace(copy, similarity=similarity, same_case=same_case)
    assert len(united(videos, copy)) == groups


def test_a_title_in_many_videos_unites_only_its_clips(tiny_corpus: Path) -> None:
    # Two operations, each with a copy; all four begin with the same title of 8 s.
    first, twin, second, other_twin = videos = made_videos(tiny_corpus, a=40, b=40, c=30, d=30)
    copies = [copy_of(first, twin, end_s=40), copy_of(second, other_twin, end_s=30)]
    for video, other in ((first, second), (first, other_twin), (twin, second), (twin, other_twin)):
        copies.append(copy_of(video, other, end_s=8))
    assert united(videos, *copies) == {
        frozenset({"a0", "b0", "c0", "d0"}),
        *(frozenset({f"a{number}", f"b{number}"}) for number in (1, 2, 3)),
        *(frozenset({f"c{number}", f"d{number}"}) for number in (1, 2)),
    }


def test_half_a_clip_of_shift_does_not_chain_clips(tiny_corpus: Path) -> None:
    first, second = videos = made_videos(tiny_corpus, a=100, b=95)
    found = united(videos, shifted(first, second, (5, 100), (0, 95)))
    assert all(len(group) == 2 for group in found)
    assert {key for group in found for key in group} >= {f"b{number}" for number in range(10)}


def test_a_copy_of_a_copy_joins_by_its_time_in_the_original(tiny_corpus: Path) -> None:
    first, second, third = videos = made_videos(tiny_corpus, a=60, b=50, c=20)
    copies = [
        shifted(first, second, (10, 60), (0, 50)),
        shifted(second, third, (20, 40), (0, 20)),  # of seconds 30 to 50 of the first
    ]
    found = united(videos, *copies)
    assert frozenset({"a3", "b2", "c0"}) in found
    assert frozenset({"a4", "b3", "c1"}) in found


def test_clips_at_double_speed_join_one_of_the_clips_they_show(tiny_corpus: Path) -> None:
    first, second = videos = made_videos(tiny_corpus, a=40, b=20)
    found = united(videos, shifted(first, second, (0, 40), (0, 20)))
    assert found == {frozenset({"a0", "b0"}), frozenset({"a2", "b1"})}


def test_only_clips_that_lie_in_a_stretch_by_half_are_members(tiny_corpus: Path) -> None:
    first, second = videos = made_videos(tiny_corpus, a=40, b=30)
    assert united(videos, copy_of(first, second, end_s=14)) == {frozenset({"a0", "b0"})}
    assert united(videos, copy_of(first, second, end_s=4)) == set()


def test_a_short_video_joins_the_long_clip_that_has_it(tiny_corpus: Path) -> None:
    first, second = videos = made_videos(tiny_corpus, a=40, b=4)
    found = united(videos, shifted(first, second, (23, 27), (0, 4)))
    assert found == {frozenset({"a2", "b0"})}


def test_groups_are_published_without_touching_a_shard(corpus_copy: Path) -> None:
    videos = videos_of_sources(open_corpus(corpus_copy))
    before = shard_digests(corpus_copy)
    groups = group_clips(videos, [copy_of(videos[0], videos[1])])
    assert write(corpus_copy, groups) == sorted(open_corpus(corpus_copy))
    assert shard_digests(corpus_copy) == before

    found = {}
    for path in sorted(corpus_copy.glob("*/index.parquet")):
        for row in parquet.read_table(path).to_pylist():
            found[row["key"], row["sha256"]] = row["duplicate_group"]
    assert found == groups
    assert set(found.values()) >= {0, 1}
    assert run_here("verify", corpus_copy).returncode == 0
    assert write(corpus_copy, groups) == []


def test_a_corpus_that_changed_meanwhile_is_not_overwritten(corpus_copy: Path) -> None:
    store, sources = open_store(corpus_copy), open_corpus(corpus_copy)
    groups = group_clips(videos_of_sources(sources), [])
    corpus = CorpusFile.read(store)
    assert corpus is not None
    del corpus.sources["alpha"]
    corpus.write(store)
    with pytest.raises(ShardError, match="another command has changed the source 'alpha'"):
        publish_further_columns(store, sources, groups_table(groups), is_alone=False)
    assert CorpusFile.read(store) == corpus


def test_a_mixture_draws_one_video_of_each_group(corpus_copy: Path) -> None:
    first, second, *_ = train_videos(corpus_copy)
    everything = videos_of_sources(open_corpus(corpus_copy))
    write(corpus_copy, group_clips(everything, [copy_of(first, second)]))

    both = drawn_videos(corpus_copy, Mixture())
    one = drawn_videos(corpus_copy, Mixture(duplicates="one"))
    assert {first.name, second.name} <= both
    assert len(both - one) == 1
    assert both - one < {first.name, second.name}


def test_copies_in_two_sources_leave_one_and_weight_0_leaves_the_other(corpus_copy: Path) -> None:
    by_source: dict[str, StoredVideo] = {}
    for video in train_videos(corpus_copy):
        by_source.setdefault(video.source, video)
    first, second, *_ = by_source.values()
    everything = videos_of_sources(open_corpus(corpus_copy))
    write(corpus_copy, group_clips(everything, [copy_of(first, second)]))
    one = drawn_videos(corpus_copy, Mixture(duplicates="one"))
    (kept,) = [video for video in (first, second) if video.name in one]
    other = second if kept is first else first
    weights = {kept.source: 0.0}
    assert other.name in drawn_videos(corpus_copy, Mixture(duplicates="one", weights=weights))


def test_without_copies_the_order_is_that_of_all_clips(corpus_copy: Path) -> None:
    write(corpus_copy, group_clips(videos_of_sources(open_corpus(corpus_copy)), []))
    orders = [
        Stream(open_corpus(corpus_copy), Mixture(duplicates=which), seed=0).order
        for which in ("all", "one")
    ]
    assert orders[0].identity(100) == orders[1].identity(100)


def test_only_runs_that_leave_out_copies_depend_on_the_groups(corpus_copy: Path) -> None:
    def identity(which: Literal["all", "one"]) -> dict[str, object]:
        sources = open_corpus(corpus_copy)
        return Stream(sources, Mixture(duplicates=which), seed=0).order.identity(100)

    first, second, *_ = train_videos(corpus_copy)
    everything = videos_of_sources(open_corpus(corpus_copy))
    write(corpus_copy, group_clips(everything, []))
    before, entries = identity("all"), CorpusFile.read(open_store(corpus_copy))
    assert identity("one") == before

    # The digests of the sources stay: all shards and clips are as before.
    write(corpus_copy, group_clips(everything, [copy_of(first, second)]))
    assert CorpusFile.read(open_store(corpus_copy)) == entries
    assert identity("all") == before
    assert identity("one") != before


def test_one_of_each_group_needs_a_search_since_the_last_clips(corpus_copy: Path) -> None:
    def stream() -> Stream:
        return Stream(open_corpus(corpus_copy), Mixture(duplicates="one"), seed=0)

    with pytest.raises(ShardError, match=r"no column duplicate_group.*dedup CORPUS --write true"):
        stream()
    groups = group_clips(videos_of_sources(open_corpus(corpus_copy)), [])
    write(corpus_copy, groups)
    stream()

    # An index as after a build that added a clip.
    (path, *_) = sorted(corpus_copy.glob("*/index.parquet"))
    table = parquet.read_table(path)
    values = table.column("duplicate_group").to_pylist()
    values[table.column("split").to_pylist().index("train")] = None
    place = table.column_names.index("duplicate_group")
    parquet.write_table(table.set_column(place, "duplicate_group", [values]), path)
    with pytest.raises(ShardError, match=r"1 of \d+ clips in .* were added after the last search"):
        stream()


def test_the_page_of_copies_escapes_every_name(tiny_corpus: Path) -> None:
    first, second, *_ = videos_of_sources(open_corpus(tiny_corpus))
    found = [copy_of(first, second, end_s=12.5)]
    result = Duplicates(videos=2, seconds=40, other_videos=0, found=found, known=[])
    page = dedup_page(result, "/data/<script>alert(1)</script>&co")
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;co" in page
    assert f"<td>{first.source}/{first.name}</td><td>{first.split}</td><td>0-12.5</td>" in page
    assert "1 copy, in 1 pair of different cases" in page
    assert "<table>" not in dedup_page(
        Duplicates(videos=2, seconds=40, other_videos=0, found=[], known=[]), "corpus"
    )
