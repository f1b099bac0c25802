"""Checks of a split, its labels and the pretraining corpus, before anything is computed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from surgrec.errors import ConfigError
from surgrec.evaluation._labeled_windows import PartWindows
from surgrec.evaluation._overlap import Overlap, find_overlap
from surgrec.evaluation._window_labels import LabelsByVideo
from surgrec.runs.drawn import PretrainingData
from surgrec.shards import Source
from surgrec.splits import CaseVideo, Parts, some_of
from surgrec.text import counted

HEADERS = ("phase", "label", "class", "frame")
"""Words of a table header that public benchmarks contain as if they were labels."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One row of the audit: a condition, how often it holds, and among how many."""

    check: str
    found: int
    of: int


def audit_split(parts: Parts) -> list[Check]:
    """Check the two parts of a split against each other.

    Raises:
        ConfigError: A case or a video is in both parts, or a part has too few cases.
    """
    train, test = _cases(parts.train), _cases(parts.test)
    if train == test:
        raise ConfigError(
            f"train and test are the same {counted(len(test), 'case')}; name other cases for one "
            "of them"
        )

    trained_videos = {video.video for video in parts.train}
    shared_videos = {video.case_name for video in parts.test if video.video in trained_videos}
    for shared, kind in ((train & test, "cases"), (shared_videos, "videos of the cases")):
        if shared:
            raise ConfigError(
                f"train and test share the {kind} {some_of(shared)}; remove them from one part"
            )
    require_cases("train", train)
    require_cases("test", test)

    videos = len({video.video for video in [*parts.train, *parts.test]})
    checks = [
        Check(check="cases in train and test", found=0, of=len(train | test)),
        Check(check="videos in train and test", found=0, of=videos),
    ]
    if parts.named:
        name = "cases that the split names and the corpus lacks"
        checks.append(Check(check=name, found=len(parts.absent), of=parts.named))
    return checks


def require_cases(part: str, cases: set[str], kind: str = "") -> None:
    """Refuse a part with fewer than two cases.

    Args:
        part: `train` or `test`.
        cases: Its cases.
        kind: Words after "case" that say which cases count.

    Raises:
        ConfigError: Names the case.
    """
    if len(cases) < 2:
        found = f"1 case{kind} ({min(cases)})" if cases else f"no case{kind}"
        purpose = "an interval" if part == "test" else "the choice of settings"
        raise ConfigError(f"{part} has {found}, but {purpose} needs 2; name two or more such cases")


def require_task(task: str, parts: Parts, labels: LabelsByVideo) -> None:
    """Refuse a task that cannot be learned from the train part and tested on the test part.

    Raises:
        ConfigError: Too few cases have labels, or all train labels are the same.
    """
    for part, videos in (("train", parts.train), ("test", parts.test)):
        labeled = [video for video in videos if (video.source, video.video) in labels]
        require_cases(part, _cases(labeled), f" with a label of {task}")

    values = {
        label.value
        for video in parts.train
        for label in labels.get((video.source, video.video), ())
    }
    require_several_values(task, values)


def require_several_values(task: str, values: set[str]) -> None:
    """Refuse a task with a single value.

    Raises:
        ConfigError: Names the value.
    """
    if len(values) < 2:
        raise ConfigError(
            f"all train labels of {task} are {min(values)!r}; evaluate a task with several values"
        )


@dataclass(frozen=True, kw_only=True)
class PretrainingAudit:
    """The overlap of test cases and pretraining data."""

    checks: list[Check]
    overrides: list[str]
    """Sentences for every report: the option that was needed, and its effect."""


