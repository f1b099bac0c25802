"""Checks a corpus against what it says of itself: sizes, digests, members, index, and that clips decode."""

import hashlib
import json
import struct
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from surgrec.errors import MissingError, ShardError
from surgrec.shards.corpus import Source, open_corpus
from surgrec.shards.layout import Sample, is_shard_name, read_clip_json, source_digest
from surgrec.shards.write import Shard, idx_path
from surgrec_shard.ffmpeg import FfmpegError, run_ffprobe

_COPY_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What `verify` looked at, and every way in which it was not as it should be."""

    shards: int = 0
    samples: int = 0
    decoded: int = 0
    problems: list[str] = field(default_factory=list)


def verify(address: str, *, decode_all: bool, progress: Callable[[str, int, int], None]) -> Findings:
    """Reads every shard of a corpus once.

    Args:
        address: The corpus root.
        decode_all: Decode every clip; otherwise the first of each shard.
        progress: Called with the stage, shards done and shards in all.
    """
    sources = open_corpus([address])
    total = sum(len(source.entry.shards) for source in sources.values())
    problems: list[str] = []
    samples = decoded = done = 0
    for source in sources.values():
        expected: dict[str, list[Sample]] = defaultdict(list)
        for row in range(source.index.num_rows):
            sample = source.index.sample(row)
            expected[sample.shard].append(sample)
        problems += _check_source(source, expected)
        for shard in source.entry.shards:
            with tempfile.TemporaryDirectory() as folder:
                for problem in _check_shard(source, shard, expected[shard.name], Path(folder), decode_all):
                    problems.append(f"{source.store.locate(f'{source.name}/{shard.name}')}: {problem}")
            samples += len(expected[shard.name])
            decoded += len(expected[shard.name]) if decode_all else 1
            done += 1
            progress("verifying", done, total)
    return Findings(shards=total, samples=samples, decoded=decoded, problems=problems)


def _check_source(source: Source, expected: dict[str, list[Sample]]) -> Iterator[str]:
    where = source.store.locate(source.name)
    listed = {shard.name for shard in source.entry.shards}
    if set(expected) != listed:
        yield f"{where}: the index and corpus.json name different shards: {sorted(set(expected) ^ listed)}"
    digest = source_digest((sample.key, sample.sha256) for samples in expected.values() for sample in samples)
    if digest != source.entry.digest:
        yield f"{where}: the index has the digest {digest[:12]}, corpus.json says {source.entry.digest[:12]}"
    for name in source.store.list(f"{source.name}/"):
        shard = name.rpartition("/")[2].removesuffix(".idx")
        if is_shard_name(shard) and shard not in listed:
            yield f"{source.store.locate(name)}: a shard that corpus.json does not list"


def _check_shard(source: Source, shard: Shard, expected: list[Sample], folder: Path, decode_all: bool) -> Iterator[str]:
    name = f"{source.name}/{shard.name}"
    try:
        path, digest = _fetch(source, name, folder / shard.name)
        offsets = source.store.read(f"{name}.idx")
    except MissingError as error:
        yield str(error)
        return
    if path.stat().st_size != shard.bytes:
        yield f"{path.stat().st_size} bytes, corpus.json says {shard.bytes}"
    if digest != shard.sha256:
        yield f"its SHA-256 is {digest[:12]}, corpus.json says {shard.sha256[:12]}"
    ends = [*(sample.offset for sample in expected), expected[-1].offset + expected[-1].size] if expected else [0]
    if offsets != struct.pack(f"<{len(ends)}Q", *ends):
        yield f"{idx_path(path).name} does not hold the offsets of the index"
    yield from _check_members(path, expected)
    for sample in expected if decode_all else expected[:1]:
        yield from _check_decodes(path, sample, folder / "clip.mp4")


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

    found = webdataset.WebDataset(str(path), shardshuffle=False, handler=webdataset.reraise_exception)
    keys = []
    by_key = {sample.key: sample for sample in expected}
    for member in found:
        keys.append(member["__key__"])
        sample = by_key.get(member["__key__"])
        if sample is None or not {"json", "mp4"} <= member.keys():
            continue
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
    if keys != [sample.key for sample in expected]:
        yield f"it holds {len(keys)} samples, not exactly the {len(expected)} of the index in their order"


def _at(path: Path, sample: Sample) -> bytes:
    with path.open("rb") as file:
        file.seek(sample.mp4_offset)
        return file.read(sample.mp4_size)


def _check_decodes(path: Path, sample: Sample, clip: Path) -> Iterator[str]:
    clip.write_bytes(_at(path, sample))
    arguments = ["-count_frames", "-show_entries", "stream=codec_type,width,height,nb_read_frames", "-of", "json"]
    try:
        streams = json.loads(run_ffprobe(clip, arguments))["streams"]
    except FfmpegError as error:
        yield f"{sample.key}: it does not decode: {error}"
        return
    found = [(s["codec_type"], s.get("width"), s.get("height"), int(s.get("nb_read_frames", 0))) for s in streams]
    wanted = [("video", sample.clip.width, sample.clip.height, sample.clip.num_frames)]
    if found != wanted:
        yield f"{sample.key}: it holds {found}, the index says {wanted}"
