"""Hostile files of labels, each tried with a build of a video of 3 s."""

import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from tests.hostile.harness import Kind, Run, try_kind
from tests.support.tool import QUICK, read_report, write_csv
from tests.support.videos import make_video

HEADER = "task,start_s,end_s,value"
Rows = list[tuple[float, float, str]]


@functools.cache
def video() -> Path:
    """Return a video of 3 s at 10 frames per second, rendered once."""
    return make_video(Path(tempfile.mkdtemp()) / "a.mp4", seconds=3)


def build(folder: Path, labels: Path, *, others: Sequence[Path] = ()) -> list[object]:
    """Return the command that builds the video with a file of labels, and again with others."""
    rows = []
    for number, path in enumerate([labels, *others]):
        copy = folder / f"{number}.mp4"
        copy.write_bytes(video().read_bytes() + bytes(number))  # other bytes, another video
        rows.append(
            {
                "path": copy.name,
                "source": "lap",
                "domain": "laparoscopy",
                "case": f"case-{number}",
                "split": "train",
                "labels": path.name,
            }
        )
    manifest = write_csv(folder / "videos.csv", rows)
    return ["surgrec-shard", "build", "--manifest", manifest, "--out", folder / "corpus", *QUICK]


def of_text(text: str | bytes, name: str = "labels.csv") -> Callable[[Path], Sequence[object]]:
    """Return the maker of a build with labels of this content."""

    def make(folder: Path) -> Sequence[object]:
        data = text if isinstance(text, bytes) else text.encode()
        (folder / name).write_bytes(data)
        return build(folder, folder / name)

    return make


def of_rows(*rows: str) -> Callable[[Path], Sequence[object]]:
    """Return the maker of a build with these rows below the header."""
    return of_text("\n".join([HEADER, *rows]) + "\n")


def stored(*rows: tuple[float, float, str], **counts: int) -> Callable[[Path, Run], None]:
    """Return the check that exactly these labels are stored and that the report counts this."""

    def right(folder: Path, run: Run) -> None:
        assert run.status == 0, run.errors
        table = parquet.read_table(folder / "corpus/lap/labels.parquet").to_pylist()
        found = [(row["start_s"], row["end_s"], row["value"]) for row in table]
        assert sorted(found) == sorted(rows)
        report = read_report(folder / "corpus.private")["0.mp4"]
        assert {name: int(report[f"label_{name}"]) for name in counts} == counts

    return right


def other_kind_of_file(
    name: str, create: Callable[[Path], object]
) -> Callable[[Path], Sequence[object]]:
    """Return the maker of a build whose labels are something else than a file."""

    def make(folder: Path) -> Sequence[object]:
        create(folder / name)
        return build(folder, folder / name)

    return make


def one_bad_of_two(folder: Path) -> Sequence[object]:
    (folder / "good.csv").write_text(f"{HEADER}\nphase,0,3,a\n")
    (folder / "bad.csv").write_text(f"{HEADER}\nphase,0,3,a\nphase,15,30,b\n")
    return build(folder, folder / "good.csv", others=[folder / "bad.csv"])


def one_is_left_out(folder: Path, run: Run) -> None:
    assert run.status == 3
    report = read_report(folder / "corpus.private")
    assert (report["0.mp4"]["status"], report["1.mp4"]["status"]) == ("packed", "labels")
    assert "bad.csv, line 3: a label ends at 30 s" in report["1.mp4"]["detail"]
    assert "frame numbers at 10 frames per second" in report["1.mp4"]["detail"]


def many_are_stored(folder: Path, run: Run) -> None:
    assert run.status == 0
    assert parquet.read_table(folder / "corpus/lap/labels.parquet").num_rows == 20_000


AB = ((0.0, 1.0, "a"), (1.0, 3.0, "b"))
MANY = [f"phase,{n / 10_000},{(n + 1) / 10_000},v{n % 7}" for n in range(20_000)]

