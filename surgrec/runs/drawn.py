"""The record of the videos and cases that weights were trained on, by digests that stay the same.

A video is found when clips are withdrawn, sources are renamed or a corpus is encoded again. The
record holds digests of the names that the corpus holds, so it discloses less than the corpus. The
digests are keyed by the drawn data: records of other data cannot be compared with each other.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int64, UInt64
from pyarrow import compute

from surgrec.errors import CheckpointError
from surgrec.shards import Source
from surgrec.stream import Stream

_DIGEST_BYTES, _KEY_BYTES = 6, 16
_PSEUDONYM = re.compile("[0-9a-f]{12}")
_KEY = re.compile(f"([0-9a-f]{{{2 * _KEY_BYTES}}})?")
_MOST_VIDEOS = 4_000_000
"""An encoder file could not hold the digests of more: the header of a safetensors file is limited
to 100 MB."""


@dataclass(frozen=True, kw_only=True)
class DrawnSource:
    """The drawn videos of one source; both arrays have one entry per video."""

    videos: UInt64[np.ndarray, " n"]
    """Digests of the videos, ascending."""
    cases: UInt64[np.ndarray, " n"]
    """Digests of their cases."""


@dataclass(frozen=True, kw_only=True)
class DrawnRecord:
    """The record of one run."""

    key: bytes
    """Key of its digests; empty in files of earlier versions."""
    sources: Mapping[str, DrawnSource]
    """Drawn videos by name of the source."""
    pseudonymous: frozenset[str]
    """Sources whose case names are pseudonyms, or may be."""


@dataclass(frozen=True, kw_only=True)
class PretrainingData:
    """Everything that weights were trained on, initial weights included."""

    records: tuple[DrawnRecord, ...]
    """One record for each run."""
    unknown: tuple[str, ...]
    """Names of the weights whose training data is not recorded."""
    published: tuple[str, ...] = ()
    """Names of the published sets that weights of other projects state."""


@dataclass(frozen=True, kw_only=True)
class NamedVideos:
    """Videos of a source by their names in the index; both lists have one entry per video."""

    videos: Sequence[str]
    """Names of the videos."""
    cases: Sequence[str]
    """Names of their cases."""

    @property
    def has_pseudonyms(self) -> bool:
        """Whether a case name looks like a pseudonym. A case without a name has its video's."""
        names = set(self.cases) - set(self.videos)
        return any(_PSEUDONYM.fullmatch(name) for name in names)

    def digests(self, key: bytes) -> DrawnSource:
        """Return the digests of the videos and their cases, in ascending order of the videos."""
        videos = identity_digests("video", self.videos, key)
        cases = identity_digests("case", self.cases, key)
        order = np.lexsort((cases, videos))
        return DrawnSource(videos=videos[order], cases=cases[order])


def identity_digests(kind: str, names: Collection[str], key: bytes) -> UInt64[np.ndarray, " n"]:
    """Return the digests by which videos or cases are recorded: 48 bits of a keyed BLAKE2b.

    Among a million videos, a thousand others have one equal digest with a probability of 4e-6.

    Args:
        kind: `video` or `case`.
        names: Their names in the index: digests of files, pseudonyms or public names.
        key: Key of the record. Records of earlier versions have none: 48 bits of a SHA-256.
    """
    texts = [f"{kind}\0{name}".encode() for name in names]
    if key:
        digests = [hashlib.blake2b(each, key=key, digest_size=_DIGEST_BYTES) for each in texts]
        return _from_bytes(b"".join(each.digest() for each in digests))
    return _from_bytes(b"".join(hashlib.sha256(each).digest()[:_DIGEST_BYTES] for each in texts))


def record_drawn(
    stream: Stream, positions: int, substitutes: Mapping[str, Collection[str]]
) -> dict[str, Any] | None:
    """Return the record of the videos that a run has drawn, as JSON values.

    Args:
        stream: Order of the samples.
        positions: Positions of the stream that the run has consumed.
        substitutes: Keys of samples that replaced bad ones, by source of the stream.

    Returns:
        `sources`: for each source, base64 of 12 bytes per video: its digest and that of its case.
        `key`: the key of the digests, in hexadecimal digits. `pseudonymous`: the sources whose case
        names are pseudonyms. None if the digests of all videos do not fit into an encoder file.
    """
    named = drawn_videos(stream, positions, substitutes)
    key = _key_of(stream.sources[name] for name in named)
    packed = {name: _pack(videos.digests(key)) for name, videos in named.items() if videos.videos}
    if sum(map(len, packed.values())) > _MOST_VIDEOS * 2 * _DIGEST_BYTES:
        return None
    return {
        "key": key.hex(),
        "pseudonymous": [name for name in packed if named[name].has_pseudonyms],
        "sources": {name: base64.b64encode(data).decode("ascii") for name, data in packed.items()},
    }


def drawn_videos(
    stream: Stream, positions: int, substitutes: Mapping[str, Collection[str]]
) -> dict[str, NamedVideos]:
    """Return the videos of the first positions and of substitutes, by name of the source.

    Args:
        stream: Order of the samples.
        positions: Number of positions.
        substitutes: Keys of samples that replaced bad ones, by source of the stream.
    """
    rows: dict[str, list[Int64[np.ndarray, " _"]]] = {}
    drawn = stream.order.drawn_samples(positions)
    for stratum, stratum_rows, samples in zip(stream.order.strata, stream.rows, drawn, strict=True):
        rows.setdefault(stratum.source, []).append(stratum_rows[samples])
    for source, keys in substitutes.items():
        column = stream.sources[source].index.column("key")
        found = compute.is_in(column, value_set=pa.array(list(keys), column.type))
        rows.setdefault(source, []).append(np.flatnonzero(found.to_numpy(zero_copy_only=False)))

    return {
        name: named_videos(stream.sources[name], np.concatenate(parts))
        for name, parts in sorted(rows.items())
    }


