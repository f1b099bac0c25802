"""Memory over tens of thousands of samples: that of the loader and its workers must not grow."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from contenders.memory_use import tree_pss_mb
from corpus import prepare_small_clips

from surgrec.cli import parse
from surgrec.clips import (
    AugmentConfig,
    ClipBatch,
    ClipDataset,
    ClipSampling,
    LoaderConfig,
    StepSampler,
    clip_batches,
)
from surgrec.shards import open_corpus
from surgrec.stream import Mixture, Stream


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Amount of work."""

    folder: Path
    """Folder of benchmarks/loader.py."""
    samples: int = 50_000
    """Samples to draw."""
    every: int = 2_500
    """Samples between two measurements."""
    batch: int = 25
    """Samples per batch."""
    parts: int = 1
    """Parts in which the loop takes a batch, as with accumulation."""
    num_frames: int = 8
    """Frames per clip."""
    short_side_px: int = 64
    """Short side of the stored clips; 256 as in training, which takes longer."""
    loader: LoaderConfig = LoaderConfig(num_workers=2)
    """Loader settings, as in a run."""


def main(config: Memory) -> None:
    """Draw, and print the memory of all processes and its growth in the second half."""
    corpus = prepare_small_clips(config.folder, clips=2000, short_side_px=config.short_side_px)
    stream = Stream(open_corpus([corpus]), Mixture(), seed=0)
    dataset = ClipDataset(
        stream,
        ClipSampling(num_frames=config.num_frames, fps=4.0),
        AugmentConfig(),
        config.loader,
    )

    steps = -(-config.samples // config.batch)
    sampler = StepSampler(
        global_batch=config.batch, rank=0, world_size=1, start_step=0, steps=steps
    )

    measured = []
    batches = clip_batches(dataset, sampler, parts=config.parts)
    for samples, pss_mb in _measure(batches, config.every):
        print(f"{samples:7,} samples: {pss_mb:7.1f} MB", flush=True)
        measured.append((samples, pss_mb))

    later = np.array(measured[len(measured) // 2 :])
    slope = np.polyfit(later[:, 0], later[:, 1], 1)[0]
    print(
        f"median {statistics.median(later[:, 1]):.1f} MB, "
        f"{1e4 * slope:+.2f} MB per 10,000 samples in the second half"
    )


def _measure(batches: Iterator[ClipBatch], every: int) -> Iterator[tuple[int, float]]:
    samples = 0
    for batch in batches:
        samples += len(batch.keys)
        if samples % every == 0:
            yield samples, tree_pss_mb()


if __name__ == "__main__":
    main(parse(Memory, prog="benchmarks/memory.py"))
