"""Splits that are clean, as lists of `path label`, to be spoiled by a test."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from surgrec.audit import Clip, SplitClips

PATTERN = r"(?P<case>case_[0-9]+)_(?P<class>[a-z]+)_(?P<start>[0-9]+)-(?P<end>[0-9]+)\.mp4$"
CLASSES = {"access": "0", "closure": "1", "dissection": "2"}

Rows = list[tuple[str, str]]
"""Names of clips with their labels."""


def clip_name(case: int, class_name: str, start: int) -> str:
    """Return the name of a clip of 10 units."""
    return f"videos/case_{case:02d}_{class_name}_{start}-{start + 10}.mp4"


def clips_of(cases: Iterable[int]) -> Rows:
    """Return three clips of each case, one of each class, 10 units apart."""
    return [
        (clip_name(case, name, 20 * number), label)
        for case in cases
        for number, (name, label) in enumerate(CLASSES.items())
    ]


def clean_split() -> dict[str, Rows]:
    """Return a split of 36 cases without a finding."""
    cases = {"train": range(1, 13), "val": range(21, 33), "test": range(41, 53)}
    return {part: clips_of(numbers) for part, numbers in cases.items()}


def split_of(parts: Mapping[str, Rows]) -> SplitClips:
    """Return rows as the audit reads them, with the content of their names."""
    clips = []
    for part, rows in parts.items():
        for path, label in rows:
            names = re.search(PATTERN, path)
            assert names, path
            clips.append(
                Clip(
                    part=part,
                    path=path,
                    label=label,
                    case=names["case"],
                    video=names["case"],
                    class_name=names["class"],
                    start=float(names["start"]),
                    end=float(names["end"]),
                )
            )
    return SplitClips(name="planted", clips=clips, case_rule="the number in the name")


def write_split(folder: Path, parts: Mapping[str, Rows]) -> Path:
    """Write each part as lines of `path label`; return the folder."""
    folder.mkdir(exist_ok=True)
    for part, rows in parts.items():
        text = "".join(f"{path} {label}\n" for path, label in rows)
        (folder / f"{part}.txt").write_text(text, encoding="utf-8")
    return folder
