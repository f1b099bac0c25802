"""Pictures in files of their own are a recording: right times, right pixels, nothing silent."""

import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from surgrec.recordings import BadVideoError, PictureReader, Recording, inspect
from surgrec.recordings.picture_files import PictureFiles, PictureSequence, open_recording
from tests.support.clocks import Stored, record_clock, stored_of
from tests.support.tool import ffmpeg

CODECS = {"jpg": ("-c:v", "mjpeg", "-q:v", "2"), "png": ("-c:v", "png"), "bmp": ("-c:v", "bmp")}


def pictures_of_clock(
    folder: Path, seconds: float = 4, rate: float = 25.0, kind: str = "png", step: int = 1
) -> Path:
    """Write a clock as pictures `f0.png`, `f1.png`, ...: their names do not sort by number."""
    folder.mkdir()
    name = folder / f"f%d.{kind}"
    arguments = ("-start_number", "0", *CODECS[kind])
    record_clock(name, seconds=seconds, rate=rate, arguments=arguments)
    for number in reversed(range(1, len(list(folder.iterdir())))):
        (folder / f"f{number}.{kind}").rename(folder / f"f{number * step}.{kind}")
    return folder


def stored(folder: Path, rate: float = 25.0, fps: float = 0.0) -> Stored:
    return stored_of(folder, fps, PictureFiles(rate=rate))


def decoded(path: Path, pictures: PictureFiles | None = None) -> list[tuple[float, bytes]]:
    with open_recording(path, pictures) as recording:
        facts = inspect(recording)
        with PictureReader(recording, facts, size=(facts.width, facts.height)) as reader:
            return [(round(each.time_s, 3), each.data) for each in reader if each.is_trusted]


def reason(folder: Path, rate: float = 25.0) -> str:
    with pytest.raises(BadVideoError) as caught:
        inspect(PictureSequence(folder, PictureFiles(rate=rate)))
    return str(caught.value)


@pytest.mark.parametrize("kind", CODECS)
def test_pictures_have_the_pixels_of_a_video_of_them(kind: str, tmp_path: Path) -> None:
    folder = pictures_of_clock(tmp_path / "pictures", seconds=2, kind=kind)
    codec = ("-c:v", "copy") if kind != "bmp" else ("-c:v", "ffv1", "-pix_fmt", "bgr0")
    video = tmp_path / "video.mkv"
    ffmpeg("-framerate", 25, "-i", folder / f"f%d.{kind}", *codec, video)

    found = decoded(folder, PictureFiles(rate=25.0))
    assert len(found) == 50
    assert found == decoded(video)
    assert stored(folder).largest_error_s < 0.01


def test_pictures_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    result = stored(pictures_of_clock(tmp_path / "pictures"))
    assert result.seconds == 4
    assert result.largest_error_s < 0.01  # f2 comes before f10
    assert not result.missing
    assert not result.facts.notes


def test_numbers_in_steps_tell_the_time(tmp_path: Path) -> None:
    folder = pictures_of_clock(tmp_path / "pictures", seconds=20, rate=1.0, step=25)
    result = stored(folder, rate=25.0)
    assert result.facts.fps == 1
    assert result.seconds == 20
    assert result.largest_error_s < 0.01
    assert result.facts.notes == ("the pictures have numbers in steps of 25: one for each 1 s",)

    assert "steps of 25, which at 1 per second is one for each 25 s" in reason(folder, rate=1.0)


def test_a_rate_that_is_no_whole_number_keeps_its_times(tmp_path: Path) -> None:
    rate = 30000 / 1001
    result = stored(pictures_of_clock(tmp_path / "pictures", seconds=10, rate=rate), rate=rate)
    assert result.facts.duration_s == pytest.approx(10, abs=0.04)
    assert result.largest_error_s < 0.01


def test_missing_numbers_are_a_gap_that_is_told(tmp_path: Path) -> None:
    folder = pictures_of_clock(tmp_path / "pictures", seconds=6)
    for number in [*range(50, 100), 120]:
        (folder / f"f{number}.png").unlink()

    result = stored(folder)
    (missing,) = result.missing
    assert (missing.start_s, missing.end_s, missing.reason) == (2.0, 4.0, "gap")
    assert result.largest_error_s < 0.05  # one missing picture is too short for a gap
    assert result.facts.notes == ("51 pictures missing, by the numbers (49 to 100, 119 to 121)",)


