"""Hostile presets, and odd copies of published sets, each checked with `check-source`."""

import json
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.harness import Kind, Run, try_kind

PRESET: dict[str, Any] = {
    **{"name": "ours", "title": "Ours", "domain": "laparoscopy", "license": "none"},
    **{"case_is": "one", "origin": "frames", "media": "pictures"},
    "videos": [{"pattern": r"(?P<id>\d+)/(?P<_frame>\d+)\.png$", "case": "{id}"}],
    "labels": [
        {
            "files": "{id}.csv",
            "mapping": {
                **{"grammar": "ticks", "time": "t"},
                "tracks": [{"task": "phase", "column": "p"}],
            },
        }
    ],
    "splits": {"main": {"status": "ours", "parts": {"train": "*", "test": "7-9"}}},
}
TREE = {"07/0.png": "", "07/1.png": "", "07.csv": "t,p\n0,a\n1,a\n"}
LABEL = PRESET["labels"][0]
VIDEO = PRESET["videos"][0]


def checked(
    change: Mapping[str, Any] | str | bytes,
    tree: Mapping[str, str] = TREE,
    *,
    prepare: Callable[[Path], object] = lambda folder: None,
) -> Callable[[Path], Sequence[object]]:
    """Return the maker of a copy of a set that is checked with a changed preset."""

    def make(folder: Path) -> Sequence[object]:
        for name, content in tree.items():
            (folder / "set" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "set" / name).write_text(content)
        (folder / "set").mkdir(exist_ok=True)
        prepare(folder / "set")
        content = json.dumps({**PRESET, **change}) if isinstance(change, Mapping) else change
        data = content.encode() if isinstance(content, str) else content
        (folder / "p.yaml").write_bytes(data)
        return ["surgrec-shard", "check-source", "p.yaml", "set", "--json"]

    return make


def archived(folder: Path) -> None:
    """Write the pictures into an archive."""
    with zipfile.ZipFile(folder / "pictures.zip", "w") as archive:
        for name in ("07/0.png", "07/1.png"):
            archive.writestr(name, b"")


def split(**rule: Any) -> dict[str, Any]:
    return {"splits": {"main": {"status": "ours", **rule}}}


def label(**fields: Any) -> dict[str, Any]:
    return {"labels": [{**LABEL, **fields}]}


def found(*, status: int, **facts: Any) -> Callable[[Path, Run], None]:
    """Return the check of the exit status and of fields of the answer."""

    def check(folder: Path, run: Run) -> None:
        assert run.status == status, run.out
        answer = json.loads(run.out)
        assert {name: answer[name] for name in facts} == facts

    return check


