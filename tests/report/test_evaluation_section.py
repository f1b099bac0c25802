"""Verdicts come first, or the command that makes them; then every number behind them."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from surgrec.errors import ConfigError
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


def test_the_spreads_over_seeds_and_videos_are_beside_the_interval(run_dirs: list[Path]) -> None:
    evaluated(run_dirs[0])
    assert "std over seeds" not in evaluation_section(read_runs(run_dirs[:1]))
    path = run_dirs[0] / "evaluation/phase/evaluation.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["scores"][1]["seed_std"] = {"macro_f1": 0.0123}
    content["scores"][1]["video_std"] = {"macro_f1": 0.0456}
    path.write_text(json.dumps(content), encoding="utf-8")
    page = evaluation_section(read_runs(run_dirs[:1]))
    assert page.count("std over seeds 0.012") == page.count("std over videos 0.046") == 1


def test_the_chart_names_the_units_that_its_intervals_draw(run_dirs: list[Path]) -> None:
    evaluated(run_dirs[0])
    path = run_dirs[0] / "evaluation/phase/evaluation.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    for units, name in (({}, "cases"), ({"patients": [0, 0, 1]}, "patients")):
        path.write_text(json.dumps(content | {"units": units}), encoding="utf-8")
        page = evaluation_section(read_runs(run_dirs[:1]))
        assert f"macro F1, 95% interval over {name}<" in page


def test_few_train_cases_have_a_table_of_scores_and_verdicts(run_dirs: list[Path]) -> None:
    evaluated(run_dirs[0])
    assert "Few train cases" not in evaluation_section(read_runs(run_dirs[:1]))
    path = run_dirs[0] / "evaluation/phase/evaluation.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    amount = {"amount": "10%", "cases": 7, "subsets": 3, "windows": [1, 1, 1]}
    few = amount | {name: copy.deepcopy(content[name]) for name in ("scores", "verdicts")}
    few["scores"][0]["metrics"]["macro_f1"] = {"value": 0.333, "low": 0.222, "high": 0.444}
    path.write_text(json.dumps(content | {"few_shot": [few]}), encoding="utf-8")

    page = evaluation_section(read_runs(run_dirs[:1]))
    table = page[page.index("Few train cases") :]
    drawn, _, table = table.partition("</svg>")
    assert "macro F1 by train cases" in drawn
    assert "first, trained, kNN 0.333 at 7" in drawn, "the few cases are on the curve"
    assert '<th class="number">macro F1</th>' in table
    row = table[: table.index("0.333 [0.222, 0.444]")].rpartition("<tr>")[2]
    for cell in ("first", "trained", "kNN", "7 (3 subsets)"):
        assert f">{cell}</td>" in row
    assert "better</td>" in table[table.index("0.333") :].partition("</tr>")[0]


def test_a_score_on_few_cases_of_an_unknown_classifier_is_refused(run_dirs: list[Path]) -> None:
    evaluated(run_dirs[0])
    path = run_dirs[0] / "evaluation/phase/evaluation.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    few = {"amount": "1", "cases": 1, "subsets": 3, "verdicts": []}
    few["scores"] = [content["scores"][0] | {"classifier": "svm"}]
    path.write_text(json.dumps(content | {"few_shot": [few]}), encoding="utf-8")
    with pytest.raises(ConfigError, match="names the unknown classifier 'svm'"):
        read_runs(run_dirs[:1])


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


def test_a_val_part_has_a_row_and_a_column_of_its_own(run_dirs: list[Path]) -> None:
    content = make_evaluation()
    counts = content["counts"] | {"val": content["counts"]["train"] | {"windows": 77}}
    classes = [row | {"val": 33 + index} for index, row in enumerate(content["classes"])]
    evaluated(run_dirs[0], counts=counts, classes=classes)
    page = evaluation_section(read_runs(run_dirs[:1]))
    for cell in ("val windows</th>", ">77</td>", ">33</td>", ">34</td>"):
        assert cell in page


def test_an_undefined_score_is_a_dash_and_not_in_the_chart(run_dirs: list[Path]) -> None:
    content = make_evaluation()
    content["scores"][0]["metrics"]["macro_f1"] = dict.fromkeys(("value", "low", "high"))
    evaluated(run_dirs[0], scores=content["scores"])
    page = evaluation_section(read_runs(run_dirs[:1]))
    assert "- <small>[-, -]</small>" in page
    assert ">first, trained</text>" not in page
    assert ">first, random init, 3 seeds</text>" in page


def test_an_evaluation_of_an_earlier_encoder_is_marked(run_dirs: list[Path]) -> None:
    evaluated(run_dirs[0], encoder={"sha256": "of an earlier one"})
    evaluated(run_dirs[1])
    page = evaluation_section(read_runs(run_dirs))
    assert "The evaluation of first on phase is of an earlier encoder" in page
    assert "The evaluation of second" not in page
