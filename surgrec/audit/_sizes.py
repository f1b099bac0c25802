"""Checks of the size of a split, and the scores of classifiers that look at no clip."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

from surgrec.audit._clips import SplitClips, label_counts
from surgrec.audit._findings import Finding, some
from surgrec.text import counted

LEVEL = 0.95
"""Level of intervals."""
MIN_CASES = 10
"""Test cases below which `surgrec evaluate` gives no verdict."""
_MIN_CASES_OF_CLASS = 3
"""Cases of a class in train and in test from which its scores are no anecdote."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The test scores of a classifier that knows only the labels of the train part."""

    name: str
    """`majority`: the most frequent train class; `prior`: draws from the train distribution."""
    accuracy: float
    balanced_accuracy: float
    macro_f1: float


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Half widths of the interval of an accuracy of a half (Wilson 1927)."""

    level: float
    clips: float
    """If all test clips were independent."""
    cases: float
    """If the clips of a case were all right or all wrong together."""


def check_sizes(split: SplitClips, claim: float | None) -> Iterator[Finding]:
    """Yield findings on absent parts, classes with few cases, and a small test part.

    Args:
        split: The split.
        claim: Smallest difference of accuracies that is claimed, 0 to 1.
    """
    absent = tuple(part for part in ("train", "test") if part not in split.parts)
    if absent:
        yield Finding(
            name="absent_parts",
            severity="fail",
            parts=absent,
            found=len(absent),
            of=2,
            sentence=(
                f"the split has no {' and no '.join(absent)} part, so that it was not compared "
                "with the others"
            ),
            remedy="give the rows of train and of test",
        )
    if "val" not in split.parts:
        yield Finding(
            name="no_val",
            severity="note",
            found=0,
            of=len(split.clips),
            sentence="there is no val part",
            remedy="choose settings over folds of train cases, never on test",
        )
    yield from _absent_classes(split)
    for part in ("train", "test"):
        yield from _few_cases(split, part)

    cases = {clip.case for clip in split.parts.get("test", ())}
    if 0 < len(cases) < MIN_CASES:
        yield Finding(
            name="few_test_cases",
            severity="warn",
            parts=("test",),
            found=len(cases),
            of=MIN_CASES,
            sentence=f"test has {counted(len(cases), 'case')}, too few for a verdict",
            remedy=f"test on {MIN_CASES} cases or more",
        )
    precision = test_precision(split)
    if claim is not None and precision is not None and precision.cases > claim:
        yield Finding(
            name="wide_interval",
            severity="warn",
            parts=("test",),
            found=len(cases),
            of=len(split.parts["test"]),
            sentence=(
                f"a difference of {claim:.1%} is claimed, but the {LEVEL:.0%} interval of an "
                f"accuracy is ±{precision.clips:.1%} over {len(split.parts['test'])} test clips "
                f"and up to ±{precision.cases:.1%} over {counted(len(cases), 'case')}"
            ),
            remedy="claim less, or test on more cases",
        )


def test_precision(split: SplitClips) -> Precision | None:
    """Return the intervals that the size of the test part allows; None without a test part."""
    clips = split.parts.get("test", ())
    if not clips:
        return None
    cases = len({clip.case for clip in clips})
    return Precision(level=LEVEL, clips=half_width(len(clips)), cases=half_width(cases))


def half_width(trials: int) -> float:
    """Return half the width of the interval of a half of so many trials (Wilson 1927)."""
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    return z * sqrt(1 / (4 * trials) + z * z / (4 * trials * trials)) / (1 + z * z / trials)


def baselines(split: SplitClips) -> list[Baseline]:
    """Return the scores of the majority class and of the class prior on the labeled test clips."""
    train, test = (label_counts(split.parts.get(part, ())) for part in ("train", "test"))
    if not train or not test:
        return []
    majority = min(train, key=lambda label: (-train[label], label))
    shares = {label: number / train.total() for label, number in train.items()}
    return [
        Baseline(name="majority", **constant_scores(test, {majority: 1.0})),
        Baseline(name="prior", **constant_scores(test, shares)),
    ]


def constant_scores(counts: Mapping[str, int], shares: Mapping[str, float]) -> dict[str, float]:
    """Return the scores of predictions that do not depend on the clip.

    They are those of `surgrec.scores.expected_counts`, without its dependencies. Means are over the
    classes with a test clip.

    Args:
        counts: Test clips of each class.
        shares: Probability of predicting each class.
    """
    total = sum(counts.values())
    rows = [(number / total, shares.get(label, 0.0)) for label, number in counts.items() if number]
    return {
        "accuracy": sum(share * predicted for share, predicted in rows),
        "balanced_accuracy": sum(predicted for _, predicted in rows) / len(rows),
        "macro_f1": sum(2 * share * predicted / (share + predicted) for share, predicted in rows)
        / len(rows),
    }


def _absent_classes(split: SplitClips) -> Iterator[Finding]:
    """Yield findings on classes without a train clip, or without a test clip."""
    # Classes that a probe is scored on, but never learns.
    counts = {part: label_counts(clips) for part, clips in split.parts.items()}
    for part in ("val", "test"):
        unseen = counts.get(part, {}).keys() - counts.get("train", {}).keys()
        if unseen and "train" in counts:
            clips = sum(counts[part][label] for label in unseen)
            yield Finding(
                name="unseen_classes",
                severity="warn",
                parts=("train", part),
                found=clips,
                of=counts[part].total(),
                sentence=(
                    f"{counted(len(unseen), 'class', 'classes')} of {part} "
                    f"({counted(clips, 'clip')}) {'has' if len(unseen) == 1 else 'have'} no train "
                    "clip"
                ),
                remedy="leave them out, or say that they count as errors",
                examples=some({split.shown_label(label) for label in unseen}),
            )

    # Classes that a probe learns, but is never scored on.
    untested = counts.get("train", {}).keys() - counts.get("test", {}).keys()
    if untested and "test" in counts:
        yield Finding(
            name="untested_classes",
            severity="note",
            parts=("train", "test"),
            found=len(untested),
            of=len(counts["train"]),
            sentence=(
                f"{counted(len(untested), 'class', 'classes')} of train "
                f"{'has' if len(untested) == 1 else 'have'} no test clip"
            ),
            remedy="say that no score is about them",
            examples=some({split.shown_label(label) for label in untested}),
        )


def _few_cases(split: SplitClips, part: str) -> Iterator[Finding]:
    cases: dict[str, set[str]] = defaultdict(set)
    for clip in split.parts.get(part, ()):
        if clip.label:
            cases[clip.label].add(clip.case)

    few = {label for label, names in cases.items() if len(names) < _MIN_CASES_OF_CLASS}
    if few:
        yield Finding(
            name="few_cases",
            severity="warn",
            parts=(part,),
            found=len(few),
            of=len(cases),
            sentence=(
                f"{len(few)} of {counted(len(cases), 'class', 'classes')} "
                f"{'has' if len(few) == 1 else 'have'} fewer than {_MIN_CASES_OF_CLASS} cases in "
                f"{part}"
            ),
            remedy="report these classes apart, or add cases",
            examples=some(
                f"{split.shown_label(label)}: {counted(len(cases[label]), 'case')}" for label in few
            ),
        )
