"""The files of a run folder, written and read without torch: config, plan, starts, metrics.

Two submodules serve the rooms that compare runs: `surgrec.runs.identity`, and `surgrec.runs.drawn`
with the videos that a pretraining has drawn.
"""

from surgrec.runs._consumed import consumed_samples, read_metrics, read_run
from surgrec.runs._files import RunFiles
from surgrec.runs._plan import Plan, read_plan
from surgrec.runs._rows import CountedRow, QuarantineRow, StartRow, append_rows, read_rows
from surgrec.runs._start import record_start
from surgrec.runs._step_rows import StepReport, sample_rows, step_row
from surgrec.runs._watched import Watched, read_watched

__all__ = [
    "CountedRow",
    "Plan",
    "QuarantineRow",
    "RunFiles",
    "StartRow",
    "StepReport",
    "Watched",
    "append_rows",
    "consumed_samples",
    "read_metrics",
    "read_plan",
    "read_rows",
    "read_run",
    "read_watched",
    "record_start",
    "sample_rows",
    "step_row",
]