def test_one_missing_picture_of_a_slow_series_is_no_frozen_one(tmp_path: Path) -> None:
    folder = pictures_of_clock(tmp_path / "pictures", seconds=10, rate=1.0)
    (folder / "f4.png").unlink()
    (folder / "f7.png").write_bytes((folder / "f7.png").read_bytes()[:-20])

    result = stored(folder, rate=1.0)
    assert [(each.start_s, each.end_s, each.reason) for each in result.missing] == [
        (4.0, 5.0, "gap"),
        (7.0, 8.0, "damaged"),
    ]
    assert result.largest_error_s < 0.01
    assert result.facts.notes[-1] == ("1 picture left out (f7.png: the end of the file is missing)")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def other_size(path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "color=red:size=64x64", "-frames:v", 1, path)


def other_format(path: Path) -> None:
    codec = "mjpeg" if path.suffix == ".png" else "png"
    ffmpeg("-i", path, "-c:v", codec, "-f", "image2", path.with_suffix(".tmp"))
    path.with_suffix(".tmp").rename(path)


def text(path: Path) -> None:
    path.write_text("no picture")


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("jpg", cut, "the end of the file is missing"),
        ("bmp", cut, "the end of the file is missing"),
        ("png", other_size, "a png of 64 x 64, and most are a png of 128 x 64"),
        *(
            pytest.param(kind, change, words, marks=pytest.mark.slow)
            for kind, change, words in (
                ("png", emptied, "the file is empty"),
                ("png", other_format, "a jpeg of 128 x 64, and most are a png of 128 x 64"),
                ("jpg", other_format, "a png of 128 x 64, and most are a jpeg of 128 x 64"),
                ("jpg", text, "the content is not that of a jpg, png or bmp picture"),
            )
        ),
    ],
)
def test_an_odd_picture_is_left_out_and_told(
    kind: str, change: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    folder = pictures_of_clock(tmp_path / "pictures", seconds=5, rate=1.0, kind=kind)
    change(folder / f"f2.{kind}")

    result = stored(folder, rate=1.0)
    assert [(each.start_s, each.end_s, each.reason) for each in result.missing] == [
        (2.0, 3.0, "damaged")
    ]
    assert result.largest_error_s < 0.01
    (note,) = result.facts.notes
    assert f"1 picture left out (f2.{kind}: " in note
    assert words in note


@pytest.mark.parametrize("places", [(2,), (2, 3)])
def test_a_picture_with_damaged_data_is_not_used(places: tuple[int, ...], tmp_path: Path) -> None:
    folder = pictures_of_clock(tmp_path / "pictures", seconds=6, rate=1.0, kind="jpg")
    for place in places:
        path = folder / f"f{place}.jpg"
        data = path.read_bytes()
        middle = (data.index(b"\xff\xda") + len(data)) // 2
        path.write_bytes(data[:middle] + data[-2:])  # only the decoder can tell

    result = stored(folder, rate=1.0)
    end_s = float(places[-1] + 1)
    assert [(each.start_s, each.end_s) for each in result.missing] == [(2.0, end_s)]
    assert result.largest_error_s < 0.01
    assert result.complaints >= len(places)


def test_pictures_are_shown_as_their_orientation_says(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    picture = folder / "0.jpg"
    source = "color=black:size=64x32,drawbox=w=32:h=32:color=white:t=fill"
    ffmpeg("-f", "lavfi", "-i", source, "-frames:v", 1, "-q:v", 2, picture)
    upright = {
        1: (32, 64, "left"),
        2: (32, 64, "right"),
        3: (32, 64, "right"),
        4: (32, 64, "left"),
        5: (64, 32, "top"),
        6: (64, 32, "top"),
        7: (64, 32, "bottom"),
        8: (64, 32, "bottom"),
    }
    plain = picture.read_bytes()
    for orientation, expected in upright.items():
        tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)
        exif = b"Exif\0\0" + tiff
        segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
        for number in range(3):
            (folder / f"{number}.jpg").write_bytes(plain[:2] + segment + plain[2:])
        with open_recording(folder, PictureFiles(rate=1.0)) as recording:
            facts = inspect(recording)
        data = decoded(folder, PictureFiles(rate=1.0))[0][1]
        luma = np.frombuffer(data, np.uint8)[: 64 * 32].reshape(facts.height, facts.width)
        bright = {
            "left": luma[:, : facts.width // 2],
            "right": luma[:, facts.width // 2 :],
            "top": luma[: facts.height // 2],
            "bottom": luma[facts.height // 2 :],
        }
        white = max(bright, key=lambda side: float(bright[side].mean()))
        assert (facts.height, facts.width, white) == expected, orientation


def test_any_change_of_the_pictures_is_noticed(tmp_path: Path) -> None:
    folder = pictures_of_clock(tmp_path / "pictures", seconds=1)
    files = PictureFiles(rate=25.0)
    first = PictureSequence(folder, files)
    assert first.sha256() == PictureSequence(folder, files).sha256()
    identity, digest = first.identity, first.sha256()

    def others() -> tuple[bool, bool]:
        now = PictureSequence(folder, files)
        return now.identity != identity, now.sha256() != digest

    # Other bytes of the same length at the same time.
    path = folder / "f7.png"
    status = path.stat()
    before = path.read_bytes()
    path.write_bytes(before[:-1] + b"\0")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert others() == (True, True)
    with pytest.raises(BadVideoError, match=r"f7\.png was replaced or written"):
        first.sha256()
    path.write_bytes(before)

    # One less, and one more.
    (folder / "f3.png").rename(tmp_path / "f3.png")
    assert others() == (True, True)
    (tmp_path / "f3.png").rename(folder / "f3.png")
    assert others() == (True, False)
    assert PictureSequence(folder, PictureFiles(rate=50.0)).sha256() != digest


def test_pictures_that_change_while_they_are_decoded_are_noticed(tmp_path: Path) -> None:
    folder = pictures_of_clock(tmp_path / "pictures", seconds=4)
    with open_recording(folder, PictureFiles(rate=25.0)) as recording:
        facts = inspect(recording)
        (folder / "f90.png").write_bytes((folder / "f91.png").read_bytes())
        with (
            PictureReader(recording, facts, size=(128, 64)) as reader,
            pytest.raises(BadVideoError, match=r"f90\.png was replaced or written") as caught,
        ):
            list(reader)
        assert caught.value.may_pass


def test_pictures_whose_numbers_tell_no_time_are_refused(tmp_path: Path) -> None:
    folder = pictures_of_clock(tmp_path / "pictures", seconds=1)
    assert "it is not a folder of pictures" in reason_of_file(folder / "f1.png")

    (folder / "g1.png").write_bytes((folder / "f1.png").read_bytes())
    assert "f1.png and g1.png have the same number 1" in reason(folder)
    (folder / "g1.png").rename(folder / "last.png")
    assert "the picture last.png has no number in its name" in reason(folder)
    (folder / "last.png").rename(folder / "20260102030405.png")
    assert "more than 12 hours at 25 numbers per second" in reason(folder)
    (folder / "20260102030405.png").rename(folder / f"{'1' * 30}.png")
    assert "is too long" in reason(folder)


def reason_of_file(path: Path) -> str:
    with pytest.raises(BadVideoError) as caught:
        PictureSequence(path, PictureFiles(rate=25.0))
    return str(caught.value)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scan.tif").write_bytes(b"II*\0")
    assert "the folder has no jpg, png or bmp pictures" in reason(tmp_path)
    with pytest.raises(BadVideoError, match="of a folder of pictures, give the rate"):
        Recording(tmp_path)


def test_other_files_beside_the_pictures_are_told(tmp_path: Path) -> None:
    folder = pictures_of_clock(tmp_path / "pictures", seconds=1)
    (folder / "labels.txt").write_text("a")
    (folder / ".hidden").write_text("a")
    assert stored(folder).facts.notes == ("1 other file beside the pictures (labels.txt)",)
