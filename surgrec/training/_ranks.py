"""Ranks that end together: a failure on one ends all, and each of them names the one that failed.

The others would wait for the failed rank in their next collective, until a timeout of an hour or
until a launcher kills them. So each rank has a thread that reads failures from the store through
which the ranks found each other. A second thread ends the rank if that store no longer answers.
"""

import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn, TypeVar

import psutil
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch.distributed.distributed_c10d import PrefixStore, Store

from surgrec.cli import print_error
from surgrec.errors import SurgrecError, TrainingError, cut, reason

Result = TypeVar("Result")
Item = TypeVar("Item")

_EVERY_S = 1.0
"""Seconds between two looks for a failure."""
_HEARD_S = 10.0
"""Longest time that a failed rank waits for the others to hear of it, and they for its message."""
_LINGER_S = 3.0
"""Time for which rank 0 keeps the store open after it heard of a failure."""
_SILENT_S = 4.0
"""Time without a sign of life after which a rank whose connection broke has ended."""
_LOOKS, _SILENT_LOOKS = 10, 300
"""Looks between two checks of other ranks, and looks without a sign of life after which a rank
counts as ended. Looks are counted, not seconds: a job may be suspended as a whole."""
_LONGEST_WORK = timedelta(hours=1)
"""Longest time between two signs of progress, besides the wait for a batch. It exceeds the longest
save of a checkpoint."""
_MARGIN = timedelta(minutes=10)
"""Time by which collectives wait longer, so that a sentence names the rank that they wait for."""
_MOST_CHARACTERS = 600
_FAILED, _HEARD, _ALIVE, _SILENT = "failed", "heard", "alive", "silent"
_PROGRESS, _LEFT = "progress", "left"


@dataclass
class _MainThread:
    """Progress of the main thread, which may wait in a collective while other threads live."""

    progress: int = 0
    longest_wait: timedelta = _LONGEST_WORK


_main_thread = _MainThread()


@dataclass(frozen=True)
class _Place:
    """The process of a rank."""

    host: str
    namespace: int
    """Inode of the namespace of the process, which tells containers with one host name apart."""
    process: int
    began: float
    """Creation time of the process; a later one may have its number."""

    @classmethod
    def here(cls) -> "_Place":
        """Return the place of this rank."""
        namespace = os.stat("/proc/self/ns/pid").st_ino
        began = psutil.Process().create_time()
        return cls(socket.gethostname(), namespace, os.getpid(), began)

    def kill(self) -> None:
        """Kill the process and its descendants if it is of this machine and still exists."""
        here = _Place.here()
        if (self.host, self.namespace) != (here.host, here.namespace):
            return
        with suppress(psutil.Error):
            process = psutil.Process(self.process)
            if process.create_time() == self.began:
                _kill_descendants(process)
                process.kill()

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"


class OtherRankError(TrainingError):
    """A failure of another rank, which prints it."""


_places: list[_Place] = []
"""The place of each rank, from `exchange_places`."""


def exchange_places() -> None:
    """Tell each rank the processes of all ranks, so that it can name and kill a frozen one.

    A collective.
    """
    _places[:] = gather_object([_Place.here()])


def expect_progress(longest_batch_s: int) -> timedelta:
    """Set the longest time without progress. Return a timeout for collectives, which exceeds it.

    Args:
        longest_batch_s: Longest wait for a batch.
    """
    _main_thread.longest_wait = _LONGEST_WORK + timedelta(seconds=longest_batch_s)
    return _main_thread.longest_wait + _MARGIN


def note_progress() -> None:
    """Note that this rank goes on: a batch has arrived, or a step is done."""
    _main_thread.progress += 1


