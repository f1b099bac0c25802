"""One server and one browser for all tests of this room that change nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.browse import Served, browsing, write_playable_result
from tests.support.browsed_pages import first_page
from tests.support.browser import CHROMIUM
from tests.support.logged_runs import make_run
from tests.support.needs import missing


@pytest.fixture(scope="session")
def subjects(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A corpus, two runs and an evaluation."""
    folder = tmp_path_factory.mktemp("browse")
    return {
        "corpus": tiny_corpus,
        "run": make_run(folder / "runs/a", tiny_corpus, "mae", steps=60),
        "other run": make_run(folder / "runs/b", tiny_corpus, None, values={"loss": 0.7}),
        "result": write_playable_result(folder / "result", tiny_corpus),
    }


@pytest.fixture(scope="session")
def served(subjects: dict[str, Path]) -> Iterator[Served]:
    with browsing(*subjects.values()) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        missing("no Chromium is installed")
    with sync_playwright() as program:
        running = program.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    with first_page(browser, served) as opened:
        yield opened
