import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from surgrec.errors import CacheError, StorageError
from surgrec.storage import DiskCache, RetryPolicy, Store, WholeFile, open_store
from tests.support.s3 import FaultyS3
from tests.support.small_disk import small_disk

DATA = bytes(range(251)) * 80_000
"""20 MB: three parts."""
SHA256 = hashlib.sha256(DATA).hexdigest()
LIMIT = 50_000_000


def always() -> bool:
    return True


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(tmp_path / "store")
    store.write("a/shard.tar", DATA)
    return store


@pytest.fixture
def cache(tmp_path: Path) -> DiskCache:
    cache = DiskCache(tmp_path / "cache", LIMIT)
    cache.prepare()
    return cache


def whole(store: Store, sha256: str = SHA256) -> WholeFile:
    return WholeFile(store=store, name="a/shard.tar", bytes=len(DATA), sha256=sha256)


def test_a_file_that_was_added_is_read_by_range(cache: DiskCache, store: Store) -> None:
    assert cache.read_range(SHA256, 0, 10) is None
    assert cache.add(whole(store), should_continue=always)
    assert cache.read_range(SHA256, 8_000_000, 1_000_000) == DATA[8_000_000:9_000_000]
    assert cache.files() == {SHA256: len(DATA)}
    cache.drop(SHA256)
    assert cache.read_range(SHA256, 0, 10) is None
    cache.drop(SHA256)


def test_a_file_with_other_bytes_than_its_corpus_says_never_gets_a_name(
    cache: DiskCache, store: Store
) -> None:
    with pytest.raises(
        StorageError,
        match=rf"a/shard\.tar has the SHA-256 {SHA256[:12]}, but its corpus lists 0000",
    ):
        cache.add(whole(store, sha256="0" * 64), should_continue=always)
    assert list(cache.folder.iterdir()) == []


@pytest.mark.parametrize("sha256", ["../../etc/passwd", "", "A" * 64, SHA256 + "/x"])
def test_a_name_that_is_not_a_sha256_is_refused(cache: DiskCache, sha256: str) -> None:
    with pytest.raises(
        StorageError, match=r"the corpus lists the digest '.*', which is not a SHA-256; build"
    ):
        cache.read_range(sha256, 0, 10)


def test_a_truncated_file_is_a_miss_and_is_removed(cache: DiskCache, store: Store) -> None:
    cache.add(whole(store), should_continue=always)
    os.truncate(cache.folder / f"{SHA256}.tar", 1000)
    assert cache.read_range(SHA256, 900, 200) is None
    assert cache.files() == {}


def test_failed_requests_are_retried_and_the_cached_file_is_intact(
    cache: DiskCache, faulty_s3: FaultyS3
) -> None:
    faulty_s3.objects["a/shard.tar"] = DATA
    faulty_s3.faults.extend(["truncate", "reset", "slow_down"])
    policy = RetryPolicy(deadline_s=5.0, first_delay_s=0.01, max_delay_s=0.05)
    assert cache.add(whole(open_store("s3://corpora", policy=policy)), should_continue=always)
    assert (cache.folder / f"{SHA256}.tar").read_bytes() == DATA


def test_adding_can_be_stopped_between_parts_and_leaves_no_file(
    cache: DiskCache, store: Store
) -> None:
    answers = iter([True, False, False])
    assert not cache.add(whole(store), should_continue=lambda: next(answers))
    assert list(cache.folder.iterdir()) == []


def test_adding_without_enough_room_fails_an_assertion(cache: DiskCache, store: Store) -> None:
    with pytest.raises(AssertionError, match="room"):
        DiskCache(cache.folder, len(DATA) - 1).add(whole(store), should_continue=always)


def test_a_full_disk_is_reported_before_any_read_and_leaves_no_file(
    store: Store, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, 8192):
        cache = DiskCache(disk / "cache", LIMIT)
        cache.prepare()
        read = store.counters.total("bytes_read")
        with pytest.raises(
            CacheError,
            match=r"No space left on device while 20 MB were added; free disk space, or lower",
        ):
            cache.add(whole(store), should_continue=always)
        assert store.counters.total("bytes_read") == read
        assert list(cache.folder.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_refused_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        CacheError, match=r"file/cache: Not a directory; choose a cache_dir on a local disk"
    ):
        DiskCache(tmp_path / "file" / "cache", LIMIT).prepare()


HOLDER = """
import sys
from pathlib import Path
from surgrec.storage import DiskCache
cache = DiskCache(Path(sys.argv[1]), 50_000_000)
print(cache.try_hold() is not None, flush=True)
sys.stdin.read()
"""


def test_one_process_adds_and_the_next_cleans_up_after_a_killed_one(
    cache: DiskCache,
) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, cache.folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    assert cache.try_hold() is None
    half = cache.folder / f".tmp-{SHA256}.tar"
    half.write_bytes(DATA[:1000])
    holder.kill()
    holder.communicate()
    lock = cache.try_hold()
    assert lock is not None
    assert not half.exists()
    lock.release()


def test_cached_shards_are_closed_to_other_users(cache: DiskCache, store: Store) -> None:
    cache.add(whole(store), should_continue=always)
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((cache.folder / f"{SHA256}.tar").stat().st_mode) == 0o600


def test_a_folder_that_others_can_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    with pytest.raises(CacheError, match=r"shared belongs to another user, or others can write"):
        DiskCache(tmp_path / "shared", LIMIT).prepare()
    DiskCache(tmp_path / "shared/mine", LIMIT).prepare()


def test_a_pipe_and_a_link_loop_in_the_cache_are_misses(cache: DiskCache) -> None:
    os.mkfifo(cache.folder / f"{SHA256}.tar")
    assert cache.read_range(SHA256, 0, 10) is None
    other = "0" * 64
    (cache.folder / f"{other}.tar").symlink_to(f"{other}.tar")
    assert cache.read_range(other, 0, 10) is None
