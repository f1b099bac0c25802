"""Data sets beyond those of the paper, from their published layouts to scores."""

import json
from pathlib import Path

import pytest

from tests.bench.benches import SmallBench, write_encoder
from tests.bench.trees import rendered, write_trees

pytestmark = pytest.mark.slow


def test_sparse_labels_and_labels_of_videos_are_scored_as_published(tmp_path: Path) -> None:
    names = ["endoscapes2023", "polypdiag"]
    write_trees(tmp_path / "data", rendered(tmp_path / "phantom"), names)
    bench = SmallBench(
        root=tmp_path / "data",
        tasks=["endoscapes2023-cvs", "polypdiag-polyp"],
        encoders={"first": write_encoder(tmp_path / "first.safetensors")},
        out=tmp_path / "out",
    )
    run = bench.run()
    assert run.returncode == 0, run.stderr[-3000:]

    # Only labeled seconds count, also the one without a met criterion; the first has no window.
    results = bench.out / "tasks/endoscapes2023-cvs/results/first/evaluation.json"
    record = json.loads(results.read_text(encoding="utf-8"))
    assert record["counts"]["test"]["windows"] == 2 * 3
    assert record["counts"]["test"]["unlabeled"] == 2 * (13 - 3)
    assert [row["value"] for row in record["classes"]] == ["C1", "C2", "C3"]

    # A label of a video is scored once, whatever its windows.
    row = bench.rows["polypdiag-polyp", "first"]
    assert (row["scored"], row["test_videos"]) == ("videos", "4")
    assert int(row["test_windows"]) > 4
    assert "4 videos scored by the means of" in bench.page
