"""Kinds of tasks: labels of windows, probes and scores of each, against known values."""

from dataclasses import replace
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score

from surgrec.commands.evaluate import evaluate
from surgrec.errors import ConfigError
from surgrec.evaluation._few_shot import few_shot
from surgrec.evaluation._labeled_windows import LabeledWindows, labeled_windows
from surgrec.evaluation._predictions import Prediction
from surgrec.evaluation._run_probes import (
    RANDOM_SEEDS,
    TRAINED,
    probe_inputs,
    random_name,
    run_probes,
)
from surgrec.evaluation._verdicts import compare
from surgrec.evaluation._window_labels import sets_at
from surgrec.evaluation.kinds import KINDS, KindName, RelaxedName, RelaxedPhases, TaskKind
from surgrec.evaluation.kinds.sets import KnnSets, SetProbe
from surgrec.evaluation.probes import Knn
from surgrec.features import Features
from surgrec.scores import case_weights
from surgrec.scores.relaxed import RELAXED_RULES
from surgrec.scores.units import Units
from surgrec.shards import VideoLabel
from surgrec.splits import CaseVideo, Parts
from tests.support.evaluations import FACTS, window_row

CASES, SECONDS = 12, 20
"""Videos, one per case, and windows of each, one per second."""
ROWS = [
    window_row(f"c{case:02d}", second, video=f"v{case:02d}")
    for case in range(CASES)
    for second in range(SECONDS)
]


def video_of(case: int) -> CaseVideo:
    return CaseVideo(source="alpha", case=f"c{case:02d}", video=f"v{case:02d}", stored="train")


PARTS = Parts(
    train=[video_of(case) for case in range(6)],
    test=[video_of(case) for case in range(6, CASES)],
    absent=[],
    named=0,
)


def label(case: int, value: str, start_s: float, end_s: float) -> VideoLabel:
    name = f"{case:02d}"
    return VideoLabel(
        video=f"v{name}",
        case=f"c{name}",
        split="train",
        task="t",
        start_s=float(start_s),
        end_s=float(end_s),
        value=value,
    )


def windows_of(kind: TaskKind, *labels: VideoLabel) -> LabeledWindows:
    """Return the windows of 2 frames with these labels: the last frame is 1 s after the start."""
    by_video: dict[tuple[str, str], list[VideoLabel]] = {}
    for each in labels:
        by_video.setdefault(("alpha", each.video), []).append(each)
    return labeled_windows(PARTS, ROWS, [], by_video, num_frames=2, several=kind.several)


def scores_of(kind: TaskKind, prediction: Prediction, windows: LabeledWindows) -> dict[str, float]:
    kind.require_fit(prediction, windows)
    table = kind.table(prediction, windows, stride_s=1.0)
    once = np.ones((1, table.num_cases))
    return {name: float(values[0]) for name, values in table.scores(once).items()}


def noisy_features(truth: np.ndarray, noise: float) -> dict[str, Features]:
    """Return the truth with noise as features of trained weights, and noise alone as others."""
    rng = np.random.default_rng(0)
    values = truth * 3 + rng.normal(size=truth.shape) * noise
    good = Features(
        rows=ROWS, values=torch.from_numpy(values.astype(np.float32)), facts=FACTS, failed=[]
    )
    bad = replace(good, values=torch.from_numpy(rng.normal(size=truth.shape).astype(np.float32)))
    return {TRAINED: good, **{random_name(seed): bad for seed in RANDOM_SEEDS}}


def two_phases() -> list[VideoLabel]:
    labels = []
    for case in range(CASES):
        labels += [label(case, "access", 0, 8 + case % 3), label(case, "closure", 8 + case % 3, 30)]
    return labels


def tools() -> list[VideoLabel]:
    labels = []
    for case in range(CASES):
        labels += [label(case, "hook", 3, 12 + case % 4), label(case, "grasper", 8, 15)]
    return labels


