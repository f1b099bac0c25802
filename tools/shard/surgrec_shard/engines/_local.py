"""The engine of one machine: threads of this process, which wait for processes of ffmpeg."""

from concurrent.futures import Future, ThreadPoolExecutor

from surgrec.recordings.decoders import Decoders
from surgrec_shard.engines._engine import Engine, Needs, ResultType, Task


class LocalEngine(Engine):
    """Runs tasks in threads. They share decoders, so a long video uses those of idle threads.

    Args:
        workers: Number of threads, and of decoders.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._decoders = Decoders(workers)
        self._pool, self._urgent = ThreadPoolExecutor(workers), ThreadPoolExecutor(1)

    @property
    def cores(self) -> int:
        """Number of threads."""
        return self._workers

    @property
    def cores_of_a_machine(self) -> int:
        """1: tasks take further decoders when threads are idle."""
        return 1

    def submit(self, task: Task[ResultType], needs: Needs = Needs()) -> "Future[ResultType]":
        """Run a task in the next free thread."""
        pool = self._urgent if needs.is_urgent else self._pool
        return pool.submit(task, self._decoders)

    def close(self) -> None:
        """Discard the tasks that wait, and wait for the running ones."""
        for pool in (self._pool, self._urgent):
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in (self._pool, self._urgent):
            pool.shutdown()
