"""The draw plan of a run: plan.json, and a table on standard error."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from surgrec.errors import ConfigError
from surgrec.json_files import read_json
from surgrec.runs._files import RunFiles
from surgrec.stream import DrawPlan
from surgrec.terminal import result_table, say


class PlannedSource(TypedDict):
    """The draws planned from one source."""

    source: str
    domain: str
    samples: int
    share: float
    epochs: float


class Plan(TypedDict):
    """The content of `plan.json`."""

    corpora: list[str]
    sources: list[PlannedSource]


def write_plan(run_dir: Path, corpora: Sequence[str], plan: DrawPlan) -> None:
    """Write plan.json.

    Args:
        run_dir: Folder of the run.
        corpora: Addresses of the corpora.
        plan: Share, draws and epochs of each source.
    """
    content = {"corpora": list(corpora), "sources": [vars(source) for source in plan.sources]}
    RunFiles(run_dir).plan.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_plan(run_dir: Path) -> Plan:
    """Return the content of plan.json.

    Raises:
        ConfigError: The file is missing or damaged.
    """
    remedy = "restore the file from a copy, or start the run again with --resume true"
    return read_json(RunFiles(run_dir).plan, Plan, error=ConfigError, remedy=remedy)


def print_plan(plan: DrawPlan) -> None:
    """Print the plan on standard error."""
    table = result_table(
        "draw plan of the run",
        left=("source", "domain"),
        right=("clips", "share", "draws", "epochs"),
    )
    for row in plan.sources:
        counts = (f"{row.samples}", f"{row.share:.1%}", f"{row.draws}", f"{row.epochs:.2f}")
        table.add_row(row.source, row.domain, *counts)
    say(table)
