"""Search a folder for video files, by name and by content, and list the files left out."""

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from surgrec.archives import (
    ARCHIVE_SUFFIXES,
    REMEDY,
    ArchiveError,
    Member,
    compressed,
    is_opened,
    read_archive,
    read_file,
    sealed,
)
from surgrec.errors import ManifestError
from surgrec.recordings import BadVideoError
from surgrec.recordings.content import (
    HEAD_BYTES,
    begins_like_other,
    begins_like_video,
    has_moving_picture,
    is_dicom_video,
    may_be_video,
)
from surgrec.recordings.picture_files import PICTURE_SUFFIXES, PictureFiles
from surgrec.regular_files import check_regular
from surgrec.text import counted

# fmt: off
VIDEO_SUFFIXES = frozenset((
    ".mp4", ".m4v", ".mov", ".qt", ".f4v", ".3gp", ".3g2", ".mj2", ".avi", ".divx", ".mkv", ".webm",
    ".wmv", ".asf", ".mpg", ".mpeg", ".mpe", ".mpv", ".m1v", ".m2v", ".m2p", ".mod", ".tod", ".vob",
    ".vro", ".ts", ".mts", ".m2t", ".m2ts", ".trp", ".mxf", ".flv", ".ogv", ".ogm", ".dv", ".dif",
    ".gxf", ".nut", ".h264", ".264", ".avc", ".hevc", ".h265", ".265", ".rm", ".rmvb", ".ivf",
    ".obu", ".av1", ".y4m", ".mjpeg", ".mjpg", ".dav", ".wtv", ".dvr-ms",
))
"""Suffixes of videos: such a file is always taken, and the build says why it cannot be used."""

_SOUNDS = frozenset((
    ".m4a", ".m4b", ".m4p", ".m4r", ".f4a", ".f4b", ".mka", ".weba", ".wma", ".ra", ".ogg", ".oga",
    ".ogx",
))
"""Suffixes of sounds in containers that may also hold a video."""

_COMPANIONS = frozenset((
    ".aac", ".ac3", ".aif", ".aiff", ".amr", ".flac", ".mid", ".mp2", ".mp3", ".opus", ".spx",
    ".wav", ".avif", ".bmp", ".cr2", ".cr3", ".dng", ".gif", ".heic", ".heif", ".ico", ".jfif",
    ".jp2", ".jpe", ".jpeg", ".jpg", ".jpx", ".mpo", ".nef", ".png", ".psd", ".svg", ".tga",
    ".thm", ".tif", ".tiff", ".webp", ".csv", ".doc", ".docx", ".htm", ".html", ".ini", ".json",
    ".jsonl", ".log", ".md", ".ods", ".odt", ".pdf", ".ppt", ".pptx", ".rtf", ".tsv", ".txt",
    ".xls", ".xlsx", ".xml", ".xmp", ".yaml", ".yml", ".ass", ".idx", ".scc", ".srt", ".ssa",
    ".sub", ".sup", ".vtt", ".bdm", ".bdmv", ".bup", ".clpi", ".cpi", ".ifo", ".moi", ".mpl",
    ".mpls", ".pgi", ".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip", ".zst", ".arrow",
    ".db", ".feather", ".h5", ".hdf5", ".mat", ".nii", ".npy", ".npz", ".nrrd", ".parquet", ".pkl",
    ".pt", ".pth", ".safetensors", ".sqlite", ".dll", ".exe", ".lnk", ".py", ".pyc", ".so",
))
"""Suffixes of files beside videos: a file that does not begin like a video is counted only."""
# fmt: on

_CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b")) + b"\x7f"
_FORK = "._"
"""Beginning of the names of files with metadata that macOS writes beside others."""
NO_SUFFIX = "without a suffix"
"""Name for the suffix of files that have none."""
_UNKNOWN = (
    "neither a video that can be read nor another known kind of file; if it is a video, "
    "convert it with ffmpeg"
)
_Kind = Literal["video", "archive", "companion", "dicom", "unsure", "unsure_other", "unknown"]
_SHOWN_KINDS = 12
_PROBES = 8
"""Files that ffprobe looks into at once."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A file or folder that was not taken."""

    path: Path
    reason: str
    """One word."""
    detail: str


@dataclass(frozen=True, kw_only=True)
class FolderFiles:
    """The files below a folder. None is opened."""

    folder: Path
    paths: list[Path] = field(default_factory=list)
    """Folder by folder, each sorted by name. Links that lead to no folder are among them."""
    left_out: list[LeftOut] = field(default_factory=list)
    """Folders that cannot be opened, and those that were searched by another path."""
    hidden: int = 0
    """Hidden files and folders: their names begin with a dot, and they are not searched."""
    hidden_paths: list[Path] = field(default_factory=list)
    """Those of them that are not in an archive."""
    excluded: list[LeftOut] = field(default_factory=list)
    """For each reason of the user, one entry with the number of files."""
    members: dict[Path, Member] = field(default_factory=dict)
    """Those of the files that are in an opened archive."""


@dataclass(frozen=True, kw_only=True)
class FoundVideos:
    """The result of a search."""

    folder: Path
    paths: list[Path] = field(default_factory=list)
    """The videos, sorted. Links that lead to nothing are among them if they have the suffix."""
    pictures: dict[Path, PictureFiles] = field(default_factory=dict)
    """The pictures of a video that is given as such, by its path."""
    names: dict[Path, dict[str, str]] = field(default_factory=dict)
    """Named groups of the paths of these pictures."""
    left_out: list[LeftOut] = field(default_factory=list)
    hidden: int = 0
    """Hidden files and folders: their names begin with a dot, and they are not searched."""
    companions: dict[str, int] = field(default_factory=dict)
    """Number of files that are no videos, such as text and pictures, by suffix. Empty files of no
    known kind, which may be failed recordings, have a number of their own."""
    excluded: list[LeftOut] = field(default_factory=list)
    """Files that the user excluded: for each reason, one entry with their number."""
    beside: list[LeftOut] = field(default_factory=list)
    """What a search for videos does not take, although it may be one: pictures, with one entry for
    each folder, and hidden videos."""

    def counts(self) -> Iterator[str]:
        """Yield a sentence about the files that are no videos, and one about hidden ones."""
        if self.companions:
            what = "no pictures" if self.pictures else "no videos, by content"
            yield f"{what}: {by_suffix(self.companions)}"
        if self.hidden:
            words = (
                "hidden file or folder is" if self.hidden == 1 else "hidden files and folders are"
            )
            yield f"{self.hidden} {words} not searched"
        for each in self.excluded:
            yield each.detail

    def rows(self) -> Iterator[LeftOut]:
        """Yield what `counts` says as rows of a report, one for each suffix.

        The path of a row is a pattern below the folder, such as `FOLDER/*.docx`.
        """
        what = "picture" if self.pictures else "video"
        for kind, count in sorted(self.companions.items()):
            path = self.folder / ("*" if kind == NO_SUFFIX else f"*{kind}")
            detail = f"{counted(count, 'file')} {kind}, by content no {what}"
            yield LeftOut(path=path, reason="other_kind", detail=detail)
        if self.hidden:
            detail = f"{self.hidden} with a name that begins with a dot; not searched"
            yield LeftOut(path=self.folder / ".*", reason="hidden_files", detail=detail)
        yield from self.excluded


def by_suffix(kinds: Mapping[str, int]) -> str:
    """Return numbers of files by suffix, as words."""
    order = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    words = ", ".join(f"{count} {kind}" for kind, count in order[:_SHOWN_KINDS])
    rest = sum(count for _, count in order[_SHOWN_KINDS:])
    return f"{words}{f', {rest} others' if rest else ''}"


