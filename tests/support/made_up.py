"""Made-up test windows and predictions, for the tests of scores and of their intervals."""

import numpy as np

from surgrec.scores import GroundTruth, Metric, count_predictions

CLASSES = 4


def made_up(seed: int, windows: int = 60, cases: int = 5) -> tuple[GroundTruth, np.ndarray]:
    """Windows of unequal cases and classes, with predictions that are right half of the time."""
    chance = np.random.default_rng(seed)
    case = np.concatenate([np.arange(cases), chance.integers(cases, size=windows - cases)])
    label = np.minimum(chance.integers(CLASSES + 2, size=windows), chance.integers(1, CLASSES))
    predicted = np.where(
        chance.random(windows) < 0.5, label, chance.integers(CLASSES, size=windows)
    )
    return GroundTruth(case=case, label=label, num_cases=cases, num_classes=CLASSES), predicted


def once(truth: GroundTruth, predicted: np.ndarray) -> dict[Metric, float]:
    found = count_predictions(truth, predicted).scores(np.ones((1, truth.num_cases)))
    return {metric: float(values[0]) for metric, values in found.items()}
