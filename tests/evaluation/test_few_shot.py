"""Subsets of few train cases, and the scores of probes on them."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from surgrec.errors import ConfigError
from surgrec.evaluation._few_cases import (
    AMOUNTS,
    SUBSETS,
    case_order,
    number_of_cases,
    require_fewer,
)
from surgrec.evaluation._few_shot import few_shot, few_shot_method
from surgrec.evaluation._labeled_windows import LabeledWindows, labeled_windows
from surgrec.evaluation._run_probes import RANDOM_SEEDS, TRAINED, named_features, random_name
from surgrec.evaluation.kinds import KINDS
from surgrec.features import Features, WindowRow
from surgrec.scores import case_weights
from surgrec.scores.units import Units
from surgrec.shards import VideoLabel
from surgrec.splits import CaseVideo, Parts
from tests.support.evaluations import FACTS, window_row

NAMES = [TRAINED, *map(random_name, RANDOM_SEEDS)]
CASES, SECONDS = 16, 12
"""Videos, one per case, and windows of each; two phases of equal length."""


def rows() -> list[WindowRow]:
    return [
        window_row(f"c{case:02d}", second, video=f"v{case:02d}")
        for case in range(CASES)
        for second in range(SECONDS)
    ]


def windows() -> LabeledWindows:
    """Return eight train and eight test cases."""
    videos = [
        CaseVideo(source="alpha", case=f"c{case:02d}", video=f"v{case:02d}", stored="train")
        for case in range(CASES)
    ]
    labels = {
        ("alpha", video.video): [
            VideoLabel(
                video=video.video,
                case=video.case,
                split="train",
                task="phase",
                start_s=float(start),
                end_s=start + 7.0,
                value=value,
            )
            for start, value in ((0, "first"), (7, "second"))
        ]
        for video in videos
    }
    parts = Parts(train=videos[:8], test=videos[8:], absent=[], named=0)
    return labeled_windows(parts, rows(), [], labels, num_frames=2, several=False)


def features(noise: Mapping[str, float]) -> dict[str, Features]:
    """Return the phase of each window plus noise, for each kind of weights."""
    rng = np.random.default_rng(0)
    phase = np.tile(np.arange(SECONDS) >= 6, CASES)
    return {
        name: Features(
            rows=rows(),
            values=torch.from_numpy(
                (phase[:, None] + rng.normal(size=(len(phase), 4)) * noise[weights]).astype(
                    np.float32
                )
            ),
            facts=FACTS,
            failed=[],
        )
        for name, weights, _ in named_features(NAMES)
    }


def test_scores_of_few_cases_have_rows_for_each_number_of_them() -> None:
    labeled = windows()
    units = Units(weights=case_weights(8), of_case=np.arange(8), name="cases")
    found = few_shot(
        features({"trained": 0.3, "random": 5.0}),
        labeled,
        KINDS["classes"],
        amounts=("1", "3", "10%", "50%", "100%"),
        stride_s=1.0,
        units=units,
    )
    assert [(row["amount"], row["cases"]) for row in found] == [("1", 1), ("3", 3), ("50%", 4)], (
        "10% is one case again, and 100% are the scores of all cases"
    )
    for row in found:
        assert row["windows"] == [SECONDS * row["cases"]] * SUBSETS
        value = {
            (score["features"], score["classifier"]): score["metrics"]["macro_f1"]["value"]
            for score in row["scores"]
        }
        for classifier in ("knn", "logistic"):
            assert value["trained", classifier] > value["random", classifier] + 0.2
        assert {score["seeds"] for score in row["scores"]} == {SUBSETS, 3 * SUBSETS}
        assert [verdict["classifier"] for verdict in row["verdicts"]] == ["knn", "logistic"]


def test_the_first_cases_of_a_subset_have_all_classes_if_possible() -> None:
    # Class 2 is in case 5 only, class 3 in case 2 only.
    classes = [{0, 1}, {0, 1}, {1, 3}, {0}, {0, 1}, {1, 2}]
    orders = [case_order(classes, seed) for seed in range(20)]
    for order in orders:
        assert sorted(order) == list(range(6))
        assert set.union(*(classes[case] for case in order[:3])) == {0, 1, 2, 3}
    assert len({tuple(order) for order in orders}) > 5, "subsets differ"
    assert case_order(classes, 7) == orders[7], "a subset repeats"


def test_an_amount_is_a_number_of_cases_or_a_share_of_them() -> None:
    assert [number_of_cases(amount, 40) for amount in ("1", "5", "10%", "50%", "1%", "99")] == [
        1,
        5,
        4,
        20,
        1,
        40,
    ]
    for wrong in ("0", "-1", "ten", "1.5", "%", "0%", "250%", "9" * 30):
        with pytest.raises(ConfigError, match="few_shot contains"):
            number_of_cases(wrong, 40)


def test_more_cases_than_the_train_part_has_are_refused_and_not_left_out() -> None:
    require_fewer(("8", "100%"), 8)
    require_fewer(AMOUNTS, 2)
    with pytest.raises(ConfigError, match="contains '9', but the train part has 8 cases"):
        require_fewer(("2", "9"), 8)


def test_the_protocol_names_only_few_cases_that_have_a_row() -> None:
    assert few_shot_method([]) == []
    (sentence,) = few_shot_method([{"cases": 1}, {"cases": 3}])
    assert "3 subsets of 1, 3 train cases" in sentence
