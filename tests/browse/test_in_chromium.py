"""The pages in a real browser, with real clicks: no fault, no request to the outside, legible."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browse import browsing
from tests.support.browsed_pages import PAGES, first_page, open_page, wait_until
from tests.support.logged_runs import make_run

NARROW_PX = 400
LEAST_CONTRAST = 4.5
LOW_CONTRAST = """(least) => {
  const numbers = (color) => {
    const found = /^rgba?\\(([\\d.]+), ([\\d.]+), ([\\d.]+)(?:, ([\\d.]+))?\\)$/.exec(color);
    return found.slice(1).map((text) => (text === undefined ? 1 : Number(text)));
  };
  const luminance = ([red, green, blue]) => {
    const linear = [red, green, blue].map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const background = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const color = numbers(getComputedStyle(each).backgroundColor);
      if (color[3] === 1) return color;
      if (color[3] !== 0) throw new Error(`${each.tagName} is half transparent`);
    }
    return [255, 255, 255, 1];
  };
  const ratio = (color, element) => {
    const two = [luminance(numbers(color)), luminance(background(element))];
    return (Math.max(...two) + 0.05) / (Math.min(...two) + 0.05);
  };
  const texts = [...document.querySelectorAll("body *")].filter((each) => each.checkVisibility()
    && [...each.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim()));
  const measured = texts.map((each) => {
    const style = getComputedStyle(each);
    const color = each instanceof SVGElement ? style.fill : style.color;
    return [each.textContent.slice(0, 60), ratio(color, each)];
  });
  for (const field of document.querySelectorAll("input[placeholder]")) {
    const { color } = getComputedStyle(field, "::placeholder");
    measured.push([field.placeholder, ratio(color, field)]);
  }
  return { measured: measured.length, low: measured.filter(([, value]) => value < least) };
}"""
"""Return how many texts the page shows, and those whose contrast is too low (WCAG 2.2, 1.4.3)."""


@pytest.mark.slow
def test_clicks_lead_to_neighbors_mixtures_runs_and_errors(page: Page) -> None:
    # From the last clip of a video to the one before it, and back.
    page.click("main table a")
    page.click(".tabs >> text=Clips")
    page.click("tbody a[href*='/clips/']")
    place = page.locator(".pager span", has_text="clips of the video")
    expect(place).to_be_visible()
    while page.locator("a.step", has_text="Later clip").count():
        old = page.inner_text("h1")
        page.click("a.step >> text=Later clip")
        expect(page.locator("h1")).not_to_have_text(old)
    last = page.inner_text("h1")
    expect(place).to_have_text("5 of 5 clips of the video")
    page.click("a.step >> text=Earlier clip")
    expect(place).to_have_text("4 of 5 clips of the video")
    page.click("[aria-label^='clips:'] .press >> nth=4")
    expect(page.locator("h1")).to_have_text(last)
    page.click("video")
    wait_until(page, "document.querySelector('video').currentTime > 0")

    # A slider at zero takes the source out of the plan and into the YAML.
    page.click("nav >> text=Mixture")
    weight = page.locator("input[aria-label='gamma']")
    weight.click(position={"x": 2, "y": 6})
    weight.press("Home")
    expect(page.locator("#yaml")).to_contain_text("gamma: 0")
    expect(page.locator("tr", has_text="gamma")).to_contain_text("0.0 %")

    # Runs lie over each other; one is left out.
    page.click("nav >> text=Runs")
    curves = page.locator(".chart").first.locator("polyline")
    expect(curves).to_have_count(2)
    page.uncheck("input[type=checkbox] >> nth=1")
    expect(curves).to_have_count(1)

    # Errors of an evaluation play; behind the end of the source, a sentence says why not.
    page.click("nav >> text=Evaluations")
    page.click("main li a")
    page.click("text=Watch >> nth=0")
    expect(page.locator("p", has_text="Predicted ")).to_be_visible()
    wait_until(page, "document.querySelector('video')?.currentTime > 0")
    page.click("text=Watch >> nth=-1")
    expect(page.locator(".missing", has_text="No open corpus shows this moment")).to_be_visible()


@pytest.mark.slow
def test_figures_of_gpus_are_drawn_or_said_to_be_missing(
    browser: Browser, subjects: dict[str, Path], tmp_path: Path
) -> None:
    figures = {"gpu_utilization": 0.9, "gpu_memory_gib": 61.5, "gpu_temperature_c": 71.0}
    run = make_run(tmp_path / "on-gpus", subjects["corpus"], None, values=figures)
    with browsing(run, subjects["run"]) as running, first_page(browser, running) as page:
        open_page(page, "runs")
        for name in figures:
            chart = page.locator("figure", has=page.locator("figcaption", has_text=name))
            expect(chart.locator("polyline")).to_have_count(1)
        without = page.locator("p", has_text="No figures of a GPU are in the log of")
        expect(without).to_contain_text(str(subjects["run"]))
        assert "on-gpus" not in without.inner_text()


@pytest.mark.slow
def test_every_page_is_legible_and_fits_a_phone(page: Page) -> None:
    for width_px in (1240, NARROW_PX):
        page.set_viewport_size({"width": width_px, "height": 900})
        for name in PAGES:
            open_page(page, name)
            found = page.evaluate(LOW_CONTRAST, LEAST_CONTRAST)
            assert found["measured"] > 5
            assert found["low"] == [], f"{name} at {width_px} px"
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width == width_px, f"{name} is {width} px wide, not {width_px}"
