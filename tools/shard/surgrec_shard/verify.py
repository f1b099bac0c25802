"""Verification: sizes, digests, members and indexes of a corpus agree, and its clips decode."""

import hashlib
import struct
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from surgrec.errors import MissingError, ShardError
from surgrec.shards import (
    Sample,
    Shard,
    Source,
    open_corpus,
    unlisted_files,
)
from surgrec.shards.totals import IndexCount
from surgrec.storage import open_store
from surgrec.text import counted
from surgrec_shard.check_clips import check_decodes, check_member
from surgrec_shard.disk import writing_to

_COPY_BYTES = 64 << 20
"""Bytes per read when a shard is copied."""
_HOURS = 2e-6
"""Largest difference of hours, which `corpus.json` lists with six decimals."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Counts of a verification, and one sentence per problem."""

    shards: int = 0
    samples: int = 0
    decoded: int = 0
    problems: list[str] = field(default_factory=list)


def verify(
    address: str, *, decode_all: bool, workers: int, progress: Callable[[str, int, int], None]
) -> Findings:
    """Read every shard of a corpus once and compare it with the index and `corpus.json`.

    Args:
        address: The corpus root.
        decode_all: Decode every clip; otherwise the first of each shard.
        workers: Shards read at once. The findings do not depend on it.
        progress: Called with the name of the stage, and the number of finished and of all shards.

    Raises:
        ShardError: The corpus cannot be opened.
    """
    sources = open_corpus([address])
    num_shards = sum(len(source.entry.shards) for source in sources.values())
    by_shard: list[Findings] = []
    problems: list[str] = []

    with ThreadPoolExecutor(workers, thread_name_prefix="verify") as pool:
        for source in sources.values():
            rows_of = _rows_by_shard(source)
            problems += _check_source(source, rows_of)

            shards = source.entry.shards
            check = partial(_check_shard, source, rows_of, decode_all=decode_all)
            for shard, findings in zip(shards, pool.map(check, shards), strict=True):
                address_of_shard = source.store.locate(f"{source.name}/{shard.name}")
                problems += [f"{address_of_shard}: {problem}" for problem in findings.problems]
                by_shard.append(findings)
                progress("verifying", len(by_shard), num_shards)

    # Unlisted shards contain clips that belong to no source.
    store = open_store(address)
    entries = {name: source.entry for name, source in sources.items()}
    problems += [
        f"{store.locate(name)}: corpus.json does not list this file"
        for name in unlisted_files(store, entries)
    ]
    return Findings(
        shards=sum(findings.shards for findings in by_shard),
        samples=sum(findings.samples for findings in by_shard),
        decoded=sum(findings.decoded for findings in by_shard),
        problems=problems,
    )


def _rows_by_shard(source: Source) -> dict[str, Int64[np.ndarray, " _"]]:
    """Return the rows of each shard in the index of a source."""
    parts = source.index.partition(np.arange(source.index.num_rows), ["shard"])
    return {values["shard"]: rows for values, rows in parts if values}


def _check_source(source: Source, shards: Collection[str]) -> Iterator[str]:
    """Compare the index of a source, with rows of these shards, with its entry."""
    context = source.store.locate(source.name)
    listed = {shard.name for shard in source.entry.shards}
    if set(shards) != listed:
        difference = sorted(set(shards) ^ listed)
        yield f"{context}: only the index or only corpus.json lists {', '.join(difference)}"

    if not shards:
        yield f"{context}: the index has no samples"
        return
    count = IndexCount()
    count.add(source.index.table())
    for total, found in count.totals(source.entry.shards).items():
        stored = getattr(source.entry, total)
        # Another writer may have summed in another way.
        is_same = abs(found - stored) <= _HOURS if total == "hours" else found == stored
        if not is_same:
            whose = "the shards have" if total == "bytes" else "the index has"
            yield (
                f"{context}: {whose} the {total} {found!s:.12}, but corpus.json lists "
                f"{stored!s:.12}"
            )
    yield from _check_failed(source, context)
    for table in source.missing_tables():
        yield f"{context}: {table} is missing"


