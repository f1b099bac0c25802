"""The pages in a real browser, with the keyboard alone."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.support.browse import Served
from tests.support.browsed_pages import open_page, press_tab_until, wait_until


@pytest.mark.slow
def test_a_clip_is_found_and_played_with_the_keyboard_alone(page: Page, served: Served) -> None:
    assert served.token not in page.url
    press_tab_until(page, "main table a")
    page.keyboard.press("Enter")
    expect(page.locator("main .tabs")).to_be_visible()
    press_tab_until(page, ".tabs a[href$=clips]")
    page.keyboard.press("Enter")
    expect(page.locator("#found")).to_contain_text("28 clips")

    # The search leads to a clip.
    press_tab_until(page, "#search")
    page.keyboard.type("gamma_")
    expect(page.locator("#found")).to_contain_text("10 clips")
    press_tab_until(page, "tbody a")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("gamma_")
    press_tab_until(page, "video")
    page.keyboard.press("Space")
    wait_until(page, "document.querySelector('video').currentTime > 0")
    assert page.evaluate("document.querySelector('video').videoWidth") == 64


@pytest.mark.slow
def test_arrow_keys_move_along_a_strip_and_enter_plays(page: Page) -> None:
    # The clips of a video are one stop of Tab, at the clip that is shown.
    open_page(page, "corpora/0/clips/0")
    first = page.inner_text("h1")
    strips = page.locator("[role=toolbar]").count()
    assert page.locator("[role=toolbar] [tabindex='0']").count() == strips
    press_tab_until(page, "[role=toolbar] .press")
    ring = page.locator(".ring.over")
    begin = ring.bounding_box()
    assert begin is not None
    page.keyboard.press("ArrowRight")
    moved = ring.bounding_box()
    assert moved is not None
    assert moved["x"] > begin["x"]

    # On the next clip, the keyboard is still on the strip.
    page.keyboard.press("Enter")
    expect(page.locator("h1")).not_to_have_text(first)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text(first)
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text(re.compile("_000000000$"))

    # Errors of an evaluation, one after the other.
    open_page(page, "evaluations/0")
    press_tab_until(page, "[aria-label^='errors:'] .press")
    page.keyboard.press("Enter")
    about = page.locator("p", has_text="Predicted ")
    expect(about).to_be_visible()
    wait_until(page, "document.querySelector('video')?.currentTime > 0")
    before = about.inner_text()
    page.keyboard.press("ArrowRight")
    page.keyboard.press(" ")
    expect(about).not_to_have_text(before)
    assert (
        page.locator(".strips .note")
        .first.inner_text()
        .startswith(about.inner_text().removeprefix("Predicted ").partition(",")[0])
    )


@pytest.mark.slow
def test_the_keyboard_keeps_its_place_when_a_list_is_drawn_anew(page: Page) -> None:
    open_page(page, "corpora/0/clips")
    sort = page.get_by_role("button", name="duration_s")
    sort.press("Enter")
    expect(sort).to_have_text("duration_s ↑")
    expect(sort).to_be_focused()
    sort.press("Enter")
    expect(sort).to_have_text("duration_s ↓")

    # A filter: the first change of the column redraws its fields.
    page.get_by_role("button", name="Add a filter").press("Enter")
    column = page.locator("select[aria-label=column]")
    column.press("ArrowDown")
    expect(column).to_be_focused()

    # The curves of runs are drawn anew every few seconds; what was opened stays open.
    open_page(page, "runs")
    page.evaluate("document.querySelectorAll('figure').forEach((each) => { each.old = true })")
    summary = page.locator("summary").first
    summary.focus()
    wait_until(page, "[...document.querySelectorAll('figure')].every((each) => !each.old)")
    expect(summary).to_be_focused()
    assert page.evaluate("document.querySelector('details').open")
