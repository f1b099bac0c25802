"""Labels on a wrong clock and empty annotation files are found in a copy."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from surgrec_shard.check_source import Findings, check_source
from surgrec_shard.label_ends import LabelEnd, doubt_clocks
from surgrec_shard.presets import read_preset

from tests.support.videos import make_video

CASES, RATE, SECONDS = 5, 25, 4


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = make_video(tmp_path_factory.mktemp("video") / "a.mp4", seconds=SECONDS, rate=RATE)
    return path.read_bytes()


def name_of(number: int) -> str:
    return f"case_{number:02}_{'training' if number < 4 else 'test'}"


def checked(folder: Path, video: bytes, rows: dict[int, int]) -> Findings:
    """Check a copy of cat-21 whose label files have a row per frame, or the given number."""
    for part in ("videos", "labels"):
        (folder / part).mkdir()
    for number in range(1, CASES + 1):
        (folder / f"videos/{name_of(number)}.mp4").write_bytes(video)
        count = rows.get(number, RATE * SECONDS)
        lines = "".join(f"{frame},Incision\n" for frame in range(count))
        (folder / f"labels/{name_of(number)}.csv").write_text(lines)
    return check_source(read_preset("cat21"), folder)


def ends(shares: Sequence[float], video_s: float = 1000.0) -> list[LabelEnd]:
    return [
        LabelEnd(name=f"{number}.mp4", last_s=share * video_s, video_s=video_s)
        for number, share in enumerate(shares)
    ]


def test_a_copy_whose_labels_cover_their_videos_is_clean(tmp_path: Path, video: bytes) -> None:
    found = checked(tmp_path, video, {3: RATE * SECONDS - 10})
    assert (found.missing, found.odd) == ([], [])


def test_an_empty_label_file_is_missing_and_named(tmp_path: Path, video: bytes) -> None:
    found = checked(tmp_path, video, {3: 0})
    assert found.missing == [
        "labels/case_03_training.csv: the annotation file of videos/case_03_training.mp4 is "
        "empty: it has no rows"
    ]
    assert not found.is_complete


def test_videos_whose_labels_end_at_one_half_are_missing(tmp_path: Path, video: bytes) -> None:
    found = checked(tmp_path, video, dict.fromkeys((4, 5), RATE * SECONDS // 2))
    assert found.missing == [
        "labels of phase end at about 0.5 of the video in 2 videos, as on a wrong clock; correct "
        "the frame rate or the labels of videos/case_04_test.mp4, videos/case_05_test.mp4"
    ]
    assert not found.odd


def test_a_single_video_whose_labels_end_early_is_odd(tmp_path: Path, video: bytes) -> None:
    found = checked(tmp_path, video, {4: RATE})
    assert found.odd == [
        "videos/case_04_test.mp4: labels of phase end at 1.0 s, but the video lasts 4.0 s; those "
        "of most other videos cover it"
    ]
    assert not found.missing


@pytest.mark.parametrize("share", [0.5, 0.04])
def test_all_videos_on_a_wrong_clock_are_named(share: float) -> None:
    missing, odd = doubt_clocks("phase", ends([share * tail for tail in (0.96, 1, 0.98, 0.99)]))
    assert len(missing) == 1
    assert f"end at about {share:.1g}"[:12] in missing[0]
    assert "4 videos" in missing[0]
    assert not odd


def test_one_clock_of_many_videos_is_told_from_single_ones() -> None:
    missing, odd = doubt_clocks("phase", ends([1.0] * 8 + [0.5, 0.5, 0.5, 0.31]))
    assert "3 videos" in missing[0]
    assert [line.partition(":")[0] for line in odd] == ["11.mp4"]


@pytest.mark.parametrize(
    "shares",
    [
        [0.1, 0.4, 0.8, 0.2, 0.95, 0.6],  # labeled in part
        [number / 200 for number in range(1, 201)],  # two of many scattered ends agree
        [1.0, 1.0, 1.0, 0.99, 0.3, 0.5, 0.4, 0.6],  # half of them cover their video
        [0.8, 0.9, 0.85, 0.99],  # a rest without a label
        [0.5, 0.5],  # too few to compare
    ],
)
def test_labels_of_parts_of_videos_are_not_doubted(shares: list[float]) -> None:
    assert doubt_clocks("finding", ends(shares)) == ([], [])


def test_a_tick_before_the_end_of_a_short_video_is_not_early() -> None:
    assert doubt_clocks("phase", ends([1.0, 1.0, 1.0, 0.5], video_s=2.0)) == ([], [])
