"""The protocol of an evaluation in one sentence: every choice that moves a number."""

from collections.abc import Mapping, Sequence

from surgrec.clips import ClipSampling
from surgrec.evaluation.probes import BASELINES, PRIMARY_PROBE, PROBES
from surgrec.features import ExtractConfig
from surgrec.scores import LEVEL, MIN_CASES
from surgrec.scores.intervals import RESAMPLES, SEED


def protocol(
    sampling: ClipSampling,
    extract: ExtractConfig,
    random_seeds: Sequence[int],
    chosen: Mapping[str, Mapping[str, str]],
) -> str:
    """Return the protocol.

    Args:
        sampling: Frames of a window.
        extract: Settings of the feature extraction.
        random_seeds: Seeds of the encoders with random weights.
        chosen: Settings that probes chose: for each probe, by the name of the features.
    """
    seeds = ", ".join(map(str, random_seeds))

    return "; ".join(
        [
            # Features and labels.
            f"Frozen encoder, as trained and with random weights (its own initialization, seeds "
            f"{seeds})",
            f"a feature is the mean of all output tokens for one window of {sampling.num_frames} "
            f"frames at {sampling.fps:g} frames per second ({sampling.span_s:g} s), central square "
            f"crop, a window every {extract.stride_s:g} s of a video, precision "
            f"{extract.precision}",
            "a window's label is the value at its last frame, and windows without one are left out",
            "features standardized on the train windows",
            # Classifiers.
            *(probe.describe(chosen[probe.name]) for probe in PROBES),
            *(f"{baseline.label}: {baseline.description}" for baseline in BASELINES),
            # Scores.
            "macro F1 and balanced accuracy: pooled over test windows, mean over the classes with "
            "a test window",
            "accuracy: over test windows; case accuracy: mean over test cases of the accuracy "
            "within a case",
            # Intervals and verdicts.
            f"intervals: {LEVEL:.0%}, expanded percentile bootstrap over test cases, {RESAMPLES} "
            f"resamples, seed {SEED}",
            "differences: on the same resamples, random weights as the mean over their seeds "
            "within each resample",
            "verdict: better or worse if the interval excludes 0 and the p-value of exchanges of "
            f"both within cases is at most {1 - LEVEL:.2f}, from {MIN_CASES} test cases on; "
            f"the verdict of {PRIMARY_PROBE.label} counts, all others are secondary; intervals "
            "cover the choice of test cases alone, neither the seed of the pretraining nor the "
            "choice of train cases.",
        ]
    )
