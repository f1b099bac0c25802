"""Rows of metrics.jsonl and samples.jsonl join the reports of all ranks."""

from surgrec.runs.step_rows import StepReport, sample_rows, step_row
from surgrec.stream import ReadStats


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
    assert (row["data_wait_median_s"], row["data_wait_rank"]) == (0.125, 1)
    counts = {
        name: row["read_stats"][name] for name in ("samples", "retries", "fetch_wait_s", "evicted")
    }
    assert counts == {"samples": 4, "retries": 2, "fetch_wait_s": 1.0, "evicted": 0}
    assert step_row(parts, peak_flops=1000.0)["mfu"] == 200.0 / 2.0 / 2000.0
    assert [(line["slot"], line["key"]) for line in sample_rows(parts)] == [
        (0, "a1"),
        (1, "b1"),
        (2, "a2"),
        (3, "a3"),
    ]


def test_the_tail_of_the_waits_is_told_for_each_rank() -> None:
    reports = [a_report(["a1"], ["a"], [1.0], 1.0), a_report(["a2"], ["a"], [1.0], 1.0)]
    assert "data_wait_p99_s" not in step_row(reports, peak_flops=None)

    steady, rare = [0.1] * 300, [0.1] * 296 + [5.0, 6.0, 7.0, 8.0]
    row = step_row(reports, peak_flops=None, newest_waits=[steady, rare])
    assert row["data_wait_p99_by_rank_s"] == [0.1, 5.0], "3 of 300 waits are longer"
    assert row["data_wait_p99_s"] == 5.0


def test_the_digest_of_a_step_is_of_its_keys_in_slot_order() -> None:
    one = step_row([a_report(["a1", "a2"], ["a", "a"], [1.0, 1.0], 1.0)], peak_flops=None)
    two = step_row(
        [a_report(["a1"], ["a"], [1.0], 1.0), a_report(["a2"], ["a"], [1.0], 1.0)], peak_flops=None
    )
    swapped = step_row([a_report(["a2", "a1"], ["a", "a"], [1.0, 1.0], 1.0)], peak_flops=None)
    assert one["samples_sha256"] == two["samples_sha256"] != swapped["samples_sha256"]
