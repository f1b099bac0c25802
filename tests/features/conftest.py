"""A small encoder, and features of the tiny corpus that nothing disturbed."""

from pathlib import Path

import pytest
import torch

from surgrec.features import EncoderChoice, ExtractConfig, extract
from surgrec.models import Encoder, EncoderConfig, save_encoder

TINY = EncoderConfig(width=24, depth=1, num_heads=3, patch_size=8, num_frames=4, crop_px=32)
CONFIG = ExtractConfig(stride_s=0.5, batch=8, device="cpu")


def save_run(folder: Path, seed: int) -> Path:
    """A run folder with an encoder that was trained at 4 frames per second."""
    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    save_encoder(
        Encoder(TINY),
        folder / "encoder.safetensors",
        {"config": {"sampling_fps": 4.0}, "recipe": "jepa"},
    )
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but the lock."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run. Read only."""
    return save_run(tmp_path_factory.mktemp("runs") / "tiny", seed=0)


@pytest.fixture(scope="session")
def undisturbed(tiny_corpus: Path, run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of the tiny corpus by one process. Read only."""
    out = tmp_path_factory.mktemp("features") / "undisturbed"
    list(extract([str(tiny_corpus)], EncoderChoice(path=run_dir), CONFIG, out))
    return out
