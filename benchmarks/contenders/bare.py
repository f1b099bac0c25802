"""The upper bound: one process per core decodes clips from memory and drops them."""

import multiprocessing
import os
import random
import time
from collections.abc import Iterator
from ctypes import c_uint64
from typing import Any

import torch
from contender import Job, decode, main, stored_clips


def open_batches(job: Job) -> Iterator[list[torch.Tensor]]:
    """Yield a batch for every `job.batch` decoded clips; the frames are not passed on."""
    context = multiprocessing.get_context("fork")
    clips = [mp4 for _, mp4 in stored_clips(job)]
    random.shuffle(clips)
    counts: Any = context.Array(c_uint64, len(job.cores), lock=False)
    for index, core in enumerate(job.cores):
        context.Process(
            target=_decode_endlessly,
            args=(clips[index :: len(job.cores)], counts, index, core),
            daemon=True,
        ).start()

    # Yield as many clips as all processes have decoded.
    frames = torch.empty(16, 3, 224, 224, dtype=torch.uint8)
    taken = 0
    while True:
        while sum(counts) < taken + job.batch:
            time.sleep(0.002)
        taken += job.batch
        yield [frames] * job.batch


def _decode_endlessly(clips: list[bytes], counts: Any, index: int, core: int) -> None:
    os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    while True:
        for mp4 in clips:
            decode(mp4)
            counts[index] += 1


if __name__ == "__main__":
    main(open_batches)