def search_folder(folder: Path) -> FoundVideos:
    """Return every video file under a folder, and the files that were not taken.

    Linked folders are searched, each folder once. A file is a video by its content. A file with the
    suffix of a video is taken in any case, so that the reason is told why it cannot be used.

    Raises:
        ManifestError: The folder is missing or contains no video.
    """
    return search_files(open_archives(files_below(folder)))


def files_below(folder: Path) -> FolderFiles:
    """Return the files below a folder. Linked folders are searched, each folder once.

    Args:
        folder: The folder, or a zip or tar archive.

    Raises:
        ManifestError: The folder is missing.
    """
    if is_opened(folder) and os.path.isfile(folder):
        return FolderFiles(folder=folder, paths=[folder])
    if not folder.is_dir():
        raise ManifestError(f"{folder} is not a folder; give the folder of the recordings")

    paths, left_out, hidden = [], [], []
    visited: dict[tuple[int, int], Path] = {}
    folders = [folder]
    while folders:
        parent = folders.pop()
        try:
            first = visited.setdefault(_identity(parent), parent)
            if first != parent:
                detail = f"the folder is {first}, which is searched"
                left_out.append(LeftOut(path=parent, reason="duplicate", detail=detail))
                continue
            entries = sorted(os.scandir(parent), key=lambda entry: entry.name)
        except OSError as error:
            detail = f"the folder cannot be opened: {error.strerror}"
            left_out.append(LeftOut(path=parent, reason="unreadable", detail=detail))
            continue

        subfolders = []
        for entry in entries:
            path = parent / entry.name
            if entry.name.startswith("."):
                hidden.append(path)
            elif _is_folder(entry):
                subfolders.append(path)
            else:
                paths.append(path)
        folders += reversed(subfolders)
    return FolderFiles(
        folder=folder, paths=paths, left_out=left_out, hidden=len(hidden), hidden_paths=hidden
    )


def open_archives(
    files: FolderFiles, is_excluded: Callable[[Path], bool] = lambda path: False
) -> FolderFiles:
    """Return the files of a folder, with the members of zip and tar archives in their place.

    Args:
        files: The files.
        is_excluded: Whether an archive is not opened.
    """
    paths: list[Path] = []
    left_out, hidden = list(files.left_out), files.hidden
    members: dict[Path, Member] = {}
    for path in files.paths:
        if not is_opened(path) or is_excluded(path):
            paths.append(path)
            continue

        try:
            check_regular(path)
            archive = read_archive(path)
        except OSError as error:
            detail = f"the archive cannot be read: {error.strerror}"
            left_out.append(LeftOut(path=path, reason="unreadable", detail=detail))
            continue

        left_out += [LeftOut(path=path, reason="archive", detail=fault) for fault in archive.faults]
        shown = [name for name in archive.members if not f"/{name}".count("/.")]
        hidden += len(archive.members) - len(shown)
        inside = {path / name: archive.members[name] for name in sorted(shown)}
        paths += inside
        members |= inside
    return replace(files, paths=paths, left_out=left_out, hidden=hidden, members=members)


def search_files(files: FolderFiles) -> FoundVideos:
    """Return the videos among the files of a folder, as `search_folder` does.

    Members of archives are searched if `open_archives` has listed them.

    Raises:
        ManifestError: None of the files is a video.
    """
    search = _Search(files)
    for path in files.paths:
        search.sort(path)
    search.probe()

    found = FoundVideos(
        folder=files.folder,
        paths=sorted(search.taken),
        left_out=search.left_out,
        hidden=files.hidden,
        companions=dict(search.companions),
        excluded=files.excluded,
        beside=[*_of_pictures(search.pictures), *_hidden_videos(files.hidden_paths)],
    )

    require_videos(found, "video file", "such as .mp4, .mkv, .avi or .mpg")
    return found


