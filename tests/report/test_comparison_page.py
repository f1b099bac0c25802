"""The page of a comparison shows all methods, requests nothing, and takes names as text."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from surgrec.comparisons import compare
from surgrec.report.comparison import _reliability, write_comparison
from surgrec.scores.classification import NO_CLASS
from tests.report.test_page import CHROMIUM, open_in_browser
from tests.support.needs import missing
from tests.support.results import write_result

EVIL = '"><script>alert(1)</script><img src=x>\u202e'


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page about three methods on two tasks, one row degenerate and one name with markup."""
    tmp_path = tmp_path_factory.mktemp("comparison")
    words = []
    for task in ("phase", EVIL):
        for seed, name in enumerate(("weak", "strong", EVIL)):
            folder = tmp_path / f"{task == EVIL}" / str(seed)
            write_result(
                folder,
                skill=0.3 + 0.3 * seed,
                seed=seed,
                task=task,
                constant=task == EVIL and name == "weak",
                probabilities=True,
                overrides=["allowed by --allow_unknown_pretraining: unknown data"],
            )
            words.append(f"{name}={folder}")
    out = tmp_path / "deep/comparison.html"
    write_comparison(compare(words), out)
    return out


def test_verdicts_come_first_then_ranks_and_each_data_set(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    parts = (
        "weak is worse than strong (kNN, macro F1 ",
        "--allow_unknown_pretraining",
        "no mean, rank, pair or correction includes it",
        "mean rank",
        "<h2>phase, split official</h2>",
        "std over seeds",
        "wins, ties, losses",
        "Jaccard",
        "Confusion",
        "Predictions over time",
        "Reliability",
        "the protocol of",
    )
    offsets = [text.index(part) for part in parts]
    assert offsets == sorted(offsets)
    assert "DEGENERATE" in text
    assert "ef" * 32 in text


def test_names_with_markup_are_text_and_nothing_is_requested(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"<script|<img|<link|<iframe|@import|http-equiv|\son\w+=", text)
    assert "\u202e" not in text
    assert "&lt;script&gt;alert(1)" in text
    tags = re.findall(r"<[^>]*>", text)
    assert len(tags) > 500
    assert not [tag for tag in tags if re.search(r"\s(?:src|href|action)=[\"'](?!#)", tag)]


def test_no_id_occurs_twice_and_the_same_results_give_the_same_page(
    page: Path, tmp_path: Path
) -> None:
    text = page.read_text(encoding="utf-8")
    ids = re.findall(r'\sid="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    words = [f"{name}={page.parents[1]}/False/{n}" for n, name in enumerate(("weak", "strong"))]
    for name in ("one.html", "two.html"):
        write_comparison(compare(words), tmp_path / name)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


@pytest.mark.slow
def test_a_browser_opens_the_comparison_without_a_request_or_a_message(
    page: Path, tmp_path: Path
) -> None:
    if CHROMIUM is None:
        missing("no Chromium is installed")
    assert open_in_browser(page, tmp_path / "browser") == ([], "")


def test_predictions_of_no_class_have_no_confidence(tmp_path: Path) -> None:
    words = [
        str(write_result(tmp_path / name, seed=n, probabilities=True))
        for n, name in enumerate("ab")
    ]
    (data_set,) = compare(words).data_sets
    row = data_set.primary_rows[0]
    (predicted,) = row.predicted
    assert predicted.probability is not None
    value, other = predicted.value.copy(), predicted.probability.copy()
    value[::2] = NO_CLASS
    other[::2] = [0.0, 0.0, 1.0]
    charts = [
        _reliability(data_set, [replace(row, predicted=[each])], 0)
        for each in (
            replace(predicted, value=value),
            replace(predicted, value=value, probability=other),
        )
    ]
    assert charts[0] == charts[1]
    nothing = replace(predicted, value=np.full_like(value, NO_CLASS))
    assert _reliability(data_set, [replace(row, predicted=[nothing])], 0) is None
