"""Presets: a tree in the published layout of each set is read back right, and can be built."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
from surgrec_shard.check_source import check_source
from surgrec_shard.found_source import find_source, videos_of_preset
from surgrec_shard.picture_labels import picture_clock
from surgrec_shard.presets import FOLDER, UNKNOWN_LICENSE, preset_names, read_preset
from surgrec_shard.source_totals import LabelTotals

from surgrec.annotations import (
    NONE_PRESENT,
    Label,
    VideoClock,
    VideoLabels,
    _rows,
    read_labels,
)
from surgrec.annotations._text import read_text
from surgrec.errors import ConfigError, ManifestError
from surgrec.manifest import KNOWN_DOMAINS
from surgrec.shards import open_corpus
from surgrec.splits import CaseVideo, divide, read_split
from tests.support.files import lock_folder
from tests.support.tool import QUICK, read_report, refusal, run_here
from tests.support.videos import make_video
from tests.surgrec_shard.preset_layouts import LAYOUTS
from tests.surgrec_shard.test_picture_builds import make_pictures

CLOCK = VideoClock(pictures_s=np.arange(250) / 25, end_s=10.0)


def write(folder: Path, tree: Mapping[str, str], video: Path | None = None) -> Path:
    """Write a tree; a video takes the place of each empty file that is named like one."""
    for name, content in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if video and path.suffix in (".mp4", ".avi"):
            path.write_bytes(video.read_bytes() + name.encode())
        else:
            path.write_text(content, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 10 s at 25 frames per second, rendered once."""
    return make_video(tmp_path_factory.mktemp("video") / "a.mp4", seconds=10, rate=25)


def test_each_preset_has_a_layout_here() -> None:
    assert sorted(LAYOUTS) == preset_names()


@pytest.mark.parametrize("name", preset_names())
def test_a_tree_in_the_published_layout_is_read_back_right(name: str, tmp_path: Path) -> None:
    layout, preset = LAYOUTS[name], read_preset(name)
    assert preset.name == name
    assert preset.domain in KNOWN_DOMAINS
    folder = write(tmp_path, layout.tree)
    found = videos_of_preset(preset, folder, layout.protocol, frame_fps=1.0)  # as in a build

    by_path = {each.path.relative_to(tmp_path).as_posix(): each for each in found.videos}
    assert sorted(by_path) == sorted(layout.found)
    for path, (case, view, split, labels) in layout.found.items():
        each = by_path[path]
        assert (each.case, each.view, each.split) == (case, view, split)
        read = read_labels(each.labels, picture_clock(each.pictures) if each.pictures else CLOCK)
        assert [
            (label.task, pytest.approx(label.start_s), pytest.approx(label.end_s), label.value)
            for label in read.labels
        ] == [*labels]
    left_out = [each.path.relative_to(tmp_path).as_posix() for each in found.left_out]
    assert left_out == [*layout.left_out]


def test_an_older_release_in_lower_case_is_read(tmp_path: Path) -> None:
    tree = {name.lower(): content for name, content in LAYOUTS["heichole"].tree.items()}
    found = find_source(read_preset("heichole"), write(tmp_path, tree))
    assert [(each.case, each.view, each.missing) for each in found.recordings] == [
        ("4", "", ()),
        ("4", "hd", ()),
    ]
    labels = read_labels(found.recordings[0].labels, CLOCK).labels
    assert labels == read_labels(found.recordings[1].labels, CLOCK).labels
    assert [label.value for label in labels if label.task == "phase"] == [
        "Preparation",
        "CalotTriangleDissection",
    ]