def require_videos(found: FoundVideos, what: str, such: str) -> None:
    """Refuse a folder without videos, and name its content.

    Raises:
        ManifestError: Nothing was found.
    """
    if found.paths:
        return
    first = found.left_out[0] if found.left_out else None
    besides = [f"left out: {first.path}: {first.detail}"] if first else []
    besides += found.counts()
    raise ManifestError(
        f"{found.folder} and its subfolders contain no {what}"
        f"{' (' + '; '.join(besides) + ')' if besides else ''}; give a folder of files {such}"
    )


def _of_pictures(folders: Mapping[Path, int]) -> Iterator[LeftOut]:
    """Yield an entry for each folder of pictures."""
    for folder, count in folders.items():
        detail = (
            f"{counted(count, 'picture')} of this folder, in a search for videos; if they are the "
            "frames of a video, build them with --frame_fps, else leave them out with --exclude"
        )
        yield LeftOut(path=folder, reason="pictures", detail=detail)


def _hidden_videos(paths: Sequence[Path]) -> Iterator[LeftOut]:
    """Yield an entry for each hidden video, and for each hidden folder with videos."""
    remedy = "rename it without the dot to build it, or leave it out with --exclude"
    for path in paths:
        if not path.is_dir():
            if _is_hidden_video(path):
                detail = f"a hidden video, which is not taken; {remedy}"
                yield LeftOut(path=path, reason="hidden", detail=detail)
            continue

        inside = (Path(parent) / name for parent, _, names in os.walk(path) for name in names)
        if count := sum(map(_is_hidden_video, inside)):
            detail = (
                f"a hidden folder with {counted(count, 'video')}, which is not searched; {remedy}"
            )
            yield LeftOut(path=path, reason="hidden", detail=detail)


def _is_hidden_video(path: Path) -> bool:
    """Return whether a hidden file is a video, by its suffix or its first bytes."""
    if path.name.startswith(_FORK):
        return False
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return True
    try:
        return path.is_file() and begins_like_video(read_file(path, HEAD_BYTES)[0])
    except (OSError, ArchiveError):
        return False


def printable_name(path: Path) -> str:
    r"""Return a path as text that is valid in UTF-8, in which different paths differ.

    File names are bytes. Those that are not UTF-8 become escapes, such as `\xfc`.
    """
    data = os.fsencode(path.as_posix()).replace(b"\\", b"\\\\")
    return data.decode("utf-8", errors="backslashreplace")


