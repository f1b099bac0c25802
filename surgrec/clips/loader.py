"""The loader: batches of one rank, in the order of the stream, from any step, with any number of workers.

A map-style dataset whose items are positions, under torch's plain DataLoader: workers hold no state, so there is none to save.
It is never passed to `accelerator.prepare`, which would shard again what is already one rank's.
"""

import atexit
import os
import signal
import threading
import weakref
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch.utils.data import DataLoader, Dataset, get_worker_info

from surgrec.clips.batch import ClipBatch
from surgrec.clips.dataset import ClipDataset, LoaderConfig, Request
from surgrec.clips.frame_memory import FrameMemory, PackedBatch
from surgrec.clips.malloc import keep_freed_memory
from surgrec.errors import StorageError, SurgrecError
from surgrec.stream import FillerStatus, ReadStats, ShardDemands, rank_positions, run_cache_filler

_LAUNCHED = (("LOCAL_RANK", "0"), ("LOCAL_WORLD_SIZE", "1"))
"""What torchrun and `accelerate launch` tell a process of its machine, and what is so without them."""
_running: "weakref.WeakSet[Generator[ClipBatch]]" = weakref.WeakSet()
_GRACE_S = 5.0
_HELD = 2
"""Batches that a training loop has in its hands at a time: this one, and the one before."""
_LOADER_FAILURES = ("DataLoader worker", "DataLoader timed out", "Pin memory thread")
"""How torch begins to say that a worker died or was too slow; any other RuntimeError is a bug, and is shown whole."""


@atexit.register
def _end_workers() -> None:
    """Closes what a script left open: before Python waits for its child processes, as this is registered after that."""
    for batches in list(_running):
        with suppress(ValueError):  # it is at work in another thread
            batches.close()


@dataclass(frozen=True, kw_only=True)
class StepSampler:
    """The positions of one rank, step by step."""

    global_batch: int
    rank: int
    world_size: int
    start_step: int
    steps: int

    def __post_init__(self) -> None:
        self.positions(
            self.start_step
        )  # a world size that does not divide the batch is refused here

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start_step, self.steps):
            yield self.positions(step)

    def __len__(self) -> int:
        return max(0, self.steps - self.start_step)

    def positions(self, step: int) -> list[int]:
        """The positions of this rank at one step."""
        positions = rank_positions(
            step, global_batch=self.global_batch, rank=self.rank, world_size=self.world_size
        )
        return [int(position) for position in positions]


@dataclass(frozen=True, kw_only=True)
class _Requests:
    """What a sampler gives, each with what the same maker of batches will probably be asked for next."""

    sampler: StepSampler
    config: LoaderConfig

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Request]:
        sampler, config = self.sampler, self.config
        makers = (
            config.workers or config.decode_threads
        )  # torch serves its workers in turn, and we our threads
        for step in range(sampler.start_step, sampler.steps):
            yield Request(
                positions=tuple(sampler.positions(step)),
                stride=makers * sampler.global_batch,
                more=(sampler.steps - 1 - step) // makers,
                # Without workers each thread makes a batch of its own, but the first one is waited for, and made by all.
                spread=config.decode_threads > 1
                and (config.workers > 0 or step == sampler.start_step),
            )


def clip_batches(
    dataset: ClipDataset, sampler: StepSampler, *, pin_memory: bool = False
) -> Generator[ClipBatch]:
    """The batches of one rank from `sampler.start_step` on.

    Raises:
        StorageError: A shard cannot be read, a worker died, or a batch took longer than the timeout.
        ShardError: A shard is not the one of its index, or a sample and all its substitutes are bad.
    """
    batches = _clip_batches(dataset, sampler, pin_memory)
    _running.add(batches)
    return batches


def _clip_batches(
    dataset: ClipDataset, sampler: StepSampler, pin_memory: bool
) -> Generator[ClipBatch]:
    requests = _Requests(sampler=sampler, config=dataset.config)
    with ExitStack() as running:
        told = _start_filling(dataset, sampler, running)
        make = _in_workers if dataset.config.workers else _in_threads
        counted = told.counted() if told else {}
        for batch in running.enter_context(closing(make(dataset, requests, pin_memory))):
            if isinstance(batch, SurgrecError):
                try:
                    raise batch
                finally:
                    del batch  # or the error and this frame hold each other, and the workers, until the next gc
            if told:
                told.position.value = int(batch.positions[-1]) + 1
                before, counted = counted, told.counted()
                filled = ReadStats(
                    **{name: count - before[name] for name, count in counted.items()}
                )
                batch = replace(batch, reading=batch.reading + filled)
            yield batch


def _start_filling(
    dataset: ClipDataset, sampler: StepSampler, running: ExitStack
) -> FillerStatus | None:
    """Has the cache filled for all ranks of this machine, by one of them."""
    cache = dataset.config.cache
    if cache is None:
        return None
    cache.prepare()
    local_rank, local_ranks = (
        int(os.environ.get(name, when_alone)) for name, when_alone in _LAUNCHED
    )
    if local_rank or not len(sampler):
        return None
    size = sampler.global_batch // sampler.world_size
    needs = partial(  # made by the process that fills: it costs a second where there are millions of samples
        ShardDemands,
        dataset.stream,
        positions=sampler.steps * sampler.global_batch,
        slots=(sampler.rank * size, (sampler.rank + local_ranks) * size),
        global_batch=sampler.global_batch,
    )
    return running.enter_context(
        run_cache_filler(cache, needs, sampler.start_step * sampler.global_batch)
    )


