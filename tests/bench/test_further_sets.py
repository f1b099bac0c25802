"""Data sets beyond those of the paper, from their published layouts to verdicts."""

import json
from pathlib import Path
from typing import Any

import pytest

import surgrec.tasks
from surgrec.yaml_files import parse_yaml, to_yaml
from tests.bench.benches import SmallBench, write_encoder
from tests.bench.further_trees import FOLDS, FURTHER_TREES
from tests.bench.trees import rendered, write_trees

TASKS = ("cataracts-step", "endoscapes2023-cvs", "grasp-phase", "heichole-instrument")
TASKS += ("pitvis-step", "polypdiag-polyp", "surgvu24-task")
_TRIPLETS = {"grasper,retract,gallbladder": 6, "hook,dissect,cystic_duct": 12}
TEST_WINDOWS = {
    # Windows of 1 s, and of CholecT50 4 s, of two test cases of 8 s and 12 s; two parts each and a
    # stride of 4 s in SurgVU24. The second instrument of HeiChole ends a second early.
    "cataracts-step": (16, {"Incision": 8, "Phacoemulsification": 8}),
    "cholect50-triplet-fold1": (18, _TRIPLETS),
    "cholect50-triplet-fold2": (18, _TRIPLETS),
    "endoscapes2023-cvs": (6, {"C1": 2, "C2": 4, "C3": 2}),
    "grasp-phase": (16, {"Bladder neck": 8, "Retzius space": 8}),
    "heichole-instrument": (16, {"clipper": 6, "grasper": 8}),
    "pitvis-step": (14, {"1": 8, "4": 6}),
    "surgvu24-task": (8, {"Retraction and collision avoidance": 4, "Suturing": 4}),
}
"""Test windows that count, and those of each class."""
UNLABELED = {
    # Only labeled seconds count, also the one without a met criterion; the first has no window.
    "endoscapes2023-cvs": 2 * (13 - 3),
    # The last second of a video has a step that is not scored.
    "pitvis-step": 2,
}


@pytest.mark.slow
def test_a_task_of_each_further_layout_comes_to_its_verdicts(tmp_path: Path) -> None:
    write_trees(tmp_path / "data", rendered(tmp_path / "phantom"), writers=FURTHER_TREES)
    bench = SmallBench(
        root=tmp_path / "data",
        tasks=[*TASKS, two_folds(tmp_path)],
        encoders={
            name: write_encoder(tmp_path / f"{name}.safetensors", seed=seed)
            for seed, name in enumerate(("first", "second"))
        },
        out=tmp_path / "out",
    )
    run = bench.run()
    assert run.returncode == 0, run.stderr[-3000:]

    for task, (windows, classes) in TEST_WINDOWS.items():
        record = evaluation(bench, task)
        assert record["counts"]["test"]["windows"] == windows, task
        assert record["counts"]["test"]["unlabeled"] == UNLABELED.get(task, 0), task
        assert {row["value"]: row["test"] for row in record["classes"]} == classes, task

    # Every task has a score, a verdict over random weights and a rank of both encoders.
    rows = bench.rows
    assert len(rows) == 2 * (len(TASKS) + len(FOLDS) + 1), "CholecT50 has folds and their mean"
    for (task, method), row in rows.items():
        assert float(row["value"]) <= 1, (task, method, row["sentence"])
        assert row["rank"], (task, method)
        assert row["over_random"] or task == "cholect50-triplet", (task, method)
        assert task in bench.page

    # A label of a video is scored once, whatever its windows.
    row = rows["polypdiag-polyp", "first"]
    assert (row["scored"], row["test_videos"]) == ("videos", "4")
    assert int(row["test_windows"]) > 4
    assert "4 videos scored by the means of" in bench.page


def two_folds(folder: Path) -> str:
    """Return the file of the card of CholecT50 with the folds that its tree has."""
    card = Path(surgrec.tasks.__file__).parent / "cards/cholect50-triplet.yaml"
    content = parse_yaml(card.read_bytes(), card.name)
    content["split"]["names"] = list(FOLDS)
    path = folder / card.name
    path.write_text(to_yaml(content), encoding="utf-8")
    return str(path)


def evaluation(bench: SmallBench, task: str) -> dict[str, Any]:
    """Return the results of the first encoder on a task."""
    path = bench.out / f"tasks/{task}/results/first/evaluation.json"
    return dict(json.loads(path.read_text(encoding="utf-8")))
