"""Search a folder for video files, by name and by content, and tell what was left out."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from surgrec.errors import ManifestError
from surgrec.regular_files import open_regular

# fmt: off
VIDEO_SUFFIXES = frozenset((
    ".mp4", ".m4v", ".mov", ".qt", ".f4v", ".3gp", ".3g2", ".mj2", ".avi", ".divx", ".mkv", ".webm",
    ".wmv", ".asf", ".mpg", ".mpeg", ".mpe", ".mpv", ".m1v", ".m2v", ".m2p", ".mod", ".tod", ".vob",
    ".vro", ".ts", ".mts", ".m2t", ".m2ts", ".trp", ".mxf", ".flv", ".ogv", ".ogm", ".dv", ".dif",
    ".gxf", ".nut", ".h264", ".264", ".avc", ".hevc", ".h265", ".265", ".rm", ".rmvb",
))
"""Suffixes of videos. Files with other suffixes are recognized by their content."""
# fmt: on
_OTHER_MEDIA = frozenset(
    (".m4a", ".m4b", ".m4r", ".aac", ".mka", ".weba", ".wma", ".oga", ".ogg", ".opus", ".spx")
    + (".heic", ".heif", ".avif", ".jp2", ".jpx")
)
"""Suffixes of sounds and pictures in containers that also hold videos."""
_PICTURE_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis", b"jp2 ", b"jpx ", b"M4A ")
_MAGIC = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, WMV
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG video
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01",  # MXF
    b"FLV\x01",
    b"nut/multimedia container",
    b"\x00\x00\x00\x00\x01\xbc",  # GXF
    b"\x1f\x07\x00",  # DV
    b"\x00\x00\x00\x01\x67",  # H.264
    b"\x00\x00\x00\x01\x09",
    b"\x00\x00\x00\x01\x40\x01",  # HEVC
)


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A file or folder that was not taken."""

    path: Path
    reason: str
    """One word."""
    detail: str


@dataclass(frozen=True, kw_only=True)
class FoundVideos:
    """The result of a search."""

    folder: Path
    paths: list[Path] = field(default_factory=list)
    """The videos, sorted. Links that lead to nothing are among them if they have the suffix."""
    left_out: list[LeftOut] = field(default_factory=list)
    hidden: int = 0
    """Hidden files and folders: their names begin with a dot, and they are not searched."""


def search_folder(folder: Path) -> FoundVideos:
    """Return every video file under a folder, and what could not be searched.

    Linked folders are searched, each folder once. A file with an unknown suffix is a video if its
    content begins like one.

    Raises:
        ManifestError: The folder is missing or contains no video.
    """
    if not folder.is_dir():
        raise ManifestError(f"{folder} is not a folder; give the folder that contains the videos")

    search = _Search()
    paths = sorted(path for path in search.files_below(folder) if search.takes(path))
    if not paths:
        first = search.left_out[0] if search.left_out else None
        besides = f" (left out: {first.path}: {first.detail})" if first else ""
        raise ManifestError(
            f"{folder} and its subfolders contain no video file{besides}; give a folder of files "
            "such as .mp4, .mkv, .avi or .mpg"
        )
    return FoundVideos(
        folder=folder, paths=paths, left_out=search.left_out, hidden=len(search.hidden)
    )


def printable_name(path: Path) -> str:
    r"""Return a path as text that is valid in UTF-8, in which different paths differ.

    File names are bytes. Those that are not UTF-8 become escapes, such as `\xfc`.
    """
    data = os.fsencode(path.as_posix()).replace(b"\\", b"\\\\")
    return data.decode("utf-8", errors="backslashreplace")


class _Search:
    """One search: the folders that were visited, and what was left out."""

    def __init__(self) -> None:
        self.left_out: list[LeftOut] = []
        self.hidden: set[Path] = set()
        self._visited: dict[tuple[int, int], Path] = {}

    def files_below(self, folder: Path) -> Iterator[Path]:
        """Yield the files below a folder, in any order, each folder once."""
        folders = [folder]
        while folders:
            folder = folders.pop()
            try:
                if self._is_visited(folder):
                    continue
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError as error:
                detail = f"the folder cannot be opened: {error.strerror}"
                self._leave_out(folder, "unreadable", detail)
                continue

            for entry in entries:
                path = folder / entry.name
                if entry.name.startswith("."):
                    self.hidden.add(path)
                elif _is_folder(entry):
                    folders.append(path)
                else:
                    yield path

    def takes(self, path: Path) -> bool:
        """Return whether a file is a video, or would be if it could be read."""
        suffix = path.suffix.lower()
        try:
            mode = path.stat().st_mode
        except OSError as error:
            if suffix in VIDEO_SUFFIXES:
                return True  # the build says why it cannot read the file
            is_broken = isinstance(error, FileNotFoundError)
            detail = "the link leads to nothing" if is_broken else f"{error.strerror}"
            self._leave_out(path, "missing" if is_broken else "unreadable", detail)
            return False

        if suffix in _OTHER_MEDIA:
            return False
        if suffix in VIDEO_SUFFIXES:
            return True
        if not stat.S_ISREG(mode):
            return False
        try:
            return _begins_like_video(path)
        except OSError as error:
            detail = f"the file cannot be read: {error.strerror}"
            self._leave_out(path, "unreadable", detail)
            return False

    def _is_visited(self, folder: Path) -> bool:
        """Return whether a folder was visited before, by another path."""
        status = folder.stat()
        identity = status.st_dev, status.st_ino
        first = self._visited.setdefault(identity, folder)
        if first == folder:
            return False
        self._leave_out(folder, "duplicate", f"the folder is {first}, which is searched")
        return True

    def _leave_out(self, path: Path, reason: str, detail: str) -> None:
        self.left_out.append(LeftOut(path=path, reason=reason, detail=detail))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that cannot be followed: it is told as a file
        return False


def _begins_like_video(path: Path) -> bool:
    """Return whether the content of a file begins like that of a container of videos."""
    descriptor = open_regular(path)
    try:
        head = os.pread(descriptor, 1024, 0)
    finally:
        os.close(descriptor)

    is_mp4 = head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide") and head[8:12] not in _PICTURE_BRANDS
    is_avi = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    is_ogg = head[:4] == b"OggS" and (b"theora" in head or b"\x01video" in head)
    is_ts = any(
        all(head[start + step * size : start + step * size + 1] == b"\x47" for step in range(4))
        for start, size in ((0, 188), (4, 192), (0, 204))
    )
    return is_mp4 or is_avi or is_ogg or is_ts or head.startswith(_MAGIC)
