"""Names that would do harm as HTML, as addresses or as paths stay texts on every page."""

from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, expect

from tests.support.browse import browsing
from tests.support.browsed_pages import PAGES, first_page, open_page, wait_until
from tests.support.hostile_subjects import COLUMN, SHOWN, clips_with, write_hostile_subjects

HARM = """() => {
  const made = "body script, img, iframe, object, embed, base, style";
  const found = [...document.querySelectorAll(made)];
  for (const each of document.querySelectorAll("*")) {
    found.push(...each.getAttributeNames().filter((name) => name.startsWith("on")));
  }
  for (const each of document.querySelectorAll("a[href]")) {
    const href = each.getAttribute("href");
    if (!/^#[/?a-z0-9%=.&+*_-]*$|^[/]runs[/][0-9]+[/]report$/i.test(href)) found.push(href);
  }
  if (window.hostile !== undefined) found.push("a script has run");
  return found.map(String);
}"""
"""Return what a name has made of the page: elements, listeners, links to elsewhere."""


@pytest.mark.slow
def test_hostile_names_are_inert_on_every_page(
    browser: Browser, tiny_corpus: Path, tmp_path: Path
) -> None:
    subjects = write_hostile_subjects(tmp_path, tiny_corpus)
    with browsing(*subjects) as running, first_page(browser, running) as page:
        for name in PAGES:
            open_page(page, name)
            assert page.evaluate(HARM) == [], name
            if name != "nothing/of/this/name":
                assert "onerror=hostile=1" in page.inner_text("main"), name
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width == 1240, f"{name} is {width} px wide"

        # The link of a value leads to the clips that have it.
        open_page(page, "corpora/0/clips/0")
        row = page.locator("[aria-label='columns of the clip'] tr", has_text="case").first
        case = running.get("/api/corpora/0/clips/0")["values"]["case"]
        row.locator("a").click()
        expect(page.locator("#found")).to_contain_text(
            f"{clips_with(subjects[0], case=case)} clips"
        )
        page.reload()
        expect(page.locator("#found")).to_contain_text(
            f"{clips_with(subjects[0], case=case)} clips"
        )

        # So do a reason and the video of a dropped stretch.
        open_page(page, "corpora/0/dropped")
        stretches = page.locator("[aria-label='dropped stretches'] tbody tr")
        count = stretches.count()
        page.locator("label", has_text="reason").locator("select").select_option(index=1)
        wait_until(page, "location.hash.includes('reason=')")
        expect(stretches).to_have_count(count)
        video = stretches.first.locator("a").inner_text()
        stretches.first.locator("a").click()
        expect(page.locator("#found")).to_contain_text(
            f"{clips_with(subjects[0], video=video)} clips"
        )

        # A column becomes a level of the mixture, and a curve of the run.
        open_page(page, "mixture")
        page.get_by_label("column of level 1").select_option(label=f"{SHOWN}column")
        wait_until(page, "document.querySelector('#yaml').textContent.includes('column')")
        level = yaml.safe_load(page.locator("#yaml").text_content() or "")["levels"][0]
        assert level["by"] == COLUMN
        open_page(page, "runs")
        page.get_by_label("another column").select_option(label=f"{SHOWN}column")
        expect(page.locator("figcaption", has_text=f"{SHOWN}column")).to_be_visible()

        # A case of an evaluation opens by its button, and by the address that it leaves.
        open_page(page, "evaluations/0")
        page.locator("[aria-label=cases] button").last.click()
        title = page.locator("h2").last
        last = page.locator("[aria-label=cases] button").last.inner_text()
        expect(title).to_have_text(f"Case {last}")
        page.reload()
        expect(title).to_have_text(f"Case {last}")
        assert page.evaluate(HARM) == []

        # The report opens as a page of its own.
        page.goto(f"{page.url.partition('#')[0]}runs/0/report")
        assert SHOWN in page.inner_text("body")
        assert page.evaluate("document.scripts.length") == 0
