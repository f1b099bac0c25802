"""Interlacing is found by content, per stretch, and what is stored has no combs."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest

from surgrec.recordings import PictureReader, Recording, inspect
from tests.support.clocks import overwrite
from tests.support.tool import QUICK, build_folder, ffmpeg, read_report, run_here

SIZE = "80x208"
"""Fewer lines would be treated as flagged."""
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "18", "-g", "25")
MPEG2 = ("-c:v", "mpeg2video", "-q:v", "2", "-g", "12")
MPEG4 = ("-c:v", "mpeg4", "-q:v", "2")
FLAGS = ("-flags", "+ilme+ildct", "-top", "1")
COMBED = 2.0
"""Combing of pictures without combs is less, of those with combs far more."""
slow = pytest.mark.slow


def scene(rate: float = 50, speed: float = 4) -> str:
    """Return a source of smooth waves, that move by `speed` pixels per picture."""
    waves = f"128+100*sin((X+{speed}*N)/12)"
    stripes = f"color=size=80x4:rate={rate},geq=lum='{waves}':cb=128:cr=128"
    return f"{stripes},scale={SIZE}:flags=neighbor"


def progressive(rate: float = 25) -> str:
    return f"{scene(rate, 8)},setfield=prog"


def interlaced(first: str = "top", rate: float = 50, flag: str = "prog") -> str:
    return f"{scene(rate)},tinterlace=interleave_{first},setfield={flag}"


def record(path: Path, source: str, *arguments: object, seconds: float = 3) -> Path:
    encoded = ("-pix_fmt", "yuv420p", *(arguments or X264))
    ffmpeg("-f", "lavfi", "-t", seconds, "-i", source, *encoded, path)
    return path


def in_turn(path: Path, *sources: str, arguments: tuple[str, ...] = X264) -> Path:
    """Record sources of 5 s one after another in one file without flags."""
    inputs = [word for source in sources for word in ("-f", "lavfi", "-t", "5", "-i", source)]
    joined = f"concat=n={len(sources)},setfield=prog"
    ffmpeg(*inputs, "-filter_complex", joined, "-pix_fmt", "yuv420p", *arguments, path)
    return path


def combing_of(path: Path) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Return how much each line of a picture differs from the two around it, per picture."""
    found = []
    with Recording(path) as recording:
        facts = inspect(recording)
        size = facts.width, facts.height
        with PictureReader(recording, facts, size=size) as pictures:
            for picture in pictures:
                pixels = np.frombuffer(picture.data, np.uint8)[: size[0] * size[1]]
                lines = pixels.reshape(size[1], size[0]).astype(np.int16)
                found.append(np.abs(lines[:-2] + lines[2:] - 2 * lines[1:-1]).mean() / 2)
    return np.array(found)


def scans_of(path: Path) -> list[str]:
    """Return the scans that content decided, in order."""
    with Recording(path) as recording:
        return [stretch.scan for stretch in inspect(recording).parts[0].fields.stretches]


PATTERNS = {
    "testsrc2": "testsrc2=rate=25",
    "testsrc": "testsrc=rate=25",
    "smptebars": "smptebars=rate=25",
    "mandelbrot": "mandelbrot=rate=25:maxiter=100",
    "rgbtestsrc": "rgbtestsrc=rate=25",
    "lines": "color=rate=25,geq=lum='if(mod(Y+N,4),16,235)':cb=128:cr=128",
    "fine lines": "color=rate=25,geq=lum='if(mod(floor((X+3*N)/6),2)*mod(Y,2),16,235)':cb=128",
    "noise": "color=gray:rate=25,noise=alls=60:allf=t",
    "sharp edges": "testsrc=size=360x416:rate=25,crop=180:208:'mod(7*n,180)':'mod(4*n,208)'",
    "slow": "testsrc=size=360x288:rate=25,crop=180:144:'mod(2*floor(n/4),180)':100",
    "cells": "cellauto=rate=25",
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=slow if number > 1 else ()) for number, name in enumerate(PATTERNS)],
)
def test_progressive_patterns_are_not_deinterlaced(name: str, tmp_path: Path) -> None:
    assert not scans_of(record(tmp_path / "a.mp4", f"{PATTERNS[name]},scale={SIZE}"))


DV = ("-vf", "scale=720:576:interl=1", "-c:v", "dvvideo", *FLAGS[:2], "-top", "0")
UNFLAGGED = {
    "h264.mp4": (interlaced(), X264, "tff"),
    "dv.avi": (interlaced("bottom"), DV, None),
    "divx.avi": (interlaced("bottom"), MPEG4, "bff"),
    "divx_flagged.avi": (interlaced(flag="tff"), (*MPEG4, *FLAGS), None),
    "flagged_progressive.mkv": (interlaced(), (*X264, "-field_order", "progressive"), "tff"),
    "mpeg2.mpg": (interlaced("bottom", rate=59.94), MPEG2, "bff"),
    "mpeg2_flagged.ts": (interlaced(rate=59.94, flag="tff"), (*MPEG2, *FLAGS), None),
    "flagged_other_order.ts": (interlaced("bottom", flag="tff"), (*MPEG2, *FLAGS), "bff"),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=slow if number > 0 else ()) for number, n in enumerate(UNFLAGGED)],
)
def test_interlaced_pictures_are_stored_without_combs(name: str, tmp_path: Path) -> None:
    source, arguments, scan = UNFLAGGED[name]
    video = record(tmp_path / name, source, *arguments, seconds=2)
    if scan is not None or name != "dv.avi":  # DV has flags or none, by version of ffmpeg
        assert scans_of(video) == ([scan] if scan else [])
    assert combing_of(video).max() < COMBED


