import io
import os
import tarfile
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

import surgrec.archives
from surgrec.archives import Archive, ArchiveError, open_member, read_archive, read_file
from surgrec.errors import ManifestError
from surgrec.file_globs import select_files
from surgrec.regular_files import FileIdentity
from surgrec.video_folder import FoundVideos, files_below, search_folder

LONG = "x" * 180 + ".mp4"
MP4 = b"\0\0\0\x18ftypisom" + bytes(700)
"""Begins like a video."""


def tar_bytes(names: Sequence[str], format: int = tarfile.PAX_FORMAT, data: bytes = MP4) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


def zip_bytes(names: Sequence[str], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name in names:
            archive.writestr(name, MP4)
    return file.getvalue()


def searched(folder: Path, name: str, data: bytes) -> FoundVideos:
    """Return what a search finds beside `a.mp4` in an archive of these bytes."""
    (folder / "a.mp4").write_bytes(MP4)
    (folder / name).write_bytes(data)
    found = search_folder(folder)
    assert found.paths.pop(0) == folder / "a.mp4"
    return found


def told(found: FoundVideos) -> str:
    """Return the only sentence about what was left out."""
    (entry,) = found.left_out
    assert entry.reason == "archive"
    return entry.detail


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_files_of_a_tar_archive_are_found_and_read(tmp_path: Path, format: int) -> None:
    names = ["notes.txt", "./day/op1.MP4", "clip", ".hidden/b.mp4"]
    names += [LONG] if format != tarfile.USTAR_FORMAT else ["d" * 90 + "/" + "e" * 90 + ".mp4"]
    found = searched(tmp_path, "t.tar", tar_bytes(names, format))
    inside = [path.relative_to(tmp_path / "t.tar").as_posix() for path in found.paths]
    assert inside == sorted(["day/op1.MP4", "clip", "notes.txt", names[-1]])
    assert found.hidden == 1
    assert not found.left_out
    assert {read_file(path, 1 << 20)[0] for path in found.paths} == {MP4}


@pytest.mark.parametrize("is_zip64", [False, True])
def test_stored_files_of_a_zip_archive_are_read_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_zip64: bool
) -> None:
    if is_zip64:
        monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 0)
        monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 0)
    data = zip_bytes(["day/op.mp4", "b.mp4", "c.mp4"])
    assert (b"PK\x06\x06" in data) is is_zip64
    for prefix in (b"", b"#!/bin/sh\n" * 9):  # an archive that extracts itself begins so
        found = searched(tmp_path, "z.zip", prefix + data)
        names = [path.relative_to(tmp_path / "z.zip").as_posix() for path in found.paths]
        assert names == ["b.mp4", "c.mp4", "day/op.mp4"]
        for path in found.paths:
            opened = open_member(path)
            assert opened is not None
            descriptor, start, end = opened
            assert os.pread(descriptor, end - start, start) == MP4
            os.close(descriptor)


def test_a_compressed_video_is_told_and_compressed_text_counted(tmp_path: Path) -> None:
    path = tmp_path / "z.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (("op.mp4", MP4), ("clip", MP4), ("a.txt", b"a"), ("README", b"text")):
            archive.writestr(name, data)
        archive.writestr("b.mkv", MP4, zipfile.ZIP_LZMA)
    found = searched(tmp_path, "z.zip", path.read_bytes())
    assert [each.path.name for each in found.left_out] == ["b.mkv", "clip", "op.mp4"]
    assert all("zip -0" in each.detail for each in found.left_out)
    assert sum(found.companions.values()) == 2
    assert read_file(path / "clip", 5)[0] == MP4[:5]
    with pytest.raises(ArchiveError, match="method 8"):
        open_member(path / "op.mp4")


