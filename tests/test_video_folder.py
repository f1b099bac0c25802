"""A search of a folder finds every video and tells what it could not search."""

import os
from pathlib import Path

import pytest

from surgrec.errors import ManifestError
from surgrec.video_folder import printable_name, search_folder
from tests.support.videos import make_video

SUFFIXES = (
    "mp4 m4v mov qt f4v 3gp 3g2 avi divx mkv webm wmv asf mpg mpeg mpe m1v m2v mod tod vob ts mts "
    "m2t m2ts mxf flv ogv dv gxf nut h264 264 hevc rmvb MOD Dv"
)


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in search_folder(folder).paths]


@pytest.mark.parametrize("suffix", SUFFIXES.split())
def test_suffixes_of_recorders_are_known(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a.{suffix}").touch()
    assert names(tmp_path) == [f"a.{suffix}"]


CONTAINERS = (
    *("mp4", "mov", "avi", "matroska", "asf", "mpeg", "mpegts", "flv", "nut", "ogg", "mpeg2video"),
    *("h264", "hevc", "mxf", "webm"),
)
CODECS = {"ogg": "libtheora", "mxf": "mpeg2video", "webm": "libvpx", "hevc": "libx265"}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("name", ["VIDEO", "op.final", "part.001"])
def test_a_video_without_a_known_suffix_is_found_by_its_content(
    tmp_path: Path, container: str, name: str
) -> None:
    codec = CODECS.get(container)
    make_video(
        tmp_path / name,
        seconds=0.4,
        rate=25,
        arguments=("-f", container, *(("-c:v", codec) if codec else ())),
    )
    (tmp_path / "notes").write_text("GGGG no video")
    (tmp_path / "table.csv").write_text("path,source")
    (tmp_path / "sound.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    (tmp_path / "picture.heif").write_bytes(b"\0\0\0\x20ftypheic")
    (tmp_path / "picture").write_bytes(b"\0\0\0\x20ftypavif")
    assert names(tmp_path) == [name]
    assert not search_folder(tmp_path).left_out


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
    assert (len(found.paths), found.hidden, found.left_out) == (1, 2, [])


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
