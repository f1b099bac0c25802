"""Clips as video files: byte ranges of shards."""

import re
from collections.abc import AsyncIterator
from functools import partial

from starlette.responses import Response, StreamingResponse

from surgrec.browse._answers import in_thread
from surgrec.shards import Sample
from surgrec.storage import Store

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_PART_BYTES = 1 << 20
"""Bytes that are read from a shard at once; also the longest answer to a request for a range."""


def video_answer(store: Store, sample: Sample, range_header: str | None) -> Response:
    """Return a clip, or the range of its bytes that a request asks for.

    Args:
        store: Store of the shards.
        sample: The clip.
        range_header: The header `Range` of the request. A header that is no single range of bytes
            is ignored, as HTTP allows.

    Raises:
        StorageError: The bytes cannot be read.
    """
    size, name = sample.mp4_size, f"{sample.clip.source}/{sample.shard}"
    headers = {"Accept-Ranges": "bytes"}
    wanted = parse_range(range_header, size)
    if wanted is None:
        headers["Content-Length"] = str(size)
        parts = _parts(store, name, sample.mp4_offset, size)
        return StreamingResponse(parts, headers=headers, media_type="video/mp4")

    first, last = wanted
    if first > last:
        headers["Content-Range"] = f"bytes */{size}"
        return Response(status_code=416, headers=headers)

    # A part of the range is a valid answer: the browser asks for the rest when it needs it.
    last = min(last, first + _PART_BYTES - 1)
    data = store.read_range(name, sample.mp4_offset + first, last - first + 1)
    headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return Response(data, status_code=206, headers=headers, media_type="video/mp4")


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the first and the last byte that a header `Range` asks for.

    Args:
        header: Its text.
        size: Bytes of the file.

    Returns:
        None for the whole file; a first byte behind the last one if there is no such range.
    """
    found = _RANGE.fullmatch(header or "")
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size - 1 if int(last) else -1
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last), size - 1) if last else size - 1


async def _parts(store: Store, name: str, offset: int, size: int) -> AsyncIterator[bytes]:
    """Yield the bytes of a clip, without ever holding more than a part."""
    for start in range(0, size, _PART_BYTES):
        length = min(_PART_BYTES, size - start)
        yield await in_thread(partial(store.read_range, name, offset + start, length))
