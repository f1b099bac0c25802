"""Order of the clips of a group, their division into shards, and their labels."""

import io
import itertools
import tarfile
from collections import Counter
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from surgrec_shard.clip_writer import EncodedClip
from surgrec_shard.groups import PackSettings
from surgrec_shard.pack import StoredClip, interleave, labels_of_clip

from surgrec.annotations import Label
from surgrec.errors import ConfigError, ShardError
from surgrec.shards import Clip, shard_name
from surgrec.shards.layout import read_clip_json
from tests.surgrec_shard.conftest import Hospital


@pytest.mark.parametrize(
    "counts",
    [(6, 6), (5, 7, 9), (10, 9, 1), (1, 1, 1, 1), (30, 29), (8, 4, 4), (40, 7, 13, 21, 2), (3,)],
)
def test_neighbors_come_from_different_videos(counts: tuple[int, ...]) -> None:
    clips = [clips_of(f"{name:012x}", count) for name, count in enumerate(counts)]
    order = interleave(clips)
    assert Counter(map(key_of, order)) == Counter(key_of(clip) for video in clips for clip in video)
    touching = sum(a.clip.video == b.clip.video for a, b in itertools.pairwise(order))
    assert touching == max(0, 2 * max(counts) - sum(counts) - 1), (
        "no more neighbors than unavoidable"
    )


def test_one_long_video_among_short_ones_is_spread_over_the_whole() -> None:
    order = interleave([clips_of("a" * 12, 100), clips_of("b" * 12, 10), clips_of("c" * 12, 10)])
    runs = [
        len(list(run))
        for video, run in itertools.groupby(order, key=lambda stored: stored.clip.video)
        if video[0] == "a"
    ]
    assert max(runs) <= 12


def test_the_order_depends_on_the_clips_alone() -> None:
    clips = [clips_of(f"{name:012x}", 9) for name in range(5)]
    order = [key_of(stored) for stored in interleave(clips)]
    assert [key_of(stored) for stored in interleave(clips[::-1])] == order
    in_time = sorted(order)
    assert order != in_time
    starts = [stored.clip.start_s for stored in interleave(clips) if stored.clip.video == "0" * 12]
    assert starts != sorted(starts), "the clips of one video are shuffled too"


def test_shards_are_closed_before_they_grow_past_their_size(hospital: Hospital) -> None:
    sizes: dict[str, list[int]] = {}
    for path in sorted(hospital.corpus.rglob("*.tar")):
        assert path.stat().st_size <= 90_000 + 10_240
        sizes.setdefault(path.name[: -len("000-12345678.tar")], []).append(path.stat().st_size)
    assert sizes.keys() > {"lap-val-00000", "cat-train-00000"}
    assert len(sizes) >= 4
    assert max(map(len, sizes.values())) > 1
    for group, parts in sizes.items():
        for part in range(len(parts)):
            folder = hospital.corpus / group.split("-")[0]
            assert any(folder.glob(f"{group}{part:03d}-*.tar")), "parts are numbered from 0"


def test_a_shard_is_a_plain_tar_without_times_and_names(hospital: Hospital) -> None:
    shards = sorted(hospital.corpus.rglob("*.tar"))
    for path in shards:
        with tarfile.open(path) as tar:
            members = tar.getmembers()
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.isreg()) for m in members} == {
            (0, 0, 0, "", "", True)
        }
        keys = [Path(member.name).stem for member in members]
        assert keys[::2] == keys[1::2]
        assert [Path(m.name).suffix for m in members] == [".json", ".mp4"] * (len(members) // 2)
    assert len(shards) > 4


def test_the_index_points_at_every_clip(hospital: Hospital) -> None:
    for source in ("lap", "cat"):
        for row in parquet.read_table(hospital.corpus / source / "index.parquet").to_pylist():
            data = (hospital.corpus / source / row["shard"]).read_bytes()
            sample = data[row["offset"] : row["offset"] + row["size"]]
            with tarfile.open(fileobj=io.BytesIO(sample)) as tar:
                described, video = tar.getmembers()
                clip, _ = read_clip_json(tar.extractfile(described).read(), row["key"])  # type: ignore[union-attr]
                assert tar.extractfile(video).read() == data[row["mp4_offset"] :][: row["mp4_size"]]  # type: ignore[union-attr]
            assert all(
                getattr(clip, name) == row[name]
                for name in ("source", "video", "start_s", "num_frames", "case")
            )


def test_a_group_that_needs_more_parts_than_names_have_is_refused() -> None:
    assert shard_name("lap", "train", 12, 3) == "lap-train-00012003.tar"
    with pytest.raises(ShardError, match="group 12 needs a shard 1000"):
        shard_name("lap", "train", 12, 1000)
    with pytest.raises(ConfigError, match="group_videos is 0"):
        PackSettings(group_videos=0)


def test_labels_are_cut_to_the_clip_in_seconds_of_the_clip() -> None:
    labels = [
        label("phase", 0, 12, "access"),
        label("phase", 12, 40, "dissection"),
        label("tool", 13, 14.5, "hook"),
    ]
    clip = EncodedClip(file="", start_s=10.0, duration_s=10.0, num_frames=80)
    assert labels_of_clip(labels, clip) == (
        label("phase", 0, 2, "access"),
        label("phase", 2, 10, "dissection"),
        label("tool", 3, 4.5, "hook"),
    )


def test_a_label_that_only_touches_a_clip_is_not_in_it() -> None:
    clip = EncodedClip(file="", start_s=10.0, duration_s=10.0, num_frames=80)
    touching = [
        label("phase", 0, 10.0 + 2e-15, "before"),
        label("phase", 20.0 - 4e-15, 30, "after"),
        label("x", 30, 31, "y"),
    ]
    assert labels_of_clip(touching, clip) == ()


def clips_of(video: str, count: int) -> list[StoredClip]:
    """Return the clips of one video before packing."""
    return [
        StoredClip(
            clip=Clip(
                source="lap",
                domain="laparoscopy",
                procedure="",
                case=video,
                video=video,
                view="",
                split="train",
                start_s=10.0 * number,
                duration_s=10.0,
                fps=8.0,
                num_frames=80,
                width=64,
                height=64,
                native_fps=25.0,
                native_width=64,
                native_height=64,
                crop="0,0,64,64",
                license="",
                config="",
                blur=0.0,
                brightness=0.0,
                motion=0.0,
            ),
            labels=(),
            path=Path("unread"),
        )
        for number in range(count)
    ]


def key_of(stored: StoredClip) -> tuple[str, float]:
    return stored.clip.video, stored.clip.start_s


def label(task: str, start_s: float, end_s: float, value: str) -> Label:
    return Label(task=task, start_s=float(start_s), end_s=float(end_s), value=value)
