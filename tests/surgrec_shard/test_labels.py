"""Labels against their video: units, ends, overlaps and gaps."""

import math
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from surgrec_shard.label_checks import LabelCounts, count_oddities

from surgrec.annotations import PLAIN, LabelFiles, VideoLabels
from surgrec.annotations import read_labels as read_files
from tests.support.tool import QUICK, read_report, refusal, run_here, write_csv
from tests.support.videos import make_video

HEADER = "task,start_s,end_s,value"


def read_labels(path: Path) -> VideoLabels:
    return read_files([LabelFiles(paths=(path,), mapping=PLAIN)])


def build(folder: Path, *label_files: Sequence[str]) -> "tuple[object, dict[str, dict[str, str]]]":
    """Build one video of 6 s at 10 frames per second per file of labels; return run and report."""
    rows = []
    for number, lines in enumerate(label_files):
        video = make_video(
            folder / f"{number}.mp4", seconds=6, pattern=f"testsrc=decimals={number}"
        )
        labels = folder / f"{number}.csv"
        labels.write_text("\n".join([HEADER, *lines]) + "\n")
        rows.append(
            {
                "path": video.name,
                "source": "lap",
                "domain": "laparoscopy",
                "case": f"case-{number}",
                "split": "train",
                "labels": labels.name,
            }
        )
    manifest = write_csv(folder / "videos.csv", rows)
    run = run_here("build", "--manifest", manifest, "--out", folder / "corpus", *QUICK)
    return run, read_report(folder / "corpus.private")


def test_a_video_whose_labels_end_late_is_left_out_with_line_and_unit(tmp_path: Path) -> None:
    run, report = build(
        tmp_path,
        ["phase,0,3,access", "phase,3,6,closure"],
        ["phase,0,30,access", "phase,30,60,closure"],
        ["phase,0,3000,access", "phase,3000,6000,closure"],
        ["phase,0,3,access", "phase,3,11.5,closure"],
        ["phase,0,3,access", "phase,7,9,closure"],
    )
    assert run.returncode == 3, run.stderr
    assert [row["status"] for row in report.values()] == ["packed", *["labels"] * 4]
    details = [row["detail"] for row in report.values()]
    assert (
        f"{tmp_path}/1.csv, line 2: a label ends at 30 s, but the video lasts 6.0 s" in details[1]
    )
    assert "(2 of 2 labels end after it)" in details[1]
    assert "look like frame numbers at 10 frames per second, so divide them by 10" in details[1]
    assert "look like milliseconds, so divide them by 1000" in details[2]
    assert "3.csv, line 3: a label ends at 11.5 s" in details[3]
    assert "another unit than seconds, or of another video" in details[3]
    assert "4.csv, line 3: a label ends at 9 s" in details[4]
    assert not list((tmp_path / "corpus.private").glob("work/videos/*/*"))
    assert details[1] in " ".join(run.stdout.split()) + " ".join(run.stderr.split())


def test_labels_that_all_end_late_refuse_the_build(tmp_path: Path) -> None:
    run, report = build(tmp_path, ["phase,0,30,access", "phase,30,60,closure"])
    assert "none of 1 video can be used (the first, " in refusal(run)
    assert "0.csv, line 2: a label ends at 30 s, but the video lasts 6.0 s" in refusal(run)
    assert report["0.mp4"]["status"] == "labels"


def test_labels_that_end_a_second_late_are_stored_up_to_the_end(tmp_path: Path) -> None:
    run, report = build(
        tmp_path, ["phase,0,3,access", "phase,3,7,closure", "phase,6.5,7,after the end"]
    )
    assert (run.returncode, report["0.mp4"]["status"]) == (0, "packed")
    assert report["0.mp4"]["label_late_ends"] == "2"
    rows = parquet.read_table(tmp_path / "corpus/lap/labels.parquet").to_pylist()
    assert [(row["start_s"], row["end_s"], row["value"]) for row in rows] == [
        (0.0, 3.0, "access"),
        (3.0, 6.0, "closure"),
    ]


def test_overlaps_gaps_and_zero_lengths_are_counted_by_task(tmp_path: Path) -> None:
    lines = [
        *("phase,0,2,a", "phase,1,3,b", "phase,2.5,2.6,c", "phase,4,5,d", "phase,5,5,e"),
        *("tool,0,1,a", "tool,1,2,b"),
    ]
    run, report = build(tmp_path, lines)
    assert run.returncode == 0, run.stderr
    counts = LabelCounts(label_overlaps=2, label_gaps=1, label_zero_lengths=1)
    assert count_oddities(read_labels(tmp_path / "0.csv"), 6.0) == counts
    row = report["0.mp4"]
    assert (row["label_overlaps"], row["label_gaps"], row["label_zero_lengths"]) == ("2", "1", "1")


