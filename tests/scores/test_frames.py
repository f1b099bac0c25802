"""Scores of phases over time, against hand-computed cases and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, jaccard_score, precision_score, recall_score

from surgrec.errors import ConfigError
from surgrec.scores import case_weights, swap_test
from surgrec.scores.frames import FrameTable, PhaseVideo, score_frames, score_windows
from surgrec.scores.kinds import METRICS_OF
from surgrec.scores.relaxed import CHOLEC80, RelaxedRule, relaxed_correct
from surgrec.scores.segments import edit_score, segment_counts
from surgrec.scores.series import Series

SKLEARN = {
    "precision": precision_score,
    "recall": recall_score,
    "jaccard": jaccard_score,
    "f1": f1_score,
}


def table(
    pairs: list[tuple[list[int], list[int]]],
    phases: int = 3,
    cases: list[int] | None = None,
    relaxed: RelaxedRule | None = None,
) -> FrameTable:
    """Score labels and predictions of one video each, one per second."""
    cases = cases or list(range(len(pairs)))

    def series(values: list[int]) -> Series:
        return Series(
            times_s=np.arange(len(values), dtype=float), values=np.array(values, dtype=np.int64)
        )

    return score_frames(
        [
            PhaseVideo(name=str(index), case=case, truth=series(truth), predicted=series(guess))
            for index, (case, (truth, guess)) in enumerate(zip(cases, pairs, strict=True))
        ],
        num_cases=max(cases) + 1,
        num_phases=phases,
        label_fps=1.0,
        prediction_fps=1.0,
        relaxed=relaxed,
    )


def values(scored: FrameTable) -> dict[str, float]:
    return {k: float(v[0]) for k, v in scored.scores(np.ones((1, scored.num_cases))).items()}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_scores_per_video_and_phase_equal_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(3):
        label = rng.integers(0, rng.integers(1, 5), 25)
        guess = np.where(rng.random(25) < 0.6, label, rng.integers(0, 4, 25))
        pairs.append((label.tolist(), guess.tolist()))
    found = values(table(pairs, phases=4))

    for name, function in SKLEARN.items():
        rows = np.array(
            [
                [
                    function(t, p, labels=[k], average=None, zero_division=0)[0]
                    if k in t
                    else np.nan
                    for k in range(4)
                ]
                for t, p in pairs
            ]
        )
        assert found[f"video_macro_{name}"] == pytest.approx(np.nanmean(np.nanmean(rows, 1)))
        present = rows[:, ~np.isnan(rows).all(0)]
        assert found[f"phase_{name}"] == pytest.approx(np.nanmean(np.nanmean(present, 0)))
    accuracies = [accuracy_score(t, p) for t, p in pairs]
    assert found["video_accuracy"] == pytest.approx(np.mean(accuracies))


def test_an_absent_phase_is_left_out_of_its_video_and_named_apart_if_predicted() -> None:
    # The first video lacks phase 2, and one frame is predicted as such. The second has all.
    found = values(table([([0, 0, 1, 1], [0, 2, 1, 1]), ([0, 1, 2, 2], [0, 1, 2, 0])]))
    first = {"0": 2 / 3, "1": 1.0}
    second = {"0": 2 / 3, "1": 1.0, "2": 2 / 3}
    assert found["video_macro_f1"] == pytest.approx(
        (sum(first.values()) / 2 + sum(second.values()) / 3) / 2
    )
    assert found["video_macro_f1_predicted"] == pytest.approx(
        (sum(first.values()) / 3 + sum(second.values()) / 3) / 2
    )
    assert found["phase_f1"] == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)
    # Pooled: 2 of phase 0 are right of 3 labeled and 3 predicted; 3 of 3; 1 of 2 and 2.
    assert found["macro_f1"] == pytest.approx((4 / 6 + 1 + 2 / 4) / 3)


def test_videos_of_one_case_are_drawn_together() -> None:
    pairs = [([0, 1], [0, 1]), ([0, 1], [1, 0]), ([0, 1], [0, 0])]
    scored = table(pairs, phases=2, cases=[0, 0, 1])
    found = scored.scores(np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 3.0]]))["video_accuracy"]
    assert found.tolist() == pytest.approx([0.5, 0.5, 0.5])
    assert scored.num_cases == 2


def test_edit_and_segmental_f1_equal_hand_computed_values() -> None:
    label = np.repeat([0, 1, 2], [10, 10, 10])
    # One spurious segment of phase 2 within phase 0, and phase 1 is found by 4 of 10 frames.
    guess = np.repeat([0, 2, 0, 1, 2], [4, 2, 4, 4, 16])
    # Segments 0 2 0 1 2 against 0 1 2: two deletions over five segments.
    assert edit_score(label, guess) == pytest.approx(1 - 2 / 5)
    # Overlaps of the five segments: 0.4 of phase 0; 0; 0.4 of a taken one; 0.4; 10/16 = 0.625.
    assert segment_counts(label, guess, 0.25) == (3, 2, 0)
    assert segment_counts(label, guess, 0.50) == (1, 4, 2)
    found = values(table([(label.tolist(), guess.tolist())]))
    assert found["segmental_f1_10"] == pytest.approx(2 * 3 / (2 * 3 + 2 + 0))
    assert found["segmental_f1_25"] == pytest.approx(0.75)
    assert found["segmental_f1_50"] == pytest.approx(2 * 1 / (2 + 4 + 2))
    assert found["macro_f1_edit"] == pytest.approx((found["video_macro_f1"] + found["edit"]) / 2)


def test_the_relaxed_rule_credits_the_neighbor_within_ten_seconds_only() -> None:
    # Phase 0 for 30 s, then phase 1. The prediction changes 12 s too early.
    label, early = np.repeat([0, 1], 30), np.repeat([0, 1], [18, 42])
    late = np.repeat([0, 1], [42, 18])
    rule = RelaxedRule()
    assert relaxed_correct(label, early, rate_fps=1.0, rule=rule).sum() == 60 - 2
    assert relaxed_correct(label, late, rate_fps=1.0, rule=rule).sum() == 60 - 2
    # At 25 frames per second, ten seconds are 250 frames; 60 frames are all near the transition.
    assert relaxed_correct(label, early, rate_fps=25.0, rule=rule).all()
    far = np.repeat([0, 2], [25, 35])
    assert relaxed_correct(label, far, rate_fps=1.0, rule=rule).sum() == 25 + 10


def test_the_exceptions_of_cholec80_credit_two_phases_ahead() -> None:
    # Phase 4 may show phase 6 at its end, phase 2 may not show phase 4.
    label, guess = np.repeat([4, 6], 20), np.repeat([4, 6], [15, 25])
    assert relaxed_correct(label, guess, rate_fps=1.0, rule=CHOLEC80).all()
    label, guess = np.repeat([2, 4], 20), np.repeat([2, 4], [15, 25])
    assert relaxed_correct(label, guess, rate_fps=1.0, rule=CHOLEC80).sum() == 35


def test_the_published_code_credits_the_first_frames_and_passes_one() -> None:
    # The last 5 s of phase 0 show phase 1, and the first 5 s show phase 2: never right as meant.
    label = np.repeat([0, 1], [30, 10])
    guess = np.concatenate([[2] * 5, [0] * 20, [1] * 5, [1] * 10])
    meant = relaxed_correct(label, guess, rate_fps=1.0, rule=RelaxedRule())
    copied = relaxed_correct(label, guess, rate_fps=1.0, rule=RelaxedRule(), published=True)
    assert meant.tolist() == [False] * 5 + [True] * 35
    # The findings at positions 5 to 9 of the last ten frames are credited to frames 5 to 9, which
    # were right; the early frames stay wrong.
    assert copied.tolist() == [False] * 5 + [True] * 20 + [False] * 5 + [True] * 10

    found = values(table([(label.tolist(), guess.tolist())], relaxed=RelaxedRule()))
    assert found["relaxed_accuracy"] == pytest.approx(35 / 40)
    assert found["relaxed_published_accuracy"] == pytest.approx(30 / 40)
    assert found["video_accuracy"] == pytest.approx(30 / 40)
    # As meant, precision of phase 1: 15 of 15 predicted frames are right or near the transition.
    assert found["relaxed_precision"] == pytest.approx((20 / 20 + 15 / 15) / 2)
    assert found["relaxed_jaccard"] == pytest.approx((25 / 30 + 15 / 15) / 2)


def test_precision_of_the_published_code_passes_one_and_is_cut() -> None:
    # Phase 1 is predicted for 2 s at the start, which is wrong, and for its last 2 s. Before these,
    # 8 s still show phase 0: they are right, being late.
    label = np.repeat([0, 1], [30, 10])
    guess = np.repeat([1, 0, 1], [2, 36, 2])
    right = relaxed_correct(label, guess, rate_fps=1.0, rule=RelaxedRule(), published=True)
    of_phase = (label == 1) | (guess == 1)
    assert (right & of_phase).sum() / (guess == 1).sum() == 10 / 4, "the quotient passes one"

    found = values(table([(label.tolist(), guess.tolist())], phases=2, relaxed=RelaxedRule()))
    assert found["relaxed_published_precision"] == pytest.approx((36 / 36 + 1.0) / 2)
    assert found["relaxed_precision"] == pytest.approx((36 / 36 + 2 / 4) / 2)
    assert found["video_macro_precision"] == pytest.approx((28 / 36 + 2 / 4) / 2)


def test_the_spread_over_videos_is_that_of_their_scores() -> None:
    scored = table([([0, 1], [0, 1]), ([0, 1], [1, 0]), ([0, 1], [0, 0])], phases=2)
    assert scored.video_spreads()["video_accuracy"] == pytest.approx(np.std([1, 0, 0.5], ddof=1))
    alone = table([([0, 1], [0, 1])], phases=2)
    assert np.isnan(alone.video_spreads()["video_accuracy"])


def test_no_relaxed_metric_without_the_rule_and_none_replaces_another() -> None:
    plain, relaxed = (
        values(table([([0] * 5 + [1] * 5, [0] * 3 + [1] * 7)], relaxed=rule))
        for rule in (None, RelaxedRule())
    )
    assert not [name for name in plain if "relaxed" in name]
    assert {name: relaxed[name] for name in plain} == plain


def test_videos_of_two_predictions_are_exchanged_whole() -> None:
    rng = np.random.default_rng(0)
    labels = [np.sort(rng.integers(0, 3, 40)).tolist() for _ in range(8)]
    noisy = [[(v + (rng.random() < 0.4)) % 3 for v in row] for row in labels]
    right, wrong = (
        table(list(zip(labels, labels, strict=True))),
        table(list(zip(labels, noisy, strict=True))),
    )
    for metric in ("edit", "video_macro_f1", "phase_jaccard", "segmental_f1_50", "macro_f1"):
        assert swap_test([right], [wrong], metric) == pytest.approx(2 / 256)
    assert np.isfinite(right.scores(case_weights(8, resamples=50))["edit"]).all()


def test_a_video_without_labels_is_named() -> None:
    with pytest.raises(ConfigError, match="video 1 has no label"):
        table([([0, 1], [0, 1]), ([], [])])


def test_a_second_without_a_predicted_phase_is_wrong_everywhere() -> None:
    found = values(table([([0, 0, 1, 1], [0, -1, 1, -1])], phases=2))
    assert found["accuracy"] == found["video_accuracy"] == 0.5
    assert found["phase_recall"] == 0.5
    assert found["phase_precision"] == 1.0
    assert found["macro_f1"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("times_s", "stride_s", "seconds"),
    [
        ([3.75], 1.0, 1),
        ([2.0, 62.0], 1.0, 2),
        ([2.0, 62.5], 1.0, 2),
        ([0.0, 5.0, 10.0], 1.0, 3),
        ([3.75, 4.25, 4.75, 5.25], 0.5, 2),
        ([0.75, 4.75, 8.75], 4.0, 3),
    ],
)
def test_each_video_with_a_labeled_window_is_scored_at_most_once_per_second(
    times_s: list[float], stride_s: float, seconds: int
) -> None:
    windows = len(times_s)
    table = score_windows(
        np.array([*times_s, 0.0, 1.0]),
        np.array([1] * windows + [0, 0]),
        np.array([1] * windows + [0, 1]),
        video=np.array([0] * windows + [1, 1]),
        names=["sparse", "other"],
        case=np.array([0] * windows + [1, 1]),
        num_phases=2,
        stride_s=stride_s,
    )
    assert table.counts.labeled[0].tolist() == [0, seconds]
    assert table.by_video["video_accuracy"][0] == 1.0


def test_two_windows_of_one_time_are_refused_with_the_video() -> None:
    zeros = np.zeros(2, dtype=np.int64)
    with pytest.raises(ConfigError, match=r"video twice: .* not ascending"):
        score_windows(
            np.array([1.0, 1.0]),
            zeros,
            zeros,
            video=zeros,
            names=["twice"],
            case=zeros,
            num_phases=1,
            stride_s=1.0,
        )


def test_every_score_of_phases_is_a_metric_of_their_kind() -> None:
    assert set(values(table([([0, 1, 1], [0, 1, 2])]))) == set(METRICS_OF["phases"])
