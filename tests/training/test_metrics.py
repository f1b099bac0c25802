"""Rows of metrics.jsonl hold what the ranks saw; bad samples and bad losses stop a run."""

import math
import time
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from surgrec.clips import ClipBatch, Quarantined
from surgrec.errors import TrainingError
from surgrec.runs import StepReport, append_rows, keep_rows_before, read_rows, sample_rows, step_row
from surgrec.stream import ReadStats
from surgrec.training import RunLog
from surgrec.training.metrics import LogConfig
from tests.support.batches import make_batch


def a_report(keys: list[str], sources: list[str], losses: list[float], step_s: float) -> StepReport:
    wait_s = step_s / 10
    return StepReport(
        step=7,
        keys=keys,
        sources=sources,
        clips=2 * len(keys),
        read_stats=ReadStats(samples=len(keys), retries=1, fetch_wait_s=0.5),
        losses=losses,
        flops=100.0,
        data_wait_s=wait_s,
        step_s=step_s,
        values={"lr": 0.5},
    )


def a_batch(source: str, count: int, bad: int = 0) -> ClipBatch:
    key = f"{source}_000000000000"
    entry = Quarantined(
        position=0, source=source, key=f"{key}_0", reason="no video", substitute=f"{key}_1"
    )
    frames = [torch.zeros(1, 3, 2, 2, dtype=torch.uint8)] * count
    return make_batch(frames, key=key, source=source, quarantined=[entry] * bad)


def a_log(run_dir: Path, **config: object) -> RunLog:
    return RunLog(run_dir=run_dir, accelerator=Accelerator(cpu=True), config=LogConfig(**config))  # type: ignore[arg-type]


def add(log: RunLog, step: int, batch: ClipBatch, loss: float) -> None:
    losses = torch.full((len(batch.keys),), loss)
    log.add(
        step,
        batch,
        losses,
        flops=1.0,
        began=time.perf_counter(),
        data_wait_s=0.1,
        values={"lr": 0.5},
    )


def test_a_row_joins_the_ranks_and_counts_by_source() -> None:
    parts = [
        a_report(["a1", "b1"], ["a", "b"], [1.0, 2.0], 0.5),
        a_report(["a2", "a3"], ["a", "a"], [3.0, 6.0], 2.0),
    ]
    row = step_row(parts, peak_flops=None)
    assert row["loss"] == 3.0
    assert row["loss_by_source"] == {"a": 10 / 3, "b": 2.0}
    assert row["consumed"] == {"a": 3, "b": 1}
    assert (row["step_s"], row["data_wait_s"], row["clips_per_s"], row["mfu"]) == (
        2.0,
        0.2,
        4.0,
        None,
    )
    counts = {
        name: row["reading"][name] for name in ("samples", "retries", "fetch_wait_s", "evicted")
    }
    assert counts == {"samples": 4, "retries": 2, "fetch_wait_s": 1.0, "evicted": 0}
    assert step_row(parts, peak_flops=1000.0)["mfu"] == 200.0 / 2.0 / 2000.0
    assert [(line["slot"], line["key"]) for line in sample_rows(parts)] == [
        (0, "a1"),
        (1, "b1"),
        (2, "a2"),
        (3, "a3"),
    ]


def test_the_digest_of_a_step_is_of_its_keys_in_slot_order() -> None:
    one = step_row([a_report(["a1", "a2"], ["a", "a"], [1.0, 1.0], 1.0)], peak_flops=None)
    two = step_row(
        [a_report(["a1"], ["a"], [1.0], 1.0), a_report(["a2"], ["a"], [1.0], 1.0)], peak_flops=None
    )
    swapped = step_row([a_report(["a2", "a1"], ["a", "a"], [1.0, 1.0], 1.0)], peak_flops=None)
    assert one["samples_sha256"] == two["samples_sha256"] != swapped["samples_sha256"]


def test_meeting_writes_each_step_once_and_diagnostics_on_the_last(tmp_path: Path) -> None:
    log = a_log(tmp_path, samples=True)
    for step in range(3):
        add(log, step, a_batch("a", 2), 1.0)
    assert log.meet(stop=False, diagnostics={"token_std": 0.9}) is False
    add(log, 3, a_batch("a", 2), 1.0)
    assert log.meet(stop=True, diagnostics={}) is True
    rows = read_rows(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [0, 1, 2, 3]
    assert [row.get("token_std") for row in rows] == [None, None, 0.9, None]
    assert len(read_rows(tmp_path / "samples.jsonl")) == 8


def test_a_loss_that_is_not_a_number_stops_the_run_after_its_row_is_written(tmp_path: Path) -> None:
    log = a_log(tmp_path)
    add(log, 0, a_batch("a", 2), math.nan)
    with pytest.raises(TrainingError, match="the loss of step 0 is nan"):
        log.meet(stop=False, diagnostics={})
    assert len(read_rows(tmp_path / "metrics.jsonl")) == 1


def test_bad_samples_are_listed_and_too_many_stop_the_run(tmp_path: Path) -> None:
    log = a_log(tmp_path, quarantine_share=0.01)
    add(log, 0, a_batch("a", 2, bad=20), 1.0)
    log.meet(stop=False, diagnostics={})
    assert read_rows(tmp_path / "metrics.jsonl")[-1]["quarantined"] == {"a": 20}
    assert read_rows(tmp_path / "quarantine.jsonl")[0]["reason"] == "no video"
    add(log, 1, a_batch("a", 2, bad=1), 1.0)
    with pytest.raises(TrainingError, match="a: 21 of 4 samples were bad"):
        log.meet(stop=False, diagnostics={})


def test_rows_of_steps_to_be_done_again_are_dropped_and_a_cut_line_is_not_read(
    tmp_path: Path,
) -> None:
    path = tmp_path / "metrics.jsonl"
    append_rows(path, [{"step": step} for step in range(5)])
    with path.open("a", encoding="utf-8") as file:
        file.write('{"step": 5, "lo')
    assert [row["step"] for row in read_rows(path)] == [0, 1, 2, 3, 4]
    keep_rows_before(path, 3)
    assert path.read_text(encoding="utf-8") == '{"step": 0}\n{"step": 1}\n{"step": 2}\n'
