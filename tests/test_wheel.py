"""The wheel has every file, and its programs run without the clone, in another folder."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from tests.support.packages import find_uv
from tests.support.processes import ROOT


class Installed:
    """An environment with nothing of SurgRec but its wheel, and an empty folder to work in.

    All other packages are those of the environment of the tests.
    """

    def __init__(self, folder: Path) -> None:
        self.environment, self.folder = folder / "environment", folder / "work"
        self.folder.mkdir()
        python = self.environment / "bin/python"

        # The wheel is built from the source archive, as an index of packages does it.
        archive = _build(ROOT, "sdist", folder / "archive")
        subprocess.run(["tar", "-xf", archive, "-C", folder / "archive"], check=True)
        source = archive.with_name(archive.name.removesuffix(".tar.gz"))
        wheel = _build(source, "wheel", folder / "wheel")

        uv = find_uv()
        subprocess.run([uv, "venv", "-q", "-p", sys.executable, self.environment], check=True)
        install = [uv, "pip", "install", "-q", "--no-deps", "--offline", "-p", python, wheel]
        subprocess.run(install, check=True)
        (packages,) = self.environment.glob("lib/python*/site-packages")
        (packages / "other.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")

    def run(self, program: str, *words: object) -> str:
        """Run a program of the environment in the folder. Return both of its outputs."""
        variables = os.environ | {
            "PATH": f"{self.environment / 'bin'}:{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
        }
        variables.pop("PYTHONPATH", None)
        done = subprocess.run(
            [str(self.environment / "bin" / program), *map(str, words)],
            cwd=self.folder,
            env=variables,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


def _build(source: Path, target: str, out: Path) -> Path:
    """Build an archive or a wheel of a folder, and return its file."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel in an environment of its own."""
    return Installed(tmp_path_factory.mktemp("wheel"))


def test_a_wheel_contains_every_file_of_its_packages() -> None:
    folders = {
        "surgrec": ROOT / "surgrec",
        "surgrec/recipes": ROOT / "recipes",
        "surgrec_shard": ROOT / "tools/shard/surgrec_shard",
    }
    files = {
        f"{package}/{path.relative_to(folder)}"
        for package, folder in folders.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    left_out = {"surgrec/recipes/demo.py", "surgrec/recipes/demo.png"}
    packed = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert left_out < files
    assert packed == files - left_out


@pytest.mark.slow
def test_the_programs_of_a_wheel_import_nothing_of_the_clone(installed: Installed) -> None:
    for package in ("surgrec", "surgrec_shard"):
        place = installed.run("python", "-c", f"import {package}; print({package}.__file__)")
        assert place.startswith(str(installed.environment))
    assert installed.run("surgrec", "--version").startswith("surgrec ")
    assert installed.run("surgrec-shard", "--version").startswith("surgrec-shard ")
    assert "decodes H.264" in installed.run("python", "-m", "surgrec", "doctor")
    assert "cholec80" in installed.run("surgrec", "tasks")
    assert "dinov2_vitb14" in installed.run("surgrec", "encoders")
