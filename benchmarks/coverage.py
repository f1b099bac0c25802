"""Coverage of intervals and errors of verdicts, on simulated test sets whose true scores are known.

Three kinds of tasks are simulated (`benchmarks/simulated`): phases, with one class per window;
labels, with several per window; and numbers, one per video.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from benchmarks.simulated import Encoder, Labels, Phases, Population, Skills
from surgrec.cli import parse
from surgrec.scores import case_weights, estimate, swap_test, verdict_of

Kind = Literal["phases", "labels", "numbers"]
SIMULATIONS: dict[Kind, Callable[[Sequence[Encoder], int, int], Population]] = {
    "phases": Phases.simulate,
    "labels": Labels.simulate,
    "numbers": Skills.simulate,
}
"""By kind: a population from its encoders, its number of cases, and a seed."""
BISECTIONS = 12
"""Steps of the search for an encoder with a given score."""


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """Amount of work."""

    parts: list[Literal["coverage", "verdicts"]] = field(
        default_factory=lambda: ["coverage", "verdicts"]
    )
    """Tables to compute."""
    kinds: list[Kind] = field(default_factory=lambda: ["phases", "labels", "numbers"])
    """Kinds of tasks to simulate."""
    cases: list[int] = field(default_factory=lambda: [10, 13, 20, 40])
    """Sizes of test sets."""
    repeats: int = 2000
    """Test sets per row."""
    window_repeats: int = 500
    """Test sets per row whose windows are resampled, too."""
    population: int = 20_000
    """Cases to draw from."""
    differences: list[float] = field(default_factory=lambda: [0.03, 0.06, 0.10])
    """True differences in the primary metric, for the power."""
    equal: bool = True
    """Whether verdicts on equal encoders are computed, and not the power alone."""
    seed: int = 0
    """Seed of the simulation."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Shares of the test sets whose interval has the true score."""

    cases: int
    metric: str
    truth: float
    over_cases: float
    plain: float
    """Of plain percentiles of the same resamples."""
    over_windows: float | None
    """Of percentiles over resampled windows; None for a metric that they do not have."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """Shares of the test sets on which two encoders are told apart, in the primary metric."""

    cases: int
    difference: float
    """True difference."""
    better: float
    """Verdicts for the first encoder."""
    worse: float
    """Verdicts against it."""
    by_test: float
    """P-values of at most 0.05 alone."""
    by_interval: float
    """Intervals without 0 alone."""
    by_windows: float | None
    """Intervals over resampled windows without 0, with one seed of each encoder; None for a metric
    that windows do not have."""


def encoder_with(score: float, like: Encoder, kind: Kind, cases: int, seed: int) -> Encoder:
    """Return an encoder with about this true primary score, by bisection over its skill."""
    low, high = -3.0, 6.0
    for _ in range(BISECTIONS):
        middle = like._replace(skill=(low + high) / 2)
        below = primary_truth(SIMULATIONS[kind]([middle], cases, seed), 0) < score
        low, high = (middle.skill, high) if below else (low, middle.skill)
    return like._replace(skill=(low + high) / 2)


def primary_truth(population: Population, encoder: int) -> float:
    """Return the true score of an encoder in the primary metric."""
    return population.truth(encoder)[population.metrics[0]]


def coverage(
    population: Population, cases: int, *, repeats: int, window_repeats: int, seed: int
) -> list[Coverage]:
    """Return the coverage of each metric over test sets of so many cases."""
    truth = population.truth(0)
    weights = case_weights(cases)
    rng = np.random.default_rng(seed)
    over_cases, plain = np.zeros((2, len(population.metrics)))
    over_windows: dict[str, list[bool]] = {metric: [] for metric in population.metrics}

    # Draw test sets with replacement, and ask whether their intervals have the true score.
    for repeat in range(repeats):
        rows = rng.integers(population.size, size=cases)
        scores = population.scores(rows, weights)
        for index, metric in enumerate(population.metrics):
            values, true = scores[metric], truth[metric]
            interval = estimate(values, cases)
            over_cases[index] += interval.low <= true <= interval.high
            plain[index] += _covers(values[1:], true)
        if repeat < window_repeats:
            by_windows = population.window_scores(rows, [0], rng)[0]
            for metric in over_windows.keys() & by_windows.keys():
                over_windows[metric].append(_covers(by_windows[metric], truth[metric]))

    return [
        Coverage(
            cases=cases,
            metric=metric,
            truth=truth[metric],
            over_cases=over_cases[index] / repeats,
            plain=plain[index] / repeats,
            over_windows=_share(over_windows[metric]),
        )
        for index, metric in enumerate(population.metrics)
    ]


def told_apart(
    population: Population,
    cases: int,
    *,
    repeats: int,
    window_repeats: int,
    seed: int,
    first: int = 1,
) -> Told:
    """Return how often two encoders are told apart.

    Args:
        population: Cases of all seeds of both encoders.
        cases: Cases of a test set.
        repeats: Test sets.
        window_repeats: Test sets whose windows are resampled, too.
        seed: Seed of the draws.
        first: Seeds of the first encoder; the others are those of the second one.
    """
    metric = population.metrics[0]
    weights = case_weights(cases)
    rng = np.random.default_rng(seed)
    true = [primary_truth(population, each) for each in range(len(population.tables(_NO_CASES)))]
    told = np.zeros(4)
    by_windows: list[bool] = []

    # Draw test sets, and judge each as `surgrec evaluate` would.
    for repeat in range(repeats):
        rows = rng.integers(population.size, size=cases)
        tables = population.tables(rows)
        scores = [each.scores(weights)[metric] for each in tables]
        difference = estimate(
            np.mean(scores[:first], axis=0) - np.mean(scores[first:], axis=0), cases
        )
        p_value = swap_test(tables[:first], tables[first:], metric)
        verdict = verdict_of(difference, p_value, cases)
        told += [
            verdict == "better",
            verdict == "worse",
            p_value <= 0.05,
            not difference.low <= 0 <= difference.high,
        ]

        # Intervals over windows are slow, so fewer test sets have them.
        if repeat < window_repeats:
            one, other = population.window_scores(rows, [0, len(tables) - 1], rng)
            if metric in one:
                by_windows.append(not _covers(one[metric] - other[metric], 0))

    better, worse, by_test, by_interval = (float(share) for share in told / repeats)
    return Told(
        cases=cases,
        difference=float(np.mean(true[:first]) - np.mean(true[first:])),
        better=better,
        worse=worse,
        by_test=by_test,
        by_interval=by_interval,
        by_windows=_share(by_windows),
    )


_NO_CASES = np.zeros(0, dtype=np.int64)


def _covers(values: np.ndarray, true: float) -> bool:
    """Return whether the plain 95 % percentile interval of resampled scores has a value."""
    low, high = np.nanquantile(values, [0.025, 0.975])
    return bool(low <= true <= high)


def _share(found: Sequence[bool]) -> float | None:
    """Return the share of test sets; None without any."""
    return float(np.mean(found)) if found else None


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def main(simulation: Simulation) -> None:
    """Simulate and print."""
    for kind in simulation.kinds:
        if "coverage" in simulation.parts:
            _print_coverage(simulation, kind)
        if "verdicts" in simulation.parts:
            _print_verdicts(simulation, kind)


def _print_coverage(simulation: Simulation, kind: Kind) -> None:
    population = SIMULATIONS[kind]([Encoder()], simulation.population, simulation.seed)
    print(f"{kind}: coverage of 95 % intervals, {simulation.repeats} test sets:")
    print("cases | metric | truth | over cases | plain percentiles | over windows")
    for size in simulation.cases:
        for row in coverage(
            population,
            size,
            repeats=simulation.repeats,
            window_repeats=simulation.window_repeats,
            seed=simulation.seed,
        ):
            shares = " | ".join(map(_percent, (row.over_cases, row.plain, row.over_windows)))
            print(f"{row.cases} | {row.metric} | {row.truth:.3f} | {shares}", flush=True)


def _print_verdicts(simulation: Simulation, kind: Kind) -> None:
    cases, seed, base = simulation.population, simulation.seed, Encoder()

    def drawn(*encoders: Encoder) -> Population:
        return SIMULATIONS[kind](encoders, cases, seed)

    alone = drawn(base)
    score, metric = primary_truth(alone, 0), alone.metrics[0]
    populations: dict[str, Population] = {}
    if simulation.equal:
        wider = encoder_with(score, base._replace(spread=2 * base.spread), kind, cases, seed)
        populations |= {
            "equal encoders": drawn(base, base).either_way(),
            "equal encoders, 1 and 3 seeds": drawn(*[base] * 4).either_way(),
            "equal scores, twice the spread": drawn(base, wider),
        }
    for gap in simulation.differences:
        better = encoder_with(score + gap, base, kind, cases, seed)
        populations[f"better by {gap:g}"] = drawn(better, base)

    print(f"{kind}: two encoders, {metric}, {simulation.repeats} test sets:")
    print("encoders | cases | difference | better | worse | by test | by interval | by windows")
    for name, population in populations.items():
        for size in simulation.cases:
            told = told_apart(
                population,
                size,
                repeats=simulation.repeats,
                window_repeats=simulation.window_repeats,
                seed=seed,
            )
            shares = (told.better, told.worse, told.by_test, told.by_interval, told.by_windows)
            numbers = " | ".join(map(_percent, shares))
            print(f"{name} | {size} | {told.difference:.3f} | {numbers}", flush=True)


if __name__ == "__main__":
    main(parse(Simulation, prog="benchmarks/coverage.py"))
