"""Clips, shards and corpora of arbitrary bytes, for tests that decode nothing."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from surgrec.parquet import parquet_bytes, parquet_of_groups
from surgrec.shards import (
    Clip,
    CorpusFile,
    Sample,
    Shard,
    ShardWriter,
    SourceEntry,
    open_corpus,
    shard_name,
)
from surgrec.shards._index import index_tables
from surgrec.shards.layout import INDEX_FILE
from surgrec.shards.totals import IndexCount
from surgrec.storage import open_store

CLIP = Clip(
    source="alpha",
    domain="laparoscopy",
    procedure="cholecystectomy",
    case="case-1",
    video="0123456789ab",
    view="",
    split="train",
    start_s=0.0,
    duration_s=10.0,
    fps=8.0,
    num_frames=80,
    width=96,
    height=64,
    native_fps=25.0,
    native_width=960,
    native_height=640,
    crop="0,0,960,640",
    license="CC0",
    config="ba9876543210",
    blur=0.45,
    brightness=0.5,
    motion=0.05,
)


def make_clips(count: int, source: str = "alpha") -> list[Clip]:
    """Return consecutive clips of one video."""
    return [replace(CLIP, source=source, start_s=10.0 * number) for number in range(count)]


def change_cell(
    corpus: Path, source: str, column: str, row: int, change: Callable[[Any], Any]
) -> None:
    """Change one cell of the index of a source."""
    table = open_corpus([corpus])[source].index.table()
    values = table.column(column).to_pylist()
    values[row] = change(values[row])
    array = pa.array(values, table.schema.field(column).type)
    changed = table.set_column(table.column_names.index(column), column, array)
    (corpus / source / INDEX_FILE).write_bytes(parquet_bytes(changed))


def make_mp4(clip: Clip) -> bytes:
    """Return bytes that differ between clips, also in length."""
    seed = f"{clip.source} {clip.start_s}".encode()
    return hashlib.sha256(seed).digest() * (20 + int(clip.start_s / 10) % 7)


def write_shard(
    folder: Path, name: str, clips: Sequence[Clip], mp4: Callable[[Clip], bytes] = make_mp4
) -> tuple[Shard, list[Sample]]:
    """Write a shard of these clips and its offsets file; return the shard and its samples."""
    folder.mkdir(parents=True, exist_ok=True)
    with ShardWriter(folder / name) as writer:
        for clip in clips:
            writer.add(clip, (), mp4(clip))
        return writer.close(), writer.samples


def samples_to_parquet(samples: Sequence[Sample]) -> bytes:
    """Return the `index.parquet` of a source whose samples are in any order."""
    return parquet_of_groups(index_tables([samples]))


def write_corpus(
    root: Path,
    sources: Mapping[str, Sequence[Clip]],
    *,
    clips_per_shard: int = 4,
    mp4: Callable[[Clip], bytes] = make_mp4,
) -> Path:
    """Write a corpus of clips by source, with the bytes that `mp4` returns; return its root."""
    store, entries = open_store(root), {}
    for name, clips in sources.items():
        shards, samples, count = [], [], IndexCount()
        for part, start in enumerate(range(0, len(clips), clips_per_shard)):
            members = clips[start : start + clips_per_shard]
            shard, added = write_shard(
                root / name, shard_name(name, "train", 0, part), members, mp4
            )
            shards.append(shard)
            samples += added
        tables = map(count.add, index_tables([samples]))
        store.write(f"{name}/{INDEX_FILE}", parquet_of_groups(tables))
        entries[name] = SourceEntry(
            shards=shards, videos_failed=0, plan="plan", **count.totals(shards)
        )
    CorpusFile(settings={"fps": 8.0}, encoder={"ffmpeg": "5.1"}, sources=entries).write(store)
    return root
