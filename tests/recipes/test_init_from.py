"""From a published file to a continued run: `surgrec import`, `--init_from`, `surgrec export`."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from surgrec.errors import CheckpointError
from surgrec.models import encoder_provenance, read_encoder
from surgrec.runs.drawn import pretraining_data
from surgrec.storage import file_sha256
from surgrec.training import Checkpoints
from tests.support.documents import parse_config
from tests.support.in_process import train
from tests.support.processes import ROOT, load_recipe
from tests.support.tool import surgrec_here
from tests.support.weight_layouts import (
    random_tensors,
    videomae_file,
    videomae_model,
    vjepa_encoder,
    vjepa_file,
    vjepa_predictor,
)

# A learning rate of 0; the tiny config has a warm-up from 1e-4.
NO_STEP = ["--optimizer.lr", "{value: 0.0, start: null, warmup_steps: 0}"]


def surgrec(*words: object) -> str:
    """Run a command of the console script and return its standard error."""
    command = [str(Path(sys.executable).with_name("surgrec")), *(str(word) for word in words)]
    finished = subprocess.run(command, check=False, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return finished.stderr


@pytest.mark.slow
def test_a_published_encoder_is_imported_continued_resumed_and_exported(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    target = random_tensors(vjepa_encoder(96, 4, 384, 8), 2)
    predictor = random_tensors(vjepa_predictor(96, 48, 2, 10), 3)
    vjepa_file(
        tmp_path / "vitl.pt",
        encoder=random_tensors(vjepa_encoder(96, 4, 384, 8), 1),
        target_encoder=target,
        predictor=predictor,
    )
    imported, run_dir = tmp_path / "vitl.safetensors", tmp_path / "run"
    report = surgrec(
        "import", tmp_path / "vitl.pt", "--out", imported, "--num_heads", 3, "--predictor_heads", 3
    )
    assert "license MIT" in report

    train("jepa", tiny_corpus, run_dir, "--init_from", imported, *NO_STEP)
    facts = encoder_provenance(run_dir / "encoder.safetensors")["init_from"]
    assert (facts["name"], facts["sha256"]) == ("vitl.safetensors", file_sha256(imported))
    assert (facts["license"], facts["init_from"]["name"]) == ("MIT", "vitl.pt")
    assert facts["initialized"] == ["encoder", "predictor"]
    assert (facts["drawn"], facts["init_from"]["drawn"]) == ({"sources": {}}, None)
    checkpoints = Checkpoints(run_dir, keep=1)
    written, target_encoder = (
        read_encoder(run_dir / "encoder.safetensors").state_dict(),
        checkpoints.tensors(2, "target_encoder"),
    )
    student = checkpoints.tensors(2, "objective")
    for name, tensor in target.items():
        for actual in (written[name], target_encoder[name], student[f"encoder.{name}"]):
            torch.testing.assert_close(
                actual, tensor, atol=0, rtol=0, msg=f"{name} did not start from the target encoder"
            )

    imported.unlink()
    train(
        "jepa",
        tiny_corpus,
        run_dir,
        "--init_from",
        imported,
        *NO_STEP,
        "--steps",
        "3",
        "--resume",
        "true",
    )
    assert encoder_provenance(run_dir / "encoder.safetensors")["init_from"] == facts
    with pytest.raises(
        CheckpointError, match=r"started from vitl\.safetensors, not from random weights"
    ):
        train("jepa", tiny_corpus, run_dir, *NO_STEP, "--steps", "4", "--resume", "true")

    report = surgrec("export", run_dir, "--format", "hf", "--out", tmp_path / "hf")
    assert "encoder and predictor" in report
    assert "license: mit" in (tmp_path / "hf/README.md").read_text(encoding="utf-8")


def test_an_external_file_initializes_the_predictor_or_decoder_too(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    predictor = random_tensors(vjepa_predictor(96, 48, 2, 10), 3)
    vjepa_file(
        tmp_path / "vitl.pt",
        target_encoder=random_tensors(vjepa_encoder(96, 4, 384, 8)),
        predictor=predictor,
    )
    train("jepa", tiny_corpus, tmp_path / "jepa", "--init_from", tmp_path / "vitl.pt")
    facts = encoder_provenance(tmp_path / "jepa/encoder.safetensors")["init_from"]
    assert facts["initialized"] == ["encoder", "predictor"]

    given = ["--init_format", "surgrec", "--init_license", "CC-BY-4.0"]
    vjepa_file(
        tmp_path / "surgrec.pt",
        encoder=random_tensors(vjepa_encoder(96, 4, 384, 8), 1),
        predictor=predictor,
    )
    train("jepa", tiny_corpus, tmp_path / "given", "--init_from", tmp_path / "surgrec.pt", *given)
    facts = encoder_provenance(tmp_path / "given/encoder.safetensors")["init_from"]
    assert (facts["format"], facts["license"]) == ("surgrec-vjepa2", "CC-BY-4.0")
    assert facts["given"] == {"format": "surgrec", "license": "CC-BY-4.0"}
    more = ["--init_from", tmp_path / "surgrec.pt", "--steps", "3", "--resume", "true"]
    with pytest.raises(CheckpointError, match="not auto and None"):
        train("jepa", tiny_corpus, tmp_path / "given", *more)

    videomae_file(
        tmp_path / "vitb.pth", random_tensors(videomae_model(96, 4, 384, 8, (48, 2, 192)))
    )
    train("mae", tiny_corpus, tmp_path / "mae", "--init_from", tmp_path / "vitb.pth")
    facts = encoder_provenance(tmp_path / "mae/encoder.safetensors")["init_from"]
    assert (facts["initialized"], facts["license"]) == (["encoder", "decoder"], "CC-BY-NC-4.0")


def test_the_continued_config_is_a_cooldown_of_a_published_encoder() -> None:
    words = ["--config", str(ROOT / "recipes/configs/jepa_vitl16_continued.yaml")]
    words += ["--corpus", "c", "--run_dir", "r", "--init_from", "vitl.pt"]
    config = parse_config({"jepa": load_recipe("jepa")}, "jepa", words)
    lr = config.optimizer.lr
    assert (lr.decay, lr.end, lr.end_step) == ("linear", 1e-6, config.steps)
    assert lr.value == pytest.approx(5.25e-4 * config.global_batch / 3072, rel=0.01)
    assert (config.encoder.width, config.encoder.depth, config.encoder.num_heads) == (1024, 24, 16)
    predictor = config.objective.predictor
    assert (predictor.width, predictor.depth, predictor.num_heads) == (384, 12, 12)
    assert config.momentum.value == 0.99925


def test_the_drawn_videos_stay_known_over_runs_exports_and_imports(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    only_gamma = ["--mixture.weights", "{alpha: 0.0, beta: 0.0}"]
    train("mae", tiny_corpus, tmp_path / "first", *only_gamma)
    only_beta = ["--mixture.weights", "{alpha: 0.0, gamma: 0.0}"]
    train("mae", tiny_corpus, tmp_path / "second", *only_beta, "--init_from", tmp_path / "first")
    words = ["--num_heads", 3, "--num_frames", 8, "--crop_px", 64, "--decoder_heads", 3]
    vit = tmp_path / "vit.safetensors"
    for command in (
        ["export", tmp_path / "second", "--format", "videomae", "--out", tmp_path / "vit.pt"],
        ["import", tmp_path / "vit.pt", "--out", vit, *words],
        ["export", tmp_path / "second", "--format", "hf", "--out", tmp_path / "hf"],
    ):
        assert surgrec_here(*command).returncode == 0

    for path in (tmp_path / "second/encoder.safetensors", vit):
        data = pretraining_data(encoder_provenance(path), "vit")
        assert [name for each in data.records for name in each.sources] == ["beta", "gamma"]
        assert data.unknown == ()
    assert '"drawn"' not in (tmp_path / "hf/README.md").read_text(encoding="utf-8")
