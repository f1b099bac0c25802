"""Read the result folders of evaluations, which may be damaged or come from elsewhere."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np
from jaxtyping import Int64

from surgrec.comparisons._kinds import KINDS, REMEDY, Kind
from surgrec.comparisons._predictions import Predicted, Windows, read_predictions
from surgrec.errors import ConfigError
from surgrec.json_files import read_json
from surgrec.scores.kinds import ScopeName

EVALUATION_FILE, PREDICTIONS_FILE = "evaluation.json", "predictions.parquet"
_FOLDERS = "evaluation"
"""Folder within a run that has the result folders."""
_ANSWERING_KIND = "vlm"
"""Kind of the encoder in the results of `surgrec vlm`."""
_FORMATS = (1, 2)
_MAX_CLASSES = 10_000
_LEVELS = ("centers", "patients")
"""Levels that group cases, the outermost first."""


class _Version(TypedDict):
    format: int


class _Encoder(TypedDict):
    name: NotRequired[str]
    kind: NotRequired[str]
    sha256: str


class _Split(TypedDict):
    name: str
    sha256: str
    definition: NotRequired[str]


class _Corpus(TypedDict):
    digests: dict[str, str]


class _Class(TypedDict):
    value: str
    train: int
    test: int


class _Verdict(TypedDict):
    classifier: str
    primary: bool


class _File(TypedDict):
    """The content of `evaluation.json`, as far as comparisons read it."""

    encoder: _Encoder
    task: str
    kind: NotRequired[str]
    scope: NotRequired[ScopeName]
    split: _Split
    protocol: str
    corpus: _Corpus
    classes: list[_Class]
    overrides: NotRequired[list[str]]
    classifiers: NotRequired[dict[str, str]]
    verdicts: list[_Verdict]
    units: NotRequired[dict[str, list[int]]]


@dataclass(frozen=True, kw_only=True)
class Result:
    """One evaluation: an encoder on a task."""

    folder: Path
    encoder_name: str
    encoder_sha256: str
    gives_answers: bool
    """Whether it is a vision-language model, whose answers are compared with any probe."""
    task: str
    kind: Kind
    scope: ScopeName
    """Whether windows are scored, or videos by the means over their windows."""
    split: str
    split_sha256: str
    split_definition: str
    """Digest of the rule that listed the cases of this corpus; empty: the file is the rule."""
    corpus_digests: dict[str, str]
    protocol: str
    overrides: list[str]
    classes: list[str]
    """Labels, sorted. Windows and predictions refer to them by their index."""
    train_counts: Int64[np.ndarray, " classes"]
    """Train windows of each class."""
    primary: str
    """The classifier whose verdict counts."""
    names: dict[str, str]
    """Names of classifiers in text, as far as they are known."""
    windows: Windows
    predictions: list[Predicted]
    unit_levels: dict[str, dict[str, int]] | None = None
    """Group of each case (`source/case`) at each level, such as `patients`; None if unknown."""
    center_names: dict[str, str] | None = None
    """Name of the center of each case in a joined result; None for one result folder."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Number of windows of each case (`source/case`) that other results of the same task and split
    lack; cases without such windows are absent."""

    @property
    def windows_left_out(self) -> int:
        """Windows that other results of the same task and split lack."""
        return sum(self.left_out.values())

    @property
    def cases_left_out(self) -> int:
        """Cases of which no window is left."""
        return len(self.left_out.keys() - set(self.windows.case_names))

    @property
    def unit(self) -> str:
        """The unit that is scored: `window` or `video`."""
        return "video" if self.scope == "video" else "window"

    def text_of(self, classifier: str) -> str:
        """Return the name of a classifier in text."""
        return self.names.get(classifier, classifier.replace("_", " "))


def result_folders(path: Path) -> list[Path]:
    """Return the folder itself if it has results, else those of a run, a benchmark or its folders.

    Raises:
        ConfigError: There are no results.
    """
    if os.path.lexists(path / EVALUATION_FILE):
        return [path]
    found = sorted((path / _FOLDERS).glob(f"*/{EVALUATION_FILE}"))
    found = found or sorted(path.glob(f"tasks/*/results/*/{EVALUATION_FILE}"))
    found = found or sorted(path.glob(f"*/{EVALUATION_FILE}"))
    if not found:
        raise ConfigError(
            f"{path} has no {EVALUATION_FILE}, and no evaluation of a run; give folders that "
            "`surgrec evaluate` wrote, folders of them, or runs or benchmarks with evaluations"
        )
    return [each.parent for each in found]


def read_result(folder: Path) -> Result:
    """Read one result folder.

    Raises:
        ConfigError: A file is missing, damaged, too large, of another format, or contradicts the
            other one.
    """
    path = folder / EVALUATION_FILE
    version = read_json(path, _Version, error=ConfigError, remedy=REMEDY)["format"]
    if version not in _FORMATS:
        raise ConfigError(
            f"{path} has format {version}, but this version of SurgRec reads "
            f"{' and '.join(map(str, _FORMATS))}; {REMEDY}"
        )
    content = read_json(path, _File, error=ConfigError, remedy=REMEDY)

    kind = KINDS.get(content.get("kind", "classes"))
    if kind is None:
        raise ConfigError(
            f"{path} has predictions of the kind {content['kind']!r}, but comparisons know "
            f"{', '.join(KINDS)}; leave this folder out"
        )
    classes = [row["value"] for row in content["classes"]]
    if (
        bool(classes) != kind.has_classes
        or len(classes) > _MAX_CLASSES
        or sorted(set(classes)) != classes
    ):
        raise ConfigError(
            f"{path} has no sorted list of at most {_MAX_CLASSES} classes of {kind.name}; {REMEDY}"
        )
    # Without random weights an evaluation has no verdict; its first classifier counts.
    primary = [row["classifier"] for row in content["verdicts"] if row["primary"]]
    primary = primary or list(content.get("classifiers", {}))[:1]
    if len(primary) != 1:
        raise ConfigError(f"{path} has {len(primary)} primary verdicts, not one; {REMEDY}")

    windows, predictions = read_predictions(folder / PREDICTIONS_FILE, kind, classes)
    return Result(
        folder=folder,
        encoder_name=content["encoder"].get("name", ""),
        encoder_sha256=content["encoder"]["sha256"],
        gives_answers=content["encoder"].get("kind") == _ANSWERING_KIND,
        task=content["task"],
        kind=kind,
        scope=content.get("scope", "moment"),
        split=content["split"]["name"],
        split_sha256=content["split"]["sha256"],
        split_definition=content["split"].get("definition", ""),
        corpus_digests=content["corpus"]["digests"],
        protocol=content["protocol"],
        overrides=content.get("overrides", []),
        classes=classes,
        train_counts=np.array([max(0, row["train"]) for row in content["classes"]], dtype=np.int64),
        primary=primary[0],
        names=content.get("classifiers", {}),
        windows=windows,
        predictions=predictions,
        unit_levels=_unit_levels(content["units"], windows, path) if "units" in content else None,
    )


def _unit_levels(
    levels: dict[str, list[int]], windows: Windows, path: Path
) -> dict[str, dict[str, int]]:
    """Return the group of each case at each level."""
    cases = sorted(set(windows.case_names))
    if set(levels) - set(_LEVELS) or any(len(each) != len(cases) for each in levels.values()):
        raise ConfigError(
            f"{path} has units that are not {' and '.join(_LEVELS)} of {len(cases)} cases; {REMEDY}"
        )
    return {name: dict(zip(cases, levels[name], strict=True)) for name in _LEVELS if name in levels}
