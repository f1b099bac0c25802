"""The files of a run folder, written and read without torch: config, plan, starts, metrics."""

from surgrec.runs._consumed import consumed_samples, read_metrics, read_run
from surgrec.runs._drawn import (
    DrawnSource,
    PretrainingData,
    drawn_videos,
    identity_digests,
    pretraining_data,
    record_drawn,
    summarize_drawn,
)
from surgrec.runs._files import RunFiles
from surgrec.runs._identity import (
    IdentityComparison,
    compare_identities,
    different_lines,
    provenance,
    run_identity,
)
from surgrec.runs._plan import Plan, read_plan
from surgrec.runs._rows import StartRow, append_rows, read_rows
from surgrec.runs._start import record_start
from surgrec.runs._step_rows import StepReport, sample_rows, step_row

__all__ = [
    "DrawnSource",
    "IdentityComparison",
    "Plan",
    "PretrainingData",
    "RunFiles",
    "StartRow",
    "StepReport",
    "append_rows",
    "compare_identities",
    "consumed_samples",
    "different_lines",
    "drawn_videos",
    "identity_digests",
    "pretraining_data",
    "provenance",
    "read_metrics",
    "read_plan",
    "read_rows",
    "read_run",
    "record_drawn",
    "record_start",
    "run_identity",
    "sample_rows",
    "step_row",
    "summarize_drawn",
]
