"""Encoders of an extraction: trained or random weights, their frame rate and their facts."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from surgrec.encoders import Preprocessing
from surgrec.errors import CheckpointError, ConfigError, MissingError
from surgrec.features import EncoderChoice, VideoEncoder, open_encoder
from surgrec.features.interface import prepare
from surgrec.models import Encoder, save_encoder
from surgrec.normalize import normalize
from surgrec.storage import file_sha256
from tests.features.conftest import TINY

CPU = torch.device("cpu")


def weights(encoder: VideoEncoder) -> torch.Tensor:
    """Return all weights as one vector."""
    return torch.cat([parameter.flatten() for parameter in encoder.network.parameters()])


@pytest.mark.parametrize("given", [None, Path("weights.bin")])
def test_a_misspelled_preset_is_told_the_near_names(given: Path | None) -> None:
    with pytest.raises(MissingError, match=r"^pixls does not exist, .* did you mean pixels\?"):
        open_encoder(EncoderChoice(path=Path("pixls"), weights=given), CPU)
    with pytest.raises(MissingError, match=r"did you mean dinov2_vitb14 or .*\?"):
        open_encoder(EncoderChoice(path=Path("dinov2-vitb14"), weights=given), CPU)


def test_a_run_and_its_file_give_the_same_frozen_encoder_with_its_facts(run_dir: Path) -> None:
    path = run_dir / "encoder.safetensors"
    by_run, by_file = (open_encoder(EncoderChoice(path=choice), CPU) for choice in (run_dir, path))
    assert torch.equal(weights(by_run), weights(by_file))
    assert not by_run.network.training
    assert not any(parameter.requires_grad for parameter in by_run.network.parameters())
    assert (by_run.sampling.num_frames, by_run.sampling.fps) == (4, 4.0)
    assert by_run.facts["sha256"] == file_sha256(path)
    assert by_run.facts["config"]["width"] == 24
    assert by_run.facts["provenance"]["recipe"] == "jepa"
    assert (by_run.facts["name"], by_file.facts["name"]) == ("tiny", "encoder")
    json.dumps(by_run.facts)


def test_an_encoder_states_its_input_and_gives_tokens_and_features(run_dir: Path) -> None:
    encoder = open_encoder(EncoderChoice(path=run_dir), CPU)
    assert (encoder.width, len(encoder.blocks), encoder.sampling.num_frames) == (24, 1, 4)
    assert encoder.preprocessing == Preprocessing(size_px=32)
    assert encoder.facts["preprocessing"]["crop"] == "central square"

    frames = torch.randint(0, 256, (4, 3, 50, 50), dtype=torch.uint8)
    prepared = prepare(frames, encoder.preprocessing, CPU)
    assert torch.equal(prepared, normalize(frames, 32, CPU, antialias=True))
    tokens = encoder.tokens(prepared.transpose(0, 1)[None])
    assert tokens.shape == (1, 2 * 4 * 4, 24)
    torch.testing.assert_close(encoder.features(prepared.transpose(0, 1)[None]), tokens.mean(1))


def test_preparation_follows_the_stated_steps() -> None:
    frames = torch.full((2, 3, 9, 9), 51, dtype=torch.uint8)  # 0.2 of white
    stated = Preprocessing(size_px=6, mean=(0.0, 0.1, 0.2), std=(1.0, 0.5, 0.25))
    prepared = prepare(frames, stated, CPU)
    expected = torch.tensor([0.2, 0.2, 0.0])[:, None, None].expand(2, 3, 6, 6)
    torch.testing.assert_close(prepared, expected)

    # A line of one pixel keeps its share of the light only if all pixels are averaged.
    line = torch.zeros((1, 3, 64, 64), dtype=torch.uint8)
    line[..., 33] = 255
    plain, smooth, cubic = (
        prepare(line, Preprocessing(size_px=8, mean=(0.0,) * 3, std=(1.0,) * 3, **more), CPU)
        for more in ({"antialias": False}, {}, {"interpolation": "bicubic"})
    )
    assert plain.max() == 0
    assert smooth.mean() == pytest.approx(1 / 64, rel=0.2)
    assert 0 <= cubic.min() < cubic.max() <= 1
    assert not torch.equal(smooth, cubic)


@pytest.mark.parametrize("steps", [{"size_px": 0}, {"size_px": 8, "std": (1.0, 0.0, 1.0)}])
def test_impossible_preprocessing_is_refused(steps: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="is 0"):
        Preprocessing(**steps)


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

    monkeypatch.setattr("surgrec.features.own_encoder.read_encoder", load_and_replace)
    with pytest.raises(ConfigError, match=f"{path} was overwritten while it was being read"):
        open_encoder(EncoderChoice(path=tmp_path / "run"), CPU)
