"""Stored clips show the right second, the right part and the right way up, read from a chart.

Two builds store all recordings: none may cost another one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.charts import (
    CORNERS,
    TURNS,
    X264,
    Gray,
    Scope,
    read_chart,
    record,
    stored_pictures,
)
from tests.support.tool import ffmpeg, read_report, run_here, write_csv

pytestmark = pytest.mark.slow

FPS = 8
SETTINGS = (
    *("--encode.short_side_px", 120, "--encode.clip_s", 2, "--encode.min_clip_s", 1),
    *("--encode.preset", "ultrafast", "--encode.crf", 12, "--encode.fps", FPS),
)
SECONDS = 3.0
MPEG2 = ("-c:v", "mpeg2video", "-q:v", 2, "-g", 12)
LATE_S = 0.08
"""Two pictures of 25 per second."""

# What is recorded, as displayed, and its crop
WHOLE, NO_CROP = Scope(), "0,0,320,240"
BORDERED, BORDER_CROP = Scope(box=(60, 24, 220, 180)), "60,24,220,180"
ROUND, CIRCLE_CROP = Scope(box=(82, 42, 152, 152), radius=110), "82,42,152,152"
"""The chart fills the largest square of the field, without its blurred edge."""
MASKS, SMALL_MASKS = "0,0,40,60;20,0,40,60", "0,0,20,30;10,0,20,30"
"""Boxes that overlap, over the first corner of a picture of 320 x 240 or 160 x 120."""

TIMES = {
    **{f"rate-{rate.replace('/', '-')}.mkv": 0.0 for rate in ("24", "25", "30000/1001", "50")},
    **{"rate-60000-1001.mkv": 0.0, "streams.mkv": 0.0, "variable.mkv": 0.0},
    **{"late.mp4": 0.0, "negative.ts": 0.0, "hidden.mp4": 1.4, "negative.mp4": 1.52},
}
"""The second that each recording shows first."""
WAYS = (
    *(f"{name}.mp4" for name in ("upright", *TURNS)),
    *("narrow.mp4", "low-turned.mp4", "fields.mpg", "odd.mkv", "joined.mp4", "sizes.ts"),
)
MASKED = {
    **dict.fromkeys(("turned.mp4", "transposed.mp4", "narrow.mp4", "fields.mpg"), MASKS),
    **dict.fromkeys(("odd.mkv", "joined.mp4", "sizes.ts"), MASKS),
    "low-turned.mp4": SMALL_MASKS,
}


def record_times(folder: Path) -> None:
    """Record clocks that begin, run or are stored in unusual ways."""
    for rate in ("24", "25", "30000/1001", "50", "60000/1001"):
        record(folder / f"rate-{rate.replace('/', '-')}.mkv", WHOLE, rate=rate, seconds=SECONDS)

    # The edit list of the copy hides what lies between the keyframe at 1 s and the cut.
    plain = record(folder / "plain.mp4", WHOLE, seconds=4)
    ffmpeg("-ss", 1.4, "-i", plain, "-c", "copy", folder / "hidden.mp4")
    ffmpeg("-i", plain, "-c", "copy", "-output_ts_offset", 3, folder / "late.mp4")
    early = ("-output_ts_offset", -1.5, "-avoid_negative_ts", "disabled")
    for suffix in ("mp4", "ts"):
        ffmpeg("-i", plain, "-c", "copy", *early, folder / f"negative.{suffix}")

    preview = ("-f", "lavfi", "-t", 4, "-i", "color=red:size=96x96:rate=2")
    maps = ("-map", 0, "-map", 1, "-c:v:0", "mjpeg", "-c:v:1", "copy")
    ffmpeg(*preview, "-i", plain, *maps, folder / "streams.mkv")
    variable = "select='not(mod(n,3))+gte(t,2)'"
    options = (*X264, "-bf", 0, "-vsync", "vfr")
    record(folder / "variable.mkv", WHOLE, filters=variable, options=options)
    plain.unlink()


def record_way(folder: Path, name: str, way: str, scope: Scope) -> None:
    """Record a scope in a way in which stored pixels differ from those displayed."""
    path = folder / f"{name}-{way}"
    part, other = (folder / f"{each}{path.suffix}" for each in ("part", "other"))
    match Path(way).stem:
        case "narrow":
            record(path, scope, seconds=SECONDS, narrow=True, filters="setsar=2")
        case "low-turned":
            low = "scale=iw:ih/2,setsar=1/2"
            record(path, scope, seconds=SECONDS, turned=TURNS["turned"], filters=low)
        case "fields":
            fields = "tinterlace=interleave_top,fieldorder=tff"
            options = (*MPEG2, "-flags", "+ilme+ildct", "-top", 1)
            record(path, scope, seconds=SECONDS, rate="50", filters=fields, options=options)
        case "odd":
            odd = Scope(width=321, height=241, box=scope.box, radius=scope.radius)
            lossless = ("-c:v", "ffv1")
            record(path, odd, seconds=SECONDS, filters="format=yuv444p", options=lossless)
        case "joined":
            record(part, scope, seconds=2)
            join(path, part, record(other, scope, seconds=2, start_s=2))
        case "sizes":
            half, later = "scale=iw/2:ih/2", (*MPEG2, "-output_ts_offset", 2)
            record(part, scope, seconds=2, options=MPEG2)
            record(other, scope, seconds=2, start_s=2, filters=half, options=later)
            join(path, part, other)
        case turn:
            record(path, scope, seconds=SECONDS, turned=TURNS.get(turn))


def join(path: Path, *parts: Path) -> None:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    for part in parts:
        part.unlink()


@dataclass(frozen=True, kw_only=True)
class Built:
    """What a build stored."""

    report: dict[str, dict[str, str]]
    """The private list of the videos, by file name."""
    clips: dict[str, list[tuple[dict[str, Any], list[Gray]]]]
    """Rows of the index with the pictures of their clips, in order, by file name."""

    def pictures(self, name: str) -> list[tuple[float, Gray]]:
        """Return all stored pictures of a video with their times."""
        return [
            (row["start_s"] + number / FPS, picture)
            for row, pictures in self.clips[name]
            for number, picture in enumerate(pictures)
        ]


def build(folder: Path, crop: str, masks: dict[str, str], *, status: int = 0) -> Built:
    """Build all videos of a folder, with the masks of some."""
    given = {"source": "lap", "domain": "laparoscopy", "split": "train"}
    rows = [
        {"path": name, "case": name, "mask": masks.get(name, ""), **given}
        for name in sorted(path.name for path in folder.iterdir())
    ]
    manifest = write_csv(folder / "videos.csv", rows)
    words = ("--manifest", manifest, "--out", folder / "corpus", "--private", folder / "private")
    run = run_here("build", *words, *SETTINGS, "--curate.crop", crop)
    assert run.returncode == status, run.stderr

    report = read_report(folder / "private")
    assert sorted(report) == [row["path"] for row in rows]
    names = {row["corpus_video"]: name for name, row in report.items()}
    clips: dict[str, list[tuple[dict[str, Any], list[Gray]]]] = {}
    for row, pictures in stored_pictures(folder / "corpus" / "lap"):
        clips.setdefault(names[row["video"]], []).append((row, pictures))
    for clips_of in clips.values():
        clips_of.sort(key=lambda clip: clip[0]["start_s"])
    return Built(report=report, clips=clips)


@pytest.fixture(scope="module")
def border(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("border")
    record_times(folder)
    for way in WAYS:
        record_way(folder, "border", way, BORDERED)
    black = "color=black:size=320x240:rate=10:duration=3"
    ffmpeg("-f", "lavfi", "-i", black, folder / "black.mp4")
    record(folder / "tiny.mp4", Scope(width=32, height=24, box=(10, 6, 12, 12)), seconds=SECONDS)
    return build(folder, "border", {})


@pytest.fixture(scope="module")
def circle(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("circle")
    for way in WAYS:
        record_way(folder, "circle", way, ROUND)
    for way in MASKED:
        record_way(folder, "mask", way, WHOLE)
    record(folder / "small.mp4", Scope(width=160, height=120, box=(0, 0, 160, 120)), seconds=2)
    masks = {f"mask-{way}": boxes for way, boxes in MASKED.items()}
    masks["small.mp4"] = f"{SMALL_MASKS};150,0,40,20"
    return build(folder, "circle", masks, status=3)


def assert_shown(
    pictures: Sequence[tuple[float, Gray]], first_s: float = 0.0, *, hidden: int = 0
) -> None:
    """Check the time and the corners of all pictures. The first corners may be hidden."""
    assert len(pictures) >= 1.9 * FPS
    for time_s, picture in pictures:
        shown = read_chart(picture)
        assert shown.time_s == pytest.approx(first_s + time_s, abs=LATE_S)
        assert shown.corners[hidden:] == pytest.approx(CORNERS[hidden:], abs=12)
        assert all(luma < 20 for luma in shown.corners[:hidden])


@pytest.mark.parametrize("name", TIMES)
def test_each_stored_picture_shows_its_second(name: str, border: Built) -> None:
    assert_shown(border.pictures(name), TIMES[name])
    assert border.clips[name][0][0]["crop"] == NO_CROP


@pytest.mark.parametrize("way", WAYS)
def test_the_part_inside_a_border_is_stored_upright(way: str, border: Built) -> None:
    name = f"border-{way}"
    assert_shown(border.pictures(name))
    assert is_near(border.clips[name][0][0], BORDER_CROP), border.clips[name][0][0]


@pytest.mark.parametrize("way", WAYS)
def test_the_part_inside_a_circle_is_stored_upright(way: str, circle: Built) -> None:
    name = f"circle-{way}"
    assert_shown(circle.pictures(name))
    assert is_near(circle.clips[name][0][0], CIRCLE_CROP), circle.clips[name][0][0]


@pytest.mark.parametrize("way", MASKED)
def test_masks_of_a_manifest_hide_the_corner_that_is_displayed(way: str, circle: Built) -> None:
    assert_shown(circle.pictures(f"mask-{way}"), hidden=1)
    assert f"masked: {MASKED[way]}" in circle.report[f"mask-{way}"]["notes"].replace("; ", ";")


def test_videos_without_a_sure_crop_are_whole_and_told(border: Built) -> None:
    for name, why, crop in (
        ("black.mp4", "only 0 of 30 pictures show something", NO_CROP),
        ("tiny.mp4", "only 12 x 12 pixels would be left", "0,0,32,24"),
    ):
        assert border.report[name]["notes"] == f"not cropped: {why}"
        assert border.clips[name][0][0]["crop"] == crop


def test_a_mask_outside_its_picture_costs_its_own_video_only(circle: Built) -> None:
    left_out = {name for name, row in circle.report.items() if row["status"] != "packed"}
    assert left_out == {"small.mp4"}
    assert "the mask 150,0,40,20 is not inside" in circle.report["small.mp4"]["detail"]


def is_near(row: dict[str, Any], expected: str) -> bool:
    """Tell whether a crop is inside the expected one, and its edges are at most 3 pixels apart.

    The sizes are those of a picture of another width, perhaps.
    """
    scale = row["native_width"] / 320
    found, wanted = (edges(text) for text in (row["crop"], expected))
    return all(
        -1 <= sign * (edge - scale * wanted_edge) <= 3
        for sign, edge, wanted_edge in zip((1, 1, -1, -1), found, wanted, strict=True)
    )


def edges(text: str) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a box."""
    x, y, width, height = map(int, text.split(","))
    return x, y, x + width, y + height
