"""Encoders of an extraction: trained or random weights, their frame rate and their facts."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from surgrec.errors import CheckpointError, ConfigError, MissingError
from surgrec.features import EncoderChoice, FrozenEncoder, open_encoder
from surgrec.models import Encoder, save_encoder
from surgrec.storage import file_sha256
from tests.features.conftest import TINY

CPU = torch.device("cpu")


def weights(frozen: FrozenEncoder) -> torch.Tensor:
    """Return all weights as one vector."""
    return torch.cat([parameter.flatten() for parameter in frozen.encoder.parameters()])


def test_a_run_and_its_file_give_the_same_frozen_encoder_with_its_facts(run_dir: Path) -> None:
    path = run_dir / "encoder.safetensors"
    by_run, by_file = (open_encoder(EncoderChoice(path=choice), CPU) for choice in (run_dir, path))
    assert torch.equal(weights(by_run), weights(by_file))
    assert not by_run.encoder.training
    assert not any(parameter.requires_grad for parameter in by_run.encoder.parameters())
    assert (by_run.sampling.num_frames, by_run.sampling.fps) == (4, 4.0)
    assert by_run.facts["sha256"] == file_sha256(path)
    assert by_run.facts["config"]["width"] == 24
    assert by_run.facts["provenance"]["recipe"] == "jepa"
    assert (by_run.facts["name"], by_file.facts["name"]) == ("tiny", "encoder")
    json.dumps(by_run.facts)


def test_random_weights_depend_on_the_seed_and_keep_the_random_state(run_dir: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = open_encoder(EncoderChoice(path=run_dir, random_seed=1), CPU)
    assert torch.equal(torch.rand(3), expected)

    again, other = (
        open_encoder(EncoderChoice(path=run_dir, random_seed=seed), CPU) for seed in (1, 2)
    )
    trained = open_encoder(EncoderChoice(path=run_dir), CPU)

    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))
    assert len({frozen.facts["sha256"] for frozen in (first, again, other, trained)}) == 3
    assert first.facts["provenance"] == {}
    assert first.facts["config"] == trained.facts["config"]
    assert first.sampling == trained.sampling


def test_the_frame_rate_can_be_chosen_and_must_be_known(run_dir: Path, tmp_path: Path) -> None:
    assert open_encoder(EncoderChoice(path=run_dir, fps=2.0), CPU).sampling.fps == 2.0
    path = tmp_path / "bare.safetensors"
    save_encoder(Encoder(TINY), path, {})
    with pytest.raises(
        ConfigError, match=rf"{path} does not contain the frame rate .*; give --fps"
    ):
        open_encoder(EncoderChoice(path=path), CPU)
    assert open_encoder(EncoderChoice(path=path, fps=3.0), CPU).sampling.fps == 3.0


def test_a_path_without_an_encoder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=f"{tmp_path}/none does not exist"):
        open_encoder(EncoderChoice(path=tmp_path / "none"), CPU)
    with pytest.raises(MissingError, match=f"{tmp_path} has no encoder.safetensors"):
        open_encoder(EncoderChoice(path=tmp_path), CPU)
    (tmp_path / "encoder.safetensors").write_bytes(b"not an encoder")
    with pytest.raises(CheckpointError, match=f"{tmp_path}/encoder.safetensors"):
        open_encoder(EncoderChoice(path=tmp_path), CPU)


def test_an_encoder_overwritten_while_it_is_read_is_refused(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(run_dir, tmp_path / "run")
    path = tmp_path / "run/encoder.safetensors"

    def load_and_replace(path: Path) -> Encoder:
        encoder = Encoder(TINY)
        save_encoder(encoder, path, {"config": {"sampling_fps": 4.0}})
        return encoder

    monkeypatch.setattr("surgrec.features._encoders.read_encoder", load_and_replace)
    with pytest.raises(ConfigError, match=f"{path} was overwritten while it was being read"):
        open_encoder(EncoderChoice(path=tmp_path / "run"), CPU)
