"""Names and fields of the shard format. README.md beside this file is its specification."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import TypedDict

import xxhash

from surgrec.annotations import Label
from surgrec.errors import ShardError
from surgrec.json_files import decode_json, typed
from surgrec.manifest import SOURCE_NAME
from surgrec.shards.frame_clock import FrameClock

SCHEMA_VERSION = 4
CORPUS_FILE = "corpus.json"
INDEX_FILE = "index.parquet"
LABELS_FILE = "labels.parquet"
DROPPED_FILE = "dropped.parquet"
TABLES = (INDEX_FILE, LABELS_FILE, DROPPED_FILE)
_REMEDY = "copy the corpus or build it again"
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,94}")
_SHARD = re.compile(
    r"(?P<source>[A-Za-z0-9-]+)-(?P<split>train|val|test)-(?P<group>\d{5})(?P<part>\d{3})"
    r"(-(?P<digest>[0-9a-f]{8}))?\.tar"
)
_TABLE = re.compile(r"(index|labels|dropped)-[0-9a-f]{8}\.parquet")
_TABLES_SUFFIX = re.compile(r"(-[0-9a-f]{8})?")


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Metadata of one clip: the content of `<key>.json`. Times in seconds, sizes in pixels."""

    source: str
    domain: str
    procedure: str
    case: str
    video: str
    """12 hex digits: a keyed digest of the video file, or its SHA-256 if the source is public."""
    view: str
    split: str
    start_s: float
    """Start of the clip in its video."""
    duration_s: float
    fps: float
    """Stored frames per second."""
    num_frames: int
    width: int
    height: int
    native_fps: float
    native_width: int
    native_height: int
    crop: str
    """The stored part of the native frame, as `x,y,width,height` in native pixels."""
    license: str
    config: str
    """Digest of the encoding settings."""
    blur: float
    """0: sharp; 1: without detail. Mean over two frames per second, as the next two."""
    brightness: float
    """0: black; 1: white."""
    motion: float
    """Mean change of brightness in half a second, 0 to 1."""
    model_score: float | None = None
    """Mean score of a user's model; None in a corpus that was built without one."""

    @property
    def key(self) -> str:
        """The sample key: `<source>_<video>_<start, milliseconds>`."""
        return f"{self.source}_{self.video}_{round(self.start_s * 1000):09d}"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One row of `index.parquet`: a clip and where its bytes are. Offsets and sizes in bytes."""

    key: str
    clip: Clip
    shard: str
    """File name of the shard, in the folder of its source."""
    offset: int
    """Offset of the first tar header of the sample."""
    size: int
    """Size of the sample with its headers and padding."""
    mp4_offset: int
    mp4_size: int
    sha256: str
    """SHA-256 of the mp4."""
    xxh3_64: int | None = None
    """XXH3 of the mp4, 64 bits with seed 0, which readers of single clips check: it takes a
    twentieth of the time of SHA-256. None: the clip was packed before there was the column."""
    timescale: int | None = None
    """With `frame_ticks`, the `FrameClock` of the mp4. Both are None if its frames are not evenly
    spaced, or the clip was packed before there were the columns."""
    frame_ticks: int | None = None

    @property
    def clock(self) -> FrameClock | None:
        """The times of the frames, if they are evenly spaced and the index says so."""
        if self.timescale is None or self.frame_ticks is None:
            return None
        return FrameClock(self.timescale, self.frame_ticks)


DUPLICATE_GROUP = "duplicate_group"
"""Column of an index whose corpus was searched for copies; no field of a clip."""
CLUSTERING = "clustering"
"""Column of an index whose corpus was clustered: a digest of the clusters; no field of a clip."""
SCORE = "model_score"
"""The only field of a clip that a corpus may lack, then in all samples."""
OPTIONAL_FIELDS = ("xxh3_64", "timescale", "frame_ticks")
"""Columns of the format that may lack, or have empty cells: without them, readers are slower."""
CLIP_FIELDS = tuple(field.name for field in fields(Clip) if field.name != SCORE)
LOCATION_FIELDS = tuple(
    field.name for field in fields(Sample) if field.name not in ("clip", *OPTIONAL_FIELDS)
)


def shard_name(source: str, split: str, group: int, part: int, sha256: str = "") -> str:
    """Return `<source>-<split>-<group, 5 digits><part, 3 digits>-<sha256, 8 digits>.tar`.

    The name is unique over all sources, and with the digest also over all builds of a source.

    Args:
        source: Name of the source.
        split: The stored split.
        group: Number of the group.
        part: Number of the shard in its group.
        sha256: SHA-256 of the shard; empty: the name ends without it.

    Raises:
        ShardError: The group or the part has more digits than the name holds.
    """
    if group > 99_999:
        raise ShardError(
            f"{source} needs a group {group}, but shard names number groups up to 99999; "
            "raise pack.group_videos"
        )

    if part > 999:
        raise ShardError(
            f"{source}: group {group} needs a shard {part}, but shard names number shards up to "
            "999; raise pack.shard_bytes"
        )

    digest = f"-{sha256[:8]}" if sha256 else ""
    return f"{source}-{split}-{group:05d}{part:03d}{digest}.tar"


def is_shard_name(name: str) -> bool:
    """Return whether a file name has the form of `shard_name`."""
    return _SHARD.fullmatch(name) is not None


def split_of_shard(name: str) -> str:
    """Return the stored split of a shard, by its file name.

    Raises:
        ShardError: The name has not the form of `shard_name`.
    """
    found = _SHARD.fullmatch(name)
    if found is None:
        raise ShardError(f"{name!r:.80} is not a name of a shard; {_REMEDY}")
    return found["split"]


def table_name(table: str, suffix: str) -> str:
    """Return the file name of a table, such as `index.parquet` or `index-1f3a9c07.parquet`.

    Args:
        table: `INDEX_FILE`, `LABELS_FILE` or `DROPPED_FILE`.
        suffix: `SourceEntry.tables`.
    """
    stem, _, kind = table.partition(".")
    return f"{stem}{suffix}.{kind}"


def is_suffixed_table(name: str) -> bool:
    """Return whether a file name is that of a table with a suffix."""
    return _TABLE.fullmatch(name) is not None


def is_tables_suffix(text: str) -> bool:
    """Return whether a text can be `SourceEntry.tables`."""
    return _TABLES_SUFFIX.fullmatch(text) is not None


def check_key(key: str) -> str:
    """Return the key, if every reader of tar shards accepts it.

    Raises:
        ShardError: It contains other characters than letters, digits, `_` and `-`, or is too long
            for a USTAR name.
    """
    if not _KEY.fullmatch(key):
        raise ShardError(
            f"the sample key {key!r} is invalid; use at most 95 letters, digits, '_' and '-'"
        )
    return key


def check_source_name(name: str, context: str) -> str:
    """Return the name, if it can name a folder and begin a key.

    Raises:
        ShardError: It is not a valid name of a source.
    """
    if not SOURCE_NAME.fullmatch(name):
        raise ShardError(
            f"{context}: {name!r} is not a valid source name; use letters, digits and '-', at most "
            "40 characters"
        )
    return name


def clip_json(clip: Clip, labels: Iterable[Label]) -> bytes:
    """Return the content of `<key>.json`.

    Keys and types are constant in a corpus, without nulls and lists, so that every reader can infer
    them from the first sample.
    """
    row = {name: getattr(clip, name) for name in CLIP_FIELDS}
    if clip.model_score is not None:
        row[SCORE] = clip.model_score
    row["labels"] = json.dumps([asdict(label) for label in labels], sort_keys=True)
    return json.dumps(row, sort_keys=True, ensure_ascii=True).encode("ascii")


def read_clip_json(data: bytes, context: str) -> tuple[Clip, list[Label]]:
    """Return the clip and the labels of a `<key>.json`.

    Args:
        data: The content of the file.
        context: Name of the file, for messages.

    Raises:
        ShardError: The content is not JSON, or its keys or types differ from the format.
    """
    row = dict(decode_json(data, _ClipFile, context, error=ShardError, remedy=_REMEDY))
    labels = decode_json(
        str(row.pop("labels")),
        list[Label],
        f"{context}, labels",
        error=ShardError,
        remedy=_REMEDY,
    )
    return typed(row, Clip, context, error=ShardError, remedy=_REMEDY), labels


class _ClipFile(TypedDict):
    """The content of `<key>.json`: the fields of a clip, and these."""

    labels: str
    """A JSON list, as text."""


def checksum(mp4: bytes) -> int:
    """Return the 64-bit checksum of a clip, `Sample.xxh3_64`."""
    return xxhash.xxh3_64_intdigest(mp4)


def source_digest(rows: Iterable[tuple[str, str]]) -> str:
    """Return the digest of a source: the SHA-256 over its (key, sha256) rows, sorted by key."""
    digest = hashlib.sha256()
    for key, sha256 in sorted(rows):
        digest.update(f"{key} {sha256}\n".encode("ascii"))
    return digest.hexdigest()
