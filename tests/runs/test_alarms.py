"""Alarms are functions of rows: each sign of a run that goes wrong, and none of a healthy one."""

from typing import Any

import pytest

from surgrec.runs.alarms import KEPT_ROWS, find_alarms, kept_rows


def row(step: int, **values: Any) -> dict[str, Any]:
    """A row of a healthy JEPA run on four ranks."""
    signs = {"token_std": 0.9, "rankme": 30.0, "mean_baseline_loss": 0.7} if step % 10 == 9 else {}
    return {
        "step": step,
        "loss": 0.5 + 0.01 * (step % 7),
        "momentum": 0.998,
        "gradient_norm": 1.0 + 0.3 * (step % 5),
        "data_wait_s": 0.01,
        "data_wait_median_s": 0.01,
        "data_wait_rank": step % 4,
        "step_s": 1.0,
        **signs,
        **values,
    }


def kinds(*rows: Any, **others: Any) -> list[str]:
    return [alarm.kind for alarm in find_alarms(*rows, **others)]


def drifted(step: int, cosine: float, *, pretrained: bool = True) -> dict[str, Any]:
    return {"step": step, "cosine": cosine, "cka": cosine - 0.1, "pretrained": pretrained}


def scored(*scores: float) -> list[dict[str, Any]]:
    return [{"step": 1000 * number, "score": score} for number, score in enumerate(scores)]


def test_a_healthy_run_raises_no_alarm() -> None:
    rows = [row(step) for step in range(2000)]
    drift = [drifted(step, 1 - step / 40_000) for step in range(500, 2001, 500)]
    assert not find_alarms(rows, drift, scored(0.5, 0.52, 0.49))
    assert not find_alarms([], [], [])


def test_a_single_odd_batch_raises_no_alarm() -> None:
    rows = [row(step) for step in range(1500)]
    rows[-1] |= {"token_std": 0.01, "gradient_norm": 500.0, "loss": 9.0, "data_wait_s": 1.0}
    assert kinds(rows, scored(), scored(0.5, 0.5, 0.3)) == []


@pytest.mark.parametrize("name", ["token_std", "rankme"])
def test_a_falling_spread_or_rank_of_the_targets_is_a_collapse(name: str) -> None:
    rows = [row(step) for step in range(300)]
    for number, diagnosed in enumerate(rows[9::10]):
        diagnosed[name] *= 0.9**number
    (alarm,) = find_alarms(rows)
    assert (alarm.kind, alarm.step) == ("collapse", 300)
    assert f"({name})" in alarm.text
    assert "--resume_with_changes optimizer and a smaller --optimizer.lr.value" in alarm.text

    # An MAE has no targets that could collapse; its rank may fall and rise again.
    mae = [{key: value for key, value in each.items() if key != "momentum"} for each in rows]
    assert not find_alarms(mae)


def test_a_loss_at_that_of_the_mean_is_told_after_the_warm_up() -> None:
    rows = [row(step, loss=0.71) for step in range(1100)]
    assert kinds(rows[:900]) == []
    (alarm,) = find_alarms(rows)
    assert alarm.kind == "baseline"
    assert "its loss is 0.71, and predicting the mean gives 0.7" in alarm.text


def test_repeated_spikes_of_the_gradient_name_a_clipping_norm() -> None:
    rows = [row(step) for step in range(400)]
    for step in (350, 370, 390):
        rows[step]["gradient_norm"] = 40.0
    (alarm,) = find_alarms(rows)
    assert alarm.kind == "spikes"
    assert "3 spikes in 100 steps, up to 40, and its usual norm is 1.6" in alarm.text
    assert "optimizer.grad_clip 3.2" in alarm.text


def test_a_wait_for_data_and_the_rank_behind_it_are_told() -> None:
    slow = {"data_wait_s": 0.3, "data_wait_median_s": 0.02, "data_wait_rank": 2}
    rows = [row(step, **slow) for step in range(200)]
    loader, rank = find_alarms(rows)
    assert loader.kind == "loader"
    assert "wait for data 30% of the time" in loader.text
    assert rank.kind == "rank"
    assert "rank 2 is the last to get its data in 100 of 100 steps" in rank.text
    assert "costs the others 28% of the time" in rank.text

    # All ranks wait alike: no rank is slow.
    alike = [row(step, data_wait_s=0.3, data_wait_median_s=0.29) for step in range(200)]
    assert kinds(alike) == ["loader"]


def test_a_falling_probe_is_told_with_the_best_step() -> None:
    drift = [drifted(3000, 0.7)]
    (alarm,) = find_alarms([], drift, scored(0.336, 0.34, 0.24, 0.209))
    assert (alarm.kind, alarm.step) == ("probe", 3000)
    assert "fell from 0.340 at step 1000 to 0.240" in alarm.text
    assert "cosine 0.70" in alarm.text
    assert "encoder_best.safetensors" in alarm.text
    assert kinds([], drift, scored(0.34, 0.33, 0.35)) == []


def test_a_drift_without_a_probe_asks_for_one() -> None:
    (alarm,) = find_alarms([], [drifted(500, 0.95), drifted(1000, 0.84)])
    assert (alarm.kind, alarm.step) == ("drift", 1000)
    assert "cosine 0.84" in alarm.text
    assert "probe.corpus" in alarm.text
    assert kinds([], [drifted(500, 0.95)]) == []
    assert kinds([], [drifted(500, 0.2, pretrained=False)]) == [], "random weights must change"


def test_values_that_are_not_finite_raise_no_error() -> None:
    lost = {"loss": float("nan"), "gradient_norm": float("inf"), "token_std": float("nan")}
    assert kinds([row(step, **lost) for step in range(1200)]) == []


def test_the_rows_of_a_long_run_are_few_and_give_the_same_alarms() -> None:
    rows = [row(step) for step in range(5000)]
    for diagnosed in rows[4509::10]:
        diagnosed["token_std"] = 0.05
    kept = kept_rows(rows)
    assert len(kept) == KEPT_ROWS + 460
    assert find_alarms(kept) == find_alarms(rows)
    assert kinds(kept) == ["collapse"]
