"""Alarms are functions of rows: each sign of a run that goes wrong, and none of a healthy one."""

from typing import Any

import pytest

from surgrec.runs.alarms import KEPT_ROWS, REARM_STEPS, Alarm, GivenAlarms, find_alarms, kept_rows


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


def alarms_of(rows: list[dict[str, Any]], first_step: int = 0) -> list[tuple[str, int | None]]:
    """Kind and rank of the alarms that a start gives which syncs every 10 steps."""
    given, found = GivenAlarms(), []
    for done in range(first_step + 10, len(rows) + 1, 10):
        alarms = find_alarms(kept_rows(rows[:done]), first_step=first_step)
        found += [(alarm.kind, alarm.rank) for alarm in given.new(alarms, done)]
    return found


def test_an_alarm_is_given_again_after_its_sign_was_absent() -> None:
    slow, steps = {"data_wait_s": 0.3, "data_wait_median_s": 0.29}, 2 * REARM_STEPS
    always = [row(step, **slow) for step in range(steps)]
    assert alarms_of(always) == [("loader", None)]

    healthy = [row(step) for step in range(steps)]
    assert alarms_of(always[:300] + healthy[300:1600] + always[1600:]) == 2 * [("loader", None)]
    assert alarms_of(always[:300] + healthy[300:600] + always[600:]) == [("loader", None)]


def test_a_slow_rank_does_not_hide_another_one() -> None:
    slow = {"data_wait_s": 0.19, "data_wait_median_s": 0.02}
    rows = [row(step, **slow, data_wait_rank=3 if step < 300 else 17) for step in range(600)]
    assert alarms_of(rows) == [("rank", 3), ("rank", 17)]
    (alarm,) = find_alarms(rows)
    assert alarm.row["rank"] == 17
    assert "rank" not in Alarm(step=1, kind="loader", text="").row


def test_a_resumed_start_gives_alarms_of_its_own_steps_only() -> None:
    """The remedy of spikes is to resume, so their steps stay in the log."""
    rows = [row(step) for step in range(900)]
    for step in (350, 370, 390):
        rows[step]["gradient_norm"] = 40.0
    assert alarms_of(rows[:400]) == [("spikes", None)]
    assert alarms_of(rows, first_step=400) == [], "the steps before it"
    for step in (750, 770, 790):
        rows[step]["gradient_norm"] = 40.0
    assert alarms_of(rows, first_step=400) == [("spikes", None)]


def test_a_falling_probe_is_told_with_the_best_step() -> None:
    alarms = find_alarms([], [drifted(3000, 0.7)], scored(0.336, 0.34, 0.24, 0.209))
    assert [(alarm.kind, alarm.step) for alarm in alarms] == [("probe", 3000), ("drift", 3000)]
    assert "fell from 0.340 at step 1000 to 0.240" in alarms[0].text
    assert "cosine 0.70" in alarms[0].text
    assert "encoder_best.safetensors" in alarms[0].text


def test_a_drift_with_a_probe_is_told_with_its_scores() -> None:
    (alarm,) = find_alarms([], [drifted(3000, 0.7)], scored(0.34, 0.33, 0.35))
    assert alarm.kind == "drift"
    assert "cosine 0.70" in alarm.text
    assert "the probe went from 0.340 at step 0 to 0.350 at step 2000" in alarm.text
    assert kinds([], [drifted(3000, 0.95)], scored(0.34, 0.33, 0.35)) == []


def test_a_drift_with_a_single_probe_asks_for_the_next_one() -> None:
    """A resume that adds a probe has no score of the start."""
    (alarm,) = find_alarms([], [drifted(3000, 0.7)], scored(0.34, 0.33, 0.35)[2:])
    assert alarm.kind == "drift"
    assert "a single probe, 0.350 at step 2000, does not tell" in alarm.text


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
