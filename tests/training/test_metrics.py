"""A flush writes one row per step; too many bad samples or an infinite loss stop a run."""

import math
import time
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from surgrec.clips import ClipBatch, Quarantined
from surgrec.errors import TrainingError
from surgrec.runs import read_rows
from surgrec.training._metrics import LogConfig, RunLog, describe_row
from surgrec.training._progress import progress_bar
from tests.support.batches import make_batch


def a_batch(source: str, count: int, bad: int = 0, clip: int = 0) -> ClipBatch:
    key = f"{source}_000000000000"
    entry = Quarantined(
        position=0,
        source=source,
        key=f"{key}_0",
        clip=f"{key}_{clip}",
        reason="no video",
        substitute=f"{key}_1",
    )
    frames = [torch.zeros(1, 3, 2, 2, dtype=torch.uint8)] * count
    return make_batch(frames, key=key, source=source, quarantined=[entry] * bad)


def a_log(run_dir: Path, **config: object) -> RunLog:
    return RunLog(
        run_dir=run_dir,
        accelerator=Accelerator(cpu=True),
        config=LogConfig(**config),  # type: ignore[arg-type]
        finish_save=lambda: None,
    )


def add(log: RunLog, step: int, batch: ClipBatch, loss: float, **values: float) -> None:
    losses = torch.full((len(batch.keys),), loss)
    log.add(
        step,
        batch,
        losses,
        flops=1.0,
        began=time.perf_counter(),
        data_wait_s=0.1,
        values={"lr": 0.5, **values},
    )


def test_a_flush_writes_each_step_once_with_diagnostics_on_the_last(tmp_path: Path) -> None:
    log = a_log(tmp_path, samples=True)
    for step in range(3):
        add(log, step, a_batch("a", 2), 1.0)
    assert log.flush(stop=False, diagnostics={"token_std": 0.9}) is False
    add(log, 3, a_batch("a", 2), 1.0)
    assert log.flush(stop=True, diagnostics={}) is True
    rows = read_rows(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [0, 1, 2, 3]
    assert [row.get("token_std") for row in rows] == [None, None, 0.9, None]
    assert [row.get("data_wait_p99_s") for row in rows] == [None, None, 0.1, 0.1]
    assert len(read_rows(tmp_path / "samples.jsonl")) == 8


def test_a_run_on_a_cpu_logs_no_figure_of_a_gpu(tmp_path: Path) -> None:
    log = a_log(tmp_path)
    add(log, 0, a_batch("a", 2), 1.0)
    log.flush(stop=False, diagnostics={})
    (row,) = read_rows(tmp_path / "metrics.jsonl")
    assert not [name for name in row if name.startswith("gpu")]


def test_an_infinite_loss_stops_the_run_after_its_row_is_written(tmp_path: Path) -> None:
    log = a_log(tmp_path)
    add(log, 0, a_batch("a", 2), math.nan)
    with pytest.raises(TrainingError, match=r"the loss of step 0 is nan; start in another run_dir"):
        log.flush(stop=False, diagnostics={})
    assert len(read_rows(tmp_path / "metrics.jsonl")) == 1


def test_a_gradient_that_is_not_finite_stops_the_run_like_a_loss(tmp_path: Path) -> None:
    log = a_log(tmp_path)
    add(log, 4, a_batch("a", 2), 1.0, gradient_norm=math.inf)
    with pytest.raises(TrainingError, match="the gradient_norm of step 4 is inf"):
        log.flush(stop=False, diagnostics={})


def test_a_log_without_a_terminal_gets_a_line_every_half_minute(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    log = a_log(tmp_path)
    for step in progress_bar(0, 20, lambda: log.last_row, describe_row, show=True):
        add(log, step, a_batch("a", 2), 1.0)
        if step % 2:
            log.flush(stop=False, diagnostics={})
        now += 10.0
    lines = [line.split()[:3] for line in capsys.readouterr().err.splitlines() if line]
    assert lines == [["step", f"{step}/20", "loss"] for step in range(2, 21, 3)], (
        "steps take ten seconds, and the ranks sync after every second one"
    )


def test_bad_samples_are_listed_and_too_many_stop_the_run(tmp_path: Path) -> None:
    log = a_log(tmp_path, quarantine_share=0.01)
    add(log, 0, a_batch("a", 2, bad=20), 1.0)
    log.flush(stop=False, diagnostics={})
    assert read_rows(tmp_path / "metrics.jsonl")[-1]["quarantined"] == {"a": 20}
    assert read_rows(tmp_path / "quarantine.jsonl")[0]["reason"] == "no video"
    add(log, 1, a_batch("a", 2, bad=1), 1.0)
    with pytest.raises(TrainingError, match="a: 21 of 4 samples were bad"):
        log.flush(stop=False, diagnostics={})


def test_bad_samples_before_a_restart_still_count(tmp_path: Path) -> None:
    log = a_log(tmp_path, quarantine_share=0.01)
    for step in range(4):
        add(log, step, a_batch("a", 2, bad=6), 1.0)
        log.flush(stop=False, diagnostics={}) if step < 3 else None
    restarted = a_log(tmp_path, quarantine_share=0.01)
    restarted.resume_at(2)
    add(restarted, 2, a_batch("a", 2, bad=8), 1.0)
    restarted.flush(stop=False, diagnostics={})
    assert read_rows(tmp_path / "metrics.jsonl")[-1]["quarantined"] == {"a": 20}
    add(restarted, 3, a_batch("a", 2, bad=1), 1.0)
    with pytest.raises(TrainingError, match="a: 21 of 8 samples were bad"):
        restarted.flush(stop=False, diagnostics={})


def test_a_new_run_starts_with_no_bad_samples(tmp_path: Path) -> None:
    log = a_log(tmp_path)
    log.resume_at(0)
    add(log, 0, a_batch("a", 2, bad=1), 1.0)
    log.flush(stop=False, diagnostics={})
    assert read_rows(tmp_path / "metrics.jsonl")[-1]["quarantined"] == {"a": 1}


def test_a_bad_neighbor_counts_once_over_windows_and_restarts(tmp_path: Path) -> None:
    log = a_log(tmp_path, quarantine_share=0.01)
    add(log, 0, a_batch("a", 30, bad=30, clip=7), 1.0)
    add(log, 1, a_batch("a", 30, bad=2, clip=8), 1.0)
    log.flush(stop=False, diagnostics={})
    assert read_rows(tmp_path / "metrics.jsonl")[-1]["quarantined"] == {"a": 2}
    assert len(read_rows(tmp_path / "quarantine.jsonl")) == 32, "every bad sample is reported"

    restarted = a_log(tmp_path, quarantine_share=0.01)
    restarted.resume_at(1)
    add(restarted, 1, a_batch("a", 30, bad=30, clip=7), 1.0)
    add(restarted, 2, a_batch("a", 30, bad=2), 1.0)
    restarted.flush(stop=False, diagnostics={})
    assert read_rows(tmp_path / "metrics.jsonl")[-1]["quarantined"] == {"a": 4}
