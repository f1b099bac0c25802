"""Text and logos that stay are found, shown in the private report, and masked."""

import csv
import re
import shutil
import stat
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from surgrec_shard.curation._overlays import Gray, find_overlays

from surgrec.recordings.view import Box, parse_boxes
from tests.support.phantom_cases import render_case
from tests.support.tool import QUICK, build_folder, ffmpeg, ffprobe, read_report, run_here

NAME = "DOE JANE 1957"
HEIGHT, WIDTH = 216, 384
Draw = Callable[[Gray, int], None]
"""Draws an overlay into the picture of a number."""


def test_text_over_moving_pictures_is_found() -> None:
    (box,) = boxes(moving(lambda picture, number: write(picture, NAME, 12, 40)))
    assert_around(box, text_box(NAME, 12, 40))


def test_moving_pictures_without_overlay_have_none() -> None:
    for field in (False, True):
        assert boxes(moving(lambda picture, number: None, field=field)) == []


def test_the_whole_clock_is_found_and_not_what_stays_alone() -> None:
    (box,) = boxes(moving(lambda picture, number: write(picture, clock(number), 250, 200)))
    assert_around(box, text_box(clock(0), 250, 200))


def test_words_beside_a_field_are_found_and_its_edge_is_not() -> None:
    (box,) = boxes(moving(lambda picture, number: write(picture, NAME, 4, 16), field=True))
    assert_around(box, text_box(NAME, 4, 16))


def test_a_masked_box_is_no_overlay() -> None:
    black = Box(x=100, y=60, width=80, height=4)

    def paint(picture: Gray, number: int) -> None:
        picture[60:64, 100:180] = 16

    assert boxes(moving(paint), [black]) == []


