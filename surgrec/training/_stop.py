"""Requests to stop a run: SIGTERM, or a file RUN/STOP."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from types import FrameType

from surgrec.runs import RunFiles
from surgrec.terminal import escape, say
from surgrec.training._launcher import end_with_launcher, job_age_s


class StopRequest:
    """Whether this process was asked to stop, by SIGTERM or by a file RUN/STOP.

    Slurm sends SIGTERM before the time limit of a job. The end of the launcher counts as SIGTERM. A
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
        end_with_launcher()

        if watch_file:
            # Compare ages, not times: the clock of a file server differs from this machine's.
            age_s = job_age_s() if age_s is None else age_s
            self._ignore_file_before(files.starts.stat().st_mtime - age_s)

    def __bool__(self) -> bool:
        return self._signaled or (
            self._watch_file and self._version() not in (None, self._old_file)
        )

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

        say(
            f"[yellow]warning[/yellow] {escape(str(self._file))} is older than this start: it "
            f"{result}"
        )

    def _version(self) -> tuple[int, int] | None:
        """Return inode and time of the file, nanoseconds; None if it does not exist."""
        try:
            status = os.lstat(self._file)
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signaled = True
