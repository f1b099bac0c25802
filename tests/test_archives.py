import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from surgrec.archives import archive_with
from surgrec.video_folder import VIDEO_SUFFIXES, search_folder

LONG = "x" * 180 + ".mp4"


def make_tar(path: Path, names: list[str], format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=format) as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 700
            tar.addfile(member, io.BytesIO(bytes(700)))
    return path


def make_zip(path: Path, names: list[str], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name in names:
            archive.writestr(name, bytes(700))
    return path


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_videos_in_a_tar_archive_are_told(tmp_path: Path, format: int) -> None:
    names = ["notes.txt", "day/op1.MP4", "day/op2.avi"]
    names += [LONG] if format != tarfile.USTAR_FORMAT else []
    told = archive_with(make_tar(tmp_path / "a.tar", names, format), VIDEO_SUFFIXES)
    assert told.startswith(f"an archive with {len(names) - 1} recordings (the first, day/op1.MP4)")
    assert "extract it first, or leave it out with --exclude" in told
    assert not archive_with(make_tar(tmp_path / "b.tar", ["a.txt"], format), VIDEO_SUFFIXES)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_videos_in_a_zip_archive_are_told(tmp_path: Path, compression: int) -> None:
    path = make_zip(tmp_path / "a.zip", ["a.txt", "day/", f"day/{LONG}"], compression)
    assert archive_with(path, VIDEO_SUFFIXES).startswith("an archive with 1 recording (the first, ")
    assert not archive_with(make_zip(tmp_path / "b.zip", ["a.txt"]), VIDEO_SUFFIXES)


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_a_damaged_archive_is_told(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    whole = (make_zip if name == "a.zip" else make_tar)(path, ["a.txt", "b.txt"]).read_bytes()
    for data in (whole[:1300], whole[:100] + b"\xfe" * 700, b"PK\x05\x06" + b"\xff" * 18):
        path.write_bytes(data if name == "a.zip" else data.ljust(512, b"z"))
        assert archive_with(path, VIDEO_SUFFIXES).startswith("a damaged archive ("), data[:20]


def test_a_search_lists_archives_that_may_hold_videos(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    make_tar(tmp_path / "videos.tar", ["a.mp4"])
    make_zip(tmp_path / "labels.zip", ["a.csv"])
    for name in ("a.tar.gz", "b.mp4.gz", "c.nii.gz", "d.7z"):
        (tmp_path / name).write_bytes(b"compressed")
    found = search_folder(tmp_path)
    assert [each.path.name for each in found.left_out] == [
        "a.tar.gz",
        "b.mp4.gz",
        "d.7z",
        "videos.tar",
    ]
    assert {each.reason for each in found.left_out} == {"archive"}
    assert found.companions == {".gz": 1, ".zip": 1}
