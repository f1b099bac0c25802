"""Run a benchmark from its copies to its page."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from surgrec.bench._ablation import Arms
from surgrec.bench._choice import BenchTask
from surgrec.bench._cluster_runner import ClusterRunner
from surgrec.bench._copies import copy_faults, is_incomplete
from surgrec.bench._models import Model
from surgrec.bench._names import evaluate_name
from surgrec.bench._plan import Plan, comparison_steps
from surgrec.bench._process import Commands, log_path
from surgrec.bench._records import RECORDS
from surgrec.bench._runner import Outcome, Runner, Tell, require_new_names
from surgrec.bench._settings import Settings
from surgrec.bench._step_cluster import open_step_cluster
from surgrec.errors import ConfigError, StorageError
from surgrec.storage.lock import hold
from surgrec.text import counted

COMPARISON = "comparison"
"""Folder of the comparison over all tasks."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A benchmark to run."""

    plan: Plan
    out: Path
    """Folder for everything that it writes."""
    settings: Settings = Settings()
    """The engine, and the needs of its steps."""
    allow_incomplete: bool = False
    """Continue with copies of which parts are missing."""
    arms: Arms | None = None
    """The runs of an ablation, whose provenance was compared."""


def run_bench(bench: Bench, tell: Tell, say: Callable[[str], None]) -> dict[str, Outcome]:
    """Run the steps that are not finished, and return how each step ended.

    Args:
        bench: The benchmark.
        tell: Called before a command starts, with the step, its number and the number of steps.
        say: Called with a sentence for each step that failed.

    Raises:
        ConfigError: A copy is not complete, or another benchmark runs in the folder.
        StorageError: The folder cannot be written.
        SetupError: The Ray cluster does not answer, or one of its machines lacks something.
        MachineError: The machines of a step were lost again and again.
    """
    plan, out = bench.plan, bench.out
    require_new_names(plan.steps)
    _claim(out)

    # Comparisons depend on the evaluations that succeeded, so they are planned last.
    with hold(out, doing="running a benchmark"), ExitStack() as held:
        runner = _open_runner(bench, tell, held)
        runner.run(plan.checks)
        _require_copies(bench, runner.outcomes, say)
        runner.run(plan.work)
        own = _comparisons(plan, runner.outcomes)
        runner.run(comparison_steps(own))
        runner.run(comparison_steps({COMPARISON: _over_all(plan, own, runner.outcomes)}))

    for outcome in runner.outcomes.values():
        if outcome.state == "failed":
            say(f"{outcome.step.name} failed: {outcome.sentence} ({log_path(out, outcome.step)})")
    return runner.outcomes


def _open_runner(bench: Bench, tell: Tell, held: ExitStack) -> Runner:
    """Return the runner of the engine. What it has open ends with `held`."""
    if bench.settings.engine == "local":
        return Runner(out=bench.out, commands=held.enter_context(Commands()), tell=tell)
    cluster = held.enter_context(open_step_cluster(bench.out, bench.settings))
    return ClusterRunner(out=bench.out, commands=cluster.commands, tell=tell, cluster=cluster)


def _claim(out: Path) -> None:
    """Make the folder of a benchmark. Refuse a folder of other files, which steps could remove."""
    records = out / RECORDS
    if out.is_dir() and any(out.iterdir()) and not records.is_dir():
        raise ConfigError(
            f"{out} has other files than those of a benchmark; give a new or empty --out"
        )
    try:
        records.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{out} cannot be made ({error.strerror}); give another --out") from None


def overall_tasks(plan: Plan) -> list[BenchTask]:
    """Return the tasks of the comparison over all: of two with the same labels, the first."""
    chosen: dict[tuple[str, str, str], BenchTask] = {}
    for task in plan.tasks:
        if task.split and not task.card.blocked:
            chosen.setdefault((task.data_set, task.card.task, task.split), task)
    return list(chosen.values())


def _require_copies(bench: Bench, outcomes: dict[str, Outcome], say: Callable[[str], None]) -> None:
    """Name the missing files of each copy, task by task, and refuse unless that is allowed."""
    lacking = 0
    for task in bench.plan.tasks:
        faults = copy_faults(task, outcomes, bench.out)
        for line in faults:
            say(f"{task.name}: {task.folder}: {line}")
        lacking += is_incomplete(faults)
    if lacking and not bench.allow_incomplete:
        raise ConfigError(
            f"{counted(lacking, 'task')} of {len(bench.plan.tasks)} have no complete copy; nothing "
            "was built. Complete the copies, or give --allow_incomplete true to continue with what "
            "is there"
        )


def _comparisons(
    plan: Plan, outcomes: Mapping[str, Outcome]
) -> dict[str, Sequence[tuple[BenchTask, Model]]]:
    """Return the evaluations of the comparison of each task by its folder."""
    return {
        _folder(task): [
            (task, model)
            for model in plan.models
            if (outcome := outcomes.get(evaluate_name(task, model))) and outcome.is_done
        ]
        for task in plan.tasks
        if task.split
    }


def _over_all(
    plan: Plan,
    comparisons: Mapping[str, Sequence[tuple[BenchTask, Model]]],
    outcomes: Mapping[str, Outcome],
) -> list[tuple[BenchTask, Model]]:
    """Return the evaluations of the tasks whose own comparison is done."""
    return [
        pair
        for task in overall_tasks(plan)
        if (outcome := outcomes.get(f"compare/{_folder(task)}")) and outcome.is_done
        for pair in comparisons[_folder(task)]
    ]


def _folder(task: BenchTask) -> str:
    return f"tasks/{task.name}/{COMPARISON}"
