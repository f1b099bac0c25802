"""Search a folder for videos that are given as pictures."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from surgrec.archives import ARCHIVE_SUFFIXES, REMEDY, sealed
from surgrec.errors import ManifestError
from surgrec.recordings.picture_files import PICTURE_SUFFIXES, PictureFiles
from surgrec.text import counted
from surgrec.user_patterns import NamedPattern
from surgrec.video_folder import (
    NO_SUFFIX,
    VIDEO_SUFFIXES,
    FolderFiles,
    FoundVideos,
    LeftOut,
    printable_name,
    require_videos,
)

_NO_PICTURE = "a video file, where videos are given as pictures; build it without --frame_fps"
_MOST_DIGITS = 18


@dataclass(frozen=True, kw_only=True)
class SortedPictures:
    """The pictures among the files of a folder, and the other files."""

    paths: list[Path]
    left_out: list[LeftOut]
    """Videos, archives that are not opened, and places that could not be searched."""
    companions: dict[str, int]
    """Number of other files, by suffix."""


def sort_pictures(files: FolderFiles, no_picture: str) -> SortedPictures:
    """Return the pictures among the files of a folder, by suffix.

    Args:
        files: The files, with those of opened archives.
        no_picture: A sentence about a video file.
    """
    paths, left_out = [], list(files.left_out)
    companions: Counter[str] = Counter()
    for path in files.paths:
        suffix = path.suffix.lower()
        if suffix in PICTURE_SUFFIXES:
            paths.append(path)
        elif suffix in VIDEO_SUFFIXES:
            left_out.append(LeftOut(path=path, reason="no_picture", detail=no_picture))
        elif detail := _archive_fault(path, suffix, files):
            left_out.append(LeftOut(path=path, reason="archive", detail=detail))
        else:
            companions[suffix or NO_SUFFIX] += 1
    return SortedPictures(paths=paths, left_out=left_out, companions=dict(companions))


def search_pictures(files: FolderFiles, rate: float, frames_from: str = "") -> FoundVideos:
    """Return the videos that are given as pictures in the files of a folder.

    Args:
        files: The files.
        rate: Rate of the picture numbers, per second.
        frames_from: An expression with named groups, searched in the path relative to the folder.
            `frame` is the number of a picture; pictures whose other groups are equal are a video.
            Empty: the pictures of each folder are a video.

    Raises:
        ManifestError: None of the files is a picture, or the expression has no number.
    """
    sorted_files = sort_pictures(files, _NO_PICTURE)
    found, left_out = sorted_files.paths, sorted_files.left_out

    pictures: dict[Path, PictureFiles] = {}
    names: dict[Path, dict[str, str]] = {}
    if not frames_from:
        folders = defaultdict(list)
        for path in found:
            folders[path.parent].append(path.name)
        pictures = {
            parent: PictureFiles(rate=rate, names=tuple(chosen) if files.excluded else ())
            for parent, chosen in folders.items()
        }
    else:
        sequences, unmatched = _sequences(files.folder, found, frames_from)
        for groups, numbered in sequences:
            pictures[numbered[0][1]] = PictureFiles(rate=rate, files=tuple(numbered))
            names[numbered[0][1]] = groups
        if unmatched:
            number = counted(len(unmatched), "picture")
            detail = f"{number} that frames_from {frames_from!r} does not match"
            left_out.append(LeftOut(path=unmatched[0], reason="not_matched", detail=detail))
    result = FoundVideos(
        folder=files.folder,
        paths=sorted(pictures),
        pictures=pictures,
        names=names,
        left_out=left_out,
        hidden=files.hidden,
        companions=sorted_files.companions,
        excluded=files.excluded,
    )
    require_videos(result, "picture of a video", "such as .jpg, .png or .bmp")
    return result


def _archive_fault(path: Path, suffix: str, files: FolderFiles) -> str:
    """Return a sentence about an archive that may hold pictures; empty for other files."""
    if suffix not in ARCHIVE_SUFFIXES:
        return ""
    if path in files.members:
        return f"an archive in an archive; {REMEDY}"
    return sealed(path, PICTURE_SUFFIXES)


def _sequences(
    folder: Path, paths: Sequence[Path], frames_from: str
) -> tuple[list[tuple[dict[str, str], list[tuple[int, Path]]]], list[Path]]:
    """Return the groups of each video with its numbered pictures, and pictures without a match."""
    pattern = NamedPattern(frames_from, "frames_from")
    if "frame" not in pattern.names:
        raise ManifestError(
            f"frames_from {frames_from!r} has no group for the number of a picture; add one, "
            r"such as (?P<frame>\d+)"
        )

    texts = [printable_name(path.relative_to(folder)) for path in paths]
    numbered: dict[tuple[tuple[str, str], ...], list[tuple[int, Path]]] = defaultdict(list)
    unmatched = []

    for path, text, groups in zip(paths, texts, pattern.search(texts), strict=True):
        if groups is None:
            unmatched.append(path)
            continue

        number = groups.pop("frame")
        if not (number.isascii() and number.isdecimal() and len(number) <= _MOST_DIGITS):
            raise ManifestError(
                f"frames_from {frames_from!r} finds the number {number!r:.40} in {text}; change "
                "the expression"
            )
        numbered[tuple(groups.items())].append((int(number), path))

    return [(dict(groups), sorted(files)) for groups, files in numbered.items()], unmatched