def audit_pretraining(
    test: Sequence[CaseVideo],
    pretraining: PretrainingData,
    sources: Mapping[str, Source],
    *,
    allow_overlap: bool,
    allow_unknown: bool,
) -> PretrainingAudit:
    """Count the test cases that the encoder was pretrained on, or may have been.

    Args:
        test: Videos of the test cases.
        pretraining: Videos that the encoder and its initial weights were trained on.
        sources: The opened corpora. Another video of a test case there may be a drawn one.
        allow_overlap: Continue if test cases were drawn, or if that is unknown.
        allow_unknown: Continue if it is unknown whether test cases were drawn.

    Raises:
        ConfigError: A test case was drawn, or this is unknown, and no option allows it.
    """
    names = {(video.source, video.case): video.case_name for video in test}
    overlap = find_overlap(pretraining, sources)
    seen = {name for case, name in names.items() if case in overlap.cases}
    unknown = {
        name
        for case, name in names.items()
        if pretraining.unknown
        or case in overlap.namesakes
        or case[0] in overlap.uncertain | overlap.incomparable
    } - seen

    overrides = []
    if seen:
        finding = f"the encoder was pretrained on {len(seen)} of {len(names)} test cases"
        if not allow_overlap:
            raise ConfigError(
                f"{finding} ({some_of(seen)}); test on others, or give "
                "--allow_pretraining_overlap true, which the result will record"
            )
        overrides.append(f"allowed by --allow_pretraining_overlap: {finding}")
    if unknown:
        finding = (
            f"whether the encoder was pretrained on {len(unknown)} of {len(names)} test cases is "
            f"unknown ({_why_unknown(pretraining, overlap, unknown)})"
        )
        if not (allow_unknown or allow_overlap):
            raise ConfigError(
                f"{finding}; if its training data are known to contain none of them, give "
                "--allow_unknown_pretraining true, which the result will record"
            )
        option = "allow_unknown_pretraining" if allow_unknown else "allow_pretraining_overlap"
        overrides.append(f"allowed by --{option}: {finding}")

    name = "test cases that the encoder was pretrained on"
    checks = [
        Check(check=name, found=len(seen), of=len(names)),
        Check(check="test cases for which this is unknown", found=len(unknown), of=len(names)),
    ]
    return PretrainingAudit(checks=checks, overrides=overrides)


def _why_unknown(pretraining: PretrainingData, overlap: Overlap, unknown: set[str]) -> str:
    """Return the reasons for which an overlap is unknown, as parts of a sentence."""
    if pretraining.unknown:
        verb = "has" if len(pretraining.unknown) == 1 else "have"
        return f"{some_of(pretraining.unknown)} {verb} no record of training videos"

    def of_unknown(sources: set[str]) -> set[str]:
        return {name for name in sources if any(case.startswith(f"{name}/") for case in unknown)}

    reasons = []
    namesakes = {"/".join(case) for case in overlap.namesakes} & unknown
    if namesakes:
        reasons.append(
            f"it drew cases of the names of {some_of(namesakes)} from a source of another name"
        )
    if of_unknown(overlap.uncertain):
        reasons.append(
            f"the cases of {some_of(of_unknown(overlap.uncertain))} have other names than in the "
            "pretraining, and videos of drawn cases are missing"
        )
    if of_unknown(overlap.incomparable):
        reasons.append(
            f"the pseudonyms of {some_of(of_unknown(overlap.incomparable))} cannot be compared "
            "with those of drawn cases, of which the opened corpora have no video"
        )
    return ", and ".join(reasons)


def audit_label_times(labels: LabelsByVideo, sources: Mapping[str, Source]) -> Check:
    """Count the labels that begin after the last clip of their video.

    Many of them mean another unit than seconds. A build leaves such videos out; corpora of earlier
    versions may have them.
    """
    ends: dict[tuple[str, str], float] = {}
    for name in sorted({source for source, _ in labels}):
        index = sources[name].index
        starts_s, durations_s = (
            index.column(column).to_numpy() for column in ("start_s", "duration_s")
        )
        videos = index.column("video").to_pylist()
        for video, end_s in zip(videos, (starts_s + durations_s).tolist(), strict=True):
            ends[name, video] = max(ends.get((name, video), 0.0), end_s)

    late = sum(label.start_s >= ends[video] for video, group in labels.items() for label in group)
    total = sum(len(group) for group in labels.values())
    return Check(check="labels that begin after the last clip of their video", found=late, of=total)


def audit_labels(task: str, train: PartWindows, test: PartWindows) -> list[Check]:
    """Count oddities among the labels of both parts."""
    counts = Counter([*train.values, *test.values])

    # A label equal to a column name: the table's header was read as a row.
    header_words = {task.lower(), *HEADERS}
    headers = sum(
        windows for value, windows in counts.items() if value.strip().lower() in header_words
    )

    train_values = set(train.values)
    unseen = sum(value not in train_values for value in test.values)

    return [
        Check(
            check="train cases without a labeled window",
            found=train.cases_without_label,
            of=train.num_cases,
        ),
        Check(
            check="test cases without a labeled window",
            found=test.cases_without_label,
            of=test.num_cases,
        ),
        Check(
            check="labeled windows whose label looks like a table's header",
            found=headers,
            of=counts.total(),
        ),
        Check(
            check="test windows whose label no train window has", found=unseen, of=len(test.values)
        ),
    ]


def _cases(videos: Sequence[CaseVideo]) -> set[str]:
    return {video.case_name for video in videos}
