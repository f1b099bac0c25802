"""The documentation's site builds without a warning, and has every public name and page."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

import surgrec
from tests.support.processes import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. A broken link within it is a warning, and a warning is an error."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", ROOT / "docs/site"]
    done = subprocess.run([*command, ROOT, out], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return out


def test_every_public_function_and_class_is_in_the_reference(site: Path) -> None:
    inventory = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    documented = {line.split(" ")[0] for line in zlib.decompress(inventory).decode().splitlines()}
    rooms = [f"surgrec.{module.name}" for module in pkgutil.iter_modules(surgrec.__path__)]
    faces = {name: importlib.import_module(name) for name in rooms if is_room(name)}
    missing = {
        f"{name}.{public}"
        for name, face in faces.items()
        for public in face.__all__
        if is_documented_kind(getattr(face, public)) and f"{name}.{public}" not in documented
    }
    assert missing == set()


def is_documented_kind(value: object) -> bool:
    """Whether a public name has a docstring of its own: constants and types have not."""
    return inspect.isclass(value) or inspect.isroutine(value)


def is_room(name: str) -> bool:
    """Whether a package has a face of names for other programs."""
    if name in ("surgrec.commands", "surgrec.recipes", "surgrec.__main__"):
        return False
    return hasattr(importlib.import_module(name), "__path__")


def test_every_page_of_the_documentation_is_on_the_site(site: Path) -> None:
    pages = [path.relative_to(ROOT) for path in (ROOT / "docs").glob("*.md")]
    assert len(pages) > 20
    assert [page for page in pages if not (site / page.with_suffix(".html")).is_file()] == []