def test_an_archive_in_an_archive_and_a_compressed_one_are_told(tmp_path: Path) -> None:
    found = searched(tmp_path, "t.tar", tar_bytes(["in.zip", "in.tgz"], data=zip_bytes(["b.mp4"])))
    assert [each.path.name for each in found.left_out] == ["in.tgz", "in.zip"]
    assert {each.detail for each in found.left_out} == {
        "an archive in an archive; extract it, or leave it out with --exclude"
    }
    for name in ("a.tar.gz", "b.mp4.gz", "c.nii.gz", "d.7z"):
        (tmp_path / name).write_bytes(b"\x1f\x8b compressed \0")
    found = search_folder(tmp_path)
    assert {"a.tar.gz", "b.mp4.gz", "d.7z"} <= {each.path.name for each in found.left_out}
    assert found.companions == {".gz": 1}


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_lead_out_of_an_archive_are_told(tmp_path: Path, kind: str) -> None:
    names = ["../up.mp4", "/root.mp4", "a/../../b.mp4", "good.mp4"]
    data = zip_bytes(names) if kind == "zip" else tar_bytes(names)
    found = searched(tmp_path, f"x.{kind}", data)
    assert [path.name for path in found.paths] == ["good.mp4"]
    assert told(found).startswith("an archive with 3 names that lead out of it (the first, ../up")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_of_two_files_with_one_name_none_is_chosen(tmp_path: Path, kind: str) -> None:
    names = ["op.mp4", "./op.mp4", "good.mp4"]
    data = zip_bytes(names) if kind == "zip" else tar_bytes(names)
    found = searched(tmp_path, f"x.{kind}", data)
    assert [path.name for path in found.paths] == ["good.mp4"]
    assert told(found).startswith("several files of its archive have this name")


def test_a_damaged_tar_archive_loses_only_what_lies_behind(tmp_path: Path) -> None:
    whole = tar_bytes(["b.mp4", "c.mp4", "d.mp4"], tarfile.USTAR_FORMAT)
    found = searched(tmp_path, "x.tar", whole[:1000])  # within the first file
    assert [path.name for path in found.paths] == []
    assert {each.path.name for each in found.left_out} == {"b.mp4", "x.tar"}
    assert "its end is missing" in found.left_out[0].detail

    found = searched(tmp_path, "x.tar", whole[:1536] + b"\xff" * 512 + whole[2048:])
    assert [path.name for path in found.paths] == ["b.mp4"]
    assert "its header at byte 1536 is damaged" in told(found)


def test_a_zip_archive_without_its_end_is_told(tmp_path: Path) -> None:
    whole = zip_bytes(["b.mp4"])
    for data in (whole[:400], whole[:-30] + b"\xff" * 30, b"", b"PK\x05\x06" + b"\xff" * 18):
        found = searched(tmp_path, "x.zip", data)
        assert not found.paths
        assert told(found).startswith("a damaged archive ("), data[:20]


def test_joined_tar_archives_are_read_to_the_end(tmp_path: Path) -> None:
    data = tar_bytes(["b.mp4"]) + bytes(3 << 20) + tar_bytes(["c.mp4"])
    found = searched(tmp_path, "x.tar", data)
    assert [path.name for path in found.paths] == ["b.mp4", "c.mp4"]
    assert "64 MiB of zeros" in told(searched(tmp_path, "x.tar", data + bytes(65 << 20) + b"a"))


