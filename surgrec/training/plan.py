"""What a run will draw, shown and written down before its first step."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from surgrec.stream.stream import SourcePlan

PLAN_FILE = "plan.json"


def write_plan(run_dir: Path, corpora: Sequence[str], plans: Sequence[SourcePlan]) -> None:
    """Writes `RUN/plan.json`: the corpora, and per source its exact share and how often the run will repeat it."""
    plan = {"corpora": list(corpora), "sources": [vars(source) for source in plans]}
    (run_dir / PLAN_FILE).write_text(json.dumps(plan, indent=1) + "\n", encoding="utf-8")


def read_plan(run_dir: Path) -> dict[str, Any]:
    """The content of `RUN/plan.json`."""
    plan: dict[str, Any] = json.loads((run_dir / PLAN_FILE).read_text(encoding="utf-8"))
    return plan


def print_plan(plans: Sequence[SourcePlan], steps: int) -> None:
    """Shows the plan on standard error."""
    table = Table(title=f"what {steps} steps will draw", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("source", "domain", "clips", "share", "draws", "epochs"):
        table.add_column(column, justify="left" if column in ("source", "domain") else "right", no_wrap=True)
    for plan in plans:
        counts = (f"{plan.samples}", f"{plan.share:.1%}", f"{plan.draws}", f"{plan.epochs:.2f}")
        table.add_row(plan.source, plan.domain, *counts)
    Console(stderr=True).print(table)
