"""The probes of `surgrec evaluate` on pixels, beside the results of another method."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float32
from torch import Tensor

from surgrec.evaluation._audit import Check
from surgrec.evaluation._few_cases import FewCases
from surgrec.evaluation._few_shot import predictions_on_few
from surgrec.evaluation._labeled_windows import LabeledWindows
from surgrec.evaluation._predictions import Prediction
from surgrec.evaluation._run_probes import fit, issue_checks, probe_inputs
from surgrec.evaluation._task import AuditedTask, WindowKey
from surgrec.evaluation.pixels import PIXELS, pixels_method, reduced

_CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class PixelBaseline:
    """Fields of `Results` that are added to those of the method."""

    predictions: list[Prediction]
    classifiers: dict[str, str]
    methods: list[str]
    checks: list[Check]
    on_few: list[list[Prediction]]
    """The predictions of probes on few train cases, for each amount."""


def pixel_baseline(
    task: AuditedTask,
    windows: LabeledWindows,
    pixels: Mapping[WindowKey, Float32[Tensor, " d"]],
    *,
    few: Sequence[FewCases] = (),
    device: torch.device = _CPU,
) -> PixelBaseline:
    """Fit the probes of the task on pixels, as `surgrec evaluate` does.

    Args:
        task: The audited task.
        windows: Its labeled windows.
        pixels: Features of the encoder of `pixels_choice` for each of these windows.
        few: Amounts of train cases on which the probes are fitted, too.
        device: Device on which the probes are fitted.
    """
    width = len(next(iter(pixels.values())))
    values = torch.zeros(windows.num_rows, width)
    for part in windows.by_name.values():
        for index, row in zip(part.indices.tolist(), part.rows, strict=True):
            values[index] = pixels[row.key]
    values = values.to(device)
    inputs = reduced(probe_inputs(values, windows))

    predictions: list[Prediction] = []
    chosen: dict[str, dict[str, str]] = {}
    issues: Counter[str] = Counter()
    probes = task.kind.probes
    for probe in probes:
        for head_seed in probe.seeds:
            prediction, outcome = fit(
                probe, inputs, windows, features="pixels", seed=0, head_seed=head_seed
            )
            predictions.append(prediction)
            chosen[probe.name] = {PIXELS: outcome.chosen}
            issues.update(outcome.issues)
    return PixelBaseline(
        predictions=predictions,
        classifiers={probe.name: probe.label for probe in probes},
        methods=[
            f"{pixels_method()}; probes on pixels: "
            + ", ".join(probe.describe(chosen[probe.name]) for probe in probes)
        ],
        checks=issue_checks(probes, issues, 1),
        on_few=[
            predictions_on_few(
                values, windows, task.kind, each, features="pixels", seed=0, pixels=True
            )
            for each in few
        ],
    )
