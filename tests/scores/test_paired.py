"""Paired comparisons: the permutation test, verdicts, corrections, ranks."""

from itertools import product

import numpy as np
import pytest

from surgrec.scores import (
    MIN_CASES,
    Estimate,
    GroundTruth,
    count_predictions,
    swap_test,
    verdict_of,
)
from surgrec.scores.paired import MOST_EXACT, _swaps, case_wins, holm, ranks
from surgrec.scores.regression import Numbers
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


def test_one_seed_beside_two_turns_the_predictions_of_each_case() -> None:
    truth, guess = made_up(3, windows=80, cases=5)
    rng = np.random.default_rng(1)
    members = [np.where(rng.random(80) < share, truth.label, guess) for share in (0.5, 0.2, 0.1)]
    differences = []
    for turns in product(range(3), repeat=5):
        turn = np.array(turns)[truth.case]
        scores = [
            once(truth, np.choose((turn + place) % 3, members))["macro_f1"] for place in range(3)
        ]
        differences.append(abs(scores[0] - np.mean(scores[1:])))
    expected = np.mean(np.array(differences) >= differences[0] - 1e-12)

    counts = [count_predictions(truth, each) for each in members]
    assert swap_test(counts[:1], counts[1:], "macro_f1") == expected
    assert 1 / 3**5 <= expected < 1


@pytest.mark.parametrize(("seeds", "others"), [(1, 1), (1, 3), (2, 4), (3, 3)])
def test_equal_classifiers_have_small_p_values_no_more_often_than_stated(
    seeds: int, others: int
) -> None:
    rng = np.random.default_rng(0)
    case, label = np.arange(300) // 25, rng.integers(0, 3, 300)
    truth = GroundTruth(case=case, label=label, num_cases=12, num_classes=3)
    p_values = []
    for _ in range(120):
        skill = rng.beta(1.5, 1.5, (seeds + others, 12))[:, case]
        predicted = np.where(rng.random(skill.shape) < skill, label, (label + 1) % 3)
        counts = [count_predictions(truth, each) for each in predicted]
        p_values.append(swap_test(counts[:seeds], counts[seeds:], "accuracy"))
    # Three standard errors of 120 trials above 10 %; p-values are spread over [0, 1].
    assert np.mean(np.array(p_values) <= 0.1) <= 0.1 + 3 * np.sqrt(0.09 / 120)
    assert 0.4 < np.mean(p_values) < 0.65


@pytest.mark.parametrize(("cases", "tried"), [(1, 1), (6, 32), (12, 2048), (13, 2001)])
def test_an_exchange_and_its_complement_are_tried_once(cases: int, tried: int) -> None:
    swapped = _swaps(cases, 0)
    assert swapped.shape == (tried, cases)
    assert not swapped[0].any()
    if cases <= MOST_EXACT:
        both = np.unique(np.concatenate([swapped, ~swapped]), axis=0)
        assert len(both) == 2**cases


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


def test_cases_of_a_unit_are_exchanged_together() -> None:
    rng = np.random.default_rng(0)
    case, label = np.repeat(np.arange(8), 5), rng.integers(0, 2, 40)
    truth = GroundTruth(case=case, label=label, num_cases=8, num_classes=2)
    right = count_predictions(truth, label)
    wrong = count_predictions(truth, 1 - label)
    assert swap_test([right], [wrong], "accuracy") == 2 / 2**8
    units = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    assert swap_test([right], [wrong], "accuracy", units=units) == 2 / 2**3


def test_an_undefined_difference_shows_nothing() -> None:
    constant = Numbers(case=np.arange(4), value=np.arange(4.0), predicted=np.zeros(4), num_cases=4)
    other = Numbers(case=np.arange(4), value=np.arange(4.0), predicted=np.arange(4.0), num_cases=4)
    assert swap_test([constant], [other], "spearman") == 1
