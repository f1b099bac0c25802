"""Hostile launches: variables of accelerate, torchrun, Slurm and MPI that mislead a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.hostile.harness import Kind, Run, try_kind
from tests.hostile.small_runs import corpus, rows


def words(folder: Path) -> Sequence[object]:
    return [
        *("jepa", "--config", "jepa_tiny", "--corpus", corpus(), "--run_dir", folder / "run"),
        *("--steps", 1, "--global_batch", 2, "--loader.num_workers", 0),
    ]


def trained(folder: Path, run: Run) -> None:
    assert rows(folder / "run") == 1


def refused(name: str, **env: str) -> Kind:
    return Kind(name=name, make=words, env=env)


def followed(name: str, **env: str) -> Kind:
    return Kind(name=name, make=words, right=trained, env=env)


PAIR: Mapping[str, str] = {
    **{"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"},
    **{"MASTER_ADDR": "localhost", "MASTER_PORT": "29511"},
}
"""Variables of the first of two ranks."""


def pair(name: str, *without: str, **env: str) -> Kind:
    kept = {key: value for key, value in PAIR.items() if key not in without}
    return refused(name, **{**kept, **env})


KINDS = [
    refused("accumulated gradients", ACCELERATE_GRADIENT_ACCUMULATION_STEPS="4"),
    refused("accumulation over no step", ACCELERATE_GRADIENT_ACCUMULATION_STEPS="0"),
    refused("accumulation over a word", ACCELERATE_GRADIENT_ACCUMULATION_STEPS="two"),
    followed("accumulation over one step", ACCELERATE_GRADIENT_ACCUMULATION_STEPS="1"),
    refused("clipping by a variable", ACCELERATE_GRADIENT_CLIPPING="0.5"),
    followed("no clipping by a variable", ACCELERATE_GRADIENT_CLIPPING="none"),
    refused("fp16", ACCELERATE_MIXED_PRECISION="fp16"),
    refused("fp8", ACCELERATE_MIXED_PRECISION="FP8"),
    refused("bf16 beside a config without it", ACCELERATE_MIXED_PRECISION="bf16"),
    refused("an unknown precision", ACCELERATE_MIXED_PRECISION="int8"),
    followed("the precision of the config", ACCELERATE_MIXED_PRECISION="no"),
    refused("FSDP", ACCELERATE_USE_FSDP="true"),
    followed("FSDP switched off", ACCELERATE_USE_FSDP="false"),
    refused("DeepSpeed", ACCELERATE_USE_DEEPSPEED="true"),
    refused("Megatron-LM", ACCELERATE_USE_MEGATRON_LM="true"),
    refused("a parallelism config", ACCELERATE_USE_PARALLELISM_CONFIG="true"),
    refused("SageMaker", ACCELERATE_USE_SAGEMAKER="true"),
    refused("compilation", ACCELERATE_DYNAMO_BACKEND="INDUCTOR"),
    refused("an unknown compiler", ACCELERATE_DYNAMO_BACKEND="magic"),
    refused("bf16 weights of accelerate", ACCELERATE_DOWNCAST_BF16="true"),
    refused("bf16 weights of XLA", XLA_USE_BF16="1"),
    refused("downcast weights of XLA", XLA_DOWNCAST_BF16="1"),
    refused("CPUs perhaps", ACCELERATE_USE_CPU="maybe"),
    refused("an unknown device", ACCELERATE_TORCH_DEVICE="nonsense"),
    refused("a device without memory", ACCELERATE_TORCH_DEVICE="meta"),
    refused("a GPU that is absent", ACCELERATE_TORCH_DEVICE="cuda:77"),
    refused("debugging perhaps", ACCELERATE_DEBUG_MODE="maybe"),
    refused("a world of two without its variables", WORLD_SIZE="2"),
    refused("a local rank without its variables", LOCAL_RANK="0"),
    followed("a world of one without its variables", WORLD_SIZE="1"),
    refused("a world of words", WORLD_SIZE="two"),
    refused("a negative world", WORLD_SIZE="-2"),
    pair("two ranks without the address of the first", "MASTER_ADDR"),
    pair("two ranks without numbers", "RANK"),
    pair("a rank outside the world", RANK="2"),
    pair("a negative rank", RANK="-1"),
    pair("a port that is a word", MASTER_PORT="port"),
    pair("a port above the highest", MASTER_PORT="99999999"),
    refused("two tasks of srun", SLURM_STEP_ID="0", SLURM_PROCID="0", SLURM_NTASKS="2"),
    refused("tasks of srun in words", SLURM_STEP_ID="0", SLURM_PROCID="0", SLURM_NTASKS="all"),
    followed("an allocation of two tasks", SLURM_NTASKS="2"),
    refused("two processes of Open MPI", OMPI_COMM_WORLD_SIZE="2"),
    refused("two processes of MPICH", PMI_SIZE="2"),
    refused("two processes of MVAPICH", MV2_COMM_WORLD_SIZE="2"),
]


@pytest.mark.slow
def test_hostile(kind: Kind, tmp_path: Path) -> None:
    try_kind(kind, tmp_path)
