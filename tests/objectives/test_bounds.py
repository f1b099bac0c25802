"""The README of this folder lists every bound that differs from the parity plan."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `(tests/\S+\.py)` `(test_\w+)` \| `([^`]+)` \|", flags=re.MULTILINE)
ROWS = ROW.findall(Path(__file__).with_name("README.md").read_text(encoding="utf-8"))


def test_bounds_are_listed() -> None:
    assert len(ROWS) >= 7


@pytest.mark.parametrize(("path", "name", "bound"), ROWS)
def test_a_listed_bound_is_in_its_test(path: str, name: str, bound: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    (function,) = [
        node
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    assert bound in (ast.get_source_segment(text, function) or "")
