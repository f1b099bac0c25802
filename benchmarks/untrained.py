"""Write an encoder file with random weights, of the architecture of a run.

.venv/bin/python -m benchmarks.untrained RUN FILE.safetensors SEED
"""

import sys
from pathlib import Path

import torch

from surgrec.models import ENCODER_FILE, Encoder, read_encoder, save_encoder


def main(run: str, file: str, seed: str) -> None:
    """Write the file."""
    config = read_encoder(Path(run) / ENCODER_FILE).config
    torch.manual_seed(int(seed))
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    save_encoder(Encoder(config), Path(file), {})


if __name__ == "__main__":
    main(*sys.argv[1:])
