"""Promises of the phantom corpus about its bytes, labels, sizes and phases."""

import csv
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from jaxtyping import Float32, UInt8
from surgrec_shard.phantom.domains import DOMAINS
from surgrec_shard.phantom.motion import Rhythm, Sway
from surgrec_shard.phantom.phases import Moment
from surgrec_shard.phantom.render import SCENES, frames
from surgrec_shard.phantom.render_corpus import render_corpus
from surgrec_shard.phantom.videos import SOURCES, PhantomVideo, plan_videos

from surgrec.errors import ConfigError, StorageError
from surgrec.manifest import read_manifest
from tests.support.tool import ffprobe

SEED = 5
MINUTES = 0.2
"""One case of 8 s per source: the smallest corpus."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_corpus(
        tmp_path_factory.mktemp("phantom") / "corpus", seed=SEED, minutes=MINUTES, workers=2
    ).parent


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_one_worker_renders_the_bytes_of_two(corpus: Path, tmp_path: Path) -> None:
    render_corpus(tmp_path / "alone", seed=SEED, minutes=MINUTES, workers=1)
    alone, together = contents(tmp_path / "alone"), contents(corpus)
    assert sorted(alone) == sorted(together)
    assert [name for name in alone if alone[name] != together[name]] == []
    assert sum(name.endswith((".mp4", ".mkv", ".avi", ".mov")) for name in alone) == 4


@pytest.mark.slow
def test_a_render_killed_and_started_again_ends_with_the_same_bytes(
    corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    code = (
        "from pathlib import Path; from surgrec_shard.phantom.render_corpus import render_corpus\n"
        f"if __name__ == '__main__': render_corpus(Path({str(out)!r}), seed={SEED}, "
        f"minutes={MINUTES}, workers=2)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(out.glob("*/.*.partial")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "videos.csv").exists()
    render_corpus(out, seed=SEED, minutes=MINUTES, workers=2)
    assert contents(out) == contents(corpus)


def test_only_a_missing_video_is_rendered_again(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(corpus, out)
    videos = [out / row["path"] for row in rows(out / "videos.csv")]
    before = {path: path.stat().st_mtime_ns for path in videos}
    removed = next(path for path in videos if path.suffix == ".avi")
    removed.unlink()
    calls: list[tuple[int, int]] = []
    render_corpus(
        out,
        seed=SEED,
        minutes=MINUTES,
        workers=2,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(3, 4), (4, 4)]
    assert [path for path in videos if path.stat().st_mtime_ns != before[path]] == [removed]
    assert contents(out) == contents(corpus)


@pytest.mark.parametrize(("seed", "minutes"), [(SEED + 1, MINUTES), (SEED, 3.0)])
def test_a_folder_that_holds_another_corpus_is_refused(
    corpus: Path, seed: int, minutes: float
) -> None:
    before = contents(corpus)
    with pytest.raises(
        ConfigError, match=f'"seed": {SEED}, "minutes": {MINUTES}.*now.*"seed": {seed}'
    ):
        render_corpus(corpus, seed=seed, minutes=minutes)
    assert contents(corpus) == before


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ConfigError, match=str(tmp_path)):
        render_corpus(tmp_path, seed=1, minutes=MINUTES)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(("seed", "minutes"), [(-1, 1.0), (0, 0.0)])
def test_an_invalid_seed_or_length_is_refused(tmp_path: Path, seed: int, minutes: float) -> None:
    with pytest.raises(ConfigError, match=f"seed is {seed} and minutes is {minutes:g};"):
        render_corpus(tmp_path, seed=seed, minutes=minutes)


def test_a_folder_that_vanishes_is_reported_in_one_sentence(tmp_path: Path) -> None:
    out = tmp_path / "vanishing"

    def remove(done: int, total: int) -> None:
        if done == 0:
            shutil.rmtree(out)

    with pytest.raises(StorageError, match=str(out)):
        render_corpus(out, seed=SEED, minutes=MINUTES, workers=2, progress=remove)


def test_without_opencv_one_sentence_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['cv2'] = None\n"
        "from pathlib import Path\n"
        "from surgrec.errors import SetupError\n"
        "from surgrec_shard.phantom.render_corpus import render_corpus\n"
        "try: render_corpus(Path(sys.argv[1]), seed=1)\n"
        "except SetupError as error: print(error)"
    )
    out = tmp_path / "never"
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)], capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        "the phantom corpus needs OpenCV: run pip install '.[demo]' in a clone of SurgRec, "
        "or install SurgRec's wheel with the extra [demo]\n"
    )
    assert not out.exists()


def test_the_manifest_can_be_read_like_any_other(corpus: Path) -> None:
    header = (corpus / "videos.csv").read_text().splitlines()[0]
    assert header == "path,source,domain,case,split,procedure,view,license,labels"
    videos = read_manifest(corpus / "videos.csv")
    assert {video.domain for video in videos} == {"laparoscopy", "endoscopy", "cataract", "robotic"}
    assert all(
        video.path.is_file() and all(path.is_file() for path in video.labels[0].paths)
        for video in videos
    )
    assert {video.license for video in videos} == {"CC0-1.0"}
    assert all(video.path.name.startswith(f"phantom-{video.domain}-case") for video in videos)


def test_labels_cover_each_video_without_a_gap_and_end_inside_it(corpus: Path) -> None:
    outside = 0
    for row in rows(corpus / "videos.csv"):
        labels = rows(corpus / row["labels"])
        phases = [label for label in labels if label["task"] == "phase"]
        probed = ffprobe(corpus / row["path"], "-show_format")["format"]["duration"]
        assert float(phases[0]["start_s"]) == 0
        assert float(probed) - 0.0015 < float(phases[-1]["end_s"]) <= float(probed)
        assert [phase["end_s"] for phase in phases[:-1]] == [
            phase["start_s"] for phase in phases[1:]
        ]
        assert all(phase["value"] in DOMAINS[row["domain"]].phases for phase in phases)
        assert set(DOMAINS[row["domain"]].pair) <= {phase["value"] for phase in phases}
        away = [label for label in labels if label["task"] == "out_of_body"]
        assert all(0 <= float(g["start_s"]) < float(g["end_s"]) <= float(probed) for g in away)
        assert {label["value"] for label in away} <= {"yes"}
        outside += len(away)
    assert outside > 0


def test_files_differ_in_size_rate_codec_and_container_and_have_no_sound(corpus: Path) -> None:
    kinds = set()
    for row in rows(corpus / "videos.csv"):
        (stream,) = ffprobe(corpus / row["path"], "-show_streams")["streams"]
        assert stream["codec_type"] == "video"
        kinds.add(
            (Path(row["path"]).suffix, stream["width"], stream["height"], stream["r_frame_rate"])
        )
    assert kinds == {
        (".mp4", 512, 288, "25/1"),
        (".mkv", 400, 320, "30/1"),
        (".avi", 480, 360, "24/1"),
        (".mov", 848, 480, "15/1"),
    }


def test_the_first_frame_alone_carries_the_title(corpus: Path) -> None:
    for row in rows(corpus / "videos.csv"):
        video = cv2.VideoCapture(str(corpus / row["path"]))
        first, second, third = (video.read()[1].astype(np.int16) for _ in range(3))
        middle = np.s_[first.shape[0] // 2 - 34 : first.shape[0] // 2 + 34]
        assert np.abs(first - second)[middle].mean() > 5 * np.abs(second - third)[middle].mean()
        assert (first[middle] > 200).mean() > 0.01


def minutes_by_source(videos: list[PhantomVideo]) -> dict[str, float]:
    minutes = dict.fromkeys((source.name for source in SOURCES), 0.0)
    for video in videos:
        minutes[video.source.name] += video.script.num_frames / video.source.fps / 60
    return minutes


def test_sources_differ_ten_to_one() -> None:
    minutes = minutes_by_source(plan_videos(SEED, 12.0))
    assert sum(minutes.values()) == pytest.approx(12.0, rel=0.01)
    assert minutes["phantom-lap"] / minutes["phantom-rob"] == pytest.approx(10, rel=0.02)


def test_a_case_is_in_one_split_however_many_files_it_has() -> None:
    videos = plan_videos(SEED, 12.0)
    splits: dict[tuple[str, int], set[str]] = {}
    for video in videos:
        splits.setdefault((video.source.name, video.case), set()).add(video.split)
    assert len(splits) < len(videos)
    assert all(len(of_case) == 1 for of_case in splits.values())
    assert sum(of_case != {"train"} for of_case in splits.values()) >= 24
    for source in SOURCES:
        assert {"train", "val", "test"} == {v.split for v in videos if v.source is source}


@pytest.mark.parametrize("minutes", [0.1, 1.0, 5.0])
def test_every_source_has_a_case_to_train_on_however_short_the_corpus(minutes: float) -> None:
    videos = plan_videos(SEED, minutes)
    assert {v.source.name for v in videos if v.split == "train"} == {
        source.name for source in SOURCES
    }
    assert all(video.script.num_frames >= 8 * video.source.fps for video in videos)


def test_order_and_length_of_phases_vary_by_case() -> None:
    for source in SOURCES:
        scripts = [v.script for v in plan_videos(SEED, 12.0) if v.source is source]
        assert len({tuple(phase.value for phase in script.phases) for script in scripts}) > 1
        lengths = {phase.end - phase.start for script in scripts for phase in script.phases}
        assert max(lengths) > 1.3 * min(lengths)


def test_two_files_of_a_case_look_alike_and_other_cases_and_seeds_do_not() -> None:
    def look(seed: int, case: int, part: int = 1) -> Float32[np.ndarray, "h w 3"]:
        of_source = [v for v in plan_videos(seed, 12.0) if v.source.name == "phantom-lap"]
        video = next(v for v in of_source if (v.case, v.part) == (case, part))
        start = enumerate(itertools.islice(frames(video, seed=seed), 80))
        inside = [
            frame for index, frame in start if index and video.script.outside_share(index) == 0
        ]
        mean: Float32[np.ndarray, "h w 3"] = np.stack(inside[::8]).astype(np.float32).mean(axis=0)
        return mean

    two_files = next(v.case for v in plan_videos(SEED, 12.0) if v.num_parts == 2)
    one = look(SEED, two_files)
    other_part, other_case, other_seed = (
        look(SEED, two_files, 2),
        look(SEED, two_files + 1),
        look(SEED + 1, two_files),
    )
    same = np.abs(one - other_part).mean()
    assert np.abs(one - other_case).mean() > 1.5 * same
    assert np.abs(one - other_seed).mean() > 1.5 * same


WHOLE_TURNS_S = {
    "laparoscopy": 5.0,
    "endoscopy": 2 * 512 / 150,
    "cataract": 2 / 0.35,
    "robotic": 5.0,
}
"""Films of these lengths show a whole number of periods of the motions of a pair."""

NUM_SHOTS = 50

Shot = UInt8[np.ndarray, "60 80"]
Film = UInt8[np.ndarray, "t 60 80"]


def film(domain: str, phase: str, case: int) -> Film:
    """Return small gray frames of a phase, evenly spaced over whole periods of its motion."""
    source = next(source for source in SOURCES if source.domain.name == domain)
    scene = SCENES[domain](
        np.random.Generator(np.random.PCG64(case)), (source.height, source.width)
    )
    shots = []
    for index in range(NUM_SHOTS):
        time_s = WHOLE_TURNS_S[domain] * index / NUM_SHOTS
        moment = Moment(
            time_s=time_s, phase=phase, since_s=3.0, left_s=3.0, spent=((phase, time_s),)
        )
        small = cv2.resize(scene.draw(moment), (80, 60), interpolation=cv2.INTER_AREA)
        shots.append(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY))
    return np.stack(shots)


def difference(one: Film | Shot, other: Film | Shot) -> float:
    """Return the mean difference of two films or two shots, gray levels."""
    return float(np.abs(one.astype(np.float32) - other).mean())


@pytest.mark.slow
@pytest.mark.parametrize("domain", DOMAINS)
def test_the_stills_of_a_pair_are_those_of_no_other_phase(domain: str) -> None:
    stills = {phase: film(domain, phase, case=1).mean(axis=0) for phase in DOMAINS[domain].phases}
    one, other = DOMAINS[domain].pair
    between = np.abs(stills[one] - stills[other]).mean()
    for phase in set(stills) - {one, other}:
        assert np.abs(stills[one] - stills[phase]).mean() > 2.5 * between
        assert np.abs(stills[other] - stills[phase]).mean() > 2.5 * between


def speed(shots: Film) -> float:
    return difference(shots[1:], shots[:-1])


@pytest.fixture
def still_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the sway of the camera and the rhythms of the tissue: only instruments move."""
    for unrest in (Sway, Rhythm):
        monkeypatch.setattr(unrest, "at", lambda self, time_s: 0.0)


