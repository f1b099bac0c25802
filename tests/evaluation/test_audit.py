"""Audit of an evaluation: leaks, pretraining overlap, odd labels."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surgrec.errors import ConfigError
from surgrec.evaluation._audit import (
    Check,
    audit_labels,
    audit_pretraining,
    audit_split,
    require_task,
)
from surgrec.evaluation._labeled_windows import PartWindows
from surgrec.evaluation._split import CaseVideo, Parts, corpus_videos
from surgrec.shards import Source, VideoLabel, open_corpus
from surgrec.stream import Level, Mixture, Stream
from tests.support.samples import make_clips, write_corpus


def videos(*names: str) -> list[CaseVideo]:
    """Return videos from names `source/case/video`."""
    parts = [name.split("/") for name in names]
    return [
        CaseVideo(source=source, case=case, video=video, stored="train")
        for source, case, video in parts
    ]


def parts(train: list[CaseVideo], test: list[CaseVideo], **others: Any) -> Parts:
    """Return the parts of a split."""
    return Parts(**({"train": train, "test": test, "absent": [], "named": 0} | others))


def label(video: str, value: str) -> VideoLabel:
    """Return a label of the task `phase`."""
    return VideoLabel(
        video=video, case="", split="train", task="phase", start_s=0.0, end_s=1.0, value=value
    )


def windows(*values: str, num_cases: int = 1) -> PartWindows:
    """Return a part whose labeled windows have these values."""
    return PartWindows(
        rows=[],
        values=list(values),
        indices=np.array([], dtype=np.int64),
        unlabeled=0,
        failed=0,
        num_cases=num_cases,
    )


def provenance(
    sources: dict[str, Source], names: Sequence[str], splits: Sequence[str] = ("train",)
) -> dict[str, Any]:
    """Return the provenance of an encoder whose run drew from these sources."""
    mixture = Mixture(
        splits=list(splits), levels=[Level(by="source", alpha=0.0), Level(by="case", alpha=0.0)]
    )
    order = Stream({name: sources[name] for name in names}, mixture, seed=1).order
    return {"order": order.identity(), "consumed": order.consumed(5000), "init_from": None}


def counts(checks: list[Check]) -> dict[str, tuple[int, int]]:
    """Return the count and the total of each check."""
    return {check.check: (check.found, check.of) for check in checks}


SEEN, UNKNOWN = (
    "test cases that the encoder was pretrained on",
    "test cases for which this is unknown",
)


def test_disjoint_parts_pass_and_report_the_compared_numbers() -> None:
    train, test = videos("a/1/p", "a/2/q", "a/2/r"), videos("a/3/s", "b/1/t")
    assert counts(audit_split(parts(train, test))) == {
        "cases in train and test": (0, 4),
        "videos in train and test": (0, 5),
    }
    rows = audit_split(parts(train, test, absent=["7"], named=40))
    assert asdict(rows[-1]) == {
        "check": "cases that the split names and the corpus lacks",
        "found": 1,
        "of": 40,
    }


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (
            ["a/1/p", "a/2/q", "a/3/r"],
            ["a/2/s", "a/3/t", "a/4/u"],
            "train and test share the cases a/2, a/3; ",
        ),
        (
            ["a/1/p", "a/2/q"],
            ["b/1/p", "b/2/r"],
            "train and test share the videos of the cases b/1; ",
        ),
        (["a/1/p", "a/2/q"], ["a/1/p", "a/2/q"], "train and test are the same 2 cases"),
        (
            ["a/1/p", "a/2/q"],
            ["a/3/r", "a/3/s"],
            r"test has 1 case \(a/3\), but an interval needs 2; name two or more such cases",
        ),
        (
            ["a/1/p", "a/1/q"],
            ["a/2/r", "a/3/s"],
            r"train has 1 case \(a/1\), but the choice of settings needs 2; ",
        ),
    ],
)
def test_leaks_and_parts_of_one_case_are_refused_by_name(
    train: list[str], test: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        audit_split(parts(videos(*train), videos(*test)))


def test_many_leaking_cases_are_named_in_short() -> None:
    shared = videos(*(f"a/{number}/{number}" for number in range(1, 9)))
    with pytest.raises(ConfigError, match="cases a/1, a/2, a/3, a/4, a/5 and 3 more; remove them"):
        audit_split(parts([*shared, *videos("a/9/9")], shared))


def test_pretrained_test_cases_are_counted_exactly(tiny_corpus: Path) -> None:
    sources = open_corpus([tiny_corpus])
    test = [video for video in corpus_videos(sources) if video.source in ("beta", "gamma")]
    everywhere, from_val = provenance(sources, [*sources]), provenance(sources, ["beta"], ["val"])
    with pytest.raises(
        ConfigError,
        match=r"pretrained on 3 of 4 test cases \(beta/.*allow_pretraining_overlap true",
    ):
        audit_pretraining(test, everywhere, sources, allow_overlap=False)
    assert counts(audit_pretraining(test, everywhere, sources, allow_overlap=True)) == {
        SEEN: (3, 4),
        UNKNOWN: (0, 4),
    }
    assert counts(audit_pretraining(test, from_val, sources, allow_overlap=True)) == {
        SEEN: (1, 4),
        UNKNOWN: (0, 4),
    }


def test_another_video_of_a_drawn_case_is_an_overlap(tmp_path: Path) -> None:
    clips = [replace(clip, case="one") for clip in make_clips(3)]
    clips += [
        replace(clip, case="one", video="ba9876543210", split="test") for clip in make_clips(3)
    ]
    sources = open_corpus([write_corpus(tmp_path / "corpus", {"alpha": clips})])
    test = [video for video in corpus_videos(sources) if video.stored == "test"]
    with pytest.raises(ConfigError, match=r"pretrained on 1 of 1 test cases \(alpha/one\)"):
        audit_pretraining(test, provenance(sources, ["alpha"]), sources, allow_overlap=False)


def test_a_source_without_a_draw_is_not_an_overlap(tiny_corpus: Path) -> None:
    sources = open_corpus([tiny_corpus])
    test = [video for video in corpus_videos(sources) if video.source == "gamma"]
    claimed = provenance(sources, [*sources])
    claimed["consumed"]["gamma"] = 0
    assert counts(audit_pretraining(test, claimed, sources, allow_overlap=False)) == {
        SEEN: (0, 2),
        UNKNOWN: (0, 2),
    }


@pytest.mark.parametrize("change", ["digest", "rows", "name", "init_from", "order"])
def test_an_incomparable_pretraining_is_unknown_not_clean(tiny_corpus: Path, change: str) -> None:
    sources = open_corpus([tiny_corpus])
    test = [video for video in corpus_videos(sources) if video.source == "gamma"]
    claimed = provenance(sources, ["alpha"])
    assert counts(audit_pretraining(test, claimed, sources, allow_overlap=False))[UNKNOWN] == (0, 2)
    drawn = claimed["order"]["sources"]
    if change == "order":
        del claimed["order"]
    elif change == "name":
        drawn["elsewhere"], claimed["consumed"]["elsewhere"] = (
            drawn.pop("alpha"),
            claimed["consumed"].pop("alpha"),
        )
    elif change == "init_from":
        claimed["init_from"] = "external weights"
    else:
        drawn["alpha"][change] = "0" * 64
    assert counts(audit_pretraining(test, claimed, sources, allow_overlap=False)) == {
        SEEN: (0, 2),
        UNKNOWN: (2, 2),
    }


def test_a_task_needs_labeled_cases_in_both_parts_and_several_values() -> None:
    split = parts(videos("a/1/p", "a/2/q"), videos("a/3/r", "a/4/s"))
    labels = {("a", video): [label(video, "x"), label(video, "y")] for video in "pqrs"}
    require_task("phase", split, labels)
    message = r"test has 1 case with a label of phase \(a/4\), but an interval needs 2; name two or"
    with pytest.raises(ConfigError, match=message):
        require_task(
            "phase", split, {video: rows for video, rows in labels.items() if video != ("a", "r")}
        )
    with pytest.raises(ConfigError, match="all train labels of phase are 'x'"):
        require_task("phase", split, {video: rows[:1] for video, rows in labels.items()})


def test_odd_labels_are_counted() -> None:
    train = windows("access", "access", "Phase", num_cases=3)
    checks = counts(audit_labels("step", train, windows("access", "step", "closure")))
    assert checks["labeled windows whose label looks like a table's header"] == (2, 6)
    assert checks["test windows whose label no train window has"] == (2, 3)
    assert checks["train cases without a labeled window"] == (3, 3)