def _check_failed(source: Source, context: str) -> Iterator[str]:
    """Check the number of failed videos: no table lists those that could not even be read."""
    try:
        whole = sum(row.end_s == 0 for row in source.dropped())
    except MissingError:  # told with the other tables
        return
    except ShardError as error:
        yield str(error)
        return
    if whole > source.entry.videos_failed:
        yield (
            f"{context}: dropped.parquet lists {counted(whole, 'whole video')}, but corpus.json "
            f"has only {source.entry.videos_failed} as videos_failed"
        )


def _check_shard(
    source: Source,
    rows_of: Mapping[str, Int64[np.ndarray, " _"]],
    shard: Shard,
    *,
    decode_all: bool,
) -> Findings:
    """Check one shard against its rows of the index. A missing shard does not count as read."""
    samples = [source.index.sample(int(row)) for row in rows_of.get(shard.name, ())]
    name = f"{source.name}/{shard.name}"
    try:
        wrong = list(_check_sizes(source, name, shard))
    except MissingError as error:
        return Findings(problems=[str(error)])
    if wrong:
        return Findings(problems=wrong)

    with (
        writing_to(Path(tempfile.gettempdir()), "set TMPDIR to another disk"),
        tempfile.TemporaryDirectory() as temporary,
    ):
        folder = Path(temporary)
        try:
            path, digest = _copy(source, name, shard.bytes, folder / "shard.tar")
            offsets = source.store.read(f"{name}.idx")
        except MissingError as error:
            return Findings(problems=[str(error)])

        to_decode = samples if decode_all else samples[:1]
        problems = [
            *_check_digest(digest, shard),
            *_check_offsets(offsets, samples),
            *_check_members(path, samples),
        ]
        for sample in to_decode:
            problems += check_decodes(path, sample, folder / "clip.mp4")
    return Findings(shards=1, samples=len(samples), decoded=len(to_decode), problems=problems)


def _copy(source: Source, name: str, size: int, path: Path) -> tuple[Path, str]:
    """Copy a shard of `size` bytes to a local path. Return the path and the SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as copy:
        for start in range(0, size, _COPY_BYTES):
            data = source.store.read_range(name, start, min(_COPY_BYTES, size - start))
            digest.update(data)
            copy.write(data)
    return path, digest.hexdigest()


def _check_sizes(source: Source, name: str, shard: Shard) -> Iterator[str]:
    """Compare sizes before anything is copied: a file of any size may have the name."""
    size = source.store.size(name)
    if size != shard.bytes:
        yield f"the shard has {size} bytes, but corpus.json lists {shard.bytes}"

    size, expected = source.store.size(f"{name}.idx"), 8 * (shard.samples + 1)
    if size != expected:
        yield f"the .idx does not have the offsets of the index: {size} bytes, not {expected}"


def _check_digest(digest: str, shard: Shard) -> Iterator[str]:
    if digest != shard.sha256:
        yield f"the shard has the SHA-256 {digest[:12]}, but corpus.json lists {shard.sha256[:12]}"


def _check_offsets(offsets: bytes, samples: list[Sample]) -> Iterator[str]:
    """Check that samples are adjacent, and that the `.idx` has the offsets of the index."""
    starts = [sample.offset for sample in samples]
    ends = [sample.offset + sample.size for sample in samples]
    if starts != [0, *ends][: len(starts)]:
        yield "the samples in the index are not adjacent"
    expected = [*starts, *(ends[-1:] or [0])]
    if offsets != b"".join(struct.pack("<Q", offset % 2**64) for offset in expected):
        yield "the .idx does not have the offsets of the index"


def _check_members(path: Path, samples: list[Sample]) -> Iterator[str]:
    """Read the shard with webdataset, as its users do, and compare each sample with the index."""
    import webdataset  # here, because it imports torch if torch is installed

    errors: list[str] = []

    def stop(error: Exception) -> bool:
        errors.append(str(error.args[0] if error.args else error).partition(" @ ")[0])
        return False

    sample_of = {sample.key: sample for sample in samples}
    keys = []
    for row in webdataset.WebDataset(
        str(path), shardshuffle=False, empty_check=False, handler=stop
    ):
        key = row["__key__"]
        keys.append(key)
        if key in sample_of:
            yield from check_member(row, sample_of[key], path)

    yield from (f"the shard cannot be read to its end: {error}" for error in errors[:1])
    if keys != [sample.key for sample in samples]:
        yield (
            f"the shard has {len(keys)} samples, "
            f"not the {len(samples)} samples of the index in their order"
        )
