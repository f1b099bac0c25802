"""Every protocol ranks an oracle above a weak feature, and finds nothing in shuffled labels."""

import dataclasses

import numpy as np
import pytest

from surgrec.evaluation._few_cases import case_order
from surgrec.evaluation.probes import PROBES, TEMPORAL_PROBES, LabeledFeatures, Probe
from surgrec.evaluation.probes.temporal import TemporalHead
from surgrec.scores import GroundTruth, count_predictions
from tests.support.probe_data import labeled, relabeled

CLASSES, LENGTH, CASES = 4, 60, 8
"""Phases of a video, in the same order in each; its windows; videos of each part."""
QUICK = [
    dataclasses.replace(probe, max_epochs=8, lr=4e-3)
    for probe in TEMPORAL_PROBES
    if isinstance(probe, TemporalHead)
]
PROTOCOLS: tuple[Probe, ...] = (*PROBES, *QUICK)


def videos(seed: int, noise: float) -> LabeledFeatures:
    """Return the phase as a feature, with this much noise, beside features without any use."""
    rng = np.random.default_rng(seed)
    steps, case = np.tile(np.arange(LENGTH), CASES), np.repeat(np.arange(CASES), LENGTH)
    ends = np.sort(rng.integers(5, LENGTH - 5, (CASES, CLASSES - 1)), axis=1)
    label = (steps[:, None] >= ends[case]).sum(1)
    noisy = np.eye(CLASSES)[label] + rng.normal(size=(len(label), CLASSES)) * noise
    values = np.concatenate([noisy, rng.normal(size=(len(label), 4))], axis=1)
    return labeled(values, label, case=case, time_s=steps.astype(float), num_classes=CLASSES)


def scores(probe: Probe, train: LabeledFeatures, test: LabeledFeatures) -> dict[str, float]:
    truth = GroundTruth(case=test.case, label=test.label, num_cases=CASES, num_classes=CLASSES)
    counts = count_predictions(truth, probe.fit_predict(train, test).label)
    return {name: float(value[0]) for name, value in counts.scores(np.ones((1, CASES))).items()}


@pytest.mark.parametrize("probe", PROTOCOLS, ids=lambda probe: probe.name)
def test_an_oracle_is_ranked_above_a_weak_feature(probe: Probe) -> None:
    oracle, weak = (
        scores(probe, videos(0, noise), videos(1, noise))["macro_f1"] for noise in (0.2, 2.5)
    )
    assert oracle > 0.9
    assert oracle > weak + 0.2


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_an_oracle_is_ranked_above_a_weak_feature_by_few_cases(probe: Probe) -> None:
    train = videos(0, 0.2)
    classes = [set(train.label[train.case == case].tolist()) for case in range(CASES)]
    few = np.flatnonzero(np.isin(train.case, case_order(classes, 0)[:2]))
    oracle, weak = (
        scores(probe, videos(0, noise).at(few), videos(1, noise))["macro_f1"]
        for noise in (0.2, 2.5)
    )
    assert oracle > 0.8
    assert oracle > weak + 0.2


@pytest.mark.parametrize("probe", PROTOCOLS, ids=lambda probe: probe.name)
def test_nothing_beats_chance_with_shuffled_labels(probe: Probe) -> None:
    train, test = videos(0, 0.2), videos(1, 0.2)
    rng = np.random.default_rng(2)
    shuffled = relabeled(train, rng.permutation(train.label))
    unrelated = relabeled(test, rng.permutation(test.label))
    # 480 windows in four classes: the standard deviation of the mean recall is about 0.02.
    assert scores(probe, shuffled, unrelated)["balanced_accuracy"] < 1 / CLASSES + 0.07
