"""The rows of a split are the same from files of every known form; other files are refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from surgrec.audit import Clip, Columns, audit_split, read_split_clips
from surgrec.errors import ConfigError, ManifestError, SurgrecError
from tests.support.splits import PATTERN, clean_split, split_of, write_split

CASE = "(?P<case>c[0-9]+)"
ROWS = [("train", "c1/a b.mp4", "0"), ("val", "c2/b.mp4", "1"), ("test", "c3/c.mp4", "0")]


def rows(clips: object) -> list[tuple[str, str, str]]:
    return [(clip.part, clip.path, clip.label) for clip in clips]  # type: ignore[attr-defined]


def one_table(folder: Path) -> list[str]:
    lines = ["filename;split;finding", *(f"{path};{part};{label}" for part, path, label in ROWS)]
    (folder / "all.csv").write_text("\n".join(lines), encoding="utf-16")
    return [str(folder / "all.csv")]


def three_tables(folder: Path) -> list[str]:
    for part, path, label in ROWS:
        name = {"val": "validation"}.get(part, part)
        (folder / f"{name}_list.csv").write_text(f"finding,path,size\n{label},{path},3\n")
    return [str(folder)]


def lists(folder: Path) -> list[str]:
    for part, path, label in ROWS:
        (folder / f"{part}.txt").write_text(f'"{path}"\t{label}\n\n')
    (folder / "README.md").write_text("train and test")
    return [str(folder)]


def named_files(folder: Path) -> list[str]:
    paths = []
    for number, (part, path, label) in enumerate(ROWS):
        (folder / f"split_{number}.csv").write_text(
            f"{path},{label}\r\n" if number else f'"{path}" {label}\r\n'
        )
        paths.append(f"{part}={folder / f'split_{number}.csv'}")
    return paths


def json_lines(folder: Path) -> list[str]:
    lines = [json.dumps({"path": p, "finding": int(v), "split": s}) for s, p, v in ROWS]
    (folder / "all.jsonl").write_text("\n".join(lines))
    return [str(folder / "all.jsonl")]


def json_parts(folder: Path) -> list[str]:
    tree = {part: [[path, label]] for part, path, label in ROWS}
    (folder / "split.json").write_text(json.dumps(tree))
    return [str(folder / "split.json")]


def json_list(folder: Path) -> list[str]:
    tree = [{"subset": part, "file": path, "finding": label} for part, path, label in ROWS]
    (folder / "split.json").write_text(json.dumps(tree))
    return [str(folder / "split.json")]


FORMS = [one_table, three_tables, lists, named_files, json_lines, json_parts, json_list]


@pytest.mark.parametrize("write", FORMS, ids=[write.__name__ for write in FORMS])
def test_every_form_of_file_gives_the_same_rows(write: object, tmp_path: Path) -> None:
    paths = write(tmp_path)  # type: ignore[operator]
    columns = Columns(label="finding")
    if write in (lists, named_files, json_parts):
        columns = Columns()
    split = read_split_clips(paths, pattern=CASE, columns=columns)
    assert sorted(rows(split.clips)) == sorted(ROWS)
    assert [clip.case for clip in sorted(split.clips)] == ["c3", "c1", "c2"]
    assert len(split.digests) == (
        1 if write in (one_table, json_lines, json_parts, json_list) else 3
    )


def test_case_class_and_time_come_from_the_names(tmp_path: Path) -> None:
    parts = clean_split()
    split = read_split_clips([str(write_split(tmp_path / "s", parts))], pattern=PATTERN)
    assert sorted(split.clips) == sorted(split_of(parts).clips)


def test_a_table_with_cases_needs_no_pattern(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    path.write_text("split,video,patient,label\ntrain,a.mp4,7,0\ntest,b.mp4,7,0\n")
    split = read_split_clips([str(path)])
    assert split.clips[1] == Clip(part="test", path="b.mp4", label="0", case="7", video="7")


def test_a_pattern_goes_before_a_column_of_cases_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    path.write_text("split,file,case\ntrain,c1.mp4,7\ntest,c2.mp4,7\n")
    by_names = read_split_clips([str(path)], pattern=CASE)
    assert [clip.case for clip in by_names.clips] == ["c1", "c2"]
    rule = "the group case of --pattern; the column case of the table is not used"
    assert by_names.case_rule == rule

    by_column = read_split_clips([str(path)])
    assert [clip.case for clip in by_column.clips] == ["7", "7"]
    assert by_column.case_rule == "the column case of the table"


def test_a_patient_with_one_case_in_each_part_fails_the_audit(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    path.write_text("split,video,case,patient\ntrain,a.mp4,1,P\ntest,b.mp4,2,P\ntest,c.mp4,3,Q\n")
    (failure,) = audit_split(read_split_clips([str(path)])).failures
    assert (failure.name, failure.examples) == ("shared_patients", ("P",))
    assert failure.sentence == "1 of 2 test clips are of 1 patient of whom train has other cases"

    # Cases from the names, patients from the column.
    path.write_text("split,video,patient\ntrain,c1.mp4,P\ntest,c2.mp4,P\n")
    (failure,) = audit_split(read_split_clips([str(path)], pattern=CASE)).failures
    assert (failure.name, failure.found) == ("shared_patients", 1)


def test_stretches_of_two_files_of_a_case_are_of_two_videos(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("c1_a.mp4 0 10 x\nc1_b.mp4 0 10 x\n")
    split = read_split_clips([str(tmp_path)], pattern=CASE)
    assert [(clip.case, clip.video, clip.end) for clip in split.clips] == [
        ("c1", "c1_a.mp4", 10.0),
        ("c1", "c1_b.mp4", 10.0),
    ]


def test_a_label_map_of_both_directions_is_read(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("c1.mp4 6\n")
    (tmp_path / "label_mapping.json").write_text(
        '{"label_to_index": {"Phase": 6, "phase": 6}, "index_to_label": {"6": "Phase"}}'
    )
    split = read_split_clips([str(tmp_path)], pattern=CASE)
    assert split.label_names == {"6": "Phase"}


def test_names_of_labels_come_from_the_label_map(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("c1.mp4 6\n")
    (tmp_path / "label_map.json").write_text('{"Phase": 6}')
    split = read_split_clips([str(tmp_path)], pattern=CASE)
    assert split.shown_label("6") == "6 (Phase)"


REFUSED = {
    "no part": ("x.csv", "c1.mp4 0\n", {}, "does not say its part; give files as PART=FILE"),
    "no case": ("train.txt", "x.mp4 0\n", {}, "no case in 1 name of 1, the first one 'x.mp4'"),
    "unknown set": ("train.txt", "c1.mp4 0\n", {"pattern": ""}, "its folders name no known set"),
    "wrong set": ("train.txt", "c1.mp4 0\n", {"pattern": "", "dataset": "cholec"}, "is not known"),
    "no group": ("train.txt", "c1.mp4 0\n", {"pattern": "(?P<x>c1)"}, "no group is named 'case'"),
    "no expression": ("train.txt", "c1.mp4 0\n", {"pattern": "(?P<case>"}, "is not a regular exp"),
    "time": ("train.txt", "c1.mp4 nan 3 x\n", {}, "line 1, start is 'nan'; give a number"),
    "reversed": ("train.txt", "c1.mp4 9 3 x\n", {}, "ends at 3, before its start 9"),
    "no column": ("train.csv", "path,y\nc1,2\n", {"columns": Columns(label="z")}, "no column 'z'"),
    "no path": ("train.json", '[{"y": 2}]', {}, "row 1 has no column for the name of a clip"),
    "unknown part": ("s.csv", "path,split\nc1,7\n", {}, "line 2: the part '7' is not known"),
    "unknown key": ("s.json", '{"fold": []}', {}, "unknown key 'fold'; use train, val and test"),
    "nested": ("train.json", "[3]", {}, "row 1 is 3; give a name, a pair"),
    "empty": ("train.txt", "\n", {}, "has no rows; add clips"),
    "nul": ("train.txt", "c1.mp4\0 3\n", {}, "line 1: the file has NUL bytes"),
    "spreadsheet": ("train.csv", "PK\x03\x04", {}, "is a spreadsheet or a zip archive"),
    "other case": (
        "t.csv",
        "file,split,case\nc1.mp4,train,7\nc2.mp4,test,\n",
        {"pattern": ""},
        "the column case is empty in 1 row of 2, the first one 'c2.mp4'; fill it, or give",
    ),
    "two cases": (
        "t.csv",
        "file,split,number\nc1.mp4,train,7\n",
        {"columns": Columns(case="number")},
        "--pattern does not use --columns.case; leave it out, or leave --pattern out",
    ),
    "columns of a list": (
        "train.txt",
        "c1.mp4 0\n",
        {"columns": Columns(label="z")},
        r"train\.txt has no header with .* but --columns is given; name this column with",
    ),
    "columns of pairs": (
        "train.json",
        '[["c1.mp4", 2]]',
        {"columns": Columns(label="z")},
        "row 1 is .* but --columns is given; give an object, or leave --columns out",
    ),
    "corpus": (
        "train.txt",
        "c1.mp4 0\n",
        {"corpora": ["/data/corpus"]},
        r"train\.txt, which names clips, does not use --corpus; leave it out, or give a YAML file",
    ),
    "task": ("train.txt", "c1.mp4 0\n", {"task": "phase"}, "does not use --task; leave it out"),
    "pattern of rules": (
        "s.yaml",
        "name: x",
        {"columns": Columns(label="z"), "dataset": "cholec80"},
        r"which has rules over cases, does not use --dataset, --pattern, --columns; leave them out",
    ),
    "rules": ("s.yaml", "name: x", {"pattern": ""}, "give the corpus with --corpus"),
    "long": ("train.txt", f"c1{'x' * 5000}.mp4 3\n", {}, "has 5006 characters; give at most 4096"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_a_split_is_refused_by_its_place(name: str, tmp_path: Path) -> None:
    file, text, options, message = REFUSED[name]
    (tmp_path / file).write_text(text)
    with pytest.raises(SurgrecError, match=message):
        read_split_clips([str(tmp_path / file)], **{"pattern": CASE, **options})  # type: ignore[arg-type]


def test_files_without_an_end_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(SurgrecError, match="cannot be read"):
        read_split_clips([f"train={tmp_path / 'pipe.csv'}"], pattern=CASE)

    with (tmp_path / "train.csv").open("wb") as file:
        file.truncate(1 << 31)
    with pytest.raises(SurgrecError, match="cannot be read"):
        read_split_clips([str(tmp_path / "train.csv")], pattern=CASE)


@pytest.mark.slow
def test_a_million_rows_need_less_than_two_gigabytes(tmp_path: Path) -> None:
    for part, cases in (("train", range(4000)), ("test", range(4000, 5000))):
        with (tmp_path / f"{part}.txt").open("w") as file:
            file.writelines(
                f"videos/case_{case}_access_{20 * clip}-{20 * clip + 10}.mp4 {clip % 7}\n"
                for case in cases
                for clip in range(200)
            )
    program = (
        "import sys; from surgrec.audit import *; "
        "audit = audit_split(read_split_clips([sys.argv[1]], pattern=sys.argv[2])); "
        # `ru_maxrss` would start at the memory of this test's process.
        "[peak] = [line.split()[1] for line in open('/proc/self/status') if 'VmHWM' in line]; "
        "print(sum(part.clips for part in audit.parts), peak)"
    )
    command = [sys.executable, "-c", program, str(tmp_path), PATTERN]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    clips, kilobytes = map(int, done.stdout.split())
    assert clips == 1_000_000
    assert kilobytes < 2_000_000


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("cholec80", "cholec80 is the name of a published set, not a file; write its split"),
        ("colec80", "colec80 does not exist; check the path, or if you mean the published set"),
    ],
)
def test_a_published_set_in_place_of_a_split_is_told_the_way(
    word: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as refused:
        read_split_clips([word])
    assert str(refused.value).startswith(told)
    assert "`surgrec-shard check-source cholec80 DIR --write_split FILE.yaml`" in str(refused.value)

    write_split(tmp_path / word, clean_split())
    assert len(read_split_clips([word], pattern=PATTERN).clips) == 108


def test_a_folder_without_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no file with train, val or test in its name"):
        read_split_clips([str(tmp_path)])


@pytest.mark.slow
def test_an_expression_that_explodes_is_refused_in_seconds(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text(f"{'a' * 40}! 0\n")
    with pytest.raises(ManifestError, match="needs too much time or memory"):
        read_split_clips([str(tmp_path)], pattern="(?P<case>(a+)+)$")
