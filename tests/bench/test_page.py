"""What a reader sees before the scores of a benchmark."""

from dataclasses import replace
from pathlib import Path

from surgrec.bench import Bench, BenchEncoder, Outcome, Settings, choose_tasks, plan_steps
from surgrec.bench.page import _first_sentences, _row
from surgrec.bench.summary import Summary, count_scores
from surgrec.tasks import find_cards
from tests.bench.test_tables import cell, row


def test_each_failure_and_each_incomplete_copy_is_named_once(tmp_path: Path) -> None:
    tasks = choose_tasks(find_cards(["cholec80-*"]), root=tmp_path)
    encoders = []
    for name in ("a", "b"):
        file = tmp_path / f"{name}.safetensors"
        file.write_text(name)
        encoders.append(BenchEncoder(method=name, name=name, path=str(file)))
    plan = plan_steps(tasks, encoders, {task.folder: "1" for task in tasks}, Settings())
    outcomes = {
        step.name: Outcome(step=step, state="failed", sentence="frames would repeat")
        for step in plan.steps
        if step.name.startswith("evaluate/cholec80-tool/")
    }
    rows = [
        replace(row(task.name, [cell("a", 0.5)]), incomplete=["missing: videos: 6 of 80"])
        for task in tasks
    ]
    bench = Bench(plan=plan, out=tmp_path, allow_incomplete=True)
    assert _first_sentences(bench, outcomes, rows) == [
        "evaluate/cholec80-tool/a, evaluate/cholec80-tool/b failed: frames would repeat",
        "allowed by --allow_incomplete: not complete are the copies of cholec80",
    ]


def test_a_legacy_task_is_said_to_be_audited_and_never_scored(tmp_path: Path) -> None:
    (tmp_path / "cholec80").mkdir()
    cards = find_cards(["surgrec-legacy-cholec80"])
    (task,) = choose_tasks(cards, root=None, legacy_splits=tmp_path)
    findings = ["fails: val is test", "fails: leak", "warn: few cases"]
    legacy = replace(
        row("cholec80-phase", [cell("a", None)]), task=task, findings=findings, has_audit=True
    )
    plan = plan_steps([task], [], {task.folder: "1"}, Settings())
    assert _first_sentences(Bench(plan=plan, out=tmp_path), {}, [legacy]) == [
        "surgrec-legacy-cholec80 is a legacy task, which is audited and never scored: 2 findings "
        "fail, 1 warning"
    ]
    assert _row(legacy).cells[0].marks == ["never scored"]
    summary = Summary(rows=[legacy], cards=[legacy], methods=["a"], wins={}, pairs=[])
    assert count_scores(summary) == (0, 0)
