"""Hostile corpora: forged or damaged corpus.json, indexes, shards and offsets."""

import io
import json
import os
import random
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from tests.hostile.harness import Kind, Run, run_command, try_kind
from tests.shards.test_check_index import WRONG
from tests.support.samples import make_clips, write_corpus

SHARD = "alpha/alpha-train-00000000.tar"
Damage = Callable[[Path], object]


@dataclass(frozen=True, kw_only=True)
class Problem(Kind):
    """Damage that `verify` lists as problems, each in one line, with status 1."""


def corpus(folder: Path) -> Path:
    return write_corpus(folder / "corpus", {"alpha": make_clips(8), "beta": make_clips(5, "beta")})


def info_of(damage: Damage) -> Callable[[Path], Sequence[object]]:
    """Return a function that makes a damaged corpus and asks for its counts."""

    def make(folder: Path) -> Sequence[object]:
        damage(corpus(folder))
        return ["surgrec-shard", "info", folder / "corpus", "--json", "true"]

    return make


def verify_of(damage: Damage) -> Callable[[Path], Sequence[object]]:
    def make(folder: Path) -> Sequence[object]:
        damage(corpus(folder))
        return ["surgrec-shard", "verify", folder / "corpus"]

    return make


def counts_are_right(folder: Path, run: Run) -> None:
    rows = json.loads(run.out)
    assert [(row["source"], row["samples"]) for row in rows] == [("alpha", 8), ("beta", 5)]


def on_file(name: str, change: Callable[[bytes], bytes]) -> Damage:
    def damage(root: Path) -> None:
        (root / name).write_bytes(change((root / name).read_bytes()))

    return damage


def on_json(change: Callable[[dict[str, Any]], object]) -> Damage:
    def damage(root: Path) -> None:
        content = json.loads((root / "corpus.json").read_bytes())
        change(content)
        (root / "corpus.json").write_text(json.dumps(content), encoding="utf-8")

    return damage


def on_entry(**values: object) -> Damage:
    return on_json(lambda content: content["sources"]["alpha"].update(values))


def on_shard(**values: object) -> Damage:
    return on_json(lambda content: content["sources"]["alpha"]["shards"][0].update(values))


def on_table(change: Callable[[pa.Table], pa.Table]) -> Damage:
    def damage(root: Path) -> None:
        path = root / "alpha/index.parquet"
        parquet.write_table(change(parquet.read_table(io.BytesIO(path.read_bytes()))), path)

    return damage


def on_column(name: str, new: Callable[[list[Any]], Any]) -> Damage:
    def change(table: pa.Table) -> pa.Table:
        values = new(table.column(name).to_pylist())
        if not isinstance(values, pa.Array):
            values = pa.array(values, table.schema.field(name).type)
        return table.set_column(table.column_names.index(name), name, values)

    return on_table(change)


def instead_of(name: str, put: Callable[[Path], object]) -> Damage:
    def damage(root: Path) -> None:
        (root / name).unlink()
        put(root / name)

    return damage


def put_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket has at most 107 bytes
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


