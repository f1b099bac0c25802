"""Fit every probe on the features of every encoder, in the same way."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from surgrec.errors import ConfigError
from surgrec.evaluation._audit import Check
from surgrec.evaluation._labeled_windows import LabeledWindows
from surgrec.evaluation._results import FeaturesKind, Prediction
from surgrec.evaluation.probes import MAJORITY, PROBES, LabeledFeatures, majority_predictions
from surgrec.features import Features

TRAINED = "trained"
"""Name of the features from trained weights."""
RANDOM_SEEDS = (0, 1, 2)
"""Seeds of the random weights that trained weights are compared with."""


@dataclass(frozen=True, kw_only=True)
class ProbeResults:
    """The predictions of all classifiers, and the settings and problems of their fits."""

    predictions: list[Prediction]
    chosen: dict[str, dict[str, str]]
    """Settings that each probe chose, by the name of the features."""
    checks: list[Check]


def random_name(seed: int) -> str:
    """Return the name of the features from random weights."""
    return f"random-{seed}"


def run_probes(features: Mapping[str, Features], windows: LabeledWindows) -> ProbeResults:
    """Return the predictions of all probes on all features, and of the majority baseline.

    Args:
        features: Features from trained weights and from each seed of random weights, by name. All
            are of the same windows.
        windows: The labeled windows.

    Raises:
        ConfigError: Features are of other windows, or not finite.
    """
    predictions: list[Prediction] = []
    chosen: dict[str, dict[str, str]] = defaultdict(dict)
    issues: Counter[str] = Counter()

    for seed in (None, *RANDOM_SEEDS):
        name = TRAINED if seed is None else random_name(seed)
        kind: FeaturesKind = "trained" if seed is None else "random"
        _require_same_windows(features[TRAINED], features[name], name)
        train = LabeledFeatures(
            values=_finite_values(features[name], windows.train.indices, name),
            label=windows.train_labels,
            case=windows.train_cases,
            num_classes=len(windows.classes),
        )
        test = _finite_values(features[name], windows.test.indices, name)

        for probe in PROBES:
            result = probe.fit_predict(train, test)
            predictions.append(
                Prediction(features=kind, seed=seed or 0, classifier=probe.name, label=result.label)
            )
            chosen[probe.name][name] = result.chosen
            issues.update(result.issues)

    majority = majority_predictions(windows.train_labels, len(windows.test.rows))
    predictions.append(
        Prediction(features="none", seed=0, classifier=MAJORITY.name, label=majority)
    )
    checks = [
        Check(check=issue, found=issues[issue], of=1 + len(RANDOM_SEEDS))
        for probe in PROBES
        for issue in probe.issues
    ]
    return ProbeResults(predictions=predictions, chosen=dict(chosen), checks=checks)


def _finite_values(
    features: Features, indices: Int64[np.ndarray, " n"], name: str
) -> Float32[np.ndarray, "n d"]:
    values = features.values.numpy()[indices]
    if not np.isfinite(values).all():
        raise ConfigError(
            f"the features {name} contain values that are not finite; check the training of the "
            "encoder"
        )
    return np.asarray(values)


def _require_same_windows(expected: Features, features: Features, name: str) -> None:
    expected_windows, windows = (
        [(row.source, row.video, row.start_s) for row in each.rows] for each in (expected, features)
    )
    if windows != expected_windows:
        raise ConfigError(
            f"the features {TRAINED} and {name} have different windows "
            f"({len(expected_windows)} and {len(windows)}), as the data changed between their "
            "extractions; remove the folder of features and run again"
        )
