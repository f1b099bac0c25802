"""An opened recording: the file that ffprobe and ffmpeg read."""

import hashlib
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

_PART_BYTES = 1 << 20


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
    ctime_ns: int
    """Time of the last write even if a program set the modification time back."""


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
            raise BadVideoError("missing", "the file does not exist", may_pass=True) from None
        except OSError as error:
            raise _unreadable(error) from None

        try:
            self.identity = self._identity()
        except BadVideoError:
            self.close()
            raise

    def fileno(self) -> int:
        """Return the open descriptor."""
        return self._descriptor

    def input_arguments(self) -> list[str]:
        """Return ffmpeg's arguments that name the file by its descriptor.

        The path, which may contain a patient's name, is not visible in a list of processes. The
        process must inherit the descriptor. It reads the opened file, also if another one takes its
        path.
        """
        return ["-i", f"file:/proc/self/fd/{self._descriptor}"]

    def sha256(self) -> str:
        """Return the SHA-256 of the file.

        Raises:
            BadVideoError: The file changed while it was read, or cannot be read.
        """
        digest, offset = hashlib.sha256(), 0
        try:
            while data := os.pread(self._descriptor, _PART_BYTES, offset):
                digest.update(data)
                offset += len(data)
        except OSError as error:
            raise _unreadable(error) from None
        self.require_unchanged()
        return digest.hexdigest()

    def require_readable(self, start: int) -> None:
        """Read the file from a place to its end.

        Args:
            start: The place, bytes.

        Raises:
            BadVideoError: It cannot be read.
        """
        try:
            while data := os.pread(self._descriptor, _PART_BYTES, start):
                start += len(data)
        except OSError as error:
            raise _unreadable(error) from None

    def require_unchanged(self, since: FileIdentity | None = None) -> None:
        """Check that the file is as it was when it was opened.

        Args:
            since: An identity from an earlier time, which it must still have.

        Raises:
            BadVideoError: The file was replaced, or it was written.
        """
        if not self.identity == self._identity() == (since or self.identity):
            raise BadVideoError(
                "changed",
                "the file was replaced or written while it was read; when it is complete, run the "
                "same command again",
                may_pass=True,
            )

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
            raise BadVideoError("unreadable", "the path is not a regular file", may_pass=True)
        if state.st_size == 0:
            raise BadVideoError("empty", "the file is empty", may_pass=True)
        return FileIdentity(
            state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
        )


def _unreadable(error: OSError) -> BadVideoError:
    return BadVideoError("unreadable", f"the file cannot be read: {error.strerror}", may_pass=True)
