"""A corpus lives: a video more or less costs that video, and the way does not show."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from surgrec_shard.build import Build, BuildConfig, BuildResult
from surgrec_shard.groups import PackSettings
from surgrec_shard.private import PrivateFolder

from surgrec.annotations import PLAIN, LabelFiles
from surgrec.errors import SampleError, ShardError
from surgrec.manifest import Video
from surgrec.shards import open_corpus, read_corpus_labels
from surgrec.storage import open_store
from surgrec.stream import Fetcher
from tests.support.tool import digests, fixed_key, run_here
from tests.support.videos import TINY_ENCODING, build_corpus
from tests.surgrec_shard.conftest import Files


def build(
    folder: Path, videos: Sequence[Video], *, remove_unlisted: bool = False, group: int = 32
) -> BuildResult:
    private = PrivateFolder(fixed_key(folder / "private"))
    config = BuildConfig(
        videos=videos,
        store=open_store(folder / "corpus"),
        private=private,
        work=private.path / "work",
        encode=TINY_ENCODING,
        pack=PackSettings(group_videos=group),
        public=False,
        workers=2,
        remove_unlisted=remove_unlisted,
    )
    return Build(config, lambda stage, done, total: None).run()


def groups_of(result: BuildResult) -> dict[str, set[str]]:
    """Return the names of the shards of each group."""
    groups: dict[str, set[str]] = {}
    for shard in result.corpus.sources["lap"].shards:
        groups.setdefault(shard.name[: len("lap-train-00000")], set()).add(shard.name)
    return groups


def test_one_video_less_or_ten_more_of_200_cost_these_videos(
    files: Files, one_encoding: list[Path], tmp_path: Path
) -> None:
    videos = files(range(210))
    first = build(tmp_path, videos[:200])
    assert first.work.videos_encoded == len(one_encoding) == 200
    one_encoding.clear()

    # One is withdrawn: nothing is encoded, and one group is written, or two become one.
    less = build(tmp_path, [*videos[:70], *videos[71:200]], remove_unlisted=True)
    before, after = groups_of(first), groups_of(less)
    gone = [name for name in before if before[name] != after.get(name)]
    new = [name for name in after if after[name] != before.get(name)]
    assert one_encoding == []
    assert (less.work.videos_encoded, less.work.groups_packed) == (0, 1)
    assert (len(gone), len(new)) in ((1, 1), (2, 1))
    assert less.corpus.sources["lap"].videos == 199
    assert 0 < less.work.clips_reused <= 32 * 2

    # Ten are added: ten are encoded.
    more = build(tmp_path, [*videos[:70], *videos[71:]])
    assert sorted(one_encoding) == sorted(video.path for video in videos[200:])
    assert more.work.videos_encoded == 10
    assert more.work.groups_packed <= 20
    assert [
        (change.videos_added, change.videos_removed, change.digest_before, change.digest_after)
        for change in more.corpus.history
    ] == [
        (0, 1, first.corpus.sources["lap"].digest, less.corpus.sources["lap"].digest),
        (10, 0, less.corpus.sources["lap"].digest, more.corpus.sources["lap"].digest),
    ]


def test_the_same_final_videos_give_the_same_bytes_whatever_the_way(
    files: Files, one_encoding: list[Path], tmp_path: Path
) -> None:
    videos = files(range(30))
    final = videos[:20]
    direct = build(tmp_path / "direct", final, group=4)
    assert direct.corpus.history == []
    expected = digests(tmp_path / "direct" / "corpus")
    for seed in range(3):
        dice = random.Random(seed)
        for _ in range(3):
            some = dice.sample(videos, dice.randrange(1, len(videos)))
            build(tmp_path / f"{seed}", some, remove_unlisted=True, group=4)
        build(tmp_path / f"{seed}", dice.sample(final, 20), remove_unlisted=True, group=4)
        assert digests(tmp_path / f"{seed}" / "corpus") == expected


@pytest.mark.usefixtures("one_encoding")
def test_clips_packed_before_the_fast_checksum_keep_their_shards(
    files: Files, tmp_path: Path
) -> None:
    videos = files(range(12))
    before = build(tmp_path, videos[:8], group=4)
    records = list((tmp_path / "private" / "groups").rglob("lap-train-*.json"))
    for path in records:
        record = json.loads(path.read_text())
        for sample in record["samples"]:
            del sample["xxh3_64"]
        path.write_text(json.dumps(record))

    after = build(tmp_path, videos, group=4)
    kept = {name for each in groups_of(before).values() for name in each}
    kept &= {name for each in groups_of(after).values() for name in each}
    source = open_corpus(tmp_path / "corpus")["lap"]
    samples = [source.index.sample(row) for row in range(source.index.num_rows)]
    assert kept
    assert {sample.shard for sample in samples if sample.xxh3_64 is None} == kept
    assert not any(
        isinstance(mp4, SampleError) for mp4 in Fetcher({"lap": source}, 1).fetch(samples)
    )
    assert run_here("verify", tmp_path / "corpus").returncode == 0


@pytest.mark.usefixtures("one_encoding")
def test_labels_splits_and_licenses_change_without_encoding(files: Files, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("task,start_s,end_s,value\nphase,0,5,access\n")
    plain = files(range(4))
    private = fixed_key(tmp_path / "private")
    assert not build_corpus(tmp_path / "corpus", plain, private=private).failures

    changed = [
        Video(
            path=video.path,
            source="lap",
            domain="laparoscopy",
            case=f"new-{video.case}",
            split="val" if number == 0 else "train",
            license="CC-BY-4.0",
            procedure="cholecystectomy",
            labels=(LabelFiles(paths=(labels,), mapping=PLAIN),),
        )
        for number, video in enumerate(plain)
    ]
    result = build_corpus(tmp_path / "corpus", changed, private=private)
    assert (result.work.videos_encoded, result.work.clips_reused) == (0, 8)
    source = open_corpus(tmp_path / "corpus")["lap"]
    assert set(source.index.column("license").to_pylist()) == {"CC-BY-4.0"}
    assert sorted(source.index.column("split").to_pylist()) == ["train"] * 6 + ["val"] * 2
    assert {label.value for label in read_corpus_labels(source)} == {"access"}
    assert run_here("verify", tmp_path / "corpus", "--decode", "true").returncode == 0

    fresh = build_corpus(tmp_path / "fresh", changed, private=fixed_key(tmp_path / "fresh.private"))
    assert fresh.work.videos_encoded == 4
    assert digests(tmp_path / "corpus") == digests(tmp_path / "fresh")


@pytest.mark.usefixtures("one_encoding")
def test_stored_clips_are_reused_with_another_private_folder_of_the_same_key(
    files: Files, tmp_path: Path
) -> None:
    videos = files(range(4))
    build_corpus(tmp_path / "corpus", videos[:3], private=fixed_key(tmp_path / "first"))
    result = build_corpus(tmp_path / "corpus", videos, private=fixed_key(tmp_path / "second"))
    assert result.work.videos_encoded == 1
    build_corpus(tmp_path / "fresh", videos, private=fixed_key(tmp_path / "third"))
    assert digests(tmp_path / "corpus") == digests(tmp_path / "fresh")


@pytest.mark.usefixtures("one_encoding")
def test_new_labels_that_do_not_fit_stop_a_build_before_a_stored_video_is_lost(
    files: Files, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("task,start_s,end_s,value\nphase,0,5000,access\n")
    (video,) = files(range(1))
    private = fixed_key(tmp_path / "private")
    build_corpus(tmp_path / "corpus", [video], private=private)
    before = digests(tmp_path / "corpus")
    wrong = Video(
        path=video.path,
        source="lap",
        domain="other",
        case="0",
        split="train",
        labels=(LabelFiles(paths=(labels,), mapping=PLAIN),),
    )
    with pytest.raises(ShardError, match=r"labels.csv, line 2: .*the corpus already has this"):
        build_corpus(tmp_path / "corpus", [wrong], private=private)
    assert digests(tmp_path / "corpus") == before


@pytest.mark.usefixtures("one_encoding")
def test_a_damaged_stored_clip_is_named_and_not_packed_again(files: Files, tmp_path: Path) -> None:
    videos = files(range(3))
    private = fixed_key(tmp_path / "private")
    build_corpus(tmp_path / "corpus", videos[:2], private=private, pack=PackSettings())
    (shard,) = (tmp_path / "corpus").rglob("*.tar")
    data = bytearray(shard.read_bytes())
    row = json.loads((tmp_path / "corpus" / "corpus.json").read_text())
    assert row["sources"]["lap"]["samples"] == 4
    data[data.index(b"mdat") + 50] ^= 1
    shard.write_bytes(data)
    with pytest.raises(ShardError, match=rf"{shard.name}: lap_\w+ does not have the digest"):
        build_corpus(tmp_path / "corpus", videos, private=private, pack=PackSettings())

    shard.unlink()
    again = build_corpus(tmp_path / "corpus", videos, private=private, pack=PackSettings())
    assert again.work.videos_encoded == 3
    assert run_here("verify", tmp_path / "corpus", "--decode", "true").returncode == 0


@pytest.mark.usefixtures("one_encoding")
def test_files_that_cannot_be_read_are_no_reason_to_remove_their_videos(
    files: Files, tmp_path: Path
) -> None:
    videos = files(range(3))
    build(tmp_path, videos)
    away = Video(
        path=tmp_path / "unmounted.mp4", source="lap", domain="other", case="2", split="train"
    )
    with pytest.raises(ShardError, match=r"1 cannot be read \(the first, .*unmounted.mp4"):
        build(tmp_path, [*videos[:2], away], remove_unlisted=True)
