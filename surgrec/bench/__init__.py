"""A benchmark: tasks times models in resumable steps, each a user command. No torch.

Example:
    >>> tasks = choose_tasks(find_cards(["cholec80-*"]), root=Path("/data"))
    >>> models = choose_models(["jepa=runs/jepa", "mae=runs/mae"])
    >>> plan = plan_steps(tasks, models, copy_digests(tasks), Settings())
    >>> outcomes = run_bench(Bench(plan=plan, out=Path("bench")), tell, say)
"""

from surgrec.bench._ablation import Arms, check_arms, read_ablation
from surgrec.bench._bench import Bench, run_bench
from surgrec.bench._choice import (
    BenchEncoder,
    choose_tasks,
    copy_digests,
    named_values,
)
from surgrec.bench._models import choose_models
from surgrec.bench._plan import Plan, plan_steps
from surgrec.bench._runner import Outcome, pending
from surgrec.bench._settings import Settings
from surgrec.bench._steps import Step

__all__ = [
    "Arms",
    "Bench",
    "BenchEncoder",
    "Outcome",
    "Plan",
    "Settings",
    "Step",
    "check_arms",
    "choose_models",
    "choose_tasks",
    "copy_digests",
    "named_values",
    "pending",
    "plan_steps",
    "read_ablation",
    "run_bench",
]