def test_too_few_or_still_pictures_tell_no_overlay() -> None:
    pictures = moving(lambda picture, number: None)
    assert find_overlays(pictures[:5]) == "only 5 of 5 pictures show something new"
    assert find_overlays([pictures[0]] * 9) == "only 1 of 9 pictures show something new"
    still = [picture.copy() for picture in pictures]
    for picture in still:
        picture[:, 100:] = pictures[0][:, 100:]
    assert find_overlays(still) == "most of the picture stands still"


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a corpus, of which two of three videos have the same overlay."""
    folder = tmp_path_factory.mktemp("reported")
    for number, (name, text) in enumerate((("doe-1", NAME), ("doe-2", NAME), ("plain", ""))):
        make(folder, f"{name}.mp4", text, seed=number)
    run = build(folder, "--curate.overlays", "report")
    assert run.returncode == 0, run.stderr
    (folder / "told.txt").write_text(run.stderr)
    return folder


def test_overlays_are_told_once_for_all_videos_of_a_device(reported: Path) -> None:
    told = (reported / "told.txt").read_text().splitlines()
    assert [line.split(" of ", 1)[1] for line in told if "pixels in" in line] == [
        "384 x 216 pixels in 2 videos of lap"
    ]
    assert any(line.startswith("text or logos stay in 2 videos: ") for line in told)
    rows = overlays(reported / "private")
    assert [(row["overlay"], Path(row["path"]).name) for row in rows] == [
        ("1", "doe-1.mp4"),
        ("1", "doe-2.mp4"),
    ]
    (box,) = parse_boxes(rows[0]["box"], "box")
    assert str(box) == rows[0]["box"]  # as a mask takes it
    assert_around(box, text_box(NAME, 12, 40))


def test_a_private_picture_shows_the_overlays_of_each_video(reported: Path) -> None:
    private = reported / "private"
    pictures = [Path(row["picture"]) for row in overlays(private)]
    assert len(set(pictures)) == 2
    for picture in pictures:
        assert stat.S_IMODE(picture.stat().st_mode) == 0o600
        assert has_yellow(picture)
    notes = {name: row["notes"] for name, row in read_report(private).items()}
    assert re.fullmatch(r"static overlays: \d+,\d+,\d+,\d+", notes["doe-1.mp4"])
    assert notes["plain.mp4"] == ""


def test_a_removed_video_leaves_no_picture_behind(reported: Path, tmp_path: Path) -> None:
    # A copy beside the original would be another corpus that still needs the pictures.
    for name in ("corpus", "private"):
        shutil.copytree(reported / name, tmp_path / name)
    original = (reported / "corpus").rename(tmp_path / "original")
    private = tmp_path / "private"
    kept = [row["corpus_video"] for row in overlays(private) if "doe-2" in row["path"]]
    places = (tmp_path / "corpus", "--private", private)
    run = run_here("remove", *places, "--video", reported / "videos" / "doe-1.mp4")
    original.rename(reported / "corpus")
    assert run.returncode == 0, run.stderr
    assert [row["corpus_video"] for row in overlays(private)] == kept
    left = {path.name for path in (private / "overlays").iterdir()}
    (plain,) = {name for name in left if kept[0] not in name}
    assert left == {f"lap-{kept[0]}.json", f"lap-{kept[0]}.png", plain}
    assert plain.endswith(".json")


def test_overlays_are_masked_on_request(tmp_path: Path) -> None:
    make(tmp_path, "doe.mp4", NAME, seed=1)
    whole = ("--encode.short_side_px", HEIGHT)
    run = build(tmp_path, "--curate.overlays", "mask", *whole)
    assert run.returncode == 0, run.stderr
    assert "text or logos stay in 1 video: " in run.stderr
    assert "they are painted black" in run.stderr
    shown = first_luma(tmp_path)
    assert shown[32:41, 14:100].max() <= 24
    assert shown[60:].max() > 100
    notes = read_report(tmp_path / "private")["doe.mp4"]["notes"]
    assert notes.startswith("static overlays, masked: ")


def test_a_report_on_stored_videos_encodes_nothing(tmp_path: Path) -> None:
    make(tmp_path, "doe.mp4", NAME, seed=1)
    assert build(tmp_path).returncode == 0
    assert not (tmp_path / "private" / "overlays").exists()
    run = build(tmp_path, "--curate.overlays", "report")
    assert run.returncode == 0, run.stderr
    assert "0 videos encoded" in run.stderr
    assert "text or logos stay in 1 video: " in run.stderr
    assert len(overlays(tmp_path / "private")) == 1


@pytest.mark.slow
def test_overlays_on_phantoms_are_found_and_nothing_else(tmp_path: Path) -> None:
    false, without, found, planted = [], 0, 0, 0
    for domain in ("laparoscopy", "endoscopy", "cataract", "robotic"):
        for case in (1, 2):
            path = render_case(tmp_path, case, domain=domain, seconds=12.0, width_px=384, seed=case)
            pictures = decode(path)
            if domain == "robotic":
                # The bar of its console is an overlay.
                height = pictures[0].shape[0]
                bar = [box for box in boxes(pictures) if box.y > 0.8 * height]
                assert sum(box.width for box in bar) > 200
                pictures = [picture[: int(0.84 * height)] for picture in pictures]

            kinds = {kind: margins(pictures, kind) for kind in ("none", "border", "field")}
            for kind, plain in kinds.items():
                without += 1
                false += [f"{path.stem}, {kind}: {box}" for box in boxes(plain)]
            for kind, draw in DRAWN.items():
                planted += 1
                drawn = [picture.copy() for picture in kinds["none" if planted % 2 else "field"]]
                places = [draw(picture, number) for number, picture in enumerate(drawn)]
                covered = sum(box.overlap(places[0]) for box in boxes(drawn))
                # All of a text must be covered, but a panel is told by its words.
                least = 0.2 if kind == "panel" else 0.9
                found += covered >= least * places[0].width * places[0].height
    told = f"overlays: {found} of {planted} found, {len(false)} false in {without} videos"
    print(told)  # noqa: T201
    assert (planted, without) == (32, 24)
    assert not false
    assert found == planted


def decode(path: Path) -> list[Gray]:
    """Return the luma of 32 pictures of a phantom of 12 s."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-vf", "fps=32/12,extractplanes=y"]
    data = subprocess.run([*command, "-f", "rawvideo", "-"], check=True, capture_output=True).stdout
    (stream,) = ffprobe(path, "-show_streams", "-select_streams", "v")["streams"]
    return list(np.frombuffer(data, np.uint8).reshape(-1, stream["height"], stream["width"]))


def margins(pictures: Sequence[Gray], kind: str) -> list[Gray]:
    """Return pictures with black borders, or with a circular field."""
    height, width = pictures[0].shape
    rows, columns = np.mgrid[:height, :width]
    inside = {
        "none": np.ones((height, width), bool),
        "border": abs(rows - height / 2) < 0.38 * height,
        "field": np.hypot(rows - height / 2, columns - width / 2) < 0.44 * height,
    }[kind]
    soft = cv2.GaussianBlur(inside.astype(np.float32), (5, 5), 1)
    return [
        (16 + (picture.astype(np.float32) - 16) * soft).astype(np.uint8) for picture in pictures
    ]


def draw_text(picture: Gray, number: int) -> Box:
    write(picture, NAME, 8, 20)
    return text_box(NAME, 8, 20)


