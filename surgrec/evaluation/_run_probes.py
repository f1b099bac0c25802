"""Fit every probe on the features of every encoder, in the same way."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from surgrec.errors import ConfigError
from surgrec.evaluation._audit import Check
from surgrec.evaluation._labeled_windows import LabeledWindows, PartWindows
from surgrec.evaluation._predictions import FeaturesKind, Prediction
from surgrec.evaluation.kinds import KindProbe, Outcome
from surgrec.evaluation.kinds.kind import Inputs
from surgrec.evaluation.pixels import PIXELS, is_pixels, reduced
from surgrec.evaluation.probes import LabeledFeatures, WindowFeatures
from surgrec.features import Features, WindowRow

_CPU = torch.device("cpu")

TRAINED = "trained"
"""Name of the features from trained weights."""
RANDOM_SEEDS = (0, 1, 2)
"""Seeds of the random weights that trained weights are compared with."""


@dataclass(frozen=True, kw_only=True)
class ProbeResults:
    """The predictions of all probes, and the settings and problems of their fits."""

    predictions: list[Prediction]
    chosen: dict[str, dict[str, str]]
    """Settings that each probe chose, by the name of the features."""
    checks: list[Check]


def random_name(seed: int) -> str:
    """Return the name of the features from random weights."""
    return f"random-{seed}"


def named_features(given: Collection[str]) -> list[tuple[str, FeaturesKind, int]]:
    """Return name, kind and seed of all features that probes are fitted on.

    Args:
        given: Names of the features that there are.
    """
    random: FeaturesKind = "random"
    every: list[tuple[str, FeaturesKind, int]] = [
        (TRAINED, "trained", 0),
        *((random_name(seed), random, seed) for seed in RANDOM_SEEDS),
        (PIXELS, "pixels", 0),
    ]
    return [each for each in every if each[0] in given]


def run_probes(
    features: Mapping[str, Features],
    windows: LabeledWindows,
    probes: Sequence[KindProbe],
    device: torch.device = _CPU,
) -> ProbeResults:
    """Return the predictions of probes on all features.

    Args:
        features: Features from trained weights, from each seed of random weights and of pixels, by
            name; the last two may be absent. All are of the same windows.
        windows: The labeled windows.
        probes: The probes, in the order of tables.
        device: Device on which the probes are fitted.

    Raises:
        ConfigError: Features are of other windows, or not finite.
    """
    predictions: list[Prediction] = []
    chosen: dict[str, dict[str, str]] = defaultdict(dict)
    issues: Counter[str] = Counter()

    for name, weights, seed in named_features(features):
        _require_same_windows(features[TRAINED], features[name], name)
        inputs = probe_inputs(finite_values(features[name], name).to(device), windows)
        if is_pixels(features[name].facts["encoder"]):
            inputs = reduced(inputs)

        for probe in probes:
            for head_seed in probe.seeds:
                prediction, outcome = fit(
                    probe, inputs, windows, features=weights, seed=seed, head_seed=head_seed
                )
                predictions.append(prediction)
                chosen[probe.name][name] = outcome.chosen
                issues.update(outcome.issues)

    return ProbeResults(
        predictions=predictions,
        chosen=dict(chosen),
        checks=issue_checks(probes, issues, len(features)),
    )


def fit(
    probe: KindProbe,
    inputs: Inputs,
    windows: LabeledWindows,
    *,
    features: FeaturesKind,
    seed: int,
    head_seed: int,
) -> tuple[Prediction, Outcome]:
    """Fit a probe on one kind of features, and return its prediction of the test windows.

    Args:
        probe: The probe.
        inputs: Windows of train, test and val with their features.
        windows: The labeled windows.
        features: Kind of the features.
        seed: Seed of random weights; 0 for others.
        head_seed: Seed of the probe.
    """
    outcome = probe.fit(inputs, windows, head_seed)
    prediction = Prediction(
        features=features,
        seed=seed,
        classifier=probe.name,
        head_seed=head_seed,
        label=outcome.label,
        probability=outcome.probability,
        number=outcome.number,
    )
    return prediction, outcome


def issue_checks(
    probes: Sequence[KindProbe], issues: Mapping[str, int], num_features: int
) -> list[Check]:
    """Return the rows of the audit about problems of fits.

    Args:
        probes: The probes.
        issues: Number of fits with each problem.
        num_features: Number of features that each probe was fitted on.
    """
    return [
        Check(check=issue, found=issues.get(issue, 0), of=len(probe.seeds) * num_features)
        for probe in probes
        for issue in probe.issues
    ]


def probe_inputs(values: Float32[Tensor, "n d"], windows: LabeledWindows) -> Inputs:
    """Return the train, test and val windows with the features of one encoder.

    Args:
        values: Features of all windows, on the device on which the probes are then fitted.
        windows: The labeled windows, as indices into `values`.
    """
    test = windows.test
    queries = WindowFeatures(
        values=values[torch.from_numpy(test.indices)],
        video=_videos(test.rows),
        time_s=np.array([row.start_s for row in test.rows]),
    )
    val = None if windows.val is None else _labeled(values, windows, windows.val)
    return _labeled(values, windows, windows.train), queries, val


def _labeled(
    values: Float32[Tensor, "n d"], windows: LabeledWindows, part: PartWindows
) -> LabeledFeatures:
    return LabeledFeatures(
        values=values[torch.from_numpy(part.indices)],
        video=_videos(part.rows),
        time_s=np.array([row.start_s for row in part.rows]),
        label=windows.labels_of(part),
        case=part.case_indices,
        num_classes=len(windows.classes),
    )


def _videos(rows: Sequence[WindowRow]) -> Int64[np.ndarray, " n"]:
    names = [f"{row.source}/{row.video}" for row in rows]
    return np.unique(names, return_inverse=True)[1]


def finite_values(features: Features, name: str) -> Float32[Tensor, "n d"]:
    """Return the values of features.

    Raises:
        ConfigError: A value is not finite.
    """
    if not bool(features.values.isfinite().all()):
        raise ConfigError(
            f"the features {name} contain values that are not finite; check the training of the "
            "encoder"
        )
    return features.values


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