@pytest.mark.usefixtures("still_patient")
@pytest.mark.parametrize("case", [1, 2, 3])
def test_dissection_is_retraction_at_a_higher_speed(case: int) -> None:
    fast, slow = film("laparoscopy", "dissection", case), film("laparoscopy", "retraction", case)
    assert speed(fast) > 2 * speed(slow)
    assert max(min(difference(shot, other) for other in slow) for shot in fast) < speed(slow)


def flow_from_the_middle(shots: Film) -> float:
    """Return the mean outward speed of the picture, by optical flow; inward is negative."""
    y, x = np.mgrid[-30:30, -40:40]
    outwards = []
    for now, then in itertools.pairwise(shots):
        flow = cv2.calcOpticalFlowFarneback(now, then, np.empty(0), 0.5, 2, 13, 2, 5, 1.1, 0)
        outwards.append((flow[..., 0] * x + flow[..., 1] * y) / np.hypot(x, y + 0.5))
    return float(np.mean(outwards))


@pytest.mark.parametrize("case", [1, 2, 3])
def test_the_scope_goes_in_during_insertion_and_out_during_withdrawal(case: int) -> None:
    insertion, withdrawal = (
        film("endoscopy", "insertion", case),
        film("endoscopy", "withdrawal", case),
    )
    assert flow_from_the_middle(insertion) > 0.1
    assert flow_from_the_middle(withdrawal) < -0.1


@pytest.mark.usefixtures("still_patient")
@pytest.mark.parametrize("case", [1, 2])
@pytest.mark.parametrize("domain", ["endoscopy", "cataract", "robotic"])
def test_one_of_the_pair_is_the_other_run_backwards(domain: str, case: int) -> None:
    one, other = (film(domain, phase, case) for phase in DOMAINS[domain].pair)
    backwards = one[-np.arange(NUM_SHOTS)]
    assert difference(backwards, other) < 0.02 * difference(one, other)
