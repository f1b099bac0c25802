"""Read-ahead, cache and retries never change the content of batches."""

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from surgrec.clips import (
    ClipBatch,
    ClipDataset,
    LoaderConfig,
    StepSampler,
    clip_batches,
)
from surgrec.clips._dataset import BatchRequest
from surgrec.errors import ConfigError, MachineError, StorageError
from surgrec.shards import open_corpus
from surgrec.stream import ReadStats, sample_key
from tests.support.clip_datasets import clip_dataset
from tests.support.s3 import FaultyS3

SAMPLER = StepSampler(global_batch=8, rank=0, world_size=1, start_step=0, steps=6)


def make_dataset(
    corpus: Path | str, kind: type[ClipDataset] = ClipDataset, **config: object
) -> ClipDataset:
    return clip_dataset(corpus, LoaderConfig(**config), kind)  # type: ignore[arg-type]


def content(batches: Sequence[ClipBatch]) -> list[tuple[str, bytes]]:
    return [
        (key, frames.numpy().tobytes())
        for batch in batches
        for key, frames in zip(batch.keys, batch.frames, strict=True)
    ]


@pytest.fixture(scope="module")
def undisturbed(tiny_corpus: Path) -> list[tuple[str, bytes]]:
    return content(
        list(clip_batches(make_dataset(tiny_corpus, num_workers=0, fetch_ahead=0), SAMPLER))
    )


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_bytes_read_ahead_make_the_same_batches(
    tiny_corpus: Path, undisturbed: list[tuple[str, bytes]], workers: int, ahead: int
) -> None:
    dataset = make_dataset(tiny_corpus, num_workers=workers, fetch_ahead=ahead)
    batches = list(clip_batches(dataset, SAMPLER))
    assert content(batches) == undisturbed
    stats = sum((batch.read_stats for batch in batches), ReadStats())
    assert stats.samples == 48, "each sample is read once, ahead or not"
    assert stats.store_bytes > 0
    assert stats.decode_s > 0


def test_a_filled_cache_gives_the_same_batches_without_requests(
    tiny_corpus: Path, undisturbed: list[tuple[str, bytes]], tmp_path: Path
) -> None:
    cached = {"cache_dir": tmp_path / "cache", "cache_gb": 1.0}
    sources = open_corpus([tiny_corpus]).values()
    shards = sum("-train-" in shard.name for source in sources for shard in source.entry.shards)
    batches = []
    for batch in clip_batches(
        make_dataset(tiny_corpus, num_workers=1, **cached), replace(SAMPLER, steps=60)
    ):
        batches.append(batch)
        deadline = time.monotonic() + 30
        while len(batches) == 6 and len(list((tmp_path / "cache").glob("[0-9a-f]*.tar"))) < shards:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert content(batches[:6]) == undisturbed
    filled = sum((batch.read_stats for batch in batches), ReadStats())
    assert filled.filled == shards
    late = sum((batch.read_stats for batch in batches[-20:]), ReadStats())
    assert late.samples > 100
    assert late.requests == 0
    assert late.cache_bytes > 0


