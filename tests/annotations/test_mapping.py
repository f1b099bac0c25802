"""Each grammar of annotation files, read through a mapping: seconds, names, gaps and parts."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surgrec.annotations import (
    NONE_PRESENT,
    LabelFiles,
    VideoClock,
    VideoLabels,
    parse_mapping,
    read_labels,
    read_mapping,
)
from surgrec.errors import ConfigError, ManifestError

PHASE = {"task": "phase", "column": "Phase"}
TEN = VideoClock(pictures_s=np.arange(60) / 10, end_s=6.0)
"""Six seconds of ten frames each."""
UNEVEN = VideoClock(pictures_s=np.array([0.0, 0.5, 0.6, 2.0, 3.0]), end_s=4.0)
Rows = list[tuple[str, float, float, str]]


def read(
    folder: Path,
    text: str | bytes,
    mapping: Mapping[str, Any],
    *,
    clock: VideoClock | None = None,
    name: str = "labels.txt",
    names: Mapping[str, str] | None = None,
) -> VideoLabels:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    files = LabelFiles(
        paths=(path,), mapping=parse_mapping(mapping, "m.yaml"), names=dict(names or {})
    )
    return read_labels([files], clock)


def rows(found: VideoLabels) -> Rows:
    return [(label.task, label.start_s, label.end_s, label.value) for label in found.labels]


SCORES = {
    "grammar": "list",
    "only": {"video": "{id}"},
    "tracks": [{"task": "score", "column": "score", "mean": True}],
}


def test_the_scores_of_several_raters_are_averaged(tmp_path: Path) -> None:
    text = "video,rater,score\nA,1,14\nB,1,30\nA,2,17\nA,3,15\n"
    found = read(tmp_path, text, SCORES, clock=TEN, names={"id": "A"})
    assert rows(found) == [("score", 0.0, 6.0, "15.3333")]
    with pytest.raises(ManifestError, match=r"line 3: score is 'good'; write a number"):
        read(tmp_path, "video,score\nA,14\nA,good\n", SCORES, clock=TEN, names={"id": "A"})


def test_only_the_first_rows_of_a_file_are_read(tmp_path: Path) -> None:
    mapping = {
        **{"grammar": "list", "columns": ["polyps"], "delimiter": ";", "first_rows": 1},
        "tracks": [{"task": "polyps", "column": "polyps"}],
    }
    found = read(tmp_path, "2\n12 30 200 90\n0 0 8 9\n", mapping, clock=TEN)
    assert rows(found) == [("polyps", 0.0, 6.0, "2")]


FRAMES = {"grammar": "frames", "time": "Frame", "unit": "frame", "tracks": [PHASE]}


def test_one_line_per_frame_becomes_segments_on_the_clock_of_the_video(tmp_path: Path) -> None:
    text = "Frame\tPhase\n0\tA\n1\tA\n2\tB\n3\tA\n4\tA\n"
    assert rows(read(tmp_path, text, FRAMES, clock=UNEVEN)) == [
        ("phase", 0.0, 0.6, "A"),
        ("phase", 0.6, 2.0, "B"),
        ("phase", 2.0, 4.0, "A"),
    ]
    given = {**FRAMES, "fps": 25, "origin": 1}
    text = "Frame\tPhase\n1\tA\n2\tA\n3\tB\n"
    assert rows(read(tmp_path, text, given)) == [
        ("phase", 0.0, 0.08, "A"),
        ("phase", 0.08, 0.12, "B"),
    ]


def test_a_missing_frame_and_an_ignored_value_are_gaps(tmp_path: Path) -> None:
    mapping = {**FRAMES, "fps": 1, "tracks": [{**PHASE, "ignore": ["-1"]}]}
    found = read(tmp_path, "Frame,Phase\n0,A\n1,A\n4,A\n5,-1\n6,A\n", mapping)
    assert rows(found) == [("phase", 0, 2, "A"), ("phase", 4, 5, "A"), ("phase", 6, 7, "A")]
    assert found.left_out == 1


def test_frames_behind_the_video_are_told_and_not_lost(tmp_path: Path) -> None:
    text = "Frame Phase\n" + "".join(f"{frame} A\n" for frame in range(75))
    assert rows(read(tmp_path, text, FRAMES, clock=TEN)) == [("phase", 0.0, 7.5, "A")]


def test_frame_numbers_without_a_video_or_a_rate_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"labels\.txt: .*frame numbers.*give the video"):
        read(tmp_path, "Frame\tPhase\n0\tA\n", FRAMES)
    with pytest.raises(ManifestError, match=r"line 2: Frame is 0, outside .* \(the first is 1\)"):
        read(tmp_path, "Frame\tPhase\n0\tA\n", {**FRAMES, "origin": 1}, clock=TEN)
    with pytest.raises(ManifestError, match=r"Frame is '1\.5'; write the number of a frame"):
        read(tmp_path, "Frame\tPhase\n1.5\tA\n", FRAMES, clock=TEN)


def test_ticks_have_the_length_of_the_clock_of_labels(tmp_path: Path) -> None:
    tools = {"task": "tool", "flags": {"Hook": ["Hook"], "Clip applier": ["Clipper"]}}
    mapping = {**FRAMES, "grammar": "ticks", "every": 10, "tracks": [tools]}
    text = "Frame\tHook\tClipper\n0\t1\t0\n10\t1\t1\n20\t0\t1\n40\t1\t0\n"
    assert rows(read(tmp_path, text, mapping, clock=TEN)) == [
        ("tool", 0.0, 2.0, "Hook"),
        ("tool", 1.0, 3.0, "Clip applier"),
        ("tool", 4.0, 5.0, "Hook"),
    ]
    seconds = {"grammar": "ticks", "time": "Frame", "origin": 1, "tracks": [PHASE]}
    text = "Frame\tPhase\n1\t1\n2\t1\n3\t2\n"
    assert rows(read(tmp_path, text, seconds)) == [("phase", 0, 2, "1"), ("phase", 2, 3, "2")]


def test_a_flag_is_the_majority_of_its_columns(tmp_path: Path) -> None:
    flags = {"C1": ["a1", "a2", "a3"], "C2": ["b1", "b2", "b3"]}
    mapping = {"grammar": "ticks", "time": "t", "tracks": [{"task": "cvs", "flags": flags}]}
    text = "t,a1,a2,a3,b1,b2,b3\n0,1,1,0,0,0,1\n1,0,0,1,1,1,1\n"
    assert rows(read(tmp_path, text, mapping)) == [("cvs", 0, 1, "C1"), ("cvs", 1, 2, "C2")]


def test_an_annotated_time_without_a_class_is_a_label_of_its_own(tmp_path: Path) -> None:
    # A row without a flag says so; a row with an unknown flag, and a missing row, do not.
    track = {"task": "cvs", "flags": {"C1": ["a"], "C2": ["b"]}, "ignore": [""]}
    mapping = {"grammar": "ticks", "time": "t", "tracks": [track]}
    found = read(tmp_path, "t,a,b\n0,1,0\n5,0,0\n6,0,0\n10,0,\n", mapping)
    assert rows(found) == [("cvs", 0, 1, "C1"), ("cvs", 5, 7, NONE_PRESENT)]
    assert found.left_out == 1

    # Values can say so, too, unless another row of the same time has a class.
    track = {"task": "tool", "column": "v", "none": ["-1"]}
    mapping = {"grammar": "ticks", "time": "t", "tracks": [track]}
    found = read(tmp_path, "t,v\n0,-1\n1,-1\n1,hook\n", mapping)
    assert rows(found) == [("tool", 0, 1, NONE_PRESENT), ("tool", 1, 2, "hook")]


def test_a_row_without_a_required_cell_is_no_label(tmp_path: Path) -> None:
    mapping = {"grammar": "ticks", "time": "t", "tracks": [PHASE], "require": ["rater"]}
    found = read(tmp_path, "t,Phase,rater\n0,1,A\n1,2,\n2,1,B\n", mapping)
    assert rows(found) == [("phase", 0, 1, "1"), ("phase", 2, 3, "1")]
    assert found.left_out == 1
    with pytest.raises(ManifestError, match="has no column rater"):
        read(tmp_path, "t,Phase\n0,1\n", mapping)


SEGMENTS = {"grammar": "segments", "start": "s", "end": "e", "tracks": [PHASE]}


def test_segments_have_any_unit_and_may_include_their_last_frame(tmp_path: Path) -> None:
    columns = ["s", "e", "Phase"]
    mapping = {**SEGMENTS, "columns": columns, "unit": "frame", "origin": 1, "end_included": True}
    text = "1 10 G1 \n11 15 G2 \n"
    assert rows(read(tmp_path, text, mapping, clock=TEN)) == [
        ("phase", 0.0, 1.0, "G1"),
        ("phase", 1.0, 1.5, "G2"),
    ]
    mapping = {**SEGMENTS, "unit": "ms"}
    assert rows(read(tmp_path, "s;e;Phase\n250;1500;A\n", mapping)) == [("phase", 0.25, 1.5, "A")]
    mapping = {**SEGMENTS, "unit": "HH:MM:SS"}
    text = "s,e,Phase\n00:00:01.5,01:00:00,A\n61:30,01:02:03.25,B\n"
    assert rows(read(tmp_path, text, mapping)) == [
        ("phase", 1.5, 3600.0, "A"),
        ("phase", 3690.0, 3723.25, "B"),
    ]


def test_a_backward_segment_is_refused_or_counted(tmp_path: Path) -> None:
    text = "s,e,Phase\n5,4,A\n5,6,B\n5,6,B\n"
    with pytest.raises(ManifestError, match="line 2: s is 5 and e is 4; e must not be before s"):
        read(tmp_path, text, SEGMENTS)
    found = read(tmp_path, text, {**SEGMENTS, "drop_backward": True, "drop_repeats": True})
    assert (rows(found), found.left_out) == ([("phase", 5, 6, "B")], 2)


def test_start_points_run_to_the_next_and_the_last_one_to_the_end(tmp_path: Path) -> None:
    mapping = {
        **{"grammar": "starts", "time": "FrameNo", "unit": "frame", "tracks": [PHASE]},
        "only": {"VideoID": "{case}"},
    }
    text = "VideoID;FrameNo;Phase\n269;10;1\n269;30;2\n270;0;9\n"
    found = read(tmp_path, text, mapping, clock=TEN, names={"case": "0269"})
    assert rows(found) == [("phase", 1.0, 3.0, "1"), ("phase", 3.0, 6.0, "2")]
    assert found.places[1].endswith("labels.txt, line 3")


def test_json_intervals_have_side_tracks_and_the_latest_of_nested_steps(tmp_path: Path) -> None:
    out = {"start": 1000, "end": 2000, "label_name": "out_of_body"}
    content = {
        "phases": [{"start": 0, "end": 5000, "label_name": "preparation"}, out],
        "steps": [
            {"start": 0, "end": 4000, "label_name": "a"},
            {"start": 1000, "end": 2000, "label_name": "b"},
        ],
    }
    phases = {"at": "phases", "column": "label_name"}
    mapping = {
        **{"grammar": "json", "start": "start", "end": "end", "unit": "ms"},
        "tracks": [
            {**phases, "task": "phase", "ignore": ["out_of_body"]},
            {**phases, "task": "out of body", "ignore": ["preparation"]},
            {"task": "step", "at": "steps", "column": "label_name", "overlaps": "latest"},
        ],
    }
    assert rows(read(tmp_path, json.dumps(content), mapping)) == [
        ("step", 0.0, 1.0, "a"),
        ("phase", 0.0, 5.0, "preparation"),
        ("out of body", 1.0, 2.0, "out_of_body"),
        ("step", 1.0, 2.0, "b"),
        ("step", 2.0, 4.0, "a"),
    ]


def test_json_vectors_per_frame_take_their_names_from_the_file(tmp_path: Path) -> None:
    content = {
        "categories": {"verb": {"0": "grasp", "1": "cut"}},
        "annotations": {"0": [[7, 1], [8, 0]], "1": [[7, 1]], "2": [[-1, -1]]},
    }
    mapping = {
        **{"grammar": "json", "at": "annotations", "time": "key", "unit": "frame", "fps": 1},
        "tracks": [
            {"task": "verb", "column": "1", "names_at": "categories.verb", "ignore": ["-1"]},
        ],
    }
    assert rows(read(tmp_path, json.dumps(content), mapping)) == [
        ("verb", 0, 1, "grasp"),
        ("verb", 0, 2, "cut"),
    ]


def test_coco_annotations_take_time_and_video_from_their_image(tmp_path: Path) -> None:
    content = {
        "images": [
            {"id": 5, "video_name": "CASE001", "frame_num": 0},
            {"id": 6, "video_name": "CASE001", "frame_num": 1},
            {"id": 7, "video_name": "CASE002", "frame_num": 0},
        ],
        "annotations": [{"id": n, "image_id": n + 5, "phases": n} for n in range(3)],
    }
    mapping = {
        **{"grammar": "coco", "time": "frame_num", "unit": "frame", "fps": 1},
        "only": {"video_name": "CASE{case}"},
        "tracks": [{"task": "phase", "column": "phases", "names": {"0": "Idle", "1": "Left"}}],
    }
    found = read(tmp_path, json.dumps(content), mapping, names={"case": "001"})
    assert rows(found) == [("phase", 0, 1, "Idle"), ("phase", 1, 2, "Left")]
    content["annotations"][0]["image_id"] = 99
    with pytest.raises(ManifestError, match=r"annotations\[0\]: its image 99 is not in images"):
        read(tmp_path, json.dumps(content), mapping, names={"case": "001"})


def test_a_folder_or_a_list_names_the_class_of_a_whole_video(tmp_path: Path) -> None:
    track = {"task": "action", "column": "class", "names": {"07": "coagulation"}}
    mapping = parse_mapping({"grammar": "folder", "tracks": [track]}, "m.yaml")
    files = LabelFiles(mapping=mapping, names={"class": "07"})
    assert rows(read_labels([files], TEN)) == [("action", 0.0, 6.0, "coagulation")]

    listed = {
        **{"grammar": "list", "columns": ["name", "label"], "only": {"name": "{file}"}},
        "tracks": [{"task": "polyp", "column": "label"}],
    }
    text = "a.mp4,1\nb c.mp4,0\n"
    found = read(tmp_path, text, listed, clock=TEN, names={"file": "b c.mp4"})
    assert rows(found) == [("polyp", 0.0, 6.0, "0")]


def test_questions_and_answers_take_their_frame_from_the_name_of_the_file(tmp_path: Path) -> None:
    mapping = parse_mapping(
        {
            **{"grammar": "questions", "time": "frame", "unit": "frame", "delimiter": "|"},
            **{"columns": ["question", "answer"], "path": r"frame(?P<frame>\d+)_QA\.txt$"},
            "tracks": [{"task": "{question}", "column": "answer"}],
        },
        "m.yaml",
    )
    for frame, answer in (("000", "kidney"), ("001", "kidney"), ("002", "left, top")):
        (tmp_path / f"frame{frame}_QA.txt").write_text(f"What is it?|{answer}\n")
    paths = tuple(sorted(tmp_path.glob("*.txt")))
    assert rows(read_labels([LabelFiles(paths=paths, mapping=mapping)], TEN)) == [
        ("What is it?", 0.0, 0.2, "kidney"),
        ("What is it?", 0.2, pytest.approx(0.3), "left, top"),
    ]


def test_segments_over_several_parts_are_cut_at_the_ends_of_this_part(tmp_path: Path) -> None:
    mapping = {
        **SEGMENTS,
        **{"start_part": "p", "end_part": "q", "tracks": [{"task": "tool", "column": "Phase"}]},
    }
    text = "p,s,q,e,Phase\n1.0,2.0,2.0,1.5,hook\n2.0,3.0,2.0,4.0,clip\n1.0,0.0,3.0,1.0,scope\n"
    expected: dict[str, Rows] = {
        "001": [("tool", 0, 6, "scope"), ("tool", 2, 6, "hook")],
        "002": [("tool", 0, 1.5, "hook"), ("tool", 0, 6, "scope"), ("tool", 3, 4, "clip")],
        "003": [("tool", 0, 1, "scope")],
    }
    for part, labels in expected.items():
        assert rows(read(tmp_path, text, mapping, clock=TEN, names={"part": part})) == labels


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("one,0,2,1,A", "line 2: p is 'one'; write the number of a part"),
        ("2,0,1,1,A", "line 2: q is 1, before p 2; correct the row"),
    ],
)
def test_parts_that_are_no_order_are_refused(tmp_path: Path, row: str, message: str) -> None:
    mapping = {**SEGMENTS, "start_part": "p", "end_part": "q"}
    text = f"p,s,q,e,Phase\n{row}\n"
    with pytest.raises(ManifestError, match=message):
        read(tmp_path, text, mapping, clock=TEN, names={"part": "1"})
    with pytest.raises(ManifestError, match="give a pattern with the group"):
        read(tmp_path, text, mapping, clock=TEN)


def test_frame_numbers_of_a_slower_clock_label_seconds(tmp_path: Path) -> None:
    mapping = {**FRAMES, "grammar": "ticks", "fps": 30, "every_s": 5}
    text = "Frame,Phase\n0,A\n149,A\n300,A\n600,A\n"
    assert rows(read(tmp_path, text, mapping)) == [("phase", 0, 15, "A"), ("phase", 20, 25, "A")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "   "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_delimiter_line_ends_and_encoding_are_found(
    tmp_path: Path, delimiter: str, end: str, encoding: str
) -> None:
    lines = [("s", "e", "Phase"), ("0", "1.5", "Öffnung"), ("1.5", "2", "B")]
    text = "".join(delimiter.join(cells) + end for cells in lines)
    if encoding == "utf-32" and end == "\r":
        text += end
    expected: Rows = [("phase", 0, 1.5, "Öffnung"), ("phase", 1.5, 2, "B")]
    assert rows(read(tmp_path, text.encode(encoding), SEGMENTS)) == expected
    headless = {**SEGMENTS, "columns": ["s", "e", "Phase"]}
    assert rows(read(tmp_path, text.encode(encoding), headless)) == expected
    text = "".join(delimiter.join(cells) + end for cells in lines[1:])
    assert rows(read(tmp_path, text.encode(encoding), headless)) == expected


def test_another_encoding_is_named_by_the_mapping(tmp_path: Path) -> None:
    data = "s,e,Phase\n0,1,Öffnung\n".encode("latin-1")
    with pytest.raises(ManifestError, match=r"is not UTF-8 text; .* name its encoding"):
        read(tmp_path, data, SEGMENTS)
    found = read(tmp_path, data, {**SEGMENTS, "encoding": "latin-1"})
    assert rows(found) == [("phase", 0, 1, "Öffnung")]


def test_a_header_in_the_middle_and_columns_in_other_case_are_understood(tmp_path: Path) -> None:
    text = "Frame\tphase\n0\tA\nFrame\tphase\n1\tA\n"
    found = read(tmp_path, text, {**FRAMES, "fps": 1})
    assert rows(found) == [("phase", 0, 2, "A")]


def test_a_value_without_a_name_is_refused_with_its_line(tmp_path: Path) -> None:
    track = {**PHASE, "names": {"1": "Preparation"}}
    mapping = {**FRAMES, "fps": 1, "tracks": [track]}
    found = read(tmp_path, "Frame,Phase\n0,1.0\n", mapping)
    assert rows(found) == [("phase", 0, 1, "Preparation")]
    with pytest.raises(ManifestError, match="line 3: Phase is '2', which `names` of 'phase' does"):
        read(tmp_path, "Frame,Phase\n0,1\n1,2\n", mapping)


def test_a_pickle_and_a_spreadsheet_are_never_opened(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="is a pickle, which is never opened"):
        read(tmp_path, b"\x80\x04\x95abc", SEGMENTS)
    with pytest.raises(ManifestError, match="is a spreadsheet or a zip archive; save its table"):
        read(tmp_path, b"PK\x03\x04abc", SEGMENTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grammar": "rows"}, "m.yaml: grammar has the fault: invalid enum value 'rows'"),
        ({"tracks": []}, "the mapping has no tracks"),
        ({"time": ""}, "the grammar frames needs `time`"),
        ({"start": "s"}, "has no use for s; remove it"),
        ({"unit": "s"}, "the grammar frames needs `unit: frame`"),
        ({"fps": 0}, "fps is 0.0; give a number up to 1000, or video"),
        ({"fps": "25fps"}, "fps"),
        ({"grammar": "ticks", "every": 2.5}, "every is 2.5; give a whole number of frames"),
        ({"delimiter": "::"}, "the delimiter is '::'; give one character"),
        ({"columns": ["a", "a"]}, "columns has 'a' twice"),
        ({"encoding": "rot13"}, "encoding 'rot13' is not known"),
        ({"path": "(a"}, "is not a regular expression"),
        ({"path": "(a)"}, "has no named group"),
        ({"start_part": "p"}, "start_part and end_part belong together"),
        ({"first_rows": -1}, "first_rows is -1; give 0 or more"),
        (
            {"tracks": [{**PHASE, "mean": True, "names": {"1": "A"}}]},
            "has `mean`, which needs numbers; remove flags and names",
        ),
        ({"tracks": [{"task": "phase"}]}, "needs a task, and either column, columns or flags"),
        ({"tracks": [{**PHASE, "flags": {"a": ["b"]}}]}, "either column, columns or flags"),
        ({"tracks": [{"task": "t", "flags": {"a": []}}]}, "has a flag without columns"),
        (
            {"tracks": [{"task": "t", "flags": {"a": ["b"]}, "none": ["0"]}]},
            "has flags, of which a row may have none; remove `none`",
        ),
        ({"hue": 1}, "m.yaml has the unknown field hue; correct the mapping"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused(change: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        parse_mapping({**FRAMES, **change}, "m.yaml")


def test_a_mapping_is_read_from_yaml(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(
        "grammar: starts\ntime: t\ntracks:\n- {task: phase, column: p, names: {1: A}}\n"
    )
    assert read_mapping(path).tracks[0].names == {"1": "A"}
    path.write_text("{")
    with pytest.raises(ConfigError, match="is not YAML"):
        read_mapping(path)
