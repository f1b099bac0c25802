"""With `--curate.shots`, no clip spans a shot cut."""

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from surgrec_shard.clip_writer import FrameFormat
from surgrec_shard.curation import CurateSettings, Curation, Curator
from surgrec_shard.sampling import Frames

from tests.support.phantom_cases import render_case
from tests.support.tool import QUICK, build_folder, ffmpeg, read_report, refusal, run_here

WIDTH, HEIGHT, RATE = 64, 48, 8
FORMAT = FrameFormat(width=WIDTH, height=HEIGHT, rate=Fraction(RATE), colors=())
SHOTS = (("testsrc2", 5.0), ("mandelbrot", 4.5), ("testsrc", 0.5), ("color=0x905024", 3.0))
"""Pattern and seconds of each shot of `make_cut`."""
CUTS = [5.0, 9.5, 10.0]


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cut(tmp_path_factory.mktemp("videos") / "cut.mp4")


def test_no_clip_spans_a_shot_cut(cut: Path, tmp_path: Path) -> None:
    run = build(cut, tmp_path, "--curate.shots", "true")
    assert run.returncode == 0, run.stderr
    assert clip_times(tmp_path) == [
        *((0, 2), (2, 2), (4, 1)),
        *((5, 2), (7, 2.5)),
        *((10, 2), (12, 1)),
    ]
    assert dropped(tmp_path) == [(9.5, 10.0, "short_tail")]
    told = read_report(tmp_path / "private")["cut.mp4"]["notes"]
    assert told == "3 shot cuts at 5.00, 9.50, 10.00 s"


def test_cuts_are_ignored_by_default_and_in_other_splits(cut: Path, tmp_path: Path) -> None:
    for place, words in (("off", ()), ("test", ("--curate.shots", "true", "--split", "test"))):
        assert build(cut, tmp_path / place, *words).returncode == 0
        starts = [start for start, _ in clip_times(tmp_path / place)]
        assert starts == [0, 2, 4, 6, 8, 10, 12]
        assert "cut" not in read_report(tmp_path / place / "private")["cut.mp4"]["notes"]


def test_a_video_of_short_shots_alone_is_reported(cut: Path, tmp_path: Path) -> None:
    long = ("--encode.min_clip_s", "6", "--encode.clip_s", "6")
    told = refusal(build(cut, tmp_path, "--curate.shots", "true", *long))
    assert "curation drops every piece between 3 shot cuts, which leaves no 6 s" in told
    assert read_report(tmp_path / "private")["cut.mp4"]["status"] == "curated:shots"


def test_the_version_of_the_detector_is_part_of_the_corpus() -> None:
    import scenedetect

    expected = {"curate.shots": f"scenedetect {scenedetect.__version__}"}
    assert CurateSettings(shots=True).changes() == expected


def test_without_the_package_the_extra_is_named(cut: Path, tmp_path: Path) -> None:
    saved = {name: sys.modules.pop(name, None) for name in (_SHOTS, "scenedetect")}
    sys.modules["scenedetect"] = None  # type: ignore[assignment]
    try:
        told = refusal(build(cut, tmp_path, "--curate.shots", "true"))
    finally:
        sys.modules.pop(_SHOTS, None)
        sys.modules.update({name: module for name, module in saved.items() if module is not None})
    assert "--curate.shots needs PySceneDetect: run pip install '.[shots]'" in told
    assert not (tmp_path / "corpus" / "corpus.json").exists()


_SHOTS = "surgrec_shard.curation._shots"


@pytest.mark.parametrize("at", [1, 2, 7, 14, 15])
def test_a_cut_near_either_end_is_found(at: int, tmp_path: Path) -> None:
    colors = [60] * at + [200] * (16 - at)
    assert cuts(colors, tmp_path) == [at]


def test_a_gap_is_no_cut_and_hides_none(tmp_path: Path) -> None:
    colors = [60] * 6 + [200] * 6 + [90] * 6
    assert cuts(colors, tmp_path, starts=(0, 6)) == [12]
    assert cuts([60] * 3 + [200], tmp_path, starts=(0, 3)) == []


