"""The report is one file that shows all runs, requests nothing, and names what it cannot show."""

import json
import re
import shutil
from pathlib import Path

import pytest

from surgrec.errors import ConfigError
from surgrec.report import write_report
from tests.support.browser import CHROMIUM, open_in_browser
from tests.support.logged_runs import make_evaluation, make_run
from tests.support.needs import missing

DIAGNOSTICS = {"token_std": 0.9, "rankme": 12.0}


@pytest.fixture
def page(tiny_corpus: Path, tmp_path: Path) -> Path:
    """A report on two runs with the same name, one of them evaluated."""
    jepa = make_run(tmp_path / "jepa/run", tiny_corpus, "jepa", values=DIAGNOSTICS)
    mae = make_run(tmp_path / "mae/run", tiny_corpus, "mae", values={"mean_baseline_loss": 0.9})
    (jepa / "evaluation/phase").mkdir(parents=True)
    (jepa / "evaluation/phase/evaluation.json").write_text(
        json.dumps(make_evaluation()), encoding="utf-8"
    )
    out = tmp_path / "deep/report.html"
    write_report([jepa, mae], out)
    return out


def test_the_page_shows_all_runs_verdicts_first_and_a_corpus_once(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    sections = (
        "Research software, not a medical device",
        "better than random init",
        ">Corpus<",
        "Run jepa/run",
        "Run mae/run",
    )
    offsets = [text.index(words) for words in sections]
    assert offsets == sorted(offsets)
    assert text.count('alt="frames of alpha"') == 1
    assert "This page shows frames of the corpus" in text
    assert "mae/run has not been evaluated" in text
    assert text.count("<pre>seed: 239") == 2


def test_the_page_requests_nothing_and_has_no_script(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    addresses = re.findall(
        r"""(?:src|href|srcset|action|poster)\s*=\s*["']?([^"'\s>]*)|url\(\s*["']?([^"')]*)""", text
    )
    assert len(addresses) > 10
    assert not [
        address
        for found in addresses
        for address in found
        if address and not address.startswith(("data:", "#"))
    ]
    assert not re.search(r"<script|<link|<iframe|<object|<embed|@import|http-equiv|\son\w+=", text)


def test_no_id_of_the_page_occurs_twice(page: Path) -> None:
    ids = re.findall(r'\sid="([^"]*)"', page.read_text(encoding="utf-8"))
    assert len(ids) == len(set(ids)) > 10


def test_the_same_runs_give_the_same_bytes(tiny_corpus: Path, tmp_path: Path) -> None:
    run_dir = make_run(tmp_path / "run", tiny_corpus, "mae", values=DIAGNOSTICS)
    for name in ("first.html", "second.html"):
        write_report([run_dir], tmp_path / name)
    first = (tmp_path / "first.html").read_bytes()
    assert first == (tmp_path / "second.html").read_bytes()
    assert first.startswith(b"<!doctype html>\n")


def test_the_page_is_small(page: Path) -> None:
    assert page.stat().st_size < 1_000_000


def test_a_missing_corpus_is_a_sentence_and_the_log_is_still_shown(
    corpus_copy: Path, tmp_path: Path
) -> None:
    run_dir = make_run(tmp_path / "run", corpus_copy, "mae")
    shutil.rmtree(corpus_copy)
    write_report([run_dir], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"The corpus {corpus_copy} of run cannot be shown: " in text
    assert "No clip of 1 s or more of the corpora of run can be shown" in text
    assert "clips per second" in text


def test_a_run_of_one_step_has_a_page(tiny_corpus: Path, tmp_path: Path) -> None:
    write_report([make_run(tmp_path / "run", tiny_corpus, None, steps=1)], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "no encoder yet" in text


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path} holds no run"):
        write_report([tmp_path], tmp_path / "report.html")


@pytest.mark.slow
def test_a_browser_opens_the_page_without_a_request_or_a_message(
    page: Path, tmp_path: Path
) -> None:
    if CHROMIUM is None:
        missing("no Chromium is installed")
    noisy = tmp_path / "noisy.html"
    noisy.write_text(
        '<!doctype html><img src="http://192.0.2.1/a.png"><script>console.log("a message")</script>'
    )
    requests, messages = open_in_browser(noisy, tmp_path / "noisy")
    assert requests == ["http://192.0.2.1/a.png"], "a request would be noticed"
    assert "a message" in messages, "a message would be noticed"
    assert open_in_browser(page, tmp_path / "quiet") == ([], "")
