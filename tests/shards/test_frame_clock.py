"""The clock of a clip is read from its tables, and only if all frames are evenly spaced."""

from pathlib import Path

import numpy as np
import pytest

from surgrec.shards.frame_clock import FrameClock, read_frame_clock
from tests.support.videos import make_video


@pytest.fixture(scope="module")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("clock") / "clip.mp4"
    return make_video(path, seconds=2, rate=8, arguments=["-bf", "0"]).read_bytes()


def test_a_clip_of_a_constant_rate_has_a_clock(mp4: bytes) -> None:
    clock = read_frame_clock(mp4, 16)
    assert clock == FrameClock(timescale=16_384, ticks=2048)
    assert clock.rate == 8
    assert clock.starts(4).tolist() == [0, 0.125, 0.25, 0.375]
    assert read_frame_clock(mp4 + b"\0\0\0\x08free", 16) == clock
    assert read_frame_clock(mp4, 15) is None


@pytest.mark.parametrize("name", [b"mdat", b"stbl"])
def test_a_box_without_a_size_gives_none(mp4: bytes, name: bytes) -> None:
    place = mp4.index(name) - 4
    assert read_frame_clock(mp4[:place] + bytes(4) + mp4[place + 4 :], 16) is None
    assert read_frame_clock(mp4 + bytes(4) + b"free", 16) is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["-bf", "2"],
        ["-bf", "0", "-vf", "setpts=N*N/8/TB"],
        ["-bf", "0", "-output_ts_offset", "0.5"],
        ["-bf", "0", "-movflags", "frag_keyframe+empty_moov"],
        ["-bf", "0", "-f", "matroska"],
    ],
    ids=["b-frames", "uneven", "late", "fragments", "another container"],
)
def test_other_files_have_none(arguments: list[str], tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mp4", seconds=2, rate=8, arguments=arguments)
    assert read_frame_clock(path.read_bytes(), 16) is None


def test_two_tracks_have_none(tmp_path: Path) -> None:
    sine = ["-f", "lavfi", "-t", "2", "-i", "sine"]
    path = make_video(tmp_path / "two.mp4", seconds=2, rate=8, inputs=sine, arguments=["-bf", "0"])
    assert read_frame_clock(path.read_bytes(), 16) is None


@pytest.mark.parametrize(
    "data",
    [b"", b"text of no file", bytes(100), (8).to_bytes(4, "big") + b"moov"],
    ids=["empty", "text", "zeros", "no tables"],
)
def test_bytes_that_are_no_clip_have_none(data: bytes) -> None:
    assert read_frame_clock(data, 16) is None


def test_containers_in_containers_end() -> None:
    data = b""
    for _ in range(5000):
        data = (len(data) + 8).to_bytes(4, "big") + b"moov" + data
    assert read_frame_clock(data, 16) is None


def test_a_cut_or_changed_file_has_its_clock_or_none(mp4: bytes) -> None:
    chance = np.random.default_rng(0)
    place = mp4.index(b"moov")
    for end in range(place, len(mp4)):
        assert read_frame_clock(mp4[:end], 16) is None
    for _ in range(300):
        changed = bytearray(mp4)
        changed[int(chance.integers(place, len(mp4)))] ^= 1 << int(chance.integers(8))
        found = read_frame_clock(bytes(changed), 16)
        assert found is None or found.timescale > 0
