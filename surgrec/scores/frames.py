"""Scores of phases over the seconds of videos: per video, per phase, per segment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float64, Int64

from surgrec.errors import ConfigError
from surgrec.scores._means import divided, mean_over_columns, mean_over_rows
from surgrec.scores.classification import (
    NO_CLASS,
    CaseCounts,
    GroundTruth,
    count_predictions,
    scores_of_classes,
)
from surgrec.scores.intervals import spread
from surgrec.scores.relaxed import RelaxedRule, relaxed_correct
from surgrec.scores.segments import OVERLAPS, edit_score, segment_counts
from surgrec.scores.series import TIME_STEP_S, Series, align, sample

PHASE_METRICS = ("precision", "recall", "jaccard", "f1")
"""Metrics of one phase in one video."""

_ScoredVideo: TypeAlias = tuple[int, Int64[np.ndarray, " _"], Int64[np.ndarray, " _"]]
"""The case of a video, and its labels and predictions at the scored times."""


@dataclass(frozen=True, kw_only=True)
class PhaseVideo:
    """The labels and the predictions of one video."""

    name: str
    case: int
    """Index of its case."""
    truth: Series
    predicted: Series


@dataclass(frozen=True, kw_only=True)
class FrameTable:
    """The scores of each video, from which the scores of any test set of cases follow."""

    counts: CaseCounts
    """Frames per case and phase."""
    case: Int64[np.ndarray, " v"]
    """Case of each video."""
    by_video: Mapping[str, Float64[np.ndarray, " v"]]
    """One number per video, by metric; NaN where undefined."""
    by_phase: Mapping[str, Float64[np.ndarray, "v phases"]]
    """One number per video and phase, by metric; NaN for a phase without a labeled frame."""
    segments: Float64[np.ndarray, "v overlaps 3"]
    """Segments that were found, predicted in vain, and missed."""

    @property
    def num_cases(self) -> int:
        """Number of cases."""
        return self.counts.num_cases

    def beside(self, other: "FrameTable") -> "FrameTable":
        """Return the videos of both predictions, this one's first (see `swap_test`)."""
        return FrameTable(
            counts=self.counts.beside(other.counts),
            case=np.concatenate([self.case, other.case + self.num_cases]),
            by_video={
                name: np.concatenate([values, other.by_video[name]])
                for name, values in self.by_video.items()
            },
            by_phase={
                name: np.concatenate([values, other.by_phase[name]])
                for name, values in self.by_phase.items()
            },
            segments=np.concatenate([self.segments, other.segments]),
        )

    def scores(
        self, weights: Float64[np.ndarray, "r cases"]
    ) -> dict[str, Float64[np.ndarray, " r"]]:
        """Return the scores of each of `r` test sets.

        Pooled over frames: `accuracy`, `macro_f1`, `balanced_accuracy`. Means over videos: those of
        `by_video`. Mean over videos for each phase, then over phases: `phase_*` and `relaxed_*`.
        Pooled over segments: `segmental_f1_*`.

        Args:
            weights: Multiplicity of each case in each test set (see `case_weights`).
        """
        video_weights = weights[:, self.case]
        found = {str(name): values for name, values in self.counts.scores(weights).items()}
        for name, values in self.by_video.items():
            found[name] = mean_over_rows(values, video_weights)
        for name, table in self.by_phase.items():
            found[name] = mean_over_columns(mean_over_rows(table, video_weights))

        totals = np.einsum("rv,vok->rok", video_weights, self.segments)
        for index, overlap in enumerate(OVERLAPS):
            hits, false, missed = (totals[:, index, kind] for kind in range(3))
            found[f"segmental_f1_{overlap:.0%}".rstrip("%")] = divided(
                2 * hits, 2 * hits + false + missed
            )
        return found

    def video_spreads(self) -> dict[str, float]:
        """Return the standard deviation over videos of each metric of `by_video`."""
        return {name: spread(values) for name, values in self.by_video.items()}


