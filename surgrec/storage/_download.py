"""The bytes of one version of an object that have arrived so far, and the facts of its answers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from botocore.exceptions import IncompleteReadError

from surgrec.errors import StorageError
from surgrec.storage._failures import CHANGED

_ENCODED = {
    "gzip": b"\x1f\x8b",
    "x-gzip": b"\x1f\x8b",
    "deflate": b"\x78",
    "zstd": b"\x28\xb5\x2f\xfd",
}
"""First bytes of a body, by its Content-Encoding."""
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@dataclass
class Download:
    """A GET that continues after failures."""

    position: int = 0
    """Offset of the next byte."""
    end: int | None = None
    """Offset behind the last byte; None until an answer gives the object's length."""
    version: dict[str, str] = field(default_factory=dict)
    """Headers that change with the object; empty before the first answer."""
    chunks: list[bytes] = field(default_factory=list)
    uses_if_match: bool = True
    encoding: str = ""
    """Content-Encoding of the last answer."""

    def __post_init__(self) -> None:
        self.start = self.reached = self.position
        self.is_whole = self.end is None

    @property
    def complete(self) -> bool:
        return self.position == self.end

    @property
    def missing(self) -> int:
        """Bytes that are still missing; a large number if the length is unknown."""
        return (1 << 62) if self.end is None else self.end - self.position

    def headers(self) -> dict[str, str]:
        """Return the headers of a GET for the missing bytes of the same version."""
        # Without a length, or without a version to compare, begin again.
        if self.end is None or not self.version:
            self.chunks.clear()
            self.position = self.start

        headers = {}
        if self.is_whole and self.position == 0:
            self.end = None
        else:
            headers["Range"] = f"bytes={self.position}-{(self.end or 0) - 1}"
        etag = self.version.get("etag", "")
        if etag and self.uses_if_match and not is_weak(etag):
            headers["If-Match"] = etag
        return headers

    def accept(self, headers: Mapping[str, str], context: str) -> None:
        """Check the headers of an answer: some stores ignore If-Match or ranges.

        Raises:
            StorageError: The answer is of another version or of another range, or its bytes are
                not those of the object.
        """
        self.encoding = encoding = headers.get("content-encoding", "").strip().lower()
        is_changed = content_length(headers) is None or is_weak(headers.get("etag", ""))
        if encoding not in ("", "identity", "aws-chunked") and is_changed:
            raise StorageError(
                f"{context} arrives with the Content-Encoding {encoding!r}: a proxy before the "
                "store compresses it; switch this off, or set AWS_ENDPOINT_URL to the store itself"
            )

        version = version_facts(headers)
        if any(
            opaque(self.version[name]) != opaque(version[name])
            for name in self.version.keys() & version
        ):
            raise StorageError(f"{context} {CHANGED}")
        self.version = self.version | version

        if self.end is None:
            self.end = content_length(headers)
            return
        found = _RANGE.fullmatch(headers.get("content-range", "").strip())
        if found is None or int(found[1]) != self.position or int(found[2]) >= self.end:
            raise StorageError(
                f"{context} is in a store that serves no byte ranges; copy the corpus to "
                "another store"
            )

    def check_encoding(self, data: bytes, context: str) -> None:
        """Refuse a body that is truly compressed: Content-Encoding alone may be a stored fact.

        Raises:
            StorageError: The bytes begin as the Content-Encoding says.
        """
        encoded = _ENCODED.get(self.encoding)
        if self.start == 0 and encoded and data.startswith(encoded):
            raise StorageError(
                f"{context} arrives with the Content-Encoding {self.encoding!r}, and its bytes are "
                "compressed; switch this off in the proxy before the store, or store the file "
                "without compression"
            )

    def add(self, chunk: bytes) -> int:
        """Append the next bytes, and return how many of them are new.

        An empty chunk is the early end of a body.
        """
        if not chunk:
            raise IncompleteReadError(actual_bytes=self.position, expected_bytes=self.end)
        self.chunks.append(chunk)
        self.position += len(chunk)
        new = max(0, self.position - self.reached)
        self.reached += new
        return new


def content_length(headers: Mapping[str, str]) -> int | None:
    """Return the Content-Length, or None if it is missing or no number."""
    values = {part.strip() for part in headers.get("content-length", "").split(",")}
    value = values.pop()
    return int(value) if not values and value.isascii() and value.isdigit() else None


def object_length(headers: Mapping[str, str]) -> int | None:
    """Return the length of the whole object, from the answer to a GET of its first byte."""
    found = re.fullmatch(r"bytes (?:\d+-\d+|\*)/(\d+)", headers.get("content-range", "").strip())
    return int(found[1]) if found else content_length(headers)


def version_facts(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that change with the object."""
    names = ("etag", "last-modified")
    return {name: headers[name].strip() for name in names if headers.get(name, "").strip()}


def is_weak(etag: str) -> bool:
    """Return whether an ETag is weak, `W/"..."`: If-Match never matches it (RFC 9110, 8.8.3)."""
    return etag.startswith("W/")


def opaque(etag: str) -> str:
    """Return an ETag without the mark of a weak one: a proxy adds it to some answers only."""
    return etag.removeprefix("W/")
