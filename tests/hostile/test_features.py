"""Hostile settings of `surgrec features`, and hostile folders of videos."""

import functools
import os
import shutil
import socket
import struct
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from surgrec.features import read_features
from surgrec.models import save_encoder
from tests.features.conftest import save_run
from tests.hostile.harness import Kind, Run, try_kind
from tests.support.tool import ffmpeg
from tests.support.videos import make_video

GOOD = "good.mp4"
Make = Callable[[Path], Sequence[object]]


@functools.cache
def run_folder() -> Path:
    """Return the folder of a run with a tiny encoder, made once."""
    return save_run(Path(tempfile.mkdtemp()) / "run", seed=0)


@functools.cache
def good_video() -> Path:
    """Return a video of 3 s, rendered once."""
    return make_video(Path(tempfile.mkdtemp()) / GOOD, seconds=3)


def command(folder: Path, *flags: object, data: object = None) -> list[object]:
    """Return the command that extracts the features of the folder `videos`."""
    words = ["surgrec", "features", data or folder / "videos", "--device", "cpu"]
    return [*words, "--encoder", run_folder(), "--out", folder / "out", *flags]


def with_flags(*flags: object) -> Make:
    """Return the maker of a folder with one good video, and a command with these flags."""

    def make(folder: Path) -> Sequence[object]:
        (folder / "videos").mkdir()
        shutil.copy(good_video(), folder / "videos")
        return command(folder, *flags)

    return make


def beside_good(name: str | bytes, create: Callable[[Path], object]) -> Make:
    """Return the maker of a folder with one good video and a file that `create` writes."""

    def make(folder: Path) -> Sequence[object]:
        (folder / "videos").mkdir()
        shutil.copy(good_video(), folder / "videos")
        create(folder / "videos" / os.fsdecode(name))
        return command(folder)

    return make


def rendered(name: str | bytes, *arguments: object, **options: object) -> Make:
    """Return the maker of a folder with one good video and another one."""

    def create(path: Path) -> None:
        plain = path.with_name("rendered" + path.suffix)
        make_video(plain, seconds=3, arguments=[str(word) for word in arguments], **options)  # type: ignore[arg-type]
        plain.rename(path)

    return beside_good(name, create)


def text(content: str) -> Callable[[Path], object]:
    """Return the writer of a script that names the good video."""
    return lambda path: path.write_text(content.format(good=good_video()))


def good_only(reason: str = "") -> Callable[[Path, Run], None]:
    """Return the check that the good video has its windows, and the other is told with a reason."""

    def right(folder: Path, run: Run) -> None:
        result = read_features(folder / "out")
        assert run.status == (3 if reason else 0), run.errors
        assert {row.video for row in result.rows} == {GOOD}
        assert len(result.rows) == 3
        assert [reason in window.reason for window in result.failed] == [True] * bool(reason)

    return right


def both(windows: int = 3) -> Callable[[Path, Run], None]:
    """Return the check that both videos have features, and what is left out is told."""

    def right(folder: Path, run: Run) -> None:
        assert run.status == 0 or "left out, features.json gives the reasons" in run.errors
        result = read_features(folder / "out")
        videos = [row.video for row in result.rows]
        (other,) = set(videos) - {GOOD}
        assert (videos.count(GOOD), videos.count(other)) == (3, windows)

    return right


def rows(count: int, status: int = 0) -> Callable[[Path, Run], None]:
    """Return the check of the number of windows."""

    def right(folder: Path, run: Run) -> None:
        assert run.status == status, run.errors
        assert len(read_features(folder / "out").rows) == count

    return right


def some_windows_are_left_out(folder: Path, run: Run) -> None:
    result = read_features(folder / "out")
    windows = [row for row in result.rows if row.video != GOOD]
    assert len(windows) + len(result.failed) >= 8
    assert run.status == (3 if result.failed else 0)


def same_features(folder: Path, run: Run) -> None:
    assert run.status == 0
    result = read_features(folder / "out")
    assert len(result.rows) == 6
    assert torch.equal(result.values[:3], result.values[3:])
    assert len(list((folder / "out/videos").glob("*.safetensors"))) == 1


def make_socket(path: Path) -> None:
    before = os.getcwd()
    os.chdir(path.parent)  # the name of a socket has at most 107 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
    os.chdir(before)


def cut(path: Path) -> None:
    path.write_bytes(good_video().read_bytes()[:2000])


def spoiled(path: Path) -> None:
    make_video(path, seconds=12, rate=25, arguments=("-g", "25"))
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : 2 * third] = np.random.default_rng(0).bytes(third)
    path.write_bytes(data)


def turned_and_wide(path: Path) -> None:
    make_video(path, seconds=3, arguments=("-vf", "setsar=2/1"))
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def two_streams(path: Path) -> None:
    preview = ["-f", "lavfi", "-t", "3", "-i", "color=red:size=32x32:rate=1"]
    ffmpeg(*preview, "-i", good_video(), "-map", "0", "-map", "1", path)


