import os
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from surgrec.errors import ConfigError, ShardError, StorageError
from surgrec.shards import Source, _corpus, _index_cache, open_corpus
from surgrec.shards.layout import INDEX_FILE
from surgrec.storage.user_cache import user_cache_folder
from tests.support.samples import make_clips, write_corpus


@pytest.fixture(autouse=True)
def small_indexes_are_cached_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_index_cache, "CACHED_FROM", 1)
    monkeypatch.setenv("SURGREC_CACHE", str(tmp_path / "cache"))


def cached(tmp_path: Path) -> list[Path]:
    """Return the files of the cache."""
    return sorted((tmp_path / "cache").glob("*/index-*.arrow"))


def opened(root: Path) -> Source:
    return open_corpus([root])["alpha"]


def test_an_index_from_the_cache_is_equal_and_is_not_read_again(tmp_path: Path) -> None:
    clips = [
        replace(clip, split="val" if number % 3 else "train")
        for number, clip in enumerate(make_clips(20))
    ]
    root = write_corpus(tmp_path / "corpus", {"alpha": clips})
    plain = _corpus._read_index(opened(root).store, "alpha", opened(root).entry)
    source = opened(root)
    assert (
        source.store.counters.total("bytes_read") < (root / "alpha" / INDEX_FILE).stat().st_size
    ), "corpus.json alone was read"
    rows = plain.rows(splits=["train"])
    assert np.array_equal(source.index.rows(splits=["train"]), rows)
    assert source.index.rows_digest(rows) == plain.rows_digest(rows)
    assert [source.index.sample(row) for row in range(20)] == [
        plain.sample(row) for row in range(20)
    ]
    assert len(cached(tmp_path)) == 1


def test_an_index_that_changed_in_the_store_is_read_again(tmp_path: Path) -> None:
    root = write_corpus(tmp_path / "corpus", {"alpha": make_clips(3)})
    assert opened(root).index.num_rows == 3
    write_corpus(root, {"alpha": make_clips(5)})
    assert opened(root).index.num_rows == 5


