"""A copy of a train video in the test part, which a benchmark finds on its way."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.benches import SmallBench, started, write_encoder
from tests.bench.trees import rendered, write_trees

pytestmark = pytest.mark.slow


def test_a_train_video_that_is_encoded_again_is_found_in_test(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_trees(root, rendered(tmp_path / "phantom"), ["autolaparo"])
    plant_copy(root / "autolaparo/videos")
    bench = SmallBench(
        root=root,
        tasks=["autolaparo-phase"],
        encoders={"first": write_encoder(tmp_path / "first.safetensors")},
        out=tmp_path / "out",
    )
    assert bench.run().returncode == 3
    sentence = "1 of 2 test videos shows the same as 1 train video of other cases"
    (task,) = bench.content["tasks"]
    assert task["sentence"] == f"audit: the audit refuses the split: {sentence}"
    assert f"audit/autolaparo-phase failed: the audit refuses the split: {sentence}" in bench.page
    assert "1 finding fails" in bench.page
    assert 'href="duplicates/autolaparo.html"' in bench.page
    assert (bench.out / "duplicates/autolaparo.html").is_file()

    # The search has changed the corpus. Neither it nor the build runs again.
    allowed = replace(bench, options=("--allow", "[shared_copies]"))
    assert started(allowed.run()) == ["audit/autolaparo-phase", "evaluate/autolaparo-phase/first"]
    assert f"allowed by --allow shared_copies: {sentence}" in bench.page
    assert bench.rows["autolaparo-phase", "first"]["value"] != "nan"


def plant_copy(videos: Path) -> None:
    """Replace a test video by a train video of other bytes: scaled, darker, encoded again."""
    subprocess.run(
        [
            *("ffmpeg", "-v", "error", "-nostdin", "-y", "-i", str(videos / "02.mp4")),
            *("-vf", "scale=128:96,eq=brightness=-0.05", "-crf", "30", str(videos / "15.mp4")),
        ],
        check=True,
    )
