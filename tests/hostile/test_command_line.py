"""Hostile command lines: absurd words where a command expects others."""

from pathlib import Path

import pytest

from tests.hostile.harness import Kind, try_kind

KINDS = [
    Kind(name="an unknown command is refused", make=lambda folder: ["surgrec", "trian"]),
    Kind(
        name="an unknown flag is refused",
        make=lambda folder: ["surgrec-shard", "info", folder, "--wieghts", "1"],
    ),
    Kind(
        name="a corpus that does not exist is refused",
        make=lambda folder: ["surgrec-shard", "verify", folder / "none"],
    ),
    Kind(
        name="a recipe refuses an unknown flag",
        make=lambda folder: ["jepa", "--corpus", folder, "--stepz", "3"],
    ),
    Kind(
        name="a recipe refuses an empty folder in place of a corpus",
        make=lambda folder: [
            *("jepa", "--config", "jepa_tiny", "--corpus", folder, "--run_dir", folder / "run")
        ],
    ),
]


@pytest.mark.slow
def test_hostile(kind: Kind, tmp_path: Path) -> None:
    try_kind(kind, tmp_path)
