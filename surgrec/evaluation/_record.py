"""The results of a task: predictions of any method to scores, verdicts and files."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from surgrec import __version__
from surgrec.errors import ConfigError
from surgrec.evaluation._audit import Check, audit_labels
from surgrec.evaluation._labeled_windows import LabeledWindows
from surgrec.evaluation._predictions import FeaturesKind, Prediction, ScoredRow
from surgrec.evaluation._protocol import protocol
from surgrec.evaluation._results import FORMAT, split_record, write_evaluation
from surgrec.evaluation._run_probes import probe_inputs
from surgrec.evaluation._task import AuditedTask
from surgrec.evaluation._units import resampled_units
from surgrec.evaluation._verdicts import compare
from surgrec.evaluation._videos import scored_units
from surgrec.evaluation.probes import ELAPSED_TIME, Baseline


@dataclass(frozen=True, kw_only=True)
class Results:
    """The predictions of a method for the test windows of a task, and how they were made."""

    predictions: Sequence[Prediction]
    """Of every classifier on the trained encoder and, for a verdict, on random weights. Several
    seeds of a classifier are averaged. Baselines without features are added."""
    classifiers: Mapping[str, str]
    """Name of each classifier in files, with its name in text, in the order of tables."""
    primary: str
    """The classifier whose verdict counts."""
    methods: Sequence[str]
    """Parts of the protocol: features, and each classifier with every setting that moves a
    number."""
    checks: Sequence[Check] = ()
    """Further rows of the audit, such as fits that did not converge."""
    few_shot: Sequence[Mapping[str, Any]] = ()
    """Scores and verdicts of probes that were fitted on few train cases."""
    controls: Sequence[str] = ()
    """Classifiers that the primary one must beat, such as answers without images. Their
    predictions have the kind of features `trained`, too."""


def write_results(
    task: AuditedTask, windows: LabeledWindows, results: Results, out: Path
) -> dict[str, Any]:
    """Score the predictions of a method, and write the files of an evaluation.

    The baselines, the intervals and the verdicts are the same for every method.

    Args:
        task: The audited task.
        windows: Its labeled windows; all predictions are of those of `test`, in their order.
        results: The predictions.
        out: Folder for `evaluation.json`, `predictions.parquet` and `cases.parquet`.

    Returns:
        The content of `evaluation.json`.

    Raises:
        ConfigError: A prediction is of another number of windows, or of an unnamed classifier; or
            labels of videos are not the same throughout.
        StorageError: A file cannot be written.
    """
    kind, choice = task.kind, task.choice
    for prediction in results.predictions:
        _require_named(prediction, results.classifiers)
        kind.require_fit(prediction, windows)
    # Windows are scored, or videos by the means over their windows.
    scored, of_units = scored_units(windows, choice.scope)
    known = _baselines(task)
    no_features = torch.zeros(scored.num_rows, 0)
    baselines, rows_only = kind.baseline_rows(probe_inputs(no_features, scored), scored)
    predictions = [of_units(each) for each in results.predictions]
    predictions += [each for each in baselines if each.classifier in known]
    classifiers = {**results.classifiers, **{name: each.label for name, each in known.items()}}
    rows = _in_order([*_scored_rows(task, scored, predictions), *rows_only], classifiers)
    units = resampled_units(task.sources, windows.test)
    scores, verdicts = compare(
        rows,
        units,
        metrics=kind.metrics,
        primary=kind.primary,
        primary_classifier=results.primary,
        controls=results.controls,
    )
    sources = sorted(task.sources.items())
    record = {
        # The inputs and the method.
        "format": FORMAT,
        "encoder": task.encoder,
        "task": choice.task,
        "kind": kind.name,
        "scope": choice.scope,
        "split": split_record(choice.split),
        "protocol": protocol(
            results.methods,
            kind.video_rules if choice.scope == "video" else kind.rules,
            list(known.values()),
            primary=results.classifiers[results.primary],
            units=units.name,
        ),
        "corpus": {
            "addresses": sorted({source.store.address for _, source in sources}),
            "digests": {name: source.entry.digest for name, source in sources},
        },
        "surgrec": __version__,
        # The windows and the results.
        "counts": {name: part.counts for name, part in windows.by_name.items()},
        "classes": scored.class_rows if kind.has_classes else [],
        "audit": [
            asdict(check)
            for check in (*task.checks, *audit_labels(choice.task, windows), *results.checks)
        ],
        "units": units.levels,
        "overrides": [*task.overrides, *_unbeaten(verdicts, classifiers)],
        "classifiers": classifiers,
        "metrics": list(kind.metrics),
        "primary_metric": kind.primary,
        "scores": scores,
        "verdicts": verdicts,
        "few_shot": [dict(row) for row in results.few_shot],
    }
    windows_of_case = np.bincount(windows.test.case_indices).tolist()
    write_evaluation(out, record, scored, predictions, rows, kind, windows_of_case)
    return record


def _baselines(task: AuditedTask) -> dict[str, Baseline]:
    """Return the baselines by name; a label of a whole video has no time."""
    return {
        each.name: each
        for each in task.kind.baselines
        if task.choice.scope == "moment" or each is not ELAPSED_TIME
    }


def _unbeaten(verdicts: Sequence[Mapping[str, Any]], classifiers: Mapping[str, str]) -> list[str]:
    """Return a sentence for each control that the primary classifier does not beat."""
    return [
        f"not shown to be better than its control: {classifiers[row['classifier']]}, and "
        f"{classifiers[row['against']]}"
        for row in verdicts
        if row["against"] in classifiers and row["verdict"] != "better"
    ]


def _require_named(prediction: Prediction, classifiers: Mapping[str, str]) -> None:
    if prediction.classifier not in classifiers:
        raise ConfigError(
            f"a prediction is of the classifier {prediction.classifier!r}, but "
            f"{', '.join(classifiers)} are named; add it to `classifiers`"
        )


def _scored_rows(
    task: AuditedTask, windows: LabeledWindows, predictions: Sequence[Prediction]
) -> list[ScoredRow]:
    grouped: dict[tuple[FeaturesKind, str], list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        grouped[prediction.features, prediction.classifier].append(prediction)
    return [task.kind.row(group, windows, task.stride_s) for group in grouped.values()]


def _in_order(rows: Sequence[ScoredRow], classifiers: Iterable[str]) -> list[ScoredRow]:
    """Return the rows of trained features, of random ones, then the baselines."""
    features_order, classifier_order = get_args(FeaturesKind), list(classifiers)
    return sorted(
        rows,
        key=lambda row: (
            features_order.index(row.features),
            classifier_order.index(row.classifier),
        ),
    )
