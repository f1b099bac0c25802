"""Paired differences of methods within each center."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from jaxtyping import Int64

from surgrec.comparisons._pairs import differences
from surgrec.comparisons._records import CenterPair, Row, paired_table
from surgrec.scores import swap_test, verdict_of
from surgrec.scores.paired import case_wins, holm
from surgrec.scores.units import Units, grouped_units
from surgrec.text import counted

_CENTERS, _PATIENTS = "centers", "patients"


def pair_within_centers(
    rows: Sequence[Row], units: Units, names: Sequence[str]
) -> list[CenterPair]:
    """Compare each two methods on the cases of each center, with Holm's correction over all.

    A verdict over all centers needs ten of them. A verdict within a center holds for it alone, and
    is over its patients if they are known, else over its cases.

    Args:
        rows: Rows of one classifier; those of other features and degenerate ones are left out.
        units: Units of all cases.
        names: Center of each case, such as `2` or `2.1`; unused if centers are unknown.

    Returns:
        Nothing if the centers of cases are unknown or one.
    """
    if _CENTERS not in units.levels:
        return []

    # Cases of each center, sorted by the numbers of the results they came from.
    trained = [row for row in rows if row.features == "trained" and not row.degenerate]
    center_of = np.array(units.levels[_CENTERS], dtype=np.int64)
    members = [np.flatnonzero(center_of == each) for each in range(int(center_of.max()) + 1)]
    members.sort(key=lambda cases: [int(number) for number in names[cases[0]].split(".")])

    found = [
        _pair(first, second, units, cases, names[cases[0]])
        for first, second in combinations(trained, 2)
        for cases in members
    ]

    corrected = holm([pair.p_value for pair in found])
    return [
        replace(
            pair,
            corrected=p_value,
            verdict=verdict_of(pair.difference, p_value, pair.num_units),
        )
        for pair, p_value in zip(found, corrected, strict=True)
    ]


def _pair(
    first: Row, second: Row, units: Units, members: Int64[np.ndarray, " m"], center: str
) -> CenterPair:
    """Compare two methods on some of the cases."""
    num_cases = len(units.of_case)
    patients = units.levels.get(_PATIENTS, list(range(num_cases)))
    inner = grouped_units(
        {_PATIENTS: [str(patients[member]) for member in members]},
        [str(member) for member in members],
    )

    # The cases of other centers have the weight 0.
    weights = np.zeros((len(inner.weights), num_cases))
    weights[:, members] = inner.weights
    unit = np.zeros(num_cases, dtype=np.int64)
    unit[members] = inner.of_case
    ours, others = ([paired_table(each) for each in row.tables] for row in (first, second))
    p_value = swap_test(
        ours, others, first.primary, units=unit, among=np.isin(np.arange(num_cases), members)
    )
    of_patients = f" of {inner.number} {inner.name}" if inner.levels else ""
    return CenterPair(
        center=center,
        first=first.method,
        second=second.method,
        size=counted(len(members), "case") + of_patients,
        num_units=inner.number,
        **differences(first, second, weights, inner.number),
        p_value=p_value,
        corrected=p_value,
        wins=case_wins(first.case_values()[members], second.case_values()[members]),
        verdict="not shown",
    )
