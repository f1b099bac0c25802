"""The benchmark over copies of all data sets of the paper, killed at random and continued."""

import random
import subprocess
import time
from pathlib import Path

import psutil
import pytest

import surgrec.tasks
from surgrec.tasks import find_cards
from surgrec.yaml_files import parse_yaml, to_yaml
from tests.bench.benches import (
    SmallBench,
    assert_the_page_opens,
    started,
    steps_in,
    write_encoder,
)
from tests.bench.trees import RATE, rendered, write_trees
from tests.support.in_process import train
from tests.support.model_server import ModelServer

DATA_SETS = [
    *("aixsuture", "autolaparo", "cat21", "cataract101", "cataract1k", "cholec80", "colonoscopic"),
    *("hyper-kvasir", "jigsaws", "kvasir-capsule", "lapgyn4", "gynsurg", "ldpolypvideo"),
    *("m2cai16-workflow", "multibypass140", "sar-rarp50", "surgicalactions160"),
]
"""The 16 data sets of the paper; LapGyn4 and GynSurg are one of them, in two layouts."""
TASKS = [card for card in find_cards(["*"]) if card.data_set.name in DATA_SETS]
NUMBERS = tuple(card.name for card in TASKS if card.kind == "numbers")
"""Tasks that no vision-language model is asked about."""
FOLDS = ["louo-B", "louo-C"]
"""Folds of JIGSAWS, of eight."""
SMALL = (
    *("--encoder.width", 24, "--encoder.depth", 1, "--encoder.num_heads", 2),
    *("--encoder.patch_size", 16, "--encoder.num_frames", 16, "--encoder.crop_px", 32),
    *("--mixture.min_duration_s", 4),
)
CARDS = Path(surgrec.tasks.__file__).parent / "cards"
KILLS = 2
SEED = 7


@pytest.mark.slow
def test_all_layouts_in_one_command_killed_at_random_have_the_same_tables(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    write_trees(tmp_path / "data", rendered(tmp_path / "phantom"), DATA_SETS)
    train("mae", tiny_corpus, tmp_path / "mae", *SMALL)
    with ModelServer(enforces=["json_schema"]).running() as server:
        bench = SmallBench(
            root=tmp_path / "data",
            tasks=names_of_tasks(tmp_path),
            encoders={
                "mae": tmp_path / "mae",
                "random": write_encoder(tmp_path / "random.safetensors", num_frames=16),
            },
            out=tmp_path / "out",
            options=(
                *("--vlms", f"stub={server.endpoint}"),
                *("--frame_fps", f"lapgyn4=1,ldpolypvideo={RATE}"),
            ),
        )
        unbroken = bench.run()
        assert unbroken.returncode == 3, unbroken.stderr[-3000:]
        assert "Traceback" not in unbroken.stderr
        steps, tables = started(unbroken), bench.tables()
        assert_all_cells_have_scores(bench)

        # The same command again from the start, since the page shows its folder.
        bench.out.rename(tmp_path / "unbroken")
        chance = random.Random(SEED)
        done: list[str] = []
        for moment in sorted(chance.sample(range(1, len(steps)), KILLS)):
            done += killed(bench, after=moment - len(done), delay_s=chance.uniform(0, 1.5))
        last = bench.run()
        assert last.returncode == 3, last.stderr[-3000:]

    # Each kill costs the step that it interrupted, and no other one.
    done += started(last)
    assert set(done) == set(steps)
    assert len(done) <= len(steps) + KILLS
    assert bench.tables() == tables
    assert_the_page_opens(bench.out / "index.html", tmp_path)


def names_of_tasks(folder: Path) -> list[str]:
    """Return the tasks as the command names them: cards, and those of JIGSAWS with fewer folds."""
    names = []
    for card in TASKS:
        name = card.name
        if card.data_set.name == "jigsaws":
            content = parse_yaml((CARDS / f"{name}.yaml").read_bytes(), name)
            content["split"]["names"] = FOLDS
            name = str(folder / f"{name}.yaml")
            Path(name).write_text(to_yaml(content), encoding="utf-8")
        names.append(name)
    return names


def assert_all_cells_have_scores(bench: SmallBench) -> None:
    """Assert that every method has a score on every task, but for questions about numbers."""
    rows = bench.rows
    assert len(rows) == 3 * (len(TASKS) + 2 * len(FOLDS)), "two cards have folds and their mean"
    for (task, method), row in rows.items():
        is_asked = method != "stub" or not task.startswith(NUMBERS)
        assert (row["value"] != "nan") == is_asked, (task, method, row["sentence"])


def killed(bench: SmallBench, *, after: int, delay_s: float) -> list[str]:
    """Kill a benchmark a moment after it has started a number of steps; return their names."""
    process = subprocess.Popen(bench.words, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    steps: list[str] = []
    while len(steps) < after:
        line = process.stderr.readline()
        assert line, "the benchmark ended before it was killed"
        steps += steps_in(line)
    time.sleep(delay_s)
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    steps += steps_in(process.communicate()[1])
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive
    return steps
