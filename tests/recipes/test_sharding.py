"""Sharded runs train as unsharded ones, and their checkpoints fit any number of ranks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from surgrec.models import encoder_provenance, read_encoder
from surgrec.runs import read_rows
from tests.support.processes import ROOT
from tests.support.sharded_program import RESAVED

pytestmark = pytest.mark.slow
MEASURED = [("probe.jsonl", "score"), ("drift.jsonl", "cosine")]


@pytest.fixture(scope="module")
def folder(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folders of sharded and unsharded runs."""
    folder = tmp_path_factory.mktemp("sharded")
    program = str(ROOT / "tests/support/sharded_program.py")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    words = [sys.executable, program, str(tiny_corpus), str(folder)]
    ended = subprocess.run(words, env=environment, timeout=1200, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-6000:]
    assert "view tensor" not in ended.stderr, "FSDP2 warns of outputs that are views"
    return folder


def column(path: Path, name: str) -> list[float]:
    return [row[name] for row in read_rows(path)]


@pytest.mark.parametrize(("name", "rounding"), [("jepa", 1e-5), ("mae", 1e-3)])
def test_losses_and_gradient_norms_do_not_depend_on_the_sharding(
    folder: Path, name: str, rounding: float
) -> None:
    """Parts, recomputed activations and clipping are used in all runs; the MAE's are in bf16."""
    whole, sharded = folder / f"{name}-none", folder / f"{name}-full"
    for key in ("loss", "gradient_norm"):
        expected = column(whole / "metrics.jsonl", key)
        assert len(set(expected)) == 4, "the weights move"
        found = column(sharded / "metrics.jsonl", key)
        assert found == pytest.approx(expected, rel=rounding), (found, expected)
    encoders = [load_file(run_dir / "encoder.safetensors") for run_dir in (whole, sharded)]
    assert encoders[0].keys() == encoders[1].keys()
    for key, tensor in encoders[0].items():
        assert tensor.sub(encoders[1][key]).abs().max() < 1e-4, key


def test_a_sharded_run_goes_on_bit_for_bit(folder: Path) -> None:
    losses = [column(folder / name / "metrics.jsonl", "loss") for name in ("jepa-cut", "jepa-full")]
    assert losses[0] == losses[1]
    names = ["objective.safetensors", "target_encoder.safetensors", "optimizer.safetensors"]
    for name in names:
        path = Path("checkpoints/step-00000004") / name
        expected = (folder / "jepa-full" / path).read_bytes()
        assert (folder / "jepa-cut" / path).read_bytes() == expected


@pytest.mark.parametrize("sharding", ["none", "full"])
def test_probe_and_drift_of_two_ranks_equal_those_of_one(folder: Path, sharding: str) -> None:
    """Each rank measures clips of its own; with sharding, with a whole copy of the encoder."""
    alone, shared = folder / "watched-alone", folder / f"watched-{sharding}"
    probes, drifts = (column(alone / name, key) for name, key in MEASURED)
    assert len(probes) == 3
    assert 1 > drifts[0] > drifts[1] > 0, "the weights move"
    assert column(shared / "probe.jsonl", "score") == pytest.approx(probes, abs=1e-6)
    assert column(shared / "drift.jsonl", "cosine") == pytest.approx(drifts, rel=1e-5)

    best = [run_dir / "encoder_best.safetensors" for run_dir in (alone, shared)]
    records = [encoder_provenance(path) for path in best]
    assert records[0]["step"] == records[1]["step"]
    assert records[0]["probe"]["score"] == pytest.approx(records[1]["probe"]["score"], abs=1e-6)
    tensors = [read_encoder(path).state_dict() for path in best]
    assert tensors[0].keys() == tensors[1].keys()
    for key, tensor in tensors[0].items():
        assert tensor.sub(tensors[1][key]).abs().max() < 1e-4, key


@pytest.mark.parametrize("sharding", ["none", "full"])
@pytest.mark.parametrize(("name", "key"), MEASURED)
def test_a_resumed_start_measures_the_weights_of_its_checkpoint_on_every_rank(
    folder: Path, sharding: str, name: str, key: str
) -> None:
    undisturbed = column(folder / f"watched-{sharding}" / name, key)
    assert column(folder / f"watched-cut-{sharding}" / name, key) == undisturbed[-2:]


def test_a_checkpoint_of_four_ranks_loads_on_two(folder: Path) -> None:
    step = Path("checkpoints/step-00000002")
    original, saved = folder / "jepa-four" / step, folder / "saved-four-to-two" / step
    for path in original.glob("*.safetensors"):
        assert (saved / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.parametrize(("ranks", "sharding"), RESAVED)
def test_a_checkpoint_of_shards_loads_on_any_number_of_ranks(
    folder: Path, ranks: int, sharding: str
) -> None:
    """The start has loaded it and saved it again."""
    (saved,) = (folder / f"saved-{ranks}-{sharding}/checkpoints").iterdir()
    original = folder / "jepa-full/checkpoints/step-00000004"
    files = sorted(path.name for path in original.glob("*.safetensors"))
    assert files == ["objective.safetensors", "optimizer.safetensors", "target_encoder.safetensors"]
    for name in files:
        assert (saved / name).read_bytes() == (original / name).read_bytes(), name
