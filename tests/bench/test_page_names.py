"""Pages and tables of a benchmark do not show where files are."""

from pathlib import Path

from surgrec.bench import Bench, Outcome, Settings, choose_models, choose_tasks, plan_steps
from surgrec.bench._copies import build_losses, copy_faults, without_folders
from surgrec.bench._names import build_name, check_name
from surgrec.bench._process import log_path
from surgrec.bench.page import _group
from surgrec.bench.summary import relative_outcomes
from surgrec.tasks import find_cards
from tests.bench.test_tables import cell, row


def small_bench(folder: Path) -> Bench:
    """Return a benchmark of one task and one encoder, which is not run."""
    (folder / "models").mkdir()
    (folder / "models/a.safetensors").write_text("weights")
    tasks = choose_tasks(find_cards(["autolaparo-phase"]), root=folder / "hospital")
    models = choose_models([f"a={folder / 'models/a.safetensors'}"])
    plan = plan_steps(tasks, models, {each.folder: "1" for each in tasks}, Settings())
    return Bench(plan=plan, out=folder / "bench")


def test_names_of_skipped_files_are_relative_to_the_copy(tmp_path: Path) -> None:
    bench = small_bench(tmp_path)
    (task,) = bench.plan.tasks
    steps = {step.name: step for step in bench.plan.steps}
    build = Outcome(step=steps[build_name(task)], state="done", status=3)
    log = log_path(bench.out, build.step)
    log.parent.mkdir(parents=True)
    log.write_text(f"$ surgrec-shard build\nskipped {task.folder}/videos/15.mp4: damaged\n")
    assert build_losses(task, {build.step.name: build}, bench.out) == [
        "the build left out: skipped videos/15.mp4: damaged"
    ]
    check = Outcome(
        step=steps[check_name(task)], state="failed", sentence=f"{task.folder} holds no recording"
    )
    assert copy_faults(task, {check.step.name: check}, bench.out) == [
        "the copy cannot be used: autolaparo holds no recording"
    ]


def test_failures_name_files_by_their_place_in_the_benchmark(tmp_path: Path) -> None:
    bench = small_bench(tmp_path)
    (task,) = bench.plan.tasks
    step = bench.plan.steps[0]
    sentence = (
        f"{tmp_path}/models/a.safetensors, {bench.out}/features/x and {task.folder}/videos/1.mp4"
    )
    found = relative_outcomes(
        bench, {step.name: Outcome(step=step, state="failed", sentence=sentence)}
    )
    assert found[step.name].sentence == "a.safetensors, features/x and videos/1.mp4"
    nested = without_folders("/data/a/b.mp4", [Path("/data"), Path("/data/a")])
    assert nested == "b.mp4", "the inner folder first"


def test_a_domain_that_the_paper_does_not_have_is_marked() -> None:
    cells = [cell("a", 0.5)]
    assert _group(row("aixsuture-score", cells)) == "open (not of the paper)"
    assert _group(row("autolaparo-phase", cells)) == "laparoscopy"
