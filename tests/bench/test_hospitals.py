"""Two hospitals run a benchmark on their own copies, and join the results without video."""

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.benches import SmallBench, write_encoder
from tests.bench.trees import TREES, Tree, rendered


@pytest.mark.slow
def test_results_of_two_hospitals_are_joined_without_video(tmp_path: Path) -> None:
    phantom = rendered(tmp_path / "phantom")
    encoders = {
        name: write_encoder(tmp_path / f"{name}.safetensors", seed=seed)
        for seed, name in enumerate(("first", "second"))
    }
    for number, name in enumerate(("north", "south")):
        folder = tmp_path / name / "data/cataract101"
        TREES["cataract101"](Tree(folder=folder, phantom=phantom, skipped=100 * number))
        bench = SmallBench(
            root=tmp_path / name / "data",
            tasks=["cataract101-phase"],
            encoders=encoders,
            out=tmp_path / name / "bench",
        )
        run = bench.run()
        assert run.returncode == 0, run.stderr[-3000:]

    # The second hospital sends its results alone.
    results = "tasks/cataract101-phase/results"
    shutil.copytree(tmp_path / f"south/bench/{results}", tmp_path / f"from-south/{results}")
    both = tmp_path / "both"
    words = ["compare", tmp_path / "north/bench", tmp_path / "from-south", "--out", both]
    done = subprocess.run(
        [sys.executable, "-m", "surgrec", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "4 cases of 2 centers" in (both / "comparison.md").read_text(encoding="utf-8")
    with (both / "pairs.csv").open(encoding="utf-8", newline="") as file:
        centers = {row["center"] for row in csv.DictReader(file)}
    assert centers == {"all", "1", "2"}