def named_videos(source: Source, rows: Int64[np.ndarray, " n"] | None = None) -> NamedVideos:
    """Return the videos and cases in these rows of a source's index, or in all rows."""
    video, case = (source.index.column(name).dictionary_encode() for name in ("video", "case"))
    num_cases = len(case.dictionary)

    # Number the pairs of video and case that occur.
    codes = [np.asarray(column.indices).astype(np.int64) for column in (video, case)]
    video_codes, case_codes = codes if rows is None else [each[rows] for each in codes]
    pairs = np.unique(video_codes * num_cases + case_codes)
    return NamedVideos(
        videos=video.dictionary.take(pa.array(pairs // max(num_cases, 1))).to_pylist(),
        cases=case.dictionary.take(pa.array(pairs % max(num_cases, 1))).to_pylist(),
    )


def pretraining_data(provenance: Mapping[str, Any], name: str) -> PretrainingData:
    """Return everything that weights were trained on, from their provenance.

    Args:
        provenance: Of an encoder file. Files of SurgRec before this record existed, and weights of
            other projects, have no record.
        name: Name of the weights, for a reader.

    Raises:
        CheckpointError: The record is damaged.
    """
    records = []
    unknown = []
    published: list[str] = []
    for weights, stated in _records(provenance, name):
        record = stated.get("drawn")
        if record is None:
            unknown.append(weights)
        else:
            records.append(_unpack_record(record, weights))
        published += _published(stated, weights)
    return PretrainingData(
        records=tuple(records),
        unknown=tuple(unknown),
        published=tuple(dict.fromkeys(published)),
    )


def summarize_drawn(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return a provenance with numbers of videos and cases in place of their digests."""
    summary = dict(provenance)
    if summary.get("drawn") is not None:
        summary["drawn"] = {
            name: {"videos": len(np.unique(drawn.videos)), "cases": len(np.unique(drawn.cases))}
            for name, drawn in _unpack_record(summary["drawn"], "the encoder").sources.items()
        }
    if isinstance(summary.get("init_from"), Mapping):
        summary["init_from"] = summarize_drawn(summary["init_from"])
    return summary


def _published(provenance: Mapping[str, Any], name: str) -> list[str]:
    """Return the names of the published sets that weights state."""
    stated = provenance.get("pretraining")
    if stated is None:
        return []
    data = stated.get("data") if isinstance(stated, Mapping) else None
    if not isinstance(data, list | tuple) or not all(isinstance(each, str) for each in data):
        raise _damaged(name, "pretraining.data is not a list of names")
    return list(data)


def _records(provenance: Mapping[str, Any], name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield name and provenance of weights, then those of the weights they started from."""
    weights: Any = provenance
    while weights is not None:
        if not isinstance(weights, Mapping):
            raise _damaged(name, "init_from is not a mapping")
        yield name, weights
        weights = weights.get("init_from")
        if isinstance(weights, Mapping):
            name = str(weights.get("name"))


def _key_of(sources: Iterable[Source]) -> bytes:
    """Return the key of a record: a digest of the data that the run could draw."""
    digest = hashlib.blake2b(digest_size=_KEY_BYTES)
    for source in sources:
        digest.update(f"{source.name}\0{source.entry.digest}\0".encode())
    return digest.digest()


def _unpack_record(record: Any, name: str) -> DrawnRecord:
    sources = record.get("sources") if isinstance(record, Mapping) else None
    if not isinstance(sources, Mapping):
        raise _damaged(name, "it has no mapping 'sources'")

    key = record.get("key", "")
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise _damaged(name, f"its key is not {2 * _KEY_BYTES} hexadecimal digits")

    pseudonymous = record.get("pseudonymous", list(sources))
    if not isinstance(pseudonymous, list) or not set(map(str, pseudonymous)) <= sources.keys():
        raise _damaged(name, "'pseudonymous' is not a list of its sources")

    return DrawnRecord(
        key=bytes.fromhex(key),
        sources={
            source: _unpack(text, f"{name}, source {source}") for source, text in sources.items()
        },
        pseudonymous=frozenset(map(str, pseudonymous)),
    )


def _pack(drawn: DrawnSource) -> bytes:
    rows = np.stack([drawn.videos, drawn.cases], axis=1).astype(">u8")
    return rows.view(np.uint8).reshape(-1, 8)[:, 8 - _DIGEST_BYTES :].tobytes()


def _unpack(text: object, context: str) -> DrawnSource:
    try:
        data = base64.b64decode(text, validate=True)  # type: ignore[arg-type]
    except (TypeError, ValueError, binascii.Error):
        raise _damaged(context, "its digests are not base64") from None
    if len(data) % (2 * _DIGEST_BYTES):
        raise _damaged(context, f"{len(data)} bytes are not pairs of digests")
    rows = _from_bytes(data).reshape(-1, 2)
    return DrawnSource(videos=rows[:, 0], cases=rows[:, 1])


def _from_bytes(data: bytes) -> UInt64[np.ndarray, " n"]:
    digests = np.frombuffer(data, dtype=np.uint8).reshape(-1, _DIGEST_BYTES)
    padded = np.zeros((len(digests), 8), dtype=np.uint8)
    padded[:, 8 - _DIGEST_BYTES :] = digests
    return padded.view(">u8").ravel().astype(np.uint64)


def _damaged(context: str, reason: str) -> CheckpointError:
    return CheckpointError(
        f"the record of the pretraining data of {context} is damaged ({reason}); "
        "copy the encoder file again"
    )
