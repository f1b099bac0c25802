"""Exported windows keep the format of other harnesses, and their functions run without SurgRec."""

import ast
import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from surgrec.yaml_files import parse_yaml
from tests.support.tool import refusal, surgrec_here
from tests.vlms.test_command import WINDOWS, labeled_copy


@pytest.fixture(scope="module")
def corpus(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labeled copy of the tiny corpus, and a split beside it."""
    return labeled_copy(tiny_corpus, tmp_path_factory.mktemp("labeled"))


def export(corpus: Path, out: Path, harness: str, *options: object) -> Path:
    done = surgrec_here(
        *("vlm", corpus, "--task", "phase", "--split", corpus.parent / "split.yaml"),
        *("--out", out, "--window_frames", 4, "--frames", 2, "--image_px", 32),
        *("--allow_unknown_pretraining", "true", "--export", harness, *options),
    )
    assert done.returncode == 0, done.stderr
    return out / harness


def process(folder: Path, row: dict[str, Any], answers: list[str]) -> list[dict[str, float]]:
    """Return the results of exported functions, run by a Python that has no SurgRec."""
    program = """
import json, runpy, sys
sys.modules["surgrec"] = None
functions = runpy.run_path(sys.argv[1])
row, answers = json.loads(sys.argv[2])
assert functions["doc_to_text"](row) == row["question"]
assert [image.size for image in functions["doc_to_visual"](row)] == [(32, 32)] * 2
print(json.dumps([functions["process_results"](row, [each]) for each in answers]))
"""
    words = [sys.executable, "-c", program, str(folder / "utils.py"), json.dumps([row, answers])]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=folder)
    results: list[dict[str, float]] = json.loads(done.stdout)
    return results


def test_a_task_of_lmms_eval_has_rows_images_and_functions(corpus: Path, tmp_path: Path) -> None:
    folder = export(corpus, tmp_path, "lmms-eval")
    rows = [json.loads(line) for line in (folder / "test.jsonl").read_text().splitlines()]
    assert len(rows) == WINDOWS
    assert {row["answer"] for row in rows} == {"A", "B"}
    with Image.open(rows[0]["images"][1]) as image:
        assert (image.format, image.size) == ("JPEG", (32, 32))

    text = (folder / "surgrec_phase.yaml").read_text().replace("!function ", "")
    task = parse_yaml(text, "task")
    assert task["dataset_kwargs"] == {"data_files": {"test": str(folder / "test.jsonl")}}
    assert (task["task"], task["doc_to_visual"]) == ("surgrec_phase", "utils.doc_to_visual")

    right, wrong = rows[0]["answer"], "B" if rows[0]["answer"] == "A" else "A"
    found = process(folder, rows[0], [f"Answer: {right}", wrong, "A grasper is visible."])
    assert [each["accuracy"] for each in found] == [1, 0, 0]
    assert [each["unread"] for each in found] == [0, 0, 1]


def test_several_labels_are_exported_as_booleans(corpus: Path, tmp_path: Path) -> None:
    folder = export(corpus, tmp_path, "lmms-eval", "--task_kind", "labels")
    row = json.loads((folder / "test.jsonl").read_text().splitlines()[0])
    assert row["answers"] == ["access"]
    right = json.dumps({"access": True, "closure": False})
    assert process(folder, row, [right, "access"])[0] == {"accuracy": 1, "unread": 0}


def test_a_table_of_vlmevalkit_has_a_column_for_each_option(corpus: Path, tmp_path: Path) -> None:
    folder = export(corpus, tmp_path, "vlmevalkit")
    with (folder / "surgrec_phase.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) == WINDOWS
    assert (rows[0]["A"], rows[0]["B"], rows[0]["answer"]) == ("access", "closure", "A")
    assert all(Path(path).is_file() for path in ast.literal_eval(rows[0]["image_path"]))
    assert "Image 1, 0.75 s before the last image" in rows[0]["question"]
    assert "A)" not in rows[0]["question"], "the harness adds the options"


def test_an_export_asks_no_model_and_needs_none(corpus: Path, tmp_path: Path) -> None:
    folder = export(corpus, tmp_path, "vlmevalkit")
    assert not (folder.parent / "answers.jsonl").exists()
    arguments = ["vlm", corpus, "--task", "phase", "--split", corpus.parent / "split.yaml"]
    sentence = refusal(surgrec_here(*arguments, "--out", tmp_path), 1)
    assert "the model has no name; give --model NAME" in sentence
