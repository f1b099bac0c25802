"""Videos that are given as pictures: a folder of them, or some of the files of a folder.

The rule of time: a picture appears at (its number - the first number) / rate. Its number is the
last one in its name, unless the caller gives another.
"""

import functools
import hashlib
import itertools
import os
import re
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

from surgrec.archives import ArchiveError, ChangedFileError, archive_of, names_in, read_file
from surgrec.recordings import _matroska
from surgrec.recordings._recording import BadVideoError, Recording
from surgrec.recordings._still_formats import BadStillError, Still, read_still
from surgrec.regular_files import FileIdentity
from surgrec.text import counted

PICTURE_SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp"))
"""Suffixes of the pictures of which a video may consist."""
LOWEST_RATE, HIGHEST_RATE = 0.01, 1000.0
"""Numbers of pictures that may pass per second."""
_MOST_BYTES = 256 << 20
"""Largest file of a picture."""
_MOST_DIGITS = 18
_LONGEST_STEP_S, _LONGEST_HOLE_S = 10.0, 12 * 3600.0
_TOLD = 10
"""Pictures that notes list."""
_NUMBER = re.compile(r"[0-9]+")


@dataclass(frozen=True, kw_only=True)
class PictureFiles:
    """Which pictures are a video, and how fast they follow each other."""

    rate: float
    """Rate of the picture numbers, per second, from `LOWEST_RATE` to `HIGHEST_RATE`."""
    files: tuple[tuple[int, Path], ...] = ()
    """Number and file of each picture. Empty: pictures of the folder."""
    names: tuple[str, ...] = ()
    """Names of those pictures of the folder. Empty: all."""


class _Listed(NamedTuple):
    """A picture as it was found, to tell it from a changed one."""

    number: int
    path: Path
    identity: FileIdentity


@dataclass(frozen=True, kw_only=True)
class PictureContents:
    """Properties of the pictures of a video."""

    still: Still
    """Format, size and orientation of those that are used: those that most pictures have."""
    numbers: Int64[np.ndarray, " n"]
    """Numbers of all pictures, from 0, ascending."""
    are_used: Bool[np.ndarray, " n"]
    """Which of them are used."""
    packets: tuple[int, int]
    """Number of the pictures that are used, and of their bytes."""
    notes: tuple[str, ...]
    """Sentences for the private report."""


def open_recording(path: Path, pictures: PictureFiles | None = None) -> Recording:
    """Open a video: a file, or pictures. Use the result in a `with` block.

    Args:
        path: The file, or the folder of the pictures.
        pictures: The pictures, if the video is given as such.

    Raises:
        BadVideoError: The video cannot be opened.
    """
    return Recording(path) if pictures is None else PictureSequence(path, pictures)


