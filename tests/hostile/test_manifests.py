"""Hostile manifests, label files and expressions: what a spreadsheet or a thief sends."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hostile.harness import Kind, try_kind

Make = Callable[[Path], Sequence[object]]
HEADER = "path,source,domain,case,split"
ROW = "a.mp4,lap,laparoscopy,one,train"
READ = "none of 1 video can be used"
"""The manifest was read, and its only video, which does not exist, was listed."""


@dataclass(frozen=True, kw_only=True)
class Worded(Kind):
    """A kind whose refusal must have these words: another reason would hide a fault."""

    words: str


def manifest(content: str | bytes, *words: str) -> Make:
    """The build of a manifest."""

    def make(folder: Path) -> Sequence[object]:
        data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
        (folder / "m.csv").write_bytes(data)
        return ["surgrec-shard", "build", "--manifest", "m.csv", "--out", "corpus", *words]

    return make


def listed(content: str) -> Make:
    """The build of a list without a header."""

    def make(folder: Path) -> Sequence[object]:
        (folder / "l.txt").write_text(content)
        words = ("surgrec-shard", "build", "--video_list", "l.txt", "--out", "corpus")
        return [*words, "--source", "lap", "--domain", "laparoscopy"]

    return make


def labels(content: str | bytes) -> Make:
    """The build of one file whose labels are these."""

    def make(folder: Path) -> Sequence[object]:
        (folder / "a.mp4").write_bytes(b"no video" * 100)
        (folder / "l.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        return manifest(f"{HEADER},labels\n{ROW},l.csv\n")(folder)

    return make


def dropped(content: str | bytes) -> Make:
    """The build of one video, parts of which a list drops."""

    def make(folder: Path) -> Sequence[object]:
        (folder / "a.mp4").write_bytes(b"no video" * 100)
        (folder / "d.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        return manifest(f"{HEADER},drop\n{ROW},d.csv\n")(folder)

    return make


def expression(text: str) -> Make:
    """The build of a folder whose cases an expression finds."""

    def make(folder: Path) -> Sequence[object]:
        (folder / "videos").mkdir()
        (folder / "videos" / ("a" * 200 + ".mp4")).write_bytes(b"no video")
        words = ("surgrec-shard", "build", "--videos", "videos", "--out", "corpus")
        return [*words, "--source", "lap", "--domain", "laparoscopy", "--case_from", text]

    return make


def at(place: Callable[[Path], object]) -> Make:
    """The build of a manifest at a path that `place` prepares."""
    return lambda folder: [
        *("surgrec-shard", "build", "--out", "corpus", "--manifest", place(folder))
    ]


def pipe(folder: Path) -> Path:
    """A named pipe."""
    os.mkfifo(folder / "pipe.csv")
    return folder / "pipe.csv"


def sparse(folder: Path) -> Path:
    """A file of a terabyte that takes no space."""
    (folder / "huge.csv").touch()
    os.truncate(folder / "huge.csv", 1 << 40)
    return folder / "huge.csv"


TASK = "task,start_s,end_s,value\n"
MANIFESTS: dict[str, tuple[str | bytes, str]] = {
    "nothing": ("", "has no column path"),
    "a header alone": (HEADER + "\n", "lists no videos below its header"),
    "line breaks alone": ("\n\n\n\n", "has no column path"),
    "a byte order mark": (b"\xef\xbb\xbf" + f"{HEADER}\n{ROW}\n".encode(), READ),
    "semicolons": (f"{HEADER}\n{ROW}\n".replace(",", ";"), READ),
    "tabs": (f"{HEADER}\n{ROW}\n".replace(",", "\t"), READ),
    "line ends of Windows": (f"{HEADER}\r\n{ROW}\r\n", READ),
    "line ends of an old Mac": (f"{HEADER}\r{ROW}\r", READ),
    "spaces around cells": (f"{HEADER}\n{ROW}\n".replace(",", " , "), READ),
    "UTF-16": (f"{HEADER}\n{ROW}\n".encode("utf-16"), "is read as utf-16"),
    "UTF-16 without a mark": (f"{HEADER}\n{ROW}\n".encode("utf-16-le"), "NUL bytes"),
    "half a character in UTF-16": (f"{HEADER}\n{ROW}\n".encode("utf-16") + b"x", "is not text"),
    "Latin-1": (f"{HEADER}\nö.mp4,lap,laparoscopy,one,train\n".encode("latin-1"), "as cp1252"),
    "noise": (bytes(range(1, 256)) * 40, "is not text"),
    "a zip archive": (b"PK\x03\x04" + bytes(99), "a spreadsheet or a zip archive"),
    "an object that is not closed": ("{" + f"{HEADER}\n{ROW}\n", "not valid JSON"),
    "objects 100 levels deep": ('{"a":' * 100 + "1" + "}" * 100, "64 levels"),
    "an object of other columns": ('{"a": 1}\n', "has no column path"),
    "a rate of pictures without end": (f"{HEADER},fps\n{ROW},inf\n", "fps is 'inf'"),
    "a rate of pictures of a video": (f"{HEADER},fps\n{ROW},25\n", READ),
    "a NUL character": (f"{HEADER}\na\0.mp4,lap,laparoscopy,one,train\n", "NUL bytes"),
    "a mask of negative numbers": (
        f'{HEADER},mask\n{ROW},"-1,0,4,4"\n',
        "mask has '-1,0,4,4'; give boxes",
    ),
    "a mask of no size": (f'{HEADER},mask\n{ROW},"0,0,0,4"\n', "mask has '0,0,0,4'; give boxes"),
    "a mask of three numbers": (f'{HEADER},mask\n{ROW},"1,2,3"\n', "mask has '1,2,3'; give"),
    "a mask in Arabic digits": (f'{HEADER},mask\n{ROW},"\u0661,0,4,4"\n', "give boxes"),
    "a mask of six digits": (f'{HEADER},mask\n{ROW},"0,0,100000,4"\n', "give boxes"),
    "10,000 masks": (f'{HEADER},mask\n{ROW},"{"0,0,2,2;" * 9_999}0,0,2,2"\n', READ),
    "a column twice": (f"{HEADER},case\n{ROW},two\n", "the column case twice"),
    "a column missing": ("path,source,domain,case\na.mp4,lap,laparoscopy,one\n", "column split"),
    "a column unknown": (f"{HEADER},surgeon\n{ROW},X\n", "unknown column 'surgeon'"),
    "a column without a name": (f"{HEADER},\n{ROW},\n", "unknown column ''"),
    "100,000 columns": (HEADER + "".join(f",c{n}" for n in range(100_000)), "more than 1000"),
    "a cell too many": (f"{HEADER}\n{ROW},more\n", "the row has 6 cells, but the header has 5"),
    "a cell too few": (f"{HEADER}\na.mp4,lap\n", "the row has 2 cells, but the header has 5"),
    "an unclosed quote": (f'{HEADER}\n"a.mp4,lap,laparoscopy,one,train\n', "invalid CSV"),
    "a quote inside a cell": (f'{HEADER}\n"a"b.mp4,lap,laparoscopy,one,train\n', "invalid CSV"),
    "a cell of a megabyte": (
        f"{HEADER}\n{'a' * 1_000_000},lap,laparoscopy,o,train\n",
        "invalid CSV",
    ),
    "a path that is empty": (f"{HEADER}\n,lap,laparoscopy,one,train\n", "the path is empty"),
    "a device as a video": (f"{HEADER}\n/dev/zero,lap,laparoscopy,one,train\n", READ),
    "a folder as a video": (f"{HEADER}\n/,lap,laparoscopy,one,train\n", READ),
    "a URL as a video": (f"{HEADER}\nhttp://x.invalid/a.mp4,lap,laparoscopy,one,train\n", READ),
    "a formula as a case": (f"{HEADER}\na.mp4,lap,laparoscopy,=cmd|' /C calc'!A0,train\n", READ),
    "a source with a slash": (f"{HEADER}\na.mp4,../x,laparoscopy,o,train\n", "not a valid name"),
    "a source of 100 letters": (
        f"{HEADER}\na.mp4,{'s' * 100},laparoscopy,o,train\n",
        "not a valid",
    ),
    "a source in other digits": (
        f"{HEADER}\na.mp4,\u0663,laparoscopy,o,train\n",
        "not a valid name",
    ),
    "sources that differ in case": (
        f"{HEADER}\n{ROW}\nb.mp4,LAP,laparoscopy,t,train\n",
        "upper and",
    ),
    "a source of two domains": (f"{HEADER}\n{ROW}\nb.mp4,lap,cataract,t,train\n", "one domain"),
    "a domain misspelled": (
        f"{HEADER}\na.mp4,lap,laparascopy,o,train\n",
        "looks like a misspelling",
    ),
    "a split in capitals": (f"{HEADER}\na.mp4,lap,laparoscopy,o,Train\n", "split is 'Train'"),
    "yes in place of true": (f"{HEADER},public\n{ROW},yes\n", "use true or false"),
    "a thousand line breaks in a case": (
        f'{HEADER}\na.mp4,lap,laparoscopy,"{chr(10) * 999}x",train\n',
        READ,
    ),
}
LABELS: dict[str, tuple[str | bytes, str]] = {
    "no header": ("phase,0,1,a\n", "has no column"),
    "times that are text": (TASK + "phase,zero,1,a\n", "a number of seconds"),
    "times that are not numbers": (TASK + "phase,nan,1,a\n", "start_s is 'nan'"),
    "an end at infinity": (TASK + "phase,0,inf,a\n", "end_s is 'inf'"),
    "an end that overflows": (TASK + "phase,0,1e999,a\n", "end_s is 1e999, outside the video"),
    "a start below zero": (TASK + "phase,-1,1,a\n", "start_s is -1"),
    "an end before its start": (TASK + "phase,5,1,a\n", "end_s must not be before start_s"),
    "clock times": (TASK + "phase,00:00:01,00:00:05,a\n", "a number of seconds"),
    "a decimal comma": (TASK + 'phase,"0,5","1,5",a\n', "a number of seconds"),
    "a task without a name": (TASK + ",0,1,a\n", "the task is empty"),
    "a value that is empty": (TASK + "phase,0,1,\n", "value is empty"),
    "NUL characters": ((TASK + "phase,0,1,a\0\n").encode(), "NUL bytes"),
    "UTF-32": ((TASK + "phase,0,1,a\n").encode("utf-32"), READ),
}
EXPRESSIONS: dict[str, tuple[str, str]] = {
    "nested repeats": ("(a+)+$", "needs too much time"),
    "overlapping choices": ("((?:a|a|aa)*)b", "needs too much time"),
    "many stars": ("(.*.*.*.*.*.*.*.*x)", "needs too much time"),
    "a huge repeat": ("(a{1000000})", "finds no case"),
    "nested repeats that multiply": ("((?:(?:a{100}){100}){100})", "case_from"),
    "a look-ahead": ("(?=b)(a)", "finds no case"),
    "a backreference": (r"(a)\2", "invalid group reference"),
    "no group": ("a+", "has 0 groups"),
    "two groups": ("(a)(a)", "has 2 groups"),
    "an open group": ("(a", "missing )"),
    "an empty match": ("(b*)", "finds no case"),
    "a class of no known name": (r"(\p{Klingon})", r"bad escape \p"),
    "5,000 characters": ("(" + "a" * 5_000 + ")", "give at most 1000"),
    "2,000 groups": ("(a)" * 300, "has 300 groups"),
    "bytes that are not UTF-8": ("(\udcff)", "finds no case"),
}
PLACES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pipe": (pipe, "not a regular file"),
    "an endless device": (lambda folder: "/dev/zero", "not a regular file"),
    "a terabyte": (sparse, "larger than"),
    "a folder": (lambda folder: folder, "is a folder"),
}
LISTS: dict[str, tuple[str, str]] = {
    "a word": ("a.mp4\n", "has 1 words"),
    "paths with spaces": ("a b.mp4 1\n", "has 3 words"),
    "a quote that is not closed": ('"a.mp4 1\n', "a quote that is not closed"),
    "many quotes": ('"' * 9999 + "\n", "a quote that is not closed"),
    "a path of no characters": ('"" 1\n', "has 2 words"),
    "100,000 words": ("a " * 100_000 + "\n", "has 100000 words"),
    "a segment that ends before its start": ("a.mp4 5 1 x\n", READ),
}
STRETCH = "start_s,end_s,reason\n"
STRETCHES: dict[str, tuple[str | bytes, str]] = {
    "nothing": ("", "has no column"),
    "a header alone": (STRETCH, READ),
    "one stretch twice": (f"{STRETCH}1,2,x\n1,2,x\n", READ),
    "stretches that overlap": (f"{STRETCH}1,5,x\n0,9,y\n2,3,\n", READ),
    "10,000 stretches": (STRETCH + "1,2,x\n" * 10_000, READ),
    "a stretch backward": (f"{STRETCH}5,4,x\n", "ends at 4 s, but starts at 5 s"),
    "a stretch of no length": (f"{STRETCH}5,5,x\n", "ends at 5 s, but starts at 5 s"),
    "NaN": (f"{STRETCH}nan,4,x\n", "start_s is 'nan', not a number of seconds"),
    "infinity": (f"{STRETCH}1,inf,x\n", "end_s is 'inf', not a number of seconds"),
    "a clock time": (f"{STRETCH}00:01:00,00:02:00,x\n", "start_s is '00:01:00', not a number"),
    "5,000 digits": (f"{STRETCH}1,{'9' * 5000},x\n", "not a number of seconds"),
    "a name as the reason": (f"{STRETCH}1,2,Mr Smith\n", "is not one word"),
    "a formula as the reason": (f"{STRETCH}1,2,=cmd\n", "is not one word"),
    "a video as the list": (b"\0\0\0 ftypisom", "NUL bytes"),
}
KINDS: list[Kind] = [
    *(
        Worded(name=f"a list of stretches with {name}", make=dropped(text), words=words)
        for name, (text, words) in STRETCHES.items()
    ),
    *(
        Worded(
            name=f"a manifest with {name} ends in one sentence", make=manifest(text), words=words
        )
        for name, (text, words) in MANIFESTS.items()
    ),
    *(
        Worded(name=f"a list with {name} ends in one sentence", make=listed(text), words=words)
        for name, (text, words) in LISTS.items()
    ),
    *(
        Worded(name=f"labels with {name} end in one sentence", make=labels(text), words=words)
        for name, (text, words) in LABELS.items()
    ),
    *(
        Worded(name=f"an expression with {name} is refused", make=expression(text), words=words)
        for name, (text, words) in EXPRESSIONS.items()
    ),
    *(
        Worded(name=f"{name} in place of a manifest is refused", make=at(place), words=words)
        for name, (place, words) in PLACES.items()
    ),
]


@pytest.mark.slow
def test_hostile(kind: Kind, tmp_path: Path) -> None:
    run = try_kind(kind, tmp_path)
    assert isinstance(kind, Worded)
    assert kind.words.lower() in run.errors.lower(), run.errors
