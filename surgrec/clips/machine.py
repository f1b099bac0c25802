"""Failures of the machine while it decodes, in contrast to those of a sample."""

import errno
import mmap
import threading

from surgrec.errors import MachineError, is_lack_of_memory

_SPARE_BYTES = 256 << 20
"""Memory that must be free after a failure. With less, FFmpeg may call good data invalid."""
_ERRNOS = (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOSPC)
_AMPLE_BYTES = 1 << 30
"""Memory that must be free for FFmpeg's lack of it to be the fault of damaged data."""
_TEXTS = (
    "too many open files",
    "can't start new thread",
    "no space left on device",
)

_LACKS_MEMORY, _LACKS_THREADS = "cannot allocate memory", "resource temporarily unavailable"
"""FFmpeg also says so of damaged data, for example of a table with 2^30 entries."""


def require_machine(
    error: Exception, context: str, fewer_processes: str = "loader.num_workers"
) -> None:
    """Raise if a failure is the machine's, so that no sample is blamed for it.

    Args:
        error: The failure, for example of a decoder.
        context: The operation that failed, for the message.
        fewer_processes: Setting that starts fewer processes, for the message.

    Raises:
        MachineError: Memory, threads, open files or disk space ran out.
    """
    text = next(iter(str(error).splitlines()), "") or type(error).__name__
    words = str(error).lower()
    is_machine = (
        is_lack_of_memory(error)
        or getattr(error, "errno", None) in _ERRNOS
        or any(part in words for part in _TEXTS)
        or not _has_memory(_AMPLE_BYTES if _LACKS_MEMORY in words else _SPARE_BYTES)
        or (_LACKS_THREADS in words and not _has_threads())
    )

    if is_machine:
        raise MachineError(
            f"{context} because the machine ran out of memory or other resources "
            f"({text.partition('; ')[0]}); start fewer processes ({fewer_processes}), or give the "
            "job more memory"
        ) from error


def _has_memory(size: int) -> bool:
    try:
        mmap.mmap(-1, size).close()
    except (OSError, MemoryError):
        return False
    return True


def _has_threads() -> bool:
    thread = threading.Thread(target=int)
    try:
        thread.start()
    except RuntimeError:
        return False
    thread.join()
    return True