@pytest.mark.parametrize("damage", ["cut", "emptied", "foreign"])
def test_a_damaged_file_of_the_cache_is_written_again(tmp_path: Path, damage: str) -> None:
    root = write_corpus(tmp_path / "corpus", {"alpha": make_clips(7)})
    keys = [opened(root).index.key(row) for row in range(7)]
    (file,) = cached(tmp_path)
    data = file.read_bytes()
    file.write_bytes(
        {"cut": data[: len(data) // 2], "emptied": b"", "foreign": b"ARROW1 it is not"}[damage]
    )
    assert [opened(root).index.key(row) for row in range(7)] == keys
    assert file.read_bytes() == data


def test_an_index_that_is_refused_is_not_cached(tmp_path: Path) -> None:
    root = write_corpus(tmp_path / "corpus", {"alpha": make_clips(3)})
    other = write_corpus(tmp_path / "other", {"beta": make_clips(3, "beta")})
    (root / "alpha" / INDEX_FILE).write_bytes((other / "beta" / INDEX_FILE).read_bytes())
    with pytest.raises(ShardError, match="is the index of the source 'beta', not of 'alpha'"):
        open_corpus([root])
    assert not cached(tmp_path)


def test_a_cache_that_cannot_be_written_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_corpus(tmp_path / "corpus", {"alpha": make_clips(3)})
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SURGREC_CACHE", str(tmp_path / "file"))
    with pytest.raises(StorageError, match=rf"^{tmp_path}/file is not a folder; move it away"):
        opened(root)
    monkeypatch.setenv("SURGREC_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert _index_cache.cache_folder() == tmp_path / f"home/surgrec/indexes-of-user-{os.geteuid()}"


@pytest.mark.parametrize("place", [0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99, 0.999, 1.0])
def test_a_flipped_byte_of_the_cache_never_reaches_a_reader(tmp_path: Path, place: float) -> None:
    root = write_corpus(tmp_path / "corpus", {"alpha": make_clips(50)})
    samples = [opened(root).index.sample(row) for row in range(50)]
    (file,) = cached(tmp_path)
    data = bytearray(file.read_bytes())
    data[round(place * (len(data) - 1))] ^= 0x55
    file.write_bytes(data)
    assert [opened(root).index.sample(row) for row in range(50)] == samples


def test_the_cache_is_closed_to_other_users(tmp_path: Path) -> None:
    root = write_corpus(tmp_path / "corpus", {"alpha": make_clips(3)})
    (tmp_path / "cache").mkdir(mode=0o777)
    opened(root)
    (file,) = cached(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_file_and_folder_are_not_used(tmp_path: Path) -> None:
    root = write_corpus(tmp_path / "corpus", {"alpha": make_clips(3)})
    keys = [opened(root).index.key(row) for row in range(3)]
    (file,) = cached(tmp_path)
    os.chown(file, 12345, 12345)
    assert [opened(root).index.key(row) for row in range(3)] == keys
    (file,) = cached(tmp_path)
    assert file.stat().st_uid == 0, "the file was made again"
    os.chown(file.parent, 12345, 12345)
    with pytest.raises(StorageError, match=r"indexes-of-user-0 belongs to user 12345"):
        opened(root)


def test_without_a_home_the_cache_is_among_the_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SURGREC_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file/no-folder"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    expected = tmp_path / f"surgrec-indexes-of-user-{os.geteuid()}"
    assert _index_cache.cache_folder() == expected

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert _index_cache.cache_folder() == expected


def mounted_as(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kinds: dict[Path, str]) -> None:
    """Let the table of mounts have a file system at each folder."""
    table = tmp_path / "mounts"
    lines = [f"device {folder} {kind} rw 0 0\n" for folder, kind in kinds.items()]
    table.write_text("device / ext4 rw 0 0\n" + "".join(lines))
    monkeypatch.setattr("surgrec.storage.file_system._MOUNTS", table)


def test_indexes_are_not_in_a_home_on_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    home, local = tmp_path / "home", tmp_path / "local"
    local.mkdir()
    for name in ("SURGREC_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr("tempfile.tempdir", str(local))

    mounted_as(monkeypatch, tmp_path, {home: "nfs4"})
    own = f"of-user-{os.geteuid()}"
    assert _index_cache.cache_folder() == local / f"surgrec-indexes-{own}"
    # Small files that are read as a whole may be there, for all machines.
    assert user_cache_folder("hashes") == home / ".cache/surgrec" / f"hashes-{own}"

    mounted_as(monkeypatch, tmp_path, {home: "xfs"})
    assert _index_cache.cache_folder() == home / ".cache/surgrec" / f"indexes-{own}"
    assert not caplog.records


@pytest.mark.parametrize("kind", ["nfs", "lustre", "fuse.sshfs"])
def test_a_chosen_cache_on_the_network_is_used_with_one_warning(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mounted_as(monkeypatch, tmp_path, {tmp_path / "cache": kind})
    for _ in range(3):
        assert _index_cache.cache_folder().parent == tmp_path / "cache"
    (record,) = caplog.records
    assert f"is on the network ({kind})" in record.getMessage()
    assert "set SURGREC_CACHE to a folder on a local disk" in record.getMessage()


def test_the_cache_is_cleaned_when_an_index_is_added(tmp_path: Path) -> None:
    root = write_corpus(tmp_path / "corpus", {"alpha": make_clips(3)})
    opened(root)
    (unused,) = cached(tmp_path)
    folder, now = unused.parent, time.time()
    made = {
        ".index-1.arrow.killed": 2 * 24 * 3600,
        "index-2.arrow.lock": 2 * 24 * 3600,
        ".index-3.arrow.at-work": 3600,
        "index-4.arrow": 29 * 24 * 3600,
        "other": 400 * 24 * 3600,
    }
    for name, age_s in made.items():
        (folder / name).touch()
        os.utime(folder / name, (now - age_s, now - age_s))
    os.utime(unused, (now - 31 * 24 * 3600, now - 31 * 24 * 3600))

    opened(write_corpus(tmp_path / "later", {"alpha": make_clips(4)}))
    left = {path.name for path in folder.iterdir() if path.suffix != ".lock"}
    assert left & made.keys() == {".index-3.arrow.at-work", "index-4.arrow", "other"}
    assert not unused.exists()
    assert not (folder / "index-2.arrow.lock").exists()
    # Opening an index keeps it.
    assert len(left - made.keys()) == 1


def test_one_process_makes_a_file_while_others_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_corpus(tmp_path / "corpus", {"alpha": make_clips(3)})
    lock_was_seen = threading.Event()
    path = _index_cache.cache_folder() / "index-0.arrow"
    monkeypatch.setattr(_index_cache, "_POLL_S", 0.01)

    child = os.fork()
    if not child:
        with _index_cache._alone(path):
            (tmp_path / "held").touch()
            while not (tmp_path / "release").exists():
                lock_was_seen.wait(0.01)
        os._exit(0)
    while not (tmp_path / "held").exists():
        lock_was_seen.wait(0.01)

    def wait_for_it() -> bool:
        with _index_cache._alone(path):
            return (tmp_path / "release").exists()

    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(wait_for_it)
        lock_was_seen.wait(0.1)
        (tmp_path / "release").touch()
        assert waiting.result(30)
    os.waitpid(child, 0)
    assert opened(root).index.num_rows == 3


def test_the_oldest_indexes_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_corpus(tmp_path / "corpus", {"alpha": make_clips(40)})
    other = write_corpus(tmp_path / "other", {"alpha": make_clips(40)})
    opened(root)
    (first,) = cached(tmp_path)
    os.utime(first, (1, 1))
    limit_gib = first.stat().st_size * 1.5 / 2**30
    monkeypatch.setenv("SURGREC_INDEX_CACHE_GIB", f"{limit_gib}")
    index = opened(other).index
    assert len(cached(tmp_path)) == 1
    assert not first.exists()
    assert opened(root).index.key(7) == index.key(7)


@pytest.mark.parametrize("limit", ["many", "-1", "nan"])
def test_a_limit_that_is_not_a_number_is_refused(
    limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_corpus(tmp_path / "corpus", {"alpha": make_clips(4)})
    monkeypatch.setenv("SURGREC_INDEX_CACHE_GIB", limit)
    with pytest.raises(ConfigError, match=f"SURGREC_INDEX_CACHE_GIB is '{limit}'; give the most"):
        opened(root)
