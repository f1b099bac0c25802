"""Hostile caches: of indexes and of whole shards, damaged, planted or impossible."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from surgrec.errors import SurgrecError
from surgrec.shards import _index_cache, open_corpus
from surgrec.storage import DiskCache, WholeFile
from tests.hostile.harness import Kind, Run, try_kind
from tests.hostile.test_corpora import PUT
from tests.support.samples import make_clips, write_corpus

ROWS = 40
OWN = f"indexes-of-user-{os.geteuid()}"


def write_cached(folder: Path) -> Path:
    """Write a corpus, fill the cache in `cache`, and return the cached file."""
    write_corpus(folder / "corpus", {"alpha": make_clips(ROWS)})
    os.environ["SURGREC_CACHE"] = str(folder / "cache")
    open_corpus(folder / "corpus")
    (path,) = (folder / "cache" / OWN).glob("index-*.arrow")
    return path


def order_of(damage: Callable[[Path], object]) -> Callable[[Path], Sequence[object]]:
    """Return a function that damages a cached file, then lets `order` read all rows."""

    def make(folder: Path) -> Sequence[object]:
        damage(write_cached(folder))
        return [
            *("surgrec", "order", folder / "corpus", "--num_steps", "4"),
            *("--global_batch", "10", "--mixture.block", "40"),
        ]

    return make


def every_key_comes_once(folder: Path, run: Run) -> None:
    keys = [json.loads(line)["key"] for line in run.out.splitlines()]
    assert sorted(keys) == sorted(clip.key for clip in make_clips(ROWS)), run.out[:500]


def on_bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(change(path.read_bytes()))


def flip(place: float) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        position = round(place * (len(data) - 1))
        return data[:position] + bytes([data[position] ^ 0x81]) + data[position + 1 :]

    return change


def replaced_by(put: Callable[[Path], object]) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        path.unlink()
        put(path)

    return damage


def other_corpus(path: Path) -> None:
    """Put the rows of another corpus, with their right digest, under this name."""
    folder = path.parents[2]
    root = write_corpus(folder / "other", {"alpha": make_clips(3)})
    open_corpus(root)
    (other,) = {*path.parent.glob("index-*.arrow")} - {path}
    other.replace(path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a flipped magic": on_bytes(flip(0.0)),
    "a flipped digest": on_bytes(lambda data: data[:20] + bytes([data[20] ^ 1]) + data[21:]),
    "a flipped schema": on_bytes(lambda data: data[:120] + bytes([data[120] ^ 1]) + data[121:]),
    "a flipped offset of a text": on_bytes(flip(0.2)),
    "a flipped cell": on_bytes(flip(0.5)),
    "a flipped footer": on_bytes(flip(0.99)),
    "a flipped last byte": on_bytes(flip(1.0)),
    "every byte flipped": on_bytes(lambda data: bytes(value ^ 0xFF for value in data)),
    "half of a file": on_bytes(lambda data: data[: len(data) // 2]),
    "a header alone": on_bytes(lambda data: data[:64]),
    "half of a header": on_bytes(lambda data: data[:30]),
    "a zeroed page": on_bytes(lambda data: data[:4096] + bytes(4096) + data[8192:]),
    "bytes behind the end": on_bytes(lambda data: data + b"x"),
    "a file without its header": on_bytes(lambda data: data[64:]),
    "a parquet file": on_bytes(lambda data: b"PAR1" + data[4:-4] + b"PAR1"),
    "a closed file": lambda path: path.chmod(0),
    "an unwritable file": lambda path: path.chmod(0o400),
    "a dead lock file": lambda path: path.with_name(f"{path.name}.lock").write_text("{"),
    "remains of a killed process": lambda path: path.with_name(f".{path.name}.0").touch(),
    "the file of another corpus": other_corpus,
    "a vanished folder": lambda path: shutil.rmtree(path.parents[1]),
}


def cache_variable(value: str) -> dict[str, str]:
    return {"SURGREC_CACHE": value}


def info(folder: Path) -> Sequence[object]:
    write_corpus(folder / "corpus", {"alpha": make_clips(ROWS)})
    (folder / "file").write_text("in the way")
    (folder / "loop").symlink_to("loop")
    return ["surgrec-shard", "info", folder / "corpus", "--json", "true"]


def info_with(put: Callable[[Path], object]) -> Callable[[Path], Sequence[object]]:
    def make(folder: Path) -> Sequence[object]:
        (folder / "cache").mkdir()
        put(folder / "cache" / OWN)
        return info(folder)

    return make


def counts_are_right(folder: Path, run: Run) -> None:
    assert [row["samples"] for row in json.loads(run.out)] == [ROWS]


KINDS: list[Kind] = [
    *(
        Kind(name=f"a cached index: {what}", make=order_of(damage), right=every_key_comes_once)
        for what, damage in DAMAGES.items()
    ),
    *(
        Kind(
            name=f"a cached index: {what} in its place",
            make=order_of(replaced_by(put)),
            right=None if what == "a folder" else every_key_comes_once,
        )
        for what, put in PUT.items()
    ),
    *(
        Kind(
            name=f"the folder of the cache: {what}",
            make=info_with(put),
            env=cache_variable("cache"),
        )
        for what, put in PUT.items()
        if what not in ("a folder", "a device")
    ),
    Kind(name="SURGREC_CACHE: a file", make=info, env=cache_variable("file")),
    Kind(name="SURGREC_CACHE: below a file", make=info, env=cache_variable("file/cache")),
    Kind(name="SURGREC_CACHE: a link to itself", make=info, env=cache_variable("loop")),
    Kind(name="SURGREC_CACHE: a device", make=info, env=cache_variable("/dev/null")),
    Kind(name="SURGREC_CACHE: a name of 300 letters", make=info, env=cache_variable("x" * 300)),
    Kind(name="SURGREC_CACHE: /proc", make=info, env=cache_variable("/proc/1")),
    Kind(
        name="SURGREC_CACHE: letters of other alphabets",
        make=info,
        env=cache_variable("Кэш 手術"),
        right=counts_are_right,
    ),
    Kind(
        name="a home that is a file",
        make=info,
        env={"SURGREC_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/dev/null", "TMPDIR": "tmp"},
        right=counts_are_right,
    ),
    Kind(
        name="an empty home",
        make=info,
        env={"SURGREC_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "", "TMPDIR": "tmp"},
        right=counts_are_right,
    ),
]


@pytest.mark.slow
def test_hostile(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_index_cache, "CACHED_FROM", 1)
    monkeypatch.setenv("SURGREC_CACHE", str(tmp_path / "unused"))
    try_kind(kind, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("what", PUT)
def test_a_cached_shard_is_right_or_a_miss(what: str, tmp_path: Path) -> None:
    root = write_corpus(tmp_path / "corpus", {"alpha": make_clips(ROWS)})
    source = open_corpus(root)["alpha"]
    shard = source.entry.shards[0]
    cache = DiskCache(tmp_path / "cache", 10**9)
    cache.prepare()
    file = WholeFile(
        store=source.store, name=f"alpha/{shard.name}", bytes=shard.bytes, sha256=shard.sha256
    )
    PUT[what](cache.folder / f"{shard.sha256}.tar")
    data = cache.read_range(shard.sha256, 100, 50)
    assert data is None or len(data) == 50
    try:
        cache.drop(shard.sha256)
        cache.add(file, should_continue=lambda: True)
    except SurgrecError:
        assert what == "a folder"
        return
    whole = (root / "alpha" / shard.name).read_bytes()
    assert cache.read_range(shard.sha256, 100, 50) == whole[100:150]
