"""The protocol of an evaluation in one sentence: every choice that moves a number."""

from collections.abc import Sequence

from surgrec.evaluation.probes import Baseline
from surgrec.scores import LEVEL, MIN_CASES
from surgrec.scores.intervals import RESAMPLES, SEED


def protocol(
    methods: Sequence[str],
    rules: Sequence[str],
    baselines: Sequence[Baseline],
    *,
    primary: str,
    units: str,
) -> str:
    """Return the protocol.

    Args:
        methods: Its parts about features and classifiers.
        rules: Its parts about labels and metrics.
        baselines: The baselines without features.
        primary: Name in text of the classifier whose verdict counts.
        units: Independent units that are resampled, such as "cases".
    """
    return "; ".join(
        [
            *methods,
            *(f"{baseline.label}: {baseline.description}" for baseline in baselines),
            *rules,
            # Intervals and verdicts.
            f"intervals: {LEVEL:.0%}, expanded percentile bootstrap over test {units}, {RESAMPLES} "
            f"resamples, seed {SEED}",
            "differences: on the same resamples, each side as the mean over its seeds within each "
            "resample",
            "verdict: better or worse if the interval excludes 0 and the p-value of exchanges of "
            f"both within {units} is at most {1 - LEVEL:.2f}, from {MIN_CASES} test {units} on; "
            f"the verdict of {primary} counts, all others are secondary; intervals "
            f"cover the choice of test {units} alone, neither the seed of the pretraining nor the "
            "choice of train cases.",
        ]
    )
