"""Markdown, LaTeX and CSV have every number, and names in them are only text."""

import csv
from pathlib import Path

import pytest

from surgrec.comparisons import compare, write_tables
from tests.support.results import write_result

EVIL = "<b>x</b>|\\input{a}$^_&%#~"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    words = [f"a={write_result(tmp_path / 'a', seed=1)}"]
    words.append(f"{EVIL}={write_result(tmp_path / 'b', seed=2, overrides=[EVIL])}")
    write_tables(compare(words), tmp_path / "out")
    return tmp_path / "out"


def test_the_csv_files_have_full_numbers_digests_and_protocols(out: Path) -> None:
    with (out / "scores.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    first = rows[0]
    assert (first["method"], first["metric"], first["cases"]) == ("a", "macro_f1", "12")
    assert float(first["low"]) < float(first["value"]) < float(first["high"])
    assert first["protocol"] == "the protocol of a"
    assert first["split_sha256"] == "cd" * 32
    assert first["corpus_sha256"] == f"alpha:{'ef' * 32}"
    with (out / "pairs.csv").open(newline="", encoding="utf-8") as file:
        pairs = list(csv.DictReader(file))
    assert [(row["classifier"], row["primary"]) for row in pairs] == [
        ("knn", "True"),
        ("logistic", "False"),
    ]
    assert {row["second"] for row in pairs} == {EVIL}


def test_rows_of_csv_files_have_the_overrides_of_their_evaluations(tmp_path: Path) -> None:
    overrides = {"a": [], "b": ["allowed by --x: one"], "c": ["allowed by --x: one", "two"]}
    words = [
        f"{name}={write_result(tmp_path / name, seed=seed, overrides=sentences)}"
        for seed, (name, sentences) in enumerate(overrides.items())
    ]
    write_tables(compare(words), tmp_path / "out")

    one, both = "allowed by --x: one", "allowed by --x: one; two"
    with (tmp_path / "out/scores.csv").open(newline="", encoding="utf-8") as file:
        scores = {(row["method"], row["overrides"]) for row in csv.DictReader(file)}
    assert scores == {("", ""), ("a", ""), ("b", one), ("c", both)}
    with (tmp_path / "out/pairs.csv").open(newline="", encoding="utf-8") as file:
        pairs = {(row["first"], row["second"]): row["overrides"] for row in csv.DictReader(file)}
    assert pairs == {("a", "b"): one, ("a", "c"): both, ("b", "c"): both}


def test_names_in_markdown_form_no_markup(out: Path) -> None:
    text = (out / "comparison.md").read_text(encoding="utf-8")
    assert "<b>" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    widths = {line.count("| ") - line.count("\\| ") for line in rows}
    assert max(widths) <= 11
    assert "kNN" in text
    assert "the protocol of a" in text


def test_names_in_latex_form_no_command(out: Path) -> None:
    text = (out / "comparison.tex").read_text(encoding="utf-8")
    assert r"\input{" not in text
    assert r"\textbackslash{}input\{a\}\$\textasciicircum{}\_\&\%\#\textasciitilde{}" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") > 3


def test_cells_that_a_spreadsheet_would_compute_are_quoted(tmp_path: Path) -> None:
    words = [f"a={write_result(tmp_path / 'a', seed=1, task='=1+1')}"]
    words.append(f"b={write_result(tmp_path / 'b', seed=2, task='=1+1')}")
    write_tables(compare(words), tmp_path / "out")
    assert "\n'=1+1,official" in (tmp_path / "out/pairs.csv").read_text(encoding="utf-8")


def test_the_same_results_give_the_same_bytes(out: Path, tmp_path: Path) -> None:
    words = [f"a={tmp_path / 'a'}", f"{EVIL}={tmp_path / 'b'}"]
    write_tables(compare(words), tmp_path / "again")
    for path in out.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