def test_progressive_pictures_keep_their_lines_although_flagged(tmp_path: Path) -> None:
    source = PATTERNS["sharp edges"]
    plain = record(tmp_path / "plain.ts", f"{source},setfield=prog", *MPEG2)
    flagged = record(tmp_path / "flagged.ts", f"{source},setfield=tff", *MPEG2, *FLAGS)
    assert scans_of(flagged) == ["progressive"]
    # A deinterlacer would blur the edges, which differ from the lines around them.
    assert combing_of(flagged).mean() == pytest.approx(combing_of(plain).mean(), rel=0.05)


@pytest.mark.parametrize(
    ("sources", "scans"),
    [
        ((progressive(), interlaced()), ["progressive", "tff"]),
        pytest.param((interlaced(), progressive()), ["tff", "progressive"], marks=slow),
        pytest.param(
            (interlaced("bottom"), interlaced(), progressive()),
            ["bff", "tff", "progressive"],
            marks=slow,
        ),
    ],
)
@pytest.mark.parametrize(
    ("suffix", "arguments"),
    [(".mkv", X264), pytest.param(".avi", MPEG4, marks=slow)],
)
def test_each_stretch_of_a_file_has_its_own_scan(
    sources: tuple[str, ...],
    scans: list[str],
    suffix: str,
    arguments: tuple[str, ...],
    tmp_path: Path,
) -> None:
    video = in_turn(tmp_path / f"mixed{suffix}", *sources, arguments=arguments)
    assert scans_of(video) == scans
    assert combing_of(video).max() < COMBED


def test_an_interlaced_tail_is_found(tmp_path: Path) -> None:
    parts = {"head": (progressive(), 20), "tail": (interlaced(), 4)}
    videos = [record(tmp_path / f"{n}.mkv", s, seconds=t) for n, (s, t) in parts.items()]
    (tmp_path / "list").write_text("".join(f"file {video}\n" for video in videos))
    video = tmp_path / "whole.mkv"
    ffmpeg("-f", "concat", "-safe", 0, "-i", tmp_path / "list", "-c", "copy", video)
    assert scans_of(video) == ["progressive", "tff"]


@pytest.mark.parametrize("size", ["96x64", "240x160"])
def test_small_progressive_pictures_are_not_deinterlaced(size: str, tmp_path: Path) -> None:
    assert not scans_of(record(tmp_path / "a.mp4", f"testsrc2=size={size}:rate=25"))


@pytest.mark.parametrize("suffix", [".ts", pytest.param(".mpg", marks=slow)])
@pytest.mark.parametrize("order", [(0, 1), pytest.param((1, 0), marks=slow)])
def test_joined_recordings_have_a_scan_each(
    order: tuple[int, int], suffix: str, tmp_path: Path
) -> None:
    parts = [
        record(tmp_path / f"{number}{suffix}", source, *MPEG2)
        for number, source in enumerate((progressive(), interlaced()))
    ]
    video = tmp_path / f"joined{suffix}"
    video.write_bytes(b"".join(parts[number].read_bytes() for number in order))
    assert scans_of(video) == [("progressive", "tff")[number] for number in order]
    assert combing_of(video).max() < COMBED


@slow
def test_a_build_stores_a_mixed_recording_without_combs(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    in_turn(tmp_path / "videos" / "mixed.mkv", progressive(), interlaced())
    corpus = tmp_path / "corpus"
    size = ("--encode.short_side_px", "96", "--encode.crf", "10")
    run = run_here(*build_folder(tmp_path / "videos"), "--out", corpus, *QUICK, *size)
    assert run.returncode == 0, run.stderr

    row = read_report(tmp_path / "corpus.private")["mixed.mkv"]
    assert "progressive from 0.00 s, interlaced (top field first) from 5.00 s" in row["notes"]
    clips = parquet.read_table(corpus / "lap" / "index.parquet").to_pylist()
    assert sum(clip["duration_s"] for clip in clips) == pytest.approx(10, abs=0.2)
    for number, clip in enumerate(clips):
        stored = tmp_path / f"{number}.mp4"
        data = (corpus / "lap" / clip["shard"]).read_bytes()
        stored.write_bytes(data[clip["mp4_offset"] :][: clip["mp4_size"]])
        assert combing_of(stored).max() < COMBED


def test_one_process_looks_at_several_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = record(tmp_path / "v.mp4", progressive(), seconds=12)
    started: list[list[str]] = []
    start = subprocess.Popen

    def counted(words: list[str], **options: Any) -> "subprocess.Popen[bytes]":
        started.append(words)
        return start(words, **options)

    monkeypatch.setattr(subprocess, "Popen", counted)
    assert scans_of(video) == []
    looks = [words for words in started if Path(words[0]).name == "ffmpeg"]
    assert [words.count("-i") for words in looks] == [6]


def test_a_damaged_place_does_not_hide_the_others(tmp_path: Path) -> None:
    video = overwrite(record(tmp_path / "v.ts", interlaced(), seconds=12), start=0.4, end=0.6)
    assert scans_of(video) == ["tff"]
