"""The loader: batches of one rank in the order of the stream.

It starts at any step and runs with any number of workers. Batch requests go to torch's plain
DataLoader, or to threads. Workers hold no state, so a checkpoint needs none. Do not pass these
batches to `accelerator.prepare`, which would divide them among the ranks a second time.
"""

import atexit
import itertools
import math
import os
import signal
import sys
import threading
import weakref
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

from torch.utils.data import DataLoader, Dataset, get_worker_info

from surgrec.clips._batch import ClipBatch
from surgrec.clips._dataset import BatchRequest, ClipDataset
from surgrec.clips._frame_memory import FrameMemory, PackedBatch
from surgrec.clips._loader_config import LoaderConfig
from surgrec.clips._malloc import keep_freed_memory
from surgrec.clips.loader_memory import (
    Prefetch,
    RankBatch,
    buffers_per_worker,
    prefetch_within,
)
from surgrec.errors import ConfigError, StorageError, SurgrecError
from surgrec.stream import FillerStatus, ReadStats, rank_positions, run_cache_filler

_LAUNCHER_VARIABLES = (("LOCAL_RANK", "0"), ("LOCAL_WORLD_SIZE", "1"))
"""Environment variables of torchrun and `accelerate launch`, with their values for a single
process."""
_GRACE_S = 5.0
"""Seconds after the timeout in which torch can report it before workers are killed."""
_LOADER_FAILURES = ("DataLoader worker", "DataLoader timed out", "Pin memory thread")
"""Beginnings of torch's messages about dead or slow workers. Any other RuntimeError is a bug and
keeps its traceback."""

_DIVIDERS = ("DataLoaderDispatcher", "IterableDatasetShard", "BatchSamplerShard")
"""Classes of Accelerate that divide batches among ranks."""

_running: "weakref.WeakSet[Generator[ClipBatch]]" = weakref.WeakSet()


@atexit.register
def _end_workers() -> None:
    """Close the loaders that a script left open.

    Registered late, it runs before Python waits for child processes.
    """
    for batches in list(_running):
        with suppress(ValueError):  # another thread is executing the generator
            batches.close()


@dataclass(frozen=True, kw_only=True)
class StepSampler:
    """The positions of one rank, step by step, from `start_step` to `steps` - 1."""

    global_batch: int
    rank: int
    world_size: int
    start_step: int
    steps: int

    def __post_init__(self) -> None:
        self.positions(self.start_step)  # raises if the world size does not divide the batch

    @property
    def samples(self) -> int:
        """Samples of this rank in one step."""
        return self.global_batch // self.world_size

    def __iter__(self) -> Iterator[list[int]]:
        _refuse_second_division(self)
        for step in range(self.start_step, self.steps):
            yield self.positions(step)

    def __len__(self) -> int:
        return max(0, self.steps - self.start_step)

    def positions(self, step: int) -> list[int]:
        """Return the positions of this rank at one step."""
        positions = rank_positions(
            step, global_batch=self.global_batch, rank=self.rank, world_size=self.world_size
        )
        return [int(position) for position in positions]