def test_phases_have_scores_per_video_phase_and_segment() -> None:
    kind = KINDS["phases"]
    windows = windows_of(kind, *two_phases())
    truth = windows.labels_of(windows.test)
    perfect = scores_of(kind, Prediction(features="trained", classifier="x", label=truth), windows)
    assert {perfect[metric] for metric in kind.metrics} == {1.0}

    # One wrong second in the middle of the second phase of one of six videos.
    wrong = truth.copy()
    wrong[15] = 1 - wrong[15]
    scores = scores_of(kind, Prediction(features="trained", classifier="x", label=wrong), windows)
    assert scores["accuracy"] == pytest.approx(1 - 1 / len(truth))
    assert scores["video_accuracy"] == pytest.approx(1 - 1 / SECONDS / 6)
    assert scores["edit"] == pytest.approx((5 + 0.5) / 6), "2 of 4 segments are superfluous"
    assert scores["segmental_f1_50"] == pytest.approx(2 * 12 / (12 + 14))

    prediction = Prediction(features="trained", classifier="x", label=wrong)
    row = kind.row([prediction], windows, stride_s=1.0)
    units = Units(weights=case_weights(6), of_case=np.arange(6), name="cases")
    (score,), _ = compare(
        [row], units, metrics=kind.metrics, primary=kind.primary, primary_classifier="x"
    )
    accuracies = [1 - 1 / SECONDS, 1, 1, 1, 1, 1]
    assert score["video_std"]["video_accuracy"] == pytest.approx(np.std(accuracies, ddof=1))
    assert "accuracy" not in score["video_std"], "it is pooled over frames"


def test_labels_of_25_fps_are_scored_at_1_fps_of_the_video() -> None:
    kind = KINDS["phases"]
    # One label per frame of 1/25 s. Frame numbers taken for seconds would end 25 times later.
    frames = [
        label(
            case,
            "access" if frame < 25 * (8 + case % 3) else "closure",
            frame / 25,
            frame / 25 + 0.04,
        )
        for case in range(CASES)
        for frame in range(25 * 30)
    ]
    windows = windows_of(kind, *frames)
    assert windows.test.values == windows_of(kind, *two_phases()).test.values
    assert windows.test.times_s[:3].tolist() == [1.0, 2.0, 3.0]

    truth = windows.labels_of(windows.test)
    table = kind.table(
        Prediction(features="trained", classifier="x", label=truth), windows, stride_s=1.0
    )
    assert table.counts.labeled.sum() == 6 * SECONDS, "one per second, not 25"  # type: ignore[attr-defined]


def test_the_command_offers_every_kind_and_rule() -> None:
    hints = get_type_hints(evaluate)
    assert get_args(hints["task_kind"]) == get_args(KindName) == tuple(KINDS)
    assert get_args(hints["relaxed"]) == get_args(RelaxedName) == ("no", *RELAXED_RULES)


def test_relaxed_metrics_have_their_own_names_and_need_the_order_of_phases() -> None:
    kind = RelaxedPhases("plain", ["access", "closure"])
    windows = windows_of(kind, *two_phases())
    truth = windows.labels_of(windows.test)
    # The transition comes 3 s late in every video, which the rule forgives.
    late = np.concatenate([np.r_[[each[0]] * 3, each[:-3]] for each in np.split(truth, 6)])
    scores = scores_of(kind, Prediction(features="trained", classifier="x", label=late), windows)
    assert scores["video_accuracy"] == pytest.approx(1 - 3 / SECONDS)
    assert scores["relaxed_accuracy"] == 1
    assert set(kind.metrics) <= scores.keys()
    assert "relaxed_accuracy" not in KINDS["phases"].metrics

    # In the other order, access comes after closure: a late access is no neighbor before it.
    other = RelaxedPhases("plain", ["closure", "access"])
    wrong = scores_of(other, Prediction(features="trained", classifier="x", label=late), windows)
    assert wrong["relaxed_accuracy"] < 1
    assert wrong["video_accuracy"] == scores["video_accuracy"]
    with pytest.raises(ConfigError, match="the phase order lacks closure; name every phase of t"):
        RelaxedPhases("plain", ["access"]).require("t", {"access", "closure"})
    with pytest.raises(ConfigError, match=r"the phase order is \[\]; give each phase once"):
        RelaxedPhases("plain", [])