REFUSED: dict[str, Callable[[Path], Sequence[object]]] = {
    "a preset that is empty": checked(""),
    "a preset of random bytes": checked(bytes(range(256))),
    "a preset that is a list": checked("[]"),
    "a preset with an unknown field": checked({"code": "os.system"}),
    "a preset without videos": checked({"videos": []}),
    "a preset with labels that are text": checked({"labels": "phases"}),
    "a preset with a mapping that is text": checked(label(mapping="frames")),
    "a preset with an unknown grammar": checked(label(mapping={"grammar": "x", "tracks": []})),
    "a preset with an open group": checked({"videos": [{**VIDEO, "pattern": "(?P<id>"}]}),
    "a preset with groups without names": checked({"videos": [{**VIDEO, "pattern": r"(\d)/"}]}),
    "a preset with a pattern that takes for ever": checked(
        {"videos": [{**VIDEO, "pattern": r"(?P<id>(a+)+)$"}]}, {"a" * 60 + "b/0.png": ""}
    ),
    "a preset with an unknown name in its case": checked({"videos": [{**VIDEO, "case": "{who}"}]}),
    "a preset with an unknown name in a file": checked(label(files="{who}/{id}.csv")),
    "a preset with an unknown name in a folder": checked(label(files="{who}/x.csv")),
    "a preset with an unknown name in a split": checked(split(of="{who}", parts={"test": "7"})),
    "a preset with an unknown part": checked(split(parts={"holdout": "7"})),
    "a preset with two rules of a split": checked(split(parts={"test": "7"}, shares={"train": 1})),
    "a preset with no rule of a split": checked(split()),
    "a preset with negative shares": checked(split(shares={"train": -1.0})),
    "a preset with an unknown status": checked({"splits": {"a": {"status": "best", "parts": {}}}}),
    "a preset whose split is in a file that is missing": checked(split(lists={"train": "a.txt"})),
    "a preset whose split is in two files": checked(
        split(lists={"train": "a.txt"}), {**TREE, "x/a.txt": "7\n", "y/a.txt": "7\n"}
    ),
    "a preset whose split is in a broken table": checked(
        split(table="a.csv", key="id", column="split"), {**TREE, "a.csv": "id\n7\n"}
    ),
    "a preset whose table has another split": checked(
        split(table="a.csv", key="id", column="split"), {**TREE, "a.csv": "id,split\n7,fun\n"}
    ),
    "a preset with cases in a table without them": checked(
        {"case_table": {"file": "c.csv", "key": "id", "column": "who"}},
        {**TREE, "c.csv": "id,who\n8,x\n"},
    ),
    "a preset of videos with other pictures": checked(
        {"media": "videos", "other_pictures": ["*.png"]}
    ),
    "a preset with frames of a video of unknown rate": checked(label(of_video=True)),
    "a preset with totals of an unknown split": checked(
        {"expected": {"part_label_s": {"best": {"train": {"phase": 1.0}}}}}
    ),
    "a preset with a rate of pictures of no number": checked({"frame_fps": float("nan")}),
    "a preset with a rate of pictures that is too high": checked({"frame_fps": 1e9}),
    "a preset with a number of a picture that is text": checked(
        {"videos": [{**VIDEO, "pattern": r"(?P<id>\d+)/(?P<_frame>\w)\.png$"}]}, {"07/x.png": ""}
    ),
    "a preset with a number of a picture that is too long": checked({}, {f"07/{'9' * 40}.png": ""}),
    "a copy with pictures in an archive alone that is cut": checked(
        {}, {}, prepare=lambda folder: (folder / "07.zip").write_bytes(b"PK\x03\x04")
    ),
    "a copy without a file of the set": checked({}, {"readme.txt": ""}),
    "a copy that is empty": checked({}, {}),
}
RIGHT: dict[str, tuple[Callable[[Path], Sequence[object]], Callable[[Path, Run], None]]] = {
    "a complete copy": (
        checked({}),
        found(status=0, is_complete=True, missing=[], odd=[], splits={"test": 1}),
    ),
    "a copy without annotations": (
        checked({}, {"07/0.png": ""}),
        found(status=3, missing=["07/0.png: no 07.csv"]),
    ),
    "a copy with a loop of links": (
        checked({}, prepare=lambda folder: (folder / "loop").symlink_to(folder)),
        found(status=0, is_complete=True),
    ),
    "a copy with annotations that are a pipe": (
        checked({}, {"07/0.png": ""}, prepare=lambda folder: os.mkfifo(folder / "07.csv")),
        found(status=3, is_complete=False),
    ),
    "a copy with annotations of another recording": (
        checked({}, {**TREE, "08.csv": "t,p\n"}),
        found(status=0, odd=["08.csv: its recording is not there"]),
    ),
    "a copy with a name in brackets": (
        checked(
            {"videos": [{"pattern": r"(?P<id>[^/]+)/(?P<_frame>\d+)\.png$", "case": "{id}"}]},
            {"a[1] {x}/0.png": "", "a[1] {x}.csv": "t,p\n0,a\n"},
        ),
        found(status=0, is_complete=True, splits={"train": 1}),
    ),
    "a copy with pictures that are not known": (
        checked({}, {**TREE, "new/a.png": "", "new/b.jpg": ""}),
        found(
            status=0,
            odd=[
                "new: 2 pictures of this folder: no pattern of the preset ours matches their paths"
            ],
        ),
    ),
    "a copy with masks": (
        checked({"other_pictures": ["masks/*"]}, {**TREE, "masks/a.png": ""}),
        found(status=0, odd=[]),
    ),
    "a copy of pictures with a video": (
        checked({}, {**TREE, "07/op.mp4": ""}),
        found(status=0, odd=["07/op.mp4: a video file, and ours consists of pictures"]),
    ),
    "a copy without optional annotations": (
        checked(label(optional=True), {"07/0.png": ""}),
        found(status=0, missing=[], absent=["07/0.png: no 07.csv"]),
    ),
    "a copy with pictures in an archive": (
        checked({}, {"07.csv": TREE["07.csv"]}, prepare=archived),
        found(status=0, is_complete=True, odd=[], splits={"test": 1}),
    ),
    "a copy with less than was published": (
        checked({"expected": {"cases": 2}}),
        found(status=3, is_complete=False, missing=[]),
    ),
}
KINDS = [
    *(Kind(name=f"{name} is refused", make=make) for name, make in REFUSED.items()),
    *(
        Kind(name=f"{name} is told right", make=make, right=check)
        for name, (make, check) in RIGHT.items()
    ),
]


@pytest.mark.slow
def test_hostile(kind: Kind, tmp_path: Path) -> None:
    run = try_kind(kind, tmp_path)
    assert run.status in ((0, 3) if kind.right else (1,)), run.errors