def draw_clock(picture: Gray, number: int) -> Box:
    height, width = picture.shape
    write(picture, clock(number), width - 90, height - 10)
    return text_box(clock(0), width - 90, height - 10)


def draw_logo(picture: Gray, number: int) -> Box:
    x, y = picture.shape[1] - 30, 30
    cv2.circle(picture, (x, y), 9, 220, 2, cv2.LINE_AA)
    cv2.line(picture, (x - 6, y + 6), (x + 6, y - 6), 220, 2, cv2.LINE_AA)
    return Box(x=x - 10, y=y - 10, width=20, height=20)


def draw_panel(picture: Gray, number: int) -> Box:
    y = picture.shape[0] - 60
    picture[y : y + 44, 8:78] = 110
    write(picture, "GAIN 3", 12, y + 14)
    write(picture, "ISO 40", 12, y + 30)
    return Box(x=8, y=y, width=70, height=44)


DRAWN = {"text": draw_text, "clock": draw_clock, "logo": draw_logo, "panel": draw_panel}


def boxes(pictures: Sequence[Gray], hidden: Sequence[Box] = ()) -> list[Box]:
    found = find_overlays(pictures, hidden)
    assert isinstance(found, list), found
    return found


def moving(draw: Draw, *, field: bool = False, seed: int = 0) -> list[Gray]:
    """Return pictures of something that moves, as compressed ones, with an overlay."""
    random = np.random.default_rng(seed)
    scene = cv2.GaussianBlur(random.integers(0, 255, (600, 900), np.uint8), (0, 0), 3)
    scene = cv2.normalize(scene, None, 40, 180, cv2.NORM_MINMAX)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    inside = np.hypot(rows - HEIGHT / 2, columns - WIDTH / 2) < 95
    pictures = []
    for number in range(16):
        y, x = random.integers(0, 380), random.integers(0, 500)
        picture = scene[y : y + HEIGHT, x : x + WIDTH].copy()
        if field:
            picture[~inside] = 16
        draw(picture, number)
        pictures.append(cv2.imdecode(cv2.imencode(".jpg", picture)[1], cv2.IMREAD_GRAYSCALE))
    return pictures


def write(picture: Gray, text: str, x: int, y: int) -> None:
    cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 235, 1, cv2.LINE_AA)


def clock(number: int) -> str:
    seconds = 9 * 3600 + 37 * number
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def text_box(text: str, x: int, y: int) -> Box:
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)
    return Box(x=x, y=y - height, width=width, height=height)


def assert_around(found: Box, drawn: Box) -> None:
    """Check that a box contains nearly all of a text, and not much more."""
    assert found.overlap(drawn) >= 0.9 * drawn.width * drawn.height
    assert found.width <= drawn.width + 24
    assert found.height <= drawn.height + 24


def make(folder: Path, name: str, text: str, seed: int) -> None:
    """Write a video of 8 pictures per second with a text."""
    path = folder / "videos" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = moving(lambda picture, number: write(picture, text, 12, 40), seed=seed)
    raw = path.with_suffix(".gray")
    raw.write_bytes(b"".join(picture.tobytes() for picture in pictures))
    size = ("-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{WIDTH}x{HEIGHT}", "-r", "8")
    ffmpeg(*size, "-i", raw, "-pix_fmt", "yuv420p", "-preset", "ultrafast", "-crf", "20", path)
    raw.unlink()


def build(folder: Path, *options: object) -> "subprocess.CompletedProcess[str]":
    places = ("--out", folder / "corpus", "--private", folder / "private")
    return run_here(*build_folder(folder / "videos"), *places, *QUICK, *options)


def overlays(private: Path) -> list[dict[str, str]]:
    with (private / "overlays-lap.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def has_yellow(picture: Path) -> bool:
    colors = cv2.imread(str(picture)).astype(int)
    return bool(((colors[..., 2] > 180) & (colors[..., 1] > 180) & (colors[..., 0] < 90)).any())


def first_luma(folder: Path) -> Gray:
    """Return the luma of the first stored frame of the only clip."""
    (row,) = pq.read_table(folder / "corpus" / "lap" / "index.parquet").to_pylist()
    shard = folder / "corpus" / "lap" / row["shard"]
    start, size = row["mp4_offset"], row["mp4_size"]
    clip = folder / "clip.mp4"
    clip.write_bytes(shard.read_bytes()[start : start + size])
    command = ["ffmpeg", "-v", "error", "-i", str(clip), "-frames:v", "1"]
    command += ["-vf", "extractplanes=y", "-f", "rawvideo", "-"]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(data, np.uint8).reshape(HEIGHT, WIDTH)