def test_two_ranks_of_a_machine_share_one_cache_and_one_rank_fills_it(
    tiny_corpus: Path,
    undisturbed: list[tuple[str, bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    ranks = []
    for rank in range(2):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        dataset = make_dataset(
            tiny_corpus, num_workers=1, cache_dir=tmp_path / "cache", cache_gb=1.0
        )
        ranks.append(list(clip_batches(dataset, replace(SAMPLER, rank=rank, world_size=2))))
    assert content([batch for step in zip(*ranks, strict=True) for batch in step]) == undisturbed
    assert sum((batch.read_stats for batch in ranks[1]), ReadStats()).filled == 0


def test_an_unwritable_cache_is_refused_before_the_first_batch(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    dataset = make_dataset(tiny_corpus, num_workers=0, cache_dir=tmp_path / "file")
    with pytest.raises(StorageError, match="file: File exists; choose a cache_dir"):
        next(clip_batches(dataset, SAMPLER))


class SlowDataset(ClipDataset):
    """A store that does not respond in time."""

    def batch(self, request: BatchRequest, *rest: Any) -> ClipBatch:
        time.sleep(3)
        return super().batch(request, *rest)


def test_without_workers_a_late_batch_stops_the_run_as_well(tiny_corpus: Path) -> None:
    with pytest.raises(
        StorageError, match=r"no batch arrived within 1 s\); .* raise loader\.timeout_s$"
    ):
        next(
            clip_batches(
                make_dataset(tiny_corpus, SlowDataset, num_workers=0, timeout_s=1), SAMPLER
            )
        )


def test_threads_make_exactly_the_prefetched_batches_in_advance(
    tiny_corpus: Path,
) -> None:
    steps: list[int] = []

    class RecordingDataset(ClipDataset):
        def batch(self, request: BatchRequest, *rest: Any) -> ClipBatch:
            steps.append(request.positions[0] // 8)
            return super().batch(request, *rest)

    batches = clip_batches(
        make_dataset(tiny_corpus, RecordingDataset, num_workers=0, prefetch_batches=2), SAMPLER
    )
    next(batches)
    deadline = time.monotonic() + 10
    while len(steps) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.1)
    assert sorted(steps) == [0, 1, 2]
    batches.close()  # type: ignore[attr-defined]  # a generator
    time.sleep(0.1)
    assert len(steps) == 3


def test_a_rank_has_one_worker_less_than_its_share_of_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(32)))
    assert LoaderConfig().workers == 16
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert LoaderConfig().workers == 7
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "64")
    assert LoaderConfig().workers == 1
    assert LoaderConfig(num_workers=0).workers == 0


def test_a_cache_of_size_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"loader\.cache_gb is 0.0; give more than 0"):
        LoaderConfig(cache_gb=0.0)


def test_retries_are_counted_with_the_batches(tiny_corpus: Path, faulty_s3: FaultyS3) -> None:
    for path in tiny_corpus.rglob("*.*"):
        faulty_s3.objects[path.relative_to(tiny_corpus).as_posix()] = path.read_bytes()
    dataset = make_dataset("s3://corpora", num_workers=1)
    faulty_s3.faults.extend(["slow_down", "reset"])
    stats = sum(
        (batch.read_stats for batch in clip_batches(dataset, replace(SAMPLER, steps=2))),
        ReadStats(),
    )
    assert stats.retries == 2
    assert stats.requests >= 2 + 2


class NoMemory(ClipDataset):
    """A dataset that runs out of memory while it decodes the sample at position 3."""

    def _decode_or_error(self, view_keys: list[int], *arguments: Any) -> Any:
        if view_keys[0] == sample_key(self.stream.order.seed, 3, 0):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to")
        return super()._decode_or_error(view_keys, *arguments)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_lack_of_memory_stops_the_loader_in_a_sentence(tiny_corpus: Path, workers: int) -> None:
    dataset = make_dataset(tiny_corpus, NoMemory, num_workers=workers)
    with pytest.raises(MachineError, match=r"a batch cannot be made because the machine ran out"):
        list(clip_batches(dataset, SAMPLER))


SHORT_OF_MEMORY = """
import resource, sys
from pathlib import Path
from surgrec.clips import AugmentConfig, ClipDataset, ClipSampling, LoaderConfig
from surgrec.clips._dataset import BatchRequest
from surgrec.errors import MachineError
from surgrec.shards import open_corpus
from surgrec.stream import Mixture, Stream

stream = Stream(open_corpus(sys.argv[1]), Mixture(), seed=5)
loader = LoaderConfig(num_workers=0, decode_threads=2, fetch_threads=1)
dataset = ClipDataset(stream, ClipSampling(num_frames=8, fps=4.0), AugmentConfig(), loader)
make = lambda: dataset.batch_or_error(BatchRequest(tuple(range(16)), all_threads=True))
kept = [make()]
assert not kept[0].quarantined
for spare_kb in (0, 64, 256, 1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10):
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (spare_kb << 10), -1))
    for _ in range(20):
        batch = make()
        kept.append(batch)
        if isinstance(batch, MachineError):
            break
        assert not batch.quarantined, batch.quarantined
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    print(type(batch).__name__, str(batch)[:200] if isinstance(batch, Exception) else "")
"""


@pytest.mark.slow
def test_no_sample_is_replaced_while_a_loader_lacks_memory(tiny_corpus: Path) -> None:
    """The address space of a process that makes batches is limited at several sizes."""
    run = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY, str(tiny_corpus)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert run.returncode == 0, run.stderr
    assert "because the machine ran out of memory" in run.stdout