def test_several_labels_at_a_time_are_sets_and_may_be_empty() -> None:
    labels = [label(0, "hook", 1, 3), label(0, "grasper", 2, 4), label(0, "hook", 2, 3)]
    times = np.array([0.5, 1.0, 2.0, 3.0, 4.0])
    assert sets_at(labels, times) == [(), ("hook",), ("grasper", "hook"), ("grasper",), ()]

    kind = KINDS["labels"]
    windows = windows_of(kind, *tools()[:-2])  # the last case has no label at all
    assert windows.classes == ["grasper", "hook"]
    assert (len(windows.train.rows), windows.train.unlabeled) == (6 * SECONDS, 0)
    assert (len(windows.test.rows), windows.test.unlabeled) == (5 * SECONDS, SECONDS)
    assert windows.class_rows[1]["train"] == sum(10 + case % 4 - 1 for case in range(6))
    with pytest.raises(ConfigError, match="or give --task_kind labels"):
        windows_of(KINDS["classes"], *tools())


def test_the_map_of_several_labels_equals_scikit_learn() -> None:
    kind = KINDS["labels"]
    windows = windows_of(kind, *tools())
    present = windows.sets_of(windows.test)
    score = np.random.default_rng(0).random(present.shape)
    prediction = Prediction(features="trained", classifier="x", probability=score)
    scores = scores_of(kind, prediction, windows)
    assert scores["map"] == pytest.approx(average_precision_score(present, score, average="macro"))
    by_case = [
        average_precision_score(present[rows], score[rows], average="macro")
        for rows in np.split(np.arange(len(score)), 6)
    ]
    assert scores["case_map"] == pytest.approx(np.mean(by_case))

    table = kind.table(prediction, windows, stride_s=1.0)
    weights = case_weights(6, resamples=20)
    quick = kind.paired_table(prediction, table).scores(weights)["case_map"]
    assert quick == pytest.approx(table.scores(weights)["case_map"])


def test_triplets_are_scored_with_their_components() -> None:
    kind = KINDS["triplets"]
    labels = [
        each
        for case in range(CASES)
        for each in (
            label(case, "hook,dissect,gallbladder", 0, 9),
            label(case, "grasper,null_verb,null_target", 5, 14),
        )
    ]
    windows = windows_of(kind, *labels)
    present = windows.sets_of(windows.test).astype(float)
    right = scores_of(
        kind, Prediction(features="trained", classifier="x", probability=present), windows
    )
    assert {right[metric] for metric in kind.metrics} == {1.0}
    with pytest.raises(
        ConfigError, match="the label 'hook' is not a triplet; give 'instrument,verb"
    ):
        kind.require("triplet", {"hook,dissect,gallbladder", "hook"})


def test_numbers_are_scored_per_video() -> None:
    kind = KINDS["numbers"]
    skill = [5, 17.5, 11, 30, 22, 8, 6, 25, 14, 9, 28, 19]
    windows = windows_of(kind, *(label(case, str(skill[case]), 0, 30) for case in range(CASES)))
    rng = np.random.default_rng(0)
    number = rng.normal(size=len(windows.test.rows)) + np.repeat(skill[6:], SECONDS)
    scores = scores_of(kind, Prediction(features="trained", classifier="x", number=number), windows)
    means = number.reshape(6, SECONDS).mean(1)
    assert scores["spearman"] == pytest.approx(spearmanr(skill[6:], means).statistic)
    assert scores["mae"] == pytest.approx(np.abs(means - skill[6:]).mean())


@pytest.mark.parametrize("value", ["high", "nan", "inf", "1e999", "5 points"])
def test_a_label_that_is_no_number_is_refused_by_name(value: str) -> None:
    with pytest.raises(ConfigError, match=f"the label '{value}' is not a number; evaluate with"):
        KINDS["numbers"].require("skill", {"3", value})


