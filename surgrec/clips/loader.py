"""The loader: batches of one rank, in the order of the stream, from any step, with any number of workers.

A map-style dataset whose items are positions, under torch's plain DataLoader: workers hold no state, so there is none to save.
It is never passed to `accelerator.prepare`, which would shard again what is already one rank's.
"""

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from surgrec.clips.augment import AugmentConfig, random_box
from surgrec.clips.batch import ClipBatch, Quarantined
from surgrec.clips.crop import Box, bounding_box
from surgrec.clips.decode import decode_clip, torchcodec_classes
from surgrec.clips.sampling import ClipSampling, clip_times
from surgrec.errors import ConfigError, SampleError, ShardError, StorageError, SurgrecError
from surgrec.shards.layout import Sample
from surgrec.stream.fetch import Fetcher
from surgrec.stream.order import rank_positions, sample_key
from surgrec.stream.permutation import Word, mix, uniform
from surgrec.stream.stream import Draw, Stream

_START, _CROP, _FLIP = 1, 2, 3
_SUBSTITUTES = 10
_LOADER_FAILURES = ("DataLoader worker", "DataLoader timed out", "Pin memory thread")
"""How torch begins to say that a worker died or was too slow; any other RuntimeError is a bug, and is shown whole."""

Views: TypeAlias = list[UInt8[Tensor, "t c _ _"]]


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """How batches are made. None of it changes what is in them."""

    num_workers: int = 2
    """Processes per rank that read and decode; 0 works in the training process."""
    decode_threads: int = 1
    """Threads per process that decode."""
    fetch_threads: int = 8
    """Threads per process that read ranges of shards."""
    prefetch_batches: int = 4
    """Batches per worker that are made ahead."""
    timeout_s: int = 600
    """Longest wait for a batch, seconds, before the run stops; with workers only."""

    def __post_init__(self) -> None:
        if (
            self.num_workers < 0
            or min(self.decode_threads, self.fetch_threads, self.prefetch_batches, self.timeout_s) < 1
        ):
            raise ConfigError(f"loader: num_workers may be 0, everything else must be at least 1, not {self}")


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
        self._pools: dict[int, tuple[Fetcher, ThreadPoolExecutor]] = {}

    def __getitems__(self, positions: Sequence[int]) -> ClipBatch | SurgrecError:
        """The batch at these positions. An error comes back as a value: raised in a worker, it would lose its one sentence."""
        try:
            return self.batch(positions)
        except SurgrecError as error:
            return error

    def batch(self, positions: Sequence[int]) -> ClipBatch:
        """The batch at these positions.

        Raises:
            StorageError: A shard cannot be read.
            ShardError: A sample and all its substitutes are bad.
        """
        draws = self.stream.draws(np.asarray(positions, dtype=np.int64))
        samples = [self.stream.sample(draw) for draw in draws]
        fetcher, decoders = self._open_pools()
        fetched = fetcher.fetch(samples)
        decoded = list(decoders.map(self._decode_or_error, draws, samples, fetched))
        quarantined: list[Quarantined] = []
        clips: Views = []
        for place, result in enumerate(decoded):
            if isinstance(result, SampleError):
                samples[place], result = self._substitute(draws[place], samples[place], result, quarantined)
            clips += result
        return ClipBatch(
            positions=np.asarray(positions, dtype=np.int64),
            keys=[sample.key for sample in samples],
            sources=[draw.source for draw in draws],
            frames=clips,
            flipped=[self._is_flipped(key) for draw in draws for key in self._view_keys(draw)],
            quarantined=quarantined,
        )

    def _substitute(
        self, draw: Draw, sample: Sample, error: SampleError, quarantined: list[Quarantined]
    ) -> tuple[Sample, Views]:
        """The first good one of the samples that stand in for a bad one, always the same ones for a position."""
        result: Views | SampleError = error
        for replaced in islice(self.stream.substitutes(draw), _SUBSTITUTES):
            bad, reason = sample, str(result)
            sample = self.stream.sample(replaced)
            quarantined.append(
                Quarantined(
                    position=draw.position, source=draw.source, key=bad.key, reason=reason, substitute=sample.key
                )
            )
            result = self._decode_or_error(draw, sample, self._open_pools()[0].fetch([sample])[0])
            if not isinstance(result, SampleError):
                return sample, result
        raise ShardError(
            f"{draw.source}: a sample is bad, and so is every other that was tried in its place, the last one because "
            f"{result}; run surgrec-shard verify"
        )

    def _decode_or_error(self, draw: Draw, sample: Sample, mp4: bytes | SampleError) -> Views | SampleError:
        """The views of a sample, cut out of what is decoded once."""
        if isinstance(mp4, SampleError):
            return mp4
        key = sample_key(self.stream.order.seed, draw.position)
        clip = sample.clip
        times = clip_times(clip.duration_s, self.sampling, float(uniform(key, _START)))
        boxes = [
            random_box(clip.height, clip.width, self.augment, mix(view_key, _CROP))
            for view_key in self._view_keys(draw)
        ]
        whole = bounding_box(boxes)
        try:
            frames = decode_clip(mp4, times, whole, num_frames=clip.num_frames, key=sample.key)
        except SampleError as error:
            return error
        return [_cut(frames, box, whole) for box in boxes]

    def _view_keys(self, draw: Draw) -> list[Word]:
        """What the crop and the flip of each view depend on."""
        return [sample_key(self.stream.order.seed, draw.position, view) for view in range(self.views)]

    def _is_flipped(self, view_key: Word) -> bool:
        return bool(uniform(view_key, _FLIP) < self.augment.flip)

    def _open_pools(self) -> tuple[Fetcher, ThreadPoolExecutor]:
        """Threads of this process, made on first use: a forked worker inherits its parent's pools without their threads."""
        process = os.getpid()
        if process not in self._pools:
            fetcher = Fetcher(self.stream.sources, self.config.fetch_threads)
            decoders = ThreadPoolExecutor(self.config.decode_threads, thread_name_prefix="decode")
            self._pools[process] = (fetcher, decoders)
        return self._pools[process]


