"""The loader keeps its frames within `memory_gb`, and its batches do not change."""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from surgrec.clips import (
    AugmentConfig,
    ClipBatch,
    LoaderConfig,
    StepSampler,
    clip_batches,
)
from surgrec.clips.loader_memory import (
    DEFAULT_STORED,
    Prefetch,
    RankBatch,
    memory_of,
    prefetch_within,
)
from surgrec.errors import ConfigError
from tests.support.clip_datasets import clip_dataset

SAMPLER = StepSampler(global_batch=28, rank=0, world_size=2, start_step=1, steps=9)
WORKERS = LoaderConfig(num_workers=2, prefetch_batches=4, timeout_s=60)
THREADS = LoaderConfig(num_workers=0, decode_threads=2, prefetch_batches=4, timeout_s=60)
BATCH = RankBatch(
    samples=384, views=1, num_frames=16, augment=AugmentConfig(), stored=DEFAULT_STORED
)


def bound_of(corpus: Path, config: LoaderConfig, prefetch: Prefetch) -> float:
    batch = clip_dataset(corpus, config, views=2).rank_batch(14)
    return memory_of(config, prefetch, batch, pinned=False).total / 1e9


def content(batch: ClipBatch) -> list[object]:
    clips = [frames.numpy().tobytes() for frames in batch.frames]
    return [batch.positions.tolist(), batch.keys, batch.sources, batch.views, clips]


def buffer_bytes() -> int:
    """Return what all frame buffers of this process may take, as large as they have grown."""
    sizes: dict[int, int] = {}
    for number in os.listdir("/proc/self/fd"):
        path = Path("/proc/self/fd") / number
        if path.is_symlink() and "surgrec-frames" in os.readlink(path):
            sizes[path.stat().st_ino] = path.stat().st_size
    return sum(sizes.values())


def peaks(batches: Iterator[ClipBatch]) -> int:
    """Return the most bytes of buffers, of a loader that has time to work ahead."""

    def later() -> int:
        time.sleep(0.2)
        return buffer_bytes()

    return max(later() for _ in batches)


@pytest.mark.parametrize("config", [WORKERS, THREADS], ids=["processes", "threads"])
def test_batches_in_parts_are_those_of_a_large_bound(
    tiny_corpus: Path, config: LoaderConfig
) -> None:
    bound = bound_of(tiny_corpus, config, Prefetch(parts=8, requests=2))
    tight = replace(config, memory_gb=bound)
    assert prefetch_within(
        tight, clip_dataset(tiny_corpus, tight, views=2).rank_batch(14), pinned=False
    ) == (Prefetch(parts=8, requests=2)), "of one or two samples each"
    expected = map(content, clip_batches(clip_dataset(tiny_corpus, config, views=2), SAMPLER))
    for batch, right in zip(
        clip_batches(clip_dataset(tiny_corpus, tight, views=2), SAMPLER), expected, strict=True
    ):
        assert content(batch) == right
        assert sum(batch.read_stats.__dict__.values()) > 0


@pytest.mark.parametrize(
    ("made", "config"), [(4, THREADS), (8, WORKERS), (14, THREADS)], ids=["4", "8", "14"]
)
def test_parts_of_batches_are_slices_of_whole_batches(
    tiny_corpus: Path, made: int, config: LoaderConfig
) -> None:
    rank_batch = clip_dataset(tiny_corpus, config, views=2).rank_batch(14, 4)
    requests = 4 if made == 4 else 2
    bound = memory_of(
        config, Prefetch(parts=made, requests=requests), rank_batch, pinned=False
    ).total
    config = replace(config, memory_gb=bound / 1e9)
    assert prefetch_within(config, rank_batch, pinned=False).parts == made

    sampler = replace(SAMPLER, steps=3)
    parts = list(clip_batches(clip_dataset(tiny_corpus, config, views=2), sampler, parts=4))
    assert [len(part.keys) for part in parts[:4]] == [3, 4, 3, 4]
    whole = list(clip_batches(clip_dataset(tiny_corpus, THREADS, views=2), sampler))
    rejoined = [ClipBatch.joined(parts[first : first + 4]) for first in range(0, len(parts), 4)]
    assert list(map(content, rejoined)) == list(map(content, whole))


def test_buffers_stay_below_the_bound(tiny_corpus: Path) -> None:
    sampler = replace(SAMPLER, steps=20)
    bound = bound_of(tiny_corpus, WORKERS, Prefetch(parts=14, requests=2))
    tight = replace(WORKERS, memory_gb=bound)
    free = peaks(clip_batches(clip_dataset(tiny_corpus, WORKERS, views=2), sampler))
    held = peaks(clip_batches(clip_dataset(tiny_corpus, tight, views=2), sampler))
    assert 0 < held < bound * 1e9 < free


def test_a_batch_that_exceeds_the_bound_is_refused_in_one_sentence(tiny_corpus: Path) -> None:
    low = replace(WORKERS, memory_gb=0.0001)
    with pytest.raises(ConfigError, match="more processes") as refused:
        next(clip_batches(clip_dataset(tiny_corpus, low, views=2), SAMPLER))
    enough = re.search(r"--loader.memory_gb ([\d.]+),", str(refused.value))
    assert enough, refused.value
    wide = replace(low, memory_gb=float(enough[1]))
    smallest = prefetch_within(
        wide, clip_dataset(tiny_corpus, wide, views=2).rank_batch(14), pinned=False
    )
    assert smallest.parts == 14, "one sample at a time"


@pytest.mark.parametrize("workers", [0, 1, 16])
def test_a_large_batch_works_within_the_default_bound(workers: int) -> None:
    config = LoaderConfig(num_workers=workers)
    chosen = prefetch_within(config, BATCH, pinned=True)
    memory = memory_of(config, chosen, BATCH, pinned=True)
    assert memory.total <= 16e9
    assert memory.pinned > 2 * BATCH.frames(384), "the copies of two batches at least"


def test_a_small_batch_is_made_as_far_ahead_as_configured() -> None:
    small = replace(BATCH, samples=8)
    chosen = prefetch_within(LoaderConfig(num_workers=8), small, pinned=True)
    assert chosen == Prefetch(parts=1, requests=4)


def test_the_memory_of_a_loader_is_that_of_the_parts_in_use() -> None:
    long = replace(BATCH, num_frames=64)
    config = LoaderConfig(num_workers=8)
    with pytest.raises(ConfigError, match="a larger --accumulation"):
        prefetch_within(config, long, pinned=True)

    in_parts = replace(long, parts=48)
    chosen = prefetch_within(config, in_parts, pinned=True)
    assert chosen == Prefetch(parts=48, requests=4), "as far ahead as configured"
    memory = memory_of(config, chosen, in_parts, pinned=True)
    assert memory.pinned == pytest.approx(in_parts.pinned(8) * (8 * 4 + 2))
    assert memory.total < 12e9


def test_page_locked_memory_is_rounded_up_per_clip() -> None:
    assert BATCH.frames(384) < BATCH.pinned(384) < 2 * BATCH.frames(384)
