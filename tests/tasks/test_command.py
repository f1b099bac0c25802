"""`surgrec tasks` lists the tasks and shows one in full; the document has the same tables."""

import json
from pathlib import Path

import pytest

from surgrec.tasks import LEGACY, card_names, cards_markdown, find_cards
from tests.support.tool import heavy_modules_of, refusal, surgrec_here

DOCUMENT = Path(__file__).parents[2] / "docs/benchmark.md"


def test_the_document_has_the_tables_of_all_cards() -> None:
    tables = cards_markdown(find_cards(["*", f"{LEGACY}*"])).strip().split("\n\n")
    text = DOCUMENT.read_text(encoding="utf-8")
    for table in tables:
        assert table in text, "put the output of `surgrec tasks --markdown` into docs/benchmark.md"
    assert text.count("\n| `") == len(card_names())


def test_all_tasks_are_listed_without_torch() -> None:
    shown = surgrec_here("tasks", "--json")
    assert sorted(json.loads(shown.stdout)) == card_names()
    assert heavy_modules_of("surgrec.commands.main", [("tasks",)]) == []


def test_the_table_shows_domain_kind_metric_split_and_license(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    lines = surgrec_here("tasks", "cholec80-*").stdout.splitlines()
    (line,) = (line for line in lines if "cholec80-phase" in line)
    assert line.split() == [
        *("cholec80-phase", "laparoscopy", "phases", "macro_f1", "tecno", "(convention)"),
        *("CC", "BY-NC-SA,", "on", "request", "7"),
    ]
    assert "surgrec-legacy" not in "".join(lines)


def test_one_task_is_shown_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    shown = surgrec_here("tasks", "surgrec-legacy-kvasir-capsule").stdout
    assert "LEGACY, for comparison only: 81 of the 82 test clips" in shown
    assert "- shared_cases: 81 test clips" in shown
    assert "329 train, 82 val, 82 test clips" in shown
    assert "- surgrec_mae" in shown


def test_a_wrong_task_is_refused_in_one_sentence(tmp_path: Path) -> None:
    assert "did you mean cholec80-phase" in refusal(surgrec_here("tasks", "cholec80-phases"))
    (tmp_path / "mine.yaml").write_text("title: Mine\n")
    sentence = refusal(surgrec_here("tasks", str(tmp_path / "mine.yaml")))
    assert "mine.yaml: preset is missing" in sentence
    assert "give one of them" in refusal(surgrec_here("tasks", "--json", "--markdown"))
