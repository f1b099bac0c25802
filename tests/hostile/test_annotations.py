"""Hostile annotation files of every grammar, each shown with `surgrec-shard labels`."""

import json
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.harness import Kind, Run, try_kind

Make = Callable[[Path], Sequence[object]]
Rows = list[tuple[float, float, str]]
PHASE = {"task": "phase", "column": "Phase"}
FRAMES: dict[str, Any] = {
    **{"grammar": "frames", "time": "Frame", "unit": "frame", "fps": 1},
    "tracks": [PHASE],
}
SEGMENTS: dict[str, Any] = {"grammar": "segments", "start": "s", "end": "e", "tracks": [PHASE]}
CLOCK = {**SEGMENTS, "unit": "HH:MM:SS"}
HEADLESS = {**SEGMENTS, "columns": ["s", "e", "Phase"]}
NAMED = {**FRAMES, "tracks": [{**PHASE, "names": {"0": "A", "1": "B"}}]}
TOOLS = {
    **{"grammar": "ticks", "time": "Frame", "every": 1},
    "tracks": [{"task": "tool", "flags": {"hook": ["Hook"], "clip": ["Clip"]}}],
}
VECTORS: dict[str, Any] = {
    **{"grammar": "json", "at": "annotations", "time": "key"},
    "tracks": [{"task": "verb", "column": "1", "ignore": ["-1"]}],
}
INTERVALS: dict[str, Any] = {
    **{"grammar": "json", "at": "phases", "start": "start", "end": "end", "unit": "ms"},
    "tracks": [{"task": "phase", "column": "name"}],
}
COCO: dict[str, Any] = {"grammar": "coco", "time": "n", "tracks": [{"task": "p", "column": "p"}]}
SECONDS_OF_LONG_FILES = 400.0
"""Longest time for some hundred thousand rows, every call of which is checked in a test."""
FRAME = "Frame\tPhase\n"
SEGMENT = "s,e,Phase\n"


def shown(
    text: str | bytes | Callable[[Path], object],
    mapping: Mapping[str, Any] | str | bytes,
    *words: object,
    name: str = "labels.txt",
) -> Make:
    """Return the maker of a file that is shown with a mapping."""

    def make(folder: Path) -> Sequence[object]:
        path = folder / name
        if callable(text):
            text(path)
        else:
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        content = json.dumps(mapping) if isinstance(mapping, dict) else mapping
        assert isinstance(content, str | bytes)
        (folder / "m.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
        return ["surgrec-shard", "labels", name, "--mapping", "m.yaml", "--json", *words]

    return make


def right(*rows: tuple[float, float, str], **counts: int) -> Callable[[Path, Run], None]:
    """Return the check that exactly these labels are found, and these oddities."""

    def check(folder: Path, run: Run) -> None:
        assert run.status == 0, run.errors
        found = json.loads(run.out)
        assert [(row["start_s"], row["end_s"], row["value"]) for row in found["labels"]] == [*rows]
        named = {name: found["counts"][f"label_{name}"] for name in counts}
        assert named == counts

    return check


def has(number: int) -> Callable[[Path, Run], None]:
    """Return the check that so many labels are found."""

    def check(folder: Path, run: Run) -> None:
        assert run.status == 0, run.errors
        assert len(json.loads(run.out)["labels"]) == number

    return check


def track(**fields: Any) -> dict[str, Any]:
    return {**FRAMES, "tracks": [{**PHASE, **fields}]}


def coco(images: object, annotations: object) -> str:
    return json.dumps({"images": images, "annotations": annotations})


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("labels.txt", SEGMENT)


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"0" * 20_000_000)


