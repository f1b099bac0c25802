"""Run a job in this process or in several. No process outlives its parent."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.queues import SimpleQueue

from surgrec.errors import StorageError
from surgrec.features._job import Job, Outcome, Worker
from surgrec.features._videos import VideoEntry


def run_job(job: Job, devices: Sequence[str]) -> Iterator[list[Outcome]]:
    """Yield the outcomes of each video, one for each target, as soon as it is done, in any order.

    Args:
        job: The job.
        devices: Device of each process; a single device is used from this process.

    Raises:
        StorageError: A shard cannot be read, a file cannot be written, or a process died.
    """
    if len(devices) > 1:
        yield from _in_processes(job, devices)
        return
    worker = Worker(job, devices[0])
    for entry in job.videos.entries:
        yield worker.extract(entry)


def _in_processes(job: Job, devices: Sequence[str]) -> Iterator[list[Outcome]]:
    """Yield the outcomes of one process per device."""
    context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
    alive, lifeline = context.Pipe(duplex=False)
    free: SimpleQueue[str] = context.SimpleQueue()
    for device in devices:
        free.put(device)

    pool = ProcessPoolExecutor(
        len(devices), mp_context=context, initializer=_start, initargs=(job, free, alive)
    )
    try:
        with _ctrl_c_later():
            tasks = [pool.submit(_extract, entry) for entry in job.videos.entries]
        for task in as_completed(tasks):
            yield task.result()
    except BrokenProcessPool as error:
        raise StorageError(
            "a process that extracts features died; if memory ran out, use fewer --processes or a "
            "smaller --batch, then run again"
        ) from error
    finally:
        lifeline.close()  # processes exit now, even within a video: a file is complete or absent
        pool.shutdown(cancel_futures=True)


@contextmanager
def _ctrl_c_later() -> Iterator[None]:
    """Shield the processes that are started here from Ctrl-C; their parent ends them.

    A terminal sends Ctrl-C to all processes of a command.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # processes inherit it

    # The signal may reach a thread of a library instead, and Python would interrupt this thread.
    received: list[int] = []
    is_main = threading.current_thread() is threading.main_thread()
    handler = (
        signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
        if is_main
        else None
    )

    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if is_main:
            signal.signal(signal.SIGINT, handler)
    if received:
        raise KeyboardInterrupt


@dataclass
class _State:
    """The state of a worker process."""

    job: Job
    device: str
    worker: Worker | None = None


_state: list[_State] = []


def _start(job: Job, free: "SimpleQueue[str]", alive: Connection) -> None:
    threading.Thread(target=_leave_with_parent, args=(alive,), daemon=True).start()
    _state.append(_State(job=job, device=free.get()))


def _leave_with_parent(alive: Connection) -> None:
    """Exit when the parent closes its end of the pipe, or is killed."""
    alive.poll(None)
    os._exit(1)


def _extract(entry: VideoEntry) -> list[Outcome]:
    (state,) = _state
    # An error in the pool's initializer would lose its message, so the worker is built here.
    if state.worker is None:
        state.worker = Worker(state.job, state.device)
    return state.worker.extract(entry)
