"""The score by which a setting is chosen on held-out windows."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int64
from torch import Tensor

from surgrec.scores import PRIMARY, GroundTruth, count_predictions
from surgrec.scores.multilabel import LabelSets
from surgrec.supervised._targets import TargetKind, Targets

RULES: dict[TargetKind, str] = {
    "class": "macro F1",
    "labels": "mAP over windows",
    "value": "the mean absolute error over windows",
}
"""The scores in text."""


def held_out_score(
    outputs: Float32[Tensor, "n k"],
    targets: Targets,
    windows: Int64[np.ndarray, " n"],
    cases: Sequence[str],
) -> float:
    """Return the score of outputs for held-out windows, higher is better; NaN if undefined.

    Args:
        outputs: Of a head, for these windows.
        targets: Of all windows of the part.
        windows: Indices of the windows.
        cases: Case of each window.
    """
    names, case = np.unique(np.array(cases), return_inverse=True)
    every_case_once = np.ones((1, len(names)))
    wanted = targets.values[windows]
    if targets.kind == "value":
        errors = (outputs[:, 0] - wanted).abs() * targets.scale
        return -float(errors.mean())

    if targets.kind == "labels":
        sets = LabelSets(
            case=case.astype(np.int64),
            label=wanted.bool().numpy(),
            score=targets.probabilities(outputs).double().numpy(),
            num_cases=len(names),
        )
        return float(sets.scores(every_case_once)["map"][0])

    truth = GroundTruth(
        case=case.astype(np.int64),
        label=wanted.numpy(),
        num_cases=len(names),
        num_classes=targets.num_outputs,
    )
    counts = count_predictions(truth, outputs.argmax(-1).numpy())
    return float(counts.scores(every_case_once)[PRIMARY][0])