def test_a_preset_builds_a_corpus_with_cases_labels_license_and_split(
    tmp_path: Path, video: Path
) -> None:
    folder = write(tmp_path / "cholec80", LAYOUTS["cholec80"].tree, video)
    shutil.copy(video, folder / "videos/other.mp4")
    words = ("build", "--preset", "cholec80", "--videos", folder, "--out", tmp_path / "corpus")
    run = run_here(*words, *QUICK)
    assert run.returncode == 3, run.stderr

    report = read_report(tmp_path / "corpus.private")
    assert report["other.mp4"]["status"] == "not_in_preset"
    assert [report[f"video{number}.mp4"]["status"] for number in ("01", "41")] == ["packed"] * 2
    rows = parquet.read_table(tmp_path / "corpus/cholec80/index.parquet").to_pylist()
    assert {(row["case"], row["split"], row["license"], row["procedure"]) for row in rows} == {
        ("01", "train", "CC BY-NC-SA, on request", "cholecystectomy"),
        ("41", "test", "CC BY-NC-SA, on request", "cholecystectomy"),
    }
    labels = parquet.read_table(tmp_path / "corpus/cholec80/labels.parquet").to_pylist()
    assert {(row["task"], row["start_s"], row["end_s"], row["value"]) for row in labels} == {
        ("phase", 0.0, 2.0, "Preparation"),
        ("phase", 2.0, 3.0, "CalotTriangleDissection"),
        ("tool", 0.0, 2.0, "Grasper"),
        ("tool", 1.0, 3.0, "Hook"),
        ("phase", 0.0, 0.04, "Preparation"),
        ("tool", 0.0, 1.0, "Hook"),
    }

    page = run_here("provenance", tmp_path / "corpus")
    assert "- stored splits: endonet (official)\n" in page.stdout

    # A file that the preset does not know hides no video that is no longer there.
    (folder / "videos/video41.mp4").unlink()
    less = run_here(*words, *QUICK, "--remove_unlisted", "true")
    assert less.returncode == 3, less.stderr
    rows = parquet.read_table(tmp_path / "corpus/cholec80/index.parquet").to_pylist()
    assert {row["case"] for row in rows} == {"01"}
    assert open_corpus(tmp_path / "corpus")["cholec80"].entry.split_rule == "endonet (official)"


def test_what_a_preset_cannot_build_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", LAYOUTS["cholec80"].tree)
    out = ("--out", tmp_path / "corpus")
    build = ("build", *out, "--videos", folder, "--preset")
    told = refusal(run_here(*build, "cholec8"))
    assert "there is no preset 'cholec8'; did you mean 'cholec80'?" in told
    told = refusal(run_here(*build, "cholec80", "--protocol", "x"))
    assert "cholec80 has no split 'x'; choose from endonet, tecno, val8" in told
    told = refusal(run_here(*build, "cholec80", "--domain", "laparoscopy"))
    assert "--domain cannot be used here: a preset gives cases" in told
    told = refusal(run_here(*build, "cataract101"))
    assert "holds no file that cataract101 describes" in told
    told = refusal(run_here(*build, "glenda"))
    assert "glenda consists of pictures, and the rate of their numbers is not published" in told
    assert "give it with --frame_fps" in told
    told = refusal(run_here(*build, "cholect50", "--frame_fps", 1))
    assert "--frame_fps cannot be used here" in told
    told = refusal(run_here("build", *out, "--videos", folder, "--protocol", "tecno"))
    assert "give --preset NAME as well" in told

    (folder / "tool_annotations/video41-tool.txt").unlink()
    told = refusal(run_here(*build, "cholec80"))
    assert "1 of 2 videos lack annotation files (the first, " in told
    assert "tool_annotations/video41-tool.txt" in told


