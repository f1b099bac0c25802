"""The costs of a dry run: hours of copies before their checks, passes and requests."""

import json
import os
import shutil
from pathlib import Path

import pytest

from surgrec.bench import Plan, Settings, choose_models, choose_tasks, plan_steps
from surgrec.bench._footage import SAMPLE, Footage, footage_of
from surgrec.bench.estimate import PASSES, Estimate, Footages, estimate
from surgrec.commands._bench_plan import print_plan
from surgrec.tasks import find_cards
from surgrec.vlms import PromptConfig, num_requests
from tests.support.videos import make_video

ENDPOINT = "http://127.0.0.1:8000/v1"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of AutoLaparo: a video of 4 s in each part of its split, and no annotations."""
    folder = tmp_path / "data/autolaparo/videos"
    first = make_video(folder / "01.mp4", seconds=4.0)
    for number in (11, 15):
        os.link(first, folder / f"{number}.mp4")
    return tmp_path / "data"


def make_plan(root: Path, tmp_path: Path, *names: str, vlm: bool = True) -> Plan:
    (tmp_path / "a.safetensors").write_text("a")
    vlms = [f"qwen={ENDPOINT}"] if vlm else []
    models = choose_models([f"a={tmp_path / 'a.safetensors'}"], vlms=vlms)
    tasks = choose_tasks(find_cards(names), root=root)
    return plan_steps(tasks, models, {task.folder: "1" for task in tasks}, Settings())


def costs(plan: Plan, out: Path, settings: Settings = Settings()) -> dict[str, Estimate]:
    waiting = {step.name for step in plan.steps}
    rows = estimate(plan, settings, waiting, Footages(plan, settings, out))
    return {row.step: row for row in rows}


def footage(root: Path, tmp_path: Path, name: str, frame_fps: float = 0.0) -> Footage:
    (task, *_) = make_plan(root, tmp_path, name, vlm=False).tasks
    return footage_of(task, tmp_path / "out", {}, frame_fps)


def test_hours_of_a_copy_come_from_the_headers_of_its_videos(copy: Path, tmp_path: Path) -> None:
    found = footage(copy, tmp_path, "autolaparo-phase")
    assert found.is_there
    assert found.basis == "the headers of 3 of 3 videos"
    assert found.hours == pytest.approx(3 * 4 / 3600, rel=0.01)
    assert found.test_share == pytest.approx(1 / 3)


def test_a_sample_of_headers_is_scaled_by_the_sizes_of_all_videos(tmp_path: Path) -> None:
    # A second has 100 bytes. The sizes are so skewed that a mean over videos would mislead.
    folder = tmp_path / "data/autolaparo/videos"
    folder.mkdir(parents=True)
    sizes = {folder / f"{number:02}.mp4": 1000 * number**3 for number in range(1, 22)}
    for path, size in sizes.items():
        with path.open("wb") as file:
            file.truncate(size)
    read_s = {path: size / 100 for path, size in sizes.items()}
    (task,) = make_plan(tmp_path / "data", tmp_path, "autolaparo-phase", vlm=False).tasks
    found = footage_of(task, tmp_path / "out", read_s)
    assert found.basis == f"the headers of {SAMPLE} of 21 videos"
    assert found.hours == pytest.approx(sum(sizes.values()) / 100 / 3600)
    test = sum(sizes[folder / f"{number}.mp4"] for number in range(15, 22))
    assert found.test_share == pytest.approx(test / sum(sizes.values()))


def test_a_video_without_a_header_is_told(copy: Path, tmp_path: Path) -> None:
    videos = copy / "autolaparo/videos"
    for path in videos.glob("*.mp4"):
        if path.name != "11.mp4":
            path.unlink()
    (videos / "03.mp4").write_bytes(b"no video" * 100)
    found = footage(copy, tmp_path, "autolaparo-phase")
    assert found.basis == "the headers of 2 of 2 videos (1 without a length)"
    assert found.hours == pytest.approx(4 / 3600, rel=0.01)

    # Without any header, the published hours remain, and the reason is told.
    (videos / "11.mp4").unlink()
    alone = footage(copy, tmp_path, "autolaparo-phase")
    assert alone.hours == 23.1
    assert alone.basis == "published hours; no header of 1 video states a length"


def test_hours_of_pictures_come_from_their_numbers(tmp_path: Path) -> None:
    for case, count in (("79", 30), ("03", 90)):
        folder = tmp_path / f"data/cholect50/videos/VID{case}"
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number:06}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    found = footage(tmp_path / "data", tmp_path, "cholect50-triplet")
    assert found.hours == pytest.approx(120 / 3600)
    assert found.test_share == pytest.approx(0.25)  # of the first fold
    assert found.basis == "the numbers of all pictures of 2 recordings"


def test_a_missing_copy_has_published_hours_and_a_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "nowhere"
    plan = make_plan(root, tmp_path, "cholec80-*", "sar-rarp50-action", vlm=False)
    print_plan(plan, Settings(), tmp_path / "out", json=True)
    copies = {row["data_set"]: row for row in json.loads(capsys.readouterr().out)["copies"]}
    assert list(copies) == ["cholec80", "sar-rarp50"], "one row for each copy"
    assert (copies["cholec80"]["hours"], copies["sar-rarp50"]["hours"]) == (51, None)
    assert copies["cholec80"]["basis"] == "published hours; the copy is not there"
    assert copies["sar-rarp50"]["basis"] == "no published hours; the copy is not there"
    assert not copies["sar-rarp50"]["is_there"]

    print_plan(plan, Settings(), tmp_path / "out", json=False)
    text = capsys.readouterr().out
    assert text.count("missing:") == 2
    assert "of unknown cost" in text
    assert "…" not in text, "a narrow terminal wraps what it has no room for"


def test_requests_count_test_windows_controls_and_variations(copy: Path, tmp_path: Path) -> None:
    plan = make_plan(copy, tmp_path, "autolaparo-phase")
    asked = costs(plan, tmp_path / "out")["evaluate/autolaparo-phase/qwen"]
    windows = 4
    assert asked.requests == windows * 3 + windows * 8
    assert asked.forward_passes == 0

    # Of many windows, 200 are asked in all wordings and orders. Two options have two orders.
    shutil.rmtree(copy)
    published = costs(plan, tmp_path / "out")["evaluate/autolaparo-phase/qwen"]
    assert published.requests == round(23.1 / 3 * 3600) * 3 + 200 * 8
    assert num_requests(PromptConfig(controls=()), 10, 2) == 10 + 10 * 5


def test_forward_passes_are_windows_times_encoders(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "nowhere", tmp_path, "autolaparo-phase")
    for stride_s in (0.0, 0.5):
        settings = Settings(stride_s=stride_s)
        row = costs(plan, tmp_path / "out", settings)["evaluate/autolaparo-phase/a"]
        assert row.forward_passes == round(23.1 * 3600 * PASSES / (stride_s or 1))
        assert row.requests == 0
