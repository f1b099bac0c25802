"""The steps of a benchmark: shared work, needs, and what makes a step run again."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest

from surgrec.bench import BenchEncoder, Plan, Settings, Step, choose_tasks, plan_steps
from surgrec.bench._bench import _comparisons, _over_all
from surgrec.bench._plan import comparison_steps
from surgrec.bench._runner import Outcome, require_new_names
from surgrec.bench._tables import _why_empty
from surgrec.bench.estimate import Footages, estimate
from surgrec.errors import ConfigError
from surgrec.tasks import find_cards, read_card

NEEDS = {"check/cholec80/tecno": "1", "dedup/cholec80": "2", "audit/cholec80-phase": "3"}


def encoders(tmp_path: Path, *names: str) -> list[BenchEncoder]:
    for name in names:
        (tmp_path / f"{name}.safetensors").write_text(name)
    return [
        BenchEncoder(method=name, name=name, path=str(tmp_path / f"{name}.safetensors"))
        for name in names
    ]


def make_plan(
    tmp_path: Path, settings: Settings = Settings(), *, copy: str = "1", names: str = "ab"
) -> Plan:
    tasks = choose_tasks(find_cards(["cholec80-*"]), root=Path("/data"))
    copies = {task.folder: copy for task in tasks}
    return plan_steps(tasks, encoders(tmp_path, *names), copies, settings)


def step_of(plan: Plan, name: str) -> Step:
    return next(step for step in plan.steps if step.name == name)


def test_tasks_of_one_data_set_share_its_corpus_and_features(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    names = [step.name for step in plan.steps]
    assert names.count("build/cholec80") == names.count("dedup/cholec80") == 1
    assert {"check/cholec80/tecno", "check/cholec80/endonet"} <= set(names)
    evaluations = [step for step in plan.steps if step.kind == "evaluate"]
    assert len(evaluations) == 4
    folders = {step.words[step.words.index("--features") + 1] for step in evaluations}
    assert folders == {"features/cholec80"}


def test_every_step_comes_after_those_that_it_needs(tmp_path: Path) -> None:
    steps = make_plan(tmp_path).steps
    place = {step.name: number for number, step in enumerate(steps)}
    assert all(place[need] < place[step.name] for step in steps for need in step.needs)


def test_a_corpus_of_a_benchmark_keeps_every_second(tmp_path: Path) -> None:
    words = step_of(make_plan(tmp_path), "build/cholec80").words
    assert not any(word.startswith("--curate") for word in words)
    assert float(words[words.index("--encode.min_clip_s") + 1]) < 1


@pytest.mark.parametrize(
    ("card", "fps"), [("cholect50-triplet", "1"), ("sar-rarp50-action", "8"), ("pitvis-step", "")]
)
def test_the_rate_and_the_stride_of_a_card_are_options_of_its_evaluation(
    tmp_path: Path, card: str, fps: str
) -> None:
    tasks = choose_tasks(find_cards([card]), root=Path("/data"))
    copies = {task.folder: "1" for task in tasks}
    plan = plan_steps(tasks, encoders(tmp_path, "a"), copies, Settings())
    for step in (step for step in plan.steps if step.kind == "evaluate"):
        options = dict(itertools.pairwise(step.words))
        assert options.get("--fps", "") == fps
        assert options["--stride_s"] == "1"


def test_a_rate_of_the_user_takes_the_place_of_that_of_the_card(tmp_path: Path) -> None:
    tasks = choose_tasks(find_cards(["grasp-phase", "cholect50-triplet"]), root=Path("/data"))
    copies = {task.folder: "1" for task in tasks}
    settings = Settings(fps={"grasp": 1.0, "cholect50": 0.5})
    plan = plan_steps(tasks, encoders(tmp_path, "a"), copies, settings)
    found = {
        step.name.split("/")[1]: dict(itertools.pairwise(step.words))["--fps"]
        for step in plan.steps
        if step.kind == "evaluate"
    }
    assert found == {
        "grasp-phase": "1",
        **{f"cholect50-triplet-fold{n}": "0.5" for n in range(1, 6)},
    }


def test_options_of_the_machine_make_no_step_run_again(tmp_path: Path) -> None:
    name = "evaluate/cholec80-phase/a"
    first = step_of(make_plan(tmp_path), name)
    faster = step_of(make_plan(tmp_path, Settings(processes=8, batch=64, device="cuda")), name)
    assert faster.command != first.command
    assert faster.digest(NEEDS) == first.digest(NEEDS)


def test_a_change_of_options_encoder_or_earlier_outputs_makes_a_step_run_again(
    tmp_path: Path,
) -> None:
    name = "evaluate/cholec80-phase/a"
    first = step_of(make_plan(tmp_path), name)
    stride = step_of(make_plan(tmp_path, Settings(stride_s=2.0)), name)
    digests = {first.digest(NEEDS), stride.digest(NEEDS)}
    digests.add(first.digest({**NEEDS, "dedup/cholec80": "other"}))
    (tmp_path / "a.safetensors").write_text("trained on")
    again = BenchEncoder(method="a", name="a", path=str(tmp_path / "a.safetensors"))
    digests.add(replace(first, inputs={"encoder": again.digest}).digest(NEEDS))
    assert len(digests) == 4


def test_a_copy_that_moved_is_not_built_again_but_a_changed_one_is(tmp_path: Path) -> None:
    needs = {"check/cholec80/tecno": "1"}
    first = step_of(make_plan(tmp_path), "build/cholec80")
    moved = choose_tasks(find_cards(["cholec80-*"]), root=Path("/elsewhere"))
    plan = plan_steps(moved, [], {task.folder: "1" for task in moved}, Settings())
    assert step_of(plan, "build/cholec80").digest(needs) == first.digest(needs)
    changed = step_of(make_plan(tmp_path, copy="2"), "build/cholec80")
    assert changed.digest(needs) != first.digest(needs)


def test_causal_heads_are_fitted_for_the_cards_that_ask_for_them(tmp_path: Path) -> None:
    words = step_of(make_plan(tmp_path), "evaluate/cholec80-phase/a").words
    assert "--temporal" in words
    assert "--temporal" not in step_of(make_plan(tmp_path), "evaluate/cholec80-tool/a").words
    short = step_of(make_plan(tmp_path, Settings(temporal=False)), "evaluate/cholec80-phase/a")
    assert "--temporal" not in short.words


def test_a_comparison_needs_two_methods(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    pairs = [(plan.tasks[0], encoder) for encoder in plan.models]
    (step,) = comparison_steps({"one": pairs[:1], "two": pairs})
    assert step.name == "compare/two"
    assert len(step.needs) == 2


def test_a_task_that_cannot_be_paired_is_left_out_of_the_comparison_over_all(
    tmp_path: Path,
) -> None:
    plan = make_plan(tmp_path)
    evaluated = {
        step.name: Outcome(step=step, state="done")
        for step in plan.steps
        if step.kind == "evaluate"
    }
    pairs = _comparisons(plan, evaluated)
    first, second = comparison_steps(pairs)
    outcomes = {
        first.name: Outcome(step=first, state="failed", sentence="they cannot be paired"),
        second.name: Outcome(step=second, state="done"),
    }
    kept = {task.name for task, _ in _over_all(plan, pairs, outcomes)}
    assert kept == {plan.tasks[1].name}


def test_a_comparison_is_told_which_splits_are_folds_of_a_card(tmp_path: Path) -> None:
    cards = find_cards(["jigsaws-gesture", "jigsaws-score", "cholec80-phase"])
    tasks = choose_tasks(cards, root=Path("/data"))
    pairs = [(task, model) for task in tasks for model in encoders(tmp_path, "a", "b")]
    (step,) = comparison_steps({"comparison": pairs})
    (folds,) = json.loads(step.words[step.words.index("--folds") + 1])
    names = folds.split(",")
    assert (len(names), names[0]) == (8, "jigsaws-louo-B-official")
    (alone,) = comparison_steps({"tasks/one/comparison": pairs[:2]})
    assert "--folds" not in alone.words


def test_two_steps_of_one_name_are_refused(tmp_path: Path) -> None:
    steps = make_plan(tmp_path).steps
    with pytest.raises(ConfigError, match="the step check/cholec80/"):
        require_new_names([*steps, steps[0]])


def test_an_estimate_counts_the_features_of_a_corpus_once(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, names="a")
    waiting = {step.name for step in plan.steps}
    footages = Footages(plan, Settings(), tmp_path)
    rows = {row.step: row for row in estimate(plan, Settings(), waiting, footages)}
    hours = plan.tasks[0].card.data_set.expected.hours
    assert rows["build/cholec80"].hours == rows["dedup/cholec80"].hours == hours
    costs = [rows[f"evaluate/{task.name}/a"].core_hours for task in plan.tasks]
    assert costs[0]
    assert costs[1:] == [0.0]

    # The costs were measured with one rate and size of pictures.
    other = estimate(plan, Settings(short_side_px=512), waiting, footages)
    assert other[0].hours == other[1].hours == hours
    assert (other[0].core_hours, other[0].gigabytes) == (None, None)
    assert other[1].core_hours is None


def test_a_blocked_task_has_no_step_and_says_why(tmp_path: Path) -> None:
    card = replace(read_card("endoscapes2023-cvs"), blocked="labels are missing")
    tasks = choose_tasks([card], root=Path("/data"))
    copies = {task.folder: "1" for task in tasks}
    plan = plan_steps(tasks, encoders(tmp_path, "a"), copies, Settings())
    assert plan.steps == []
    assert _why_empty(tasks[0], {}) == "it cannot run yet: labels are missing"
