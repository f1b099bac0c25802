"""Every planted defect of a split is found, and nothing else; clean splits stay clean."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from surgrec.audit import FINDINGS, Audit, Clip, SplitClips, audit_split, is_header, require_passed
from surgrec.errors import ConfigError
from surgrec.tasks import card_names, find_cards
from tests.support.splits import Rows, clean_split, clip_name, clips_of, split_of

Split = dict[str, Rows]


TWIN = 98
"""This case and the next one are of one patient."""


def audited(parts: Split, **options: object) -> Audit:
    split = split_of(parts)
    twins = {f"case_{TWIN}", f"case_{TWIN + 1}"}
    clips = [
        clip._replace(patient="twin" if clip.case in twins else clip.case) for clip in split.clips
    ]
    return audit_split(replace(split, clips=clips), **options)  # type: ignore[arg-type]


def found(audit: Audit) -> list[tuple[str, str, int, int]]:
    """Return severity, name, count and total of each finding."""
    return [(each.severity, each.name, each.found, each.of) for each in audit.findings]


def shared_case(parts: Split) -> None:
    parts["test"].append((clip_name(3, "access", 500), "0"))


def shared_patient(parts: Split) -> None:
    """Mark a case of train and one of test; `audited` gives both one patient."""
    parts["train"].append((clip_name(TWIN, "access", 0), "0"))
    parts["test"].append((clip_name(TWIN + 1, "access", 0), "0"))


def shared_clip(parts: Split) -> None:
    parts["test"].append(parts["train"][0])


def shared_time(parts: Split) -> None:
    parts["test"].append((clip_name(3, "access", 5), "0"))


def neighbor(parts: Split) -> None:
    parts["test"].append((clip_name(3, "access", 51), "0"))


def val_is_test(parts: Split) -> None:
    parts["val"] = list(reversed(parts["test"]))


def val_shares_a_case(parts: Split) -> None:
    parts["val"].append((clip_name(41, "access", 500), "0"))


def train_shares_a_case_with_val(parts: Split) -> None:
    parts["val"].append((clip_name(1, "access", 500), "0"))


def repeated_row(parts: Split) -> None:
    parts["train"] += [parts["train"][4]] * 2


def conflicting_row(parts: Split) -> None:
    path, _ = parts["train"][0]
    parts["train"].append((path, "1"))


def header_class(parts: Split) -> None:
    for part, first in (("train", 1), ("val", 21), ("test", 41)):
        parts[part] += [(clip_name(case, "phase", 90), "6") for case in range(first, first + 12)]


def catch_all_class(parts: Split) -> None:
    for part, first in (("train", 1), ("val", 21), ("test", 41)):
        parts[part] += [(clip_name(case, "rest", 90), "7") for case in range(first, first + 12)]


def joined_classes(parts: Split) -> None:
    parts["train"] += [(clip_name(case, "bleeding", 90), "2") for case in range(1, 13)]


def side_track(parts: Split) -> None:
    for part, first in (("train", 1), ("val", 21), ("test", 41)):
        parts[part] += [
            (f"case_{case:02d}_severity_1-4.mp4", "9") for case in range(first, first + 12)
        ]


def unseen_class(parts: Split) -> None:
    parts["test"] += [(clip_name(case, "suture", 90), "5") for case in range(41, 53)]


def untested_class(parts: Split) -> None:
    parts["train"] += [(clip_name(case, "suture", 90), "5") for case in range(1, 13)]


def rare_class(parts: Split) -> None:
    parts["train"] += [(clip_name(case, "suture", 90), "5") for case in range(1, 13)]
    parts["test"] += [(clip_name(41, "suture", 90), "5")]


def small_test(parts: Split) -> None:
    parts["test"] = clips_of(range(41, 50))


def without_train(parts: Split) -> None:
    del parts["train"]


def without_test(parts: Split) -> None:
    del parts["test"]


def without_val(parts: Split) -> None:
    del parts["val"]


SHARED = ("fail", "shared_cases", 1, 37)
DEFECTS: list[tuple[Callable[[Split], None], list[tuple[str, str, int, int]]]] = [
    (shared_case, [SHARED]),
    (shared_patient, [("fail", "shared_patients", 1, 37)]),
    (shared_clip, [("fail", "shared_clips", 1, 37), SHARED, ("fail", "shared_times", 1, 37)]),
    (shared_time, [SHARED, ("fail", "shared_times", 1, 37)]),
    (neighbor, [SHARED, ("fail", "neighbors", 1, 37)]),
    (val_is_test, [("fail", "equal_parts", 36, 36), ("fail", "shared_cases", 36, 36)]),
    (val_shares_a_case, [("fail", "shared_cases", 3, 36)]),
    (train_shares_a_case_with_val, [("fail", "shared_cases", 1, 37)]),
    (repeated_row, [("warn", "repeated_rows", 2, 38)]),
    (
        conflicting_row,
        [
            ("fail", "conflicting_rows", 1, 108),
            ("warn", "joined_classes", 37, 109),
            ("warn", "divided_classes", 37, 109),
        ],
    ),
    (header_class, [("fail", "header_labels", 36, 144)]),
    (catch_all_class, [("warn", "catch_all_labels", 36, 144)]),
    (joined_classes, [("warn", "joined_classes", 48, 120)]),
    (side_track, [("warn", "side_tracks", 36, 144)]),
    (unseen_class, [("warn", "unseen_classes", 12, 48)]),
    (untested_class, [("note", "untested_classes", 1, 4)]),
    (rare_class, [("warn", "few_cases", 1, 4)]),
    (small_test, [("warn", "few_test_cases", 9, 10)]),
    (without_train, [("fail", "absent_parts", 1, 2)]),
    (without_test, [("fail", "absent_parts", 1, 2)]),
    (without_val, [("note", "no_val", 0, 72)]),
]


@pytest.mark.parametrize(
    ("spoil", "expected"), DEFECTS, ids=[spoil.__name__ for spoil, _ in DEFECTS]
)
def test_a_planted_defect_is_found_and_nothing_else(
    spoil: Callable[[Split], None], expected: list[tuple[str, str, int, int]]
) -> None:
    parts = clean_split()
    spoil(parts)
    audit = audited(parts)
    assert sorted(found(audit)) == sorted(expected)
    assert bool(audit.failures) == any(severity == "fail" for severity, *_ in expected)
    assert {finding.name for finding in audit.findings} <= FINDINGS.keys()


def timed_rows(part: str, *spans: tuple[str, float, float]) -> list[Clip]:
    """Return rows as `path start end label` gives them; each video is a case."""
    return [
        Clip(part=part, path=video, label="0", case=video, video=video, start=start, end=end)
        for video, start, end in spans
    ]


def test_clips_of_the_same_files_at_other_times_are_no_equal_parts() -> None:
    clips = timed_rows("train", ("v1", 0.0, 10.0), ("v2", 0.0, 10.0))
    clips += timed_rows("test", ("v1", 50.0, 60.0), ("v2", 60.0, 70.0))
    audit = audit_split(SplitClips(name="timed", clips=clips, case_rule="the video"))
    failing = [(each.name, each.found) for each in audit.failures]
    assert failing == [("shared_cases", 2), ("shared_clips", 2)]


def test_equal_parts_that_are_allowed_still_share_cases() -> None:
    clips = timed_rows("train", ("v1", 0.0, 10.0), ("v2", 0.0, 10.0))
    clips += [clip._replace(part="test") for clip in clips]
    split = SplitClips(name="timed", clips=clips, case_rule="the video")
    for allowed, left in (("equal_parts", "shared_cases"), ("shared_cases", "equal_parts")):
        audit = audit_split(split, allow=[allowed])
        assert [each.name for each in audit.failures] == [left]
    assert audit_split(split, allow=["equal_parts", "shared_cases"]).failures == []


def test_a_clean_split_has_no_finding() -> None:
    audit = audited(clean_split())
    assert audit.findings == ()
    assert [(part.clips, part.cases, part.classes) for part in audit.parts] == [(36, 12, 3)] * 3


@pytest.mark.parametrize(
    "label",
    [
        "phase", "Phase", " Phase name", "phases", "frame_id", "FrameNo", "tool", "Steps",
        "classes", "label-name", "finding_class", "Finding category", "VideoID", "comment",
        "int_step", "groundtruth_toolname", "surgery_id",
    ],
)  # fmt: skip
def test_a_usual_name_of_a_column_is_a_header(label: str) -> None:
    assert is_header(label)


@pytest.mark.parametrize(
    "label", ["phase 1", "step_3", "no tool", "no_label", "surgery", "finding", "Tooltip", "", "3"]
)
def test_a_label_that_only_resembles_a_column_is_no_header(label: str) -> None:
    assert not is_header(label)


def test_only_the_known_header_among_the_classes_of_all_cards_is_one() -> None:
    cards = find_cards([*card_names()])
    names = {(card.name, name) for card in cards for name in card.class_names}
    assert len(names) > 200
    found = {(card, name) for card, name in names if is_header(name)}
    assert found == {("surgrec-legacy-m2cai16", "Phase")}


def test_several_labels_at_once_are_no_defect_of_a_multilabel_task() -> None:
    parts = clean_split()
    side_track(parts)
    parts["train"].append((parts["train"][0][0], "1"))
    split = replace(split_of(parts), multilabel=True)
    names = {finding.name for finding in audit_split(split).findings}
    assert names == {"joined_classes", "divided_classes"}


def test_the_order_of_rows_changes_no_finding() -> None:
    parts = clean_split()
    shared_time(parts)
    forward = audited(parts)
    backward = audited({part: rows[::-1] for part, rows in parts.items()})
    assert forward.findings == backward.findings


def test_an_allowed_finding_does_not_fail_and_stands_in_the_audit() -> None:
    parts = clean_split()
    shared_case(parts)
    audit = audited(parts, allow=["shared_cases"])
    assert audit.failures == []
    assert audit.overrides == [
        "allowed by --allow shared_cases: 1 of 37 test clips are of 1 case that train has, too"
    ]
    require_passed(audit)


def test_a_failed_audit_is_refused_by_the_names_of_its_findings() -> None:
    parts = clean_split()
    neighbor(parts)
    audit = audited(parts)
    message = (
        r"split planted: 1 of 37 test clips are of 1 case that train has, too \(case_03\), and it "
        r"has 1 other failing finding; divide the set by case"
    )
    with pytest.raises(ConfigError, match=f"{message}$"):
        require_passed(audit)
    names = r"\['shared_cases', 'neighbors'\]"
    with pytest.raises(ConfigError, match=f'{message}, or give --allow "{names}", which'):
        require_passed(audit, option="--allow")


def test_an_unknown_name_to_allow_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="'shared_case' is not a finding; did you mean shared_cases"
    ):
        audited(clean_split(), allow=["shared_case"])


def test_a_claim_finer_than_the_interval_is_found() -> None:
    parts = clean_split()
    fine = audited(parts, claim=0.02)
    assert [finding.name for finding in fine.findings] == ["wide_interval"]
    assert "±24.6% over 12 cases" in fine.findings[0].sentence
    assert audited(parts, claim=0.5).findings == ()


def test_a_lesion_in_two_parts_fails_if_its_set_says_so() -> None:
    clips = [clip._replace(subject="A") for clip in split_of(clean_split()).clips]
    lesions = SplitClips(
        name="", clips=clips, case_rule="", subject_is="lesion", subject_severity="fail"
    )
    names = {(finding.name, finding.sentence) for finding in audit_split(lesions).failures}
    assert names == {
        ("shared_subjects", f"36 of 36 {part} clips are of 1 lesion that {first} has, too")
        for first, part in (("train", "test"), ("val", "test"), ("train", "val"))
    }


def test_a_surgeon_in_two_parts_is_a_warning() -> None:
    clips = [clip._replace(subject="A") for clip in split_of(clean_split()).clips]
    audit = audit_split(SplitClips(name="", clips=clips, case_rule="", subject_is="surgeon"))
    assert ("warn", "shared_subjects", 36, 36) in found(audit)
    assert not audit.failures
