"""The dataset: positions in, a batch of clips out. Holds nothing but threads and bytes that it was told to fetch ahead."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice, repeat
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset

from surgrec.clips.augment import AugmentConfig, random_box
from surgrec.clips.batch import ClipBatch, Quarantined
from surgrec.clips.crop import Box, bounding_box
from surgrec.clips.decode import decode_clip, torchcodec_classes
from surgrec.clips.sampling import ClipSampling, clip_times
from surgrec.errors import ConfigError, SampleError, ShardError, SurgrecError
from surgrec.shards import Sample
from surgrec.storage import DiskCache
from surgrec.stream import Draw, Fetcher, ReadStats, Stream, hash_int, hash_uniform, sample_key

_START, _CROP, _FLIP = 1, 2, 3
_SUBSTITUTES = 10
_MOST_WORKERS = 16
_PLANNED = 32

Views: TypeAlias = list[UInt8[Tensor, "t c _ _"]]
Keep: TypeAlias = Callable[[UInt8[Tensor, "t c _ _"]], UInt8[Tensor, "t c _ _"]]
"""Where a view's frames stay once they are cut out of what was decoded."""


def _kept(frames: UInt8[Tensor, "t c _ _"]) -> UInt8[Tensor, "t c _ _"]:
    """In memory of their own, in the decoder's layout; no copy where they are all that was decoded."""
    return frames.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """How batches are made. None of it changes what is in them."""

    num_workers: int | None = None
    """Processes per rank that read and decode; 0: threads of the training process do; None: one per core of the rank, but one."""
    decode_threads: int = 1
    """Threads per process that decode; without workers, all there are."""
    fetch_threads: int = 8
    """Threads per worker that read ranges of shards; without workers, per decoding thread."""
    fetch_ahead: int = 2
    """Batches per worker, or decoding thread, whose bytes are read while earlier ones are decoded."""
    prefetch_batches: int = 4
    """Batches per worker that are made ahead; without workers, all there are."""
    timeout_s: int = 600
    """Longest wait for a batch, seconds, before the run stops."""
    cache_dir: Path | None = None
    """Folder on a local disk for copies of whole shards; None reads samples from the corpus one by one."""
    cache_gb: float = 100.0
    """Most gigabytes (10^9 bytes) in cache_dir, what is on its way included."""

    def __post_init__(self) -> None:
        others = (self.decode_threads, self.fetch_threads, self.prefetch_batches, self.timeout_s)
        if (
            (self.num_workers or 0) < 0
            or self.fetch_ahead < 0
            or min(others) < 1
            or self.cache_gb <= 0
        ):
            raise ConfigError(
                "loader: num_workers and fetch_ahead may be 0, cache_gb must be above 0, everything else at least 1, "
                f"not {self}"
            )

    @property
    def workers(self) -> int:
        """Processes per rank: what was asked for, or this rank's share of the machine's cores, one left to training."""
        if self.num_workers is not None:
            return self.num_workers
        cores = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return min(max(cores - 1, 1), _MOST_WORKERS)

    @property
    def cache(self) -> DiskCache | None:
        """The cache of whole shards, if there is to be one."""
        return DiskCache(self.cache_dir, int(self.cache_gb * 1e9)) if self.cache_dir else None


@dataclass(frozen=True)
class Request:
    """What the dataset is asked for, and what this process will probably be asked for later."""

    positions: tuple[int, ...]
    stride: int = 0
    """From these positions to those of the next request."""
    more: int = 0
    """Requests that follow."""
    spread: bool = False
    """Whether all decoding threads are to make this batch, or the calling one alone."""

    def later(self, count: int) -> list[tuple[int, ...]]:
        """Positions of the next requests, at most so many."""
        return [
            tuple(position + number * self.stride for position in self.positions)
            for number in range(1, min(count, self.more) + 1)
        ]


@dataclass(frozen=True, kw_only=True)
class _Fetched:
    """The samples at some positions, and their bytes."""

    draws: list[Draw]
    samples: list[Sample]
    mp4s: list[bytes | SampleError]
    seconds: float