def test_a_preset_of_pictures_builds_labels_on_the_clock_of_its_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    make_pictures(folder / "train", seconds=6, rate=1)
    for number in range(6):  # numbers of the video; the first picture is that of second 4
        (folder / "train" / f"p{number}.jpg").rename(folder / f"train/1_{100 + 25 * number}.jpg")
    rows = [f"1,{100 + 25 * number},{float(number > 3)},0,0,1,1,1" for number in range(6)]
    header = "vid,frame,C1,C2,C3,cvs_annotator_1,cvs_annotator_2,cvs_annotator_3"
    (folder / "all_metadata.csv").write_text("\n".join([header, *rows]) + "\n")

    corpus = tmp_path / "corpus"
    words = ("build", "--preset", "endoscapes2023", "--videos", folder, "--out", corpus, *QUICK)
    built = run_here(*words)
    assert built.returncode == 0, built.stderr
    clips = parquet.read_table(corpus / "endoscapes2023/index.parquet").to_pylist()
    assert {(clip["case"], clip["split"], clip["native_fps"]) for clip in clips} == {
        ("1", "train", 1.0)
    }
    assert sum(clip["duration_s"] for clip in clips) == 6
    labels = parquet.read_table(corpus / "endoscapes2023/labels.parquet").to_pylist()
    times = [(label["start_s"], label["end_s"]) for label in labels if label["value"] == "C1"]
    assert (min(times)[0], max(times)[1]) == (4, 6)


def test_a_preset_of_pictures_without_a_rate_takes_that_of_the_user(tmp_path: Path) -> None:
    frames = tmp_path / "set/DS/pathology/frames/v_7_s_0-9"
    make_pictures(frames, seconds=3)
    for picture in list(frames.iterdir()):
        picture.rename(frames / picture.name.replace("p", "f_", 1))
    out = ("--out", tmp_path / "corpus", "--frame_fps", 8)
    built = run_here("build", "--preset", "glenda", "--videos", tmp_path / "set", *out, *QUICK)
    assert built.returncode == 0, built.stderr
    clips = parquet.read_table(tmp_path / "corpus/glenda/index.parquet").to_pylist()
    assert sum(clip["duration_s"] for clip in clips) == 3


def test_rates_of_presets_are_those_of_their_labels() -> None:
    presets = [read_preset(name) for name in preset_names()]
    rated = {
        preset.name: {
            preset.frame_fps if rule.of_video else rule.mapping.fps
            for rule in preset.labels
            if rule.mapping.unit == "frame"
        }
        for preset in presets
        if preset.frame_fps
    }
    assert rated == {preset.name: {preset.frame_fps} for preset in presets if preset.frame_fps}
    assert len(rated) == 7


def definition_in_another_copy(folder: Path) -> str:
    """Return the definition of the split `endonet` in a copy with another train case."""
    tree = LAYOUTS["cholec80"].tree
    write(folder / "set", {path.replace("01", "02"): text for path, text in tree.items()})
    run_here("check-source", "cholec80", folder / "set", "--write_split", folder / "split.yaml")
    split = read_split(folder / "split.yaml")
    assert split.train.cases == ["02"]
    return split.definition


