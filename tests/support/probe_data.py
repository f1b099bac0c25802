"""Synthetic features with labels, cases and times, for probes."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from surgrec.evaluation.probes import LabeledFeatures


def labeled(
    values: np.ndarray,
    label: np.ndarray | Sequence[int],
    *,
    case: np.ndarray,
    time_s: np.ndarray | None = None,
    num_classes: int | None = None,
) -> LabeledFeatures:
    """Return features with one video per case, and a window per second unless times are given."""
    label = np.asarray(label, dtype=np.int64)
    return LabeledFeatures(
        values=torch.from_numpy(np.asarray(values, dtype=np.float32)),
        label=label,
        case=case,
        video=case,
        time_s=np.arange(len(label), dtype=np.float64) if time_s is None else time_s,
        num_classes=num_classes or int(label.max()) + 1,
    )


def blobs(seed: int, windows: int = 240, cases: int = 6, noise: float = 1.0) -> LabeledFeatures:
    """Return windows of three classes around three directions; each case has all classes."""
    rng = np.random.default_rng(seed)
    label = np.arange(windows) % 3
    values = np.eye(8)[label] * 3 + rng.normal(size=(windows, 8)) * noise
    return labeled(values, label, case=np.arange(windows) // 3 % cases)


def with_values(features: LabeledFeatures, values: np.ndarray) -> LabeledFeatures:
    """Return the same windows with other features."""
    return dataclasses.replace(
        features, values=torch.from_numpy(np.asarray(values, dtype=np.float32))
    )


def relabeled(features: LabeledFeatures, label: np.ndarray) -> LabeledFeatures:
    """Return the same windows with other labels."""
    return dataclasses.replace(features, label=label)
