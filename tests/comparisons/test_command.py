"""`surgrec compare` reads the files that `surgrec evaluate` wrote."""

import csv
import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from surgrec.commands.main import main
from surgrec.comparisons import compare
from tests.evaluation.test_evaluate import SPLIT, evaluate, write_run
from tests.support.evaluations import write_labels
from tests.support.results import write_result
from tests.support.tool import refusal, surgrec_here
from tests.support.weight_layouts import (
    random_tensors,
    videomae_file,
    videomae_model,
    vjepa_encoder,
    vjepa_file,
)

SMALL_DINO = {"img_size": 28, "depth": 2, "embed_dim": 24, "num_heads": 3}
PRESETS = {
    "dinov2": (
        "dinov2.safetensors",
        f"base: dinov2_vits14\narguments: {SMALL_DINO}\npreprocessing: {{size_px: 28}}\n",
    ),
    "videomae": (
        "videomae.pth",
        "base: videomae_k400\npreprocessing: {size_px: 32}\nnum_heads: 2\n",
    ),
    "vjepa2": (
        "vjepa2.pt",
        "base: vjepa2\nnum_frames: 8\nfps: 3.5\npreprocessing: {size_px: 48}\nnum_heads: 2\n",
    ),
}
"""File of the weights and preset: the published frames, rates and layouts, with small networks."""


@pytest.mark.slow
def test_two_evaluated_runs_are_compared(
    corpus_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_labels(corpus_copy)
    runs = []
    for seed in range(2):
        torch.manual_seed(seed)
        runs.append(write_run(tmp_path / f"run{seed}", corpus_copy, weights={"beta": 0.0}))
        assert evaluate(corpus_copy, runs[-1]) == 0
    capsys.readouterr()

    with pytest.MonkeyPatch.context() as patch:
        words = ["compare", *map(str, runs), "--out", str(tmp_path / "out")]
        patch.setattr("sys.argv", ["surgrec", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
    shown = " ".join(capsys.readouterr().out.split())
    # Untrained encoders on so few windows predict one class.
    assert "trained, knn predicts the same for all windows; no mean, rank, pair" in shown
    assert "over 2 cases" in (tmp_path / "out/comparison.md").read_text(encoding="utf-8")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "comparison.html",
        "comparison.md",
        "comparison.tex",
        "pairs.csv",
        "scores.csv",
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_presets_of_other_frames_rates_and_pixels_are_compared(
    corpus_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Evaluate an image model, VideoMAE and V-JEPA 2 from files in their published layouts."""
    write_labels(corpus_copy)
    image = timm.create_model("vit_small_patch14_dinov2", num_classes=0, **SMALL_DINO)
    save_file(image.state_dict(), tmp_path / "dinov2.safetensors")
    videomae_file(tmp_path / "videomae.pth", random_tensors(videomae_model(24, 2, 96, 16), 1))
    jepa = random_tensors(vjepa_encoder(48, 2, 192, 16), 2)
    vjepa_file(tmp_path / "vjepa2.pt", target_encoder=jepa)
    words = []
    for name, (weights, text) in PRESETS.items():
        preset = tmp_path / f"{name}.yaml"
        preset.write_text(text, encoding="utf-8")
        more = ["--weights", str(tmp_path / weights), "--out", str(tmp_path / "results" / name)]
        allowed = ["--allow_pretraining_overlap", "true", "--allow_unknown_pretraining", "true"]
        assert evaluate(corpus_copy, preset, SPLIT, *more, *allowed) == 0
        words.append(f"{name}={tmp_path / 'results' / name}")
    records = [
        json.loads((tmp_path / "results" / name / "evaluation.json").read_text())
        for name in PRESETS
    ]
    assert len({record["encoder"]["sha256"] for record in records}) == 3
    assert ["4 frames at 1 " in each["protocol"] for each in records] == [True, False, False]
    assert ["16 frames at 7.5 " in each["protocol"] for each in records] == [False, True, False]

    # Labels are 3 s after the start of a window of the image model, 2 s of the others.
    comparison = compare(words)
    (data_set,) = comparison.data_sets
    assert [each.name for each in comparison.methods] == list(PRESETS)
    assert data_set.windows.time_s.min() == 3.0
    sentence = "phase, split sources: 24 windows compared, 2 of {} left out (and 0 whole cases)"
    for name in ("videomae", "vjepa2"):
        assert any(each.startswith(sentence.format(name)) for each in comparison.left_out)
    kinds = {(row.method, row.features) for row in data_set.rows}
    features = ("trained", "random", "pixels")
    assert kinds >= {(name, each) for name in PRESETS for each in features}

    capsys.readouterr()
    done = surgrec_here("compare", *words, "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out/comparison.html").read_text(encoding="utf-8")
    assert all(record["encoder"]["sha256"] in page for record in records)


def test_json_has_the_rows_of_the_tables(tmp_path: Path) -> None:
    results = [write_result(tmp_path / name, seed=seed) for seed, name in enumerate("ab")]
    done = surgrec_here("compare", *results, "--out", tmp_path / "out", "--json")
    record = json.loads(done.stdout, parse_constant=pytest.fail)
    for name in ("scores", "pairs"):
        with (tmp_path / f"out/{name}.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert len(record[name]) == len(rows) > 0
        assert [*record[name][0]] == [*rows[0]]
    assert record["verdicts"]


def test_a_refusal_is_one_sentence(tmp_path: Path) -> None:
    first = write_result(tmp_path / "a")
    second = write_result(tmp_path / "b", seed=1, split={"name": "official", "sha256": "12" * 32})
    sentence = refusal(surgrec_here("compare", str(first), str(second), "--out", "out"), 1)
    assert f"{first} and {second} cannot be paired" in sentence
    assert "480 windows, 3 classes" in sentence
    assert "split file 12121212" in sentence
