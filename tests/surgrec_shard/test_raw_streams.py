"""Damaged recordings without an index: what a build loses of them is told with its place."""

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from surgrec.recordings import Recording, inspect
from tests.support.clocks import MPEG2, X264, record_clock
from tests.support.tool import QUICK, build_folder, read_report, run_here

PAL = ("-s", "720x576", "-r", "25")
FORMATS = {
    ".h264": X264,
    ".hevc": ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=0:keyint=25"),
    ".m2v": MPEG2,
    ".nut": X264,
    ".dv": ("-c:v", "dvvideo", *PAL),
    ".gxf": ("-c:v", "mpeg2video", "-g", "12", *PAL),
}
QUICKEST = (".h264",)
DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "noise": lambda data, numbers: numbers.randbytes(len(data)),
    "zeros": lambda data, numbers: bytes(len(data)),
}
PLACE = re.compile(r"near \d|\d to \d|at about \d|missing at the end|the last .* cannot be read")


@pytest.mark.parametrize(
    "suffix",
    [
        suffix if suffix in QUICKEST else pytest.param(suffix, marks=pytest.mark.slow)
        for suffix in FORMATS
    ],
)
def test_what_a_damaged_raw_recording_loses_has_a_place_in_the_report(
    suffix: str, tmp_path: Path
) -> None:
    arguments = FORMATS[suffix]
    whole = record_clock(tmp_path / f"whole{suffix}", seconds=9, arguments=arguments).read_bytes()
    videos, third = tmp_path / "videos", len(whole) // 3
    videos.mkdir()
    for kind, damage in DAMAGES.items():
        for place, start in (("middle", third), ("end", 2 * third)):
            damaged = damage(whole[start : start + third], random.Random(suffix))
            path = videos / f"{kind}-{place}{suffix}"
            path.write_bytes(whole[:start] + damaged + whole[start + third :])
    (videos / f"whole{suffix}").write_bytes(whole)

    built = run_here(*build_folder(videos), *QUICK, "--out", tmp_path / "corpus")
    assert built.returncode in (0, 3), built.stderr
    report = read_report(tmp_path / "corpus.private")
    assert not PLACE.search(report.pop(f"whole{suffix}")["notes"])
    silent = {
        name: row["notes"] or row["detail"]
        for name, row in report.items()
        if not PLACE.search(row["notes"]) and row["status"] == "packed"
    }
    assert not silent


def removed_notes(path: Path) -> str:
    with Recording(path) as recording:
        return "; ".join(inspect(recording).notes)


@pytest.mark.parametrize("gop", [25, 250])
@pytest.mark.parametrize("suffix", [".h264", ".hevc"])
def test_bytes_removed_from_a_raw_stream_have_a_place(
    suffix: str, gop: int, tmp_path: Path
) -> None:
    x265 = ("-c:v", "libx265", "-preset", "ultrafast")
    codec = {
        ".h264": ("-c:v", "libx264", "-preset", "ultrafast", "-g", str(gop)),
        ".hevc": (*x265, "-x265-params", f"log-level=0:keyint={gop}"),
    }[suffix]
    noise = ",noise=alls=6:allf=t"
    path = record_clock(
        tmp_path / f"a{suffix}", seconds=12, size="64x64", filters=noise, arguments=codec
    )
    assert not removed_notes(path)
    whole = path.read_bytes()
    for share in (0.21, 0.38, 0.57):
        start = int(share * len(whole))
        path.write_bytes(whole[:start] + whole[start + int(0.17 * len(whole)) :])
        found = re.findall(r"near (\d+)", removed_notes(path))
        assert found, share
        assert abs(int(found[0]) - 12 * share) < 1.6
