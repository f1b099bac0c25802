"""The audit reproduces the known defects of four published splits, to the clip."""

import os
from pathlib import Path

import pytest

from surgrec.audit import Audit, audit_split, read_split_clips

FOLDER = os.environ.get("SURGREC_SPLITS")
pytestmark = pytest.mark.skipif(not FOLDER, reason="SURGREC_SPLITS names no folder")


def audited(name: str) -> Audit:
    return audit_split(read_split_clips([str(Path(FOLDER or "") / name)]))


def counts(audit: Audit, severity: str) -> dict[tuple[str, tuple[str, ...]], tuple[int, int]]:
    return {
        (each.name, each.parts): (each.found, each.of)
        for each in audit.findings
        if each.severity == severity
    }


def test_kvasir_capsule_leaks_81_of_82_test_clips() -> None:
    audit = audited("kvasir-capsule")
    assert counts(audit, "fail") == {
        ("shared_cases", ("train", "test")): (81, 82),
        ("neighbors", ("train", "test")): (36, 82),
        ("shared_times", ("train", "test")): (1, 82),
        ("shared_cases", ("val", "test")): (82, 82),
        ("equal_parts", ("val", "test")): (82, 82),
    }
    assert [(part.clips, part.cases) for part in audit.parts] == [(329, 35), (82, 19), (82, 19)]
    assert audit.baselines[0].accuracy == pytest.approx(28 / 82)


def test_hyper_kvasir_leaks_640_of_654_test_clips() -> None:
    audit = audited("hyper-kvasir")
    assert counts(audit, "fail") == {
        ("shared_cases", ("train", "test")): (640, 654),
        ("neighbors", ("train", "test")): (392, 654),
        ("shared_cases", ("val", "test")): (654, 654),
        ("equal_parts", ("val", "test")): (654, 654),
    }
    assert (audit.parts[2].cases, audit.parts[2].classes) == (101, 9)
    # The most frequent train class is not the most frequent test class.
    assert audit.baselines[0].accuracy == pytest.approx(165 / 654)


def test_cataract_1k_and_colonoscopic_pass() -> None:
    cataract = audited("cataract-1k-phase")
    assert counts(cataract, "fail") == {}
    assert counts(cataract, "warn") == {("few_test_cases", ("test",)): (6, 10)}

    colonoscopic = audited("Colonoscopic-web")
    assert counts(colonoscopic, "fail") == {}
    assert colonoscopic.parts[2].cases == colonoscopic.parts[2].clips == 15
    assert colonoscopic.baselines[0].accuracy == pytest.approx(8 / 15)


def test_12_of_15_lesions_of_colonoscopic_are_trained_in_other_light() -> None:
    found = counts(audited("Colonoscopic-web"), "warn")
    assert found["shared_subjects", ("train", "test")] == (12, 15)
