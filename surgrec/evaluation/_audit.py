"""Checks of a split, its labels and the pretraining corpus, before anything is computed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from surgrec.errors import ConfigError
from surgrec.evaluation._labeled_windows import PartWindows
from surgrec.evaluation._split import CaseVideo, Parts, some_of
from surgrec.evaluation._window_labels import LabelsByVideo
from surgrec.shards import Source

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
            f"train and test are the same {len(test)} cases; name other cases for one of them"
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


def audit_pretraining(
    test: Sequence[CaseVideo],
    provenance: Mapping[str, Any],
    sources: Mapping[str, Source],
    *,
    allow_overlap: bool,
) -> list[Check]:
    """Count the test cases that the encoder was pretrained on, from its provenance.

    A source of the pretraining is known if an opened source has the same name and digest, and the
    same clips could be drawn from it. If any source is unknown, then so is the state of all test
    cases that were not seen in the known ones.

    Raises:
        ConfigError: The encoder was pretrained on a test case, and `allow_overlap` is false.
    """
    drawn = _drawn_data(provenance, sources)
    cases = _cases(test)
    seen = {
        video.case_name
        for video in test
        if video.video in drawn.videos or (video.source, video.case) in drawn.cases
    }
    if seen and not allow_overlap:
        raise ConfigError(
            f"the encoder was pretrained on {len(seen)} of {len(cases)} test cases "
            f"({some_of(seen)}); test on others, or give --allow_pretraining_overlap true, which "
            "the result will record"
        )

    unknown = 0 if drawn.is_complete else len(cases) - len(seen)
    name = "test cases that the encoder was pretrained on"
    return [
        Check(check=name, found=len(seen), of=len(cases)),
        Check(check="test cases for which this is unknown", found=unknown, of=len(cases)),
    ]


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


@dataclass(frozen=True, kw_only=True)
class _DrawnData:
    """Videos and cases of which the pretraining could draw clips."""

    videos: set[str]
    cases: set[tuple[str, str]]
    """With their source."""
    is_complete: bool
    """Whether all sources of the pretraining are known."""


def _drawn_data(provenance: Mapping[str, Any], sources: Mapping[str, Source]) -> _DrawnData:
    videos, cases = set[str](), set[tuple[str, str]]()
    if "order" not in provenance:
        return _DrawnData(videos=videos, cases=cases, is_complete=False)

    mixture = provenance["order"]["mixture"]
    is_complete = provenance["init_from"] is None
    for name, drawn in provenance["order"]["sources"].items():
        if not provenance["consumed"][name]:
            continue
        source = sources.get(name)
        if source is None or source.entry.digest != drawn["digest"]:
            is_complete = False
            continue

        rows = source.index.rows(splits=mixture["splits"], min_duration_s=mixture["min_duration_s"])
        if source.index.rows_digest(rows) != drawn["rows"]:
            is_complete = False  # the same clips, but stored in other splits
        videos |= set(source.index.column("video").take(rows).to_pylist())
        cases |= {(name, case) for case in source.index.column("case").take(rows).to_pylist()}
    return _DrawnData(videos=videos, cases=cases, is_complete=is_complete)


def _cases(videos: Sequence[CaseVideo]) -> set[str]:
    return {video.case_name for video in videos}