def open_store() -> Store | None:
    """Return the store of all ranks, with a connection of its own; None for a single process."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return None
    group = dist.group.WORLD
    assert group is not None, "the ranks have found each other"
    return PrefixStore("surgrec", group.get_group_store().clone())


def on_main(accelerator: Accelerator, work: Callable[[], Result]) -> Result:
    """Run `work` on the main process and return its result on every rank. A collective.

    If only the main process raised an error, the other ranks would wait for it.

    Raises:
        OtherRankError: `work` failed, on the ranks that did not run it.
        BaseException: What `work` raised, on the main process.
    """
    error: BaseException | None = None
    answer: list[tuple[str, Result | None]] = [("", None)]
    if accelerator.is_main_process:
        try:
            answer = [("", work())]
        except BaseException as raised:  # whatever it is, the others must not wait
            error = raised
            answer = [(_told(0, raised), None)]

    broadcast_object_list(answer)
    if error is not None:
        raise error
    failure, result = answer[0]
    if failure:
        raise OtherRankError(failure)
    return result  # type: ignore[return-value]  # None only if `work` returned it


def own_share(accelerator: Accelerator, items: Sequence[Item]) -> Sequence[Item]:
    """Return every n-th of some items, from this rank's on, for n ranks."""
    return items[accelerator.process_index :: accelerator.num_processes]


