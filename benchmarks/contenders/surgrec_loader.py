"""SurgRec. Options: any field of LoaderConfig."""

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from contender import CROP_PX, FRAMES, HEIGHT, PREFETCH, SAMPLE_FPS, WIDTH, Job, main

from surgrec.clips import (
    AugmentConfig,
    ClipDataset,
    ClipSampling,
    LoaderConfig,
    StepSampler,
    clip_batches,
    torchcodec_classes,
)
from surgrec.shards import open_corpus
from surgrec.storage import s3  # noqa: F401 - imported before the measurement
from surgrec.stream import Mixture, Stream

SHARE = CROP_PX**2 / (HEIGHT * WIDTH)
CROP = AugmentConfig(scale=(SHARE, SHARE), aspect_ratio=(1.0, math.nextafter(1.0, 2.0)))
"""A random crop of exactly 224 x 224."""


def open_batches(job: Job) -> Iterator[list[torch.Tensor]]:
    """Return the batches of one rank from the step to resume at."""
    stream = Stream(open_corpus([job.at("stored")]), Mixture(), seed=0)
    options = {"num_workers": job.workers, "prefetch_batches": PREFETCH} | job.options
    if "cache_dir" in options:
        options["cache_dir"] = Path(job.scratch) / "cache"
    dataset = ClipDataset(
        stream, ClipSampling(num_frames=FRAMES, fps=SAMPLE_FPS), CROP, LoaderConfig(**options)
    )
    sampler = StepSampler(
        global_batch=job.batch, rank=0, world_size=1, start_step=job.resume_step, steps=10**9
    )
    return (batch.frames for batch in clip_batches(dataset, sampler))


if __name__ == "__main__":
    torchcodec_classes()
    main(open_batches)