def test_labels_that_end_in_the_first_tenth_of_a_video_are_told(tmp_path: Path) -> None:
    """Minutes, or numbers of samples, are times inside the video."""
    (tmp_path / "labels.csv").write_text(f"{HEADER}\nphase,0,0.8,a\nphase,0.8,1.66,b\n")
    labels = read_labels(tmp_path / "labels.csv")
    assert count_oddities(labels, 100.0) == LabelCounts(labels_end_early=1)
    assert count_oddities(labels, 2.0) == count_oddities(labels, math.inf) == LabelCounts()


@pytest.mark.parametrize("lines", [[], ["phase,0,6,only"]])
def test_labels_of_one_segment_or_none_have_no_oddities(tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "labels.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    assert count_oddities(read_labels(tmp_path / "labels.csv"), 6.0) == LabelCounts()


def test_frame_numbers_are_looked_up_in_the_clock_of_a_video_of_variable_rate(
    tmp_path: Path, mapping: Path
) -> None:
    # Thirty frames at ten per second, then thirty at five per second.
    slower = ("-vf", "setpts='if(lt(N,30),N,2*N-30)/10/TB'", "-fps_mode", "vfr")
    make_video(tmp_path / "a.mp4", seconds=6, arguments=slower)
    values = [0] * 20 + [9] * 20 + [1] * 20
    lines = [f"{frame}\t{value}" for frame, value in enumerate(values)]
    (tmp_path / "a.txt").write_text("\n".join(["Frame\tPhase", *lines]) + "\n")
    row = {"path": "a.mp4", "source": "lap", "domain": "laparoscopy", "case": "", "split": "train"}
    manifest = write_csv(
        tmp_path / "videos.csv", [{**row, "labels": "a.txt", "mapping": mapping.name}]
    )

    run = run_here("build", "--manifest", manifest, "--out", tmp_path / "corpus", *QUICK)
    assert run.returncode == 0, run.stderr
    rows = parquet.read_table(tmp_path / "corpus/lap/labels.parquet").to_pylist()
    found = [(row["value"], row["start_s"], row["end_s"]) for row in rows]
    assert found == [("access", 0.0, 2.0), ("closure", 5.0, pytest.approx(9.0, abs=0.2))]
    report = read_report(tmp_path / "corpus.private")["a.mp4"]
    assert (report["label_gaps"], report["label_left_out"]) == ("1", "20")


def test_a_mapping_that_does_not_fit_refuses_the_build_with_its_row(
    tmp_path: Path, mapping: Path
) -> None:
    mapping.write_text(mapping.read_text().replace("Frame", "frame_id"))
    (tmp_path / "a.txt").write_text("Frame\tPhase\n0\t0\n")
    make_video(tmp_path / "a.mp4", seconds=2)
    row = {"path": "a.mp4", "source": "lap", "domain": "laparoscopy", "case": "", "split": "train"}
    build = ("build", "--out", tmp_path / "corpus", *QUICK, "--manifest")
    manifest = write_csv(
        tmp_path / "videos.csv", [{**row, "labels": "a.txt", "mapping": mapping.name}]
    )
    assert (
        "a.txt has no column frame_id (its columns are Frame, Phase, is 'Frame' meant?)"
        in refusal(run_here(*build, manifest))
    )
    write_csv(manifest, [{**row, "labels": "a.txt", "mapping": ""}])
    assert "a.txt has the suffix '.txt', but a file of labels without a mapping" in refusal(
        run_here(*build, manifest)
    )
    write_csv(manifest, [{**row, "labels": "", "mapping": "m.yaml"}])
    assert "videos.csv, line 2: mapping is 'm.yaml', but labels is empty" in refusal(
        run_here(*build, manifest)
    )
    write_csv(manifest, [{**row, "labels": "a.txt", "mapping": "none.yaml"}])
    assert "none.yaml cannot be read" in refusal(run_here(*build, manifest))


def test_a_broken_video_with_frame_numbers_is_left_out_and_told(
    tmp_path: Path, mapping: Path
) -> None:
    (tmp_path / "a.txt").write_text("Frame\tPhase\n0\t0\n")
    make_video(tmp_path / "a.mp4", seconds=2)
    (tmp_path / "b.mp4").write_bytes(b"no video" * 100)
    row = {"source": "lap", "domain": "laparoscopy", "case": "", "split": "train"}
    rows = [
        {"path": f"{name}.mp4", **row, "labels": "a.txt", "mapping": mapping.name} for name in "ab"
    ]
    manifest = write_csv(tmp_path / "videos.csv", rows)
    run = run_here("build", "--manifest", manifest, "--out", tmp_path / "corpus", *QUICK)
    assert run.returncode == 3, run.stderr
    report = read_report(tmp_path / "corpus.private")
    assert [report[name]["status"] for name in ("a.mp4", "b.mp4")] == ["packed", "unreadable"]
