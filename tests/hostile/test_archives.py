"""Hostile archives beside a good video, which must always be packed.

Each video of an archive is stored, or named with its reason.
"""

import functools
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from tests.hostile.harness import Kind, Run, try_kind
from tests.hostile.test_recordings import clock
from tests.support.tool import QUICK, build_folder, read_report

DIRECTORY, HEADER = b"PK\x01\x02", b"PK\x03\x04"


@functools.cache
def video(rate: int = 25) -> bytes:
    return clock(".mp4", rate=rate)


def zipped(
    files: Mapping[str, bytes], method: int = zipfile.ZIP_STORED, comment: bytes = b""
) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.comment = comment
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(files: Mapping[str, bytes], kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.type, member.linkname = len(data), kind, link
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def patched(data: bytes, mark: bytes, offset: int, new: bytes, last: bool = False) -> bytes:
    """Return bytes that are changed at a distance from a mark."""
    at = (data.rindex(mark) if last else data.index(mark)) + offset
    return data[:at] + new + data[at + len(new) :]


def hostile(
    name: str,
    suffix: str,
    data: Callable[[], bytes],
    expected: Mapping[str, str],
) -> Kind:
    """Return the kind of a hostile archive.

    Args:
        name: Its claim.
        suffix: Suffix of the archive.
        data: Makes its bytes.
        expected: For each name in the report, words of the reason; empty: it is packed.
    """

    def make(folder: Path) -> list[object]:
        videos = folder / "videos"
        videos.mkdir()
        (videos / "good.mp4").write_bytes(clock(".mp4", rate=20))
        (videos / f"hostile{suffix}").write_bytes(data())
        out = ("--out", folder / "corpus", "--workers", "1")
        return ["surgrec-shard", *build_folder(videos), *out, *QUICK]

    def right(folder: Path, run: Run) -> None:
        report = read_report(folder / "corpus.private")
        assert set(report) == {"good.mp4", *expected}
        for name, words in {"good.mp4": "", **expected}.items():
            assert (report[name]["status"] == "packed") is not words, report[name]
            assert words in report[name]["detail"], report[name]
        assert run.status == (3 if any(expected.values()) else 0)
        clips = parquet.read_table(folder / "corpus" / "lap" / "index.parquet").to_pylist()
        assert len({clip["video"] for clip in clips}) == 1 + list(expected.values()).count("")
        assert not list(folder.parent.glob("*.mp4")), "a file lies outside"

    return Kind(name=name, make=make, right=right)


def directory_of_many() -> bytes:
    """Return an archive whose directory claims to be larger than the file."""
    return patched(zipped({"op.mp4": video()}), b"PK\x05\x06", 12, struct.pack("<I", 1 << 31))


def quine() -> bytes:
    """Return an archive with 3,000 files that are one and the same range."""
    one = zipped({"op.mp4": video()})
    at, end = one.index(DIRECTORY), one.index(b"PK\x05\x06")
    entry = one[at:end]
    many = b"".join(entry.replace(b"op.mp4", f"{n:06d}"[:6].encode()) for n in range(3000))
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 3000, 3000, len(many), at, 0)
    return one[:at] + many + tail


def endless_pax() -> bytes:
    """Return a tar archive whose extended header claims 2 GiB."""
    data = bytearray(tarred({"op.mp4": video()}, tarfile.XHDTYPE))
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 31
    return header.tobuf(tarfile.USTAR_FORMAT) + bytes(data)


