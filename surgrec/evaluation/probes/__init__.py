"""Probes, which are classifiers on frozen features, and baselines without features.

A new probe is a file with a class that follows `Probe`, and an entry in `PROBES`. Scores, verdicts,
the protocol, the terminal and the report iterate over these tuples.
"""

from surgrec.evaluation.probes.baselines import (
    CLASS_PRIOR,
    ELAPSED_TIME,
    LABEL_PRIOR,
    MAJORITY,
    TRAIN_MEAN,
    Baseline,
)
from surgrec.evaluation.probes.knn import Knn
from surgrec.evaluation.probes.logistic import LogisticRegression
from surgrec.evaluation.probes.probe import (
    LabeledFeatures,
    Probe,
    ProbePredictions,
    WindowFeatures,
)
from surgrec.evaluation.probes.temporal import TemporalHead

__all__ = [
    "BASELINES",
    "CLASSIFIER_LABELS",
    "CLASS_PRIOR",
    "ELAPSED_TIME",
    "LABEL_PRIOR",
    "MAJORITY",
    "PRIMARY_PROBE",
    "PROBES",
    "TEMPORAL_PROBES",
    "TRAIN_MEAN",
    "Baseline",
    "Knn",
    "LabeledFeatures",
    "LogisticRegression",
    "Probe",
    "ProbePredictions",
    "WindowFeatures",
]

PROBES: tuple[Probe, ...] = (Knn(), LogisticRegression())
"""All probes, in the order of tables."""

TEMPORAL_PROBES: tuple[Probe, ...] = (
    TemporalHead(network="tcn"),
    TemporalHead(network="transformer"),
)
"""Causal heads on the windows of a video up to the present one; fitted on request."""

PRIMARY_PROBE = PROBES[0]
"""The probe whose verdict counts: kNN has no setting to choose."""

BASELINES: tuple[Baseline, ...] = (MAJORITY, CLASS_PRIOR, ELAPSED_TIME)
"""All baselines without features, in the order of tables."""

CLASSIFIER_LABELS = {probe.name: probe.label for probe in PROBES} | {
    baseline.name: baseline.label for baseline in BASELINES
}
"""Names of probes and baselines in text, by their names in files."""
