"""Fixtures that several rooms share."""

import shutil
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.videos import make_tiny_corpus

pytest_plugins = ["tests.support.s3"]

# The same examples every time, so results repeat. `--hypothesis-profile=search` tries new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=50)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of a real corpus of three sources. To damage one, use `corpus_copy`."""
    return make_tiny_corpus(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def corpus_copy(tiny_corpus: Path, tmp_path: Path) -> Path:
    """Root of a copy of the tiny corpus that the test may damage."""
    return Path(shutil.copytree(tiny_corpus, tmp_path / "corpus"))