KINDS = [
    # Not text, or not a file.
    Kind(
        name="labels in UTF-16",
        make=of_text(f"{HEADER}\nphase,0,3,a\n".encode("utf-16")),
        right=stored((0.0, 3.0, "a"), overlaps=0),
    ),
    Kind(name="labels in Latin-1", make=of_text(f"{HEADER}\nphase,0,3,Ö\n".encode("latin-1"))),
    Kind(name="labels with a NUL byte", make=of_rows("phase,0,3,a\0b")),
    Kind(name="labels of random bytes", make=of_text(bytes(range(256)) * 40)),
    Kind(name="labels without a byte", make=of_text("")),
    Kind(name="labels that do not exist", make=other_kind_of_file("l.csv", lambda path: None)),
    Kind(name="labels that are a folder", make=other_kind_of_file("l.csv", os.mkdir)),
    Kind(name="labels that are a pipe", make=other_kind_of_file("l.csv", os.mkfifo)),
    Kind(
        name="labels that are a link to themselves",
        make=other_kind_of_file("l.csv", lambda path: path.symlink_to(path)),
    ),
    Kind(
        name="labels that are an endless device",
        make=other_kind_of_file("l.csv", lambda path: path.symlink_to("/dev/zero")),
    ),
    Kind(
        name="labels that are the video itself",
        make=other_kind_of_file("l.csv", lambda path: shutil.copy(video(), path)),
    ),
    Kind(name="labels in a spreadsheet", make=of_text("PK\x03\x04", "labels.xlsx")),
    Kind(name="labels without a suffix", make=of_text(f"{HEADER}\nphase,0,3,a\n", "labels")),
    # Another table.
    Kind(name="labels without a column", make=of_text("task,start_s,end_s\nphase,0,3\n")),
    Kind(name="labels with an unknown column", make=of_text(f"{HEADER},hue\nphase,0,3,a,red\n")),
    Kind(name="labels with a column twice", make=of_text(f"{HEADER},task\nphase,0,3,a,phase\n")),
    Kind(name="labels without a header", make=of_text("phase,0,3,a\n")),
    Kind(name="labels in another language", make=of_text("tâche,début,fin,valeur\nphase,0,3,a\n")),
    Kind(name="labels with a quote without end", make=of_rows('phase,0,3,"a', "phase,3,4,b")),
    Kind(name="a label without a cell", make=of_rows("phase,0,3")),
    Kind(name="a label with a cell too many", make=of_rows("phase,0,3,a,b")),
    Kind(name="a label with a cell of a megabyte", make=of_rows(f"phase,0,3,{'a' * 1_000_000}")),
    Kind(name="a label without a task", make=of_rows(",0,3,a")),
    Kind(name="a label without a value", make=of_rows("phase,0,3, ")),
    # Impossible times.
    Kind(name="a label before the video", make=of_rows("phase,-1,3,a")),
    Kind(name="a label that ends before it starts", make=of_rows("phase,2,1,a")),
    Kind(name="a label that starts at no number", make=of_rows("phase,nan,3,a")),
    Kind(name="a label without an end", make=of_rows("phase,0,inf,a")),
    Kind(name="a label with a number of 400 digits", make=of_rows(f"phase,0,{'9' * 400},a")),
    Kind(name="a label in hours, minutes and seconds", make=of_rows("phase,00:00:00,00:00:03,a")),
    Kind(name="a label in hexadecimal", make=of_rows("phase,0x0,0x3,a")),
    Kind(
        name="a label with decimal commas",
        make=of_text("task;start_s;end_s;value\nphase;0,5;2,5;a\n"),
    ),
    # Another unit, or another video.
    Kind(name="labels in frame numbers", make=of_rows("phase,0,15,a", "phase,15,30,b")),
    Kind(name="labels in milliseconds", make=of_rows("phase,0,1500,a", "phase,1500,3000,b")),
    Kind(name="labels in microseconds", make=of_rows("phase,0,3000000,a")),
    Kind(name="labels of a longer video", make=of_rows("phase,0,3,a", "phase,3,61.7,b")),
    Kind(name="labels as dates", make=of_rows("phase,1795766400,1795766403,a")),
    Kind(name="a label that ends at 1e300", make=of_rows("phase,0,1e300,a")),
    Kind(name="one of two videos has late labels", make=one_bad_of_two, right=one_is_left_out),
    # Unusual, and right.
    Kind(name="labels without rows", make=of_rows(), right=stored(overlaps=0, gaps=0)),
    Kind(
        name="labels with a byte order mark",
        make=of_text(b"\xef\xbb\xbf" + f"{HEADER}\nphase,0,1,a\nphase,1,3,b\n".encode()),
        right=stored(*AB),
    ),
    Kind(
        name="labels with line ends of Windows",
        make=of_text(f"{HEADER}\r\nphase,0,1,a\r\nphase,1,3,b\r\n"),
        right=stored(*AB),
    ),
    Kind(
        name="labels with line ends of an old Mac",
        make=of_text(f"{HEADER}\rphase,0,1,a\rphase,1,3,b\r"),
        right=stored(*AB),
    ),
    Kind(
        name="labels with tabs in a .csv",
        make=of_text(f"{HEADER}\nphase,0,1,a\nphase,1,3,b\n".replace(",", "\t")),
        right=stored(*AB),
    ),
    Kind(
        name="labels with semicolons and empty lines",
        make=of_text(f"{HEADER}\nphase,0,1,a\n\nphase,1,3,b\n\n\n".replace(",", ";")),
        right=stored(*AB),
    ),
    Kind(
        name="labels from the end to the beginning",
        make=of_rows("phase,1,3,b", "phase,0,1,a"),
        right=stored(*AB, overlaps=0, gaps=0),
    ),
    Kind(
        name="labels in other notations of numbers",
        make=of_rows("phase,0e0,+1.0,a", "phase, 1. ,.3e1,b"),
        right=stored(*AB),
    ),
    Kind(
        name="labels that overlap",
        make=of_rows("phase,0,2,a", "phase,1,3,b", "tool,0,3,c"),
        right=stored((0.0, 2.0, "a"), (1.0, 3.0, "b"), (0.0, 3.0, "c"), overlaps=1, gaps=0),
    ),
    Kind(
        name="labels with gaps",
        make=of_rows("phase,0,1,a", "phase,1.5,2,b", "phase,2.5,3,a"),
        right=stored((0.0, 1.0, "a"), (1.5, 2.0, "b"), (2.5, 3.0, "a"), gaps=2),
    ),
    Kind(
        name="labels of no length",
        make=of_rows("phase,0,3,a", "phase,1,1,b", "phase,2,2,c"),
        right=stored((0.0, 3.0, "a"), zero_lengths=2, overlaps=0),
    ),
    Kind(
        name="a label twice",
        make=of_rows("phase,0,3,a", "phase,0,3,a"),
        right=stored((0.0, 3.0, "a"), (0.0, 3.0, "a"), overlaps=1),
    ),
    Kind(
        name="labels that end a second late",
        make=of_rows("phase,0,1,a", "phase,1,4,b"),
        right=stored(*AB, late_ends=1),
    ),
    Kind(
        name="labels in another script, with formulas",
        make=of_rows("phase,0,1,胆嚢", "phase,1,3,=HYPERLINK(1)"),
        right=stored((0.0, 1.0, "胆嚢"), (1.0, 3.0, "=HYPERLINK(1)")),
    ),
    Kind(
        name="a label with a line end in its value",
        make=of_rows('phase,0,1,"a\nb"', "phase,1,3,b"),
        right=stored((0.0, 1.0, "a\nb"), (1.0, 3.0, "b")),
    ),
    Kind(name="20,000 labels in 2 s", make=of_rows(*MANY), right=many_are_stored),
]


@pytest.mark.slow
def test_hostile(kind: Kind, tmp_path: Path) -> None:
    try_kind(kind, tmp_path)
