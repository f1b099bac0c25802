"""A small encoder, and the features of the tiny corpus from an undisturbed extraction."""

from pathlib import Path

import pytest
import torch

from surgrec.features import EncoderChoice, ExtractConfig, extract
from surgrec.models import Encoder, EncoderConfig, save_encoder

TINY = EncoderConfig(width=24, depth=1, num_heads=3, patch_size=8, num_frames=4, crop_px=32)
CONFIG = ExtractConfig(stride_s=0.5, batch=8, device="cpu")


def save_run(folder: Path, seed: int) -> Path:
    """Write a run folder with an encoder trained at 4 frames per second; return the folder."""
    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    save_encoder(
        Encoder(TINY),
        folder / "encoder.safetensors",
        {"config": {"sampling_fps": 4.0}, "recipe": "jepa"},
    )
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """Return the bytes of each file of a folder, except the lock, by relative path."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run. Tests must not change it."""
    return save_run(tmp_path_factory.mktemp("runs") / "tiny", seed=0)


@pytest.fixture(scope="session")
def undisturbed(tiny_corpus: Path, run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of the tiny corpus by one process. Tests must not change them."""
    out = tmp_path_factory.mktemp("features") / "undisturbed"
    list(extract([str(tiny_corpus)], EncoderChoice(path=run_dir), CONFIG, out))
    return out
