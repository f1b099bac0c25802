"""The predictions of every classifier on the features of every encoder, by one procedure."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from surgrec.errors import ConfigError
from surgrec.evaluation.audit import Check
from surgrec.evaluation.labeled_windows import LabeledWindows
from surgrec.evaluation.probes.probe import (
    C_GRID,
    LabeledFeatures,
    knn_predictions,
    logistic_predictions,
    majority_prediction,
)
from surgrec.evaluation.results import FeaturesKind, Prediction
from surgrec.features import Features

TRAINED = "trained"
RANDOM_SEEDS = (0, 1, 2)


@dataclass(frozen=True, kw_only=True)
class Classified:
    """What the classifiers say of the test windows, and what was chosen on the way."""

    predictions: list[Prediction]
    chosen_c: dict[str, float]
    """The logistic regression's C, by features."""
    checks: list[Check]


def random_name(seed: int) -> str:
    """The name of the features from random weights."""
    return f"random-{seed}"


def classify(features: Mapping[str, Features], windows: LabeledWindows) -> Classified:
    """The predictions of kNN and logistic regression on all features, and the majority's.

    Args:
        features: `TRAINED`, and those from random weights, all of the same windows.
        windows: The labeled ones.

    Raises:
        ConfigError: Features are of other windows, or not finite.
    """
    predictions, chosen_c, unconverged = [], {}, 0
    for seed in (None, *RANDOM_SEEDS):
        name = TRAINED if seed is None else random_name(seed)
        _require_same_windows(features[TRAINED], features[name], name)
        train = LabeledFeatures(
            values=_values(features[name], windows.train.places, name),
            label=windows.train_labels,
            case=windows.train_cases,
            num_classes=len(windows.classes),
        )
        test = _values(features[name], windows.test.places, name)
        kind: FeaturesKind = "trained" if seed is None else "random"
        nearest, logistic = knn_predictions(train, test), logistic_predictions(train, test)
        predictions += [
            Prediction(features=kind, seed=seed or 0, classifier="knn", label=nearest),
            Prediction(features=kind, seed=seed or 0, classifier="logistic", label=logistic.label),
        ]
        chosen_c[name] = logistic.c
        unconverged += not logistic.converged
    majority = majority_prediction(windows.train_labels, len(windows.test.rows))
    predictions.append(Prediction(features="none", seed=0, classifier="majority", label=majority))
    stopped = Check(
        check="logistic regressions stopped before they converged",
        found=unconverged,
        of=len(chosen_c),
    )
    at_edge = sum(c in (C_GRID[0], C_GRID[-1]) for c in chosen_c.values())
    edge = Check(
        check="logistic regressions whose C is at the edge of the grid",
        found=at_edge,
        of=len(chosen_c),
    )
    return Classified(predictions=predictions, chosen_c=chosen_c, checks=[stopped, edge])


def _values(
    features: Features, places: Int64[np.ndarray, " n"], name: str
) -> Float32[np.ndarray, "n d"]:
    values = features.values.numpy()[places]
    if not np.isfinite(values).all():
        raise ConfigError(
            f"the features {name} hold values that are not finite numbers; look at how the encoder trained"
        )
    return np.asarray(values)


def _require_same_windows(expected: Features, found: Features, name: str) -> None:
    def windows(features: Features) -> list[tuple[str, str, float]]:
        return [(row.source, row.video, row.start_s) for row in features.rows]

    if windows(found) != windows(expected):
        raise ConfigError(
            f"the features {name} are of {len(found.rows)} windows, others than the {len(expected.rows)} of {TRAINED}: "
            "what could be read changed in between; remove the folder of features and run again"
        )
