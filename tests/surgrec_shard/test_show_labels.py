"""`surgrec-shard labels`: a table, strips over time, and JSON."""

import json
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from surgrec.terminal import strip
from tests.support.tool import QUICK, refusal, run_here, write_csv
from tests.support.videos import make_video
from tests.surgrec_shard.test_picture_builds import make_pictures


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


def test_the_clock_of_a_folder_of_pictures_gives_the_times(folder: Path, mapping: Path) -> None:
    pictures = make_pictures(folder / "frames", seconds=4)
    words = ("labels", folder / "a.txt", "--mapping", mapping, "--video", pictures, "--json")
    assert "give the rate" in refusal(run_here(*words))
    found = json.loads(run_here(*words, "--frame_fps", 8).stdout)
    assert found["video_s"] == 4.0
    first = found["labels"][0]
    assert (first["start_s"], first["end_s"]) == (0.0, 2.5)
    assert "--frame_fps needs --video" in refusal(run_here(*words[:4], "--frame_fps", 8))


def test_a_track_with_drop_leaves_stretches_out_of_a_build(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4", seconds=10, rate=25)
    rows = [f"{frame}\t{int(50 <= frame < 100)}\t1" for frame in range(250)]
    (tmp_path / "a.txt").write_text("\n".join(["Frame\tOut\tPhase", *rows]))
    text = """
grammar: frames
time: Frame
unit: frame
tracks:
- {task: outside, column: Out, names: {1: out-of-body}, ignore: [0], drop: true}
- {task: phase, column: Phase, names: {1: dissection}}
"""
    mapping = tmp_path / "m.yaml"
    mapping.write_text(text)
    row = {"source": "lap", "domain": "laparoscopy", "case": "1", "split": "val"}
    row |= {"path": "a.mp4", "labels": "a.txt", "mapping": "m.yaml"}
    manifest = write_csv(tmp_path / "m.csv", [row])
    words = ("build", "--manifest", manifest, "--out", tmp_path / "corpus", *QUICK)
    built = run_here(*words)
    assert built.returncode == 0, built.stderr
    dropped = parquet.read_table(tmp_path / "corpus/lap/dropped.parquet").to_pylist()
    assert [(each["start_s"], each["end_s"], each["reason"]) for each in dropped] == [
        (2.0, 4.0, "listed:out-of-body")
    ]
    labels = parquet.read_table(tmp_path / "corpus/lap/labels.parquet").to_pylist()
    assert {(label["task"], label["value"]) for label in labels} == {("phase", "dissection")}

    shown = run_here(
        "labels", tmp_path / "a.txt", "--mapping", mapping, "--video", tmp_path / "a.mp4"
    )
    assert "a build leaves out 1 stretch, 2.0 s" in shown.stdout

    # A reason is published, so it is one word.
    mapping.write_text(text.replace("out-of-body", "Mrs. Miller"))
    assert "drops a stretch with the reason 'Mrs. Miller', not one word" in refusal(
        run_here(*words)
    )
