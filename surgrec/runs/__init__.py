"""The files of a run folder, written and read without torch: config, plan, starts, metrics.

Four submodules serve few rooms each: `surgrec.runs.identity` compares runs, `surgrec.runs.drawn`
has the videos that a pretraining has drawn, `surgrec.runs.step_rows` computes the rows of a step,
and `surgrec.runs.alarms` finds in them the signs of a run that goes wrong.
"""

from surgrec.runs._consumed import consumed_samples, read_metrics, read_run
from surgrec.runs._files import RunFiles
from surgrec.runs._plan import Plan, read_plan
from surgrec.runs._rows import CountedRow, QuarantineRow, StartRow, append_rows, read_rows
from surgrec.runs._start import record_start
from surgrec.runs._watched import Watched, read_watched

__all__ = [
    "CountedRow",
    "Plan",
    "QuarantineRow",
    "RunFiles",
    "StartRow",
    "Watched",
    "append_rows",
    "consumed_samples",
    "read_metrics",
    "read_plan",
    "read_rows",
    "read_run",
    "read_watched",
    "record_start",
]
