"""The draw plan of a run: plan.json, and a table on standard error."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from surgrec.runs._files import RunFiles
from surgrec.stream import DrawPlan
from surgrec.terminal import result_table, say


def write_plan(run_dir: Path, corpora: Sequence[str], plan: DrawPlan) -> None:
    """Write plan.json.

    Args:
        run_dir: Folder of the run.
        corpora: Addresses of the corpora.
        plan: Share, draws and epochs of each source.
    """
    content = {"corpora": list(corpora), "sources": [vars(source) for source in plan.sources]}
    RunFiles(run_dir).plan.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_plan(run_dir: Path) -> dict[str, Any]:
    """Return the content of plan.json."""
    plan: dict[str, Any] = json.loads(RunFiles(run_dir).plan.read_text(encoding="utf-8"))
    return plan


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
