"""`surgrec evaluate` of encoders of other projects: a preset by its path, and an ONNX model."""

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from tests.evaluation.test_evaluate import SPLIT, evaluate
from tests.support.evaluations import write_labels

SIZES = {"img_size": 32, "depth": 1, "embed_dim": 24, "num_heads": 3}
STATED = """\
num_frames: 4
fps: 4
preprocessing: {size_px: 32}
pretraining: {data: [ImageNet-1k], has_surgery: "no"}
"""
VIT = "base: dinov2_vits14\nmodel: vit_tiny_patch16_224\n" + f"arguments: {SIZES}\n" + STATED
ONNX = "summary: mine\nreader: onnx\nlicense: MIT\nsource: ours\n" + STATED


def tiny_vit(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return timm.create_model("vit_tiny_patch16_224", num_classes=0, **SIZES).eval()


def saved(path: Path, seed: int = 0) -> Path:
    save_file(tiny_vit(seed).state_dict(), path)
    return path


def exported(path: Path) -> Path:
    example, axes = torch.zeros(2, 3, 32, 32), {"frames": {0: "n"}}
    torch.onnx.export(
        tiny_vit(), (example,), path, input_names=["frames"], dynamic_axes=axes, dynamo=False
    )
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("preset", "write", "name"),
    [(VIT, saved, "w.safetensors"), (ONNX, exported, "m.onnx")],
    ids=["image model", "ONNX"],
)
def test_an_encoder_of_another_project_is_evaluated_beside_its_random_weights(
    corpus_copy: Path, tmp_path: Path, preset: str, write, name: str
) -> None:
    write_labels(corpus_copy)
    path = tmp_path / "mine.yaml"
    path.write_text(preset, encoding="utf-8")
    weights, out = write(tmp_path / name), tmp_path / "out"
    more = ("--weights", str(weights), "--out", str(out), "--fps", "4")
    assert evaluate(corpus_copy, path, SPLIT, *more) == 0

    record = json.loads((out / "evaluation.json").read_text())
    assert record["encoder"]["name"] == "mine"
    assert record["encoder"]["preprocessing"]["size_px"] == 32
    seeds = {row["features"]: row["seeds"] for row in record["scores"]}
    assert (seeds["trained"], seeds["random"]) == (1, 3)
    assert len(list((out / "features").iterdir())) == 5


def test_pixels_are_evaluated_without_another_encoder(corpus_copy: Path, tmp_path: Path) -> None:
    write_labels(corpus_copy)
    path, out = tmp_path / "mine.yaml", tmp_path / "out"
    path.write_text("base: pixels\nnum_frames: 4\n", encoding="utf-8")
    assert evaluate(corpus_copy, path, SPLIT, "--out", str(out)) == 0
    record = json.loads((out / "evaluation.json").read_text())
    assert record["verdicts"] == []
    assert {row["features"] for row in record["scores"]} == {"trained", "none"}
    assert record["overrides"] == [], "pixels saw no data before"
    assert record["protocol"].startswith("No encoder; pixels: 64 principal components")


@pytest.mark.slow
def test_all_encoders_with_the_same_windows_share_the_pixels(
    corpus_copy: Path, tmp_path: Path
) -> None:
    write_labels(corpus_copy)
    path, shared = tmp_path / "mine.yaml", tmp_path / "shared"
    path.write_text(VIT, encoding="utf-8")
    scores = []
    for seed, name in enumerate(("one", "two")):
        weights = saved(tmp_path / f"{name}.safetensors", seed)
        more = ("--weights", str(weights), "--out", str(tmp_path / name), "--fps", "4")
        assert evaluate(corpus_copy, path, SPLIT, *more, "--features", str(shared)) == 0
        record = json.loads((tmp_path / name / "evaluation.json").read_text())
        scores.append([row["metrics"] for row in record["scores"] if row["features"] == "pixels"])
    assert scores[0] == scores[1] != []
    assert len(list(shared.glob("pixels-*"))) == 1
    assert len(list(shared.glob("trained-*"))) == 2


def test_a_source_of_the_encoders_pretraining_needs_the_option_for_overlaps(
    corpus_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_labels(corpus_copy)
    path, weights = tmp_path / "mine.yaml", saved(tmp_path / "w.safetensors")
    path.write_text(VIT.replace("[ImageNet-1k]", "[Beta]"), encoding="utf-8")
    more = ("--weights", str(weights), "--out", str(tmp_path / "out"))
    assert evaluate(corpus_copy, path, SPLIT, *more, "--allow_unknown_pretraining", "true") == 1
    message = " ".join(capsys.readouterr().err.split())
    assert "beta has the name of Beta" in message
    assert "give --allow_pretraining_overlap true" in message
    assert not (tmp_path / "out").exists(), "nothing was computed"


def test_evaluations_share_a_folder_of_features(corpus_copy: Path, tmp_path: Path) -> None:
    write_labels(corpus_copy)
    path, shared = tmp_path / "mine.yaml", tmp_path / "shared"
    path.write_text(VIT, encoding="utf-8")
    weights = saved(tmp_path / "w.safetensors")
    written: list[dict[Path, int]] = []
    for name in ("one", "two"):
        more = ("--weights", str(weights), "--out", str(tmp_path / name))
        assert evaluate(corpus_copy, path, SPLIT, *more, "--features", str(shared)) == 0
        files = shared.rglob("*.safetensors")
        written.append({file: file.stat().st_mtime_ns for file in files})
        assert not (tmp_path / name / "features").exists()
    assert written[0] == written[1] != {}
    first, second = ((tmp_path / name / "evaluation.json").read_bytes() for name in ("one", "two"))
    assert first == second
