"""The experiment on pretraining: its plan, its resume, its page."""

import re
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from benchmarks import by_source
from benchmarks.pretraining import Experiment, Stage, plan, run_rounds
from benchmarks.pretraining_page import write_page
from surgrec.comparisons import compare, write_tables
from surgrec.errors import SetupError
from tests.support.results import write_result


def count_runs(path: Path, name: str, status: int = 0) -> Stage:
    """Return a stage that appends a line to a file and ends with a status."""
    program = f"import sys; print(1, file=open({str(path)!r}, 'a')); sys.exit({status})"
    return Stage(name, [sys.executable, "-c", program])


def test_the_plan_has_each_method_mixture_and_seed_once(tmp_path: Path) -> None:
    rounds = plan(Experiment(folder=tmp_path, seeds=2, mae_options="--steps 7"))
    stages = [stage for stages in rounds for stage in stages]
    names = [stage.name for stage in stages]
    assert len(set(names)) == len(names)

    trainings = [stage for stage in stages if "recipes" in stage.command]
    assert {stage.name for stage in trainings} == {
        f"{method}-{mixture}-{seed}"
        for method in ("jepa", "mae")
        for mixture in ("balanced", "natural")
        for seed in (0, 1)
    }
    for stage in trainings:
        assert ("--steps 7" in stage.command) == stage.name.startswith("mae")
        assert ("alpha: 1.0" in stage.command) == ("natural" in stage.name)
        assert f"--seed {stage.name[-1]} " in stage.command

    # What runs at once does not share features.
    for stages_at_once in rounds:
        used = [re.findall(r"--features (\S+)", stage.command) for stage in stages_at_once]
        assert len(set(map(tuple, used))) == len(used) or not any(used)

    # 8 trained and 4 untrained encoders.
    assert sum("surgrec evaluate" in stage.command for stage in stages) == 12
    assert names[-2:] == ["comparison-all", "comparison-domains"]


def test_a_stage_that_ended_is_not_run_again(tmp_path: Path) -> None:
    runs = [tmp_path / name for name in ("first", "second")]
    rounds = [[count_runs(runs[0], "first")], [count_runs(runs[1], "second", status=3)]]
    for _ in range(2):
        with pytest.raises(SetupError, match="second ended with status 3"):
            run_rounds(tmp_path, rounds, at_once=2)
    assert [len(path.read_text().splitlines()) for path in runs] == [1, 2]

    records = run_rounds(tmp_path, rounds[:1], at_once=2)
    assert [record["name"] for record in records] == ["first"]
    assert records[0]["cpu_seconds"] > 0


def test_a_stage_of_other_options_is_refused(tmp_path: Path) -> None:
    run_rounds(tmp_path, [[count_runs(tmp_path / "runs", "first")]], at_once=1)
    with pytest.raises(SetupError, match=r"first\.json is of the command"):
        run_rounds(tmp_path, [[count_runs(tmp_path / "others", "first")]], at_once=1)
    assert not (tmp_path / "others").exists()


def test_results_are_divided_by_source(tmp_path: Path) -> None:
    shares = {"alpha": 3, "beta": 6, "gamma": 3}
    sources = ["alpha", "beta", "beta", "gamma"]
    write_result(tmp_path / "plain")
    cases = parquet.read_table(tmp_path / "plain/predictions.parquet")["case"].to_pylist()
    columns = {"source": pa.array([sources[int(case[-2:]) % 4] for case in cases])}
    for seed, name in enumerate("ab"):
        result = write_result(tmp_path / name, seed=seed, columns=columns)
        by_source.main(result, tmp_path / "parts" / name)

    comparison = compare([f"{name}={tmp_path / 'parts' / name}" for name in "ab"])
    assert {each.split: len(each.cases) for each in comparison.data_sets} == shares
    windows = {each.split: each.num_windows for each in comparison.data_sets}
    assert windows == {name: 40 * count for name, count in shares.items()}


def test_the_page_has_the_numbers_of_the_comparison(tmp_path: Path) -> None:
    verdict = {"classifier": "knn", "against": "random", "primary": True}
    verdict |= {"verdict": "better", "difference": 0.4, "low": 0.31, "high": 0.52}
    skills = {"jepa-balanced": 0.9, "jepa-untrained": 0.2, "mae-balanced": 0.9}
    words = []
    for seed, (method, skill) in enumerate([*skills.items(), *skills.items()]):
        folder = tmp_path / f"results/{method}-{seed}/all"
        write_result(folder, skill=skill, seed=seed, verdicts=[verdict])
        words.append(f"{method}={folder}")
    comparison = compare(words)
    write_tables(comparison, tmp_path / "comparison/all")
    page = write_page(tmp_path, {"seeds": 2}, hours=1.5).read_text(encoding="utf-8")

    (pair,) = (
        pair
        for pair in comparison.data_sets[0].pairs
        if (pair.first, pair.second, pair.classifier) == ("jepa-balanced", "jepa-untrained", "knn")
    )
    assert pair.verdict == "better"
    assert f"jepa-balanced - jepa-untrained | knn | {pair.difference.value:+.3f} [" in page
    assert "mae-balanced - jepa-untrained" not in page
    assert "| jepa-balanced-0 | knn | +0.400 [+0.310, +0.520] | better |" in page
    assert "| jepa-untrained-1 |" not in page
    assert "processor time of all stages: 1.5 h" in page
    assert "jepa-balanced" in (tmp_path / "intervals.svg").read_text(encoding="utf-8")
