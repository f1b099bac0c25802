"""Ranks that end together: a failure on one ends all, and each of them names the one that failed.

The others would wait for the failed rank in their next collective, until a timeout of an hour or
until a launcher kills them. So each rank has a thread that reads failures from the store through
which the ranks found each other.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, TypeVar

import psutil
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch.distributed.distributed_c10d import PrefixStore, Store

from surgrec.cli import print_error
from surgrec.errors import SurgrecError, TrainingError, cut, reason

Result = TypeVar("Result")

_EVERY_S = 1.0
"""Seconds between two looks for a failure."""
_HEARD_S = 10.0
"""Longest time that a failed rank waits for the others to hear of it, and they for its message."""
_LINGER_S = 3.0
"""Time for which rank 0 keeps the store open after it heard of a failure."""
_SILENT_S = 4.0
"""Time without a sign of life after which a rank whose connection broke has ended."""
_LOOKS, _SILENT_LOOKS = 10, 300
"""Looks of the main process between two checks of all ranks, and looks without a sign of life after
which a rank counts as ended. Looks are counted, not seconds: a job may be suspended as a whole."""
_MOST_CHARACTERS = 600
_FAILED, _HEARD, _ALIVE = "failed", "heard", "alive"


class OtherRankError(TrainingError):
    """A failure of another rank, which prints it."""


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
    try:
        yield
    except BaseException as error:
        watch.tell(error)
        raise
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

    def run(self) -> None:
        """Look for failures from the moment at which the ranks have found each other."""
        while not dist.is_initialized():
            if self._stopped.wait(_EVERY_S / 10):
                return
        self._rank, self._world_size = dist.get_rank(), dist.get_world_size()
        if self._world_size == 1:
            return

        try:
            self._store = _open_store()
            self._opened.set()
            looks = 0
            while dist.is_initialized():
                self._store.add(f"{_ALIVE}/{self._rank}", 1)
                failure = _heard(self._store)
                if failure:
                    self._end(failure)
                looks += 1
                if self._rank == 0 and looks % _LOOKS == 0:
                    self._check_alive(self._store)
                if self._stopped.wait(_EVERY_S):
                    return
        except dist.DistError:
            # The store of a launcher may end before a run that saves; the store of rank 0 may not.
            is_of_launcher = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
            is_over = is_of_launcher or self._stopped.wait(_HEARD_S) or not dist.is_initialized()
            if not is_over:
                self._end(_ended_silently([0]))

    def stop(self) -> None:
        """Stop looking. A thread that waits for a store that has ended is left behind."""
        self._stopped.set()
        self.join(_HEARD_S)

    def tell(self, error: BaseException) -> None:
        """Tell the other ranks of an error, and wait until they have heard of it.

        Raises:
            OtherRankError: The error follows from the end of another rank.
        """
        if dist.is_initialized() and dist.get_world_size() > 1:
            self._opened.wait(_HEARD_S)  # an error right after the start must be told, too
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
            store.compare_set(_FAILED, "", _told(self._rank, error))
            self._wait_until_heard(store)
        except dist.DistError:
            if _is_lost_connection(error):
                raise OtherRankError(_ended_silently([0])) from error

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
        """End this rank, and so all others, if one has given no sign of life for long."""
        for rank in range(1, self._world_size):
            signs = store.add(f"{_ALIVE}/{rank}", 0)
            if signs == self._last.get(rank):
                self._unchanged[rank] += _LOOKS
            else:
                self._last[rank], self._unchanged[rank] = signs, 0
        silent = [rank for rank, looks in self._unchanged.items() if looks >= _SILENT_LOOKS]
        if silent:
            store.compare_set(_FAILED, "", _ended_silently(silent))

    def _linger(self) -> None:
        """Let the others read the failure from a store that ends with rank 0."""
        if self._rank == 0:
            time.sleep(_LINGER_S)

    def _end(self, failure: str) -> NoReturn:
        """End this process, whatever its main thread waits for."""
        print_error(self._prog, failure)
        self._linger()
        with suppress(psutil.Error):
            for worker in psutil.Process().children(recursive=True):
                worker.kill()
        os._exit(1)


def _open_store() -> Store:
    """Return the store of all ranks, with a connection of its own."""
    group = dist.group.WORLD
    assert group is not None, "the ranks have found each other"
    return PrefixStore("surgrec", group.get_group_store().clone())


def _heard(store: Store) -> str:
    """Return the failure of another rank, and note that this one has heard of it."""
    if not store.check([_FAILED]):
        return ""
    store.add(_HEARD, 1)
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
