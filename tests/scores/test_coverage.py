"""Intervals hold the true score of a simulation, and equal encoders are rarely told apart."""

import numpy as np
import pytest

from benchmarks.coverage import SIMULATIONS, Kind, coverage, primary_truth, told_apart
from benchmarks.simulated import Encoder

CASES = 1000
KINDS: list[Kind] = ["phases", "labels", "numbers"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_rotated_population_has_equal_scores_for_all_encoders(kind: Kind) -> None:
    population = SIMULATIONS[kind]([Encoder(), Encoder(skill=0.5)], CASES, 1)
    assert primary_truth(population, 0) > primary_truth(population, 1) + 0.05
    rotated = population.either_way()
    scores = [primary_truth(rotated, each) for each in range(2)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-9)
    assert 0.3 < scores[0] < 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_intervals_over_cases_cover_and_those_over_windows_do_not(kind: Kind) -> None:
    population = SIMULATIONS[kind]([Encoder()], CASES, 0)
    for row in coverage(population, 40, repeats=60, window_repeats=10, seed=0):
        assert row.over_cases >= 0.85, row
        # Windows without their cases have no average precision within a case.
        assert (row.over_windows is None) == (row.metric == "case_map")
        assert row.over_windows is None or row.over_windows < 0.75, row


@pytest.mark.parametrize("kind", KINDS)
def test_equal_encoders_are_told_apart_by_windows_and_rarely_by_cases(kind: Kind) -> None:
    population = SIMULATIONS[kind]([Encoder()] * 2, CASES, 0).either_way()
    told = told_apart(population, 10, repeats=40, window_repeats=10, seed=0)
    assert told.difference == pytest.approx(0, abs=1e-9)
    assert told.better + told.worse <= 0.15
    assert (told.by_windows is None) == (kind == "labels")
    assert told.by_windows is None or told.by_windows >= 0.3


def test_a_better_encoder_is_found_more_often_with_more_cases() -> None:
    population = SIMULATIONS["phases"]([Encoder(skill=2.6), Encoder()], CASES, 0)
    shares = [
        told_apart(population, cases, repeats=12, window_repeats=1, seed=0) for cases in (10, 40)
    ]
    assert np.all([each.worse == 0 for each in shares])
    assert shares[0].better < shares[1].better
    assert shares[1].better > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seeds", [2, 4])
@pytest.mark.parametrize("cases", [10, 20, 40])
def test_verdicts_on_equal_encoders_err_in_at_most_five_percent(
    kind: Kind, seeds: int, cases: int
) -> None:
    population = SIMULATIONS[kind]([Encoder()] * seeds, 5000, 0).either_way()
    repeats = 800 // seeds
    told = told_apart(population, cases, repeats=repeats, window_repeats=1, seed=1)
    # Three standard errors above 5 %. One encoder has one seed.
    assert told.better + told.worse <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / repeats)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_intervals_of_forty_cases_cover_93_to_97_percent(kind: Kind) -> None:
    population = SIMULATIONS[kind]([Encoder()], 20_000, 0)
    for row in coverage(population, 40, repeats=1200, window_repeats=1, seed=2):
        error = 3 * np.sqrt(0.05 * 0.95 / 1200)
        assert 0.93 - error <= row.over_cases <= 0.97 + error, row
