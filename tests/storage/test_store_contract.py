"""The contract of every store, for a folder and a real S3 server alike."""

import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path

import boto3
import pytest

from surgrec.errors import MissingError, StorageError
from surgrec.storage import Store, open_store

SHARD = bytes(range(256)) * 4096
"""1 MiB in which the bytes of a short range identify its offset modulo 256."""


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return open_store(tmp_path / "corpus")
    return open_store(request.getfixturevalue("s3_address"))


def test_a_store_says_whether_it_is_a_local_folder(store: Store) -> None:
    assert store.is_local == (not store.address.startswith("s3://"))


def test_written_bytes_come_back(store: Store) -> None:
    store.write("cholec80/index.parquet", SHARD)
    assert store.read("cholec80/index.parquet") == SHARD
    assert store.size("cholec80/index.parquet") == len(SHARD)
    assert store.exists("cholec80/index.parquet")


def test_an_empty_file_is_a_file(store: Store) -> None:
    store.write("empty", b"")
    assert store.read("empty") == b""
    assert store.size("empty") == 0
    assert store.exists("empty")


def test_writing_again_replaces(store: Store) -> None:
    store.write("corpus.json", b"a long first version")
    store.write("corpus.json", b"second")
    assert store.read("corpus.json") == b"second"
    assert store.list() == ["corpus.json"]


def test_a_version_changes_with_the_file_and_only_then(store: Store) -> None:
    store.write("alpha/index.parquet", b"one")
    first = store.version("alpha/index.parquet")
    assert store.version("alpha/index.parquet") == first
    store.write("alpha/index.parquet", b"two")
    assert store.version("alpha/index.parquet") != first
    with pytest.raises(MissingError, match=r"index\.parque\b"):
        store.version("alpha/index.parque")


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 1), (5, 250), (len(SHARD) - 7, 7), (0, len(SHARD)), (100, 0)]
)
def test_a_range_is_exactly_what_was_asked_for(store: Store, offset: int, size: int) -> None:
    store.write("shard.tar", SHARD)
    assert store.read_range("shard.tar", offset, size) == SHARD[offset : offset + size]


@pytest.mark.parametrize(
    ("offset", "size"),
    [(len(SHARD) - 7, 8), (len(SHARD), 1), (len(SHARD) + 99, 5), (-1, 4), (4, -1)],
)
def test_a_range_beyond_the_file_is_an_error_and_never_short(
    store: Store, offset: int, size: int
) -> None:
    store.write("shard.tar", SHARD)
    with pytest.raises(StorageError, match=r"shard\.tar") as failure:
        store.read_range("shard.tar", offset, size)
    assert not isinstance(failure.value, MissingError)