class _Search:
    """One search: the videos that were found, and the entries left out."""

    def __init__(self, files: FolderFiles) -> None:
        self.taken: list[Path] = []
        self.left_out = list(files.left_out)
        self.companions: Counter[str] = Counter()
        self.pictures: Counter[Path] = Counter()
        """Number of pictures in each folder."""
        self._members = files.members
        self._unsure: list[tuple[Path, bool]] = []
        """Files of which the beginning does not tell, and whether they are of another kind if they
        are no videos."""

    def sort(self, path: Path) -> None:
        """Take a file, count it, leave it out, or keep it for `probe`."""
        suffix = path.suffix.lower()
        try:
            if path in self._members:
                self._sort_member(path, suffix, self._members[path])
                return
            mode = path.stat().st_mode
            if suffix in VIDEO_SUFFIXES:
                self.taken.append(path)
            elif not stat.S_ISREG(mode):
                self._leave_out(path, "unreadable", "the path is not a regular file")
            else:
                self._take_by_content(path, suffix)
        except OSError as error:
            if suffix in VIDEO_SUFFIXES:
                self.taken.append(path)  # the build says why it cannot read the file
            elif isinstance(error, FileNotFoundError):
                self._leave_out(path, "missing", "the link leads to nothing")
            else:
                self._leave_out(path, "unreadable", f"the file cannot be read: {error.strerror}")

    def _sort_member(self, path: Path, suffix: str, member: Member) -> None:
        """Sort a file in an archive. One that cannot be read in place is told."""
        try:
            if member.fault:
                raise ArchiveError(member.fault)
            if suffix in ARCHIVE_SUFFIXES:
                raise ArchiveError(f"an archive in an archive; {REMEDY}")
            if not member.method and suffix in VIDEO_SUFFIXES:
                self.taken.append(path)
            elif not member.method:
                self._take_by_content(path, suffix)
            elif suffix in VIDEO_SUFFIXES or _kind(path, suffix) != "companion":
                raise ArchiveError(compressed(member))
            else:
                self._count(path)
        except ArchiveError as error:
            if suffix in _COMPANIONS - ARCHIVE_SUFFIXES:
                self._count(path)
            else:
                self._leave_out(path, "archive", str(error))

    def _take_by_content(self, path: Path, suffix: str) -> None:
        kind = _kind(path, suffix)

        if kind == "video":
            self.taken.append(path)
        elif kind == "companion":
            self._count(path, is_empty=path not in self._members and not path.stat().st_size)
        elif kind in ("unsure", "unsure_other"):
            self._unsure.append((path, kind == "unsure_other"))
        elif kind == "dicom":
            detail = "a DICOM file with a video in it; extract the video to a file such as .mp4"
            self._leave_out(path, "dicom", detail)
        elif kind == "archive":
            if detail := sealed(path, VIDEO_SUFFIXES):
                self._leave_out(path, "archive", detail)
            else:
                self._count(path)
        else:
            self._leave_out(path, "unknown", _UNKNOWN)

    def probe(self) -> None:
        """Take the files in which ffprobe finds a video, of those that `sort` kept."""
        with ThreadPoolExecutor(_PROBES) as pool:
            answers = pool.map(_probe, [path for path, _ in self._unsure])
            for (path, is_other), answer in zip(self._unsure, answers, strict=True):
                if isinstance(answer, BadVideoError):
                    self._leave_out(path, answer.reason, str(answer))
                elif answer:
                    self.taken.append(path)
                elif is_other:
                    self._count(path)
                else:
                    self._leave_out(path, "unknown", _UNKNOWN)

    def _count(self, path: Path, *, is_empty: bool = False) -> None:
        suffix = path.suffix.lower()
        empty = " (empty)" if is_empty and suffix not in _COMPANIONS else ""
        self.companions[f"{suffix}{empty}" if suffix else NO_SUFFIX] += 1
        if suffix in PICTURE_SUFFIXES:
            self.pictures[path.parent] += 1

    def _leave_out(self, path: Path, reason: str, detail: str) -> None:
        self.left_out.append(LeftOut(path=path, reason=reason, detail=detail))


def _kind(path: Path, suffix: str) -> _Kind:
    """Return what a file is, by its beginning and its suffix.

    Raises:
        OSError: It cannot be read.
        ArchiveError: It is in an archive, and damaged.
    """
    head, _ = read_file(path, HEAD_BYTES)
    is_other = suffix in _SOUNDS or begins_like_other(head)

    if suffix not in _SOUNDS and begins_like_video(head):
        return "video"
    if suffix in ARCHIVE_SUFFIXES:
        return "archive"
    if suffix in _COMPANIONS or _is_text(head):
        return "companion"
    if is_dicom_video(head):
        return "dicom"
    if suffix in _SOUNDS or may_be_video(lambda count: read_file(path, count)[0]):
        return "unsure_other" if is_other else "unsure"
    return "companion" if is_other else "unknown"


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that cannot be followed: it is told as a file
        return False


def _is_text(head: bytes) -> bool:
    """Return whether a file begins like text, or is empty."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):  # UTF-16
        head = head[2:].replace(b"\0", b"")
    return len(head.translate(None, _CONTROLS)) == len(head)


def _probe(path: Path) -> bool | BadVideoError:
    try:
        return has_moving_picture(path)
    except BadVideoError as error:
        return error
