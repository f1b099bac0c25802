"""The protocol of an evaluation in one sentence: every choice that moves a number."""

from collections.abc import Mapping, Sequence

from surgrec.clips import ClipSampling
from surgrec.evaluation.bootstrap import RESAMPLES, SEED
from surgrec.evaluation.probes.probe import C_GRID, FOLDS, MAX_ITERATIONS, NEIGHBORS, TEMPERATURE
from surgrec.evaluation.verdicts import MIN_CASES
from surgrec.features import ExtractConfig


def protocol(
    sampling: ClipSampling,
    extract: ExtractConfig,
    random_seeds: Sequence[int],
    chosen_c: Mapping[str, float],
) -> str:
    """The sentence.

    Args:
        sampling: Frames of a window.
        extract: How features were computed.
        random_seeds: Of the encoders with random weights.
        chosen_c: The inverse strength of the logistic regression's penalty, by features.
    """
    seeds = ", ".join(map(str, random_seeds))
    grid = ", ".join(f"{c:g}" for c in C_GRID)
    chosen = ", ".join(f"{c:g} for {name}" for name, c in chosen_c.items())
    return "; ".join(
        [
            f"Frozen encoder, as trained and with random weights (its own initialization, seeds {seeds})",
            f"a feature is the mean of all output tokens for one window of {sampling.num_frames} frames at {sampling.fps:g} "
            f"frames per second ({sampling.span_s:g} s), central square crop, a window every {extract.stride_s:g} s of a "
            f"video, precision {extract.precision}",
            "a window's label is the value that holds at its last frame, and windows without one are left out",
            "features standardized on the train windows",
            f"kNN: cosine similarity, k {NEIGHBORS}, temperature {TEMPERATURE:g}",
            f"logistic regression: L2 penalty, at most {MAX_ITERATIONS} "
            f"iterations, C among {grid} by macro F1 over up to {FOLDS} folds of train cases, the same for every encoder "
            f"(chosen: {chosen})",
            "majority: the most frequent train label",
            "class prior: scores of the expected counts when labels are drawn from the train windows' distribution, "
            "computed, not drawn",
            "macro F1 and balanced accuracy: pooled over test windows, mean over the classes with a test window",
            "accuracy: over test windows; case accuracy: mean over test cases of the accuracy within a case",
            f"intervals: 95 %, percentile bootstrap over test cases, {RESAMPLES} resamples, seed {SEED}",
            "differences: on the same resamples, random weights as the mean over their seeds within each resample",
            f"verdict: better or worse where the interval leaves out 0, from {MIN_CASES} test cases on; that of kNN counts, "
            "the logistic regression's is secondary; intervals are over test cases alone: neither the seed of the "
            "pretraining nor the choice of train cases is in them.",
        ]
    )
