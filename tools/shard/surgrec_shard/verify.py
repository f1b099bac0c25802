"""Checks a corpus against what it says of itself: sizes, digests, members, index, and that clips decode."""

import hashlib
import json
import struct
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from surgrec.errors import MissingError, ShardError
from surgrec.shards import (
    DROPPED_FILE,
    LABELS_FILE,
    Sample,
    Shard,
    Source,
    is_shard_name,
    open_corpus,
    read_clip_json,
    source_digest,
)
from surgrec.storage import Store, open_store
from surgrec_shard.disk import writing_to
from surgrec_shard.ffmpeg import FfmpegError, run_ffprobe

_COPY_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What `verify` looked at, and every way in which it was not as it should be."""

    shards: int = 0
    samples: int = 0
    decoded: int = 0
    problems: list[str] = field(default_factory=list)


def verify(
    address: str, *, decode_all: bool, progress: Callable[[str, int, int], None]
) -> Findings:
    """Reads every shard of a corpus once.

    Args:
        address: The corpus root.
        decode_all: Decode every clip; otherwise the first of each shard.
        progress: Called with the stage, shards done and shards in all.
    """
    sources = open_corpus([address])
    total = sum(len(source.entry.shards) for source in sources.values())
    problems: list[str] = []
    shards = samples = decoded = done = 0
    for source in sources.values():
        expected: dict[str, list[Sample]] = defaultdict(list)
        for row in range(source.index.num_rows):
            sample = source.index.sample(row)
            expected[sample.shard].append(sample)
        problems += _check_source(source, expected)
        for shard in source.entry.shards:
            found = _check_shard(source, shard, expected[shard.name], decode_all)
            where = source.store.locate(f"{source.name}/{shard.name}")
            problems += [f"{where}: {problem}" for problem in found.problems]
            shards, samples, decoded = (
                shards + found.shards,
                samples + found.samples,
                decoded + found.decoded,
            )
            done += 1
            progress("verifying", done, total)
    problems += _unlisted_shards(open_store(address), sources)
    return Findings(shards=shards, samples=samples, decoded=decoded, problems=problems)


def _check_source(source: Source, expected: dict[str, list[Sample]]) -> Iterator[str]:
    where = source.store.locate(source.name)
    listed = {shard.name for shard in source.entry.shards}
    if set(expected) != listed:
        yield f"{where}: the index and corpus.json name different shards: {sorted(set(expected) ^ listed)}"
    digest = source_digest(
        (sample.key, sample.sha256) for samples in expected.values() for sample in samples
    )
    if digest != source.entry.digest:
        yield f"{where}: the index has the digest {digest[:12]}, corpus.json says {source.entry.digest[:12]}"
    for table in (LABELS_FILE, DROPPED_FILE):
        if not source.store.exists(f"{source.name}/{table}"):
            yield f"{where}: {table} is missing"


def _unlisted_shards(store: Store, sources: dict[str, Source]) -> Iterator[str]:
    """Shards that lie in the corpus although no source of it lists them: they hold clips that nobody accounts for."""
    listed = {
        f"{source.name}/{shard.name}"
        for source in sources.values()
        for shard in source.entry.shards
    }
    for name in store.list():
        shard = name.removesuffix(".idx")
        if is_shard_name(shard.rpartition("/")[2]) and shard not in listed:
            yield f"{store.locate(name)}: a shard that corpus.json does not list"


def _check_shard(
    source: Source, shard: Shard, expected: list[Sample], decode_all: bool
) -> Findings:
    """What is wrong with one shard. One that is not there was not read."""
    name = f"{source.name}/{shard.name}"
    with (
        writing_to(Path(tempfile.gettempdir()), "set TMPDIR to another disk"),
        tempfile.TemporaryDirectory() as temporary,
    ):
        folder = Path(temporary)
        try:
            path, digest = _fetch(source, name, folder / "shard.tar")
            offsets = source.store.read(f"{name}.idx")
        except MissingError as error:
            return Findings(problems=[str(error)])
        decode = expected if decode_all else expected[:1]
        problems = [*_check_bytes(path, digest, shard), *_check_offsets(offsets, expected)]
        problems += _check_members(path, expected)
        problems += [
            problem
            for sample in decode
            for problem in _check_decodes(path, sample, folder / "clip.mp4")
        ]
    return Findings(shards=1, samples=len(expected), decoded=len(decode), problems=problems)


def _check_bytes(path: Path, digest: str, shard: Shard) -> Iterator[str]:
    if path.stat().st_size != shard.bytes:
        yield f"{path.stat().st_size} bytes, corpus.json says {shard.bytes}"
    if digest != shard.sha256:
        yield f"its SHA-256 is {digest[:12]}, corpus.json says {shard.sha256[:12]}"


def _check_offsets(offsets: bytes, expected: list[Sample]) -> Iterator[str]:
    """The .idx against the index: samples lie side by side, each as long as the index says."""
    starts, ends = (
        [sample.offset for sample in expected],
        [sample.offset + sample.size for sample in expected],
    )
    if starts != [0, *ends][: len(starts)]:
        yield "the samples of the index do not lie side by side"
    if offsets != b"".join(
        struct.pack("<Q", place % 2**64) for place in [*starts, *(ends[-1:] or [0])]
    ):
        yield "its .idx does not hold the offsets of the index"


def _fetch(source: Source, name: str, path: Path) -> tuple[Path, str]:
    """A local copy of a shard, and its SHA-256."""
    digest = hashlib.sha256()
    size = source.store.size(name)
    with path.open("wb") as copy:
        for start in range(0, size, _COPY_BYTES):
            data = source.store.read_range(name, start, min(_COPY_BYTES, size - start))
            digest.update(data)
            copy.write(data)
    return path, digest.hexdigest()


def _check_members(path: Path, expected: list[Sample]) -> Iterator[str]:
    """Reads the shard as any user of webdataset would, and compares with the index."""
    import webdataset  # here, because it imports torch where torch is installed

    broken: list[str] = []

    def stop(error: Exception) -> bool:
        broken.append(str(error.args[0] if error.args else error).partition(" @ ")[0])
        return False

    found = webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False, handler=stop)
    keys = []
    by_key = {sample.key: sample for sample in expected}
    for member in found:
        keys.append(member["__key__"])
        if member["__key__"] in by_key:
            yield from _check_member(member, by_key[member["__key__"]], path)
    yield from (f"it cannot be read to its end: {reason}" for reason in broken[:1])
    if keys != [sample.key for sample in expected]:
        yield f"it holds {len(keys)} samples, not exactly the {len(expected)} of the index in their order"


def _check_member(member: dict[str, Any], sample: Sample, path: Path) -> Iterator[str]:
    if not {"json", "mp4"} <= member.keys():
        yield f"{sample.key}: its json or its mp4 is missing"
        return
    if hashlib.sha256(member["mp4"]).hexdigest() != sample.sha256:
        yield f"{sample.key}: the mp4 does not have the digest of the index"
    elif _at(path, sample) != member["mp4"]:
        yield f"{sample.key}: the index points beside the mp4"
    try:
        clip, _ = read_clip_json(member["json"], sample.key)
    except ShardError as error:
        yield str(error)
    else:
        if clip != sample.clip:
            yield f"{sample.key}: its JSON and the index differ"


def _at(path: Path, sample: Sample) -> bytes:
    with path.open("rb") as file:
        file.seek(max(sample.mp4_offset, 0))
        return file.read(sample.mp4_size)


def _check_decodes(path: Path, sample: Sample, clip: Path) -> Iterator[str]:
    clip.write_bytes(_at(path, sample))
    arguments = [
        "-count_frames",
        "-show_entries",
        "stream=codec_type,width,height,nb_read_frames",
        "-of",
        "json",
    ]
    try:
        streams = json.loads(run_ffprobe(clip, arguments))["streams"]
    except FfmpegError as error:
        yield f"{sample.key}: it does not decode: {error}"
        return
    found = [
        (s["codec_type"], s.get("width"), s.get("height"), int(s.get("nb_read_frames", 0)))
        for s in streams
    ]
    wanted = [("video", sample.clip.width, sample.clip.height, sample.clip.num_frames)]
    if found != wanted:
        yield f"{sample.key}: it holds {found}, the index says {wanted}"
