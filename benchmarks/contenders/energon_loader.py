"""Megatron Energon on SurgRec's shards, with its own loader and state."""

import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from contender import PREFETCH, Job, decode, main
from megatron.energon import (
    CrudeSample,
    DefaultTaskEncoder,
    WorkerConfig,
    basic_sample_keys,
    get_savable_loader,
    get_train_dataset,
    stateless,
)
from megatron.energon.task_encoder.cooking import Cooker

SAVED_AT = 20
"""Step whose state is saved to resume from: the cost of a restore does not grow."""
STATE: list[Any] = []


@stateless
def _cook(sample: CrudeSample) -> dict[str, Any]:
    return {**basic_sample_keys(sample), "frames": decode(sample["mp4"])}


class Clips(DefaultTaskEncoder):
    """Decoded clips, stacked."""

    decoder = None  # its own would decode whole videos
    cookers = [Cooker(_cook)]  # noqa: RUF012 - as its documentation has it

    @stateless
    def encode_sample(self, sample: Any) -> Any:
        return sample

    def batch(self, samples: list[Any]) -> Any:
        return torch.stack([sample["frames"] for sample in samples])


def convert(job: Job) -> None:
    """Write its own index into the corpus."""
    root = Path(job.corpus) / "stored"
    program = Path(sys.executable).parent / "energon"
    command = [str(program), "prepare", "--non-interactive", "--no-progress", "--num-workers", "2"]
    command += ["--split-ratio", "1,0,0", "--sample-type", "CrudeWebdataset", str(root)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def _loader(job: Job) -> Any:
    worker_config = WorkerConfig(rank=0, world_size=1, num_workers=job.workers, seed_offset=0)
    path = job.at("stored").replace("s3://", "msc://far/") if job.s3 else job.at("stored")

    dataset = get_train_dataset(
        path,
        worker_config=worker_config,
        batch_size=job.batch,
        batch_drop_last=True,
        shuffle_buffer_size=100,
        max_samples_per_sequence=100,
        task_encoder=Clips(),
    )

    return get_savable_loader(dataset, prefetch_factor=PREFETCH)


def open_batches(job: Job) -> Iterator[torch.Tensor]:
    """Yield shuffled batches; a resume restores a saved state."""
    loader = _loader(job)
    if job.resume_step:
        loader.restore_state_rank(STATE[0])
    yield from loader


def _prepare_state(job: Job) -> None:
    loader = _loader(job)
    for _ in islice(loader, SAVED_AT):
        pass
    STATE.append(loader.save_state_rank())


if __name__ == "__main__":
    main(open_batches, convert, before=_prepare_state)
