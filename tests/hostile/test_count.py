"""The number of hostile inputs that the tests try."""

import importlib
from pathlib import Path

LEAST_KINDS = 1200
"""The list of faults that began these tests had 447."""


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
