"""Probes that are fitted on few train cases: the same subsets for every encoder."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float32
from torch import Tensor

from surgrec.evaluation._few_cases import SUBSETS, FewCases, few_cases
from surgrec.evaluation._labeled_windows import LabeledWindows
from surgrec.evaluation._predictions import FeaturesKind, Prediction
from surgrec.evaluation._run_probes import (
    finite_values,
    fit,
    named_features,
    probe_inputs,
)
from surgrec.evaluation._verdicts import compare
from surgrec.evaluation._videos import scored_units
from surgrec.evaluation.kinds import ScopeName, TaskKind
from surgrec.evaluation.pixels import is_pixels, reduced
from surgrec.features import Features
from surgrec.scores.units import Units

_CPU = torch.device("cpu")


def few_shot(
    features: Mapping[str, Features],
    windows: LabeledWindows,
    kind: TaskKind,
    *,
    amounts: Sequence[str],
    stride_s: float,
    units: Units,
    scope: ScopeName = "moment",
    device: torch.device = _CPU,
) -> list[dict[str, Any]]:
    """Return the rows `few_shot` of `evaluation.json`: scores and verdicts for each amount.

    An amount of all train cases, or of as many as an earlier one, has no row. Settings are chosen
    on folds of the subset: val would add cases.

    Args:
        features: Features by name, as for `run_probes`.
        windows: The labeled windows.
        kind: Kind of the task, which has the probes.
        amounts: Numbers of train cases such as "3", or shares of them such as "10%".
        stride_s: Seconds from one window to the next.
        units: The independent units of the test cases.
        scope: Whether windows are scored, or videos.
        device: Device on which the probes are fitted.

    Raises:
        ConfigError: An amount is neither a number nor a share.
    """
    rows = []
    for few in few_cases(windows, kind, amounts):
        # The same subset for all encoders, so that they can be paired.
        predictions: list[Prediction] = []
        for name, weights, seed in named_features(features):
            values = finite_values(features[name], name).to(device)
            predictions += predictions_on_few(
                values,
                windows,
                kind,
                few,
                features=weights,
                seed=seed,
                pixels=is_pixels(features[name].facts["encoder"]),
            )

        rows.append(
            few_shot_row(
                few,
                predictions,
                windows,
                kind,
                stride_s=stride_s,
                units=units,
                scope=scope,
                primary_classifier=kind.probes[0].name,
            )
        )
    return rows


def few_shot_row(
    few: FewCases,
    predictions: Sequence[Prediction],
    windows: LabeledWindows,
    kind: TaskKind,
    *,
    stride_s: float,
    units: Units,
    scope: ScopeName,
    primary_classifier: str,
) -> dict[str, Any]:
    """Return the row `few_shot` of an amount: scores and verdicts, averaged over its subsets.

    Args:
        few: The subsets.
        predictions: Of every classifier that was fitted on them; the subset is the `head_seed`.
        windows: The labeled windows.
        kind: Kind of the task.
        stride_s: Seconds from one window to the next.
        units: The independent units of the test cases.
        scope: Whether windows are scored, or videos.
        primary_classifier: The classifier whose verdict counts.
    """
    scored, of_units = scored_units(windows, scope)

    # Subsets and seeds of a classifier are averaged, so they form one row.
    grouped: dict[tuple[FeaturesKind, str], list[Prediction]] = defaultdict(list)
    for each in predictions:
        grouped[each.features, each.classifier].append(of_units(each))
    scores, verdicts = compare(
        [kind.row(group, scored, stride_s) for group in grouped.values()],
        units,
        metrics=kind.metrics,
        primary=kind.primary,
        primary_classifier=primary_classifier,
    )

    return {
        "amount": few.amount,
        "cases": few.cases,
        "subsets": len(few.subsets),
        "windows": [len(each) for each in few.subsets],
        "scores": scores,
        "verdicts": verdicts,
    }


def predictions_on_few(
    values: Float32[Tensor, "n d"],
    windows: LabeledWindows,
    kind: TaskKind,
    few: FewCases,
    *,
    features: FeaturesKind,
    seed: int,
    pixels: bool,
) -> list[Prediction]:
    """Return the predictions of each probe that is fitted on each subset.

    Args:
        values: Features of all windows, on the device on which the probes are fitted.
        windows: The labeled windows.
        kind: Kind of the task, which has the probes.
        few: The subsets.
        features: Kind of the features.
        seed: Seed of random weights; 0 for others.
        pixels: Whether the features are pixels, whose principal components are fitted.
    """
    predictions = []
    for number, rows in enumerate(few.subsets):
        part = windows.with_few(rows)
        inputs = probe_inputs(values, part)
        if pixels:
            inputs = reduced(inputs)
        for probe in kind.probes:
            found, _ = fit(
                probe, inputs, part, features=features, seed=seed, head_seed=probe.seeds[0]
            )
            predictions.append(replace(found, head_seed=number))
    return predictions


def few_shot_method(
    rows: Sequence[Mapping[str, Any]], choice: str = "settings chosen on folds of the subset"
) -> list[str]:
    """Return the part of the protocol that describes rows of `few_shot`; nothing without rows.

    Args:
        rows: The rows.
        choice: How settings are chosen.
    """
    if not rows:
        return []
    numbers = ", ".join(str(row["cases"]) for row in rows)
    return [
        f"few-shot: mean over {SUBSETS} subsets of {numbers} train cases, the same for every "
        f"encoder, whose first cases have all classes if possible; {choice}"
    ]
