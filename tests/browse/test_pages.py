"""Mixtures, runs and evaluations: pages show what commands and files say."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from pyarrow import parquet

from surgrec.browse._mixtures import plan_mixture
from surgrec.browse._run_logs import BrowsedRun, MetricsLog, thinned
from surgrec.errors import ConfigError, MixtureError
from surgrec.shards import open_corpus
from tests.support.browse import Served
from tests.support.logged_runs import ROW


def test_a_planned_mixture_is_that_of_the_command(tiny_corpus: Path, tmp_path: Path) -> None:
    mixture = {
        "levels": [{"by": "domain", "alpha": 0.3}, {"by": "source", "alpha": 1}],
        "weights": {"beta": 2.5},
        "block": 512,
    }
    plan = plan_mixture(open_corpus(tiny_corpus), json.dumps(mixture), 4000)
    path = tmp_path / "mixture.yaml"
    path.write_text(plan["yaml"], encoding="utf-8")
    assert yaml.safe_load(plan["yaml"]).keys() == mixture.keys()
    command = [sys.executable, "-m", "surgrec", "mix", str(tiny_corpus), "--samples", "4000"]
    done = subprocess.run(
        [*command, "--mixture", str(path), "--json"], check=True, capture_output=True, text=True
    )
    expected = json.loads(done.stdout)
    assert [{**each, "hours_drawn": None} for each in expected] == [
        {**each, "hours_drawn": None} for each in plan["sources"]
    ]
    assert sum(each["hours_drawn"] for each in plan["domains"]) == pytest.approx(
        sum(each["hours"] * each["epochs"] for each in expected)
    )


@pytest.mark.parametrize(
    ("mixture", "samples", "words"),
    [
        ('{"weights": {"nobody": 1}}', 10, "names the source 'nobody'"),
        ('{"levels": [{"by": "nothing", "alpha": 1}]}', 10, "no column 'nothing'"),
        ('{"levels": [{"by": "source", "alpha": 3}]}', 10, "alpha is 3"),
        ('{"width": 3}', 10, "width"),
        ("[1]", 10, "mixture"),
        ("{}", 0, "samples is 0"),
    ],
)
def test_a_wrong_mixture_is_one_sentence(
    served: Served, mixture: str, samples: int, words: str
) -> None:
    answer = served.ask("/api/mixture", mixture=mixture, samples=samples)
    assert answer.status == 400
    assert words in answer.json()["error"]


def test_a_mixture_must_have_samples(tiny_corpus: Path) -> None:
    with pytest.raises(MixtureError, match="samples is 0; give 1"):
        plan_mixture(open_corpus(tiny_corpus), "", 0)


def line(step: int, loss: float) -> str:
    return json.dumps({**ROW, "step": step, "loss": loss}) + "\n"


def test_a_log_is_read_on_and_read_anew_after_a_resume(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    log.refresh()
    assert log.names() == []

    # A line that is being written counts when it is complete.
    path.write_text(line(0, 4.0) + line(1, 2.0)[:30], encoding="utf-8")
    log.refresh()
    assert log.curve("loss")["mean"] == [4.0]
    path.write_text(line(0, 4.0) + line(1, 2.0), encoding="utf-8")
    log.refresh()
    with path.open("a") as file:
        file.write(line(2, float("nan")))
    log.refresh()
    assert log.curve("loss") == {
        "step": [0.0, 1.0],
        "mean": [4.0, 2.0],
        "low": [4.0, 2.0],
        "high": [4.0, 2.0],
    }
    assert log.last["step"] == 2

    # A resumed run replaces the file.
    other = tmp_path / "metrics.jsonl.partial"
    other.write_text(line(0, 3.0) + line(1, 2.5), encoding="utf-8")
    other.replace(path)
    log.refresh()
    assert log.curve("loss")["mean"] == [3.0, 2.5]
    assert log.curve("loss of alpha")["mean"] == [0.5, 0.5]

    with path.open("a") as file:
        file.write('{"step": "three"}\n')
    with pytest.raises(ConfigError, match=r"metrics\.jsonl"):
        log.refresh()


def test_thinned_curves_keep_means_and_extremes() -> None:
    steps = np.arange(10_000, dtype=float)
    values = np.sin(steps / 50)
    values[77] = 9.0
    curve = thinned(steps, values)
    assert len(curve["step"]) == 300
    assert max(curve["high"]) == 9.0
    assert np.average(curve["mean"], weights=None) == pytest.approx(values.mean(), abs=1e-3)
    assert curve["step"] == sorted(curve["step"])


def test_a_run_without_a_log_or_plan_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    run = BrowsedRun(str(tmp_path))
    state = run.state()
    assert state["names"] == []
    assert "plan.json" in state["problem"]
    assert run.curves(["loss"])["curves"] == {}


def test_two_runs_lie_over_each_other(served: Served, subjects: dict[str, Path]) -> None:
    names = [each["address"] for each in served.get("/api/subjects")["runs"]]
    assert names == [str(subjects["run"]), str(subjects["other run"])]
    state = served.get("/api/runs/0")
    assert state["last"]["step"] == 59
    assert {"loss", "clips_per_s", "loss of alpha"} <= set(state["names"])
    losses = [
        served.get(f"/api/runs/{number}/curves", name="loss")["curves"]["loss"]["mean"][0]
        for number in (0, 1)
    ]
    assert losses == [0.5, 0.7]


def test_the_strips_of_a_case_are_its_windows(served: Served, subjects: dict[str, Path]) -> None:
    facts = served.get("/api/evaluations/0")
    assert facts["predictions"][facts["primary"]]["features"] == "trained"
    case = facts["cases"][0]["case"]
    shown = served.get("/api/evaluations/0/case", case=case, prediction=facts["primary"])
    (video,) = shown["videos"]

    table = parquet.read_table(subjects["result"] / "predictions.parquet").to_pylist()
    chosen = facts["predictions"][facts["primary"]]
    rows = [
        row
        for row in table
        if f"{row['source']}/{row['case']}" == case
        and (row["features"], row["seed"]) == (chosen["features"], chosen["seed"])
        and row["classifier"] == "knn"
    ]

    def at(segments: list[dict[str, object]], time_s: float) -> list[object]:
        return [each["value"] for each in segments if each["start_s"] <= time_s < each["end_s"]]

    for row in rows:
        assert at(video["label"], row["time_s"]) == [row["label"]]
        assert at(video["predicted"], row["time_s"]) == [row["prediction"]]
    wrong = [row["time_s"] for row in rows if row["label"] != row["prediction"]]
    assert wrong
    covered = [any(e["start_s"] <= t < e["end_s"] for e in video["errors"]) for t in wrong]
    assert all(covered)
    right = sum(row["label"] == row["prediction"] for row in rows) / len(rows)
    assert facts["right"][facts["primary"]][0] == pytest.approx(right)

    # The source is 20 s long: errors in it play, later ones have no clip.
    for error in video["errors"]:
        assert (error["clip"] is not None) == (error["time_s"] <= 20)
        if error["clip"]:
            values = served.get("/api/corpora/0/clips/{}".format(error["clip"][1]))["values"]
            assert values["video"] == video["video"]
            assert values["start_s"] <= error["time_s"] <= values["start_s"] + 4


@pytest.mark.parametrize("query", [{"case": "no"}, {}, {"case": "alpha/case00", "prediction": 99}])
def test_an_unknown_case_or_prediction_does_not_exist(
    served: Served, query: dict[str, object]
) -> None:
    assert served.ask("/api/evaluations/0/case", **query).status == 404


def test_a_damaged_evaluation_is_one_sentence(subjects: dict[str, Path], tmp_path: Path) -> None:
    from surgrec.browse._evaluations import BrowsedEvaluation

    folder = Path(shutil.copytree(subjects["result"], tmp_path / "result"))
    (folder / "evaluation.json").write_text("{")
    with pytest.raises(ConfigError, match=r"evaluation\.json"):
        BrowsedEvaluation(str(folder), folder).overview()