def _cut(frames: UInt8[Tensor, "t c _ _"], box: Box, whole: Box) -> UInt8[Tensor, "t c _ _"]:
    """The part of decoded frames that a box covers, in the decoder's memory layout; no copy where it is all of them."""
    top, left = box.top - whole.top, box.left - whole.left
    part = frames[:, :, top : top + box.height, left : left + box.width]
    return part.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True, kw_only=True)
class StepSampler:
    """The positions of one rank, step by step."""

    global_batch: int
    rank: int
    world_size: int
    start_step: int
    steps: int

    def __post_init__(self) -> None:
        self._positions(self.start_step)  # a world size that does not divide the batch is refused here

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start_step, self.steps):
            yield self._positions(step)

    def __len__(self) -> int:
        return max(0, self.steps - self.start_step)

    def _positions(self, step: int) -> list[int]:
        positions = rank_positions(step, global_batch=self.global_batch, rank=self.rank, world_size=self.world_size)
        return [int(position) for position in positions]


def clip_batches(dataset: ClipDataset, sampler: StepSampler, *, pin_memory: bool = False) -> Iterator[ClipBatch]:
    """The batches of one rank from `sampler.start_step` on.

    Raises:
        StorageError: A shard cannot be read, a worker died, or a batch took longer than the timeout.
        ShardError: A sample and all its substitutes are bad.
    """
    config = dataset.config
    in_workers = config.num_workers > 0
    loader: DataLoader[ClipBatch] = DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=_as_it_is,
        num_workers=config.num_workers,
        prefetch_factor=config.prefetch_batches if in_workers else None,
        timeout=config.timeout_s if in_workers else 0,
        pin_memory=pin_memory,
        # Forked workers share the index's memory; decoders, clients and threads are all made after the fork.
        multiprocessing_context="fork" if in_workers else None,
        worker_init_fn=_leave_stopping_to_the_trainer,
    )
    batches = iter(loader)
    while True:
        try:
            with loader_failures_explained():
                batch = next(batches)
        except StopIteration:
            return
        if isinstance(batch, SurgrecError):
            try:
                raise batch
            finally:
                del batch, batches  # or the error and this frame hold each other, and the workers, until the next gc
        yield batch


@contextmanager
def loader_failures_explained() -> Iterator[None]:
    """Around a training loop: a worker that dies raises wherever the main process is, not only where it waits for a batch.

    Raises:
        StorageError: A worker died, or a batch took longer than the timeout.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith(_LOADER_FAILURES):
            raise
        raise StorageError(
            f"the loader stopped: {str(error).splitlines()[0]}; if memory ran out use fewer workers, "
            "if the storage is slow raise loader.timeout_s"
        ) from error


def _leave_stopping_to_the_trainer(worker: int) -> None:
    """Slurm sends SIGTERM to every process: the trainer saves and then ends its workers, which must serve it until then."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _as_it_is(batch: Any) -> Any:
    return batch
