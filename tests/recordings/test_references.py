"""A movie whose pictures are in another file is refused, whatever its reference looks like."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from surgrec.recordings import BadVideoError, Recording, _references, inspect
from surgrec.recordings._references import refers_to_other_files
from tests.support.tool import QUICK, build_folder, read_report, run_here
from tests.support.videos import make_video

_PATH = (b"moov", b"trak", b"mdia", b"minf", b"dinf")


def box(kind: bytes, body: bytes, *, large: bool = False) -> bytes:
    if large:
        return struct.pack(">I4sQ", 1, kind, len(body) + 16) + body
    return struct.pack(">I4s", len(body) + 8, kind) + body


def reference(kind: bytes, body: bytes, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", flags) + body)


def with_references(movie: bytes, entries: list[bytes]) -> bytes:
    """Return a movie whose tracks have other data references. Its index must be at the end."""
    out, offset = b"", 0
    while offset < len(movie):
        size, kind = struct.unpack(">I4s", movie[offset : offset + 8])
        body = movie[offset + 8 : offset + size]
        if kind in _PATH:
            body = with_references(body, entries)
        if kind == b"dref":
            body = body[:4] + struct.pack(">I", len(entries)) + b"".join(entries)
        out += box(kind, body)
        offset += size
    return out


def alias(path: str) -> bytes:
    """Return an alias record of QuickTime, in the form that ffmpeg reads."""
    name = path.rpartition("/")[2].encode()
    record = struct.pack(">4sHHH", b"\0" * 4, 0, 2, 0) + bytes([4]) + b"disk".ljust(27, b"\0")
    record += b"\0" * 4 + b"H+" + b"\0" * 6 + bytes([len(name)]) + name.ljust(63, b"\0")
    record += b"\0" * 16 + struct.pack(">HH", 1, 1) + b"\0" * 16
    data = path.encode()
    return (
        record + struct.pack(">hH", 2, len(data)) + data + b"\0" * (len(data) % 2) + b"\xff\xff\0\0"
    )


EXTERNAL: dict[str, Callable[[str], list[bytes]]] = {
    "url": lambda path: [reference(b"url ", f"file://{path}\0".encode())],
    "relative url": lambda path: [reference(b"url ", b"other.mov\0")],
    "web address": lambda path: [reference(b"url ", b"https://example.org/other.mov\0")],
    "urn": lambda path: [reference(b"urn ", b"name\0other.mov\0")],
    "alias": lambda path: [reference(b"alis", alias(path))],
    "resource": lambda path: [reference(b"rsrc", alias(path))],
    "second entry": lambda path: [
        reference(b"url ", b"", flags=1),
        reference(b"url ", f"file://{path}\0".encode()),
    ],
}


def compressed(movie: bytes) -> bytes:
    """Return a movie box in the compressed form of old QuickTime files."""
    data = struct.pack(">I", len(movie)) + zlib.compress(movie)
    return box(b"moov", box(b"cmov", box(b"dcom", b"zlib") + box(b"cmvd", data)))


def nested(movie: bytes) -> bytes:
    """Return a movie box whose tracks lie behind it."""
    at = movie.index(b"trak") - 4
    return box(b"moov", movie[8:at]) + movie[at:]


PLACES: dict[str, Callable[[bytes], bytes]] = {
    "compressed": compressed,
    "compressed in a free box": lambda movie: compressed(movie).replace(b"moov", b"free", 1),
    "in a free box": lambda movie: movie.replace(b"moov", b"free", 1),
    "in user data": lambda movie: box(b"udta", movie),
    "behind a kind that is not ASCII": lambda movie: box(b"\xa9abc", b"x") + movie,
    "behind many boxes": lambda movie: box(b"free", b"") * 10_001 + movie,
    "before a box that is too small": lambda movie: movie + struct.pack(">I4s", 3, b"abcd"),
    "with a size beyond the file": lambda movie: struct.pack(">I", len(movie) + 9) + movie[4:],
    "with a size beyond any file": lambda movie: (
        struct.pack(">I4sQ", 1, b"moov", (1 << 63) - 1) + movie[8:]
    ),
    "with tracks behind it": nested,
}
INTERNAL = {
    "url": [reference(b"url ", b"", flags=1)],
    "alias": [reference(b"alis", b"", flags=1)],
    "empty url without the flag": [reference(b"url ", b"\0")],
}


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("movie")
    return make_video(folder / "a.mov", seconds=2, arguments=("-c:v", "mpeg4")).read_bytes()


@pytest.mark.parametrize("kind", EXTERNAL)
def test_a_movie_with_its_pictures_in_another_file_is_refused(
    tmp_path: Path, movie: bytes, kind: str
) -> None:
    (tmp_path / "other.mov").write_bytes(movie)
    path = tmp_path / "a.mov"
    path.write_bytes(with_references(movie, EXTERNAL[kind](str(tmp_path / "other.mov"))))
    with Recording(path) as recording, pytest.raises(BadVideoError) as caught:
        inspect(recording)
    assert caught.value.reason == "external_data"
    assert "other.mov" not in str(caught.value)


@pytest.mark.parametrize("place", PLACES)
def test_a_reference_is_found_wherever_ffmpeg_reads_it(
    tmp_path: Path, movie: bytes, place: str
) -> None:
    path = tmp_path / "a.mov"
    for is_external, references in ((True, EXTERNAL["alias"]("/x/other.mov")), (False, None)):
        data = movie if references is None else with_references(movie, references)
        start = data.index(b"moov") - 4
        path.write_bytes(data[:start] + PLACES[place](data[start:]))
        with Recording(path) as recording:
            if is_external:
                with pytest.raises(BadVideoError) as caught:
                    inspect(recording)
                assert caught.value.reason == "external_data"
            else:
                assert inspect(recording).width == 96, "ffmpeg reads the file"


def test_a_movie_box_behind_too_many_boxes_is_refused(
    tmp_path: Path, movie: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_references, "_MOST_BOXES", 1000)
    path = tmp_path / "a.mov"
    start = movie.index(b"moov") - 4
    path.write_bytes(movie[:start] + box(b"free", b"") * 1000 + movie[start:])
    with Recording(path) as recording, pytest.raises(BadVideoError) as caught:
        inspect(recording)
    assert caught.value.reason == "external_data"
    assert "its index is not found within the first boxes" in str(caught.value)


def searched(path: Path) -> bool | None:
    with Recording(path) as recording:
        return refers_to_other_files(recording.read, recording.size)


def test_a_movie_of_many_fragments_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fragments = ("-c:v", "mpeg4", "-g", "1", "-movflags", "frag_keyframe+empty_moov")
    path = make_video(tmp_path / "a.mp4", seconds=20, arguments=fragments)
    for most in range(100, 110):
        monkeypatch.setattr(_references, "_MOST_BOXES", most)
        assert searched(path) is False


def test_a_compressed_movie_box_is_inflated_up_to_a_limit(tmp_path: Path, movie: bytes) -> None:
    path = tmp_path / "a.mov"
    start = movie.index(b"moov") - 4
    for is_bomb, padding in ((False, b""), (True, box(b"free", bytes(1 << 28)))):
        path.write_bytes(movie[:start] + compressed(padding + movie[start:]))
        assert searched(path) is (None if is_bomb else False)


@pytest.mark.parametrize("kind", INTERNAL)
def test_a_movie_with_its_own_pictures_is_read(tmp_path: Path, movie: bytes, kind: str) -> None:
    path = tmp_path / "a.mov"
    path.write_bytes(with_references(movie, INTERNAL[kind]))
    with Recording(path) as recording:
        assert inspect(recording).width == 96


def test_damaged_boxes_end_the_search(tmp_path: Path, movie: bytes) -> None:
    path = tmp_path / "a.mov"
    for data in (
        *(b"\0", b"\0" * 5000, b"\xff" * 5000, box(b"moov", b"\0" * 99)),
        box(b"free", b"") * 20_000,
        struct.pack(">I4sQ", 1, b"moov", 1 << 63),
        struct.pack(">I4sQ", 1, b"free", (1 << 64) - 1) + b"\1" * 50,
        struct.pack(">I4s", 0, b"moov") + b"\1" * 50,
        box(b"moov", box(b"trak", box(b"mdia", box(b"minf", box(b"dinf", box(b"dref", b"")))))),
    ):
        path.write_bytes(data)
        assert not searched(path)

    external = with_references(movie, EXTERNAL["url"]("/x.mov"))
    start = external.index(b"moov") - 4
    large = external[:start] + box(b"moov", external[start + 8 :], large=True)
    path.write_bytes(large)
    assert searched(path)


def test_a_build_names_such_a_movie_and_opens_no_other_file(tmp_path: Path, movie: bytes) -> None:
    other = tmp_path / "other.mov"
    other.write_bytes(movie)
    videos = tmp_path / "videos"
    make_video(videos / "good.mp4", seconds=2)
    before = other.stat().st_atime_ns
    for name, entries in EXTERNAL.items():
        (videos / f"{name}.mov").write_bytes(with_references(movie, entries(str(other))))
    built = run_here(*build_folder(videos), *QUICK, "--out", tmp_path / "corpus")
    assert built.returncode == 3
    statuses = {
        name: row["status"] for name, row in read_report(tmp_path / "corpus.private").items()
    }
    assert statuses.pop("good.mp4") == "packed"
    assert set(statuses.values()) == {"external_data"}
    assert os.stat(other).st_atime_ns == before


@pytest.mark.parametrize("size", [(1 << 63) - 1, (1 << 64) - 1])
def test_a_box_that_ends_beyond_any_file_refers_to_nothing(size: int, tmp_path: Path) -> None:
    """The first bytes of a raw HEVC stream look like such a box."""
    path = tmp_path / "raw.hevc"
    path.write_bytes(struct.pack(">I4sQ", 1, b"\x40\x01\x0c\x01", size) + bytes(100))
    assert not searched(path)
