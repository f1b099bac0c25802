"""The names that a room exports exist, are documented and are few."""

import ast
import inspect
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import surgrec

MOST_NAMES = 16
"""Names that a room may export."""
ROOMS = [room.name for room in pkgutil.iter_modules(surgrec.__path__, "surgrec.") if room.ispkg]


@pytest.fixture(params=ROOMS)
def room(request: pytest.FixtureRequest) -> ModuleType:
    return import_module(request.param)


def exported(room: ModuleType) -> dict[str, object]:
    return {name: getattr(room, name) for name in getattr(room, "__all__", [])}


def test_every_exported_name_resolves_and_is_listed_once(room: ModuleType) -> None:
    assert hasattr(room, "__all__") or room.__name__ == "surgrec.commands", "a room has a face"
    names = getattr(room, "__all__", [])
    assert len(set(names)) == len(names)
    assert all(hasattr(room, name) for name in names)


def test_every_exported_class_and_function_has_a_docstring(room: ModuleType) -> None:
    def is_documented(name: str, value: object) -> bool:
        # A dataclass without a docstring gets its signature as one.
        text = getattr(value, "__doc__", None) or ""
        return bool(text) and not text.startswith(f"{name}(")

    missing = [
        name
        for name, value in exported(room).items()
        if (inspect.isclass(value) or inspect.isroutine(value)) and not is_documented(name, value)
    ]
    assert not missing, f"{room.__name__} exports {missing} without a docstring"


def test_a_room_exports_few_names(room: ModuleType) -> None:
    assert len(exported(room)) <= MOST_NAMES


def test_a_room_says_what_it_is(room: ModuleType) -> None:
    assert room.__doc__


def test_the_public_names_of_the_package_resolve() -> None:
    assert all(hasattr(surgrec, name) for name in surgrec.__all__)
    assert set(surgrec.__all__) <= set(dir(surgrec))


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'surgrec' has no attribute 'load_clip'"):
        surgrec.load_clip  # noqa: B018


def test_importing_the_package_imports_no_heavy_library() -> None:
    program = (
        "import sys, surgrec; dir(surgrec); "
        "print(sorted({'torch', 'pyarrow', 'numpy', 'boto3', 'msgspec'} & sys.modules.keys()))"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == "[]"


def test_no_room_imports_a_private_file_of_another() -> None:
    root = Path(surgrec.__path__[0])
    folders = ["surgrec", "tools", "recipes", "benchmarks"]
    files = [path for folder in folders for path in (root.parent / folder).rglob("*.py")]
    crossings = [
        f"{path.relative_to(root.parent)}: {module}"
        for path in files
        for module in imported_modules(path)
        if is_private_elsewhere(module, path, root)
    ]
    assert len(files) > 200
    assert not crossings


def imported_modules(path: Path) -> list[str]:
    """Return modules and `module.name` of all `from ... import` statements of a file."""
    nodes = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module
    ]
    return [f"{node.module}.{alias.name}" for node in nodes for alias in node.names]


def is_private_elsewhere(module: str, importer: Path, root: Path) -> bool:
    """Return whether a module is private to a room that the importing file is not in."""
    parts = module.split(".")
    if parts[0] != "surgrec" or len(parts) < 3 or not any(each.startswith("_") for each in parts):
        return False
    inside = importer.is_relative_to(root) and importer.relative_to(root).parts[0] == parts[1]
    return not inside
