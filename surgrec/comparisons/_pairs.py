"""Paired differences of methods, their verdicts with Holm's correction, and standings."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import TypedDict

import numpy as np
from jaxtyping import Float64

from surgrec.comparisons._methods import Method
from surgrec.comparisons._records import Compared, Pair, Row, Standing, paired_table
from surgrec.scores import Estimate, estimate, swap_test, verdict_of
from surgrec.scores.intervals import SEED, draw_seeds
from surgrec.scores.paired import case_wins, holm, ranks
from surgrec.scores.units import Units


def pair_methods(name: str, rows: Sequence[Row], units: Units) -> list[Pair]:
    """Compare each two methods on trained features: the same classifier, or a model's answers.

    Degenerate rows have no pairs: a verdict over a constant prediction says nothing of features.
    """
    trained = [row for row in rows if row.features == "trained" and not row.degenerate]
    pairs = []
    for first, second in combinations(trained, 2):
        if first.compared_as != second.compared_as:
            continue
        values = first.case_values(), second.case_values()
        tables = [[paired_table(each) for each in row.tables] for row in (first, second)]
        p_value = swap_test(tables[0], tables[1], first.primary, units=units.of_case)
        pairs.append(
            Pair(
                data_set=name,
                classifier=first.compared_as,
                first=first.method,
                second=second.method,
                **differences(first, second, units.weights, units.number),
                p_value=p_value,
                corrected=p_value,
                wins=case_wins(*values),
                verdict="not shown",
                case_differences=values[0] - values[1],
            )
        )
    return pairs


class Differences(TypedDict):
    """The fields of a pair that its scores decide."""

    difference: Estimate
    with_seeds: Estimate


def differences(
    first: Row, second: Row, weights: Float64[np.ndarray, "r cases"], num_units: int
) -> Differences:
    """Return the difference of two rows, with intervals over cases, and over cases and seeds."""
    ours, others = first.primary_scores(weights), second.primary_scores(weights)
    return {
        "difference": estimate(ours.mean(0) - others.mean(0), num_units),
        "with_seeds": estimate(draw_seeds(ours) - draw_seeds(others, seed=SEED + 1), num_units),
    }


def correct(data_sets: Sequence[Compared]) -> list[Compared]:
    """Return the data sets with corrected p-values and verdicts of all pairs."""
    corrected: dict[tuple[int, int], float] = {}  # by the places of data set and pair
    for classifier in classifiers_of(data_sets):
        p_values = {
            (place, index): pair.p_value
            for place, each in enumerate(data_sets)
            for index, pair in enumerate(each.pairs)
            if pair.classifier == classifier
        }
        corrected |= zip(p_values, holm(list(p_values.values())), strict=True)

    def with_verdict(pair: Pair, p_value: float, num_units: int) -> Pair:
        verdict = verdict_of(pair.difference, p_value, num_units)
        return replace(pair, corrected=p_value, verdict=verdict)

    return [
        replace(
            each,
            pairs=[
                with_verdict(pair, corrected[place, index], each.units.number)
                for index, pair in enumerate(each.pairs)
            ],
        )
        for place, each in enumerate(data_sets)
    ]


def classifiers_of(data_sets: Sequence[Compared]) -> list[str]:
    """Return the classifiers on trained features, the primary ones of the data sets first."""
    names = {
        row.compared_as for each in data_sets for row in each.rows if row.features == "trained"
    }
    primary = {each.primary: None for each in data_sets if each.primary in names}
    return [*primary, *sorted(names - set(primary))]


def rank_methods(
    methods: Sequence[Method], data_sets: Sequence[Compared], classifier: str
) -> list[Standing]:
    """Return all methods by their mean rank."""
    names = [method.name for method in methods]
    values = np.array(
        [
            [row.value if (row := each.row(name, classifier)) else np.nan for name in names]
            for each in data_sets
        ]
    )
    complete = values[np.isfinite(values).all(1)]
    ranked = np.array([ranks(row.tolist()) for row in complete]).reshape(-1, len(names))

    verdicts = [
        (pair.first, pair.second, pair.verdict)
        for each in data_sets
        for pair in each.pairs
        if pair.classifier == classifier
    ]
    # A verdict is that of the first method of a pair.
    won = [first for first, _, v in verdicts if v == "better"]
    won += [second for _, second, v in verdicts if v == "worse"]
    lost = [second for _, second, v in verdicts if v == "better"]
    lost += [first for first, _, v in verdicts if v == "worse"]
    standings = []
    for index, name in enumerate(names):
        standings.append(
            Standing(
                method=name,
                data_sets=len(complete),
                mean=float(complete[:, index].mean()) if len(complete) else float("nan"),
                rank=float(ranked[:, index].mean()) if len(complete) else float("nan"),
                better=won.count(name),
                worse=lost.count(name),
            )
        )
    return sorted(standings, key=lambda each: (np.isnan(each.rank), each.rank))
