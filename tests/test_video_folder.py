"""A search of a folder finds every video and tells what it could not search."""

import os
import random
from pathlib import Path

import pytest

from surgrec.errors import ManifestError
from surgrec.video_folder import printable_name, search_folder
from tests.support.files import lock_folder
from tests.support.tool import ffmpeg
from tests.support.videos import make_video

SUFFIXES = (
    "mp4 m4v mov qt f4v 3gp 3g2 avi divx mkv webm wmv asf mpg mpeg mpe m1v m2v mod tod vob ts mts "
    "m2t m2ts mxf flv ogv dv gxf nut h264 264 hevc rmvb ivf y4m mjpeg obu dav MOD Dv"
)


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in search_folder(folder).paths]


@pytest.mark.parametrize("suffix", SUFFIXES.split())
def test_suffixes_of_recorders_are_known(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a.{suffix}").touch()
    assert names(tmp_path) == [f"a.{suffix}"]


CONTAINERS = (
    *("mp4", "mov", "avi", "matroska", "asf", "mpeg", "mpegts", "flv", "nut", "ogg", "mpeg2video"),
    *("h264", "hevc", "mxf", "webm", "ipod", "ivf", "yuv4mpegpipe", "mjpeg", "m4v", "rm", "ismv"),
)
CODECS = {
    **{"ogg": "libtheora", "mxf": "mpeg2video", "webm": "libvpx", "hevc": "libx265"},
    **{"ivf": "libvpx", "yuv4mpegpipe": "wrapped_avframe", "mjpeg": "mjpeg", "m4v": "mpeg4"},
    **{"rm": "rv10"},
}
NAMES = ("VIDEO", "op.final", "part.001", "op.ogg", "op.M4B", "op.dat", "op.txt", "op.jpg")


def make_in(container: str, path: Path) -> Path:
    codec = CODECS.get(container)
    arguments = ("-f", container, *(("-c:v", codec) if codec else ()))
    return make_video(path, seconds=0.4, rate=25, arguments=arguments)


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_video_under_any_name_is_found_by_its_content(tmp_path: Path, container: str) -> None:
    first, *others = NAMES
    data = make_in(container, tmp_path / first).read_bytes()
    # The raw pictures of JPEG, and the raw start codes of MPEG-4, are also in other files.
    is_clear = container not in ("mjpeg", "m4v")
    expected = [first, *(name for name in others if is_clear or name[-4:] not in (".txt", ".jpg"))]
    for name in others:
        (tmp_path / name).write_bytes(data)
    found = search_folder(tmp_path)
    assert [path.name for path in found.paths] == sorted(expected)
    assert not found.left_out


def test_a_video_behind_the_header_of_a_recorder_is_found(tmp_path: Path) -> None:
    stream = make_in("mpegts", tmp_path / "x").read_bytes()
    program = make_in("mpeg", tmp_path / "x").read_bytes()
    (tmp_path / "x").unlink()
    (tmp_path / "a.rec").write_bytes(bytes(range(256)) * 4 + stream)
    (tmp_path / "b.rec").write_bytes(stream[100:])
    (tmp_path / "c.rec").write_bytes(b"\x07VENDOR\0" * 9 + program)
    assert names(tmp_path) == ["a.rec", "b.rec", "c.rec"]


COMPANIONS = {
    "notes": b"GGGG no video",
    "table.csv": b"path,source",
    "playlist.m3u8": b"#EXTM3U\nop.mp4\n",
    "list.ffconcat": b"ffconcat version 1.0\nfile op.mp4\n",
    "subtitles.old": "1\n00:00:01,000 --> 00:00:02,000\nGr\u00fc\u00dfe\n".encode("latin-1"),
    "windows": "text".encode("utf-16"),
    "marker.done": b"",
    "archive": b"PK\x03\x04\0\0",
    "values.npy": b"\x93NUMPY\1\0\0\0\1\xb3",
    "state.pkl": b"\x80\4\0\0\1\xba\0",
    "picture.heif": b"\0\0\0\x20ftypheic",
    "picture": b"\0\0\0\x20ftypavif",
    "photo": b"\xff\xd8\xff\xe0\0\x10JFIF\0\1",
    "slice.dcm": bytes(128) + b"DICM" + b"1.2.840.10008.1.2.1\0",
}


def test_other_files_are_counted_by_kind(tmp_path: Path) -> None:
    for name, data in COMPANIONS.items():
        (tmp_path / name).write_bytes(data)
    sounds = {"a.ogg": "libvorbis", "a.m4a": "aac", "a.mka": "flac", "a.wma": "wmav2", "a": "aac"}
    for name, codec in sounds.items():
        container = () if "." in name else ("-f", "ipod")
        ffmpeg("-f", "lavfi", "-t", 1, "-i", "sine", "-c:a", codec, *container, tmp_path / name)
    (tmp_path / "op.mp4").touch()
    found = search_folder(tmp_path)
    assert [path.name for path in found.paths] == ["op.mp4"]
    assert not found.left_out
    assert sum(found.companions.values()) == len(COMPANIONS) + len(sounds)
    assert found.companions["without a suffix"] == 6
    (line,) = found.counts()
    assert line.startswith("no videos, by content: 6 without a suffix, 1 .csv, 1 .dcm, ")
    assert line.endswith(", 2 others")


def test_empty_files_of_no_known_kind_have_their_own_row(tmp_path: Path) -> None:
    for name in ("failed.dat", "_SUCCESS", "empty.txt", "op.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "text.dat").write_text("text")
    found = search_folder(tmp_path)
    assert [path.name for path in found.paths] == ["op.mp4"]
    rows = {row.path.name: row.detail for row in found.rows()}
    assert list(rows) == ["*.dat", "*.dat (empty)", "*.txt", "*"]
    assert rows["*.dat (empty)"] == "1 file .dat (empty), by content no video"


def test_files_of_unknown_content_are_told(tmp_path: Path) -> None:
    noise = random.Random(0).randbytes(5000)
    (tmp_path / "op.mp4").touch()
    (tmp_path / "rec.bin").write_bytes(noise)
    (tmp_path / "rec.xyz").write_bytes(noise + b"\0\0\1\xba\0\0\1\xb3" + noise)
    (tmp_path / "op.dcm").write_bytes(bytes(128) + b"DICM" + b"1.2.840.10008.1.2.4.102\0")
    found = search_folder(tmp_path)
    assert {entry.path.name: entry.reason for entry in found.left_out} == {
        **{"rec.bin": "unknown", "rec.xyz": "unknown", "op.dcm": "dicom"}
    }


def test_no_program_looks_into_small_files_beside_a_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their first bytes tell what they are: a program for each of them would take minutes."""
    monkeypatch.setenv("PATH", str(tmp_path / "no-programs"))
    for number in range(1000):
        (tmp_path / f"{number}.json").write_text("{}")
        (tmp_path / f"{number}.foo").write_bytes(b"\0\1\2\3" * 10)
    (tmp_path / "op.mp4").touch()
    found = search_folder(tmp_path)
    assert (found.companions, len(found.left_out)) == ({".json": 1000}, 1000)


def test_linked_folders_are_searched_once(tmp_path: Path) -> None:
    videos, elsewhere = tmp_path / "videos", tmp_path / "elsewhere"
    for path in (videos / "a" / "1.mp4", elsewhere / "2.mp4"):
        path.parent.mkdir(parents=True)
        path.touch()
    (videos / "link").symlink_to(elsewhere)
    (videos / "z-again").symlink_to(elsewhere)
    (videos / "a" / "loop").symlink_to(videos)
    found = search_folder(videos)
    assert sorted(path.name for path in found.paths) == ["1.mp4", "2.mp4"]
    assert {left_out.path.name for left_out in found.left_out} >= {"loop"}
    assert {left_out.reason for left_out in found.left_out} == {"duplicate"}
    assert len(found.left_out) == 2


def test_a_folder_that_cannot_be_opened_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("good/op.mp4", "locked/op.mp4"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    lock_folder(tmp_path / "locked", monkeypatch)
    found = search_folder(tmp_path)
    (locked,) = found.left_out
    assert [path.name for path in found.paths] == ["op.mp4"]
    assert (locked.path.name, locked.reason) == ("locked", "unreadable")
    assert locked.detail == "the folder cannot be opened: Permission denied"


def test_dangling_links_and_link_loops_are_told(tmp_path: Path) -> None:
    (tmp_path / "good.mp4").touch()
    (tmp_path / "absent.mp4").symlink_to(tmp_path / "annex" / "x")
    (tmp_path / "case07").symlink_to(tmp_path / "unmounted")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    found = search_folder(tmp_path)
    assert [path.name for path in found.paths] == ["absent.mp4", "good.mp4"]
    assert {(left_out.path.name, left_out.reason) for left_out in found.left_out} == {
        ("case07", "missing"),
        ("circle", "unreadable"),
    }


def test_hidden_files_are_counted_and_pipes_do_not_hang(tmp_path: Path) -> None:
    for name in ("good.mp4", ".trash/x.mp4", "._good.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "pipe")
    found = search_folder(tmp_path)
    (pipe,) = found.left_out
    assert (len(found.paths), found.hidden) == (1, 2)
    assert (pipe.path.name, pipe.detail) == ("pipe", "the path is not a regular file")
    assert list(found.counts()) == ["2 hidden files and folders are not searched"]


def test_a_folder_without_videos_says_what_was_left_out(tmp_path: Path) -> None:
    (tmp_path / "case07").symlink_to(tmp_path / "unmounted")
    with pytest.raises(ManifestError, match=r"left out: .*case07: the link leads to nothing"):
        search_folder(tmp_path)


def test_names_that_are_not_utf8_have_different_printable_names() -> None:
    raw = [b"a\xff.mp4", b"a\\xff.mp4", b"a\xfe.mp4", "\u00fc.mp4".encode(), b"a/b.mp4"]
    printed = [printable_name(Path(os.fsdecode(name))) for name in raw]
    assert len(set(printed)) == len(raw)
    assert printed[0] == "a\\xff.mp4"
    assert printed[3:] == ["\u00fc.mp4", "a/b.mp4"]
    "".join(printed).encode("utf-8")
