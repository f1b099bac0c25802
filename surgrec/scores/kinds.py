"""The kinds of tasks, and the names of their metrics. `docs/metrics.md` defines each metric."""

from typing import Literal

from surgrec.scores.classification import METRICS, PRIMARY

KindName = Literal["classes", "phases", "labels", "triplets", "numbers"]
"""Names of all kinds of tasks."""
ScopeName = Literal["moment", "video"]
"""Whether a label holds for a moment of a video, or for all of it."""
VIDEO_KINDS: tuple[KindName, ...] = ("classes", "labels", "numbers")
"""Kinds of which a label may hold for a whole video."""

METRICS_OF: dict[KindName, tuple[str, ...]] = {
    "classes": METRICS,
    "phases": (
        *METRICS,
        "video_accuracy",
        "phase_precision",
        "phase_recall",
        "phase_jaccard",
        "phase_f1",
        "video_macro_precision",
        "video_macro_recall",
        "video_macro_jaccard",
        "video_macro_f1",
        "video_macro_f1_predicted",
        "edit",
        "segmental_f1_10",
        "segmental_f1_25",
        "segmental_f1_50",
        "macro_f1_edit",
    ),
    "labels": ("case_map", "map"),
    "triplets": ("ap_ivt", "ap_i", "ap_v", "ap_t", "ap_iv", "ap_it", "ap_ivt_ignore_null"),
    "numbers": ("spearman", "mae", "rmse"),
}
"""The metrics of each kind, in the order of tables."""

PRIMARY_OF: dict[KindName, str] = {
    "classes": PRIMARY,
    "phases": PRIMARY,
    "labels": "case_map",
    "triplets": "ap_ivt",
    "numbers": "spearman",
}
"""The metric of verdicts of each kind; higher is better. Fixed before there were results."""


def metric_name(metric: str) -> str:
    """Return a metric as text: `macro F1`."""
    return metric.replace("_", " ").replace("f1", "F1").replace("map", "mAP")
