"""An index without shards, with any number of rows, in the format of the corpus."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from surgrec.parquet import parquet_bytes
from surgrec.shards import CorpusFile, Shard, SourceEntry, shard_name
from surgrec.shards.layout import INDEX_FILE
from surgrec.storage import open_store

DOMAINS = ("laparoscopy", "endoscopy", "cataract", "robotic")
ROWS_PER_SHARD = 1300
"""Rows of a shard of 512 MB, at 10 s and 8 frames per second."""
CLIP_BYTES = 380_000
HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


def write_synthetic(folder: Path, sizes: Sequence[int]) -> None:
    """Write a corpus of sources of these sizes, in four domains and three procedures each."""
    store = open_store(folder)
    entries = {}
    for number, rows in enumerate(sizes):
        name, domain = f"source{number:02d}", DOMAINS[number % len(DOMAINS)]
        table = _table(name, domain, rows, np.random.Generator(np.random.PCG64(number)))
        store.write(f"{name}/{INDEX_FILE}", parquet_bytes(table))
        entries[name] = _entry(name, domain, rows)
    CorpusFile(sources=entries).write(store)


def _entry(name: str, domain: str, rows: int) -> SourceEntry:
    shards = [
        Shard(
            name=_shard(name, number),
            samples=min(ROWS_PER_SHARD, rows - first),
            bytes=min(ROWS_PER_SHARD, rows - first) * CLIP_BYTES + 1024,
            sha256="0" * 64,
        )
        for number, first in enumerate(range(0, rows, ROWS_PER_SHARD))
    ]

    return SourceEntry(
        domain=domain,
        shards=shards,
        samples=rows,
        videos=rows,
        videos_failed=0,
        cases=rows,
        hours=rows / 360,
        bytes=rows * CLIP_BYTES,
        digest=hashlib.sha256(name.encode()).hexdigest(),
        plan="",
    )


def _shard(name: str, number: int) -> str:
    return shard_name(name, "train", number // 1000, number % 1000)


def _table(name: str, domain: str, rows: int, random: np.random.Generator) -> pa.Table:
    number = np.arange(rows)
    video, place = _hex(random, rows, 12), number % ROWS_PER_SHARD
    shards = pa.array([_shard(name, each) for each in range(-(-rows // ROWS_PER_SHARD))])
    key = np.concatenate(
        [_same(f"{name}_", rows), video, _same("_", rows), _digits(number, 9)], axis=1
    )

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

    numbers = {"start_s": 0.0, "duration_s": 10.0, "fps": 8.0, "native_fps": 30.0}
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
            "case": _text(video),
            "video": _text(video),
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