@dataclass(kw_only=True)
class _Process:
    """What one process reads and decodes with."""

    fetcher: Fetcher
    decoders: ThreadPoolExecutor
    ahead: ThreadPoolExecutor
    coming: dict[tuple[int, ...], Future[_Fetched]] = field(default_factory=dict)
    planned: dict[int, Draw] = field(default_factory=dict)


class ClipDataset(Dataset[ClipBatch]):
    """Batches by the positions of their samples: `views` random views of each, of the same moments."""

    def __init__(
        self,
        stream: Stream,
        sampling: ClipSampling,
        augment: AugmentConfig,
        config: LoaderConfig,
        views: int = 1,
    ) -> None:
        self.stream = stream
        self.sampling = sampling
        self.augment = augment
        self.config = config
        self.views = views
        torchcodec_classes()  # a machine without it says so here, not in a worker
        self._processes: dict[int, _Process] = {}

    def __getitems__(self, request: Request, keep: Keep = _kept) -> ClipBatch | SurgrecError:
        """The batch that is asked for. An error comes back as a value: raised in a worker, it would lose its one sentence."""
        try:
            return self.batch(request, keep)
        except SurgrecError as error:
            return error

    def batch(self, request: Request, keep: Keep = _kept) -> ClipBatch:
        """The batch at the positions of a request; while it is decoded, the bytes of later ones are read.

        Args:
            request: What is asked for.
            keep: Gives each view the memory that it stays in.

        Raises:
            StorageError: A shard cannot be read.
            ShardError: A shard is not the one of its index, or a sample and all its substitutes are bad.
        """
        process = self._process()
        began = time.perf_counter()
        fetched = self._take(process, request)
        fetched_at = time.perf_counter()
        draws, samples = fetched.draws, list(fetched.samples)
        keys = [
            [sample_key(self.stream.order.seed, draw.position, view) for view in range(self.views)]
            for draw in draws
        ]
        run = process.decoders.map if request.spread else map
        decoded = list(run(self._decode_or_error, keys, samples, fetched.mp4s, repeat(keep)))
        quarantined: list[Quarantined] = []
        clips: Views = []
        for place, result in enumerate(decoded):
            if isinstance(result, SampleError):
                samples[place], result = self._substitute(
                    draws[place], keys[place], samples[place], result, quarantined, keep
                )
            clips += result
        times = ReadStats(
            fetch_s=fetched.seconds,
            fetch_wait_s=fetched_at - began,
            decode_s=time.perf_counter() - fetched_at,
        )
        return ClipBatch(
            positions=np.asarray(request.positions, dtype=np.int64),
            keys=[sample.key for sample in samples],
            sources=[draw.source for draw in draws],
            frames=clips,
            flipped=[
                hash_uniform(key, _FLIP) < self.augment.flip
                for view_keys in keys
                for key in view_keys
            ],
            quarantined=quarantined,
            reading=process.fetcher.take_read_stats() + times,
        )

    def _take(self, process: _Process, request: Request) -> _Fetched:
        """The bytes of a batch, read ahead or now. Before they are waited for, reading of later batches begins."""
        later = request.later(self.config.fetch_ahead)
        planned = self._plan(process, request, [request.positions, *later])
        coming = process.coming.pop(request.positions, None)
        oldest = (
            request.positions[0] - request.stride
        )  # batches since then may be other threads' to make
        for stale in [known for known in list(process.coming) if known[0] < oldest]:
            process.coming.pop(stale, None)  # was promised and never asked for
        for positions in later:
            if positions not in process.coming:
                draws = [planned[position] for position in positions]
                process.coming[positions] = process.ahead.submit(
                    self._fetch, process.fetcher, draws
                )
        if coming:
            return coming.result()
        return self._fetch(process.fetcher, [planned[position] for position in request.positions])

    def _plan(
        self, process: _Process, request: Request, needed: Sequence[tuple[int, ...]]
    ) -> dict[int, Draw]:
        """The draws at these positions and others: the order of a few takes as long as that of thousands, so many are planned."""
        planned = process.planned
        if any(position not in planned for positions in needed for position in positions):
            batches = [request.positions, *request.later(_PLANNED)]
            draws = self.stream.draws(np.asarray(batches, dtype=np.int64).ravel())
            oldest = (
                request.positions[0] - request.stride
            )  # threads plan their own batches each, which stay
            known = {position: draw for position, draw in planned.items() if position >= oldest}
            process.planned = planned = known | {draw.position: draw for draw in draws}
        return planned

    def _fetch(self, fetcher: Fetcher, draws: list[Draw]) -> _Fetched:
        began = time.perf_counter()
        samples = [self.stream.sample(draw) for draw in draws]
        mp4s = fetcher.fetch(samples)
        return _Fetched(
            draws=draws, samples=samples, mp4s=mp4s, seconds=time.perf_counter() - began
        )

    def _substitute(
        self,
        draw: Draw,
        view_keys: list[int],
        sample: Sample,
        error: SampleError,
        quarantined: list[Quarantined],
        keep: Keep,
    ) -> tuple[Sample, Views]:
        """The first good one of the samples that stand in for a bad one, always the same ones for a position."""
        result: Views | SampleError = error
        for replaced in islice(self.stream.substitutes(draw), _SUBSTITUTES):
            bad, reason = sample, str(result)
            sample = self.stream.sample(replaced)
            quarantined.append(
                Quarantined(
                    position=draw.position,
                    source=draw.source,
                    key=bad.key,
                    reason=reason,
                    substitute=sample.key,
                )
            )
            result = self._decode_or_error(
                view_keys, sample, self._process().fetcher.fetch([sample])[0], keep
            )
            if not isinstance(result, SampleError):
                return sample, result
        raise ShardError(
            f"{draw.source}: a sample is bad, and so is every other that was tried in its place, the last one because "
            f"{result}; run surgrec-shard verify"
        )

    def _decode_or_error(
        self, view_keys: list[int], sample: Sample, mp4: bytes | SampleError, keep: Keep
    ) -> Views | SampleError:
        """The views of a sample, cut out of what is decoded once. Their keys say where; the first also says when."""
        if isinstance(mp4, SampleError):
            return mp4
        clip = sample.clip
        times = clip_times(clip.duration_s, self.sampling, hash_uniform(view_keys[0], _START))
        boxes = [
            random_box(clip.height, clip.width, self.augment, hash_int(key, _CROP))
            for key in view_keys
        ]
        whole = bounding_box(boxes)
        try:
            frames = decode_clip(mp4, times, whole, num_frames=clip.num_frames, key=sample.key)
        except SampleError as error:
            return error
        return [keep(_cut(frames, box, whole)) for box in boxes]

    def forget(self) -> None:
        """Drops what this process has read ahead for batches that nobody will ask for."""
        self._process().coming.clear()

    def _process(self) -> _Process:
        """Threads of this process, made on first use: a forked worker inherits its parent's without their running."""
        number, config = os.getpid(), self.config
        makers = 1 if config.workers else config.decode_threads
        if number not in self._processes:
            self._processes[number] = _Process(
                fetcher=Fetcher(self.stream.sources, makers * config.fetch_threads, config.cache),
                decoders=ThreadPoolExecutor(config.decode_threads, thread_name_prefix="decode"),
                ahead=ThreadPoolExecutor(
                    makers * max(1, config.fetch_ahead), thread_name_prefix="ahead"
                ),
            )
        return self._processes[number]


def _cut(frames: UInt8[Tensor, "t c _ _"], box: Box, whole: Box) -> UInt8[Tensor, "t c _ _"]:
    """The part of decoded frames that a box covers."""
    top, left = box.top - whole.top, box.left - whole.left
    return frames[:, :, top : top + box.height, left : left + box.width]
