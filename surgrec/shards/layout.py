"""Names and fields of the shard format: what a corpus calls its files, and what stands in them."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, get_origin

from surgrec.errors import ShardError
from surgrec.manifest import SOURCE_NAME, Label

SCHEMA_VERSION = 2
CORPUS_FILE = "corpus.json"
INDEX_FILE = "index.parquet"
LABELS_FILE = "labels.parquet"
DROPPED_FILE = "dropped.parquet"
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,94}")
_SHARD = re.compile(
    r"(?P<source>[A-Za-z0-9-]+)-(?P<split>train|val|test)-(?P<group>\d{5})(?P<part>\d{3})\.tar"
)


@dataclass(frozen=True, kw_only=True)
class Clip:
    """What a shard says about one clip: the content of `<key>.json`. Times are seconds, sizes pixels."""

    source: str
    domain: str
    procedure: str
    case: str
    video: str
    """First 12 hex digits of the SHA-256 of the video file."""
    view: str
    split: str
    start_s: float
    """Where the clip starts in its video."""
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
    """The part of the native frame that was kept, as `x,y,width,height` in native pixels."""
    license: str
    config: str
    """Digest of the encoding settings."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One row of `index.parquet`: a clip, and where its bytes are. Offsets and sizes in bytes."""

    key: str
    clip: Clip
    shard: str
    """File name of the shard, inside the folder of its source."""
    offset: int
    """Of the first tar header of the sample."""
    size: int
    """Of the sample with its headers and padding."""
    mp4_offset: int
    mp4_size: int
    sha256: str
    """Of the mp4."""


CLIP_FIELDS = tuple(field.name for field in fields(Clip))
PLACE_FIELDS = tuple(field.name for field in fields(Sample) if field.name != "clip")


def shard_name(source: str, split: str, group: int, part: int) -> str:
    """`<source>-<split>-<group, 5 digits><part, 3 digits>.tar`: unique over all sources.

    Raises:
        ShardError: The group or the part has more digits than the name holds.
    """
    if group > 99_999 or part > 999:
        raise ShardError(
            f"{source}: group {group}, part {part} does not fit a shard name; raise shard_bytes"
        )
    return f"{source}-{split}-{group:05d}{part:03d}.tar"


def is_shard_name(name: str) -> bool:
    """Whether a file name is one that `shard_name` gives."""
    return _SHARD.fullmatch(name) is not None


def clip_key(clip: Clip) -> str:
    """The sample key: `<source>_<video>_<start, milliseconds>`."""
    return f"{clip.source}_{clip.video}_{round(clip.start_s * 1000):09d}"


def check_key(key: str) -> str:
    """The key itself, when every reader of tar shards can take it.

    Raises:
        ShardError: It has other characters than letters, digits, `_` and `-`, or is too long for a USTAR name.
    """
    if not _KEY.fullmatch(key):
        raise ShardError(
            f"sample key {key!r} is not made of letters, digits, '_' and '-', at most 95 of them"
        )
    return key


def check_source_name(name: str, where: str) -> str:
    """The name itself, when it can be a folder and the first part of every key.

    Raises:
        ShardError: It is not the name of a source.
    """
    if not SOURCE_NAME.fullmatch(name):
        raise ShardError(
            f"{where}: {name!r} is not the name of a source (letters, digits and '-', at most 40)"
        )
    return name


def clip_json(clip: Clip, labels: Iterable[Label]) -> bytes:
    """The content of `<key>.json`: constant keys and types, no nulls and no lists, so that every reader can infer them."""
    row = {name: getattr(clip, name) for name in CLIP_FIELDS}
    row["labels"] = json.dumps([asdict(label) for label in labels], sort_keys=True)
    return json.dumps(row, sort_keys=True, ensure_ascii=True).encode("ascii")


def read_clip_json(data: bytes, where: str) -> tuple[Clip, list[Label]]:
    """A clip and its labels from the content of `<key>.json`.

    Raises:
        ShardError: It is not JSON, or its keys or types are not the format's.
    """
    try:
        row = json.loads(data)
        labels = list(json.loads(row.pop("labels")))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ShardError(
            f"{where}: not the JSON of a clip ({error}); build the corpus again"
        ) from None
    clip = Clip(**check_row(Clip, row, where))
    return clip, [Label(**check_row(Label, label, where)) for label in labels]


def check_row(kind: type, row: object, where: str) -> dict[str, Any]:
    """A row of JSON itself, when it has exactly the fields of a dataclass, each of its type.

    Raises:
        ShardError: A field is missing, unknown or of another type.
    """
    wanted = {field.name: get_origin(field.type) or field.type for field in fields(kind)}
    if not isinstance(row, dict) or row.keys() != wanted.keys():
        strange = sorted(row.keys() ^ wanted.keys()) if isinstance(row, dict) else row
        raise ShardError(
            f"{where}: not the fields of a {kind.__name__} ({strange}); build the corpus again"
        )
    for name, value in row.items():
        if type(value) is not wanted[name]:
            raise ShardError(
                f"{where}: {name} is {value!r}, not of type {wanted[name]}; build the corpus again"
            )
    return row


def source_digest(rows: Iterable[tuple[str, str]]) -> str:
    """Digest of a source: SHA-256 over its (key, sha256) rows, whatever their order in the index."""
    digest = hashlib.sha256()
    for key, sha256 in sorted(rows):
        digest.update(f"{key} {sha256}\n".encode("ascii"))
    return digest.hexdigest()