AB = ((0.0, 1.0, "A"), (1.0, 2.0, "B"))
FILES: dict[str, tuple[str | bytes | Callable[[Path], object], Mapping[str, Any] | str | bytes]] = {
    # Another kind of file.
    "a pickle": (pickle.dumps({"video01": [1]}), FRAMES),
    "a pickle of protocol 0": (pickle.dumps({"video01": [1]}, 0), FRAMES),
    "a zip archive": (zipped, FRAMES),
    "a spreadsheet that unpacks to much": (bomb, FRAMES),
    "an old spreadsheet": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), FRAMES),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, FRAMES),
    "a gzip file": (b"\x1f\x8b\x08\x00" + bytes(range(256)), FRAMES),
    "a pipe": (os.mkfifo, FRAMES),
    "a folder": (os.mkdir, FRAMES),
    "no file": (lambda path: None, FRAMES),
    "a link to itself": (lambda path: path.symlink_to(path), FRAMES),
    "an endless device": (lambda path: path.symlink_to("/dev/zero"), FRAMES),
    "a terabyte": (sparse, FRAMES),
    "HTML": ("<!DOCTYPE html><html><body>Sign in</body></html>\n", FRAMES),
    "a pointer of Git LFS": ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", FRAMES),
    "an empty file": ("", FRAMES),
    "line breaks alone": ("\n\r\n\n", FRAMES),
    "a byte order mark alone": (b"\xef\xbb\xbf", FRAMES),
    # Text in other codes.
    "UTF-16 without a mark": ((FRAME + "0\tA\n").encode("utf-16-le"), FRAMES),
    "UTF-16 cut in a character": ((FRAME + "0\tA\n").encode("utf-16")[:-1], FRAMES),
    "Latin-1 without an encoding": ((FRAME + "0\tÖ\n").encode("latin-1"), FRAMES),
    "UTF-8 read as ASCII": (FRAME + "0\tÖ\n", {**FRAMES, "encoding": "ascii"}),
    "half a surrogate pair": (b"Frame\tPhase\n0\t\xed\xa0\x80\n", FRAMES),
    "NUL characters": (FRAME + "0\tA\0\n", FRAMES),
    "zeros at its end, as after a power failure": (FRAME + "0\tA\n" + "\0" * 4096, FRAMES),
    # Another table.
    "another header": ("frame_id\tstep\n0\tA\n", FRAMES),
    "no header": ("0\tA\n1\tB\n", FRAMES),
    "a column twice": ("Frame\tPhase\tPhase\n0\tA\tB\n", FRAMES),
    "a row that is cut short": (FRAME + "0\tA\n1\n", FRAMES),
    "a cell too many": (FRAME + "0\tA\tB\n", FRAMES),
    "an unclosed quote": (FRAME + '0\t"A\n1\tB\n', FRAMES),
    "a cell of a megabyte": (FRAME + "0\t" + "A" * 1_000_000 + "\n", FRAMES),
    "5,000 columns": ("\t".join(map(str, range(5000))) + "\n", FRAMES),
    "another delimiter than given": (FRAME + "0\tA\n", {**FRAMES, "delimiter": ";"}),
    "a value that is empty": (FRAME + "0\tA\n1\t\n", FRAMES),
    "a value without a name": (FRAME + "0\t0\n1\t7\n", NAMED),
    "a negative class": (FRAME + "0\t0\n1\t-1\n", NAMED),
    # Times.
    "a frame that is text": (FRAME + "zero\tA\n", FRAMES),
    "half a frame": (FRAME + "0.5\tA\n", FRAMES),
    "a negative frame": (FRAME + "-1\tA\n", FRAMES),
    "a frame before the first": (FRAME + "0\tA\n", {**FRAMES, "origin": 1}),
    "a frame of 400 digits": (FRAME + "9" * 400 + "\tA\n", FRAMES),
    "a frame at infinity": (FRAME + "inf\tA\n", FRAMES),
    "a frame that is no number": (FRAME + "nan\tA\n", FRAMES),
    "a frame in hexadecimal": (FRAME + "0x10\tA\n", FRAMES),
    "a frame in Arabic digits": (FRAME + "\u0663\tA\n", FRAMES),
    "a frame with thousands": (FRAME + "1_000\tA\n", FRAMES),
    "an empty frame": (FRAME + "\tA\n", FRAMES),
    "a formula as a time": (SEGMENT + "=1+1,3,A\n", SEGMENTS),
    "a decimal comma": ('s,e,Phase\n"0,5","1,5",A\n', SEGMENTS),
    "an end before its start": (SEGMENT + "3,1,A\n", SEGMENTS),
    "a time in 1e300 s": (SEGMENT + "0,1e300,A\n", SEGMENTS),
    "clock times read as seconds": (SEGMENT + "00:00:01,00:00:02,A\n", SEGMENTS),
    "seconds read as clock times": (SEGMENT + "1,2,A\n", CLOCK),
    "a clock of 61 seconds": (SEGMENT + "00:00:61,00:02:00,A\n", CLOCK),
    "a clock of 75 minutes": (SEGMENT + "00:75:00,02:00:00,A\n", CLOCK),
    "a clock with frames": (SEGMENT + "00:00:01:12,00:00:02:00,A\n", CLOCK),
    "a flag that is a word": ("Frame\tHook\tClip\n0\tyes\t0\n", TOOLS),
    # JSON.
    "JSON that is cut short": ('{"annotations": {"0": [[1, 2', VECTORS),
    "JSON in a table": (json.dumps({"annotations": {}}), FRAMES),
    "a table as JSON": (FRAME + "0\tA\n", VECTORS),
    "JSON that is a number": ("7", VECTORS),
    "JSON that is null": ("null", VECTORS),
    "JSON without the path": ("{}", VECTORS),
    "JSON with a key twice": ('{"annotations": {"0": [[1, 2]], "0": [[3, 4]]}}', VECTORS),
    "JSON nested a thousand times": ('{"annotations":' * 1000 + "1" + "}" * 1000, VECTORS),
    "JSON whose rows are text": ('{"annotations": "rows"}', VECTORS),
    "JSON with vectors that are short": ('{"annotations": {"0": [[1]]}}', VECTORS),
    "JSON with an object in a cell": ('{"annotations": {"0": [[1, {"a": 1}]]}}', VECTORS),
    "JSON with words as frames": ('{"annotations": {"first": [[1, 2]]}}', VECTORS),
    "JSON with a number of a megabyte": ('{"annotations": {"0": [[1, ' + "9" * 10**6, VECTORS),
    "JSON with NaN as a time": (
        '{"phases": [{"start": NaN, "end": 5, "name": "A"}]}',
        INTERVALS,
    ),
    "JSON without an end": ('{"phases": [{"start": 0, "name": "A"}]}', INTERVALS),
    "JSON with a start that is a list": (
        '{"phases": [{"start": [0], "end": 5, "name": "A"}]}',
        INTERVALS,
    ),
    "JSON with a backward interval": (
        '{"phases": [{"start": 9, "end": 5, "name": "A"}]}',
        INTERVALS,
    ),
    "COCO without images": (json.dumps({"annotations": []}), COCO),
    "COCO whose images are no list": (coco({}, []), COCO),
    "COCO with an unknown image": (coco([{"id": 1, "n": 0}], [{"image_id": 2, "p": 1}]), COCO),
    "COCO with annotations that are numbers": (coco([{"id": 1, "n": 0}], [7]), COCO),
    "COCO with a list as an image": (coco([{"id": 1}], [{"image_id": [1], "p": 1}]), COCO),
    "COCO without the time": (coco([{"id": 1}], [{"image_id": 1, "p": 1}]), COCO),
    # Mappings.
    "a mapping that is empty": (FRAME, ""),
    "a mapping that is a list": (FRAME, "[]"),
    "a mapping that is no YAML": (FRAME, "{"),
    "a mapping with a tag": (FRAME, "!!python/object/apply:os.system [id]"),
    "a mapping of random bytes": (FRAME, bytes(range(256))),
    "a mapping with an unknown grammar": (FRAME, {**FRAMES, "grammar": "z"}),
    "a mapping with an unknown unit": (FRAME, {**SEGMENTS, "unit": "min"}),
    "a mapping with a rate of zero": (FRAME, {**FRAMES, "fps": 0}),
    "a mapping with a rate below zero": (FRAME, {**FRAMES, "fps": -25}),
    "a mapping with ticks of no length": (FRAME, {**TOOLS, "every": 0}),
    "a mapping with an encoding that runs code": (FRAME, {**FRAMES, "encoding": "hex"}),
    "a mapping with a path that takes for ever": (
        FRAME + "0\tA\n",
        {**FRAMES, "path": "(?P<a>(l+)+)$"},
    ),
    "a mapping that asks for the video": (FRAME + "0\tA\n", {**FRAMES, "fps": "video"}),
    "a mapping with an unknown name": (FRAME + "0\tA\n", {**FRAMES, "only": {"Phase": "{who}"}}),
}
RIGHT: dict[str, tuple[Make, Callable[[Path, Run], None]]] = {
    "tabs and line ends of Windows": (
        shown("Frame\tPhase\r\n0\tA\r\n1\tB\r\n", FRAMES),
        right(*AB, gaps=0),
    ),
    "no line end at the end": (shown(FRAME + "0\tA\n1\tB", FRAMES), right(*AB)),
    "rows from the end to the beginning": (shown(FRAME + "1\tB\n0\tA\n", FRAMES), right(*AB)),
    "a frame twice": (shown(FRAME + "0\tA\n0\tA\n1\tB\n", FRAMES), right(*AB, overlaps=0)),
    "two values in one frame": (
        shown(FRAME + "0\tA\n0\tB\n", FRAMES),
        right((0.0, 1.0, "A"), (0.0, 1.0, "B"), overlaps=1),
    ),
    "frames that are missing": (
        shown(FRAME + "0\tA\n5\tA\n", FRAMES),
        right((0.0, 1.0, "A"), (5.0, 6.0, "A"), gaps=1),
    ),
    "frames as decimals": (shown(FRAME + "0.0\tA\n1.0\tB\n", FRAMES), right(*AB)),
    "classes as decimals": (shown(FRAME + "0\t0.0\n1\t1.0\n", NAMED), right(*AB)),
    "a header in the middle": (shown(FRAME + "0\tA\n" + FRAME + "1\tB\n", FRAMES), right(*AB)),
    "empty cells behind the last column": (shown(FRAME + "0\tA\t\t\n1\tB\n", FRAMES), right(*AB)),
    "rows of delimiters alone": (shown(FRAME + "0\tA\n\t\n1\tB\n", FRAMES), right(*AB)),
    "a header in capitals": (shown("FRAME\tPHASE\n0\tA\n1\tB\n", FRAMES), right(*AB)),
    "a header that the mapping does not expect": (
        shown(SEGMENT + "0,1,A\n1,2,B\n", HEADLESS),
        right(*AB),
    ),
    "rows alone": (shown("0;1;A\n1;2;B\n", HEADLESS), right(*AB)),
    "a thousand spaces between cells": (
        shown("0" + " " * 1000 + "1 A\n1 2 B\n", HEADLESS),
        right(*AB),
    ),
    "values with spaces": (
        shown("0 1 A b c\n", HEADLESS),
        right((0.0, 1.0, "A b c")),
    ),
    "a value in markup and controls": (
        shown(FRAME + "0\t[red]\x1b[31m\n", FRAMES),
        right((0.0, 1.0, "[red]\x1b[31m")),
    ),
    "a formula as a value": (shown(FRAME + "0\t=cmd|' /C calc'!A0\n", FRAMES), has(1)),
    "values that are left out": (
        shown(FRAME + "0\tA\n1\t-1\n2\t-1\n", track(ignore=["-1"])),
        right((0.0, 1.0, "A"), left_out=2),
    ),
    "300,000 frames": (
        shown(FRAME + "".join(f"{n}\t{n // 1000 % 7}\n" for n in range(300_000)), FRAMES),
        has(300),
    ),
    "100,000 segments": (
        shown(SEGMENT + "".join(f"{n},{n + 1},A{n % 9}\n" for n in range(100_000)), SEGMENTS),
        has(100_000),
    ),
    "20,000 nested intervals": (
        shown(
            SEGMENT + "".join(f"{n},{40_000 - n},A{n}\n" for n in range(20_000)),
            {**SEGMENTS, "tracks": [{**PHASE, "overlaps": "latest"}]},
        ),
        has(39_999),
    ),
    "JSON with a mark and vectors": (
        shown(b"\xef\xbb\xbf" + b'{"annotations": {"0": [[1, "A"], [1, -1]]}}', VECTORS),
        right((0.0, 1.0, "A"), left_out=1),
    ),
    "COCO with images of others": (
        shown(coco([{"id": 1, "n": 0}, {"id": 2, "n": 5}], [{"image_id": 1, "p": 3}]), COCO),
        right((0.0, 1.0, "3")),
    ),
    "an encoding that is named": (
        shown((FRAME + "0\tÖ\n").encode("cp1252"), {**FRAMES, "encoding": "cp1252"}),
        right((0.0, 1.0, "Ö")),
    ),
    "a name with a space and a bracket": (
        shown(FRAME + "0\tA\n1\tB\n", FRAMES, name="NBI (36) [x].txt"),
        right(*AB),
    ),
}
KINDS = [
    *(
        Kind(name=f"{name} is refused in one sentence", make=shown(text, mapping))
        for name, (text, mapping) in FILES.items()
    ),
    *(
        Kind(
            name=f"{name} is read right",
            make=make,
            right=check,
            seconds=SECONDS_OF_LONG_FILES if "00,000 " in name else 90.0,
        )
        for name, (make, check) in RIGHT.items()
    ),
    Kind(
        name="labels of a video that is none are refused",
        make=shown(FRAME + "0\tA\n", FRAMES, "--video", "labels.txt"),
    ),
    Kind(
        name="a table is shown without markup and controls of a value",
        make=lambda folder: shown(FRAME + "0\t[red]\x1b[31m\n", FRAMES)(folder)[:-1],
        right=lambda folder, run: _is_plain(run),
    ),
]


def _is_plain(run: Run) -> None:
    assert "[red]\\x1b[31m" in run.out
    assert "\x1b" not in run.out


@pytest.mark.slow
def test_hostile(kind: Kind, tmp_path: Path) -> None:
    run = try_kind(kind, tmp_path)
    # A file that can be read is not refused, and a fault is one of the file and not of the words.
    assert run.status == (0 if kind.right else 1), run.errors
