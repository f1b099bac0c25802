"""An index without shards, with any number of rows, in the format of the corpus."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from surgrec.parquet import parquet_bytes, row_schema
from surgrec.shards import CorpusFile, Dropped, Shard, SourceEntry, VideoLabel, shard_name
from surgrec.shards.layout import DROPPED_FILE, INDEX_FILE, LABELS_FILE
from surgrec.shards.totals import IndexCount
from surgrec.storage import open_store

DOMAINS = ("laparoscopy", "endoscopy", "cataract", "robotic")
ROWS_PER_SHARD = 1300
"""Rows of a shard of 512 MB, at 10 s and 8 frames per second."""
CLIP_BYTES = 380_000
PHASES, TOOLS = 10, 90
"""Labels of a video."""
HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


def write_synthetic(
    folder: Path,
    sizes: Sequence[int],
    *,
    videos: Sequence[int] = (),
    clusters: Sequence[int] = (),
) -> None:
    """Write a corpus of sources of these sizes, in four domains and three procedures each.

    Args:
        folder: Folder of the corpus.
        sizes: Clips of each source.
        videos: Videos of each source, of log-normal lengths, with labels; five of them have four
            cases. Empty: each clip is a video without labels.
        clusters: Number of clusters by level; empty: the index has no such columns.
    """
    store = open_store(folder)
    entries = {}
    for number, rows in enumerate(sizes):
        name, domain = f"source{number:02d}", DOMAINS[number % len(DOMAINS)]
        random = np.random.Generator(np.random.PCG64(number))
        clips = _clips(random, rows, videos[number] if videos else rows)
        table = _table(name, domain, clips, random)
        for level, count in enumerate(clusters, start=1):
            column = pa.array(random.integers(0, count, rows))
            table = table.append_column(f"cluster_{level}", column)

        labels = _labels(table) if videos else _no_rows(VideoLabel)
        store.write(f"{name}/{INDEX_FILE}", parquet_bytes(table))
        store.write(f"{name}/{LABELS_FILE}", parquet_bytes(labels))
        store.write(f"{name}/{DROPPED_FILE}", parquet_bytes(_no_rows(Dropped)))
        entries[name] = _entry(name, table)
    CorpusFile(sources=entries).write(store)


@dataclass(frozen=True)
class _Clips:
    """The clips of a source in the order of its shards."""

    video: np.ndarray
    """Name of the video of each, as rows of 12 letters."""
    case: np.ndarray
    number: np.ndarray
    """Number of the clip in its video."""


def _clips(random: np.random.Generator, rows: int, videos: int) -> _Clips:
    names = _hex(random, videos, 12)
    if videos == rows:
        return _Clips(video=names, case=names, number=np.arange(rows) % 100_000)

    # Lengths of videos: half of them are shorter than 0.7 of the mean, a tenth longer than twice.
    lengths = random.lognormal(0, 0.8, videos)
    counts = 1 + np.floor(lengths / lengths.sum() * (rows - videos)).astype(np.int64)
    counts[np.argmax(counts)] += rows - counts.sum()
    of_row = random.permutation(np.repeat(np.arange(videos), counts))
    by_video = np.argsort(of_row, kind="stable")
    number = np.empty(rows, dtype=np.int64)
    number[by_video] = np.arange(rows) - np.repeat(np.cumsum(counts) - counts, counts)
    return _Clips(video=names[of_row], case=names[of_row * 4 // 5], number=number)


def _labels(table: pa.Table) -> pa.Table:
    """Return ten phases and ninety tools of each video."""
    ends = table.group_by(["video", "case"]).aggregate([("start_s", "max")])
    rows = [
        {
            "video": row["video"],
            "case": row["case"],
            "split": "train",
            "task": "phase" if number < PHASES else "tool",
            "start_s": round(row["start_s_max"] * (number % parts) / parts, 3),
            "end_s": round(row["start_s_max"] * (number % parts + 1) / parts + 1, 3),
            "value": f"value {number % 7}",
        }
        for row in ends.to_pylist()
        for number in range(PHASES + TOOLS)
        for parts in (PHASES if number < PHASES else TOOLS,)
    ]
    return pa.Table.from_pylist(rows, row_schema(VideoLabel))


def _no_rows(row_type: type) -> pa.Table:
    return row_schema(row_type).empty_table()


def _entry(name: str, table: pa.Table) -> SourceEntry:
    rows, count = table.num_rows, IndexCount()
    count.add(table)
    shards = [
        Shard(
            name=_shard(name, number),
            samples=min(ROWS_PER_SHARD, rows - first),
            bytes=min(ROWS_PER_SHARD, rows - first) * CLIP_BYTES + 1024,
            sha256="0" * 64,
        )
        for number, first in enumerate(range(0, rows, ROWS_PER_SHARD))
    ]

    return SourceEntry(shards=shards, videos_failed=0, plan="", **count.totals(shards))


def _shard(name: str, number: int) -> str:
    return shard_name(name, "train", number // 1000, number % 1000)


def _table(name: str, domain: str, clips: _Clips, random: np.random.Generator) -> pa.Table:
    rows = len(clips.number)
    number = np.arange(rows)
    place = number % ROWS_PER_SHARD
    shards = pa.array([_shard(name, each) for each in range(-(-rows // ROWS_PER_SHARD))])
    milliseconds = _digits(clips.number * 10_000, 9)
    key = np.concatenate([_same(f"{name}_", rows), clips.video, _same("_", rows), milliseconds], 1)

    # Columns with one value in all rows, by type.
    constant = {
        "source": name,
        "domain": domain,
        "view": "inside",
        "split": "train",
        "crop": "0,0,1280,720",
    }
    constant |= {"license": "CC0-1.0", "config": "0123456789ab"}
    words = {column: _text(_same(word, rows)) for column, word in constant.items()}

    procedures = pa.DictionaryArray.from_arrays(
        pa.array(number % 3, pa.int32()), pa.array(["one", "two", "three"])
    )

    numbers = {"duration_s": 10.0, "fps": 8.0, "native_fps": 30.0}
    numbers |= {"blur": 0.4, "brightness": 0.5, "motion": 0.05}

    counts = {
        "num_frames": 80,
        "width": 456,
        "height": 256,
        "native_width": 1280,
        "native_height": 720,
    }

    return pa.table(
        {
            "key": _text(key),
            "shard": pa.DictionaryArray.from_arrays(
                pa.array(number // ROWS_PER_SHARD, pa.int32()), shards
            ).cast(pa.string()),
            "offset": place * CLIP_BYTES,
            "size": np.full(rows, CLIP_BYTES),
            "mp4_offset": place * CLIP_BYTES + 2048,
            "mp4_size": np.full(rows, CLIP_BYTES - 2560),
            "sha256": _text(_hex(random, rows, 64)),
            "xxh3_64": random.integers(0, 1 << 64, size=rows, dtype=np.uint64),
            "timescale": np.full(rows, 16_384),
            "frame_ticks": np.full(rows, 2048),
            "case": _text(clips.case),
            "video": _text(clips.video),
            "start_s": clips.number * 10.0,
            "procedure": procedures.cast(pa.string()),
            **words,
            **{column: np.full(rows, value) for column, value in numbers.items()},
            **{column: np.full(rows, value, dtype=np.int64) for column, value in counts.items()},
        }
    )


def _hex(random: np.random.Generator, rows: int, width: int) -> np.ndarray:
    return HEX[random.integers(0, 16, size=(rows, width), dtype=np.uint8)]


def _same(word: str, rows: int) -> np.ndarray:
    return np.broadcast_to(np.frombuffer(word.encode(), dtype=np.uint8), (rows, len(word)))


def _digits(values: np.ndarray, width: int) -> np.ndarray:
    return (values[:, None] // 10 ** np.arange(width - 1, -1, -1) % 10 + ord("0")).astype(np.uint8)


def _text(letters: np.ndarray) -> pa.StringArray:
    """Return strings of one length from their bytes."""
    rows, width = letters.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * width
    return pa.StringArray.from_buffers(
        rows, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(letters))
    )
