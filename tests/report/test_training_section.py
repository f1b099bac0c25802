"""The log of a run becomes charts of every logged value, and of the time it took."""

import json
from pathlib import Path

import pytest

from surgrec.report._logged_run import read_runs
from surgrec.report._training_section import smooth, training_section
from surgrec.runs import append_rows
from tests.support.logged_runs import make_run

DIAGNOSTICS = {"token_std": 0.9, "rankme": 12.0, "between_clip_variance": 0.4}


def test_smoothing_takes_means_over_spans_and_the_last_span_is_whole() -> None:
    points = [(step, float(step)) for step in range(11)]
    assert smooth(points, 5) == [(0, 0.0), (5, 3.0), (10, 8.0)]
    assert smooth([(0, 1.0), (9, 2.0), (10, 4.0)], 5) == [(0, 1.0), (10, 3.0)]


def test_smoothing_single_steps_changes_nothing() -> None:
    points = [(0, 1.0), (1, 3.0), (5, 2.0)]
    assert smooth(points, 1) == points


def test_the_section_shows_mix_losses_diagnostics_and_time(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    run = read_runs([make_run(tmp_path / "run", tiny_corpus, None, values=DIAGNOSTICS)])[0]
    page = training_section(run)
    assert page.count("<svg") == 8
    assert "75.00%" in page, "the realized share of alpha"
    assert "resumed, 1 proc." in page
    assert "Median 40.0 clips/s; 10.0% of the time was spent waiting for data" in page
    assert "collapse" in page


def test_only_what_was_logged_is_drawn(tiny_corpus: Path, tmp_path: Path) -> None:
    run = read_runs(
        [
            make_run(
                tmp_path / "run", tiny_corpus, None, values={"mean_baseline_loss": 0.9, "mfu": 0.31}
            )
        ]
    )[0]
    page = training_section(run)
    assert "mean color baseline" in page
    assert "loss of predicting the mean color of each tubelet" in page
    assert "Median model FLOP utilization: 31.0%" in page
    assert "RankMe" not in page
    assert "collapse" not in page


def test_probe_drift_and_alarms_are_drawn_over_the_steps(tiny_corpus: Path, tmp_path: Path) -> None:
    run_dir = make_run(tmp_path / "run", tiny_corpus, None, values={"momentum": 0.9, **DIAGNOSTICS})
    scores = [(0, 0.50), (15, 0.62), (30, 0.41)]
    probes = [
        {"step": step, "score": score}
        | {name: {"macro_f1": score} for name in ("knn", "logistic")}
        | {"majority": {"macro_f1": 0.125}}
        for step, score in scores
    ]
    append_rows(run_dir / "probe.jsonl", probes)
    drift = {"step": 30, "cosine": 0.84, "cka": 0.71, "pretrained": True}
    append_rows(run_dir / "drift.jsonl", [drift])
    alarm = {"step": 30, "kind": "probe", "text": "the probe fell <b>far</b>"}
    append_rows(run_dir / "alarms.jsonl", [alarm])

    page = training_section(read_runs([run_dir])[0])
    assert page.count("<svg") == 10, "two more than without"
    assert "Step 30: the probe fell &lt;b&gt;far&lt;/b&gt;." in page
    assert "macro F1 of the probe on held-out cases" in page
    assert "alarm: probe" in page, "a mark in the charts"
    assert "0.84" in page
    assert "0.41" in page


@pytest.mark.parametrize("steps", [1, 2])
def test_a_run_of_a_few_steps_has_a_section(tiny_corpus: Path, tmp_path: Path, steps: int) -> None:
    run = read_runs([make_run(tmp_path / "run", tiny_corpus, None, steps=steps)])[0]
    assert training_section(run).count("<svg") == 5


def test_a_long_run_has_a_small_section(tiny_corpus: Path, tmp_path: Path) -> None:
    run = read_runs(
        [make_run(tmp_path / "run", tiny_corpus, None, values=DIAGNOSTICS, steps=20_000)]
    )[0]
    assert len(training_section(run)) < 60_000


def test_a_run_of_ten_thousand_sources_shows_those_with_most_clips(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    names = [f"source-{number}" for number in range(10_000)]
    values = {
        "loss_by_source": dict.fromkeys(names, 0.5),
        "consumed": {name: number for number, name in enumerate(names)},
    }
    run_dir = make_run(tmp_path / "run", tiny_corpus, None, values=values, steps=3)
    plan = json.loads((run_dir / "plan.json").read_bytes())
    plan["sources"] = [plan["sources"][0] | {"source": name, "share": 1e-4} for name in names]
    (run_dir / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    page = str(training_section(*read_runs([run_dir])))
    assert "share of samples by source, 40 of 10,000 sources" in page
    assert page.count(">source-9999<") == 3, "in both charts and in the table"
    assert page.count(">source-0<") == 1, "in the table"
