"""Memory of a GPU: what `surgrec plan` predicts, and what CUDA allocates. It needs a GPU.

    .venv/bin/python benchmarks/gpu_memory.py --name jepa_vitl16 --samples 24

The step has the masks and the sizes of the plan, and clips of zeros. The aim is 10 %.
"""

import sys
from dataclasses import dataclass
from importlib import import_module

import torch

from surgrec.cli import parse
from surgrec.models.activations import ActivationCheckpointing
from surgrec.planning import cuda_step_bytes, static_memory_of, step_memory
from surgrec.training import parse_recipe

GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class GpuMemory:
    """The step to measure."""

    name: str = "jepa_vitl16"
    """Name of a config."""
    samples: int = 24
    """Samples of a part, a mask group or less."""
    activation_checkpointing: ActivationCheckpointing = "none"
    """Activations that the backward pass computes again."""


def main(options: GpuMemory) -> None:
    """Print both figures and their ratio."""
    method = "jepa" if "jepa" in options.name else "mae"
    recipe = import_module(f"surgrec.recipes.{method}")
    config = parse_recipe(
        str(recipe.__file__),
        recipe.JepaConfig if method == "jepa" else recipe.MaeConfig,
        ["--config", options.name, "--corpus", "not-read", "--run_dir", "not-written"],
    )

    kept, samples = options.activation_checkpointing, options.samples
    memory = step_memory(config, kept, samples)
    allocated, clips = cuda_step_bytes(config, kept, samples)
    predicted = static_memory_of(config).total + memory.peak(clips)
    device = torch.cuda.get_device_name()
    print(f"{device}, torch {torch.__version__}, CUDA {torch.version.cuda}: {options}")
    print(f"predicted {predicted / GIB:.2f} GiB, allocated {allocated / GIB:.2f} GiB, ", end="")
    print(f"ratio {predicted / allocated:.3f}")


if __name__ == "__main__":
    if not torch.cuda.is_available():
        sys.exit("gpu_memory.py needs a GPU, and PyTorch finds none; run it on a machine with one")
    main(parse(GpuMemory))
