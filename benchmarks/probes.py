"""Time of the regressions of an evaluation: one after the other, and all heads at once.

The first part fits the same grid with scikit-learn, as earlier versions did, and with SurgRec. The
second part is the work of an evaluation at the size of Cholec80, for one encoder after the other:
choice of C over five folds of 40 cases, the fit of all windows, and predictions. The third part is
that of one encoder by the other probes: the grid of ridge regressions, kNN, and the principal
components of pixels.
"""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from contenders.memory_use import peak_bytes
from sklearn import linear_model
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from surgrec.cli import parse
from surgrec.evaluation.kinds.numbers import RidgeRegression
from surgrec.evaluation.pixels import COMPONENTS
from surgrec.evaluation.probes import Knn, LabeledFeatures, LogisticRegression
from surgrec.evaluation.probes.choice import choice_of
from surgrec.evaluation.probes.components import principal_components
from surgrec.evaluation.probes.folds import fold_members
from surgrec.evaluation.probes.ridge import fit_ridge
from surgrec.evaluation.probes.standardize import standardized

CASES, CLASSES, FACTORS = 40, 7, 200


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Amount of work."""

    small_windows: int = 2_000
    """Train windows of the comparison with scikit-learn."""
    small_width: int = 128
    """Features of the comparison."""
    rounds: int = 3
    """Rounds of the comparison; 0 leaves it out."""
    windows: int = 92_000
    """Train windows at the size of Cholec80: 40 videos at one window per second."""
    width: int = 1024
    """Features of a ViT-L."""
    threads: int = 2
    """Threads of the other parts; the first part has one."""
    encoders: int = 4
    """Encoders of the second part: an evaluation has one, and three with random weights."""
    queries: int = 10_000
    """Test windows of kNN, whose work grows with the train windows times the test windows."""
    pixels_width: int = 1536
    """Numbers of a window of pixels."""


def main(config: Sizes) -> None:
    """Measure and print."""
    small = synthetic(config.small_windows, config.small_width)
    torch.set_num_threads(1)
    for _ in range(config.rounds):
        for name, run in (("scikit-learn", sklearn_grid), ("SurgRec", surgrec_grid)):
            with threadpool_limits(1):
                chosen = measured(f"{name}, {tuple(small.values.shape)}", partial(run, small))
            print(f"chosen C: {chosen:g}", flush=True)

    torch.set_num_threads(config.threads)
    large = synthetic(config.windows, config.width)
    before_mb, started = peak_bytes() / 1e6, time.process_time()
    probe = LogisticRegression()
    for number in range(1, config.encoders + 1):
        result = measured(
            f"encoder {number}, {tuple(large.values.shape)}",
            partial(probe.fit_predict, large, large),
        )
        accuracy = (result.label == large.label).mean()
        print(f"C {result.chosen}, issues {sorted(result.issues)}, train accuracy {accuracy:.3f}")
        print(f"processor {time.process_time() - started:.1f} s so far", flush=True)
        if number < config.encoders:
            large = synthetic(config.windows, config.width, seed=number)
    peak_mb = peak_bytes() / 1e6
    print(f"peak memory {before_mb:.0f} MB with the features alone, {peak_mb:.0f} MB in all")
    other_probes(config, large)


def other_probes(config: Sizes, large: LabeledFeatures) -> None:
    """Measure ridge regression, kNN and the components of pixels."""
    # Regression: all penalties and folds in one pass.
    ridge = RidgeRegression()
    numbers = torch.from_numpy(large.label.astype(np.float64))
    choice = choice_of(large, None, ridge.folds)
    assert choice is not None
    members = fold_members([fitted for fitted, _ in choice.folds], large.values)
    (values,) = standardized(large.values)
    measured(
        f"ridge regressions, {len(ridge.grid)} penalties and {len(members)} folds",
        partial(fit_ridge, values, numbers, members, ridge.grid),
    )

    queries = large.at(np.arange(config.queries))
    measured(f"kNN of {config.queries} windows", partial(Knn().fit_predict, large, queries))

    pixels = synthetic(config.windows, config.pixels_width).values
    measured(
        f"{COMPONENTS} components of {tuple(pixels.shape)}",
        partial(principal_components, COMPONENTS, pixels),
    )


def synthetic(windows: int, width: int, seed: int = 0) -> LabeledFeatures:
    """Return features with a spectrum that falls as 1 / rank^0.7, as features of encoders do."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, CLASSES, windows)

    # The spectrum of the features, with the class in factors of medium strength, and some noise.
    factors = rng.standard_normal((windows, FACTORS), dtype=np.float32)
    factors[:, 50 : 50 + CLASSES] += np.eye(CLASSES, dtype=np.float32)[label]
    strength = (1 / np.arange(1, FACTORS + 1, dtype=np.float32) ** 0.7)[:, None]
    values = factors @ (rng.standard_normal((FACTORS, width), dtype=np.float32) * strength)
    values += 0.3 * rng.standard_normal((windows, width), dtype=np.float32)

    case = np.arange(windows) * CASES // windows
    return LabeledFeatures(
        values=torch.from_numpy(values),
        video=case,
        time_s=np.arange(windows, dtype=np.float64),
        label=label,
        case=case,
        num_classes=CLASSES,
    )


def sklearn_grid(train: LabeledFeatures) -> float:
    """Fit one regression after the other; return the chosen C."""
    probe, values = LogisticRegression(), train.values.numpy().astype(np.float64)
    scores = []
    for c in probe.c_grid:
        right = 0
        for fitted, held_out in GroupKFold(probe.folds).split(values, groups=train.case):
            scaler = StandardScaler().fit(values[fitted])
            model = linear_model.LogisticRegression(C=c, max_iter=probe.max_iterations)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(scaler.transform(values[fitted]), train.label[fitted])
            predicted = model.predict(scaler.transform(values[held_out]))
            right += int((predicted == train.label[held_out]).sum())
        scores.append(right)
    return probe.c_grid[int(np.argmax(scores))]


def surgrec_grid(train: LabeledFeatures) -> float:
    """Fit all regressions at once; return the chosen C."""
    return LogisticRegression().choose_c(train)


def measured(name: str, run: Callable[[], Any]) -> Any:
    """Run, and print wall time and processor time."""
    wall, processor = time.perf_counter(), time.process_time()
    result = run()
    print(
        f"{name}: {time.perf_counter() - wall:.1f} s, "
        f"processor {time.process_time() - processor:.1f} s",
        flush=True,
    )
    return result


if __name__ == "__main__":
    main(parse(Sizes))
