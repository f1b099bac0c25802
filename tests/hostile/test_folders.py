"""Hostile folders: sets of odd pictures, and videos with odd names.

One build gets all of a family. Every input is in the corpus or in the report, with its reason.
"""

import io
import os
import random
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from surgrec.file_globs import select_files
from surgrec.video_folder import files_below
from tests.hostile.harness import run_command
from tests.support.charts import stored_pictures
from tests.support.tool import QUICK, build_folder, ffmpeg, read_report

pytestmark = pytest.mark.slow

COUNT, RATE = 16, 8
SECONDS_OF_BUILD = 600.0


def scene(number: int, size: tuple[int, int] = (96, 64)) -> Image.Image:
    """Return a picture of a series that moves."""
    columns, rows = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    red = 128 + 90 * np.sin((columns + 4 * number) / 9)
    green = 128 + 90 * np.cos((rows + 3 * number) / 7)
    return Image.fromarray(np.stack([red, green, red], axis=2).astype(np.uint8))


def bytes_of(picture: Image.Image, kind: str, **options: object) -> bytes:
    data = io.BytesIO()
    picture.save(data, kind, **options)
    return data.getvalue()


def series(change: Callable[[int, Image.Image], bytes]) -> Callable[[Path], None]:
    """Return a writer of pictures `0.png`, `1.png`, ... of these bytes."""

    def write(folder: Path) -> None:
        for number in range(COUNT):
            data = change(number, scene(number))
            suffix = "jpg" if data.startswith(b"\xff\xd8") else "png"
            (folder / f"{number}.{suffix}").write_bytes(data)

    return write


def but_one(change: Callable[[Image.Image], bytes]) -> Callable[[Path], None]:
    """Return a writer of good pictures of which number 5 is another one."""
    return series(lambda number, picture: (
        change(picture) if number == 5 else bytes_of(picture, "png")
    ))  # fmt: skip


def deep(number: int, picture: Image.Image) -> bytes:
    """Return a PNG with 16 bits per pixel."""
    gray = np.asarray(picture.convert("L")).astype(np.uint16) * 257
    return bytes_of(Image.fromarray(gray), "png")


def animated(picture: Image.Image) -> bytes:
    others = [scene(number) for number in range(20, 25)]
    return bytes_of(picture, "png", save_all=True, append_images=others)


def mixed_sizes(folder: Path) -> None:
    for number in range(COUNT):
        size = random.Random(number).choice([(96, 64), (64, 96), (128, 128), (30, 20)])
        scene(number, size).save(folder / f"{number}.png")


def turned(number: int, picture: Image.Image) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = 6
    return bytes_of(picture, "jpeg", exif=tags)


@dataclass(frozen=True)
class Pictures:
    """One odd set of pictures."""

    name: str
    write: Callable[[Path], None]
    told: str = ""
    """Words of the report; empty: all pictures are stored, and nothing is told."""
    is_stored: bool = True
    size: tuple[int, int] = (96, 64)


KINDS = [
    Pictures("CMYK", series(lambda number, picture: bytes_of(picture.convert("CMYK"), "jpeg"))),
    Pictures("gray", series(lambda number, picture: bytes_of(picture.convert("L"), "png"))),
    Pictures("one_bit", series(lambda number, picture: bytes_of(picture.convert("1"), "png"))),
    Pictures("palette", series(lambda number, picture: bytes_of(picture.quantize(), "png"))),
    Pictures(
        "transparent", series(lambda number, picture: bytes_of(picture.convert("RGBA"), "png"))
    ),
    Pictures("sixteen_bits", series(deep)),
    Pictures(
        "progressive", series(lambda number, picture: bytes_of(picture, "jpeg", progressive=True))
    ),
    Pictures("turned", series(turned), size=(64, 96)),
    Pictures("one_is_animated", but_one(animated)),
    Pictures("one_is_truncated", but_one(lambda picture: bytes_of(picture, "png")[:-100]), "5.png"),
    Pictures("one_has_no_bytes", but_one(lambda picture: b""), "5.png"),
    Pictures("one_is_a_text", but_one(lambda picture: b"no picture"), "5.png"),
    Pictures("one_is_gray", but_one(lambda picture: bytes_of(picture.convert("L"), "png"))),
    Pictures("mixed_sizes", mixed_sizes, "most are"),
    Pictures("all_have_no_bytes", series(lambda number, picture: b""), "empty", is_stored=False),
    Pictures(
        "claims_a_gigapixel",
        but_one(
            lambda picture: bytes_of(picture, "png").replace(
                (96).to_bytes(4, "big"), (1 << 30).to_bytes(4, "big"), 1
            )
        ),
        "5.png",
    ),
]


@dataclass(frozen=True)
class Built:
    """What a build of a folder stored and told."""

    status: int
    said: str
    report: dict[str, dict[str, str]]
    first: dict[str, np.ndarray]
    """The first stored picture of each video, by its name in the corpus."""


