"""Archives in a folder of videos: searched for the names of wanted files, but never extracted."""

import itertools
import os
import struct
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from surgrec.regular_files import open_regular_file
from surgrec.text import counted, one_line

_SEALED = frozenset((".7z", ".rar", ".tgz", ".tbz2", ".txz"))
_COMPRESSED = frozenset((".gz", ".bz2", ".xz", ".zst"))
ARCHIVE_SUFFIXES = frozenset((".zip", ".tar", *_SEALED, *_COMPRESSED))
"""Suffixes of archives and of compressed files."""
_REMEDY = "extract it first, or leave it out with --exclude"
_MOST_MEMBERS = 1_000_000
_MOST_DIRECTORY_BYTES = 1 << 27
_BLOCK = 512
_LONG_NAME_BYTES = 1 << 16


def archive_with(path: Path, suffixes: Collection[str]) -> str:
    """Return a sentence about the wanted files in an archive; empty if it has none.

    Compressed archives are not read: they may have some. Of other compressed files, the name tells.

    Args:
        path: A file with one of `ARCHIVE_SUFFIXES`.
        suffixes: Lower-case suffixes of wanted files.

    Raises:
        OSError: The file cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix in _COMPRESSED:
        inner = Path(path.stem).suffix.lower()
        if inner == ".tar" or inner in suffixes:
            return f"a compressed file, which may hold a video; {_REMEDY}"
        return ""
    if suffix in _SEALED:
        return f"a compressed archive, which may hold videos; {_REMEDY}"

    with open_regular_file(path) as file:
        try:
            members = _zip_members(file) if suffix == ".zip" else _tar_members(file)
            names = list(itertools.islice(members, _MOST_MEMBERS + 1))
        # Damaged bytes make zipfile raise any of these, and `_tar_number` a ValueError.
        except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError) as error:
            return f"a damaged archive ({one_line(str(error), 100)}); {_REMEDY}"
    wanted = [name for name in names if Path(name).suffix.lower() in suffixes]
    if len(names) > _MOST_MEMBERS:
        return f"an archive of more than {_MOST_MEMBERS:,} files; {_REMEDY}"
    if not wanted:
        return ""
    first = one_line(wanted[0], 100)
    return f"an archive with {counted(len(wanted), 'recording')} (the first, {first}); {_REMEDY}"


def _zip_members(file: BinaryIO) -> Iterator[str]:
    """Yield the names of the files in a zip archive, from the directory at its end."""
    size = os.fstat(file.fileno()).st_size
    file.seek(max(0, size - (1 << 16) - 22))
    end = file.read()
    at = end.rfind(b"PK\x05\x06")
    if at < 0:
        raise zipfile.BadZipFile("its directory is missing")
    (length,) = struct.unpack_from("<I", end, at + 12)
    if length > _MOST_DIRECTORY_BYTES:
        raise zipfile.BadZipFile("its directory is too large")
    with zipfile.ZipFile(file) as archive:
        yield from (member.filename for member in archive.infolist() if not member.is_dir())


def _tar_members(file: BinaryIO) -> Iterator[str]:
    """Yield the names of the files in a tar archive. Source: POSIX.1-2001, pax.

    tarfile reads an extended header of any size into memory, and keeps all members.
    """
    size, at, long_name = os.fstat(file.fileno()).st_size, 0, ""
    while at + _BLOCK <= size:
        file.seek(at)
        header = file.read(_BLOCK)
        if not header.strip(b"\0"):
            return
        length = _tar_number(header[124:136])
        kind = header[156:157]
        if kind in b"Lx":  # the next member has a long name
            long_name = _long_name(kind, file.read(min(length, _LONG_NAME_BYTES)))
        elif kind in b"0\x007":
            yield long_name or header[:100].rstrip(b"\0").decode("utf-8", errors="replace")
            long_name = ""
        else:
            long_name = long_name if kind == b"g" else ""
        at += _BLOCK + -(-length // _BLOCK) * _BLOCK
    if at > size:
        raise ValueError("its end is missing")


def _tar_number(field: bytes) -> int:
    """Return a number of a header: octal digits, or bytes if the first bit is set."""
    if field[:1] >= b"\x80":
        return int.from_bytes(field[1:], "big")
    text = field.strip(b" \0")
    if not all(digit in b"01234567" for digit in text):
        raise ValueError("a header is damaged")
    return int(text or b"0", 8)


def _long_name(kind: bytes, data: bytes) -> str:
    text = data.rstrip(b"\0").decode("utf-8", errors="replace")
    if kind == b"L":
        return text
    return next(
        (
            line.partition("path=")[2]
            for line in text.split("\n")
            if line.partition(" ")[2].startswith("path=")
        ),
        "",
    )
