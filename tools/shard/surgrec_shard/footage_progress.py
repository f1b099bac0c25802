"""How much video of a build is finished, in the line of its progress bar, or in a log."""

import sys
import time

from surgrec.terminal import StageProgress, escape, say
from surgrec_shard.packing import Footage

_LOG_EVERY_S = 60.0
_STAGE = "encoding"


class FootageProgress:
    """Shows length, bytes and the time that is left. Without a terminal, it prints a line a minute.

    Args:
        progress: The bars of the build.
    """

    def __init__(self, progress: StageProgress) -> None:
        self._progress = progress
        self._began = self._logged = time.monotonic()

    def __call__(self, footage: Footage) -> None:
        """Show a state."""
        now = time.monotonic()
        text = words(footage, now - self._began)
        self._progress.describe(_STAGE, text)
        if not sys.stderr.isatty() and now - self._logged > _LOG_EVERY_S:
            done, total = self._progress.counts(_STAGE)
            say(escape(f"{_STAGE}: {done}/{total} videos, {text}"))
            self._logged = now


def words(footage: Footage, spent_s: float) -> str:
    """Return the length, the bytes, and how long the rest takes at the pace so far.

    Args:
        footage: How much is finished.
        spent_s: Time since the first video was begun, seconds.
    """
    unit, size = ("GB", 1e9) if footage.total_bytes >= 1e9 else ("MB", 1e6)
    done, total = footage.bytes / size, footage.total_bytes / size
    text = f"{_length(footage.hours)}, {done:.1f}/{total:.1f} {unit}"
    if not footage.bytes:
        return text
    left_s = round(spent_s * (footage.total_bytes - footage.bytes) / footage.bytes)
    return f"{text}, {left_s // 3600}:{left_s // 60 % 60:02d}:{left_s % 60:02d} left"


def _length(hours: float) -> str:
    if hours >= 0.1:
        return f"{hours:.1f} h"
    seconds = round(hours * 3600)
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds} s"