def _in_workers(
    dataset: ClipDataset, requests: _Requests, pin_memory: bool
) -> Generator[ClipBatch | SurgrecError]:
    """Batches that worker processes make."""
    config = dataset.config
    with closing(FrameMemory(config.workers, config.prefetch_batches + _HELD)) as memory:
        loader: DataLoader[ClipBatch] = DataLoader(
            _InBlocks(dataset, memory),
            batch_sampler=requests,  # type: ignore[arg-type]  # of requests, where torch expects lists of indices
            collate_fn=_as_it_is,
            num_workers=config.workers,
            prefetch_factor=config.prefetch_batches,
            timeout=config.timeout_s,
            pin_memory=pin_memory,
            # Forked workers share the index's memory; decoders, clients and threads are all made after the fork.
            multiprocessing_context="fork",
            worker_init_fn=_leave_stopping_to_the_trainer,
        )
        batches: Any = iter(loader)
        try:
            while True:
                with (
                    loader_failures_explained(),
                    _killed_after(config.timeout_s + _GRACE_S, batches._workers),
                ):
                    batch = next(batches, None)
                if batch is None:
                    return
                yield batch
        finally:
            # At exit Python sends workers a SIGTERM, which ours leave to the trainer, and then waits for them without end.
            batches._shutdown_workers()
            _kill(batches._workers)


class _InBlocks(Dataset[ClipBatch]):
    """A dataset of a worker, whose batches are in memory that the training process sees too."""

    def __init__(self, dataset: ClipDataset, memory: FrameMemory) -> None:
        self._dataset = dataset
        self._memory = memory

    def __getitems__(self, request: Request) -> PackedBatch | ClipBatch | SurgrecError:
        worker = get_worker_info()
        assert worker is not None, "only workers are given this dataset"
        block = self._memory.free_block(worker.id)
        made = self._dataset.__getitems__(request, keep=block.add)
        return made if isinstance(made, SurgrecError) else self._memory.pack(made, block)


@contextmanager
def _killed_after(seconds: float, workers: Sequence[Any]) -> Iterator[None]:
    """Ends a wait that torch's timeout does not see: for the memory of a batch from a worker that was frozen meanwhile."""
    watchdog = threading.Timer(seconds, _kill, [workers])
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()


def _kill(workers: Sequence[Any]) -> None:
    for worker in workers:
        worker.kill()


def _in_threads(
    dataset: ClipDataset, requests: _Requests, pin_memory: bool
) -> Generator[ClipBatch | SurgrecError]:
    """Batches that threads of this process make. torchcodec decodes without Python's lock."""
    config = dataset.config

    def made(request: Request) -> ClipBatch | SurgrecError:
        batch = dataset.__getitems__(request)
        return batch.pin_memory() if pin_memory and isinstance(batch, ClipBatch) else batch

    def next_made() -> ClipBatch | SurgrecError:
        try:
            return coming.popleft().result(timeout=config.timeout_s)
        except TimeoutError:
            return _too_slow(f"no batch came in {config.timeout_s} s")

    keep_freed_memory()
    ahead = max(config.prefetch_batches, config.decode_threads)
    producers = ThreadPoolExecutor(config.decode_threads, thread_name_prefix="batch")
    coming: deque[Future[ClipBatch | SurgrecError]] = deque()
    try:
        for request in requests:
            coming.append(producers.submit(made, request))
            if request.spread and wait(coming, timeout=config.timeout_s).not_done:
                yield _too_slow(f"no batch came in {config.timeout_s} s")
            if len(coming) > ahead:
                yield next_made()
        while coming:
            yield next_made()
    finally:
        producers.shutdown(wait=False, cancel_futures=True)
        dataset.forget()


@contextmanager
def loader_failures_explained() -> Iterator[None]:
    """Around a training loop: a worker that dies raises wherever the main process is, not only where it waits for a batch.

    Raises:
        StorageError: A worker died, or a batch took longer than the timeout.
    """
    try:
        yield
    except (EOFError, ConnectionError) as error:
        raise _too_slow("a worker ended while it handed over a batch") from error
    except RuntimeError as error:
        if not str(error).startswith(_LOADER_FAILURES):
            raise
        raise _too_slow(str(error).splitlines()[0]) from error


def _too_slow(what: str) -> StorageError:
    return StorageError(
        f"the loader stopped: {what}; if memory ran out use fewer workers, if the storage is slow raise loader.timeout_s"
    )


def _leave_stopping_to_the_trainer(worker: int) -> None:
    """Slurm sends SIGTERM to every process: the trainer saves and then ends its workers, which must serve it until then."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _as_it_is(batch: Any) -> Any:
    return batch