def gathered(accelerator: Accelerator, share: list[Item]) -> list[Item]:
    """Return the results of all ranks, in the order of the items of `own_share`. A collective."""
    shares = gather_object([share])
    ranks, count = accelerator.num_processes, sum(map(len, shares))
    return [shares[number % ranks][number // ranks] for number in range(count)]


@contextmanager
def ranks_end_together(prog: str) -> Iterator[None]:
    """End the body on all ranks if it fails on one, each with a sentence that names the failed one.

    On the failed rank, the error goes on as it is.

    Args:
        prog: Name of the program in messages.

    Raises:
        OtherRankError: The body failed because another rank did.
    """
    watch = _Watch(prog)
    watch.start()
    guard = threading.Thread(target=watch.guard, name="guard", daemon=True)
    guard.start()
    try:
        yield
    except BaseException as error:
        watch.tell(error)
        raise
    else:
        watch.leave()
    finally:
        watch.stop()


class _Watch(threading.Thread):
    """Tells the other ranks that this one is alive, and ends it if another one failed."""

    def __init__(self, prog: str) -> None:
        super().__init__(name="ranks", daemon=True)
        self._prog = prog
        self._stopped = threading.Event()
        self._opened = threading.Event()
        self._store: Store | None = None
        self._rank, self._world_size = 0, 1
        self._unchanged: Counter[int] = Counter()
        self._last: dict[int, int] = {}
        self._looks = 0

    def run(self) -> None:
        """Look for failures from the moment at which the ranks have found each other."""
        while not dist.is_initialized():
            if self._stopped.wait(_EVERY_S / 10):
                return
        self._rank, self._world_size = dist.get_rank(), dist.get_world_size()

        try:
            self._store = open_store()
            if self._store is None:
                return
            self._opened.set()
            while dist.is_initialized():
                self._look(self._store)
                if self._stopped.wait(_EVERY_S):
                    return
        except dist.DistError:
            # The store of a launcher may end before a run that saves; the store of rank 0 may not.
            is_over = _is_store_of_launcher() or self._stopped.wait(_HEARD_S)
            if not is_over and dist.is_initialized():
                self._end(_ended_silently([0]))

    def guard(self) -> None:
        """End this rank if a look at the store lasts too long: its process may be frozen."""
        seen, unchanged = 0, 0
        while not self._stopped.wait(_EVERY_S):
            is_waiting = dist.is_initialized() and self.is_alive() and self._looks == seen
            unchanged = unchanged + 1 if is_waiting else 0
            seen = self._looks
            if unchanged >= _SILENT_LOOKS:
                self._end(self._no_answer())

    def _look(self, store: Store) -> None:
        """Give a sign of life, and end this rank if another one failed."""
        store.add(f"{_ALIVE}/{self._rank}", 1)
        failure = _heard(store)
        if failure:
            self._end(failure)

        self._looks += 1
        if self._looks % _LOOKS == 0:
            self._check_alive(store)
            self._check_progress(store)

    def stop(self) -> None:
        """Stop looking. A thread that waits for a store that has ended is left behind."""
        self._stopped.set()
        self.join(_HEARD_S)

    def leave(self) -> None:
        """Tell the other ranks that this one is done: the main process may still save."""
        self._wait_until_opened()
        if self._store is not None:
            with suppress(dist.DistError):
                self._store.set(f"{_LEFT}/{self._rank}", "")

    def tell(self, error: BaseException) -> None:
        """Tell the other ranks of an error, and wait until they have heard of it.

        Raises:
            OtherRankError: The error follows from the end of another rank.
        """
        self._wait_until_opened()
        self.stop()
        store = self._store
        if store is None:
            if _is_lost_connection(error):
                raise OtherRankError(_ended_silently([0])) from error
            return
        try:
            if isinstance(error, OtherRankError):
                store.add(_HEARD, 1)
                return
            if _is_lost_connection(error):
                failure = self._failure_of_others(store)
                if failure:
                    self._linger()
                    raise OtherRankError(failure) from error

            # All ranks name the one that failed first.
            store.compare_set(_FAILED, "", _told(self._rank, error))
            self._wait_until_heard(store)
        except dist.DistError:
            if _is_lost_connection(error):
                raise OtherRankError(_ended_silently([0])) from error

    def _wait_until_opened(self) -> None:
        """Wait for the store: an end right after the start must be told, too."""
        if dist.is_initialized() and dist.get_world_size() > 1:
            self._opened.wait(_HEARD_S)

    def _wait_until_heard(self, store: Store) -> None:
        deadline = time.monotonic() + _HEARD_S
        while store.add(_HEARD, 0) < self._world_size - 1 and time.monotonic() < deadline:
            time.sleep(0.1)

    def _failure_of_others(self, store: Store) -> str:
        """Return the failure that ended this rank's connection, or a message on silent ranks."""
        others = [rank for rank in range(self._world_size) if rank != self._rank]
        first = {rank: store.add(f"{_ALIVE}/{rank}", 0) for rank in others}

        began = time.monotonic()
        while time.monotonic() < began + _HEARD_S:
            store.add(f"{_ALIVE}/{self._rank}", 1)

            failure = _heard(store)
            if failure:
                return failure

            if time.monotonic() > began + _SILENT_S:
                silent = [
                    rank for rank in others if store.add(f"{_ALIVE}/{rank}", 0) == first[rank]
                ]
                if silent:
                    store.compare_set(_FAILED, "", _ended_silently(silent))

            time.sleep(0.1)

        return ""

    def _check_alive(self, store: Store) -> None:
        """End all ranks if one has given no sign of life for long.

        The main process checks all others, and they check the main process.
        """
        others = range(1, self._world_size) if self._rank == 0 else [0]
        for rank in others:
            self._count_unchanged(rank, store.add(f"{_ALIVE}/{rank}", 0))
        silent = [rank for rank in others if self._unchanged[rank] >= _SILENT_LOOKS]
        silent = [rank for rank in silent if not store.check([f"{_LEFT}/{rank}"])]
        if silent:
            store.set(_SILENT, json.dumps(silent))
            store.compare_set(_FAILED, "", f"{_named(silent)} {_unheard()}")

    def _check_progress(self, store: Store) -> None:
        """End all ranks if this one has made no progress for long, and name those it waits for."""
        progress = _main_thread.progress
        store.set(f"{_PROGRESS}/{self._rank}", str(progress))
        self._count_unchanged(self._rank, progress)
        longest = _main_thread.longest_wait.total_seconds()
        if self._unchanged[self._rank] * _EVERY_S < longest:
            return

        reached = {
            rank: int(store.get(f"{_PROGRESS}/{rank}"))
            for rank in range(self._world_size)
            if store.check([f"{_PROGRESS}/{rank}"])
        }
        last = [rank for rank, steps in reached.items() if steps == min(reached.values())]
        store.compare_set(_FAILED, "", f"{_named(last)} {_no_progress(longest)}")

    def _count_unchanged(self, rank: int, value: int) -> None:
        if value == self._last.get(rank):
            self._unchanged[rank] += _LOOKS
        else:
            self._last[rank], self._unchanged[rank] = value, 0

    def _no_answer(self) -> str:
        """Return a message on the process that keeps the store and no longer answers."""
        if _is_store_of_launcher():
            address = ":".join(os.environ.get(name, "") for name in ("MASTER_ADDR", "MASTER_PORT"))
            what = f"the launcher at {address}, through which the ranks find each other,"
        else:
            what = _named([0])
            for place in _places[:1]:
                place.kill()
        return f"{what} {_unheard()}"

    def _linger(self) -> None:
        """Let the others read the failure from a store that ends with rank 0."""
        if self._rank == 0:
            time.sleep(_LINGER_S)

    def _end(self, failure: str) -> NoReturn:
        """End this process, whatever its main thread waits for."""
        print_error(self._prog, failure)
        self._linger()
        _kill_descendants(psutil.Process())
        os._exit(1)


def _kill_descendants(process: psutil.Process) -> None:
    with suppress(psutil.Error):
        for worker in process.children(recursive=True):
            worker.kill()


def _kill_silent(store: Store) -> None:
    """Kill the silent ranks of this machine: launchers would wait for them."""
    for rank in json.loads(store.get(_SILENT)) if store.check([_SILENT]) else []:
        if rank < len(_places) and _places[rank] != _Place.here():
            _places[rank].kill()


def _is_store_of_launcher() -> bool:
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _named(ranks: list[int]) -> str:
    """Return ranks with their places, as the beginning of a sentence."""
    names = [f"{rank} ({_places[rank]})" if rank < len(_places) else str(rank) for rank in ranks]
    return f"{'rank' if len(ranks) == 1 else 'ranks'} {', '.join(names)}"


def _heard(store: Store) -> str:
    """Return the failure of another rank, and note that this one has heard of it."""
    if not store.check([_FAILED]):
        return ""
    store.add(_HEARD, 1)
    _kill_silent(store)
    failure: bytes = store.get(_FAILED)
    return failure.decode()


def _is_lost_connection(error: BaseException) -> bool:
    """Whether an error of a collective can follow from the end of another rank."""
    is_gloo = isinstance(error, RuntimeError) and "gloo" in str(error)
    return is_gloo or isinstance(error, dist.DistError)


def _told(rank: int, error: BaseException) -> str:
    """Return an error of a rank as the others tell it."""
    if isinstance(error, SurgrecError):
        return f"rank {rank} failed: {error}"
    if isinstance(error, KeyboardInterrupt):
        return f"rank {rank} was interrupted; --resume true continues from the last checkpoint"
    text = reason(error)
    named = text if text == type(error).__name__ else f"{type(error).__name__}: {text}"
    return (
        f"rank {rank} failed ({cut(named, _MOST_CHARACTERS)}); read the message of that rank, and "
        "go on with --resume true"
    )


def _ended_silently(ranks: list[int]) -> str:
    names = ", ".join(map(str, ranks))
    return (
        f"{'rank' if len(ranks) == 1 else 'ranks'} {names} ended without a message, as after a "
        "kill or without memory; read the log of the machine, and go on with --resume true"
    )


def _unheard() -> str:
    minutes = _SILENT_LOOKS * _EVERY_S / 60
    return (
        f"gave no sign of life for {minutes:.3g} minutes, as if suspended or on a machine that "
        "hangs; read the log of the machine, and go on with --resume true"
    )


def _no_progress(seconds: float) -> str:
    return (
        f"made no progress for {seconds / 60:.3g} minutes, as with a device or a file system that "
        "hangs; read the log of the machine, and go on with --resume true"
    )