def score_frames(
    videos: Sequence[PhaseVideo],
    *,
    num_cases: int,
    num_phases: int,
    label_fps: float,
    prediction_fps: float,
    rate_fps: float = 1.0,
    relaxed: RelaxedRule | None = None,
) -> FrameTable:
    """Score phases at a stated rate.

    Labels are sampled at `rate_fps`. Times without a label are left out; every other time needs a
    prediction.

    Args:
        videos: Labels and predictions, with times in seconds.
        num_cases: Number of cases.
        num_phases: Number of phases. For relaxed metrics they are numbered in their usual order.
        label_fps: Rate of the labels.
        prediction_fps: Rate of the predictions.
        rate_fps: Rate of scored frames; 1 in publications.
        relaxed: Also compute the relaxed metrics, by this rule.

    Raises:
        ConfigError: A video has no label or lacks predictions, or times have another rate.
    """
    scored = [_at_rate(each, label_fps, prediction_fps, rate_fps) for each in videos]
    return _frame_table(scored, num_cases, num_phases, rate_fps, relaxed)


def _frame_table(
    scored: Sequence[_ScoredVideo],
    num_cases: int,
    num_phases: int,
    rate_fps: float,
    relaxed: RelaxedRule | None,
) -> FrameTable:
    """Return the scores of videos whose labels and predictions have the rate to score."""
    truth = GroundTruth(
        case=np.concatenate([np.full(len(label), case) for case, label, _ in scored]),
        label=np.concatenate([label for _, label, _ in scored]),
        num_cases=num_cases,
        num_classes=num_phases,
    )
    counts = count_predictions(truth, np.concatenate([predicted for _, _, predicted in scored]))

    by_video, by_phase = [], []
    for _, label, predicted in scored:
        phases = _phase_scores(label, predicted, label == predicted, num_phases)
        numbers = {"video_accuracy": float((label == predicted).mean())}
        # Mean over the phases of a video first; `phase_*` take the mean over videos first.
        for name, values in phases.items():
            numbers[f"video_macro_{name}"] = float(np.nanmean(values))
        numbers["video_macro_f1_predicted"] = _f1_with_predicted(phases["f1"], predicted)
        numbers["edit"] = edit_score(label, predicted)
        numbers["macro_f1_edit"] = (numbers["video_macro_f1"] + numbers["edit"]) / 2
        tables = {f"phase_{name}": values for name, values in phases.items()}

        if relaxed is not None:
            for prefix, published in (("relaxed", False), ("relaxed_published", True)):
                correct = relaxed_correct(
                    label, predicted, rate_fps=rate_fps, rule=relaxed, published=published
                )
                numbers[f"{prefix}_accuracy"] = float(correct.mean())
                tables |= _relaxed_phases(label, predicted, correct, num_phases, prefix, published)
        by_video.append(numbers)
        by_phase.append(tables)

    return FrameTable(
        counts=counts,
        case=np.array([case for case, _, _ in scored], dtype=np.int64),
        by_video={name: np.array([row[name] for row in by_video]) for name in by_video[0]},
        by_phase={name: np.stack([row[name] for row in by_phase]) for name in by_phase[0]},
        segments=np.array(
            [
                [segment_counts(label, predicted, overlap) for overlap in OVERLAPS]
                for _, label, predicted in scored
            ],
            dtype=np.float64,
        ),
    )


def score_windows(
    time_s: Float64[np.ndarray, " n"],
    label: Int64[np.ndarray, " n"],
    predicted: Int64[np.ndarray, " n"],
    *,
    video: Int64[np.ndarray, " n"],
    names: Sequence[str],
    case: Int64[np.ndarray, " n"],
    num_phases: int,
    stride_s: float,
    relaxed: RelaxedRule | None = None,
) -> FrameTable:
    """Score one phase per window at 1 frame per second, or once per window if they are rarer.

    The scored times of a video begin with its first label. A window holds for at most one stride;
    times without one are left out. So a video has a score, however few of its windows have a label.

    Args:
        time_s: Time of each window's label, in seconds of its video.
        label: Phase of each window.
        predicted: Predicted phase of each window.
        video: Video of each window, as an index.
        names: Name of each video.
        case: Case of each window, as an index.
        num_phases: Number of phases.
        stride_s: Seconds from one window of a video to the next.
        relaxed: Also compute the relaxed metrics, by this rule.

    Raises:
        ConfigError: Two windows of a video have one time, or a time is negative or not finite.
    """
    rate_fps = min(1.0, 1 / stride_s)
    order = np.lexsort((time_s, video))
    rows_of = np.split(order, np.flatnonzero(np.diff(video[order])) + 1)
    scored: list[_ScoredVideo] = []
    for rows in rows_of:
        try:
            truth = Series(times_s=time_s[rows], values=label[rows])
            guess = Series(times_s=time_s[rows], values=predicted[rows])
        except ConfigError as error:
            raise ConfigError(f"video {names[int(video[rows[0]])]}: {error}") from error
        times_s = _scored_times(truth.times_s, rate_fps)
        labeled, guessed = (each.at(times_s, hold_s=stride_s) for each in (truth, guess))
        scored.append((int(case[rows[0]]), labeled.values, guessed.values))
    return _frame_table(scored, int(case.max()) + 1, num_phases, rate_fps, relaxed)


