"""What could make a score mean less than it seems, looked for before anything is computed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from surgrec.errors import ConfigError
from surgrec.evaluation.labeled_windows import PartWindows
from surgrec.evaluation.labels import LabelsByVideo
from surgrec.evaluation.split import CaseVideo, Parts, some_of
from surgrec.shards import Source

HEADERS = ("phase", "label", "class", "frame")
"""Words of a table's first line that public benchmarks carry as if they were labels."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One row of the audit: what was looked for, how often it was found, and among how many."""

    check: str
    found: int
    of: int


def audit_split(parts: Parts) -> list[Check]:
    """What is wrong between the two parts of a split.

    Raises:
        ConfigError: A case or a video is in both parts, or there are too few cases to test on or to choose settings by.
    """
    train, test = _cases(parts.train), _cases(parts.test)
    every = len(train | test)
    if train == test:
        raise ConfigError(
            f"train and test are the same {len(test)} cases; name other cases for one of them"
        )
    trained_videos = {video.video for video in parts.train}
    shared_videos = {video.case_name for video in parts.test if video.video in trained_videos}
    for shared, kind in ((train & test, "cases"), (shared_videos, "videos of the cases")):
        if shared:
            raise ConfigError(
                f"in train and in test are the {kind} {some_of(shared)}; leave them out of one part"
            )
    for part, cases in (("train", train), ("test", test)):
        require_cases(part, cases)
    videos = len({video.video for video in [*parts.train, *parts.test]})
    checks = [
        Check(check="cases in train and test", found=0, of=every),
        Check(check="videos in train and test", found=0, of=videos),
    ]
    if parts.named:
        checks.append(
            Check(
                check="cases that the split names and the corpus lacks",
                found=len(parts.absent),
                of=parts.named,
            )
        )
    return checks


def require_cases(part: str, cases: set[str]) -> None:
    """Refuses a part of a single case.

    Raises:
        ConfigError: Names the case.
    """
    if len(cases) < 2:
        why = "no interval" if part == "test" else "no choice of settings on held-out cases"
        raise ConfigError(
            f"{part} has {some_of(cases) or 'no case'} only, which gives {why}; name two or more cases"
        )


def require_task(task: str, parts: Parts, labels: LabelsByVideo) -> None:
    """Refuses a task that cannot be learned from one part and tested on the other.

    Raises:
        ConfigError: Too few cases have labels, or all train labels are the same.
    """
    for part, videos in (("train", parts.train), ("test", parts.test)):
        labeled = [video for video in videos if (video.source, video.video) in labels]
        require_cases(f"{part}, of the cases with a label of {task},", _cases(labeled))
    values = {
        label.value
        for video in parts.train
        for label in labels.get((video.source, video.video), ())
    }
    require_several_values(task, values)


def require_several_values(task: str, values: set[str]) -> None:
    """Refuses a task with one value.

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
    """How many test cases the encoder was pretrained on, as far as its provenance and the opened corpora can tell.

    A source of the pretraining is known when a source of the same name and digest is open, of which the same clips
    could be drawn. When one is not known, nothing is known of the test cases that were not found in the others.

    Raises:
        ConfigError: The encoder was pretrained on a test case, and this was not allowed.
    """
    videos, drawn_cases, all_known = _pretrained(provenance, sources)
    cases = _cases(test)
    seen = {
        video.case_name
        for video in test
        if video.video in videos or (video.source, video.case) in drawn_cases
    }
    if seen and not allow_overlap:
        raise ConfigError(
            f"the encoder was pretrained on {len(seen)} of {len(cases)} test cases ({some_of(seen)}): test on others, or "
            "say --allow_pretraining_overlap true, which the result will show"
        )
    unknown = 0 if all_known else len(cases) - len(seen)
    return [
        Check(
            check="test cases that the encoder was pretrained on", found=len(seen), of=len(cases)
        ),
        Check(check="test cases for which this is unknown", found=unknown, of=len(cases)),
    ]


def audit_labels(task: str, train: PartWindows, test: PartWindows) -> list[Check]:
    """What is odd about the labels of both parts."""
    counts = Counter([*train.values, *test.values])
    headers = sum(
        windows
        for value, windows in counts.items()
        if value.strip().lower() in {task.lower(), *HEADERS}
    )
    known = set(train.values)
    unseen = sum(value not in known for value in test.values)
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


def _pretrained(
    provenance: Mapping[str, Any], sources: Mapping[str, Source]
) -> tuple[set[str], set[tuple[str, str]], bool]:
    """Videos and cases (with their source) of which clips could be drawn, of the known sources; whether all are known."""
    videos, cases = set[str](), set[tuple[str, str]]()
    if "order" not in provenance:
        return videos, cases, False
    mixture = provenance["order"]["mixture"]
    all_known = provenance["init_from"] is None
    for name, drawn in provenance["order"]["sources"].items():
        if not provenance["consumed"][name]:
            continue
        source = sources.get(name)
        if source is None or source.entry.digest != drawn["digest"]:
            all_known = False
            continue
        rows = source.index.rows(splits=mixture["splits"], min_duration_s=mixture["min_duration_s"])
        if (
            source.index.rows_digest(rows) != drawn["rows"]
        ):  # the same clips, but stored in other splits
            all_known = False
        videos |= set(source.index.column("video").take(rows).to_pylist())
        cases |= {(name, case) for case in source.index.column("case").take(rows).to_pylist()}
    return videos, cases, all_known


def _cases(videos: Sequence[CaseVideo]) -> set[str]:
    return {video.case_name for video in videos}