def test_a_published_split_becomes_an_evaluation_split(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", LAYOUTS["cholec80"].tree)
    path = tmp_path / "split.yaml"
    words = ("check-source", "cholec80", folder, "--write_split", path)
    run = run_here(*words)
    assert f"evaluation split: {path}" in run.stderr
    split = read_split(path)
    status = read_preset("cholec80").splits["endonet"].status
    assert (split.name, split.kind) == (f"cholec80-endonet-{status}", status)
    assert split.rules == {
        "train": {"sources": ["cholec80"], "cases": ["01"]},
        "test": {"sources": ["cholec80"], "cases": ["41"]},
    }
    assert split.definition == definition_in_another_copy(tmp_path / "other")
    videos = [
        CaseVideo(source="cholec80", case=case, video=case, stored="train")
        for case in ("01", "41", "80")
    ]
    parts = divide(split, videos)
    assert [video.case for video in (*parts.train, *parts.test)] == ["01", "41"]

    assert "exists; give another --write_split" in refusal(run_here(*words))
    shutil.rmtree(folder / "videos")
    (folder / "videos").mkdir()
    write(folder, {"videos/video01.mp4": ""})
    told = refusal(run_here(*words[:-1], tmp_path / "new.yaml"))
    assert "has 1 case of train and 0 cases of test" in told


def test_a_preset_of_the_user_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(
        "{name: ours, title: Ours, domain: laparoscopy, license: none, case_is: a patient, "
        "origin: frames from 0, videos: [{pattern: '(?P<id>\\d+)/op.mp4$', case: '{id}'}], "
        "splits: {main: {status: ours, parts: {train: '*', test: 7-9}}}}"
    )
    folder = write(tmp_path / "set", {"07/op.mp4": "", "12/op.mp4": ""})
    found = find_source(read_preset(str(path)), folder)
    assert [(each.case, each.split) for each in found.recordings] == [
        ("07", "test"),
        ("12", "train"),
    ]

    # Its names are private unless it says otherwise; those of published sets are published.
    own = read_preset(str(path))
    assert [each.public for each in videos_of_preset(own, folder).videos] == [False, False]
    assert all(read_preset(name).public for name in preset_names())

    path.write_text("{name: ours}")
    with pytest.raises(ManifestError, match=r"ours\.yaml lacks the field"):
        read_preset(str(path))
    with pytest.raises(ConfigError, match="there is no preset 'ours'; choose from aixsuture"):
        read_preset("ours")


def test_a_complete_copy_passes_the_check(tmp_path: Path, video: Path) -> None:
    folder = write(tmp_path / "set", LAYOUTS["cholec80"].tree, video)
    preset = tmp_path / "two.yaml"
    text = (FOLDER / "cholec80.yaml").read_text()
    preset.write_text(text[: text.index("expected:")] + "expected: {videos: 2, cases: 2}\n")
    run = run_here("check-source", preset, folder)
    assert run.returncode == 0, run.stdout
    assert "all is there" in run.stdout

    found = json.loads(run_here("check-source", preset, folder, "--json").stdout)
    totals = {row["what"]: (row["expected"], row["found"]) for row in found["totals"]}
    assert totals["videos"] == (2, 2)
    assert totals["hours"] == (None, 0.01)
    assert totals["phase: seconds"] == (None, 3)
    assert totals["tool: classes"] == (None, 2)
    assert found["splits"] == {"test": 1, "train": 1}
    assert (found["is_complete"], found["missing"], found["odd"]) == (True, [], [])


def test_what_a_copy_lacks_is_named(tmp_path: Path, video: Path) -> None:
    folder = write(tmp_path / "set", LAYOUTS["cholec80"].tree, video)
    (folder / "tool_annotations/video01-tool.txt").unlink()
    (folder / "videos/video41.mp4").unlink()
    (folder / "videos/video02.mp4").write_bytes(b"no video")
    (folder / "phase_annotations/video02-phase.txt").write_text("Frame\tPhase\n0\t\n")
    (folder / "tool_annotations/video02-tool.txt").write_text("Frame\n")
    shutil.copy(video, folder / "videos/other.mp4")

    run = run_here("check-source", "cholec80", folder, "--json")
    assert run.returncode == 3
    found = json.loads(run.stdout)
    assert not found["is_complete"]
    missing = "\n".join(found["missing"])
    assert "videos/video01.mp4: no tool_annotations/video01-tool.txt" in missing
    assert "videos/video02.mp4: the video cannot be read" in missing
    assert "video02-phase.txt, line 2: Phase is empty" in missing
    odd = "\n".join(found["odd"])
    assert "phase_annotations/video41-phase.txt: its recording is not there" in odd
    assert "videos/other.mp4: no pattern of the preset cholec80 matches its path" in odd
    videos = next(row for row in found["totals"] if row["what"] == "videos")
    assert (videos["expected"], videos["found"], videos["is_less"]) == (80, 2, True)

    table = run_here("check-source", "cholec80", folder).stdout
    assert "something is missing" in table
    assert "split endonet (official): 2 train" in table
    assert refusal(run_here("check-source", "cholec80", tmp_path / "none")).endswith(
        "none is not a folder; give the folder of the recordings"
    )


@pytest.mark.parametrize(("name", "locked"), [("cholect50", "VID08"), ("cholec80", "other")])
def test_a_folder_that_cannot_be_opened_is_odd(
    name: str, locked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "set", LAYOUTS[name].tree)
    (folder / "videos" / locked).mkdir(exist_ok=True)
    lock_folder(folder / "videos" / locked, monkeypatch)
    found = check_source(read_preset(name), folder)
    odd = f"videos/{locked}: the folder cannot be opened: Permission denied"
    assert odd in found.odd


def test_labels_of_a_longer_video_are_told_before_a_build(tmp_path: Path, video: Path) -> None:
    folder = write(tmp_path / "set", LAYOUTS["autolaparo"].tree, video)
    rows = "".join(f"{second}\t1\n" for second in range(1, 21))
    (folder / "labels/label_01.txt").write_text(f"Frame\tPhase\n{rows}")
    run = run_here("check-source", "autolaparo", folder, "--json")
    assert run.returncode == 3
    assert json.loads(run.stdout)["missing"] == [
        "videos/01.mp4: labels end at 20.0 s, but the video lasts 10.0 s; a build leaves it out"
    ]


def test_videos_that_a_shared_file_names_and_a_copy_lacks_are_told(
    tmp_path: Path, video: Path
) -> None:
    folder = write(tmp_path / "set", LAYOUTS["cataract101"].tree, video)
    run = run_here("check-source", "cataract101", folder, "--json")
    assert run.returncode == 3
    found = json.loads(run.stdout)
    assert found["missing"] == ["1 recording that annotations.csv names: 270"]
    rows = next(row for row in found["totals"] if row["what"] == "rows of annotations")
    assert (rows["expected"], rows["found"]) == (1266, 3)


def test_all_presets_are_listed_with_the_status_of_their_splits() -> None:
    rows = {
        row["name"]: row for row in json.loads(run_here("check-source", "list", "--json").stdout)
    }
    assert sorted(rows) == preset_names()
    assert rows["cholec80"]["splits"]["tecno"] == "convention"
    assert rows["cataract101"]["splits"] == {"ours": "ours"}
    assert "cholec80" in run_here("check-source", "list").stdout


def test_pictures_that_a_preset_does_not_know_are_told_by_folder(tmp_path: Path) -> None:
    tree = dict.fromkeys(
        ("DS/pathology/frames/v_7_s_0-9/f_0.jpg", "DS/new/f_1.jpg", "DS/new/f_2.jpg"), ""
    )
    others = {"DS/masks/endometriosis_a_7.png": "", "DS/film.mp4": "", "DS/more.7z": ""}
    folder = write(tmp_path / "set", tree | others)
    found = find_source(read_preset("glenda"), folder)
    told = {each.path.relative_to(folder).as_posix(): each.detail for each in found.left_out}
    assert told == {
        "DS/film.mp4": "a video file, and glenda consists of pictures",
        "DS/more.7z": told["DS/more.7z"],
        "DS/new": "2 pictures of this folder: no pattern of the preset glenda matches their paths",
    }
    assert told["DS/more.7z"].startswith("a compressed archive")


def test_optional_annotations_that_are_not_there_are_told(tmp_path: Path, video: Path) -> None:
    folder = write(tmp_path / "set", LAYOUTS["cataract1k"].tree, video)
    name = "case_4688/case_4688_annotations*.csv"
    line = f"videos/case_4688.mp4: no {name}"
    assert check_source(read_preset("cataract1k"), folder).absent == [line]
    assert f"optional: {line}" in run_here("check-source", "cataract1k", folder).stdout

    out = ("--out", tmp_path / "corpus", *QUICK)
    built = run_here("build", "--preset", "cataract1k", "--videos", folder, *out)
    assert "1 optional annotation file is not there" in built.stderr
    row = read_report(tmp_path / "corpus.private")[Path(name).name]
    assert (row["path"], row["status"]) == (str(folder / name), "no_annotation")
    assert row["detail"].startswith("an optional annotation file of ")


def test_frames_of_the_video_are_moved_to_its_first_picture(tmp_path: Path) -> None:
    folder = write(tmp_path, LAYOUTS["cholec80-frames"].tree)
    (folder / "frames/video01/video01_000001.png").unlink()
    rows = "".join(f"{frame}\tPreparation\n" for frame in range(25, 50))
    (folder / "phase_annotations/video01-phase.txt").write_text(f"Frame\tPhase\n{rows}")
    (folder / "tool_annotations/video01-tool.txt").write_text("Frame\tGrasper\n")
    video, _ = videos_of_preset(read_preset("cholec80-frames"), folder).videos
    assert video.path.name == "video01_000002.png"
    clock = VideoClock(pictures_s=np.arange(2) * 1.0, end_s=2.0)
    (label,) = read_labels(video.labels[:1], clock).labels
    assert (label.start_s, label.end_s) == (0, 1)


def test_times_without_a_class_are_no_seconds_and_no_class_of_totals() -> None:
    times = {"task": "cvs", "start_s": 0.0}
    labels = (
        Label(**times, end_s=5.0, value=NONE_PRESENT),
        Label(**times, end_s=2.0, value="C1"),
    )
    totals = LabelTotals()
    totals.add("1", "train", VideoLabels(labels=labels))
    assert (totals.label_s["cvs"], totals.covered_s["cvs"]) == (2, 2)
    assert totals.values["cvs"] == {"C1"}
    assert totals.labeled_cases == {"1"}


def test_totals_of_the_parts_of_a_split_are_compared(tmp_path: Path, video: Path) -> None:
    folder = write(tmp_path / "set", LAYOUTS["autolaparo"].tree, video)
    found = check_source(read_preset("autolaparo"), folder)
    parts = {each.what: each.expected for each in found.totals if "seconds of" in each.what}
    assert parts == {
        "phase: seconds of train": 40211,
        "phase: seconds of val": 14972,
        "phase: seconds of test": 28060,
    }
    counted = [each.found for each in found.totals if "seconds of" in each.what]
    assert counted == [4, 1, 0]

    default = check_source(
        read_preset("multibypass140"), write(tmp_path / "more", LAYOUTS["multibypass140"].tree)
    )
    of_fold = [each.expected for each in default.totals if each.what == "phase: seconds of val"]
    assert of_fold == [110869]


def expecting(path: Path, name: str, expected: str) -> Path:
    """Write a shipped preset with other totals as a preset of the user."""
    text = (FOLDER / f"{name}.yaml").read_text()
    traps = text[text.index("\ntraps:") :]
    path.write_text(f"{text[: text.index('expected:')]}expected: {expected}{traps}")
    return path


def test_classes_above_the_published_number_and_unknown_names_are_odd(
    tmp_path: Path, video: Path
) -> None:
    tree = dict(LAYOUTS["m2cai16-workflow"].tree)
    rows = ["TrocarPlacement", "Phase", "Preparaton", *(f"Phase {number}" for number in range(12))]
    tree["train_dataset/workflow_video_01.txt"] = "".join(
        f"{frame} {name.replace(' ', '_')}\n" for frame, name in enumerate(rows)
    )
    folder = write(tmp_path / "set", tree, video)
    found = check_source(read_preset("m2cai16-workflow"), folder)
    classes = next(each for each in found.totals if each.what == "phase: classes")
    assert (classes.expected, classes.found, classes.is_more) == (8, 16, True)
    assert "phase: classes: 16 found, but 8 published" in found.odd
    (told,) = [line for line in found.odd if "not among" in line]
    assert told.startswith("phase: 14 values are not among the published names: 'Phase', 'Phase_0'")


def test_a_copy_with_more_than_published_is_odd_and_complete(tmp_path: Path, video: Path) -> None:
    folder = write(tmp_path / "set", LAYOUTS["autolaparo"].tree, video)
    path = expecting(tmp_path / "one.yaml", "autolaparo", "{videos: 1, rows: 4}")
    run = run_here("check-source", path, folder)
    assert run.returncode == 0, run.stdout
    assert "videos: 2 found, but 1 published" in run.stdout
    assert "rows of annotations: 5 found, but 4 published" in run.stdout
    assert "all is there; 2 findings are odd" in run.stdout


def test_each_annotation_file_of_a_recording_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "set", LAYOUTS["cholec80"].tree)
    read: list[str] = []

    def noting(path: Path, encoding: str) -> str:
        read.append(path.relative_to(folder).as_posix())
        return read_text(path, encoding)

    monkeypatch.setattr(_rows, "read_text", noting)
    totals = {each.what: each for each in check_source(read_preset("cholec80"), folder).totals}
    phases = sorted(name for name in LAYOUTS["cholec80"].tree if name.endswith("-phase.txt"))
    assert sorted(name for name in read if name.endswith("-phase.txt")) == phases
    lines = [LAYOUTS["cholec80"].tree[name].splitlines() for name in phases]
    assert totals["rows of annotations"].found == sum(len(each) - 1 for each in lines) > 0