@pytest.mark.parametrize("size", [0, 1, 20_000_000])
def test_a_local_file_of_any_size_is_uploaded(store: Store, tmp_path: Path, size: int) -> None:
    path = tmp_path / "spool.tar"
    path.write_bytes((SHARD * (size // len(SHARD) + 1))[:size])
    store.upload("cholec80/cholec80-train-00000000.tar", path)
    assert store.read("cholec80/cholec80-train-00000000.tar") == path.read_bytes()
    assert path.stat().st_size == size


def test_uploading_a_missing_file_names_it(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"gone\.tar"):
        store.upload("shard.tar", tmp_path / "gone.tar")
    assert not store.exists("shard.tar")


def test_listing_gives_sorted_names_with_the_prefix_at_any_depth(store: Store) -> None:
    names = ["a/b/c.tar", "a/b.tar", "ab.tar", "a-b/x y+ü.json", "corpus.json"]
    for name in names:
        store.write(name, b"x")
    assert store.list() == sorted(names)
    assert store.list("a/") == ["a/b.tar", "a/b/c.tar"]
    assert store.list("a/b") == ["a/b.tar", "a/b/c.tar"]
    assert store.list("a") == sorted(name for name in names if name.startswith("a"))
    assert store.list("cor") == ["corpus.json"]
    assert store.list("no/such/folder/") == []


def test_a_store_does_not_see_its_neighbor_of_a_similar_name(store: Store) -> None:
    open_store(f"{store.address}2").write("corpus.json", b"another corpus")
    assert store.list() == []
    assert not store.exists("corpus.json")


def test_a_new_store_is_empty(store: Store) -> None:
    assert store.list() == []
    assert not store.exists("corpus.json")


def test_reading_a_missing_file_names_its_path(store: Store) -> None:
    for call in (store.read, store.size, lambda name: store.read_range(name, 0, 4)):
        with pytest.raises(MissingError, match=r"cholec80/gone\.tar"):
            call("cholec80/gone.tar")


def test_a_folder_is_not_a_file(store: Store) -> None:
    store.write("cholec80/index.parquet", b"x")
    assert not store.exists("cholec80")
    for call in (store.read, store.size, lambda name: store.read_range(name, 0, 4)):
        with pytest.raises(MissingError, match="cholec80"):
            call("cholec80")


def test_deleting_removes_and_may_be_repeated(store: Store) -> None:
    store.write("withdrawn.tar", b"x")
    store.delete("withdrawn.tar")
    store.delete("withdrawn.tar")
    assert not store.exists("withdrawn.tar")
    assert store.list() == []


@pytest.mark.parametrize(
    "name",
    ["../outside", "a/../../b", "/etc/passwd", "a//b", "./a", "a/", "", "a\\b", "a\nb", "a\0b"],
)
def test_a_name_that_could_lead_outside_is_refused(store: Store, tmp_path: Path, name: str) -> None:
    calls = [store.read, store.size, store.exists, store.delete, store.locate]
    calls += [lambda name: store.write(name, b"x"), lambda name: store.read_range(name, 0, 1)]
    calls += [lambda name: store.upload(name, Path(__file__))]
    for call in calls:
        with pytest.raises(StorageError, match="cannot name a file in"):
            call(name)
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("prefix", ["../", "/etc", "a/../../", "a\\"])
def test_a_prefix_that_could_lead_outside_is_refused(store: Store, prefix: str) -> None:
    with pytest.raises(StorageError, match="cannot name a file in"):
        store.list(prefix)


def test_a_store_is_its_address(store: Store) -> None:
    store.write("corpus.json", b"{}")
    again = open_store(store.address)
    copied = pickle.loads(pickle.dumps(store))
    assert {store, again, copied} == {store}
    assert copied.read("corpus.json") == b"{}"
    assert store.locate("a/b") == f"{store.address}/a/b"


def test_sixteen_threads_read_at_once(store: Store) -> None:
    store.write("shard.tar", SHARD)
    fresh = open_store(store.address)

    def read(offset: int) -> bool:
        return fresh.read_range("shard.tar", offset, 1000) == SHARD[offset : offset + 1000]

    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(read, range(0, 320_000, 1000))) == [True] * 320
    assert fresh.counters.total("bytes_read") == 320_000


def read_ranges(store: Store, ready: Barrier) -> None:
    """Read in a forked process; a wrong byte ends it with an error."""
    ready.wait(timeout=20)
    for offset in range(100):
        assert store.read_range("shard.tar", offset, 50) == SHARD[offset : offset + 50]


def test_a_store_that_was_used_before_a_fork_serves_parent_and_children(store: Store) -> None:
    store.write("shard.tar", SHARD)
    fork = multiprocessing.get_context("fork")
    ready = fork.Barrier(3)
    children = [fork.Process(target=read_ranges, args=(store, ready)) for _ in range(2)]
    for child in children:
        child.start()
    read_ranges(store, ready)
    for child in children:
        child.join(timeout=30)
    assert [child.exitcode for child in children] == [0, 0]


def test_a_file_is_replaced_only_while_it_has_the_version_that_was_seen(store: Store) -> None:
    assert store.can_replace()
    assert store.replace("corpus.json", b"one", None)
    assert not store.replace("corpus.json", b"two", None), "another process has created it"
    seen = store.version("corpus.json")
    assert store.replace("corpus.json", b"three", seen)
    assert not store.replace("corpus.json", b"four", seen), "another process has replaced it"
    assert store.read("corpus.json") == b"three"
    seen = store.version("corpus.json")
    store.delete("corpus.json")
    assert not store.replace("corpus.json", b"five", seen)
    assert store.list() == []


def test_of_writers_at_the_same_time_each_sees_the_others(store: Store) -> None:
    store.write("counts", b"")

    def add(number: int) -> None:
        own = open_store(store.address)
        while True:
            seen = own.version("counts")
            if own.replace("counts", own.read("counts") + bytes([number]), seen):
                return

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, range(24)))
    assert sorted(store.read("counts")) == list(range(24))


def test_bytes_of_killed_writes_are_removed_at_once(store: Store, tmp_path: Path) -> None:
    store.write("lap/a.tar", b"whole")
    if store.is_local:
        (Path(store.address) / "lap" / ".tmp-0815").write_bytes(b"part of a clip")
        store.remove_unfinished("lap/")
        assert [path.name for path in Path(store.address, "lap").iterdir()] == ["a.tar"]
        return

    client = boto3.client("s3")
    bucket, _, prefix = store.address.removeprefix("s3://").partition("/")
    for name in ("lap/b.tar", "other/c.tar"):
        key = f"{prefix}/{name}"
        upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=SHARD * 6)
    store.remove_unfinished("lap/")
    left = client.list_multipart_uploads(Bucket=bucket, Prefix=prefix).get("Uploads", [])
    assert [upload["Key"] for upload in left] == [f"{prefix}/other/c.tar"]
    assert store.read("lap/a.tar") == b"whole"