PUT: dict[str, Callable[[Path], object]] = {
    "a named pipe": os.mkfifo,
    "a socket": put_socket,
    "a folder": Path.mkdir,
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link into nowhere": lambda path: path.symlink_to("nowhere"),
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "an empty file": Path.touch,
    "a gigabyte of zeros": lambda path: [path.touch(), os.truncate(path, 1 << 30)],
}
JSON_TEXTS: dict[str, bytes] = {
    "no JSON": b"not json",
    "half of a JSON": b'{"schema_version": 4, "sources": {',
    "a list": b"[]",
    "a number": b"17",
    "null": b"null",
    "NaN": b"NaN",
    "zeros after a power cut": bytes(4096),
    "100,000 nested lists": b"[" * 100_000,
    "100,000 nested objects": b'{"a":' * 100_000,
    "no UTF-8": b'{"schema_version": 4, "sources": {"\xff": 1}}',
    "UTF-16": '{"schema_version": 4}'.encode("utf-16"),
    "a number of 5,000 digits": b'{"schema_version": ' + b"9" * 5000 + b"}",
    "a float for the version": b'{"schema_version": 4.0}',
    "a text for the version": b'{"schema_version": "3"}',
    "a later version": b'{"schema_version": 99}',
    "a key twice": b'{"schema_version": 4, "schema_version": 1}',
}
ENTRIES: dict[str, Damage] = {
    "sources as a list": on_json(lambda content: content.update(sources=[])),
    "no source": on_json(lambda content: content.update(sources={})),
    "a source whose name leads out": on_json(
        lambda content: content["sources"].update({"../x": content["sources"]["alpha"]})
    ),
    "an entry that is null": on_json(lambda content: content["sources"].update(alpha=None)),
    "an unknown field": on_entry(extra=1),
    "samples below zero": on_entry(samples=-1),
    "more samples than rows": on_entry(samples=9),
    "2^70 samples": on_entry(samples=2**70),
    "samples as a text": on_entry(samples="8"),
    "hours that are NaN": on_entry(hours=float("nan")),
    "shards that are null": on_entry(shards=None),
    "a shard that is a text": on_entry(shards=["alpha-train-00000000.tar"]),
    "no shards": on_entry(shards=[]),
    "a shard of 2^70 bytes less": on_shard(bytes=-(2**70)),
    "a shard of 10 bytes": on_shard(bytes=10),
    "a shard whose name leads out": on_shard(name="../alpha-train-00000000.tar"),
    "a shard with NUL in its name": on_shard(name="a\0b.tar"),
    "a shard with other counts": on_shard(samples=5),
    "two shards of one name": on_json(
        lambda content: content["sources"]["alpha"]["shards"][1].update(
            name="alpha-train-00000000.tar"
        )
    ),
    "a missing source folder": on_json(
        lambda content: content["sources"].update(gone=content["sources"]["alpha"])
    ),
}
TABLES: dict[str, Damage] = {
    "no rows": on_table(lambda table: table.slice(0, 0)),
    "a row less": on_table(lambda table: table.slice(1)),
    "each row twice": on_table(lambda table: pa.concat_tables([table, table])),
    "no columns": on_table(lambda table: table.select([])),
    "a column less": on_table(lambda table: table.drop_columns(["mp4_offset"])),
    "a blur that is NaN": on_column("blur", lambda values: [float("nan"), *values[1:]]),
    "a motion above 1": on_column("motion", lambda values: [*values[:-1], 1.5]),
    "a column twice": on_table(lambda table: table.append_column("key", table.column("key"))),
    "numbers as texts": on_table(
        lambda table: table.set_column(
            2, "offset", pa.array([f"{value}x" for value in range(len(table))])
        )
    ),
    "lists in a column": on_table(
        lambda table: table.set_column(2, "offset", pa.array([[1]] * len(table)))
    ),
    "an empty cell": on_column("case", lambda values: [None, *values[1:]]),
    "sizes beyond int64": on_table(
        lambda table: table.set_column(2, "offset", pa.array([2**64 - 1] * 8, pa.uint64()))
    ),
}
ACCEPTED: dict[str, Damage] = {
    "rows in another order": on_table(lambda table: table.take([7, 0, 6, 1, 5, 2, 4, 3])),
    "a further column": on_table(
        lambda table: table.append_column("cluster", pa.array(list("abcdefgh")))
    ),
    "large strings": on_column("key", lambda values: pa.array(values, pa.large_string())),
    "dictionaries": on_column("case", lambda values: pa.array(values).dictionary_encode()),
    "columns in another order": on_table(lambda table: table.select(table.column_names[::-1])),
    "float32 rates": on_column("fps", lambda values: pa.array(values, pa.float32())),
    "foreign files": lambda root: [
        os.mkfifo(root / "alpha/pipe"),
        (root / "loop").symlink_to(root),
        (root / "Thumbs.db").write_bytes(b"x"),
    ],
    "a link to the source": lambda root: [
        (root / "alpha").rename(root / "elsewhere"),
        (root / "alpha").symlink_to("elsewhere"),
    ],
}


def flip(place: float) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        position = round(place * (len(data) - 1))
        return data[:position] + bytes([data[position] ^ 0x40]) + data[position + 1 :]

    return change


TARS: dict[str, Damage] = {
    "a shard cut in a header": on_file(SHARD, lambda data: data[:300]),
    "a shard cut at a member": on_file(SHARD, lambda data: data[:2048]),
    "a shard of zeros": on_file(SHARD, lambda data: bytes(len(data))),
    "a flipped byte in a header": on_file(SHARD, flip(0.0)),
    "a flipped byte in a clip": on_file(SHARD, flip(0.5)),
    "bytes behind the end": on_file(SHARD, lambda data: data + b"x" * 10_240),
    "an archive of another tool": on_file(SHARD, lambda data: b"PK\x03\x04" + data[4:]),
    "a size of 2^33 in a header": on_file(
        SHARD, lambda data: data[:124] + b"77777777777\0" + data[136:]
    ),
    "a link as member": on_file(SHARD, lambda data: data[:156] + b"2" + data[157:]),
    "an extended header": on_file(SHARD, lambda data: data[:156] + b"x" + data[157:]),
    "a member whose name leads out": on_file(SHARD, lambda data: b"../../x.json\0" + data[13:]),
    "a missing shard": lambda root: (root / SHARD).unlink(),
    "a shard too many": lambda root: (root / "alpha/alpha-val-00000000.tar").touch(),
    "an .idx of zeros": on_file(f"{SHARD}.idx", lambda data: bytes(len(data))),
    "an .idx of 2^64 - 1": on_file(f"{SHARD}.idx", lambda data: b"\xff" * len(data)),
    "an .idx with half a number": on_file(f"{SHARD}.idx", lambda data: data[:-3]),
    "an empty .idx": on_file(f"{SHARD}.idx", lambda data: b""),
    "an .idx in reverse": on_file(
        f"{SHARD}.idx",
        lambda data: struct.pack("<5Q", *struct.unpack("<5Q", data)[::-1]),
    ),
    "clips that are no videos": lambda root: None,
    "another digest of the source": on_entry(digest="0" * 64),
    "another digest of a shard": on_shard(sha256="0" * 64),
}