def _scored_times(times_s: Float64[np.ndarray, " n"], rate_fps: float) -> Float64[np.ndarray, " m"]:
    """Return the first scored time that is not before each label, counted from the first label."""
    steps = np.unique(np.ceil((times_s - times_s[0]) * rate_fps - TIME_STEP_S))
    scored: Float64[np.ndarray, " m"] = times_s[0] + steps / rate_fps
    return scored


def _at_rate(
    video: PhaseVideo, label_fps: float, prediction_fps: float, rate_fps: float
) -> _ScoredVideo:
    """Return the labels and predictions of a video at the rate to score."""
    try:
        truth = sample(video.truth, label_fps=label_fps, rate_fps=rate_fps)
        predicted = align(truth, video.predicted, prediction_fps=prediction_fps)
    except ConfigError as error:
        raise ConfigError(f"video {video.name}: {error}") from error
    if not len(truth.times_s):
        raise ConfigError(f"video {video.name} has no label; leave it out of the test videos")
    return video.case, truth.values, predicted.values


def _phase_scores(
    label: Int64[np.ndarray, " n"],
    predicted: Int64[np.ndarray, " n"],
    correct: Bool[np.ndarray, " n"],
    num_phases: int,
) -> dict[str, Float64[np.ndarray, " phases"]]:
    """Return the scores of each phase of a video; NaN for phases without a labeled frame."""
    labeled, guessed, hits = (
        np.bincount(values, minlength=num_phases).astype(np.float64)
        for values in (label, predicted[predicted != NO_CLASS], label[correct])
    )
    return scores_of_classes(hits, guessed, labeled)


def _f1_with_predicted(
    f1: Float64[np.ndarray, " phases"], predicted: Int64[np.ndarray, " n"]
) -> float:
    """Return the mean F1 over labeled and predicted phases: an absent, predicted phase scores 0."""
    guessed = np.bincount(predicted[predicted != NO_CLASS], minlength=len(f1)) > 0
    return float(np.nanmean(np.where(np.isnan(f1) & guessed, 0, f1)))


def _relaxed_phases(
    label: Int64[np.ndarray, " n"],
    predicted: Int64[np.ndarray, " n"],
    correct: Bool[np.ndarray, " n"],
    num_phases: int,
    prefix: str,
    published: bool,
) -> dict[str, Float64[np.ndarray, " phases"]]:
    """Return relaxed precision, recall and Jaccard of each labeled phase of a video.

    As meant, each is a share of frames that count as right: of the predicted frames, of the labeled
    frames, of both. The published code divides the right frames of both by each, cuts values above
    1, and takes a division by 0 for 1.
    """
    rows = np.full((3, num_phases), np.nan)
    for phase in np.unique(label):
        labeled, guessed = label == phase, predicted == phase
        union = labeled | guessed

        # The published code also counts hits outside of the prediction, and clips the result at 1.
        hits = (correct & union).sum()
        if published:
            precision = min(hits / guessed.sum(), 1) if guessed.any() else (1 if hits else np.nan)
            recall = min(hits / labeled.sum(), 1)
        else:
            precision = (correct & guessed).sum() / max(guessed.sum(), 1)
            recall = (correct & labeled).sum() / labeled.sum()
        rows[:, phase] = precision, recall, hits / union.sum()

    return {
        f"{prefix}_{name}": rows[index]
        for index, name in enumerate(("precision", "recall", "jaccard"))
    }
