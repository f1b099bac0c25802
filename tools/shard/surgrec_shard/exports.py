"""Files with which other projects' readers open a corpus. They repeat the index, and add nothing.

The shards stay as they are. Every split keeps its own shards.
"""

import hashlib
import json
import sqlite3
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from surgrec.errors import ShardError
from surgrec.manifest import SPLITS
from surgrec.shards import Shard, Source
from surgrec.shards.layout import split_of_shard
from surgrec.storage import Store
from surgrec.yaml_files import to_yaml
from surgrec_shard.disk import writing_to

_ENERGON_VERSION = "7.4.1"
"""The version whose files are written; later ones read them too."""
_ENERGON_FOLDER = ".nv-meta"
_ENERGON_FILES = (".info.json", "dataset.yaml", "split.yaml", "index.sqlite", "index.uuid")
_TABLES = """
CREATE TABLE samples (tar_file_id INTEGER NOT NULL, sample_key TEXT NOT NULL UNIQUE,
    sample_index INTEGER NOT NULL, byte_offset INTEGER, byte_size INTEGER);
CREATE TABLE sample_parts (tar_file_id INTEGER, sample_index INTEGER, part_name TEXT,
    content_byte_offset INTEGER, content_byte_size INTEGER);
"""
_TABLE_INDEXES = """
CREATE INDEX idx_samples_by_tar_and_idx ON samples(tar_file_id, sample_index);
CREATE INDEX idx_sample_parts_seq
    ON sample_parts(tar_file_id, sample_index, content_byte_offset);
CREATE INDEX idx_sample_parts_full
    ON sample_parts(tar_file_id, sample_index, part_name, content_byte_offset, content_byte_size);
"""
_HEADER_BYTES = 512
_SIZE_FIELD = slice(124, 136)
"""Place of the size in a tar header: octal digits."""
_READERS = 16
"""Headers read at once."""


def export_energon(store: Store, sources: Mapping[str, Source]) -> list[str]:
    """Write what `energon prepare` would write, with the stored splits. Return the file names.

    Args:
        store: The corpus root.
        sources: All of its sources.

    Raises:
        ShardError: A shard differs from the index.
        StorageError: The store or the temporary folder cannot be written.
    """
    shards = dict(_shards(sources))
    counts = {name: shard.samples for name, shard in shards.items()}
    digests = "".join(f"{name} {source.entry.digest}\n" for name, source in sources.items())

    dataset = {"__module__": "megatron.energon", "__class__": "CrudeWebdataset"}
    splits = {"split_parts": _by_split(shards), "exclude": []}

    contents = {
        ".info.json": _json({"energon_version": _ENERGON_VERSION, "shard_counts": counts}),
        "dataset.yaml": to_yaml(dataset).encode(),
        "split.yaml": to_yaml(splits).encode(),
        "index.sqlite": _sqlite(list(shards), sources),
        "index.uuid": str(uuid.UUID(hashlib.sha256(digests.encode()).hexdigest()[:32])).encode(),
    }

    for name, data in contents.items():
        store.write(f"{_ENERGON_FOLDER}/{name}", data)
    return [f"{_ENERGON_FOLDER}/{name}" for name in contents]


def export_wids(store: Store, sources: Mapping[str, Source]) -> list[str]:
    """Write the list of shards that wids reads, one per split. Return the file names.

    Args:
        store: The corpus root.
        sources: All of its sources.

    Raises:
        StorageError: The store cannot be written.
    """
    shards = dict(_shards(sources))
    splits = _by_split(shards)

    for split, names in splits.items():
        rows = [
            {"url": name, "nsamples": shards[name].samples, "filesize": shards[name].bytes}
            for name in names
        ]
        kind = {"__kind__": "wids-shard-index-v1", "wids_version": 1, "name": split}
        store.write(_wids_file(split), _json(kind | {"shardlist": rows}))

    for split in set(SPLITS) - splits.keys():
        _delete(store, _wids_file(split))
    return [_wids_file(split) for split in splits]


def remove_exports(store: Store) -> None:
    """Remove exported files from a corpus that is about to change: they name its old samples.

    Raises:
        StorageError: The store cannot be written.
    """
    for name in _ENERGON_FILES:
        _delete(store, f"{_ENERGON_FOLDER}/{name}")
    for split in SPLITS:
        _delete(store, _wids_file(split))


def _wids_file(split: str) -> str:
    return f"wids-{split}.json"


def _delete(store: Store, name: str) -> None:
    if store.exists(name):
        store.delete(name)


def _shards(sources: Mapping[str, Source]) -> Iterator[tuple[str, Shard]]:
    """Yield the shards of a corpus by name, as `source/file`."""
    for name, source in sources.items():
        for shard in source.entry.shards:
            yield f"{name}/{shard.name}", shard


def _by_split(shards: Mapping[str, Shard]) -> dict[str, list[str]]:
    """Return the names of the shards of each split that has any."""
    splits: dict[str, list[str]] = {}
    for name, shard in shards.items():
        splits.setdefault(split_of_shard(shard.name), []).append(name)
    return {split: splits[split] for split in SPLITS if split in splits}


def _sqlite(shards: list[str], sources: Mapping[str, Source]) -> bytes:
    """Return Energon's index: samples with their parts, by shard and place in it."""
    numbers = {name: number for number, name in enumerate(shards)}
    folder = Path(tempfile.gettempdir())
    with writing_to(folder, "set TMPDIR to another disk"), tempfile.TemporaryDirectory() as name:
        path = Path(name, "index.sqlite")
        with sqlite3.connect(path) as database:
            database.executescript(_TABLES)
            for source in sources.values():
                _insert(database, numbers, source)
            database.executescript(_TABLE_INDEXES)
        database.close()
        return path.read_bytes()


def _insert(database: sqlite3.Connection, numbers: Mapping[str, int], source: Source) -> None:
    """Insert the samples of a source, which its index has in the order of the shards."""
    samples = sorted(
        (source.index.sample(row) for row in range(source.index.num_rows)),
        key=lambda sample: (sample.shard, sample.offset),
    )

    def json_size(place: tuple[str, int]) -> int:
        file, offset = place
        header = source.store.read_range(file, offset, _HEADER_BYTES)
        try:
            return int(header[_SIZE_FIELD].rstrip(b"\0 "), 8)
        except ValueError:
            raise ShardError(
                f"{source.store.locate(file)} has no sample at byte {offset}, where the index has "
                "one; copy the corpus or build it again"
            ) from None

    files = [f"{source.name}/{sample.shard}" for sample in samples]
    with ThreadPoolExecutor(_READERS) as pool:
        places = ((file, sample.offset) for file, sample in zip(files, samples, strict=True))
        sizes = list(pool.map(json_size, places))

    place, last = 0, ""
    for file, sample, size in zip(files, samples, sizes, strict=True):
        place = place + 1 if file == last else 0
        number, last = numbers[file], file
        row = (number, sample.key, place, sample.offset, sample.size)
        database.execute("INSERT INTO samples VALUES (?, ?, ?, ?, ?)", row)
        parts = [
            (number, place, "json", sample.offset + _HEADER_BYTES, size),
            (number, place, "mp4", sample.mp4_offset, sample.mp4_size),
        ]
        database.executemany("INSERT INTO sample_parts VALUES (?, ?, ?, ?, ?)", parts)


def _json(content: object) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode("ascii")
