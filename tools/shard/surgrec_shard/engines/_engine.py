"""The contract of every engine."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Generic, Protocol, TypeVar, runtime_checkable

from surgrec.recordings.decoders import Decoders

_WAITING_PER_CORE = 2
"""Tasks that run or wait, per core: a core that becomes free has work at once."""

KeyType = TypeVar("KeyType")
ResultType = TypeVar("ResultType")
SharedType = TypeVar("SharedType")
SharedType_co = TypeVar("SharedType_co", covariant=True)
Task = Callable[[Decoders], ResultType]
"""Called with the decoders that it may use."""


@runtime_checkable
class Shared(Protocol[SharedType_co]):
    """A value that many tasks use."""

    def get(self) -> SharedType_co:
        """Return the value, in a task."""


@dataclass(frozen=True)
class Here(Generic[SharedType]):
    """A value for tasks in this process."""

    value: SharedType

    def get(self) -> SharedType:
        """Return the value."""
        return self.value


@dataclass(frozen=True, kw_only=True)
class Needs:
    """The needs of a task."""

    cores: int = 1
    memory_bytes: int = 1 << 30
    """Memory that is kept free for it."""
    files: tuple[Path, ...] = ()
    """Files that it reads by their paths."""
    is_urgent: bool = False
    """Whether it hardly uses a core, so that the local engine runs it beside the others. A cluster
    runs it in its turn."""


class Engine(ABC):
    """Runs tasks. Use it in a `with` block, at whose end no task runs any more."""

    @property
    @abstractmethod
    def cores(self) -> int:
        """Tasks of one core that run at once. The number may change while the engine works."""

    @property
    @abstractmethod
    def cores_of_a_machine(self) -> int:
        """Most cores that one task can have."""

    @property
    def machines(self) -> int:
        """Number of machines. It may change while the engine works."""
        return 1

    def share(self, value: SharedType) -> Shared[SharedType]:
        """Return a value for many tasks, so that it is sent once to each machine."""
        return Here(value)

    @abstractmethod
    def submit(self, task: Task[ResultType], needs: Needs = Needs()) -> "Future[ResultType]":
        """Run a task as soon as a machine is free. The future has its result or its error."""

    @abstractmethod
    def close(self) -> None:
        """Discard the tasks that wait, and end."""

    def __enter__(self) -> "Engine":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def completed(
    engine: Engine, tasks: Iterable[tuple[KeyType, Task[ResultType], Needs]]
) -> "Iterator[tuple[KeyType, Future[ResultType]]]":
    """Run tasks and yield each ended one, in no particular order.

    Few tasks wait at a time, so their number does not matter for memory.

    Args:
        engine: Runs the tasks.
        tasks: Keys, which tell the tasks apart, tasks, and what each needs.
    """
    waiting = iter(tasks)
    running = 0
    ended: SimpleQueue[tuple[KeyType, Future[ResultType]]] = SimpleQueue()

    while True:
        while running < max(1, _WAITING_PER_CORE * engine.cores):
            following = next(waiting, None)
            if following is None:
                break
            key, task, needs = following
            future = engine.submit(task, needs)
            future.add_done_callback(partial(_put, ended, key))
            running += 1
        if not running:
            return
        yield ended.get()
        running -= 1


def _put(
    ended: "SimpleQueue[tuple[KeyType, Future[ResultType]]]",
    key: KeyType,
    future: "Future[ResultType]",
) -> None:
    ended.put((key, future))