def negative_size() -> bytes:
    header = bytearray(tarfile.TarInfo("op.mp4").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 12
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return bytes(header) + bytes(1024)


KINDS = [
    hostile(
        "a_stored_video_is_packed", ".zip", lambda: zipped({"op.mp4": video()}), {"op.mp4": ""}
    ),
    hostile(
        "a_video_in_a_tar_is_packed", ".tar", lambda: tarred({"op.mp4": video()}), {"op.mp4": ""}
    ),
    hostile(
        "a_compressed_video_is_told",
        ".zip",
        lambda: zipped({"op.mp4": video()}, zipfile.ZIP_DEFLATED),
        {"op.mp4": "zip -0"},
    ),
    hostile(
        "a_name_that_leads_out_is_told",
        ".zip",
        lambda: zipped({"../../up.mp4": video(), "op.mp4": video()}),
        {"op.mp4": "", "hostile.zip": "1 name that leads out"},
    ),
    hostile(
        "an_absolute_name_in_a_tar_is_told",
        ".tar",
        lambda: tarred({"/tmp/up.mp4": video(), "op.mp4": video()}),
        {"op.mp4": "", "hostile.tar": "/tmp/up.mp4"},
    ),
    hostile(
        "a_name_with_line_ends_and_colors_is_told",
        ".tar",
        lambda: tarred({"../\n\x1b[31mup.mp4": video()}),
        {"hostile.tar": "1 name that leads out"},
    ),
    hostile(
        "an_encrypted_video_is_told",
        ".zip",
        lambda: patched(zipped({"op.mp4": video()}), DIRECTORY, 8, b"\x01"),
        {"op.mp4": "encrypted"},
    ),
    hostile(
        "a_size_that_differs_in_the_directory_is_told",
        ".zip",
        lambda: patched(zipped({"op.mp4": video()}), DIRECTORY, 24, b"\1\0\0\0"),
        {"op.mp4": "two sizes"},
    ),
    hostile(
        "a_size_behind_the_end_of_a_zip_is_told",
        ".zip",
        lambda: patched(zipped({"op.mp4": video()}), DIRECTORY, 20, b"\0\0\0\x40" * 2),
        {"hostile.zip": "overlap"},
    ),
    hostile("many_files_that_are_one_range_are_told", ".zip", quine, {"hostile.zip": "overlap"}),
    hostile(
        "a_name_that_differs_beside_the_bytes_is_told",
        ".zip",
        lambda: patched(zipped({"op.mp4": video()}), HEADER, 30, b"xy"),
        {"op.mp4": "two names"},
    ),
    hostile(
        "a_lost_header_beside_the_bytes_is_told",
        ".zip",
        lambda: patched(zipped({"op.mp4": video()}), HEADER, 0, b"\0" * 4),
        {"op.mp4": "its header in the archive is damaged"},
    ),
    hostile("a_huge_directory_is_told", ".zip", directory_of_many, {"hostile.zip": "too large"}),
    hostile(
        "a_zip_without_its_end_is_told",
        ".zip",
        lambda: zipped({"op.mp4": video()})[:-40],
        {"hostile.zip": "its directory is missing"},
    ),
    hostile(
        "a_comment_with_the_mark_of_an_end_is_told_or_packed",
        ".zip",
        lambda: zipped({"op.mp4": video()}, comment=b"PK\x05\x06" + b"\xff" * 40),
        {"hostile.zip": "a damaged archive"},
    ),
    hostile(
        "a_zip_in_a_tar_is_told",
        ".tar",
        lambda: tarred({"in.zip": zipped({"op.mp4": video()})}),
        {"in.zip": "an archive in an archive"},
    ),
    hostile(
        "a_tar_that_ends_within_a_video_is_told",
        ".tar",
        lambda: tarred({"op.mp4": video()})[:5000],
        {"op.mp4": "its archive ends before it does", "hostile.tar": "its end is missing"},
    ),
    hostile(
        "damage_between_the_files_of_a_tar_is_told",
        ".tar",
        lambda: patched(
            tarred({"op.mp4": video(), "lost.mp4": video()}), b"lost.mp4", 100, b"9" * 30
        ),
        {"op.mp4": "", "hostile.tar": "is damaged"},
    ),
    hostile(
        "a_negative_size_in_a_tar_is_told",
        ".tar",
        negative_size,
        {"hostile.tar": "gives a wrong size"},
    ),
    hostile(
        "an_extended_header_of_2_GiB_is_told",
        ".tar",
        endless_pax,
        {"hostile.tar": "gives a wrong size"},
    ),
    hostile(
        "a_link_in_a_tar_to_a_file_outside_is_told",
        ".tar",
        lambda: tarred({"op.mp4": b""}, tarfile.SYMTYPE, "../good.mp4"),
        {"op.mp4": "a link in its archive, to ../good.mp4"},
    ),
    hostile(
        "a_hard_link_in_a_tar_is_told",
        ".tar",
        lambda: tarred({"op.mp4": b""}, tarfile.LNKTYPE, "/etc/passwd"),
        {"op.mp4": "a link in its archive, to /etc/passwd"},
    ),
    hostile(
        "a_device_in_a_tar_that_is_called_a_video_is_no_file",
        ".tar",
        lambda: tarred({"op.mp4": b""}, tarfile.CHRTYPE) + tarred({"b.mp4": video()}),
        {"b.mp4": ""},
    ),
    hostile(
        "a_playlist_in_a_tar_opens_no_other_file",
        ".tar",
        lambda: tarred({"op.mp4": b"#EXTM3U\n#EXTINF:9,\ngood.mp4\n#EXT-X-ENDLIST\n"}),
        {"op.mp4": "ffmpeg"},
    ),
    hostile(
        "an_empty_video_in_a_tar_is_told",
        ".tar",
        lambda: tarred({"op.mp4": b""}),
        {"op.mp4": "the file is empty"},
    ),
    hostile(
        "a_video_that_ends_early_does_not_read_its_neighbor",
        ".tar",
        lambda: tarred({"op.mp4": video()[:-3000], "other.mp4": video(24)}),
        {"op.mp4": "its index (moov) is not found", "other.mp4": ""},
    ),
]


@pytest.mark.slow
def test_a_hostile_archive_costs_nothing_beside_it(kind: Kind, tmp_path: Path) -> None:
    try_kind(kind, tmp_path)