def test_links_and_holes_in_a_tar_archive_are_told(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        for kind, name in ((tarfile.SYMTYPE, "link.mp4"), (tarfile.LNKTYPE, "hard.mp4")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname, link.size = kind, "../../etc/passwd", 0
            tar.addfile(link)
        sparse = tarfile.TarInfo("holes.mp4")
        sparse.size, sparse.pax_headers = len(MP4), {"GNU.sparse.major": "1"}
        tar.addfile(sparse, io.BytesIO(MP4))
        good = tarfile.TarInfo("good.mp4")
        good.size, good.pax_headers = 0, {"size": str(len(MP4))}  # as of more than 8 GiB
        tar.addfile(good)
        assert tar.fileobj is not None
        tar.fileobj.write(MP4.ljust(1024, b"\0"))
    found = searched(tmp_path, "x.tar", path.read_bytes())
    assert [each.name for each in found.paths] == ["good.mp4"]
    assert read_archive(path).members["good.mp4"].stored == len(MP4)
    details = {each.path.name: each.detail for each in found.left_out}
    assert details["link.mp4"].startswith("a link in its archive, to ../../etc/passwd")
    assert details["hard.mp4"].startswith("a link in its archive")
    assert details["holes.mp4"].startswith("stored with holes")


def test_overlapping_files_of_a_zip_archive_are_refused(tmp_path: Path) -> None:
    data = bytearray(zip_bytes(["b.mp4", "c.mp4"]))
    second = data.rindex(b"PK\x01\x02")
    data[second + 42 : second + 46] = (40).to_bytes(4, "little")  # its header, in the first file
    assert "overlap at byte 0" in told(searched(tmp_path, "x.zip", bytes(data)))

    # The header beside the bytes says that they begin later.
    data = bytearray(zip_bytes(["b.mp4", "c.mp4"]))
    data[28:30] = (9).to_bytes(2, "little")
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(ArchiveError, match="overlaps with another file"):
        open_member(tmp_path / "x.zip" / "b.mp4")


def test_an_encrypted_file_and_two_sizes_are_told(tmp_path: Path) -> None:
    data = bytearray(zip_bytes(["b.mp4"]))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    assert told(searched(tmp_path, "x.zip", bytes(data))).startswith("encrypted in its archive")
    data = bytearray(zip_bytes(["b.mp4"]))
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = (1 << 30).to_bytes(4, "little")
    assert "two sizes" in told(searched(tmp_path, "x.zip", bytes(data)))


def test_a_member_that_is_missing_is_told_with_its_archive(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(tar_bytes(["b.mp4"]))
    with pytest.raises(ArchiveError, match="has no file of this name"):
        open_member(tmp_path / "x.tar" / "c.mp4")
    assert open_member(tmp_path / "x.tar") is None
    folder = tmp_path / "folder.tar"  # a folder may be called so
    folder.mkdir()
    assert open_member(folder / "b.mp4") is None


def test_a_folder_of_labels_in_an_archive_has_no_video(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(zip_bytes([]))
    with pytest.raises(ManifestError, match="contain no video file"):
        search_folder(tmp_path)


def test_globs_choose_among_the_files_of_an_archive(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(tar_bytes(["b.mp4", "day/c.mp4", "d.avi"]))
    (tmp_path / "huge.tar").write_bytes(b"not opened")
    files = select_files(files_below(tmp_path), ["*.mp4", "huge.tar"], ["day", "huge.tar"])
    assert files.paths == [tmp_path / "x.tar" / "b.mp4"]
    assert not files.left_out
    assert select_files(files_below(tmp_path / "x.tar"), ["*.avi"]).paths == [
        tmp_path / "x.tar" / "d.avi"
    ]


@pytest.mark.parametrize(("limit", "readings"), [(100, 20), (20, 60)])
def test_each_of_many_archives_is_listed_once_within_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, readings: int
) -> None:
    archives = [tmp_path / f"{number}.zip" for number in range(20)]
    for archive in archives:
        archive.write_bytes(zip_bytes(["1.jpg", "2.jpg", "3.jpg"]))
    listed = Counter[Path]()

    def listing(path: Path, identity: FileIdentity) -> Archive:
        listed[path] += 1
        return list_archive(path, identity)

    list_archive = surgrec.archives._read_archive
    monkeypatch.setattr(surgrec.archives, "_read_archive", listing)
    monkeypatch.setattr(surgrec.archives, "_KEPT_MEMBERS", limit)
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        for archive in archives:
            assert read_file(archive / name, 1 << 20)[0] == MP4
    assert listed.total() == readings
