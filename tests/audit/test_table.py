"""Cells of published tables that a constant predictor reaches, or that no count gives."""

import os
from pathlib import Path

import pytest

from surgrec.audit import SplitClips, TableAudit, audit_table, read_split_clips
from surgrec.errors import ConfigError, ManifestError
from tests.support.splits import clean_split, clip_name, split_of


def split_of_46() -> SplitClips:
    """Return a split with 19, 18 and 9 test clips of three classes."""
    parts = clean_split()
    classes = [("access", "0")] * 19 + [("closure", "1")] * 18 + [("dissection", "2")] * 9
    parts["test"] = [
        (clip_name(41 + number, name, 0), label) for number, (name, label) in enumerate(classes)
    ]
    return split_of(parts)


def audited(folder: Path, text: str, **options: object) -> TableAudit:
    path = folder / "results.csv"
    path.write_text(text, encoding="utf-8")
    return audit_table(path, split_of_46(), **options)  # type: ignore[arg-type]


def test_a_cell_of_a_constant_predictor_is_named_with_its_class(tmp_path: Path) -> None:
    audit = audited(tmp_path, "model,A,B\nours,39.13,50.00\nother,41.30,19.57\n")
    assert [(cell.row, cell.column, cell.constant) for cell in audit.constant] == [
        ("ours", "A", ("1 (closure)",)),
        ("other", "A", ("0 (access)",)),
        ("other", "B", ("2 (dissection)",)),
    ]
    assert audit.impossible == []
    assert audit.sentences == [
        "3 of 4 cells equal a predictor of one class; one alone may be chance"
    ]


def test_a_cell_that_no_count_gives_is_found_with_fitting_numbers(tmp_path: Path) -> None:
    # 20 of 45 and 30 of 45: one clip is missing.
    audit = audited(tmp_path, "model,accuracy\nA,44.44\nB,66.67\nC,\nD,-\n")
    assert [cell.printed for cell in audit.impossible] == ["44.44", "66.67"]
    assert audit.fitting_clips == (45,)
    assert "2 of 2 cells are no fraction of 46 test clips" in audit.sentences[0]


def test_columns_with_names_of_metrics_are_compared_in_their_metric(tmp_path: Path) -> None:
    text = "model;Top-1;Macro F1;Balanced acc.\nA;0.413;0.195;0.333\n"
    audit = audited(tmp_path, text.replace("acc.", "acc"))
    metrics = {cell.metric: cell.constant for cell in audit.cells}
    assert metrics["accuracy"] == ("0 (access)",)
    assert metrics["macro_f1"] == ("0 (access)",)
    # A third of the classes: any constant predictor.
    assert len(metrics["balanced_accuracy"]) == 3


def test_few_decimals_decide_nothing(tmp_path: Path) -> None:
    audit = audited(tmp_path, "model,accuracy\nA,43%\nB,39%\n")
    assert [cell.fraction for cell in audit.cells] == [True, True]
    large = SplitClips(name="", case_rule="", clips=split_of_46().clips * 400)
    path = tmp_path / "results.csv"
    assert [cell.fraction for cell in audit_table(path, large).cells] == [None, None]


@pytest.mark.parametrize(
    "cell",
    ["**39.13**", "__39.13__", "\\textbf{39.13}", "$39.13$", "<b>39.13</b>", "39.13\\%", "39.13†"],
)
def test_marks_of_bold_cells_are_no_part_of_a_number(cell: str, tmp_path: Path) -> None:
    (read,) = audited(tmp_path, f"model,A\nours,{cell}\n").cells
    assert (read.printed, read.constant, read.fraction) == (cell, ("1 (closure)",), True)


@pytest.mark.parametrize("sign", ["±", " ± ", "+/-", " $\\pm$ "])
def test_a_mean_of_runs_need_not_be_a_fraction(sign: str, tmp_path: Path) -> None:
    audit = audited(tmp_path, f"model,A\nours,44.44{sign}0.2\ntheirs,39.13{sign}0.2\n")
    assert [cell.fraction for cell in audit.cells] == [None, None]
    assert [cell.constant for cell in audit.cells] == [(), ("1 (closure)",)]
    assert (audit.unread, audit.impossible) == ((), [])


def test_columns_of_counts_are_named_and_not_scored(tmp_path: Path) -> None:
    text = "model,n test clips,#params,accuracy over clips,A\nours,654,86,39.13,50.00\n"
    audit = audited(tmp_path, text)
    assert [cell.column for cell in audit.cells] == ["accuracy over clips", "A"]
    assert audit.unread == ()
    assert audit.skipped_columns == ("n test clips", "#params")
    assert audit.remarks == [
        "2 columns of counts not read: n test clips, #params; --score_columns names columns to read"
    ]


def test_the_columns_of_scores_can_be_named(tmp_path: Path) -> None:
    text = "model,run,n,B\nours,1,39.13,50.00\n"
    audit = audited(tmp_path, text, score_columns=["n"])
    assert [(cell.column, cell.printed) for cell in audit.cells] == [("n", "39.13")]
    with pytest.raises(ManifestError, match=r"no column 'C' .*; correct --score_columns"):
        audited(tmp_path, text, score_columns=["C"])


def test_cells_that_are_not_read_are_counted(tmp_path: Path) -> None:
    text = "model,A,B\nours,39.13,25 (24-26)\ntheirs,about 40,25 (23-27)\nthird,1200,-\n"
    audit = audited(tmp_path, text)
    assert audit.unread == (
        "B: 25 (24-26)",
        "theirs, A: about 40",
        "B: 25 (23-27)",
        "third, A: 1200",
    )
    assert audit.remarks[0].startswith("4 cells not read as a score: B: 25 (24-26), theirs")
    assert [cell.printed for cell in audit.cells] == ["39.13"]


def test_only_rows_about_the_set_are_read(tmp_path: Path) -> None:
    text = "Dataset,A\nCholec-80,14.65\nAIxSuture,39.13\n"
    audit = audited(tmp_path, text, dataset="aixsuture")
    assert [(cell.row, cell.printed) for cell in audit.cells] == [("AIxSuture", "39.13")]
    with pytest.raises(ManifestError, match="has no number about cat21; rename its rows"):
        audited(tmp_path, text, dataset="cat21")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,A\n", "has no row below its header"),
        ("model,A\nours,1,2\n", "row 2 has 3 cells"),
        ("model,A\nours,nan\n", "has no number about planted"),
        ('model,A\n"ours,1\n', "invalid CSV"),
    ],
)
def test_a_table_without_results_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=message):
        audited(tmp_path, text)


def test_a_split_without_test_labels_is_refused(tmp_path: Path) -> None:
    parts = clean_split()
    del parts["test"]
    path = tmp_path / "results.csv"
    path.write_text("model,A\nours,1\n")
    with pytest.raises(ConfigError, match="has no test clip with a label"):
        audit_table(path, split_of(parts))


@pytest.mark.skipif(not os.environ.get("SURGREC_SPLITS"), reason="SURGREC_SPLITS names no folder")
def test_published_cells_of_hyper_kvasir_fit_one_clip_less(tmp_path: Path) -> None:
    # The cell of 25.11 % is known to be 164 of 653; the split has 654 test clips.
    path = tmp_path / "results.csv"
    path.write_text("dataset,VideoMAE\nHyper-Kvasir,25.11\n")
    split = read_split_clips([str(Path(os.environ["SURGREC_SPLITS"]) / "hyper-kvasir")])
    audit = audit_table(path, split)
    assert audit.cells[0].fraction is False
    assert 653 in audit.fitting_clips