@pytest.mark.parametrize(("published", "is_less"), [(5, False), (6, True)])
def test_one_missing_second_of_labels_is_found(
    published: int, is_less: bool, tmp_path: Path
) -> None:
    folder = write(tmp_path / "set", LAYOUTS["autolaparo"].tree)
    path = expecting(tmp_path / "one.yaml", "autolaparo", f"{{label_s: {{phase: {published}}}}}")
    found = check_source(read_preset(str(path)), folder)
    total = next(each for each in found.totals if each.what == "phase: seconds")
    assert (total.found, total.is_less) == (5, is_less)


def test_labels_at_the_same_time_cover_it_once(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", LAYOUTS["esad"].tree)
    totals = {each.what: each for each in check_source(read_preset("esad"), folder).totals}
    assert totals["action: seconds"].found == 3
    covered = totals["action: seconds with a label"]
    assert (covered.found, covered.expected) == (2, 18793)


def test_segments_that_end_before_they_start_are_counted(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", LAYOUTS["cholec80-cvs"].tree)
    totals = {each.what: each for each in check_source(read_preset("cholec80-cvs"), folder).totals}
    left_out = totals["values left out"]
    assert (left_out.found, left_out.expected, left_out.is_less) == (4, 12, True)
    assert (totals["rows of annotations"].found, totals["rows of annotations"].expected) == (3, 572)


def test_a_copy_without_most_optional_labels_is_not_complete(tmp_path: Path, video: Path) -> None:
    folder = write(tmp_path / "set", LAYOUTS["cataract1k"].tree, video)
    found = check_source(read_preset("cataract1k"), folder)
    labeled = next(each for each in found.totals if each.what == "cases with labels")
    assert (labeled.expected, labeled.found, labeled.is_less) == (56, 1, True)
    assert not found.is_complete


def test_clips_that_do_not_match_leave_classes_out(tmp_path: Path, video: Path) -> None:
    names = ("Coagulation/case_624_clip_0", "Rest/odd", "Transection/odder")
    tree = {f"GynSurg_action_dataset/{name}.mp4": "" for name in names}
    found = check_source(read_preset("gynsurg"), write(tmp_path / "set", tree, video))
    classes = next(each for each in found.totals if each.what == "action: classes")
    assert (classes.expected, classes.found, classes.is_less) == (5, 1, True)
    assert len([line for line in found.odd if "no pattern" in line]) == 2


def test_a_set_without_published_totals_is_not_called_complete(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", LAYOUTS["glenda"].tree)
    path = expecting(tmp_path / "one.yaml", "glenda", "{}")
    assert "no total of this set is published" in run_here("check-source", path, folder).stdout


def test_an_unknown_license_is_told_alike_in_all_presets(tmp_path: Path) -> None:
    licenses = [read_preset(name).license for name in preset_names()]
    assert licenses.count(UNKNOWN_LICENSE) == 14
    assert not [license for license in licenses if license.startswith("terms of")]
    folder = write(tmp_path / "set", LAYOUTS["glenda"].tree)
    found = run_here("check-source", "glenda", folder).stdout
    assert "license: unknown: ask the authors" in found


@pytest.mark.parametrize("pictures", ["all", "labeled"])
@pytest.mark.parametrize(("case", "rate"), [("CASE001", 45), ("CASE014", 45), ("CASE041", 30)])
def test_a_label_of_grasp_holds_a_second_in_any_dump(
    case: str, rate: int, pictures: str, tmp_path: Path
) -> None:
    labeled = [rate * second for second in range(1, 4)]
    dense = [number for number in range(rate, 4 * rate) if rate == 30 or number % 3 != 1]
    tree = {
        f"GraSP/frames/{case}/{number:09}.jpg": ""
        for number in (dense if pictures == "all" else labeled)
    }
    tree |= grasp_annotations("GraSP", case, labeled)
    tree |= grasp_annotations("GraSP_1fps", case, [1, 2, 3])  # of another folder
    folder = write(tmp_path, tree)

    (video,) = videos_of_preset(read_preset("grasp"), folder).videos
    assert video.pictures is not None
    clock = picture_clock(video.pictures)
    labels = read_labels(video.labels, clock).labels
    assert [(label.task, label.start_s, label.end_s) for label in labels] == [
        ("phase", 0, 3),
        ("step", 0, 3),
    ]
    assert clock.end_s == pytest.approx(3, abs=0.05)

    # The check counts the seconds that a build stores.
    found = check_source(read_preset("grasp"), folder)
    assert {each.what: each.found for each in found.totals}["phase: seconds"] == 3


def test_the_release_of_grasp_at_one_picture_per_second_is_read(tmp_path: Path) -> None:
    tree = {f"frames/CASE001/{number:05}.jpg": "" for number in range(4)}
    folder = write(tmp_path, tree | grasp_annotations("", "CASE001", [0, 1, 2, 3]))
    (video,) = videos_of_preset(read_preset("grasp"), folder).videos
    assert video.pictures is not None
    labels = read_labels(video.labels, picture_clock(video.pictures)).labels
    assert [(label.start_s, label.end_s) for label in labels] == [(0, 4), (0, 4)]


def test_a_rate_of_a_rule_that_cannot_be_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    text = (FOLDER / "grasp.yaml").read_text()
    path.write_text(text.replace("frame_fps: 45", "frame_fps: 4500"))
    with pytest.raises(ManifestError, match="frame_fps is 4500; give a number from"):
        read_preset(str(path))


def grasp_annotations(folder: str, case: str, numbers: Sequence[int]) -> dict[str, str]:
    """Return the file of a case whose frames with these numbers have one phase and step."""
    content = {
        "images": [{"id": each, "video_name": case, "frame_num": each} for each in numbers],
        "steps_categories": [{"id": 0, "name": "Idle"}],
        "annotations": [
            {"id": each, "image_id": each, "phases": 3, "steps": 0} for each in numbers
        ],
    }
    path = Path(folder) / "annotations/grasp_long-term_train.json"
    return {path.as_posix(): json.dumps(content)}


def test_a_copy_of_hyper_kvasir_lacks_no_class(tmp_path: Path, video: Path) -> None:
    folder = write(tmp_path, LAYOUTS["hyper-kvasir"].tree, video)
    totals = check_source(read_preset("hyper-kvasir"), folder).totals
    assert [(each.what, each.expected) for each in totals if each.is_less] == [("videos", 373)]


def test_published_folds_of_both_centers_are_offered() -> None:
    splits = read_preset("multibypass140").splits
    for fold in range(5):
        names = splits[f"val-fold{fold}"].parts["val"].split()
        centers = [name[:3] for name in dict.fromkeys(names)]
        assert (centers.count("BBP"), centers.count("SBP")) == (10, 10)
        # Their train part includes official test cases.
        assert splits[f"val-fold{fold}"].status == "ours"
    assert read_preset("cholec80-cvs").splits["cvs"].status == "official"


@pytest.mark.parametrize("name", preset_names())
def test_the_default_split_has_a_place_for_all_videos(name: str, tmp_path: Path) -> None:
    found = find_source(read_preset(name), write(tmp_path, LAYOUTS[name].tree))
    assert [each.path.name for each in found.recordings if not each.split] == []
