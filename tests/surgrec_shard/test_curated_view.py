"""Black borders are cut off, circular fields are found, and masked boxes are black."""

import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from surgrec_shard.curation._crop import Gray, find_crop

from surgrec.errors import ConfigError
from surgrec.recordings.view import Box, parse_boxes
from tests.support.tool import QUICK, build_folder, ffmpeg, read_report, refusal, run_here

SCENE = "testsrc2=s=320x180:r=10:d=3"


@pytest.mark.parametrize("circle", [False, True])
@pytest.mark.parametrize(("radius", "top"), [(230, 10), (300, 0)])
def test_the_field_of_a_scope_is_found_beside_words(circle: bool, radius: int, top: int) -> None:
    found = find_crop(field(radius), circle=circle, max_cut=0.8)
    assert isinstance(found, Box)
    assert (found.x % 2, found.y % 2, found.width % 2, found.height % 2) == (0, 0, 0, 0)
    corners = [
        (x, y) for x in (found.x, found.x + found.width) for y in (found.y, found.y + found.height)
    ]
    farthest = max(np.hypot(x - 430, y - 240) for x, y in corners)
    if circle:
        assert 0.95 * radius < farthest <= radius
    else:
        # 5 % of each row and column are bright.
        assert abs(found.width - 2 * radius) <= 0.02 * 2 * radius
        assert abs(found.y - top) <= 4


def test_a_crop_that_is_not_sure_is_refused() -> None:
    dark = [np.full((120, 160), 16, np.uint8)] * 8
    assert find_crop(dark, circle=False, max_cut=0.8) == "only 0 of 8 pictures show something"
    whole = [np.full((120, 160), 120, np.uint8)] * 8
    assert find_crop(whole, circle=False, max_cut=0.8) == Box(x=0, y=0, width=160, height=120)
    assert find_crop(whole, circle=True, max_cut=0.8) == "no circular field is seen"
    told = find_crop(field(230), circle=True, max_cut=0.5)
    assert told == "76% of the picture would be cut, more than 50%"


def test_a_letterbox_is_cut_off_and_recorded(tmp_path: Path) -> None:
    make(tmp_path / "videos" / "letter.mp4", "pad=320:240:0:30:black")
    run = build(tmp_path, "--curate.crop", "border")
    assert run.returncode == 0, run.stderr
    (row,) = clips(tmp_path)
    assert row["crop"] == "0,30,320,180"
    assert (row["native_width"], row["native_height"]) == (320, 240)
    assert (row["width"], row["height"]) == (114, 64)
    note = read_report(tmp_path / "private")["letter.mp4"]["notes"]
    assert note == "cropped to 0,30,320,180 of 320 x 240 pixels"


def test_masked_boxes_are_black_before_the_crop(tmp_path: Path) -> None:
    make(tmp_path / "videos" / "names.mp4", "null")
    boxes = "0,0,160,90; 161,91,159,89"
    run = build(tmp_path, "--curate.mask", boxes, "--encode.short_side_px", "180")
    assert run.returncode == 0, run.stderr
    shown = first_picture(tmp_path)
    assert shown[:88, :158].max() <= 20
    assert shown[92:, 162:].max() <= 20
    assert shown[:88, 170:].mean() > 60


def test_a_mask_outside_the_picture_leaves_the_video_out(tmp_path: Path) -> None:
    make(tmp_path / "videos" / "small.mp4", "null")
    run = build(tmp_path, "--curate.mask", "300,0,100,20")
    assert run.returncode == 1
    assert "the mask 300,0,100,20 is not inside the picture, which has 320 x 180" in run.stderr


@pytest.mark.parametrize("text", ["1,2,3", "0,0,0,4", "0,0,4,0", "-1,0,4,4", "a,b,c,d", "1,1,1,1;"])
def test_masks_that_are_no_boxes_are_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give boxes as x,y,width,height in pixels"):
        parse_boxes(text, "mask")
    (tmp_path / "videos").mkdir()
    assert "curate.mask has" in refusal(build(tmp_path, f"--curate.mask={text}"), 2)


def field(radius: int) -> list[Gray]:
    """Return pictures of a circular field, with a word in the corner."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:480, :854]
    inside = np.hypot(columns - 430, rows - 240) <= radius
    pictures = []
    for _ in range(6):
        bright = random.integers(20, 200, (480, 854))
        dark = 16 + random.integers(0, 4, (480, 854))
        picture = np.where(inside, bright, dark).astype(np.uint8)
        picture[10:24, 5:80] = 200
        pictures.append(picture)
    return pictures


def make(path: Path, filters: str) -> Path:
    path.parent.mkdir()
    ffmpeg("-f", "lavfi", "-i", SCENE, "-vf", filters, "-g", "2", "-preset", "veryfast", path)
    return path


def build(folder: Path, *options: object) -> "subprocess.CompletedProcess[str]":
    places = ("--out", folder / "corpus", "--private", folder / "private")
    clip = ("--encode.clip_s", "3")
    return run_here(*build_folder(folder / "videos"), *places, *QUICK, *clip, *options)


def clips(folder: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = pq.read_table(
        folder / "corpus" / "lap" / "index.parquet"
    ).to_pylist()
    return rows


def first_picture(folder: Path) -> Gray:
    """Return the luma of the first stored frame."""
    (shard,) = (folder / "corpus" / "lap").glob("*.tar")
    (row,) = clips(folder)
    start, size = int(str(row["mp4_offset"])), int(str(row["mp4_size"]))
    (folder / "clip.mp4").write_bytes(shard.read_bytes()[start : start + size])
    command = ["ffmpeg", "-v", "error", "-i", str(folder / "clip.mp4"), "-frames:v", "1"]
    command += ["-vf", "extractplanes=y", "-f", "rawvideo", "-"]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(data, np.uint8).reshape(180, 320)