class PictureSequence(Recording):
    """A video that is given as pictures. It is read as one recording.

    Args:
        path: The folder of the pictures, or the first of them.
        pictures: The pictures.

    Raises:
        BadVideoError: There are none, or they have no numbers, or the same ones.
    """

    def __init__(self, path: Path, pictures: PictureFiles) -> None:
        self.path = path
        self.rate = pictures.rate
        self._pictures = pictures
        self._others: list[str] = []
        self._archive_faults: tuple[str, ...] = ()
        self._listed = self._list()
        self.identity = self._identity()

    def input_arguments(self) -> list[str]:
        """Return ffmpeg's arguments that read the pictures from its standard input."""
        return ["-protocol_whitelist", "pipe", "-f", "matroska", "-i", "pipe:0"]

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Return no descriptors: ffmpeg opens no file."""
        return ()

    def beginnings(self) -> list[int]:
        """Return one beginning: the pictures are one recording."""
        return [0]

    def part(self, start: int, end: int | None) -> "PictureSequence":
        """Return all of it."""
        return self

    def feed(self) -> Iterator[bytes]:
        """Yield the pictures as one stream, each with its time.

        Raises:
            BadVideoError: A file has changed, or cannot be read for now.
        """
        contents, still = self.contents, self.contents.still
        yield _matroska.header(still.format, still.width, still.height)
        for index in np.flatnonzero(contents.are_used).tolist():
            time_us = round(int(contents.numbers[index]) / self.rate * 1e6)
            picture = self._listed[index]
            try:
                yield _matroska.picture(time_us, self._read(picture))
            except ArchiveError:
                raise _changed(picture.path) from None

    @functools.cached_property
    def contents(self) -> PictureContents:
        """The properties of the pictures, after each has been read once.

        Raises:
            BadVideoError: None can be used, or one cannot be read for now.
        """
        stills: dict[_Listed, Still] = {}
        sizes: dict[_Listed, int] = {}
        faults: dict[_Listed, str] = {}
        for picture in self._listed:
            try:
                data = self._read(picture)
                sizes[picture] = len(data)
                stills[picture] = read_still(data)
            except (ArchiveError, BadStillError) as error:
                faults[picture] = str(error)
        if not stills:
            first, fault = next(iter(faults.items()))
            raise BadVideoError(
                "undecodable",
                f"none of the pictures can be used (the first, {first.path}: {fault})",
            )

        # All frames of a video have one size: the others cannot be told from errors.
        usual = Counter(stills.values()).most_common(1)[0][0]
        for picture, still in stills.items():
            if still != usual:
                faults[picture] = f"it is {_named(still)}, and most are {_named(usual)}"
        used = [picture for picture in self._listed if picture not in faults]
        numbers = np.array([picture.number for picture in self._listed], dtype=np.int64)
        return PictureContents(
            still=usual,
            numbers=numbers - numbers[0],
            are_used=np.array([picture not in faults for picture in self._listed]),
            packets=(len(used), sum(sizes[picture] for picture in used)),
            notes=(
                *self._notes(numbers),
                *(f"the pictures are in {fault}" for fault in self._archive_faults),
                *_listing(("picture", "pictures"), "left out", _fault_lines(faults, self._listed)),
                *_listing(("other file", "other files"), "beside the pictures", self._others),
            ),
        )

    def sha256(self) -> str:
        """Return a SHA-256 of the pictures with their times. It does not depend on their names.

        Raises:
            BadVideoError: A file changed while it was read, or cannot be read.
        """
        digest = hashlib.sha256(b"pictures" + struct.pack(">d", self.rate))
        for picture in self._listed:
            try:
                data = self._read(picture)
            except ArchiveError:  # one picture without bytes
                data = b""
            number = picture.number - self._listed[0].number
            digest.update(struct.pack(">qq", number, len(data)) + data)
        self.require_unchanged()
        return digest.hexdigest()

    def close(self) -> None:
        """Do nothing: each file is open only while it is read."""

    def _identity(self) -> FileIdentity:
        """Return an identity that changes with any picture, with their number and the rate."""
        listed = self._list()
        # Machines give a shared disk other device numbers.
        states = [each._replace(identity=each.identity._replace(device=0)) for each in listed]
        digest = hashlib.sha256(repr((self.rate, states)).encode("utf-8", "surrogateescape"))
        return FileIdentity(
            0,
            int.from_bytes(digest.digest()[:7], "big"),
            sum(picture.identity.size for picture in listed),
            max(picture.identity.mtime_ns for picture in listed),
            max(picture.identity.ctime_ns for picture in listed),
        )

    def _list(self) -> list[_Listed]:
        """Return the pictures in the order of their numbers.

        Raises:
            BadVideoError: There are none, or they have no numbers, or the same ones.
        """
        files = self._pictures.files or tuple(self._files_of_folder())
        try:
            listed = [_Listed(number, path, _identity(path)) for number, path in sorted(files)]
        except FileNotFoundError as error:
            raise BadVideoError(
                "missing", f"the picture {error.filename} does not exist", may_pass=True
            ) from None
        except OSError as error:
            raise _unreadable(error) from None
        _require_order(listed, self.rate)
        return listed

    def _files_of_folder(self) -> Iterator[tuple[int, Path]]:
        """Yield number and path of each picture of the folder."""
        try:
            inside = names_in(self.path)
            found, self._archive_faults = inside or (sorted(os.listdir(self.path)), ())
        except FileNotFoundError:
            raise BadVideoError("missing", "the folder does not exist", may_pass=True) from None
        except NotADirectoryError:
            raise BadVideoError(
                "unreadable", "it has a rate of pictures, but it is not a folder of pictures"
            ) from None
        except OSError as error:
            raise BadVideoError(
                "unreadable", f"the folder cannot be opened: {error.strerror}", may_pass=True
            ) from None

        shown = [name for name in found if not name.startswith(".")]
        names = [name for name in shown if Path(name).suffix.lower() in PICTURE_SUFFIXES]
        self._others = sorted(set(shown) - set(names))
        if self._pictures.names:
            names = sorted(set(names) & set(self._pictures.names))
        if not names:
            raise BadVideoError(
                "no_pictures", "the folder has no jpg, png or bmp pictures; give one that has"
            )
        for name in names:
            yield number_of(name), self.path / name

    def _read(self, picture: _Listed) -> bytes:
        """Return the bytes of a picture.

        Raises:
            ArchiveError: It is damaged in its archive, or not read in place.
            BadVideoError: It has changed, or cannot be read.
        """
        try:
            data, identity = read_file(picture.path, _MOST_BYTES + 1)
        except ChangedFileError:
            raise _changed(picture.path) from None
        except OSError as error:
            raise _unreadable(error) from None

        if identity != picture.identity:
            raise _changed(picture.path)
        if len(data) > _MOST_BYTES:
            raise BadVideoError("absurd", f"the picture {picture.path} has more than 256 MiB")

        return data

    def _notes(self, numbers: Int64[np.ndarray, " n"]) -> Iterator[str]:
        """Yield sentences about the numbers of the pictures."""
        step = usual_step(numbers)
        if step > 1:
            yield (
                f"the pictures have numbers in steps of {step}: one for each "
                f"{step / self.rate:.3g} s"
            )

        holes = np.flatnonzero(np.diff(numbers) > step).tolist()
        missing = int((np.diff(numbers) // step - 1).clip(min=0).sum())

        if missing:
            places = [f"{numbers[hole]} to {numbers[hole + 1]}" for hole in holes]
            number = counted(missing, "picture")
            yield f"{number} missing, by the numbers ({_first(places)})"


def number_of(name: str) -> int:
    """Return the last number in the name of a picture.

    Raises:
        BadVideoError: It has none.
    """
    found = _NUMBER.findall(Path(name).stem)
    if not found:
        raise BadVideoError(
            "unnumbered", f"the picture {name} has no number in its name, which gives its time"
        )
    if len(found[-1].lstrip("0")) > _MOST_DIGITS:
        raise BadVideoError("unnumbered", f"the number of the picture {name} is too long")
    return int(found[-1])


def usual_step(numbers: Int64[np.ndarray, " n"]) -> int:
    """Return the most common difference between the ascending numbers of pictures."""
    if len(numbers) < 2:
        return 1
    steps, counts = np.unique(np.diff(numbers), return_counts=True)
    return int(steps[np.argmax(counts)])


def _require_order(listed: Sequence[_Listed], rate: float) -> None:
    """Refuse pictures with the same number, and numbers that are no count of pictures."""
    for before, after in itertools.pairwise(listed):
        if before.number == after.number:
            raise BadVideoError(
                "unnumbered",
                f"the pictures {before.path.name} and {after.path.name} have the same number "
                f"{after.number}; rename them, or give an expression that finds the number",
            )

        if (after.number - before.number) / rate > _LONGEST_HOLE_S:
            raise BadVideoError(
                "unnumbered",
                f"between the pictures {before.path.name} and {after.path.name} lie more than 12 "
                f"hours at {rate:g} numbers per second; the last number of a name must count "
                "pictures",
            )

    step = usual_step(np.array([picture.number for picture in listed], dtype=np.int64))
    if step / rate > _LONGEST_STEP_S:
        raise BadVideoError(
            "unnumbered",
            f"the pictures have numbers in steps of {step}, which at {rate:g} per second is one "
            f"for each {step / rate:g} s; give the rate of the video from which they were taken",
        )


def _fault_lines(faults: dict[_Listed, str], listed: Sequence[_Listed]) -> list[str]:
    return [f"{each.path.name}: {faults[each]}" for each in listed if each in faults]


def _listing(nouns: tuple[str, str], what: str, lines: Sequence[str]) -> Iterator[str]:
    """Yield one sentence with the first of some lines."""
    if lines:
        number = counted(len(lines), *nouns)
        yield f"{number} {what} ({_first(lines)})"


def _first(lines: Sequence[str]) -> str:
    more = f", and {len(lines) - _TOLD} more" if len(lines) > _TOLD else ""
    return f"{', '.join(lines[:_TOLD])}{more}"


def _named(still: Still) -> str:
    turned = f" with the orientation {still.orientation}" if still.orientation > 1 else ""
    return f"a {still.format} of {still.width} x {still.height}{turned}"


def _identity(path: Path) -> FileIdentity:
    """Return the identity of a picture, or of the archive that holds it."""
    return FileIdentity.of(os.stat(archive_of(path) or path))


def _unreadable(error: OSError) -> BadVideoError:
    return BadVideoError(
        "unreadable",
        f"the picture {error.filename} cannot be read: {error.strerror}",
        may_pass=True,
    )


def _changed(path: Path) -> BadVideoError:
    return BadVideoError(
        "changed",
        f"the picture {path} was replaced or written while it was read; when the pictures are "
        "complete, run the same command again",
        may_pass=True,
    )