def test_equal_numbers_have_nothing_to_learn() -> None:
    with pytest.raises(ConfigError, match="all train labels of skill are '3'"):
        KINDS["numbers"].require("skill", {"3", "3.0"})


def known_task(name: KindName) -> tuple[LabeledWindows, dict[str, Features]]:
    """Return windows of a kind, and features that tell their labels."""
    kind = KINDS[name]
    if name == "numbers":
        skill = np.arange(CASES) * 7 % 12
        windows = windows_of(kind, *(label(case, str(skill[case]), 0, 30) for case in range(CASES)))
        truth = np.repeat(skill[:, None] / 4, SECONDS, axis=0) * np.ones((1, 4))
    elif kind.several:
        labels = tools()
        if name == "triplets":
            labels = [replace(each, value=f"{each.value},do,organ") for each in labels]
        windows = windows_of(kind, *labels)
        truth = np.concatenate([windows.sets_of(part) for part in (windows.train, windows.test)])
    else:
        windows = windows_of(kind, *two_phases())
        truth = np.eye(4)[
            np.concatenate([windows.labels_of(part) for part in (windows.train, windows.test)])
        ]
    return windows, noisy_features(truth.astype(float), noise=0.7)


@pytest.mark.parametrize("name", get_args(KindName))
def test_every_probe_ranks_the_truth_above_noise(name: Any) -> None:
    kind = KINDS[name]
    windows, features = known_task(name)
    scores = {
        (each.features, each.classifier): scores_of(kind, each, windows)[kind.primary]
        for each in run_probes(features, windows, kind.probes).predictions
    }
    for probe in kind.probes:
        trained, random = (scores[features, probe.name] for features in ("trained", "random"))
        assert trained > 0.85, probe.name
        assert not random > trained - 0.15, probe.name


@pytest.mark.parametrize("name", ["labels", "numbers"])
def test_kinds_without_one_class_have_scores_on_few_train_cases(name: Any) -> None:
    kind = KINDS[name]
    windows, features = known_task(name)
    units = Units(weights=case_weights(6), of_case=np.arange(6), name="cases")
    few = few_shot(features, windows, kind, amounts=("1", "4"), stride_s=1.0, units=units)
    assert [row["windows"] for row in few] == [[SECONDS] * 3, [4 * SECONDS] * 3]
    score = {
        (row["cases"], each["features"]): each["metrics"][kind.primary]["value"]
        for row in few
        for each in row["scores"]
        if each["classifier"] == kind.probes[0].name
    }
    assert score[4, "trained"] > 0.75
    assert not (score[4, "random"] or 0) > score[4, "trained"] - 0.1
    if name == "numbers":  # one number cannot be ranked
        assert score[1, "trained"] is None


def test_the_neighbors_of_all_classes_equal_those_of_each_class_alone() -> None:
    windows = windows_of(KINDS["labels"], *tools())
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(len(ROWS), 6)))
    inputs = probe_inputs(values.float(), windows)
    together = KnnSets().fit(inputs, windows, 0).probability
    alone = SetProbe(Knn()).fit(inputs, windows, 0).probability
    assert np.allclose(np.asarray(together), np.asarray(alone), atol=1e-6)


@pytest.mark.parametrize("name", ["labels", "numbers", "classes"])
def test_a_prediction_without_its_array_is_refused(name: Any) -> None:
    kind = KINDS[name]
    windows = windows_of(kind, *(tools() if kind.several else two_phases()))
    needed = {"labels": "probability", "numbers": "number", "classes": "label"}[name]
    with pytest.raises(ConfigError, match=f"the prediction of attentive has no `{needed}`"):
        kind.require_fit(Prediction(features="trained", classifier="attentive"), windows)


def test_a_prediction_that_is_not_finite_is_refused() -> None:
    kind = KINDS["labels"]
    windows = windows_of(kind, *tools())
    score = np.full((len(windows.test.rows), 2), np.nan)
    with pytest.raises(ConfigError, match="attentive predicts values that are not finite"):
        kind.require_fit(
            Prediction(features="trained", classifier="attentive", probability=score), windows
        )