def build(folder: Path, *words: object) -> Built:
    command = (*build_folder(folder / "videos"), "--out", folder / "corpus", "--workers", 2)
    whole = ("surgrec-shard", *command, *QUICK, *words)
    run = run_command(whole, folder, {}, SECONDS_OF_BUILD)
    assert "Traceback" not in run.out + run.errors, run.errors
    clips = list(stored_pictures(folder / "corpus" / "lap"))
    first = {row["video"]: pictures[0] for row, pictures in clips if row["start_s"] == 0}
    return Built(run.status, run.errors, read_report(folder / "corpus.private"), first)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("pictures") / "input"
    for kind in KINDS:
        (folder / "videos" / kind.name).mkdir(parents=True)
        kind.write(folder / "videos" / kind.name)
    return build(folder, "--frame_fps", RATE)


def test_odd_pictures_are_stored_right_or_named(kind: Pictures, pictures: Built) -> None:
    row = pictures.report[kind.name]
    assert row["status"] == ("packed" if kind.is_stored else "undecodable")
    assert kind.told in row["notes"] + row["detail"]
    assert bool(kind.told) == bool(row["notes"] + row["detail"]), row

    if kind.is_stored and kind.name not in ("mixed_sizes", "one_bit"):
        shown = pictures.first[row["corpus_video"]]
        expected = scene(0).convert("L")
        if kind.name == "turned":
            expected = expected.transpose(Image.Transpose.ROTATE_270)
        luma = np.asarray(expected.resize(shown.shape[::-1])).astype(float)
        assert np.corrcoef(luma.ravel(), shown.ravel())[0, 1] > 0.9
        assert abs(shown.mean() - (16 + luma.mean() * 219 / 255)) < 12


NAMES = (
    *(b"with space.mp4", b"new\nline.mp4", b"br[1].mp4", b"star*.mp4", b"quest?.mp4"),
    *(b"back\\slash.mp4", b"UPPER.MP4", b"upper.mp4", b"caf\xe9.mp4", b"\xff\xfe.mp4"),
    *("\u00fc.mp4".encode(), "u\u0308.mp4".encode(), "\U0001f600.mp4".encode()),
    *(b"-i.mp4", b"--help", b"'quote'.mp4", b'"double".mp4', b"{a,b}.mp4", b"~.mp4", b"$HOME.mp4"),
    *(b"a,b;c.mp4", b"#hash.mp4", b"null", b"1.5", b"end .mp4", b"%s{0}.mp4", b"\x1b[2J.mp4"),
    *(b"=cmd|' !A0.mp4", b"file:x.mp4", b"pipe:1.mp4", b"concat:a|b.mp4", b"tab\t.mp4"),
    *(b"%d.mp4", b"x" * 240 + b".mp4", b"CON.mp4", b"<b>.mp4", b"\r.mp4", "\u202egpj.mp4".encode()),
)
OTHERS = ("cut.zip", "empty.mp4", "text.mp4")
"""Files that are not taken."""
GLOBS = (
    ("br[1].mp4", {b"br[1].mp4"}),
    ("new\nline.mp4", {b"new\nline.mp4"}),
    ("caf?.mp4", {b"caf\xe9.mp4"}),
    ("\u00fc.mp4", {"\u00fc.mp4".encode()}),
    ("UPPER*", {b"UPPER.MP4"}),
    ("back\\slash.mp4", {b"back\\slash.mp4"}),
    ("null", {b"null"}),
    ("{a,b}.mp4", {b"{a,b}.mp4"}),
    ("-i.mp4", {b"-i.mp4"}),
)


def add_videos(folder: Path) -> None:
    """Add a video of each name, all different, and files that are none."""
    folder.mkdir(parents=True)
    video = folder.parent / "video.mp4"
    pattern = "testsrc2=size=64x64:rate=10:duration=2"
    ffmpeg("-f", "lavfi", "-i", pattern, "-preset", "ultrafast", video)
    for number, name in enumerate(NAMES):
        # A box behind the video makes its bytes different.
        box = struct.pack(">I4s4s", 12, b"free", number.to_bytes(4, "big"))
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            file.write(video.read_bytes() + box)

    shutil.make_archive(str(folder.parent / "whole"), "zip", folder, "with space.mp4")
    (folder / "cut.zip").write_bytes((folder.parent / "whole.zip").read_bytes()[:-30])
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("no video")


def test_videos_of_any_name_are_stored_and_other_files_named(tmp_path: Path) -> None:
    add_videos(tmp_path / "input" / "videos")
    built = build(tmp_path / "input")
    assert built.status == 3
    packed = {name for name, row in built.report.items() if row["status"] == "packed"}
    assert {os.fsencode(name) for name in packed} == set(NAMES)
    assert len(built.first) == len(NAMES)
    assert set(OTHERS) == set(built.report) - packed
    assert all(built.report[name]["detail"] for name in OTHERS)


def test_globs_of_odd_characters_take_the_files_they_name(tmp_path: Path) -> None:
    for name in NAMES:
        with open(os.path.join(os.fsencode(tmp_path), name), "wb"):
            pass
    for glob, expected in GLOBS:
        taken = select_files(files_below(tmp_path), [glob]).paths
        assert {os.fsencode(path.name) for path in taken} == expected
        others = select_files(files_below(tmp_path), [], [glob]).paths
        assert {os.fsencode(path.name) for path in others} == set(NAMES) - expected