@dataclass(frozen=True)
class _Schedule(Sequence[tuple[int, ...]]):
    """The positions of the parts of all batches, in order."""

    sampler: StepSampler
    parts: int
    first_parts: int
    """Parts of the first batch."""

    def __len__(self) -> int:
        return len(self.sampler) * self.parts + self._more if len(self.sampler) else 0

    def __getitem__(self, number: Any) -> Any:
        step, part, parts = 0, number, self.first_parts
        if number >= self.first_parts:
            step, part = divmod(number - self._more, self.parts)
            parts = self.parts
        positions = self.sampler.positions(self.sampler.start_step + step)
        first, end = (len(positions) * edge // parts for edge in (part, part + 1))
        return tuple(positions[first:end])

    @property
    def _more(self) -> int:
        """Parts that the first batch has more than others."""
        return self.first_parts - self.parts


@dataclass(frozen=True, kw_only=True)
class _RequestSampler:
    """Batch requests, each with a forecast for the worker or thread that receives it."""

    sampler: StepSampler
    config: LoaderConfig
    prefetch: Prefetch
    rank_batch: RankBatch

    @property
    def schedule(self) -> _Schedule:
        """The positions of all requests."""
        parts = self.prefetch.parts
        # Training waits for the first batch, so each worker makes a part of it.
        most = self.rank_batch.samples // parts
        more = max(1, min(math.ceil(self.config.workers / parts), most))
        return _Schedule(self.sampler, parts, parts * more)

    def __len__(self) -> int:
        return len(self.schedule)

    def __iter__(self) -> Iterator[BatchRequest]:
        config, schedule = self.config, self.schedule
        # Requests go to workers in turn (torch), or to threads in turn (`_in_threads`).
        producers = config.workers or config.decode_threads

        for number in range(len(schedule)):
            # Without workers each thread makes whole parts, except those of the first batch:
            # training waits for it, so all make it.
            awaited = config.workers > 0 or number < self.prefetch.parts
            yield BatchRequest(
                positions=schedule[number],
                schedule=schedule,
                number=number,
                producers=producers,
                all_threads=config.decode_threads > 1 and awaited,
            )


def clip_batches(
    dataset: ClipDataset, sampler: StepSampler, *, pin_memory: bool = False, parts: int = 1
) -> Generator[ClipBatch]:
    """Yield the batches of one rank from `sampler.start_step` on.

    Args:
        dataset: Makes the batches.
        sampler: The positions of this rank.
        pin_memory: Whether frames are placed in page-locked memory, for fast copies to a GPU.
        parts: Parts in which each batch is yielded, in order and of about equal size; at most the
            samples of a batch. All views of a sample are in one part. Only the parts in use take
            memory, not whole batches.

    Raises:
        ConfigError: A worker of a DataLoader iterates, or Accelerate would divide the batches of a
            rank a second time.
        StorageError: A shard cannot be read, a worker died, or a batch took longer than the
            timeout.
        ShardError: A shard does not match its index, or a sample and its substitutes are bad.

    Example:
        ```python
        sampler = StepSampler(global_batch=192, rank=0, world_size=1, start_step=0, steps=90_000)
        for batch in clip_batches(dataset, sampler, pin_memory=True):
            clips = to_model_input(batch, crop_px=256, device=device)
        ```
    """
    batches = _clip_batches(dataset, sampler, pin_memory, parts)
    _running.add(batches)
    return batches


def _clip_batches(
    dataset: ClipDataset, sampler: StepSampler, pin_memory: bool, parts: int
) -> Generator[ClipBatch]:
    if get_worker_info() is not None:
        raise ConfigError(
            "load_clips and clip_batches start workers themselves, but a worker of a DataLoader "
            "iterates over them; use them without a DataLoader, or with "
            "DataLoader(clips, batch_size=None, num_workers=0)"
        )
    _refuse_second_division(sampler)
    rank_batch = dataset.rank_batch(sampler.samples, parts)
    prefetch = prefetch_within(dataset.config, rank_batch, pinned=pin_memory)
    requests = _RequestSampler(
        sampler=sampler, config=dataset.config, prefetch=prefetch, rank_batch=rank_batch
    )
    produce = _in_workers if dataset.config.workers else _in_threads

    with ExitStack() as resources:
        filler = _start_cache_filler(dataset, sampler, resources)
        counts = filler.counted() if filler else {}

        made = resources.enter_context(closing(produce(dataset, requests, pin_memory)))
        for batch in _taken(made, rank_batch):
            if isinstance(batch, SurgrecError):
                try:
                    raise batch
                finally:
                    # Break the cycle of error and frame, which would keep the workers until the
                    # next garbage collection.
                    del batch

            # Tell the cache filler how far training is, and add its reads to those of the batch.
            if filler:
                filler.position.value = int(batch.positions[-1]) + 1
                previous, counts = counts, filler.counted()
                filled = {name: count - previous[name] for name, count in counts.items()}
                batch = replace(batch, read_stats=batch.read_stats + ReadStats(**filled))

            yield batch


def _taken(
    made: Iterator[ClipBatch | SurgrecError], batch: RankBatch
) -> Iterator[ClipBatch | SurgrecError]:
    """Yield the parts that the training takes from those that are made, and errors as they are."""
    edges = [batch.samples * part // batch.parts for part in range(batch.parts + 1)]
    sizes = itertools.cycle(end - first for first, end in itertools.pairwise(edges))
    size = next(sizes)
    pending: list[ClipBatch] = []
    for part in made:
        if isinstance(part, SurgrecError):
            failure = [part]
            del part  # a yielded part must not be held here
            yield failure.pop()
            continue

        pending.append(part)
        del part
        if sum(len(each.keys) for each in pending) == size:
            size = next(sizes)
            yield ClipBatch.joined([pending.pop(0) for _ in range(len(pending))])


def _refuse_second_division(sampler: StepSampler) -> None:
    """Refuse to yield one rank's share to a wrapper that divides it among the ranks again.

    Accelerate wraps any loader that is prepared, as the Trainer of transformers does. It sends rank
    0's batches to all ranks, or each rank a part of its own: most positions would never be used.
    The wrapper cannot be seen from the dataset, but it is among the callers.

    Raises:
        ConfigError: There are several ranks, and Accelerate divides.
    """
    if sampler.world_size == 1:
        return
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        caller = frame.f_code.co_qualname.partition(".")[0]
        if caller in _DIVIDERS and frame.f_globals.get("__name__") == "accelerate.data_loader":
            raise ConfigError(second_division(sampler.rank, sampler.world_size))
        frame = frame.f_back


def second_division(rank: int, world_size: int) -> str:
    """Return the sentence that refuses to divide the batches of a rank again."""
    return (
        f"the loader already yields the share of rank {rank} of {world_size}, and Accelerate "
        "would divide it again; in your own loop, do not pass it to accelerator.prepare; in a "
        "Trainer, return DataLoader(clips, batch_size=None) from get_train_dataloader"
    )


def _start_cache_filler(
    dataset: ClipDataset, sampler: StepSampler, resources: ExitStack
) -> FillerStatus | None:
    """Start the process that fills the cache for all ranks of this machine.

    Only local rank 0 starts one.
    """
    cache = dataset.config.cache
    if cache is None:
        return None
    cache.prepare()

    local_rank, local_ranks = (
        int(os.environ.get(name, default)) for name, default in _LAUNCHER_VARIABLES
    )
    if local_rank or not len(sampler):
        return None

    size = sampler.samples
    return resources.enter_context(
        run_cache_filler(
            cache,
            dataset.stream,
            start=sampler.start_step * sampler.global_batch,
            positions=sampler.steps * sampler.global_batch,
            slots=(sampler.rank * size, (sampler.rank + local_ranks) * size),
            global_batch=sampler.global_batch,
        )
    )


def _in_workers(
    dataset: ClipDataset, requests: _RequestSampler, pin_memory: bool
) -> Generator[ClipBatch | SurgrecError]:
    """Yield batches that worker processes make."""
    config, prefetch = dataset.config, requests.prefetch
    buffers = buffers_per_worker(config, prefetch, requests.rank_batch, pinned=pin_memory)

    with closing(FrameMemory(config.workers, buffers)) as memory:
        loader: DataLoader[ClipBatch] = DataLoader(
            _WorkerDataset(dataset, memory),
            batch_sampler=requests,  # type: ignore[arg-type]  # requests instead of index lists
            collate_fn=_identity,
            num_workers=config.workers,
            prefetch_factor=prefetch.requests,
            timeout=config.timeout_s,
            pin_memory=pin_memory,
            # Forked workers share the memory of the index. Decoders, clients and threads are
            # created after the fork.
            multiprocessing_context="fork",
            worker_init_fn=_ignore_sigterm,
        )
        batches: Any = iter(loader)

        try:
            while True:
                # Two watches: torch's timeout, and a timer for waits that it does not see.
                with (
                    loader_failures_explained(),
                    _killed_after(config.timeout_s + _GRACE_S, batches._workers),
                ):
                    batch = next(batches, None)
                if batch is None:
                    return
                yield batch
        finally:
            # At exit Python sends SIGTERM, which these workers ignore, and then waits for them
            # without a limit: kill them.
            batches._shutdown_workers()
            _kill(batches._workers)


class _WorkerDataset(Dataset[ClipBatch]):
    """The dataset inside a worker.

    Its batches are in memory that the training process shares.
    """

    def __init__(self, dataset: ClipDataset, memory: FrameMemory) -> None:
        self._dataset = dataset
        self._memory = memory

    def __getitems__(self, request: BatchRequest) -> PackedBatch | ClipBatch | SurgrecError:
        worker = get_worker_info()
        assert worker is not None, "this dataset runs in workers only"
        buffer = self._memory.free_buffer(worker.id)
        batch = self._dataset.batch_or_error(request, store=buffer.add)
        return batch if isinstance(batch, SurgrecError) else self._memory.pack(batch, buffer)


@contextmanager
def _killed_after(seconds: float, workers: Sequence[Any]) -> Iterator[None]:
    """Kill the workers if the body takes too long.

    torch's timeout misses a worker that freezes while it sends a batch.
    """
    timer = threading.Timer(seconds, _kill, [workers])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _kill(workers: Sequence[Any]) -> None:
    for worker in workers:
        worker.kill()


def _in_threads(
    dataset: ClipDataset, requests: _RequestSampler, pin_memory: bool
) -> Generator[ClipBatch | SurgrecError]:
    """Yield batches that threads of this process make.

    torchcodec releases Python's global lock while it decodes.
    """
    config = dataset.config
    keep_freed_memory()
    pending: deque[Future[ClipBatch | SurgrecError]] = deque()
    producers = ThreadPoolExecutor(config.decode_threads, thread_name_prefix="batch")
    prefetch = max(requests.prefetch.requests, config.decode_threads)

    def produce(request: BatchRequest) -> ClipBatch | SurgrecError:
        batch = dataset.batch_or_error(request)
        return batch.pin_memory() if pin_memory and isinstance(batch, ClipBatch) else batch

    def next_batch() -> ClipBatch | SurgrecError:
        try:
            return pending.popleft().result(timeout=config.timeout_s)
        except TimeoutError:
            return _stopped(f"no batch arrived within {config.timeout_s} s")

    try:
        for request in requests:
            pending.append(producers.submit(produce, request))

            # All decoding threads work on this batch: wait for it before the next one is started.
            if request.all_threads and wait(pending, timeout=config.timeout_s).not_done:
                yield _stopped(f"no batch arrived within {config.timeout_s} s")

            if len(pending) > prefetch:
                yield next_batch()

        while pending:
            yield next_batch()
    finally:
        producers.shutdown(wait=False, cancel_futures=True)
        dataset.discard_read_ahead()


@contextmanager
def loader_failures_explained() -> Iterator[None]:
    """Turn torch's errors about dead or slow workers into one sentence.

    Use it around a training loop: torch reports a dead worker wherever the main process is, not
    only in the loader.

    Raises:
        StorageError: A worker died, or a batch took longer than the timeout.
    """
    try:
        yield
    except (EOFError, ConnectionError) as error:
        raise _stopped("a worker ended while it sent a batch") from error
    except RuntimeError as error:
        if not str(error).startswith(_LOADER_FAILURES):
            raise
        raise _stopped(str(error).splitlines()[0]) from error


def _stopped(reason: str) -> StorageError:
    return StorageError(
        f"the loader stopped ({reason.rstrip('. ')}); if memory ran out, lower "
        "loader.num_workers; if the storage is slow, raise loader.timeout_s"
    )


def _ignore_sigterm(worker: int) -> None:
    """Keep the worker alive on SIGTERM.

    Slurm signals every process, and the trainer still needs batches until it has saved.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _identity(batch: Any) -> Any:
    return batch
