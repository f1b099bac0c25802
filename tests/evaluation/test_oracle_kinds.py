"""Labels, triplets and numbers: an oracle is ranked above a weak feature, shuffles are chance."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from surgrec.evaluation._labeled_windows import LabeledWindows, PartWindows
from surgrec.evaluation._predictions import Prediction
from surgrec.evaluation._run_probes import probe_inputs
from surgrec.evaluation._tables import predictions_table
from surgrec.evaluation.kinds import KINDS, KindName, KindProbe
from tests.support.evaluations import window_row

CASES, LENGTH = 40, 12
"""Cases of each part, with one video each; windows of a video."""
TOOLS = ("grasper,grasp,liver", "hook,dissect,liver", "clipper,clip,duct")
"""Three labels, which are triplets, too."""
PROTOCOLS: list[tuple[KindName, KindProbe]] = [
    (name, probe)
    for name in ("labels", "triplets", "numbers")
    for probe in KINDS[name].probes  # type: ignore[index]
]
protocols = pytest.mark.parametrize(
    ("kind", "probe"), PROTOCOLS, ids=[f"{kind}-{probe.name}" for kind, probe in PROTOCOLS]
)


def truth(kind: KindName) -> np.ndarray:
    """Return the truth of the windows of both parts: tools that last, or a number per case."""
    rng = np.random.default_rng(0)
    if kind == "numbers":
        return np.repeat(rng.normal(size=(2 * CASES, 1)), LENGTH, axis=0)
    runs = rng.random((2 * CASES * LENGTH // 4, len(TOOLS))) < 0.35
    return np.repeat(runs, 4, axis=0).astype(float)


def features(known: np.ndarray, noise: float) -> np.ndarray:
    """Return the truth with noise, which is one for all windows of a case, beside other noise."""
    rng = np.random.default_rng(1)
    of_case = np.repeat(rng.normal(size=(2 * CASES, known.shape[1])), LENGTH, axis=0)
    noisy = known + noise * (of_case + rng.normal(size=known.shape)) / np.sqrt(2)
    return np.concatenate([noisy, rng.normal(size=(len(known), 4))], axis=1)


def part(values: Sequence[str | tuple[str, ...]], first: int) -> PartWindows:
    index = np.arange(first, first + len(values))
    return PartWindows(
        rows=[window_row(f"case{row // LENGTH:02d}", float(row % LENGTH)) for row in index],
        values=values,
        times_s=(index % LENGTH).astype(float),
        indices=index,
        unlabeled=0,
        failed=0,
        num_cases=CASES,
    )


def score(kind: KindName, probe: KindProbe, known: np.ndarray, values: np.ndarray) -> float:
    """Return the primary score of a probe that is fitted on the first half of the cases."""
    names = [
        f"{row[0]:.6f}"
        if kind == "numbers"
        else tuple(tool for tool, has in zip(TOOLS, row, strict=True) if has)
        for row in known
    ]
    half = len(names) // 2
    windows = LabeledWindows(train=part(names[:half], 0), test=part(names[half:], half))
    inputs = probe_inputs(torch.from_numpy(values.astype(np.float32)), windows)
    outcome = probe.fit(inputs, windows, 0)
    prediction = Prediction(
        features="trained",
        classifier=probe.name,
        probability=outcome.probability,
        number=outcome.number,
    )
    table = KINDS[kind].table(prediction, windows, 1.0)
    return float(table.scores(np.ones((1, table.num_cases)))[KINDS[kind].primary][0])


@protocols
def test_an_oracle_is_ranked_above_a_weak_feature(kind: KindName, probe: KindProbe) -> None:
    known = truth(kind)
    oracle, weak = (score(kind, probe, known, features(known, noise)) for noise in (0.2, 3.0))
    assert oracle > 0.9
    assert oracle > weak + 0.15


@protocols
def test_nothing_beats_chance_with_shuffled_labels(kind: KindName, probe: KindProbe) -> None:
    known = truth(kind)
    values = features(known, 0.2)
    rng = np.random.default_rng(2)
    if kind == "numbers":
        cases = rng.permutation(2 * CASES)
        shuffled = known.reshape(2 * CASES, LENGTH, 1)[cases].reshape(known.shape)
        # The rank correlation of 40 independent pairs has a standard deviation of 0.16.
        assert abs(score(kind, probe, shuffled, values)) < 0.48
        return
    shuffled = rng.permutation(known)
    # Features that know nothing, on the same labels: few windows of a case make them exceed 0.35.
    unrelated = rng.normal(size=(3, *values.shape))
    chance = [score(kind, probe, shuffled, each) for each in unrelated]
    assert score(kind, probe, shuffled, values) < max(chance) + 0.05


def test_a_classifier_without_any_label_has_a_column_of_lists() -> None:
    values = [("hook",), (), ("clip", "hook")] * LENGTH
    windows = LabeledWindows(train=part(values, 0), test=part(values, len(values)))
    table = predictions_table(
        [
            Prediction(features="none", classifier=str(share), probability=np.full((36, 2), share))
            for share in (0.2, 0.8)
        ],
        windows,
        KINDS["labels"],
    )
    assert table.column("prediction").to_pylist() == [[]] * 36 + [["clip", "hook"]] * 36
