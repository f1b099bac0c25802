import os
from pathlib import Path

import pytest

from surgrec.annotations import PLAIN, Label, LabelFiles, VideoLabels
from surgrec.annotations import read_labels as read_files
from surgrec.errors import ManifestError

HEADER = "task,start_s,end_s,value"


def write(folder: Path, *lines: str, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read_labels(path: Path) -> VideoLabels:
    return read_files([LabelFiles(paths=(path,), mapping=PLAIN)])


def test_labels_are_sorted_by_time(tmp_path: Path) -> None:
    path = write(
        tmp_path, HEADER, "phase,5,20.5,dissection", "tool,0,2,grasper", "phase,0,5,access"
    )
    assert read_labels(path) == VideoLabels(
        labels=(
            Label(task="tool", start_s=0.0, end_s=2.0, value="grasper"),
            Label(task="phase", start_s=0.0, end_s=5.0, value="access"),
            Label(task="phase", start_s=5.0, end_s=20.5, value="dissection"),
        ),
        places=tuple(f"{path}, line {line}" for line in (3, 4, 2)),
        rows=((3,),),
    )


def test_a_row_of_length_zero_is_counted_and_labels_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER, "phase,5,5,access", "phase,5,9,dissection")
    found = read_labels(path)
    assert [label.value for label in found.labels] == ["dissection"]
    assert (found.places, found.zero_lengths) == ((f"{path}, line 3",), 1)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("phase,6,5,x", "start_s is 6 and end_s is 5; .*end_s must not be before start_s"),
        ("phase,-1,5,x", "start_s is -1, outside the video; correct it"),
        ("phase,0,inf,x", "end_s is 'inf'; write a number of seconds"),
        ("phase,nan,5,x", "start_s is 'nan'; write a number of seconds"),
        ("phase,00:05,5,x", "start_s is '00:05'; write a number of seconds, or correct `unit`"),
        ("phase,,5,x", "start_s is ''; write a number of seconds"),
        ("phase,1_0,5,x", "start_s is '1_0'; write a number of seconds"),
        (",0,5,x", "the task is empty; fill in {task}"),
        ("phase,0,5,", "value is empty; fill it in"),
        ("phase,0,5", "the row has 3 cells, but the header has 4; "),
    ],
)
def test_a_row_that_is_not_a_time_segment_with_a_value_is_refused(
    tmp_path: Path, row: str, message: str
) -> None:
    with pytest.raises(ManifestError, match=f"{tmp_path}/labels.csv, line 2: .*{message}"):
        read_labels(write(tmp_path, HEADER, row))


def test_unknown_columns_of_labels_are_refused_without_naming_a_flag(
    tmp_path: Path,
) -> None:
    with pytest.raises(ManifestError, match="unknown column 'color'; rename it, or remove it"):
        read_labels(write(tmp_path, f"{HEADER},color", "phase,0,5,x,red"))


@pytest.mark.parametrize("name", ["labels.tsv", "LABELS.CSV"])
def test_the_reader_is_chosen_by_the_suffix_in_any_case(tmp_path: Path, name: str) -> None:
    lines = [line.replace(",", "\t") for line in (HEADER, "phase,0,5,access")]
    found = read_labels(write(tmp_path, *lines, name=name))
    assert [label.value for label in found.labels] == ["access"]


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(ManifestError, match=r"pipe\.csv cannot be read \(a named pipe"):
        read_labels(tmp_path / "pipe.csv")
    path = write(tmp_path, HEADER, "phase,0,5,x", "phase,5,9,\0")
    with pytest.raises(ManifestError, match=r"labels\.csv, line 3: .*NUL bytes"):
        read_labels(path)
    path.write_bytes(f"{HEADER}\nphase,0,5,ö\n".encode("latin-1"))
    with pytest.raises(ManifestError, match="is not UTF-8 text"):
        read_labels(path)