def stream_without_its_beginning(path: Path) -> None:
    make_video(path, seconds=6, rate=25, arguments=("-g", "50"))
    data = path.read_bytes()
    path.write_bytes(data[len(data) // 4 // 188 * 188 :])


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(good_video(), "a.mp4")


def other_place(data: Callable[[Path], object]) -> Make:
    """Return the maker of a command for other data than the folder `videos`."""
    return lambda folder: command(folder, data=data(folder))


def output_at(create: Callable[[Path], object]) -> Make:
    """Return the maker of a command whose output folder is something else."""

    def make(folder: Path) -> Sequence[object]:
        words = with_flags()(folder)
        create(folder / "out")
        return words

    return make


def encoder_at(create: Callable[[Path], object]) -> Make:
    """Return the maker of a command with another encoder."""

    def make(folder: Path) -> Sequence[object]:
        create(folder / "encoder.safetensors")
        return with_flags("--encoder", folder / "encoder.safetensors")(folder)

    return make


def nothing(path: Path) -> None:
    """Create nothing."""


HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{good}\n#EXT-X-ENDLIST\n"
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5000 RTP/AVP 96\n"
REFUSED_SCRIPT = good_only("ffmpeg cannot read the file as a video")

KINDS = [
    # Settings.
    *(
        Kind(name=f"{flag[2:]} is {value}", make=with_flags(flag, value))
        for flag, value in (
            *(("--stride_s", value) for value in ("0", "-1", "nan", "inf", "1e-9", "a")),
            *(("--fps", value) for value in ("0", "-4", "nan", "inf")),
            *(("--batch", value) for value in ("0", "1000000000", "1.5")),
            *(("--processes", value) for value in ("0", "100000")),
            *(("--random_seed", value) for value in ("-1", "1180591620717411303424")),
            *(("--device", "tpu"), ("--precision", "fp8"), ("--stride", "1 --fps 4")),
        )
    ),
    Kind(name="a window longer than any video", make=with_flags("--fps", "1e-9"), right=rows(0, 3)),
    Kind(
        name="a stride longer than any video", make=with_flags("--stride_s", "1e12"), right=rows(1)
    ),
    Kind(
        name="more frames per second than the video",
        make=with_flags("--fps", "1e6"),
        right=rows(0, status=3),
    ),
    Kind(
        name="frames that may repeat",
        make=with_flags("--fps", "40", "--allow_repeated_frames", "true"),
        right=rows(3),
    ),
    Kind(name="the output is a file", make=output_at(Path.touch)),
    Kind(name="the output is a pipe", make=output_at(os.mkfifo)),
    Kind(
        name="the output is a link to nothing",
        make=output_at(lambda path: path.symlink_to("/no/o")),
    ),
    Kind(name="the encoder does not exist", make=encoder_at(nothing)),
    Kind(name="the encoder is a pipe", make=encoder_at(os.mkfifo)),
    Kind(name="the encoder is an empty folder", make=encoder_at(Path.mkdir)),
    Kind(
        name="the encoder is a video",
        make=encoder_at(lambda path: shutil.copy(good_video(), path)),
    ),
    Kind(
        name="the encoder does not know its frame rate",
        make=encoder_at(lambda path: save_encoder(_encoder(), path, {"recipe": "jepa"})),
    ),
    Kind(name="the data do not exist", make=other_place(lambda folder: folder / "none")),
    Kind(name="the data are a file", make=other_place(lambda folder: good_video())),
    Kind(name="the data are an empty folder", make=other_place(lambda folder: folder)),
    Kind(
        name="two folders of videos",
        make=lambda folder: command(folder, data=folder)[:2] + [folder, *command(folder)[2:]],
    ),
    # Scripts and other things with the name of a video.
    Kind(name="a playlist", make=beside_good("a.mp4", text(HLS)), right=REFUSED_SCRIPT),
    Kind(
        name="a list of files",
        make=beside_good("a.mkv", text("ffconcat version 1.0\nfile {good}\n")),
        right=REFUSED_SCRIPT,
    ),
    Kind(
        name="a manifest of DASH",
        make=beside_good("a.mp4", text("<MPD><Period><BaseURL>{good}</BaseURL></Period></MPD>")),
        right=REFUSED_SCRIPT,
    ),
    Kind(name="a session description", make=beside_good("a.ts", text(SDP)), right=REFUSED_SCRIPT),
    Kind(
        name="a list of pictures",
        make=beside_good("a.avi", text("#EXTM3U\nimage%03d.png\n")),
        right=REFUSED_SCRIPT,
    ),
    Kind(name="a zip", make=beside_good("a.mp4", zipped), right=REFUSED_SCRIPT),
    Kind(
        name="random bytes",
        make=beside_good("a.mp4", lambda path: path.write_bytes(bytes(range(256)) * 99)),
        right=REFUSED_SCRIPT,
    ),
    Kind(
        name="a picture",
        make=beside_good(
            "a.mp4",
            lambda path: (
                make_video(path.with_suffix(".png"), seconds=0.1, arguments=("-frames:v", "1")),
                path.with_suffix(".png").rename(path),
            ),
        ),
        right=REFUSED_SCRIPT,
    ),
    Kind(name="an empty file", make=beside_good("a.mp4", Path.touch), right=good_only("is empty")),
    Kind(name="a truncated file", make=beside_good("a.mp4", cut), right=good_only("moov")),
    Kind(
        name="a pipe",
        make=beside_good("a.mp4", os.mkfifo),
        right=good_only("not a regular file"),
    ),
    Kind(
        name="a socket", make=beside_good("a.mp4", make_socket), right=good_only("cannot be read")
    ),
    Kind(
        name="a link to nothing",
        make=beside_good("a.mp4", lambda path: path.symlink_to("/no/such.mp4")),
        right=good_only("does not exist"),
    ),
    Kind(
        name="a link to itself",
        make=beside_good("a.mp4", lambda path: path.symlink_to(path)),
        right=good_only("cannot be read"),
    ),
    Kind(
        name="a link to an endless device",
        make=beside_good("a.mp4", lambda path: path.symlink_to("/dev/zero")),
        right=good_only("not a regular file"),
    ),
    Kind(
        name="a folder with the name of a video",
        make=beside_good("a.mp4", Path.mkdir),
        right=rows(3),
    ),
    Kind(
        name="a folder that links to itself",
        make=beside_good("loop", lambda path: path.symlink_to(path.parent)),
        right=rows(3, status=3),
    ),
    Kind(name="a hidden file", make=beside_good(".a.mp4", cut), right=rows(3)),
    # Names.
    *(
        Kind(
            name=f"a name with {words}",
            make=beside_good(name, lambda path: shutil.copy(make_other(), path)),
            right=both(),
        )
        for words, name in (
            ("bytes that are not UTF-8", b"M\xfcller.mp4"),
            ("a line end", "a\nb.mp4"),
            ("a hyphen first", "-i.mp4"),
            ("a pattern and a protocol", "file:%03d,x='y'.mp4"),
            ("markup", "[bold]a<b>&.mp4"),
            ("250 bytes", "a" * 246 + ".mp4"),
            ("spaces only", "  .mp4"),
        )
    ),
    Kind(
        name="one video under two names",
        make=beside_good("copy.mp4", lambda path: shutil.copy(good_video(), path)),
        right=same_features,
    ),
    # Videos that are unusual or damaged.
    Kind(
        name="a sound without a picture",
        make=beside_good(
            "a.mp4", lambda path: ffmpeg("-f", "lavfi", "-t", "3", "-i", "sine", path)
        ),
        right=good_only("no video stream"),
    ),
    Kind(
        name="a picture of 8 pixels", make=rendered("a.mkv", size="8x8"), right=good_only("8 x 8")
    ),
    Kind(name="a video of one picture", make=rendered("a.mp4", "-frames:v", "1"), right=rows(3, 3)),
    Kind(name="two pictures per second", make=rendered("a.mp4", rate=2), right=good_only("repeat")),
    Kind(
        name="a video turned, with wide pixels",
        make=beside_good("a.mp4", turned_and_wide),
        right=both(),
    ),
    Kind(name="two video streams", make=beside_good("a.mkv", two_streams), right=both()),
    Kind(
        name="a stream without its beginning",
        make=beside_good("a.ts", stream_without_its_beginning),
        right=both(windows=3),
    ),
    Kind(name="a stream without an index", make=rendered("a.ts"), right=both()),
    Kind(
        name="interlaced pictures",
        make=rendered("a.mpg", "-flags", "+ilme+ildct", "-c:v", "mpeg2video", rate=25),
        right=both(),
    ),
    Kind(
        name="a recording whose clock begins at an hour",
        make=rendered("a.mkv", "-output_ts_offset", "3600"),
        right=both(),
    ),
    Kind(
        name="a damaged third",
        make=beside_good("a.mkv", spoiled),
        right=some_windows_are_left_out,
    ),
]


@functools.cache
def make_other() -> Path:
    """Return another video of 3 s, rendered once."""
    return make_video(Path(tempfile.mkdtemp()) / "other.mp4", seconds=3, pattern="mandelbrot")


def _encoder() -> torch.nn.Module:
    from surgrec.models import read_encoder

    return read_encoder(run_folder() / "encoder.safetensors")


@pytest.mark.slow
def test_hostile(kind: Kind, tmp_path: Path) -> None:
    try_kind(kind, tmp_path)
