"""The C heap of a process that decodes in threads."""

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt (glibc's malloc.h)."""
_USER_SETTINGS = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"}
"""If one of these environment variables is set, the user's choice stays."""
_KEPT_BYTES = 512 << 20
_LARGEST_BYTES = 32 << 20
"""The maximum that glibc allows."""


def keep_freed_memory() -> None:
    """Make glibc keep the memory of freed clips for the next ones.

    By default it returns the pages to the kernel and requests new ones, which costs 0.3 ms per
    clip.
    """
    if _USER_SETTINGS & os.environ.keys():
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
    libc.mallopt(_MMAP_THRESHOLD, _LARGEST_BYTES)
