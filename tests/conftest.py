"""Fixtures that several rooms share."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from surgrec_shard import private

from tests.support.videos import make_tiny_corpus

pytest_plugins = ["tests.support.s3"]

# The same examples every time, so results repeat. `--hypothesis-profile=search` tries new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=50)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True, scope="module")
def repeatable_keys(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let the private folders of a test file get the same new keys in every run.

    The key of a private folder decides the groups of its videos, so tests that count shards
    or writes would differ from run to run.
    """
    keys = random.Random(request.node.nodeid)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(private, "_new_key", lambda: keys.randbytes(32).hex())
        yield


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of a real corpus of three sources. To damage one, use `corpus_copy`."""
    return make_tiny_corpus(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def corpus_copy(tiny_corpus: Path, tmp_path: Path) -> Path:
    """Root of a copy of the tiny corpus that the test may damage."""
    return Path(shutil.copytree(tiny_corpus, tmp_path / "corpus"))
