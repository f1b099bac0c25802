"""Files in zip and tar archives, read in place: a member is a range of bytes of its archive.

The path of a member continues that of its archive: `videos.tar/day/op.mp4`.
"""

import errno
import itertools
import os
import struct
import tarfile
import threading
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from surgrec.regular_files import FileIdentity, open_regular
from surgrec.text import counted, one_line

_OPENED = frozenset((".zip", ".tar"))
_SEALED = frozenset((".7z", ".rar", ".tgz", ".tbz2", ".txz"))
_COMPRESSED = frozenset((".gz", ".bz2", ".xz", ".zst"))
ARCHIVE_SUFFIXES = _OPENED | _SEALED | _COMPRESSED
"""Suffixes of archives and of compressed files."""
REMEDY = "extract it, or leave it out with --exclude"
# Damaged bytes make zipfile and tarfile raise any of these, which have no common class.
_OF_DAMAGED_BYTES = (
    zipfile.BadZipFile,  # a wrong checksum or directory
    ValueError,  # numbers or names that cannot be
    struct.error,  # a cut header
    NotImplementedError,  # zipfile's error for a version or method that it does not know
    EOFError,  # a cut member
)
_MOST_MEMBERS = 1_000_000
_MOST_DIRECTORY_BYTES = 1 << 27
_BLOCK = 512
_LONGEST_HEADER_BYTES = 1 << 20
_LONGEST_ZEROS_BYTES = 1 << 26
_ZIP_END, _ZIP64_PLACE, _ZIP64_END = b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"
_EXTENSIONS = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE),
)
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_DEFLATED = zipfile.ZIP_DEFLATED
_KEPT_MEMBERS = 400_000
"""Members of archives that stay in memory, about 200 MB; those of the last archive always do."""


