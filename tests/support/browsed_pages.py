"""The pages of `surgrec browse` in Chromium, with real keys."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, expect

from tests.support.browse import Served

PATIENCE_S = 120
PAGES = (
    "",
    "corpora/0",
    "corpora/0/clips",
    "corpora/0/clips/0",
    "corpora/0/dropped",
    "mixture",
    "runs",
    "evaluations",
    "evaluations/0",
    "nothing/of/this/name",
)


@contextmanager
def first_page(browser: Browser, served: Served) -> Iterator[Page]:
    """The first page; at the end, the console is empty and no request went elsewhere."""
    faults: list[str] = []

    def check_origin(url: str) -> None:
        if urlsplit(url).netloc != f"127.0.0.1:{served.port}":
            faults.append(f"request to {url}")

    opened = browser.new_page(viewport={"width": 1240, "height": 900})
    opened.set_default_timeout(PATIENCE_S * 1000)
    expect.set_options(timeout=PATIENCE_S * 1000)
    opened.on("console", lambda message: faults.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("request", lambda request: check_origin(request.url))
    opened.goto(served.url)
    expect(opened.locator("h1")).to_have_text("Open corpora, runs and evaluations")
    yield opened
    opened.close()
    assert faults == []


def press_tab_until(page: Page, condition: str) -> None:
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(f"document.activeElement.matches({condition!r})"):
            return
    raise AssertionError(f"60 presses of Tab do not reach {condition}")


def open_page(page: Page, name: str) -> None:
    """Load a page anew by its address, with all details open."""
    page.goto(f"{page.url.partition('#')[0]}#/{name}")
    page.reload()
    expect(page.locator("h1")).to_be_visible()
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")


def wait_until(page: Page, condition: str) -> None:
    # Playwright's wait_for_function needs eval, which the policy of the pages forbids.
    deadline = time.monotonic() + PATIENCE_S
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, f"never true: {condition}"
        page.wait_for_timeout(50)
