"""Checks of a split, its labels and the pretraining corpus, before anything is computed."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from surgrec.annotations import NONE_PRESENT
from surgrec.audit import audit_split as audit_rows
from surgrec.audit import clips_of, is_header, require_passed
from surgrec.errors import ConfigError
from surgrec.evaluation._labeled_windows import LabeledWindows, names_of
from surgrec.evaluation._overlap import Overlap, find_overlap
from surgrec.evaluation._window_labels import LabelsByVideo
from surgrec.runs.drawn import PretrainingData
from surgrec.shards import Source
from surgrec.splits import CaseVideo, Parts, Split, some_of


@dataclass(frozen=True, kw_only=True)
class Check:
    """One row of the audit: a condition, how often it holds, and among how many."""

    check: str
    found: int
    of: int


@dataclass(frozen=True, kw_only=True)
class SplitAudit:
    """The rows of an audit, and the findings that only an option allows."""

    checks: list[Check]
    overrides: list[str]
    """Sentences for every report: the option that was needed, and its effect."""


def audit_split(
    split: Split,
    parts: Parts,
    labels: LabelsByVideo,
    *,
    several: bool = False,
    allow: Collection[str] | None = None,
) -> SplitAudit:
    """Check the parts of a split and their labels (see `surgrec.audit`).

    Args:
        split: The split.
        parts: The videos that it selects.
        labels: Labels of the task, if they are classes.
        several: Whether a time may have several labels.
        allow: Names of findings that do not stop the evaluation; None: the caller has no such
            option.

    Raises:
        ConfigError: A finding fails, such as a case in two parts, or a part has too few cases.
    """
    for name, videos in parts.by_name.items():
        require_cases(name, _cases(videos))
    audit = audit_rows(
        replace(clips_of(split, parts, labels), multilabel=several), allow=allow or ()
    )
    require_passed(audit, option="" if allow is None else "--allow")

    cases = Counter(name for videos in parts.by_name.values() for name in _cases(videos))
    names = Counter(
        name for videos in parts.by_name.values() for name in {video.video for video in videos}
    )
    patients = Counter(
        name
        for videos in parts.by_name.values()
        for name in {video.patient for video in videos} - {""}
    )
    among = "in train and test" if len(parts.by_name) == 2 else "in several of train, val and test"
    checks = [
        Check(check=f"{kind} {among}", found=sum(n > 1 for n in counts.values()), of=len(counts))
        for kind, counts in (("cases", cases), ("patients", patients), ("videos", names))
        if counts
    ]
    if parts.named:
        name = "cases that the split names and the corpus lacks"
        checks.append(Check(check=name, found=len(parts.absent), of=parts.named))
    checks += [
        Check(check=f"{finding.name}: {finding.sentence}", found=finding.found, of=finding.of)
        for finding in audit.findings
        if finding.severity == "warn"
    ]
    return SplitAudit(checks=checks, overrides=audit.overrides)


def require_cases(part: str, cases: set[str], kind: str = "") -> None:
    """Refuse a part with too few cases: two for train and test, one for val.

    Args:
        part: `train`, `val` or `test`.
        cases: Its cases.
        kind: Words after "case" that say which cases count.

    Raises:
        ConfigError: Names the case.
    """
    needed = 1 if part == "val" else 2
    if len(cases) < needed:
        found = f"1 case{kind} ({min(cases)})" if cases else f"no case{kind}"
        purpose = "an interval" if part == "test" else "the choice of settings"
        raise ConfigError(
            f"{part} has {found}, but {purpose} needs {needed}; name "
            f"{'two' if needed == 2 else 'one'} or more such cases"
        )


def require_task(task: str, parts: Parts, labels: LabelsByVideo) -> None:
    """Refuse a task of which a part has too few cases with a label.

    Raises:
        ConfigError: Names the part and the task.
    """
    for part, videos in parts.by_name.items():
        labeled = [video for video in videos if (video.source, video.video) in labels]
        require_cases(part, _cases(labeled), f" with a label of {task}")


def train_values(parts: Parts, labels: LabelsByVideo) -> set[str]:
    """Return the values that labels of the train part have."""
    return {
        label.value
        for video in parts.train
        for label in labels.get((video.source, video.video), ())
        if label.value != NONE_PRESENT
    }


def require_windows(windows: LabeledWindows) -> None:
    """Refuse windows of which a part has too few labeled cases.

    Raises:
        ConfigError: Names the part.
    """
    for name, part in windows.by_name.items():
        require_cases(name, set(part.cases), " with a labeled window")


def audit_pretraining(
    test: Sequence[CaseVideo],
    pretraining: PretrainingData,
    sources: Mapping[str, Source],
    *,
    allow_overlap: bool,
    allow_unknown: bool,
) -> SplitAudit:
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
    return SplitAudit(checks=checks, overrides=overrides)


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


def audit_labels(task: str, windows: LabeledWindows) -> list[Check]:
    """Count oddities among the labels of all parts."""
    train, test = windows.train, windows.test
    counts = Counter(name for part in windows.by_name.values() for name in part.names)

    # A label equal to a column name: the table's header was read as a row.
    headers = sum(
        windows
        for value, windows in counts.items()
        if is_header(value) or value.strip().lower() == task.lower()
    )

    known = set(train.names)
    unseen = sum(not known.issuperset(names_of(value)) for value in test.values)

    return [
        *(
            Check(
                check=f"{name} cases without a labeled window",
                found=part.cases_without_label,
                of=part.num_cases,
            )
            for name, part in windows.by_name.items()
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
