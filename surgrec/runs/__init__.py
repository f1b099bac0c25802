"""Read and write the files of a run folder: config.yaml, plan.json, metrics.jsonl. No torch."""

from surgrec.runs.plan import provenance, read_plan, read_run, record_start, run_identity
from surgrec.runs.rows import (
    StepReport,
    append_rows,
    consumed_samples,
    keep_rows_before,
    read_metrics,
    read_rows,
    sample_rows,
    step_row,
)

__all__ = [
    "StepReport",
    "append_rows",
    "consumed_samples",
    "keep_rows_before",
    "provenance",
    "read_metrics",
    "read_plan",
    "read_rows",
    "read_run",
    "record_start",
    "run_identity",
    "sample_rows",
    "step_row",
]