def test_every_frame_is_kept_once(tmp_path: Path) -> None:
    frames = list(cut_frames([60] * 30 + [200] * 2, tmp_path))
    assert [
        frame for shown in frames for frame in range(shown.first, shown.first + shown.count)
    ] == [*range(32)]
    assert max(shown.count for shown in frames) <= RATE


@pytest.mark.slow
def test_cuts_between_phantom_cases_are_found_and_no_others(tmp_path: Path) -> None:
    domains = ("laparoscopy", "endoscopy", "cataract", "robotic")
    cases = [
        render_case(tmp_path, case, domain=domain, seconds=4.0)
        for domain in domains
        for case in (3, 6)  # none leaves the body
    ]
    folder = tmp_path / "videos"
    folder.mkdir()
    for number in range(12):
        shots = [cases[(number + step) % 8] for step in (0, 3, 1 + number // 8)]
        inputs = [word for shot in shots for word in ("-i", shot)]
        # The first picture of a phantom differs from the second one, like a cut.
        even = "trim=start=0.5,setpts=PTS-STARTPTS,scale=192:144,setsar=1"
        scaled = "".join(f"[{k}]{even}[v{k}];" for k in range(3))
        chain = f"{scaled}[v0][v1][v2]concat=3"
        ffmpeg(*inputs, "-filter_complex", chain, folder / f"{number}.mp4")
    run = build(folder / "0.mp4", tmp_path, "--curate.shots", "true")
    assert run.returncode == 0, run.stderr

    notes = [row["notes"] for row in read_report(tmp_path / "private").values()]
    found = [re.findall(r"\d+\.\d\d", note) for note in notes]
    right = sum(time in ("3.50", "7.00") for times in found for time in times)
    false = sum(map(len, found)) - right
    print(f"shot cuts: {right} of 24 found, {false} false in {len(notes)} videos")  # noqa: T201
    assert len(notes) == 12
    assert right == 24
    assert false == 0


def cuts(colors: Sequence[int], folder: Path, starts: Sequence[int] = (0,)) -> list[int]:
    """Return the numbers of the frames at which a shot cut is found."""
    shown = cut_frames(colors, folder, starts)
    return [each.first for each in shown if each.starts and each.first not in starts]


def cut_frames(
    colors: Sequence[int], folder: Path, starts: Sequence[int] = (0,)
) -> Iterator[Frames]:
    """Return the frames that the curator keeps of pictures of one brightness each."""
    noise = np.random.default_rng(0)
    frames = []
    for number, color in enumerate(colors):
        pixels = np.full(WIDTH * HEIGHT * 3 // 2, 128, np.uint8)
        pixels[: WIDTH * HEIGHT] = color + noise.integers(0, 3, WIDTH * HEIGHT)
        first = Frames(data=pixels.tobytes(), first=number, count=1, starts=number in starts)
        frames.append(first)
    curation = Curation(settings=CurateSettings(shots=True))
    with Curator(curation, FORMAT, folder) as curator:
        yield from curator.kept(frames)


def make_cut(path: Path) -> Path:
    """Render a video of several shots at 8 frames per second."""
    inputs: list[object] = []
    for pattern, seconds in SHOTS:
        joint = ":" if "=" in pattern else "="
        inputs += ["-f", "lavfi", "-t", seconds, "-i", f"{pattern}{joint}s=96x64:r=8"]
    chain = "".join(f"[{k}]" for k in range(len(SHOTS)))
    ffmpeg(*inputs, "-filter_complex", f"{chain}concat={len(SHOTS)}", path)
    return path


def build(video: Path, folder: Path, *options: object) -> "subprocess.CompletedProcess[str]":
    places = ("--out", folder / "corpus", "--private", folder / "private")
    return run_here(*build_folder(video.parent), *places, *QUICK, *options)


def clip_times(folder: Path) -> list[tuple[float, float]]:
    rows = pq.read_table(folder / "corpus" / "lap" / "index.parquet").to_pylist()
    return sorted((row["start_s"], row["duration_s"]) for row in rows)


def dropped(folder: Path) -> list[tuple[float, float, str]]:
    rows = pq.read_table(folder / "corpus" / "lap" / "dropped.parquet").to_pylist()
    return [(row["start_s"], row["end_s"], row["reason"]) for row in rows]
