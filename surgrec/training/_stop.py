"""Requests to stop a run: SIGTERM, or a file RUN/STOP; and the step after which all ranks stop."""

import os
import signal
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from types import FrameType

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import Store

from surgrec.runs import RunFiles
from surgrec.terminal import escape, warn
from surgrec.training._launcher import job_age_s

_LAST_STEP = "last step"
"""Key in the store of all ranks."""
_STEPS_AHEAD = 2
"""Steps that a process may queue on its GPU beyond the one that the GPU works on."""
_FILE_EVERY_S = 1.0
"""Least time between two looks for the file, which may be on NFS."""


_early_signals: list[int] = []
"""Signals that came before a run listened for them."""


def remember_early_signals() -> None:
    """Remember SIGTERM until a `StopRequest` listens for it: the start of a run may take minutes.

    The run then stops after its first step, as if the signal had come a moment later.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: _early_signals.append(number))


class StopRequest:
    """Whether this process was asked to stop, by SIGTERM or by a file RUN/STOP.

    Slurm sends SIGTERM before the time limit of a job, and the kernel at the end of the launcher. A
    file that is older than the start was meant for an earlier start.

    Args:
        run_dir: Folder of the run, in which a start has just been recorded.
        watch_file: Whether to look for the file. Only the main process does: over NFS, others may
            see a file that is already removed.
        age_s: Seconds since the job started; None asks its launcher.
    """

    def __init__(self, run_dir: Path, *, watch_file: bool, age_s: float | None = None) -> None:
        files = RunFiles(run_dir)
        self._file = files.stop
        self._watch_file = watch_file
        self._old_file: tuple[int, int] | None = None
        self._signaled = False
        signal.signal(signal.SIGTERM, self._on_signal)
        if _early_signals:
            self._signaled = True
            _early_signals.clear()

        if watch_file:
            # Compare ages, not times: the clock of a file server differs from this machine's.
            age_s = job_age_s() if age_s is None else age_s
            self._ignore_file_before(files.starts.stat().st_mtime - age_s)

    def __bool__(self) -> bool:
        return self._signaled or (
            self._watch_file and self._version() not in (None, self._old_file)
        )

    @property
    def signaled(self) -> bool:
        """Whether this process got SIGTERM."""
        return self._signaled

    def clear(self) -> bool:
        """Remove the file. Return whether it is gone: the next start ignores it by its age."""
        if self._watch_file:
            with suppress(OSError):
                self._file.unlink(missing_ok=True)
        return self._version() is None

    def _ignore_file_before(self, time_s: float) -> None:
        version = self._version()
        if version is None or version[1] >= time_s * 1e9:
            return

        self._old_file = version
        result = (
            "was removed and does not stop the run; create it again to stop"
            if self.clear()
            else "does not stop the run, but it cannot be removed; remove it, then create it again "
            "to stop"
        )

        warn(f"{escape(str(self._file))} is older than this start: it {result}")

    def _version(self) -> tuple[int, int] | None:
        """Return inode and time of the file, nanoseconds; None if it does not exist."""
        try:
            status = os.lstat(self._file)
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signaled = True


class AgreedStop:
    """The step after which all ranks stop: one or a few steps after any of them was asked to.

    A rank that is asked between two steps writes the number of a coming step to the store of all
    ranks. Every rank reads the store after every step; this takes less than 0.1 ms. No rank can
    complete a step before all ranks have begun it, because they exchange gradients. On CPUs, the
    coming step is the next one: each rank that has completed it finds its number in the store. A
    process with a GPU queues steps in advance, at most `_STEPS_AHEAD`, so the coming step is later
    by as many.

    Args:
        request: Whether this rank was asked to stop.
        store: The store of all ranks; None for a single process.
        device: Device of this rank.
    """

    def __init__(self, request: StopRequest, store: Store | None, device: torch.device) -> None:
        self.reached = False
        """Whether the last step is done."""
        self._request = request
        self._store = store
        self._is_alone = store is None
        self._device = device
        self._ahead = _STEPS_AHEAD if device.type == "cuda" else 0
        self._queued: deque[torch.cuda.Event] = deque()
        self._was_asked = self._has_asked_others = False
        self._look_at_s = 0.0
        self._step = -1

    def after(self, step: int) -> bool:
        """Return whether this step is the last one. Every rank calls it after every step.

        Args:
            step: Number of the step.
        """
        self._step = step
        if self._is_alone:
            self.reached = self._is_asked()
        elif self._store is not None:
            self._wait_for_device()
            try:
                self.reached = self._is_last(step, self._store)
            except dist.DistError:
                # The store of a launcher may end before a run that saves. Syncs still agree.
                self._store = None
        return self.reached

    def is_coming(self) -> bool:
        """Return whether a rank was asked to stop, while all ranks measure between two steps.

        If so, the next step is the last one at the latest.
        """
        if self._store is None:
            return self._is_asked()
        try:
            self._ask_for(self._step + 1, self._store)
            return self._store.check([_LAST_STEP])
        except dist.DistError:
            self._store = None
            return self._is_asked()

    def _is_last(self, step: int, store: Store) -> bool:
        self._ask_for(step + 1 + self._ahead, store)
        return store.check([_LAST_STEP]) and step >= int(store.get(_LAST_STEP))

    def _ask_for(self, last: int, store: Store) -> None:
        """Ask all ranks to stop after a step, if this rank was asked to and has not done so."""
        if not self._has_asked_others and self._is_asked():
            store.compare_set(_LAST_STEP, "", str(last))
            self._has_asked_others = True

    def _is_asked(self) -> bool:
        if self._request.signaled:
            self._was_asked = True
        if not self._was_asked and time.monotonic() >= self._look_at_s:
            self._look_at_s = time.monotonic() + _FILE_EVERY_S
            self._was_asked = bool(self._request)
        return self._was_asked

    def _wait_for_device(self) -> None:
        """Wait until the GPU has completed the step before the last `_STEPS_AHEAD`."""
        if self._device.type != "cuda":
            return
        event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        self._queued.append(event)
        if len(self._queued) > self._ahead:
            self._queued.popleft().synchronize()
