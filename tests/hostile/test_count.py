"""The number of hostile inputs that the tests try."""

import importlib
from pathlib import Path

from tests.hostile.test_damaged_files import damaged_files
from tests.hostile.test_folders import NAMES, OTHERS
from tests.support.processes import ROOT

LEAST_KINDS = 1200
"""The list of faults that began these tests had 447."""
LEAST_IN_BUILDS, LEAST_ANNOTATIONS = 400, 170
"""Damaged or odd inputs of builds, and annotation files; docs/inputs.md states both."""


def families() -> dict[str, list[str]]:
    """Return the names of the kinds of every family, by module."""
    modules = sorted(path.stem for path in Path(__file__).parent.glob("test_*.py"))
    loaded = {name: importlib.import_module(f"tests.hostile.{name}") for name in modules}
    return {
        name: [kind.name for kind in module.KINDS]
        for name, module in loaded.items()
        if hasattr(module, "KINDS")
    }


def test_names_of_hostile_kinds_are_unique() -> None:
    for family, names in families().items():
        assert len(names) == len(set(names)), family


def test_no_fewer_hostile_kinds_are_tried_than_are_claimed() -> None:
    assert sum(map(len, families().values())) >= LEAST_KINDS


def test_as_many_inputs_are_damaged_or_odd_as_the_documents_say() -> None:
    kinds = {family: len(names) for family, names in families().items()}
    others = len(damaged_files()) + len(NAMES) + len(OTHERS)
    in_builds = others + sum(
        kinds[f"test_{family}"]
        for family in ("recordings", "archives", "folders", "curated", "manifests")
    )
    annotations = kinds["test_annotations"] + kinds["test_labels"]
    assert in_builds >= LEAST_IN_BUILDS
    assert annotations >= LEAST_ANNOTATIONS

    text = (ROOT / "docs" / "inputs.md").read_text(encoding="utf-8")
    assert f"at least {LEAST_IN_BUILDS} damaged or odd inputs" in text
    assert f"at least {LEAST_ANNOTATIONS} damaged or odd annotation files" in text
