"""Paired comparisons: the test of exchanges, verdicts, corrections, ranks."""

from itertools import product

import numpy as np
import pytest

from surgrec.scores import MIN_CASES, Estimate, count_predictions, swap_test, verdict_of
from surgrec.scores.paired import case_wins, holm, ranks
from tests.support.made_up import made_up, once


def test_the_test_of_few_cases_equals_all_exchanges_by_hand() -> None:
    truth, first = made_up(3, windows=80, cases=6)
    second = np.where(np.random.default_rng(1).random(80) < 0.35, truth.label, first)
    reached = []
    for swapped in product([False, True], repeat=6):
        moved = np.array(swapped)[truth.case]
        one, other = np.where(moved, second, first), np.where(moved, first, second)
        reached.append(abs(once(truth, one)["macro_f1"] - once(truth, other)["macro_f1"]))
    expected = np.mean(np.array(reached) >= reached[0] - 1e-12)

    found = swap_test(
        [count_predictions(truth, first)], [count_predictions(truth, second)], "macro_f1"
    )
    assert found == expected
    assert 1 / 64 <= found < 1


def test_equal_predictions_have_p_value_one_and_many_better_cases_a_small_one() -> None:
    truth, predicted = made_up(2, windows=900, cases=30)
    counts, right = count_predictions(truth, predicted), count_predictions(truth, truth.label)
    assert swap_test([counts], [counts], "macro_f1") == 1.0
    assert swap_test([right], [counts], "macro_f1") < 0.001
    assert swap_test([right], [counts] * 3, "macro_f1") < 0.001


@pytest.mark.parametrize(
    ("low", "high", "p_value", "verdict"),
    [
        (0.01, 0.2, 0.01, "better"),
        (0.01, 0.2, 0.06, "not shown"),
        (0.01, 0.2, float("nan"), "not shown"),
        (-0.1, 0.2, 0.01, "not shown"),
        (0.0, 0.2, 0.01, "not shown"),
        (-0.2, -0.01, 0.05, "worse"),
    ],
)
def test_a_difference_counts_if_interval_and_test_agree(
    low: float, high: float, p_value: float, verdict: str
) -> None:
    difference = Estimate(value=(low + high) / 2, low=low, high=high)
    assert verdict_of(difference, p_value, MIN_CASES) == verdict
    assert verdict_of(difference, p_value, MIN_CASES - 1) == "not shown"


def test_holm_multiplies_the_smallest_most_and_keeps_the_order() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_ranks_share_equal_places_and_skip_undefined_rows() -> None:
    assert ranks([0.5, 0.9, 0.9, 0.1])[:4] == [3.0, 1.5, 1.5, 4.0]
    found = ranks([0.5, float("nan"), 0.9])
    assert found[0] == 2
    assert np.isnan(found[1])
    assert found[2] == 1


def test_wins_count_cases_and_the_effect_is_in_standard_deviations() -> None:
    found = case_wins(np.array([0.5, 0.7, 0.9, np.nan]), np.array([0.4, 0.7, 0.6, 0.1]))
    assert (found.wins, found.ties, found.losses) == (2, 1, 0)
    assert found.effect == pytest.approx(np.mean([0.1, 0, 0.3]) / np.std([0.1, 0, 0.3], ddof=1))
    assert np.isnan(case_wins(np.array([0.5, 0.5]), np.array([0.5, 0.5])).effect)