class ChangedFileError(OSError):
    """A file that was replaced or written while it was read."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.ESTALE, "the file was replaced or written meanwhile", str(path))


class ArchiveError(Exception):
    """A member that cannot be read in place. The message gives the reason and the remedy."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file in an archive."""

    at: int
    """Where its bytes begin in the archive; for zip, where its header begins."""
    stored: int
    """Number of its bytes in the archive."""
    method: int = zipfile.ZIP_STORED
    """Number of the compression in a zip archive; 0: none."""
    header: bytes = b""
    """Its name in the header of a zip archive; empty for tar."""
    limit: int = 0
    """Where the next part of the archive begins."""
    fault: str = ""
    """Why it cannot be read, as the rest of a sentence."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """The files in an archive."""

    identity: FileIdentity
    members: dict[str, Member] = field(default_factory=dict)
    """By their names: relative paths without `.` and `..`."""
    faults: tuple[str, ...] = ()
    """Sentences about members that have no usable name, and about damage that hides others."""


def is_opened(path: Path) -> bool:
    """Return whether a file is an archive whose members are read in place, by its name."""
    return path.suffix.lower() in _OPENED


def sealed(path: Path, suffixes: Collection[str]) -> str:
    """Return a sentence about a compressed archive or file that is not opened.

    It is empty for an opened archive, and for a compressed file whose name is of another kind.

    Args:
        path: A file with one of `ARCHIVE_SUFFIXES`.
        suffixes: Lower-case suffixes of wanted files.
    """
    suffix, inner = path.suffix.lower(), Path(path.stem).suffix.lower()
    if suffix in _SEALED:
        return f"a compressed archive, which may hold recordings; {REMEDY}"
    if suffix in _COMPRESSED and (inner == ".tar" or inner in suffixes):
        return f"a compressed file, which may hold a recording; {REMEDY}"
    return ""


def archive_of(path: Path) -> Path | None:
    """Return the archive of a path that leads into one; None for other paths."""
    return next(
        (parent for parent in path.parents if is_opened(parent) and os.path.isfile(parent)), None
    )


def read_archive(path: Path) -> Archive:
    """Return the files of an archive. Only headers are read.

    Raises:
        OSError: The archive cannot be read, or was written meanwhile.
    """
    return _KEPT.read(path, FileIdentity.of(os.stat(path)))


def open_member(path: Path) -> tuple[int, int, int] | None:
    """Open a member of an archive that is not compressed; return None for a path in no archive.

    Returns:
        A descriptor of the archive, which the caller closes, and the places of the first byte of
        the member and behind its last one.

    Raises:
        OSError: The archive cannot be read.
        ArchiveError: It is no member that can be read in place.
    """
    archive = archive_of(path)
    if archive is None:
        return None
    descriptor, member = _open_member(archive, path)
    try:
        if member.method != zipfile.ZIP_STORED:
            raise ArchiveError(compressed(member))
        start = _data_start(descriptor, member)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, start, start + member.stored


def read_file(path: Path, limit: int) -> tuple[bytes, FileIdentity]:
    """Return the bytes of a small file, or of a member of an archive, and the file's identity.

    Args:
        path: The file. A member may be deflated.
        limit: Number of bytes that are returned at most.

    Raises:
        OSError: It cannot be read, is not a regular file, or was written meanwhile.
        ArchiveError: It is no member that can be read in place.
    """
    archive = archive_of(path)
    if archive is None:
        descriptor, member = open_regular(path), None
    else:
        descriptor, member = _open_member(archive, path)

    # The file must stay the same while it is read.
    try:
        identity = FileIdentity.of(os.fstat(descriptor))
        if member is None:
            data = _pread(descriptor, min(limit, identity.size), 0)
        else:
            data = member_bytes(descriptor, member, limit)
        if identity != FileIdentity.of(os.fstat(descriptor)):
            raise ChangedFileError(path)
        return data, identity
    finally:
        os.close(descriptor)


def compressed(member: Member) -> str:
    """Return a sentence about a compressed member."""
    return (
        f"compressed in its archive (method {member.method}), so it cannot be read in place; "
        "extract it, or pack the archive without compression (zip -0)"
    )


def member_bytes(descriptor: int, member: Member, limit: int) -> bytes:
    """Return the first bytes of a member, which may be deflated.

    Args:
        descriptor: The open archive.
        member: The member.
        limit: Number of bytes that are returned at most.

    Raises:
        ArchiveError: The member is damaged, or compressed otherwise.
    """
    start = _data_start(descriptor, member)
    if member.method == zipfile.ZIP_STORED:
        return _pread(descriptor, min(limit, member.stored), start)
    if member.method != _DEFLATED:
        raise ArchiveError(compressed(member))
    # Deflated bytes are hardly more than inflated ones.
    packed = _pread(descriptor, min(member.stored, limit + (limit >> 8) + 1024), start)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = inflater.decompress(packed, limit)
    except zlib.error as error:
        raise ArchiveError(f"damaged in its archive ({error}); copy the archive again") from None
    if len(data) < limit and not inflater.eof:
        raise ArchiveError("without its end in its archive; copy the archive again")
    return data


def names_in(path: Path) -> tuple[list[str], tuple[str, ...]] | None:
    """Return the names of the files in a folder of an archive, and the faults of the archive.

    Returns:
        None if the folder is in no archive.

    Raises:
        OSError: The archive cannot be read.
    """
    root = path if is_opened(path) and os.path.isfile(path) else archive_of(path)
    if root is None:
        return None
    archive, folder = read_archive(root), path.relative_to(root).as_posix()
    parts = (name.rpartition("/") for name in archive.members)
    return sorted(name for parent, _, name in parts if (parent or ".") == folder), archive.faults


def _open_member(archive: Path, path: Path) -> tuple[int, Member]:
    """Open an archive, and return its member of a path."""
    content, name = read_archive(archive), path.relative_to(archive).as_posix()
    descriptor = open_regular(archive)
    try:
        # The list of members is of the opened file, or the offsets in it are wrong.
        if FileIdentity.of(os.fstat(descriptor)) != content.identity:
            raise ChangedFileError(archive)

        member = content.members.get(name)
        if member is None:
            because = f" ({content.faults[0]})" if content.faults else ""
            raise ArchiveError(
                f"the archive {archive} has no file of this name{because}; correct the path, or "
                "copy the archive again"
            )
        if member.fault:
            raise ArchiveError(member.fault)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, member


class _KeptArchives:
    """The archives that were read last, with a limit for their members."""

    def __init__(self) -> None:
        self._archives: OrderedDict[tuple[Path, FileIdentity], Archive] = OrderedDict()
        self._members = 0
        self._lock = threading.Lock()

    def read(self, path: Path, identity: FileIdentity) -> Archive:
        """Return the files of an archive, which may be kept."""
        key = path, identity
        with self._lock:
            if key in self._archives:
                self._archives.move_to_end(key)
                return self._archives[key]

        archive = _read_archive(path, identity)
        with self._lock:
            if key not in self._archives:
                self._archives[key] = archive
                self._members += len(archive.members) + 1
            while self._members > _KEPT_MEMBERS and len(self._archives) > 1:
                _, oldest = self._archives.popitem(last=False)
                self._members -= len(oldest.members) + 1
        return archive


_KEPT = _KeptArchives()


def _read_archive(path: Path, identity: FileIdentity) -> Archive:
    descriptor = open_regular(path)
    try:
        if FileIdentity.of(os.fstat(descriptor)) != identity:
            raise ChangedFileError(path)
        read = _zip_members if path.suffix.lower() == ".zip" else _tar_members
        return _collected(read(descriptor, identity.size), identity)
    finally:
        os.close(descriptor)


def _collected(found: Iterator[tuple[str, Member]], identity: FileIdentity) -> Archive:
    """Return members by their names. Of equal names, no member is chosen."""
    members: dict[str, Member] = {}
    faults, unnamed = [], []

    # A damaged end keeps the members before it.
    try:
        for number, (name, member) in enumerate(found):
            if number == _MOST_MEMBERS:
                raise ArchiveError(f"it has more than {_MOST_MEMBERS:,} files")
            parts = [part for part in name.split("/") if part not in ("", ".")]
            plain = "/".join(parts)
            if name.startswith("/") or ".." in parts or not parts or "\0" in name:
                unnamed.append(name)
            elif plain in members:
                twice = "several files of its archive have this name; rename them, or extract one"
                members[plain] = replace(member, fault=twice)
            else:
                members[plain] = member
    except (ArchiveError, *_OF_DAMAGED_BYTES) as error:
        which = "the files behind this place are" if members else "its files are"
        faults.append(
            f"a damaged archive ({one_line(str(error), 100)}): {which} not known; copy it again, "
            "or leave it out with --exclude"
        )

    if unnamed:
        faults.append(
            f"an archive with {counted(len(unnamed), 'name that leads', 'names that lead')} out of "
            f"it (the first, {one_line(unnamed[0], 100)}); rename these files in the archive, or "
            "leave it out with --exclude"
        )
    return Archive(identity=identity, members=members, faults=tuple(faults))


def _zip_members(descriptor: int, size: int) -> Iterator[tuple[str, Member]]:
    """Yield the files in a zip archive, from the directory at its end. Source: APPNOTE 6.3."""
    end = _directory_start(descriptor, size)
    with os.fdopen(os.dup(descriptor), "rb") as file, zipfile.ZipFile(file) as archive:
        infos = sorted(archive.infolist(), key=lambda info: info.header_offset)

    places = [*(info.header_offset for info in infos), end]
    for info, (at, following) in zip(infos, itertools.pairwise(places), strict=True):
        name = info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")
        if at < 0 or at + _LOCAL_HEADER.size + len(name) + info.compress_size > following:
            raise ArchiveError(f"its files overlap at byte {at}")
        if info.is_dir():
            continue
        fault = ""
        if info.flag_bits & 0x1:
            fault = "encrypted in its archive; extract it with its password"
        elif info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
            fault = "its archive gives it two sizes; copy the archive again"
        member = Member(
            at=at,
            stored=info.compress_size,
            method=info.compress_type,
            header=name,
            limit=following,
            fault=fault,
        )
        yield info.filename, member


def _directory_start(descriptor: int, size: int) -> int:
    """Return where the directory of a zip archive begins. Refuse one that is too large."""
    start = max(0, size - (1 << 16) - 22)
    tail = _pread(descriptor, size - start, start)
    at = tail.rfind(_ZIP_END)
    if at < 0:
        raise zipfile.BadZipFile("its directory is missing")
    length = int(struct.unpack_from("<I", tail, at + 12)[0])
    end = start + at
    if at >= 20 and tail[at - 20 : at - 16] == _ZIP64_PLACE:
        # A prefix before the archive shifts all places, so the record is searched right before.
        record = tail.rfind(_ZIP64_END, 0, at - 20)
        if record < 0:
            raise zipfile.BadZipFile("its zip64 directory is missing")
        length = int(struct.unpack_from("<Q", tail, record + 40)[0])
        end = start + record
    if length > _MOST_DIRECTORY_BYTES:
        raise zipfile.BadZipFile("its directory is too large")
    return end - length


def _data_start(descriptor: int, member: Member) -> int:
    """Return where the bytes of a member begin."""
    if not member.header:
        return member.at
    data = _pread(descriptor, _LOCAL_HEADER.size + len(member.header), member.at)
    if len(data) < _LOCAL_HEADER.size or data[:4] != b"PK\x03\x04":
        raise ArchiveError("its header in the archive is damaged; copy the archive again")
    _, name_bytes, extra_bytes = _LOCAL_HEADER.unpack_from(data)
    start = member.at + _LOCAL_HEADER.size + int(name_bytes) + int(extra_bytes)
    if data[_LOCAL_HEADER.size :] != member.header or name_bytes != len(member.header):
        raise ArchiveError("its archive gives it two names; copy the archive again")
    if start + member.stored > member.limit:
        raise ArchiveError("it overlaps with another file of its archive; copy the archive again")
    return start


class _Extension(NamedTuple):
    """Facts of the next member of a tar archive that an extended header gives."""

    name: str = ""
    size: int = -1
    is_sparse: bool = False


def _tar_members(descriptor: int, size: int) -> Iterator[tuple[str, Member]]:
    """Yield the files in a tar archive, or in several that were joined. Source: POSIX.1-2001.

    tarfile reads an extended header of any size into memory, and keeps all members.
    """
    at, extension = 0, _Extension()
    while (at := _behind_zeros(descriptor, at)) < size:
        info = _tar_header(descriptor, at)
        at += _BLOCK
        if info.type in _EXTENSIONS:
            extension = _extended(info, _pread(descriptor, info.size, at), extension)
            at += _padded(info.size)
            continue

        if info.type == tarfile.GNUTYPE_SPARSE:
            at = _behind_sparse_headers(descriptor, at)
        stored = info.size if extension.size < 0 else extension.size
        # Links, folders and devices have no bytes, whatever size their header gives.
        if not (info.isreg() or info.type not in tarfile.SUPPORTED_TYPES):
            stored = 0
        if not (info.isdir() or info.isdev()):
            fault = _tar_fault(info, extension)
            if at + stored > size and not fault:
                fault = "its archive ends before it does; copy the archive again"
            yield extension.name or info.name, Member(at=at, stored=stored, fault=fault)
        at += _padded(stored)
        extension = _Extension()
    if at > size:
        raise ArchiveError("its end is missing")


def _tar_header(descriptor: int, at: int) -> tarfile.TarInfo:
    header = _pread(descriptor, _BLOCK, at)
    if len(header) < _BLOCK:
        raise ArchiveError("its end is missing")
    try:
        info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except tarfile.TarError:
        raise ArchiveError(f"its header at byte {at} is damaged") from None
    is_long = info.type in _EXTENSIONS and info.size > _LONGEST_HEADER_BYTES
    if info.size < 0 or is_long:
        raise ArchiveError(f"its header at byte {at} gives a wrong size")
    return info


def _extended(info: tarfile.TarInfo, data: bytes, before: _Extension) -> _Extension:
    """Return the facts of the next member after one more extended header."""
    if info.type == tarfile.GNUTYPE_LONGNAME:
        return before._replace(name=os.fsdecode(data.rstrip(b"\0")))
    if info.type != tarfile.XHDTYPE:
        return before
    records = _pax_records(data)
    size = records.get(b"size", b"")
    if size and not size.isdigit():
        raise ArchiveError("an extended header is damaged")
    return _Extension(
        name=os.fsdecode(records.get(b"path", b"")) or before.name,
        size=int(size) if size else -1,
        is_sparse=any(name.startswith(b"GNU.sparse.") for name in records),
    )


def _padded(size: int) -> int:
    """Return the bytes that so many bytes take in a tar archive."""
    return -(-size // _BLOCK) * _BLOCK


def _tar_fault(info: tarfile.TarInfo, extension: _Extension) -> str:
    """Return why a member of a tar archive is not read; empty if it is."""
    if info.islnk() or info.issym():
        return f"a link in its archive, to {one_line(info.linkname, 100)}; extract the archive"
    if extension.is_sparse or info.type == tarfile.GNUTYPE_SPARSE:
        return "stored with holes in its archive (tar --sparse); extract it"
    if info.type not in tarfile.REGULAR_TYPES:
        return f"a member of the kind {info.type!r} of its archive; extract it"
    return ""


def _behind_zeros(descriptor: int, at: int) -> int:
    """Return the place of the next block that is not zero, or the end of the file."""
    first = at
    while data := _pread(descriptor, _BLOCK, at):
        if data.strip(b"\0"):
            return at
        # Zeros end an archive; another one may follow.
        chunk = _pread(descriptor, 1 << 20, at)
        filled = len(chunk) - len(chunk.lstrip(b"\0"))
        at += filled // _BLOCK * _BLOCK if filled < len(chunk) else len(chunk)
        if at - first > _LONGEST_ZEROS_BYTES:
            raise ArchiveError("it has more than 64 MiB of zeros")
    return at


def _behind_sparse_headers(descriptor: int, at: int) -> int:
    """Return the place behind the further headers of a member with holes."""
    is_continued = _pread(descriptor, _BLOCK, at - _BLOCK)[482]
    while is_continued:
        block = _pread(descriptor, _BLOCK, at)
        if len(block) < _BLOCK:
            raise ArchiveError("its end is missing")
        is_continued, at = block[504], at + _BLOCK
    return at


def _pax_records(data: bytes) -> dict[bytes, bytes]:
    """Return the records of an extended header, each `length name=value` and a line end."""
    records = {}
    while data.strip(b"\0"):
        digits, _, rest = data.partition(b" ")
        length = int(digits) - len(digits) - 1
        if not 0 < length <= len(rest):
            raise ArchiveError("an extended header is damaged")
        name, _, value = rest[: length - 1].partition(b"=")
        records[name], data = value, rest[length:]
    return records


def _pread(descriptor: int, count: int, at: int) -> bytes:
    """Return bytes of a file: fewer only at its end."""
    parts = []
    while count > 0 and (part := os.pread(descriptor, count, at)):
        parts.append(part)
        count, at = count - len(part), at + len(part)
    return b"".join(parts)
