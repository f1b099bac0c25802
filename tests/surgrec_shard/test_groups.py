"""Groups: which videos are packed together depends on the names of all videos alone."""

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from surgrec_shard.groups import Group, PackSettings, PlannedVideo, make_groups

from surgrec.manifest import Split, Video
from surgrec.shards import shard_name

MOST = PackSettings(group_videos=32)


def planned(number: int, split: Split = "train", source: str = "lap") -> PlannedVideo:
    name = hashlib.sha256(f"{number}".encode()).hexdigest()[:12]
    video = Video(path=Path(f"{number}.mp4"), source=source, domain="other", case="", split=split)
    return PlannedVideo(video=video, id=name, case=name)


def digests(videos: Sequence[PlannedVideo], pack: PackSettings = MOST) -> set[str]:
    return {group.digest() for group in make_groups(videos, "settings", pack)}


def test_groups_are_numbered_per_source_and_split() -> None:
    videos = [planned(number) for number in range(20)]
    videos += [planned(number, "val") for number in range(100, 104)]
    videos += [planned(number, source="cat") for number in range(3)]
    names = [group.name for group in make_groups(videos, "settings", MOST)]
    assert names == ["cat-train-00000", "lap-train-00000", "lap-val-00000"]


@pytest.mark.parametrize("count", [1, 32, 33, 200, 3000])
def test_every_video_is_in_one_group_and_no_group_is_too_large(count: int) -> None:
    groups = make_groups([planned(number) for number in range(count)], "settings", MOST)
    names = [video.id for group in groups for video in group.videos]
    assert len(names) == len(set(names)) == count
    assert len({group.number for group in groups}) == len(groups)
    assert all(0 < len(group.videos) <= 32 for group in groups)
    assert len(groups) <= 1 + count / 12, "groups are not small"


def test_the_same_videos_give_the_same_groups_in_any_order() -> None:
    videos = [planned(number) for number in range(500)]
    shuffled = random.Random(0).sample(videos, len(videos))
    assert digests(videos) == digests(shuffled)
    moved = PlannedVideo(
        video=Video(path=Path("else"), source="lap", domain="other", case="", split="train"),
        id=videos[0].id,
        case=videos[0].case,
    )
    assert digests([moved, *videos[1:]]) == digests(videos), "paths do not matter"


@pytest.mark.parametrize("count", [2, 33, 200, 1000])
def test_one_video_more_changes_one_group_or_divides_it(count: int) -> None:
    videos = [planned(number) for number in range(count + 50)]
    before = digests(videos[:count])
    for size in range(count + 1, count + 50):
        after = digests(videos[:size])
        assert len(before - after) == 1
        assert len(after - before) == 1 or _halves(videos[:size], after - before)
        before = after


def _halves(videos: Sequence[PlannedVideo], new: set[str]) -> bool:
    """Return whether new groups are what was one full group before a video came."""
    groups: list[Group] = make_groups(videos, "settings", MOST)
    sizes = [len(group.videos) for group in groups if group.digest() in new]
    return sum(sizes) == 33


def test_group_numbers_fit_into_shard_names() -> None:
    alike = [planned(0)] + [
        PlannedVideo(video=planned(0).video, id=f"ffffffff{number:04x}", case="")
        for number in range(5)
    ]
    groups = make_groups(alike, "settings", PackSettings(group_videos=1))
    assert [len(group.videos) for group in groups] == [1, 5]
    assert shard_name("lap", "train", groups[-1].number, 0) == "lap-train-65534000.tar"
