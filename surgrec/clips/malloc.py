"""The C heap of a process that decodes in threads."""

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt (glibc's malloc.h)."""
_CHOSEN = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"}
"""With one of these the user has decided."""
_KEPT_BYTES = 512 << 20
_LARGEST_BYTES = 32 << 20
"""The most that glibc allows."""


def keep_freed_memory() -> None:
    """Has glibc keep what a clip frees for the next one: it would give the pages back and ask for new ones, at 0.3 ms a clip."""
    if _CHOSEN & os.environ.keys():
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
    libc.mallopt(_MMAP_THRESHOLD, _LARGEST_BYTES)
