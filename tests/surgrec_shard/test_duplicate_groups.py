"""Duplicate groups: which clips form them, how a corpus gets them, and what a mixture draws."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
from surgrec_shard.dedup import Duplicate, Duplicates
from surgrec_shard.dedup_page import dedup_page
from surgrec_shard.duplicate_groups import group_clips, publish_groups
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
        start_s=start_s,
        end_s=end_s,
        other_source=other.source,
        other_video=other.name,
        other_case=other.case,
        other_split=other.split,
        other_start_s=start_s,
        other_end_s=end_s,
        speed=1.0,
        mirrored=0,
        seconds=10,
        similarity=0.9,
    )


def train_videos(corpus: Path) -> list[StoredVideo]:
    return [video for video in videos_of_sources(open_corpus(corpus)) if video.split == "train"]


def write(corpus: Path, groups: dict[tuple[str, str], int]) -> list[str]:
    return publish_groups(open_store(corpus), open_corpus(corpus), groups, is_alone=False)


def shard_digests(corpus: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in corpus.rglob("*.tar")
    }


def drawn_videos(corpus: Path, mixture: Mixture) -> set[str]:
    stream = Stream(open_corpus(corpus), mixture, seed=0)
    return {stream.sample(draw).clip.video for draw in stream.draws(np.arange(2048))}


def test_clips_of_both_stretches_of_a_copy_form_one_group(tiny_corpus: Path) -> None:
    videos = videos_of_sources(open_corpus(tiny_corpus))
    first, second, third, *others = videos
    groups = group_clips(videos, [copy_of(first, second), copy_of(second, third)])
    of = {
        video.name: {groups[sample.key, sample.sha256] for sample in video.samples}
        for video in videos
    }
    assert of[first.name] == of[second.name] == of[third.name] == {1}
    assert all(of[video.name] == {0} for video in others)


def test_only_clips_that_lie_in_a_stretch_by_half_are_members(tiny_corpus: Path) -> None:
    videos = videos_of_sources(open_corpus(tiny_corpus))
    first, second = [video for video in videos if len(video.samples) > 1][:2]
    clip = first.samples[0].clip
    end_s = clip.start_s + clip.duration_s * 1.4
    groups = group_clips(videos, [copy_of(first, second, end_s=end_s)])
    assert [groups[each.key, each.sha256] for each in first.samples[:2]] == [1, 0]
    short = copy_of(first, second, end_s=clip.duration_s * 0.4)
    assert set(group_clips(videos, [short]).values()) == {0}


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
    assert set(found.values()) == {0, 1}
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
        publish_groups(store, sources, groups, is_alone=False)
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
