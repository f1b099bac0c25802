"""An opened recording: the file that ffprobe and ffmpeg read."""

import os
import stat
from pathlib import Path
from types import TracebackType
from typing import NamedTuple


class BadVideoError(Exception):
    """A video that cannot be used.

    Args:
        reason: One word, which the corpus may contain.
        detail: A sentence for the private report.
        may_pass: Whether a later try may succeed: the reason is not the content of the file.
    """

    def __init__(self, reason: str, detail: str, *, may_pass: bool = False) -> None:
        super().__init__(detail)
        self.reason = reason
        self.may_pass = may_pass


class FileIdentity(NamedTuple):
    """What tells an unchanged file from a replaced or growing one."""

    device: int
    inode: int
    size: int
    mtime_ns: int


class Recording:
    """A video file, open for reading. Use it in a `with` block.

    Args:
        path: The file.

    Raises:
        BadVideoError: The file is missing, empty, not a regular file, or not readable.

    Example:
        >>> with Recording(Path("op.mp4")) as recording:
        ...     facts = inspect(recording)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # A pipe would wait for its writer.
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise BadVideoError("missing", "the file does not exist") from None
        except OSError as error:
            raise BadVideoError(
                "unreadable", f"the file cannot be read: {error.strerror}", may_pass=True
            ) from None

        try:
            self.identity = self._identity()
        except BadVideoError:
            self.close()
            raise

    def fileno(self) -> int:
        """Return the open descriptor."""
        return self._descriptor

    def input_arguments(self) -> list[str]:
        """Return ffmpeg's arguments that name the file, whatever its name looks like."""
        return ["-i", f"file:{self.path.resolve()}"]

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def __enter__(self) -> "Recording":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _identity(self) -> FileIdentity:
        state = os.fstat(self._descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise BadVideoError("unreadable", "the path is not a regular file")
        if state.st_size == 0:
            raise BadVideoError("empty", "the file is empty")
        return FileIdentity(state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)