KINDS: list[Kind] = [
    *(
        Kind(name=f"{what} in place of {file}", make=info_of(instead_of(file, put)))
        for file in ("corpus.json", "alpha/index.parquet")
        for what, put in PUT.items()
    ),
    *(
        Kind(
            name=f"corpus.json: {what}",
            make=info_of(on_file("corpus.json", lambda _, text=text: text)),
        )
        for what, text in JSON_TEXTS.items()
    ),
    *(Kind(name=f"corpus.json: {what}", make=info_of(damage)) for what, damage in ENTRIES.items()),
    *(Kind(name=f"index: {what}", make=info_of(damage)) for what, damage in TABLES.items()),
    *(
        Kind(name=f"index, {number}: {column} {sentence}", make=info_of(on_column(column, new)))
        for number, (column, new, sentence) in enumerate(WRONG)
    ),
    *(
        Kind(name=f"index: {what}", make=info_of(damage), right=counts_are_right)
        for what, damage in ACCEPTED.items()
    ),
    *(
        Kind(
            name=f"index cut at {share:.0%}",
            make=info_of(
                on_file(
                    "alpha/index.parquet", lambda data, share=share: data[: int(share * len(data))]
                )
            ),
        )
        for share in (0.1, 0.9)
    ),
    *(Problem(name=f"verify: {what}", make=verify_of(damage)) for what, damage in TARS.items()),
]


@pytest.mark.slow
def test_hostile(kind: Kind, tmp_path: Path) -> None:
    if not isinstance(kind, Problem):
        try_kind(kind, tmp_path)
        return
    (tmp_path / "input").mkdir()
    run = run_command(kind.make(tmp_path / "input"), tmp_path / "input", {})
    assert run.status == 1, run.errors
    assert "Traceback" not in run.errors, run.errors
    assert run.errors.count("problem ") > 0, run.errors


FUZZED = 320


@pytest.mark.slow
def test_mutated_indexes_are_refused_or_give_the_rows_they_gave(tmp_path: Path) -> None:
    """A seeded fuzz: bytes flipped, cut, repeated or swapped, and cells replaced by odd values."""
    from surgrec.errors import SurgrecError
    from surgrec.shards import open_corpus

    root = write_corpus(tmp_path / "corpus", {"alpha": make_clips(24)})
    path = root / "alpha/index.parquet"
    original = path.read_bytes()
    right = [open_corpus(root)["alpha"].index.sample(row) for row in range(24)]
    table = parquet.read_table(io.BytesIO(original))
    source, refused = random.Random(19), 0

    for number in range(FUZZED):
        is_cell = number % 2 == 0
        data = _other_cell(table, source) if is_cell else _other_bytes(original, source)
        path.write_bytes(data)
        try:
            index = open_corpus(root)["alpha"].index
            samples = [index.sample(row) for row in range(index.num_rows)]
        except SurgrecError:
            refused += 1
            continue
        if is_cell:  # a possible value: `verify` compares it with the shard
            assert all(sample.mp4_size > 0 <= sample.mp4_offset < 2**50 for sample in samples)
            assert len(samples) == 24
        else:
            assert samples == right
    assert FUZZED // 2 < refused < FUZZED


def _other_cell(table: pa.Table, source: random.Random) -> bytes:
    name = source.choice(table.column_names)
    field = table.schema.field(name)
    values = table.column(name).to_pylist()
    odd: list[Any] = ["", "\0", "é", "x" * 1000, "../x", "train", "-1", "NaN"]
    if pa.types.is_integer(field.type):
        odd = [0, -1, 2**31, 2**62, -(2**63), 2**63 - 1, 511, 10**12, 2**64 - 1]
        odd = [value for value in odd if _fits(value, field.type)]
    elif pa.types.is_floating(field.type):
        odd = [0.0, -1.0, float("nan"), float("inf"), -float("inf"), 1e308, 5e-324, 1e12]
    values[source.randrange(len(values))] = source.choice([*odd, None])
    changed = table.set_column(table.column_names.index(name), name, pa.array(values, field.type))
    buffer = io.BytesIO()
    parquet.write_table(changed, buffer)
    return buffer.getvalue()


def _fits(value: int, kind: pa.DataType) -> bool:
    if pa.types.is_unsigned_integer(kind):
        return 0 <= value < 2**kind.bit_width
    return -(2 ** (kind.bit_width - 1)) <= value < 2 ** (kind.bit_width - 1)


def _other_bytes(data: bytes, source: random.Random) -> bytes:
    start, end = sorted(source.randrange(len(data)) for _ in range(2))
    kind = source.randrange(5)
    if kind == 0:
        changed = bytearray(data)
        for _ in range(source.choice([1, 1, 3, 20])):
            changed[source.randrange(len(data))] ^= 1 << source.randrange(8)
        return bytes(changed)
    if kind == 1:
        return data[:start]
    if kind == 2:
        return data[:start] + data[end:]
    if kind == 3:
        return data[:end] + data[start:]
    return data[:start] + source.randbytes(end - start) + data[end:]
