"""The interface of tasks: audit, windows before anything is decoded, and results of any method."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from surgrec.errors import ConfigError
from surgrec.evaluation import print_evaluation
from surgrec.evaluation.kinds import KindName
from surgrec.evaluation.tasks import (
    AuditedTask,
    Prediction,
    Results,
    TaskChoice,
    audit_task,
    read_split,
    write_results,
)
from surgrec.features import EncoderChoice, FailedWindow, open_encoder
from surgrec.features.in_memory import features_of_videos
from surgrec.parquet import read_parquet
from surgrec.scores.classification import NO_CLASS
from tests.support.evaluations import write_labels, write_run

SPLIT = "name: sources\ntrain: {sources: [alpha, gamma]}\ntest: {sources: [beta]}\n"


def audited(
    corpus: Path, folder: Path, kind: KindName = "classes", split_text: str = SPLIT
) -> AuditedTask:
    """Return audited phases of the tiny corpus, with the windows of a tiny encoder."""
    write_labels(corpus)
    run = write_run(folder / "run", corpus, weights={"beta": 0.0})
    (folder / "split.yaml").write_text(split_text)
    split = read_split(folder / "split.yaml")
    choice = TaskChoice(corpora=[str(corpus)], task="phase", split=split, kind=kind)
    encoder = open_encoder(EncoderChoice(path=run), torch.device("cpu"))
    return audit_task(choice, encoder, stride_s=1.0)


@pytest.fixture
def task(corpus_copy: Path, tmp_path: Path) -> AuditedTask:
    return audited(corpus_copy, tmp_path)


def results(*predictions: Prediction) -> Results:
    return Results(
        predictions=predictions,
        classifiers={"attentive": "attentive probe"},
        primary="attentive",
        methods=["attentive probe of 4 blocks"],
    )


def test_planned_windows_are_those_of_an_extraction(task: AuditedTask, tmp_path: Path) -> None:
    planned = task.videos.windows(task.sampling, task.stride_s)
    encoder = open_encoder(EncoderChoice(path=tmp_path / "run"), torch.device("cpu"))
    extracted = [
        (entry.source, entry.video, start_s)
        for entry, video in zip(
            task.videos.entries,
            features_of_videos(
                task.videos,
                task.videos.entries,
                encoder,  # type: ignore[arg-type]
                stride_s=task.stride_s,
                precision="no",
                allow_repeated_frames=False,
            ),
            strict=True,
        )
        for start_s in video.start_s
    ]
    assert [(row.source, row.video, row.start_s) for row in planned] == extracted

    windows = task.planned_windows()
    assert len(windows.test.rows) == 30
    row, time_s, value = windows.test.rows[0], windows.test.times_s[0], windows.test.values[0]
    assert time_s == row.start_s + (task.sampling.num_frames - 1) / task.sampling.fps
    assert windows.classes[windows.labels_of(windows.test)[0]] == value == "access"


def test_windows_that_could_not_be_read_are_left_out_and_counted(task: AuditedTask) -> None:
    rows = task.videos.windows(task.sampling, task.stride_s)
    lost = next(row for row in rows if row.source == "beta")
    failed = FailedWindow(
        source=lost.source, case=lost.case, video=lost.video, start_s=lost.start_s, reason="damaged"
    )
    windows = task.windows([row for row in rows if row != lost], [failed])
    assert (len(windows.test.rows), windows.test.failed) == (29, 1)


def test_any_method_gets_baselines_intervals_and_files(task: AuditedTask, tmp_path: Path) -> None:
    windows = task.planned_windows()
    truth = windows.labels_of(windows.test)
    constant = np.zeros_like(truth)
    predictions = [
        Prediction(features="trained", classifier="attentive", label=truth, head_seed=seed)
        for seed in range(3)
    ]
    predictions += [
        Prediction(features="random", classifier="attentive", label=constant, seed=seed)
        for seed in range(3)
    ]
    record = write_results(task, windows, results(*predictions), tmp_path / "out")
    rows = {(row["features"], row["classifier"]): row for row in record["scores"]}
    assert [*rows] == [
        ("trained", "attentive"),
        ("random", "attentive"),
        ("none", "majority"),
        ("none", "prior"),
        ("none", "elapsed_time"),
    ]
    trained, random = rows["trained", "attentive"], rows["random", "attentive"]
    assert (trained["metrics"]["macro_f1"]["value"], trained["degenerate"]) == (1, False)
    assert (trained["seeds"], random["seeds"], random["degenerate"]) == (3, 3, True)
    assert record["verdicts"][0]["verdict"] == "not shown", "two cases are too few"
    assert record["protocol"].startswith("attentive probe of 4 blocks; ")
    written = json.loads((tmp_path / "out/evaluation.json").read_bytes())
    assert written["scores"] == record["scores"]


def test_predictions_without_random_weights_have_no_verdict(
    task: AuditedTask, tmp_path: Path
) -> None:
    windows = task.planned_windows()
    truth = windows.labels_of(windows.test)
    prediction = Prediction(features="trained", classifier="attentive", label=truth)
    assert write_results(task, windows, results(prediction), tmp_path / "out")["verdicts"] == []


def test_phases_have_metrics_over_time_beside_those_of_windows(
    corpus_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = audited(corpus_copy, tmp_path, "phases")
    windows = task.planned_windows()
    truth = windows.labels_of(windows.test)
    prediction = Prediction(features="trained", classifier="attentive", label=truth)
    record = write_results(task, windows, results(prediction), tmp_path / "out")
    metrics = {row["classifier"]: row["metrics"] for row in record["scores"]}
    assert (record["kind"], record["primary_metric"]) == ("phases", "macro_f1")
    assert metrics["attentive"]["segmental_f1_50"]["value"] == 1
    assert metrics["majority"]["edit"]["value"] == pytest.approx(0.5)
    assert metrics["prior"]["edit"] == {"value": None, "low": None, "high": None}
    assert "scored once per second from the first label of a video on" in record["protocol"]

    print_evaluation(record)
    printed = capsys.readouterr().out
    assert "…" not in printed, "no cell is cut on a terminal of 80 columns"
    assert "---" not in printed


def test_several_labels_are_written_as_lists(corpus_copy: Path, tmp_path: Path) -> None:
    task = audited(corpus_copy, tmp_path, "labels")
    windows = task.planned_windows()
    assert len(windows.test.rows) == 32, "also the two windows without a label"
    present = windows.sets_of(windows.test).astype(np.float32)
    prediction = Prediction(features="trained", classifier="attentive", probability=present)
    record = write_results(task, windows, results(prediction), tmp_path / "out")
    assert [row["classifier"] for row in record["scores"]] == [
        "attentive",
        "label_prior",
        "elapsed_time",
    ]
    assert record["scores"][0]["metrics"]["case_map"]["value"] == 1
    rows = read_parquet((tmp_path / "out/predictions.parquet").read_bytes(), "here").to_pylist()
    assert all(row["label"] == row["prediction"] for row in rows[:32])
    assert [] in [row["label"] for row in rows]
    assert rows[0]["probability"] == [1.0, 0.0]


def of_videos(task: AuditedTask) -> AuditedTask:
    """Return the task with one label for each video, by turns."""
    labels = {
        video: [replace(rows[0], start_s=0.0, end_s=1e6, value=("access", "closure")[index % 2])]
        for index, (video, rows) in enumerate(sorted(task.labels.items()))
    }
    return replace(task, choice=replace(task.choice, scope="video"), labels=labels)


def test_labels_of_videos_are_scored_by_the_means_over_windows(
    task: AuditedTask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = of_videos(task)
    windows = task.planned_windows()
    truth = windows.labels_of(windows.test)
    videos = sorted({row.video for row in windows.test.rows})

    # Most windows of each video are wrong, but the others are more certain.
    index = np.array([videos.index(row.video) for row in windows.test.rows])
    is_sure = np.arange(len(truth)) % 3 == 0
    share = np.where(is_sure, 0.99, 0.4)
    probability = np.stack([1 - share, share], axis=1)
    probability = np.where(truth[:, None] == 1, probability, probability[:, ::-1])
    prediction = Prediction(
        features="trained",
        classifier="attentive",
        label=probability.argmax(1),
        probability=probability,
    )
    record = write_results(task, windows, results(prediction), tmp_path / "out")
    scores = {row["classifier"]: row for row in record["scores"]}
    assert (truth == probability.argmax(1)).mean() < 0.5
    assert scores["attentive"]["metrics"]["accuracy"]["value"] == 1
    assert [*scores] == ["attentive", "majority", "prior"], "a video has no elapsed time"
    assert sum(row["test"] for row in record["classes"]) == len(videos)
    assert record["counts"]["test"]["windows"] == len(truth) > len(videos)
    assert "the class of the greatest mean probability over its windows" in record["protocol"]

    # The files have a row for each video, and cases the number of their windows.
    rows = read_parquet((tmp_path / "out/predictions.parquet").read_bytes(), "here").to_pylist()
    own = [row for row in rows if row["classifier"] == "attentive"]
    assert [row["video"] for row in own] == videos
    assert own[0]["probability"] == pytest.approx(probability[index == 0].mean(0))
    cases = read_parquet((tmp_path / "out/cases.parquet").read_bytes(), "here").to_pylist()
    assert sum(row["windows"] for row in cases if row["classifier"] == "attentive") == len(truth)

    print_evaluation(record)
    assert f"scored: {len(videos)} test videos" in capsys.readouterr().out


def test_answers_without_probabilities_vote_for_the_label_of_their_video(
    task: AuditedTask, tmp_path: Path
) -> None:
    task = of_videos(task)
    windows = task.planned_windows()
    truth = windows.labels_of(windows.test)
    first = windows.test.rows[0].video
    unread = np.array([row.video == first for row in windows.test.rows])
    votes = np.where(unread, NO_CLASS, np.where(np.arange(len(truth)) % 3 == 0, 1 - truth, truth))
    prediction = Prediction(features="trained", classifier="attentive", label=votes)
    write_results(task, windows, results(prediction), tmp_path / "out")
    rows = read_parquet((tmp_path / "out/predictions.parquet").read_bytes(), "here").to_pylist()
    own = [row for row in rows if row["classifier"] == "attentive"]
    assert {row["video"]: row["prediction"] for row in own if row["video"] == first} == {first: ""}
    assert all(row["prediction"] == row["label"] for row in own if row["video"] != first)


def test_a_video_with_two_labels_cannot_be_scored_as_a_whole(
    task: AuditedTask, tmp_path: Path
) -> None:
    windows = task.planned_windows()
    prediction = Prediction(
        features="trained", classifier="attentive", label=windows.labels_of(windows.test)
    )
    whole = replace(task, choice=replace(task.choice, scope="video"))
    with pytest.raises(ConfigError, match="'access' and 'closure', so its label does not hold"):
        write_results(whole, windows, results(prediction), tmp_path / "out")


def test_phases_of_whole_videos_are_refused(task: AuditedTask) -> None:
    choice = replace(task.choice, kind="phases", scope="video")
    with pytest.raises(ConfigError, match="the kind phases is of moments"):
        assert choice.rules


def test_a_kind_that_does_not_fit_the_labels_is_refused(corpus_copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the label 'access' is not a number"):
        audited(corpus_copy, tmp_path, "numbers")


def test_the_windows_of_val_are_counted_beside_the_others(
    corpus_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SPLIT.replace("[alpha, gamma]}", "[alpha]}\nval: {sources: [gamma]}\nkind: ours")
    task = audited(corpus_copy, tmp_path, split_text=text)
    windows = task.planned_windows()
    prediction = Prediction(
        features="trained", classifier="attentive", label=windows.labels_of(windows.test)
    )
    record = write_results(task, windows, results(prediction), tmp_path / "out")
    assert [*record["counts"]] == ["train", "val", "test"]
    assert record["counts"]["val"]["cases"] == 2
    assert (record["split"]["kind"], [*record["split"]["rule"]]) == (
        "ours",
        ["train", "val", "test"],
    )
    assert sum(row["val"] for row in record["classes"]) == record["counts"]["val"]["windows"]
    checks = {row["check"] for row in record["audit"]}
    assert "val cases without a labeled window" in checks

    print_evaluation(record)
    assert f"{record['counts']['val']['windows']} val windows of 2 cases" in " ".join(
        capsys.readouterr().out.split()
    )


def test_relaxed_metrics_of_another_kind_than_phases_are_refused(
    corpus_copy: Path, tmp_path: Path
) -> None:
    choice = replace(audited(corpus_copy, tmp_path).choice, relaxed="plain")
    with pytest.raises(ConfigError, match="are of phases, and the kind is classes; give --task_k"):
        assert choice.rules


def test_an_order_of_phases_without_relaxed_metrics_is_refused(
    corpus_copy: Path, tmp_path: Path
) -> None:
    choice = replace(audited(corpus_copy, tmp_path).choice, phase_order=["x", "x"])
    with pytest.raises(ConfigError, match=r"\['x', 'x'\] is for relaxed metrics only.* is no;"):
        assert choice.rules


def test_predictions_that_do_not_fit_are_refused(task: AuditedTask, tmp_path: Path) -> None:
    windows = task.planned_windows()
    label = windows.labels_of(windows.test)
    short = Prediction(features="trained", classifier="attentive", label=label[:7])
    with pytest.raises(ConfigError, match="attentive predicts 7 windows, but the test part has 30"):
        write_results(task, windows, results(short), tmp_path / "out")
    other = Prediction(features="trained", classifier="svm", label=label)
    with pytest.raises(ConfigError, match="of the classifier 'svm', but attentive are named"):
        write_results(task, windows, results(other), tmp_path / "out")
    assert not (tmp_path / "out").exists()
