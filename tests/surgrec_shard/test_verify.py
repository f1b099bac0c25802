"""`verify` finds every kind of damage, each planted here, and nothing in a sound corpus."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from surgrec_shard.commands import main
from surgrec_shard.verify import Findings, verify

SHARD = "alpha/alpha-train-00000000.tar"


def test_a_sound_corpus_has_no_problems(tiny_corpus: Path) -> None:
    for decode_all in (False, True):
        found = check(tiny_corpus, decode_all=decode_all)
        assert found.problems == []
        assert found.shards == len(list(tiny_corpus.rglob("*.tar")))
        assert found.samples == 28
        assert found.decoded == (found.samples if decode_all else found.shards)


def test_the_command_exits_with_0_for_a_sound_corpus_and_1_for_a_damaged_one(
    corpus_copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["surgrec-shard", "verify", str(corpus_copy)])
    with pytest.raises(SystemExit, match="^0$"):
        main()
    assert "all as it should be" in capsys.readouterr().err
    (corpus_copy / SHARD).unlink()
    with pytest.raises(SystemExit, match="^1$"):
        main()
    assert str(corpus_copy / SHARD) in capsys.readouterr().err


def flip_a_byte_of_a_clip(corpus: Path) -> None:
    row = parquet.read_table(corpus / "alpha" / "index.parquet").to_pylist()[0]
    with (corpus / "alpha" / row["shard"]).open("r+b") as file:
        file.seek(row["mp4_offset"] + row["mp4_size"] // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))


def flip_a_byte_of_a_tar_header(corpus: Path) -> None:
    data = bytearray((corpus / SHARD).read_bytes())
    data[20] ^= 1
    (corpus / SHARD).write_bytes(data)


def truncate_a_shard(corpus: Path) -> None:
    data = (corpus / SHARD).read_bytes()
    (corpus / SHARD).write_bytes(data[: len(data) // 2])


def empty_a_shard(corpus: Path) -> None:
    (corpus / SHARD).write_bytes(b"")


def lose_a_shard(corpus: Path) -> None:
    (corpus / SHARD).unlink()


def lose_an_idx(corpus: Path) -> None:
    (corpus / f"{SHARD}.idx").unlink()


def change_an_idx(corpus: Path) -> None:
    data = (corpus / f"{SHARD}.idx").read_bytes()
    (corpus / f"{SHARD}.idx").write_bytes(data[:8] + data[16:])


def add_a_shard(corpus: Path) -> None:
    shutil.copy(corpus / SHARD, corpus / "alpha" / "alpha-train-00077000.tar")


def add_a_shard_of_no_source(corpus: Path) -> None:
    (corpus / "omega").mkdir()
    shutil.copy(corpus / SHARD, corpus / "omega" / "omega-train-00000000.tar")


def swap_two_shards(corpus: Path) -> None:
    other = next(path for path in sorted((corpus / "alpha").glob("*.tar")) if path != corpus / SHARD)
    first, second = (corpus / SHARD).read_bytes(), other.read_bytes()
    (corpus / SHARD).write_bytes(second)
    other.write_bytes(first)


def lose_the_labels(corpus: Path) -> None:
    (corpus / "alpha" / "labels.parquet").unlink()


def change_the_digest(corpus: Path) -> None:
    path = corpus / "corpus.json"
    content = json.loads(path.read_text())
    content["sources"]["alpha"]["digest"] = "0" * 64
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (flip_a_byte_of_a_clip, "the mp4 does not have the digest of the index"),
        (flip_a_byte_of_a_tar_header, "its SHA-256 is"),
        (truncate_a_shard, "cannot be read to its end"),
        (empty_a_shard, "0 bytes, corpus.json says"),
        (lose_a_shard, "does not exist"),
        (lose_an_idx, ".tar.idx does not exist"),
        (change_an_idx, "its .idx does not hold the offsets of the index"),
        (add_a_shard, "alpha-train-00077000.tar: a shard that corpus.json does not list"),
        (add_a_shard_of_no_source, "omega-train-00000000.tar: a shard that corpus.json does not list"),
        (swap_two_shards, "its SHA-256 is"),
        (lose_the_labels, "labels.parquet is missing"),
        (change_the_digest, "corpus.json says 000000000000"),
    ],
)
def test_damage_is_found(damage: Callable[[Path], None], said: str, corpus_copy: Path) -> None:
    damage(corpus_copy)
    found = check(corpus_copy).problems
    assert any(said in problem for problem in found), found
    assert all("gamma" not in problem for problem in found), "and only where it is"


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("start_s", lambda value: value + 1.0),
        ("case", lambda value: "somebody"),
        ("num_frames", lambda value: value - 1),
        ("offset", lambda value: value + 512),
        ("size", lambda value: value - 512),
        ("mp4_offset", lambda value: value - 1),
        ("mp4_offset", lambda value: -value),
        ("mp4_size", lambda value: value - 1),
        ("sha256", lambda value: value[::-1]),
        ("key", lambda value: value[:-1] + "1"),
    ],
)
def test_a_changed_row_of_the_index_is_found(column: str, change: Callable[[Any], Any], corpus_copy: Path) -> None:
    path = corpus_copy / "beta" / "index.parquet"
    table = parquet.read_table(path)
    values = table[column].to_pylist()
    values[1] = change(values[1])
    place = table.column_names.index(column)
    parquet.write_table(table.set_column(place, table.field(place), pa.array(values, table.field(place).type)), path)
    found = check(corpus_copy).problems
    assert found
    assert all("beta" in problem for problem in found), found


def check(corpus: Path, *, decode_all: bool = False) -> Findings:
    return verify(str(corpus), decode_all=decode_all, progress=lambda stage, done, total: None)
