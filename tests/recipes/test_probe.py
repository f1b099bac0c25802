"""The probe recipe as a user starts it: on several processes, killed, stopped and resumed."""

import json
import time
from pathlib import Path

import pytest

from surgrec.parquet import read_parquet
from tests.support.labeled_runs import (
    BASELINES,
    SPLIT,
    LabeledRuns,
    baselines,
    content,
    record_of,
)
from tests.support.processes import finish, kill_all, start, until

WITH_VAL = SPLIT.replace("[alpha, gamma]}", "[alpha]}\nval: {sources: [gamma]}")


@pytest.fixture
def probes(tmp_path: Path, corpus_copy: Path) -> LabeledRuns:
    return LabeledRuns("probe", tmp_path, corpus_copy, "--pooler.num_heads", 2, "--epochs", 3)


@pytest.mark.slow
def test_processes_and_kills_do_not_change_a_bit_of_the_tables(probes: LabeledRuns) -> None:
    alone = content(probes.run("alone"))
    assert content(probes.run("two", processes=2)) == alone

    # Kill two processes in the middle of the first training, and one process in the second.
    for checkpoint, processes in (("trained", 2), ("random-0", 1)):
        folder = probes.folder / "killed" / checkpoint / "checkpoints"
        process = start(probes.command("killed", "--resume", "true", processes=processes))
        until(process, lambda folder=folder: any(folder.glob("step-*")))  # type: ignore[misc]
        kill_all(process)
        assert not (probes.folder / "killed/evaluation.json").exists()
    assert content(probes.run("killed", "--resume", "true", processes=2)) == alone

    record = json.loads(alone["evaluation.json"])
    assert "folds of train cases" in record["protocol"]
    rows = [(row["features"], row["classifier"], row["seeds"]) for row in record["scores"]]
    assert rows[:2] == [("trained", "attentive", 3), ("random", "attentive", 3)]
    assert baselines(record) == BASELINES
    table = read_parquet(alone["predictions.parquet"], "here").to_pylist()
    attentive = [row for row in table if row["classifier"] == "attentive"]
    assert len(attentive) == 2 * 3 * record["counts"]["test"]["windows"]


@pytest.mark.slow
def test_heads_on_few_train_cases_are_scored_and_resumed(probes: LabeledRuns) -> None:
    few = ("--few_shot", "[1, 50%]", "--epochs", 1, "--grid.seeds", "[0]")
    alone = content(probes.run("alone", *few))
    process = start(probes.command("killed", *few, "--resume", "true", processes=2))
    folder = probes.folder / "killed/trained-few-shot/checkpoints"
    until(process, lambda: any(folder.glob("step-*")))
    kill_all(process)
    assert content(probes.run("killed", *few, "--resume", "true")) == alone

    record = json.loads(alone["evaluation.json"])
    rows = record["few_shot"]
    assert [(row["amount"], row["cases"], row["subsets"]) for row in rows] == [
        ("1", 1, 3),
        ("50%", 2, 3),
    ]
    all_windows = record["counts"]["train"]["windows"]
    for row in rows:
        assert all(0 < windows < all_windows for windows in row["windows"])
        scored = [(each["features"], each["classifier"], each["seeds"]) for each in row["scores"]]
        assert scored == [
            ("trained", "attentive", 3),
            ("random", "attentive", 3),
            ("pixels", "knn", 3),
            ("pixels", "logistic", 3),
        ]
        assert [each["classifier"] for each in row["verdicts"]] == ["attentive"]
    assert "few-shot: mean over 3 subsets of 1, 2 train cases" in record["protocol"]

    status, errors = finish(probes.command("many", "--few_shot", "[40]"))
    assert status == 1
    assert "few_shot contains '40', but the train part has" in errors


@pytest.mark.slow
def test_val_cases_choose_where_a_split_has_them(probes: LabeledRuns) -> None:
    record = record_of(probes.run("val", "--random_seeds", "[1]", split=WITH_VAL))
    assert "chosen by macro F1 on the val cases" in record["protocol"]
    assert "seeds 1" in record["protocol"]
    assert record["counts"]["val"]["windows"] > 0


@pytest.mark.slow
def test_a_stop_file_saves_a_checkpoint_that_resumes(probes: LabeledRuns) -> None:
    out = probes.folder / "stopped"
    process = start(probes.command("stopped", "--epochs", 200))
    until(process, lambda: any((out / "trained/checkpoints").glob("step-*")))
    time.sleep(1.1)
    (out / "STOP").touch()
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert "stopped as requested, with a checkpoint after" in errors
    assert not (out / "evaluation.json").exists()

    status, errors = finish(probes.command("stopped", "--epochs", 200))
    assert status == 1
    assert "already has a checkpoint of step" in errors
    status, errors = finish(probes.command("stopped", "--epochs", 100, "--resume", "true"))
    assert status == 1
    assert "epochs" in errors


@pytest.mark.slow
def test_a_split_that_shares_cases_is_refused_before_any_training(
    probes: LabeledRuns,
) -> None:
    shared = "name: shared\ntrain: {sources: [alpha, beta]}\ntest: {sources: [beta]}\n"
    status, errors = finish(probes.command("shared", split=shared))
    assert status == 1
    assert "4 of 4 test clips are of 2 cases that train has, too" in errors
    assert not (probes.folder / "shared/trained").exists()


@pytest.mark.slow
def test_labels_are_scored_by_their_own_metrics(probes: LabeledRuns) -> None:
    record = record_of(probes.run("labels", "--task_kind", "labels", "--random_seeds", "[0]"))
    assert record["primary_metric"] == "case_map"
    assert "chosen by mAP over windows" in record["protocol"]


@pytest.mark.slow
def test_relaxed_metrics_of_phases_stand_beside_the_others(probes: LabeledRuns) -> None:
    relaxed = ("--task_kind", "phases", "--relaxed", "cholec80")
    status, errors = finish(probes.command("classes", "--relaxed", "cholec80"))
    assert status == 1
    assert "relaxed metrics are of phases, and the kind is classes" in errors

    order = ("--phase_order", "[access, closure]")
    short = ("--epochs", 1, "--grid.seeds", "[0]", "--random_seeds", "[0]")
    record = record_of(probes.run("relaxed", *relaxed, *order, *short))
    assert {"phase_jaccard", "relaxed_jaccard"} <= set(record["metrics"])
    assert record["primary_metric"] == "macro_f1"
    attentive = next(row for row in record["scores"] if row["classifier"] == "attentive")
    metrics = attentive["metrics"]
    assert metrics["relaxed_accuracy"]["value"] >= metrics["video_accuracy"]["value"]
