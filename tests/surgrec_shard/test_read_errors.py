"""A read error that ffmpeg hides leaves a video out for now: nothing is stored short."""

import functools
import shutil
import subprocess
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import pytest

from surgrec.recordings import BadVideoError, PictureReader, Recording, inspect, read_frames
from tests.support.tool import QUICK, build_folder, digests, read_report, run_here, same_key
from tests.support.videos import make_video

SOURCE = Path(__file__).parents[1] / "support" / "read_faults.c"
MPEG2, TONE = ("-r", "25", "-c:v", "mpeg2video"), ("-f", "lavfi", "-t", "12", "-i", "sine")
CONTAINERS: dict[str, tuple[str, ...]] = {
    "a.mkv": ("-c:v", "mpeg4"),
    "b.mp4": ("-movflags", "frag_keyframe+empty_moov"),
    "c.mov": (),
    "d.mp4": (),
    "e.avi": (),
    "f.flv": ("-ar", "44100"),
    "g.ts": MPEG2,
    "h.mpg": MPEG2,
    "i.wmv": (),
    "j.webm": ("-c:v", "libvpx", "-cpu-used", "8"),
    "k.ogv": ("-c:v", "libtheora"),
    "l.mxf": (*MPEG2, "-ar", "48000"),
    "m.nut": ("-c:v", "libx264"),
}
SOUND_VIDEO = "z.mp4"
QUICKEST = ("a.mkv", "b.mp4", "f.flv")

Arm = Callable[[str, int], Path]


def words_of(folder: Path) -> tuple[object, ...]:
    out = ("--out", folder / "corpus")
    return (*build_folder(folder / "videos"), *QUICK, "--workers", 2, *out)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Collection[str]], Path]:
    """Return a function that makes videos, one of which never fails, and their corpus."""

    @functools.cache
    def make(names: Collection[str]) -> Path:
        folder = tmp_path_factory.mktemp("clean")
        for number, name in enumerate((*names, SOUND_VIDEO)):
            turned = ("-vf", f"hue=h={20 * number}", "-b:v", "500k", "-g", "10")
            arguments = (*turned, *CONTAINERS.get(name, ()))
            make_video(folder / "videos" / name, seconds=6, inputs=TONE, arguments=arguments)
        built = run_here(*words_of(folder))
        assert built.returncode == 0, built.stderr
        return folder

    return make


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the compiled library of read errors."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("read errors are made by a library in C, and no C compiler is installed")
    path = tmp_path_factory.mktemp("library") / "read_faults.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", path, SOURCE, "-ldl"], check=True)
    return path


@pytest.fixture
def arm(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Arm:
    """Return a function that lets each file fail once in a program; it returns the marks."""

    def arrange(program: str, percent: int) -> Path:
        marks = tmp_path / "marks"
        marks.mkdir()
        (marks / str((tmp_path / "videos" / SOUND_VIDEO).stat().st_ino)).touch()
        monkeypatch.setenv("LD_PRELOAD", str(library))
        monkeypatch.setenv("FAULT_FOLDER", str(tmp_path / "videos"))
        monkeypatch.setenv("FAULT_PROGRAM", program)
        monkeypatch.setenv("FAULT_PERCENT", str(percent))
        monkeypatch.setenv("FAULT_MARKS", str(marks))
        return marks

    return arrange


def require_healing(
    names: Collection[str], clean: Path, arm: Callable[[], Path], out: Path
) -> None:
    """Build with read errors, then again, and compare with a build without any."""
    videos = out / "videos"
    shutil.copytree(clean / "videos", videos)
    same_key(clean / "corpus.private", out / "corpus.private")
    marks = arm()
    faulty = run_here(*words_of(out))
    report = read_report(out / "corpus.private")
    assert len(list(marks.iterdir())) == len(names) + 1

    # A video is whole, or it is named with its read error.
    for name in (*names, SOUND_VIDEO):
        row = report[name]
        assert row["status"] in ("packed", "read_error"), (name, row)
        assert (row["status"] == "packed") == (f"skipped {videos / name}: " not in faulty.stderr)
        assert row["status"] == "packed" or "run the same command again" in row["detail"]
    assert report[SOUND_VIDEO]["status"] == "packed"

    healed = run_here(*words_of(out))
    assert healed.returncode == 0, healed.stderr
    assert digests(out / "corpus") == digests(clean / "corpus")


@pytest.mark.parametrize("program", ["ffprobe", "ffmpeg"])
def test_a_video_with_one_read_error_is_packed_whole_by_the_next_build(
    program: str, clean: Callable[[Collection[str]], Path], arm: Arm, tmp_path: Path
) -> None:
    require_healing(QUICKEST, clean(QUICKEST), lambda: arm(program, 60), tmp_path)


def test_frames_of_a_video_that_was_read_short_end_in_a_read_error(
    clean: Callable[[Collection[str]], Path], arm: Arm, tmp_path: Path
) -> None:
    shutil.copytree(clean(QUICKEST) / "videos", tmp_path / "videos")
    marks = arm("ffprobe", 60)
    with Recording(tmp_path / "videos" / "b.mp4") as recording:
        facts = inspect(recording)
        assert facts.duration_s < 5.5
        frames = list(read_frames(recording, facts, np.array([0.0, 1.0]), short_side_px=64))
    assert len(list(marks.iterdir())) == 2
    assert not isinstance(frames[0], BadVideoError)
    assert isinstance(frames[1], BadVideoError)
    assert (frames[1].reason, frames[1].may_pass) == ("read_error", True)


@pytest.mark.slow
@pytest.mark.parametrize("percent", [2, 97])
@pytest.mark.parametrize("program", ["ffprobe", "ffmpeg"])
def test_read_errors_anywhere_in_any_container_pass(
    program: str,
    percent: int,
    clean: Callable[[Collection[str]], Path],
    arm: Arm,
    tmp_path: Path,
) -> None:
    names = tuple(CONTAINERS)
    require_healing(names, clean(names), lambda: arm(program, percent), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("percent", [40, 97])
def test_pictures_are_complete_or_end_in_a_read_error(
    percent: int, clean: Callable[[Collection[str]], Path], arm: Arm, tmp_path: Path
) -> None:
    shutil.copytree(clean(tuple(CONTAINERS)) / "videos", tmp_path / "videos")
    recordings = {name: Recording(tmp_path / "videos" / name) for name in CONTAINERS}
    facts = {name: inspect(recording) for name, recording in recordings.items()}
    marks = arm("ffmpeg", percent)
    outcomes = {}
    for name, recording in recordings.items():
        with recording, PictureReader(recording, facts[name], size=(64, 64)) as reader:
            try:
                count = sum(1 for _ in reader)
                is_whole = count == len(facts[name].timeline.pictures_s)
                outcomes[name] = "whole" if is_whole else f"{count} pictures"
            except BadVideoError as error:
                outcomes[name] = error.reason if error.may_pass else str(error)
    assert set(outcomes.values()) <= {"whole", "read_error"}, outcomes
    assert len(list(marks.iterdir())) == len(CONTAINERS) + 1
