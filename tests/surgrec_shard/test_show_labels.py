"""`surgrec-shard labels`: a table, strips over time, and JSON."""

import json
from pathlib import Path

import pytest

from surgrec.terminal import strip
from tests.support.tool import refusal, run_here
from tests.support.videos import make_video


@pytest.fixture
def folder(tmp_path: Path, mapping: Path) -> Path:
    values = [0] * 20 + [9] * 10 + [1] * 10
    rows = "".join(f"{frame}\t{value}\n" for frame, value in enumerate(values))
    (tmp_path / "a.txt").write_text(f"Frame\tPhase\n{rows}")
    return tmp_path


def test_labels_are_shown_as_a_table_and_a_strip_over_the_video(
    folder: Path, mapping: Path
) -> None:
    video = make_video(folder / "a.mp4", seconds=4)
    words = ("labels", "--mapping", mapping, folder / "a.txt", "--video", video)
    run = run_here(*words)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    (first,) = [line.split() for line in lines if "access" in line and "0:00:02" in line]
    assert first == ["phase", "access", "0.00", "2.00", "0:00:00", "0:00:02"]
    assert "A" * 30 + "." * 15 + "B" * 15 in lines
    assert "  A  access: 2.0 s" in lines
    assert lines[-1] == "2 labels, video 0:00:04, 1 gap, 10 left out"

    found = json.loads(run_here(*words, "--json").stdout)
    assert (found["video_s"], found["counts"]["label_gaps"]) == (4.0, 1)
    assert [(row["start_s"], row["end_s"], row["value"]) for row in found["labels"]] == [
        (0.0, 2.0, "access"),
        (3.0, 4.0, "closure"),
    ]
    assert found["labels"][1]["place"] == f"{folder}/a.txt, line 32"


def test_labels_of_frames_without_the_video_are_refused(folder: Path, mapping: Path) -> None:
    run = run_here("labels", folder / "a.txt", "--mapping", mapping)
    assert "the mapping needs the clock of the video; give --video FILE" in refusal(run)


def test_a_strip_shows_the_value_that_covers_most_of_each_character() -> None:
    segments = [(0.0, 1.4, "a"), (1.4, 3.0, "b"), (5.0, 6.0, "a"), (5.0, 6.0, "c")]
    assert strip(segments, 6.0, width=6) == ("ABB..+", {"a": "A", "b": "B", "c": "C"})
    assert strip([], 0.0, width=3) == ("...", {})
