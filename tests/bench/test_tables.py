"""Ranks, wins and standings of a benchmark."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from surgrec.bench import choose_tasks
from surgrec.bench._cards import card_rows, standings
from surgrec.bench._names import split_title
from surgrec.bench._page_tables import _mean_note
from surgrec.bench._results import Score, wins_of
from surgrec.bench._tables import Cell, TaskRow, ranked
from surgrec.tasks import find_cards


def cell(method: str, value: float | None, *, degenerate: bool = False) -> Cell:
    score = None
    if value is not None:
        score = Score(value=value, low=value, high=value, degenerate=degenerate)
    return Cell(method=method, score=score, verdict="", rank=None)


def row(card: str, cells: list[Cell], metric: str = "macro_f1") -> TaskRow:
    return TaskRow(
        task=choose_tasks(find_cards([card]), root=Path("/data"))[0],
        cells=ranked(cells, metric),
        split="",
        findings=[],
        overrides=[],
        incomplete=[],
        losses=[],
    )


def ranks(cells: list[Cell], metric: str = "macro_f1") -> list[float | None]:
    return [each.rank for each in ranked(cells, metric)]


def test_the_best_score_has_rank_one_and_ties_share_ranks() -> None:
    assert ranks([cell("a", 0.2), cell("b", 0.9), cell("c", 0.2)]) == [2.5, 1.0, 2.5]


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_a_low_error_is_the_best(metric: str) -> None:
    assert ranks([cell("a", 0.2), cell("b", 0.9)], metric) == [1.0, 2.0]


@pytest.mark.parametrize(
    "other", [cell("b", None), cell("b", 0.9, degenerate=True), cell("b", math.nan)]
)
def test_a_row_with_a_cell_that_does_not_count_has_no_ranks(other: Cell) -> None:
    assert ranks([cell("a", 0.2), other]) == [None, None]


def test_a_standing_counts_only_the_tasks_that_every_method_has() -> None:
    rows = [
        row("cholec80-phase", [cell("a", 0.4), cell("b", 0.6)]),
        row("cholec80-tool", [cell("a", 0.9), cell("b", 0.1, degenerate=True)]),
        row("autolaparo-phase", [cell("a", 0.9), cell("b", None)]),
    ]
    first, second = standings(rows, ["a", "b"], {"b": (1, 0)})
    assert (first.data_sets, first.rank, second.rank, second.better) == (1, 2.0, 1.0, 1)


def fold_rows() -> list[TaskRow]:
    """Return a card with two folds; on the first one `a` is better, and `b` on average."""
    tasks = choose_tasks(find_cards(["cholect50-triplet"]), root=Path("/data"))[:2]
    cells = [[cell("a", 0.9), cell("b", 0.8)], [cell("a", 0.1), cell("b", 0.5)]]
    return [
        replace(
            row("cholec80-phase", own),
            task=task,
            num_cases=4,
            split_name=f"cholect50-{task.split}-official",
            classifiers={"a": "knn", "b": "knn"},
            findings=["one finding"],
        )
        for task, own in zip(tasks, cells, strict=True)
    ]


def test_a_card_with_folds_has_one_row_with_the_mean_over_them() -> None:
    whole = row("autolaparo-phase", [cell("a", 0.5), cell("b", 0.6)])
    mean, other = card_rows([*fold_rows(), whole], None)
    assert other is whole
    assert mean.name == "cholect50-triplet"
    assert mean.folds == ("cholect50-triplet-fold1", "cholect50-triplet-fold2")
    assert [each.score.value for each in mean.cells if each.score] == pytest.approx([0.5, 0.65])
    assert [each.rank for each in mean.cells] == [2.0, 1.0], "of the means, not of the folds"
    assert (mean.num_cases, mean.findings) == (8, ["one finding"])
    assert math.isnan(mean.cells[0].score.low if mean.cells[0].score else 0.0)

    first, second = standings([mean, other], ["a", "b"], {})
    assert (first.data_sets, first.rank, second.rank) == (2, 2.0, 1.0)
    assert _mean_note([mean, other], ["a", "b"], ["mAP"]) == (
        "Mean mAP over 2 tasks: a 0.500, b 0.625."
    )


def test_a_fold_that_cannot_be_paired_leaves_its_card_without_ranks() -> None:
    rows = fold_rows()
    rows[1] = replace(rows[1], cells=[cell("a", 0.1), cell("b", 0.5)])
    (mean,) = card_rows(rows, None)
    assert [each.score.value for each in mean.cells if each.score] == pytest.approx([0.5, 0.65])
    assert not mean.is_ranked
    assert standings([mean], ["a", "b"], {})[0].data_sets == 0


def test_a_split_that_is_named_as_its_origin_has_one_word() -> None:
    cards = find_cards(["autolaparo-phase", "cholec80-phase", "gynsurg-action"])
    titles = [split_title(task) for task in choose_tasks(cards, root=Path("/data"))]
    assert titles == ["official", "tecno (convention)", "ours"]


def test_the_interval_of_a_card_is_that_of_the_comparison_of_its_folds(tmp_path: Path) -> None:
    splits = "cholect50-fold1-official + cholect50-fold2-official"
    (tmp_path / "scores.csv").write_text(
        "task,split,method,features,classifier,metric,value,low,high,degenerate\n"
        f"triplet,{splits},a,trained,knn,ap_ivt,0.5,0.3,0.7,False\n"
        "triplet,cholect50-fold1-official,b,trained,knn,ap_ivt,0.8,0.7,0.9,False\n"
    )
    (mean,) = card_rows(fold_rows(), tmp_path)
    first, second = (each.score for each in mean.cells)
    assert first
    assert (first.value, first.low, first.high) == (0.5, 0.3, 0.7)
    assert second
    assert math.isnan(second.low)


def test_a_fold_without_a_score_leaves_its_card_without_one() -> None:
    rows = fold_rows()
    rows[1] = replace(rows[1], cells=[cell("a", None), cell("b", 0.5)])
    (mean,) = card_rows(rows, None)
    assert (mean.cells[0].score, mean.is_ranked) == (None, False)
    assert mean.cells[0].sentence == ("it has no score on 1 fold, such as cholect50-triplet-fold2")


def test_wins_are_the_verdicts_of_the_classifier_that_counts(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text(
        "first,second,verdict,primary\n"
        "a,b,better,True\na,c,worse,True\nb,c,not shown,True\na,b,worse,False\n"
    )
    assert wins_of(tmp_path) == {"a": (1, 1), "b": (0, 1), "c": (1, 0)}
