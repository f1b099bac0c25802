"""A benchmark on a Ray cluster has the tables of one on this machine, also after a kill."""

import subprocess
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.bench.benches import SmallBench, started, steps_in, write_encoder
from tests.bench.trees import rendered, write_trees
from tests.support.ray_clusters import ray_cluster

pytestmark = pytest.mark.slow

TABLES = ("scores.csv", "bench.json", "comparison/pairs.csv")
"""The page has the command, too, and so the engine."""


def test_two_machines_and_a_kill_change_no_table(tmp_path: Path) -> None:
    write_trees(tmp_path / "data", rendered(tmp_path / "phantom"), ["autolaparo", "cat21"])
    local = SmallBench(
        root=tmp_path / "data",
        tasks=["autolaparo-phase", "cat21-phase"],
        encoders={
            name: write_encoder(tmp_path / f"{name}.safetensors", seed=seed)
            for seed, name in enumerate(("first", "second"))
        },
        out=tmp_path / "out",
    )
    unbroken = local.run()
    assert unbroken.returncode == 0, unbroken.stderr[-3000:]
    tables = local.tables()
    # The same folder again from the start, since tables may show it.
    local.out.rename(tmp_path / "unbroken")

    with ray_cluster(2, {}) as cluster:
        bench = replace(local, options=("--engine", "ray", "--address", cluster.address))
        done = killed_during_an_evaluation(bench)
        last = bench.run()
    assert last.returncode == 0, last.stderr[-3000:]
    assert "Ray: machines 2, cores 2, GPUs 0" in last.stderr
    spread = bench.tables()
    assert {name: spread[name] for name in TABLES} == {name: tables[name] for name in TABLES}

    # The kill costs what two machines had in work, and leaves nothing behind.
    done += started(last)
    assert set(done) == set(started(unbroken))
    assert len(done) <= len(started(unbroken)) + 2
    assert not list((bench.out / "logs").rglob("*.lock"))
    names = {path.name for path in (tmp_path / "unbroken").iterdir()}
    assert {path.name for path in bench.out.iterdir()} == names

    # A local run continues from what the cluster has done, with the page of a local run.
    assert started(local.run()) == []
    assert local.tables() == tables


def killed_during_an_evaluation(bench: SmallBench) -> list[str]:
    """Kill a benchmark when it has started an evaluation; return the steps that it started."""
    process = subprocess.Popen(bench.words, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    steps: list[str] = []
    while not any(step.startswith("evaluate/") for step in steps):
        line = process.stderr.readline()
        assert line, "the benchmark ended before it was killed"
        steps += steps_in(line)
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    steps += steps_in(process.communicate()[1])
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive
    return steps
