"""Verdicts come first, or the command that makes them; then every number behind them."""

import json
from pathlib import Path
from typing import Any

import pytest

from surgrec.report._evaluation_section import evaluation_section
from surgrec.report._logged_run import read_runs
from surgrec.storage import file_sha256
from tests.support.logged_runs import make_evaluation, make_run


@pytest.fixture
def run_dirs(tiny_corpus: Path, tmp_path: Path) -> list[Path]:
    """Two runs without an evaluation."""
    return [make_run(tmp_path / name, tiny_corpus, "jepa") for name in ("first", "second")]


def evaluated(run_dir: Path, **changes: Any) -> None:
    """Give a run an evaluation of its current encoder."""
    folder = run_dir / "evaluation/phase"
    folder.mkdir(parents=True)
    content = make_evaluation(file_sha256(run_dir / "encoder.safetensors"), **changes)
    (folder / "evaluation.json").write_text(json.dumps(content), encoding="utf-8")


def test_verdicts_come_first_and_in_words(run_dirs: list[Path]) -> None:
    evaluated(run_dirs[0])
    page = evaluation_section(read_runs(run_dirs[:1]))
    verdicts = (
        page.index("better than random init by 0.110 [0.050, 0.170]"),
        page.index("no difference from random init"),
    )
    assert max(verdicts) < page.index("<svg") < page.index("<table")
    assert "24 cases" in page


def test_every_number_is_in_the_tables(run_dirs: list[Path]) -> None:
    evaluated(run_dirs[0])
    page = evaluation_section(read_runs(run_dirs[:1]))
    for number in (26, 27, 812, 14, 1, 24, 25, 644, 9, 2, 300, 244, 512, 400):
        assert f">{number}</td>" in page
    for words in (
        "0.410",
        "random init, 3 seeds",
        "degenerate",
        "0 of 50",
        "a window every second",
        "ab" * 32,
        "cd" * 32,
    ):
        assert words in page
    assert "&#34;stored&#34;" in page, "the rule of the split"


def test_a_run_without_an_evaluation_names_the_command_for_it(
    run_dirs: list[Path], tiny_corpus: Path
) -> None:
    evaluated(run_dirs[0])
    page = evaluation_section(read_runs(run_dirs))
    assert "second has not been evaluated" in page
    assert f"surgrec evaluate {tiny_corpus} --encoder {run_dirs[1]} --task" in page
    assert "first has not" not in page


def test_a_run_without_an_encoder_has_nothing_to_evaluate(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    page = evaluation_section(read_runs([make_run(tmp_path / "run", tiny_corpus, None)]))
    assert "run has no encoder to evaluate yet" in page
    assert "surgrec evaluate" not in page


def test_runs_on_the_same_test_share_a_chart_and_its_baselines(run_dirs: list[Path]) -> None:
    for run_dir in run_dirs:
        evaluated(run_dir)
    page = evaluation_section(read_runs(run_dirs))
    assert page.count("<svg") == 1
    assert page.count(">majority</text>") == 1
    assert page.count("Windows, classes and audit: first, second") == 1
    for name in ("first", "second"):
        assert f">{name}, trained</text>" in page


def test_runs_on_other_splits_are_not_compared(run_dirs: list[Path]) -> None:
    evaluated(run_dirs[0])
    evaluated(run_dirs[1], split={"name": "another", "sha256": "ef" * 32, "rule": {}})
    page = evaluation_section(read_runs(run_dirs))
    assert page.count("<svg") == 2
    assert "split another" in page


def test_an_evaluation_of_an_earlier_encoder_is_marked(run_dirs: list[Path]) -> None:
    evaluated(run_dirs[0], encoder={"sha256": "of an earlier one"})
    evaluated(run_dirs[1])
    page = evaluation_section(read_runs(run_dirs))
    assert "The evaluation of first on phase is of an earlier encoder" in page
    assert "The evaluation of second" not in page
