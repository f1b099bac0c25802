"""Rules over corpora are audited with their labels, and against a pretraining corpus."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from surgrec.audit import (
    Finding,
    SplitClips,
    audit_split,
    check_pretraining,
    read_split_clips,
)
from surgrec.errors import ConfigError, ManifestError
from surgrec.shards import Clip, VideoLabel
from surgrec.shards._index import rows_to_parquet
from tests.support.samples import CLIP, write_corpus
from tests.support.splits import clean_split, split_of

RULES = "name: ours\ntrain: {stored: [train]}\ntest: {stored: [test]}\n"


def clip(case: str, video: int, split: str, source: str = "alpha") -> Clip:
    return replace(CLIP, source=source, case=case, video=f"{video:012x}", split=split)


def corpus(root: Path, clips: Iterable[Clip]) -> str:
    """Write a corpus whose videos have an early and a late label, and a side track."""
    by_source: dict[str, list[Clip]] = {}
    for each in clips:
        by_source.setdefault(each.source, []).append(each)
    write_corpus(root, by_source)
    for source, members in by_source.items():
        labels = [
            VideoLabel(
                video=each.video,
                case=each.case,
                split=each.split,
                task="phase",
                start_s=start_s,
                end_s=end_s,
                value=value,
            )
            for each in sorted(members, key=lambda each: each.video)
            for start_s, end_s, value in (
                (0.0, 4.0, "access"),
                (2.0, 3.0, "severe"),
                (4.0, 9.0, "late"),
            )
        ]
        (root / source / "labels.parquet").write_bytes(rows_to_parquet(VideoLabel, labels))
    return str(root)


def evaluation(root: Path) -> str:
    train = [clip(f"case-{n}", n, "train") for n in range(1, 13)]
    return corpus(root, [*train, *(clip(f"case-{n}", n, "test") for n in range(21, 33))])


def of_rules(folder: Path, text: str = RULES, task: str = "") -> SplitClips:
    (folder / "split.yaml").write_text(text)
    corpora = [evaluation(folder / "evaluation")]
    return read_split_clips([str(folder / "split.yaml")], corpora=corpora, task=task)


def found(findings: Iterable[Finding]) -> dict[str, tuple[str, int, int]]:
    return {each.name: (each.severity, each.found, each.of) for each in findings}


def test_labels_of_a_corpus_are_audited_in_their_time(tmp_path: Path) -> None:
    split = of_rules(tmp_path, task="phase")
    assert len(split.clips) == 72
    audit = audit_split(split)
    assert found(audit.findings) == {
        "side_tracks": ("warn", 24, 72),
        "no_val": ("note", 0, 72),
        "copies_unknown": ("note", 24, 24),
    }
    assert audit.baselines[0].accuracy == pytest.approx(1 / 3)


def test_rules_that_select_a_case_twice_fail(tmp_path: Path) -> None:
    rules = "name: ours\ntrain: {stored: [train]}\ntest: {cases: ['case-{12..32}']}\n"
    split = of_rules(tmp_path, rules)
    audit = audit_split(split)
    assert found(audit.findings)["shared_cases"] == ("fail", 1, 13)
    assert found(audit.findings)["absent_cases"] == ("note", 8, 32)


def test_pseudonyms_of_private_sources_in_two_parts_fail(tmp_path: Path) -> None:
    names = [f"{number:012x}" for number in range(900, 912)]
    train = [clip(name, number, "train") for number, name in enumerate(names)]
    test = [clip(name, 50 + number, "test", "beta") for number, name in enumerate(names)]
    corpora = [corpus(tmp_path / "corpus", [*train, *test])]
    (tmp_path / "split.yaml").write_text(
        "name: ours\ntrain: {sources: [alpha]}\ntest: {sources: [beta]}\n"
    )
    split = read_split_clips([str(tmp_path / "split.yaml")], corpora=corpora)
    (failure,) = audit_split(split).failures
    assert (failure.name, failure.found, failure.of) == ("shared_patients", 12, 12)
    assert failure.examples[0] == names[0]


def test_a_val_part_of_rules_is_audited(tmp_path: Path) -> None:
    rules = "name: ours\ntrain: {stored: [train]}\nval: {cases: [case-1]}\ntest: {stored: [test]}\n"
    audit = audit_split(of_rules(tmp_path, rules))
    assert [(part.part, part.cases) for part in audit.parts] == [
        ("train", 12),
        ("val", 1),
        ("test", 12),
    ]
    shared = next(each for each in audit.findings if each.name == "shared_cases")
    assert (shared.parts, shared.found, shared.of) == (("train", "val"), 1, 1)


def test_a_task_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no label of --task tool"):
        of_rules(tmp_path, task="tool")


def test_test_cases_and_videos_of_the_pretraining_are_found(tmp_path: Path) -> None:
    split = of_rules(tmp_path)
    drawn = [
        clip("case-21", 500, "train"),  # another video of a test case
        clip("other", 22, "train", "beta"),  # a test video under other names
        clip("case-23", 23, "test"),  # stored, but not drawn
        clip("case-24", 900, "train", "beta"),  # the same patient in another private source
    ]
    findings = check_pretraining(split, [corpus(tmp_path / "pretraining", drawn)])
    assert found(findings) == {
        "pretraining_cases": ("fail", 1, 12),
        "pretraining_videos": ("fail", 1, 12),
        "pretraining_patients": ("fail", 1, 12),
    }
    assert findings[0].examples == ("alpha/case-21",)
    assert audit_split(split, further=findings).failures == findings


def test_files_are_compared_with_the_source_of_their_set(tmp_path: Path) -> None:
    rows = split_of(clean_split()).clips
    drawn = [
        clip("case_41", 1, "train", "cholec-80"),
        clip("case_42", 2, "train", "beta"),
        clip("x", 3, "train", "cholect50"),
    ]
    corpora = [corpus(tmp_path / "pretraining", drawn)]
    of_set = SplitClips(name="files", clips=rows, case_rule="", dataset="cholec80")
    findings = check_pretraining(of_set, corpora)
    assert found(findings) == {
        "pretraining_cases": ("fail", 3, 36),
        "pretraining_sets": ("warn", 1, 1),
    }
    assert "45 of the 50 videos of CholecT50" in findings[1].sentence


def test_pseudonyms_cannot_be_compared_with_file_names(tmp_path: Path) -> None:
    rows = split_of(clean_split()).clips
    drawn = [clip("5f3a9c0e17b2", 1, "train", "cholec80")]
    of_set = SplitClips(name="files", clips=rows, case_rule="", dataset="cholec80")
    findings = check_pretraining(of_set, [corpus(tmp_path / "pretraining", drawn)])
    assert found(findings) == {"pretraining_unknown": ("warn", 36, 36)}


def test_test_videos_with_copies_in_the_pretraining_are_found(tmp_path: Path) -> None:
    split = of_rules(tmp_path)
    copies = tmp_path / "copies.json"
    rows = [
        {"source": "alpha", "video": f"{video:012x}", "other_split": other, "speed": 1.5}
        for video, other in ((21, "train"), (22, "test"), (3, "train"))
    ]
    copies.write_text(json.dumps({"videos": 24, "found": rows}))
    assert found(check_pretraining(split, [], copies)) == {"pretraining_copies": ("fail", 1, 12)}

    copies.write_text("{}")
    with pytest.raises(
        ManifestError, match=r"copies\.json.*found; give the output of surgrec-shard"
    ):
        check_pretraining(split, [], copies)
    with pytest.raises(ConfigError, match="about the videos of a corpus"):
        check_pretraining(split_of(clean_split()), [], copies)
