"""Failures of the machine while it decodes, in contrast to those of a sample."""

import errno
import mmap

from surgrec.errors import MachineError

_SPARE_BYTES = 256 << 20
"""Memory that must be free after a failure. With less, FFmpeg may call good data invalid."""
_ERRNOS = (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOSPC)
_TEXTS = (
    "allocate memory",
    "bad_alloc",
    "out of memory",
    "not enough memory",
    "too many open files",
    "can't start new thread",
    "resource temporarily unavailable",
    "no space left on device",
)


def require_machine(
    error: Exception, context: str, fewer_processes: str = "loader.num_workers"
) -> None:
    """Raise if a failure is the machine's, so that no sample is blamed for it.

    Args:
        error: The failure, for example of a decoder.
        context: What failed, for the message.
        fewer_processes: Setting that starts fewer processes, for the message.

    Raises:
        MachineError: Memory, threads, open files or disk space ran out.
    """
    text = next(iter(str(error).splitlines()), "") or type(error).__name__
    is_machine = (
        isinstance(error, MemoryError)
        or getattr(error, "errno", None) in _ERRNOS
        or any(part in str(error).lower() for part in _TEXTS)
    )
    if is_machine or not _has_spare_memory():
        raise MachineError(
            f"{context} because the machine ran out of memory or other means "
            f"({text.partition('; ')[0]}); start fewer processes ({fewer_processes}), or give the "
            "job more memory"
        ) from error


def _has_spare_memory() -> bool:
    try:
        mmap.mmap(-1, _SPARE_BYTES).close()
    except (OSError, MemoryError):
        return False
    return True
