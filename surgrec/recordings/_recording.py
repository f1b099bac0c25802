"""An opened recording: the file that ffprobe and ffmpeg read."""

import contextlib
import functools
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from surgrec.archives import ArchiveError, ChangedFileError, open_member
from surgrec.recordings._beginnings import find_beginnings
from surgrec.recordings._fragment_order import Order, find_order
from surgrec.recordings._fragments import Header, mended_headers
from surgrec.regular_files import FileIdentity

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

    def __reduce__(self) -> tuple[object, ...]:
        """Return how to make the error in another process."""
        return _bad_video_error, (self.reason, str(self), self.may_pass)


def _bad_video_error(reason: str, detail: str, may_pass: bool) -> BadVideoError:
    return BadVideoError(reason, detail, may_pass=may_pass)


class Part:
    """Consecutive bytes of an open file, which ffmpeg reads as a file of their own.

    Args:
        descriptor: The open file.
        start: Its first byte in the file.
        end: The byte behind its last one; None: all of the file.
        undo: Closes the files that the part opens.
        inside: Where the file itself begins and ends among the bytes of the descriptor, if it is in
            an archive.
    """

    def __init__(
        self,
        descriptor: int,
        start: int,
        end: int | None,
        undo: contextlib.ExitStack,
        inside: tuple[int, int] | None = None,
    ) -> None:
        self.start = start
        self.end = end
        first, behind = inside or (0, os.fstat(descriptor).st_size)
        self.size = (behind - first if end is None else end) - start
        self._first = first + start
        self._descriptor, self._undo, self._inside = descriptor, undo, inside

    def read(self, count: int, at: int) -> bytes:
        """Return up to `count` bytes from the place `at`.

        Raises:
            BadVideoError: They cannot be read.
        """
        try:
            return os.pread(self._descriptor, max(0, min(count, self.size - at)), self._first + at)
        except OSError as error:
            raise _unreadable(error) from None

    def require_readable(self, start: int) -> None:
        """Read from a place to the end.

        Args:
            start: The place, bytes.

        Raises:
            BadVideoError: It cannot be read.
        """
        while data := self.read(_PART_BYTES, start):
            start += len(data)

    def input_arguments(self) -> list[str]:
        """Return ffmpeg's arguments that name the file by its descriptor. The last is its name.

        The path, which may contain a patient's name, is not visible in a list of processes. The
        process must inherit `descriptors`. It reads the opened file, also if another one takes its
        path. Damaged headers between the fragments of an MP4 file are replaced,
        and the fragments are read in the order of their times.

        Raises:
            BadVideoError: The file cannot be read.
        """
        if not self.mended and not self.order.spans:
            if self.start == 0 and self.end is None and self._inside is None:
                return ["-protocol_whitelist", "file", "-i", _address(self._descriptor)]
            return ["-protocol_whitelist", "file,subfile", "-i", self._address(0, self.size)]

        parts = []
        for at, end in self.order.spans or ((0, self.size),):
            for number, header in enumerate(self.mended):
                if not at <= header.position < end:
                    continue
                if at < header.position:
                    parts.append(self._address(at, header.position))
                parts.append(_subfile(self._headers, 8 * number, 8 * number + 8))
                at = header.position + 8
            parts.append(self._address(at, end))
        return ["-protocol_whitelist", "file,concat,subfile", "-i", f"concat:{'|'.join(parts)}"]

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Return the descriptors that ffmpeg must inherit."""
        return (self._descriptor, self._headers) if self.mended else (self._descriptor,)

    def feed(self) -> Iterator[bytes] | None:
        """Return the standard input of ffmpeg; None if ffmpeg opens the file itself."""
        return None

    @functools.cached_property
    def mended(self) -> tuple[Header, ...]:
        """Return the headers that replace damaged ones for ffmpeg.

        Raises:
            BadVideoError: The file cannot be read.
        """
        return mended_headers(self.read, self.size)

    @functools.cached_property
    def order(self) -> Order:
        """Return how ffmpeg reads the fragments of an MP4 file in the order of their times.

        Raises:
            BadVideoError: The file cannot be read.
        """
        return find_order(
            self.read, self.size, {header.position: header.data for header in self.mended}
        )

    @functools.cached_property
    def _headers(self) -> int:
        """Return the descriptor of a file in memory with the headers, one after the other."""
        descriptor = os.memfd_create("headers")
        self._undo.callback(os.close, descriptor)
        os.write(descriptor, b"".join(header.data for header in self.mended))
        return descriptor

    def _address(self, start: int, end: int) -> str:
        return _subfile(self._descriptor, self._first + start, self._first + end)


class Recording(Part):
    """A video file, open for reading. Use it in a `with` block.

    Args:
        path: The file. It may be in a zip or tar archive, without compression.

    Raises:
        BadVideoError: The file is missing, empty, not a regular file, or not readable.

    Example:
        >>> with Recording(Path("op.mp4")) as recording:
        ...     facts = inspect(recording)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        undo = contextlib.ExitStack()
        descriptor, inside = _open(path)
        undo.callback(os.close, descriptor)
        super().__init__(descriptor, 0, None, undo, inside)
        try:
            self.identity = self._identity()
        except BadVideoError:
            self.close()
            raise

    def beginnings(self) -> list[int]:
        """Return where the recordings of the file begin, ascending; at least [0].

        Raises:
            BadVideoError: The file cannot be read.
        """
        return find_beginnings(self.read, self.size)

    def part(self, start: int, end: int | None) -> Part:
        """Return a part of the file, which is usable as long as this one is open."""
        return Part(self._descriptor, start, end, self._undo, self._inside)

    def sha256(self) -> str:
        """Return the SHA-256 of the file.

        Raises:
            BadVideoError: The file changed while it was read, or cannot be read.
        """
        digest, offset = hashlib.sha256(), 0
        while data := self.read(_PART_BYTES, offset):
            digest.update(data)
            offset += len(data)
        self.require_unchanged()
        return digest.hexdigest()

    def require_unchanged(self, since: FileIdentity | None = None) -> None:
        """Check that the file is as it was when it was opened.

        Args:
            since: An identity from an earlier time, which it must still have. It may be from
                another machine.

        Raises:
            BadVideoError: The file was replaced, or it was written.
        """
        now = self._identity()
        if self.identity != now or not now.is_as(since or now):
            raise _changed()

    def close(self) -> None:
        """Close the file."""
        self._undo.close()

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
        if stat.S_ISDIR(state.st_mode):
            raise BadVideoError(
                "unreadable",
                "the path is a folder, not a video file; of a folder of pictures, give the rate in "
                "the column fps of a manifest",
                may_pass=True,
            )

        if not stat.S_ISREG(state.st_mode):
            raise BadVideoError("unreadable", "the path is not a regular file", may_pass=True)
        if state.st_size == 0 or self.size == 0:
            raise BadVideoError("empty", "the file is empty", may_pass=True)

        return FileIdentity.of(state)


def _open(path: Path) -> tuple[int, tuple[int, int] | None]:
    """Return a descriptor, and where a file in an archive begins and ends; None: no archive."""
    try:
        if opened := open_member(path):
            return opened[0], opened[1:]
        # A pipe would wait for its writer.
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), None
    except FileNotFoundError:
        raise BadVideoError("missing", "the file does not exist", may_pass=True) from None
    except ArchiveError as error:
        raise BadVideoError("archive", str(error), may_pass=True) from None
    except ChangedFileError:
        raise _changed() from None
    except OSError as error:
        raise _unreadable(error) from None


def _changed() -> BadVideoError:
    return BadVideoError(
        "changed",
        "the file was replaced or written while it was read; when it is complete, run the same "
        "command again",
        may_pass=True,
    )


def _unreadable(error: OSError) -> BadVideoError:
    return BadVideoError("unreadable", f"the file cannot be read: {error.strerror}", may_pass=True)


def _address(descriptor: int) -> str:
    return f"file:/proc/self/fd/{descriptor}"


def _subfile(descriptor: int, start: int, end: int) -> str:
    """Return ffmpeg's address of a part of a file."""
    return f"subfile,,start,{start},end,{end},,:{_address(descriptor)}"
