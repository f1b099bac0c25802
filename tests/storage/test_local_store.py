"""Folders: addresses, atomic writes under kill and full disk."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from surgrec.errors import MissingError, StorageError
from surgrec.storage import RetryPolicy, open_store
from tests.support.files import leased
from tests.support.small_disk import small_disk

UPLOAD = """
import sys
from pathlib import Path
from surgrec.storage import open_store
open_store(sys.argv[1]).upload("a.tar", Path(sys.argv[2]))
"""


@pytest.fixture
def disk_of_1_mib(tmp_path: Path) -> Iterator[Path]:
    """Folder of a real file system of 1 MiB."""
    with small_disk(tmp_path / "disk", 1024):
        yield tmp_path / "disk"


def test_an_address_is_absolute_and_its_tilde_expanded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert open_store("~/corpus").address == str(tmp_path / "corpus")
    assert open_store("corpus/").address == str(tmp_path / "corpus")
    assert open_store(Path("corpus")) == open_store("~/corpus")


@pytest.mark.parametrize(
    "address", ["gs://bucket/x", "https://host/x", "file:///tmp/x", "s3:/bucket/x", ""]
)
def test_an_address_of_no_store_is_refused(address: str) -> None:
    with pytest.raises(StorageError, match=f"^'{address}' is not the address of a store"):
        open_store(address)


def test_an_s3_address_that_went_through_a_path_is_refused() -> None:
    with pytest.raises(StorageError, match="'s3:/bucket/x'"):
        open_store(Path("s3://bucket/x"))


def test_a_local_store_does_not_import_boto3(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    code = (
        "import sys, surgrec.storage as s; s.open_store(sys.argv[1]).read('x'); print(*sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert {"boto3", "botocore", "torch"}.isdisjoint(run.stdout.split())
    assert "surgrec.storage._local" in run.stdout.split()


def test_a_process_killed_in_the_middle_of_a_write_leaves_the_old_file(tmp_path: Path) -> None:
    store = open_store(tmp_path / "corpus")
    store.write("a.tar", b"the old version")
    source = tmp_path / "source"
    os.mkfifo(source)
    writer = subprocess.Popen([sys.executable, "-c", UPLOAD, store.address, str(source)])
    with source.open("wb") as pipe:  # the writer waits for the rest
        pipe.write(bytes(3 << 20))
        pipe.flush()
        deadline = time.monotonic() + 20
        while not any(path.stat().st_size for path in Path(store.address).glob(".tmp-*")):
            assert time.monotonic() < deadline, "the writer never began"
            time.sleep(0.005)
        writer.send_signal(signal.SIGKILL)
        assert writer.wait() == -signal.SIGKILL
    assert store.read("a.tar") == b"the old version"
    assert store.list() == ["a.tar"]
    assert len(list(Path(store.address).glob(".tmp-*"))) == 1


def test_the_check_for_writing_leaves_nothing_behind(tmp_path: Path) -> None:
    open_store(tmp_path / "new" / "corpus").check_writable()
    assert list((tmp_path / "new").rglob("*")) == [tmp_path / "new" / "corpus"]


def test_leftovers_of_killed_processes_are_removed_but_no_file_in_use(
    tmp_path: Path,
) -> None:
    (tmp_path / "cholec80").mkdir()
    abandoned, written = tmp_path / "cholec80" / ".tmp-dead", tmp_path / "cholec80" / ".tmp-alive"
    abandoned.write_bytes(b"x")
    written.write_bytes(b"x")
    os.utime(abandoned, (time.time() - 7200, time.time() - 7200))
    open_store(tmp_path).check_writable()
    assert not abandoned.exists()
    assert written.exists()


def test_a_full_disk_is_reported_with_the_bytes_needed_and_leaves_no_file(
    disk_of_1_mib: Path,
) -> None:
    store = open_store(disk_of_1_mib)
    store.write("cholec80/index.parquet", bytes(1000))
    source = disk_of_1_mib.parent / "spool.tar"
    source.write_bytes(bytes(2_000_000))
    with pytest.raises(
        StorageError,
        match=r"disk full writing .*/disk/cholec80/a\.tar: 2000000 bytes needed; free space",
    ):
        store.write("cholec80/a.tar", bytes(2_000_000))
    with pytest.raises(
        StorageError,
        match=r"disk full writing .*/disk/cholec80/a\.tar: 2000000 bytes needed; free space",
    ):
        store.upload("cholec80/a.tar", source)
    assert [path.name for path in (disk_of_1_mib / "cholec80").iterdir()] == ["index.parquet"]
    store.write("cholec80/b.tar", bytes(500_000))


def test_a_read_only_disk_is_found_by_the_check(disk_of_1_mib: Path) -> None:
    open_store(disk_of_1_mib).check_writable()
    subprocess.run(["mount", "-o", "remount,ro", str(disk_of_1_mib)], check=True)
    with pytest.raises(StorageError, match=rf"{disk_of_1_mib}.*Read-only file system"):
        open_store(disk_of_1_mib).check_writable()


def test_a_file_where_a_folder_should_be_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "corpus").write_text("not a folder")
    store = open_store(tmp_path / "corpus")
    with pytest.raises(StorageError, match=f"{tmp_path}/corpus is not a folder; move it away"):
        store.check_writable()
    with pytest.raises(StorageError, match=f"{tmp_path}/corpus"):
        store.list()


def test_linked_sources_are_read_and_listed(tmp_path: Path) -> None:
    open_store(tmp_path / "elsewhere").write("index.parquet", b"linked")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "cholec80").symlink_to(tmp_path / "elsewhere")
    store = open_store(tmp_path / "corpus")
    assert store.list() == ["cholec80/index.parquet"]
    assert store.read("cholec80/index.parquet") == b"linked"


def test_new_files_have_the_permissions_the_user_asked_for(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        open_store(tmp_path).write("corpus.json", b"{}")
    finally:
        os.umask(before)
    assert (tmp_path / "corpus.json").stat().st_mode & 0o777 == 0o640


def test_a_read_that_hangs_ends_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "shard.tar").write_bytes(b"0123456789")
    store = open_store(tmp_path, policy=RetryPolicy(deadline_s=0.2))
    with leased(tmp_path / "shard.tar"):
        for read in (lambda: store.read("shard.tar"), lambda: store.read_range("shard.tar", 1, 4)):
            with pytest.raises(
                StorageError, match=rf"^{tmp_path}/shard\.tar cannot be read: its disk or network"
            ):
                read()
        assert store.size("shard.tar") == 10
    assert store.read("shard.tar") == b"0123456789"


def test_a_named_pipe_neither_hangs_nor_counts_as_missing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "corpus.json")
    store = open_store(tmp_path)
    for ask in (
        lambda: store.read("corpus.json"),
        lambda: store.read_range("corpus.json", 0, 1),
        lambda: store.size("corpus.json"),
        lambda: store.exists("corpus.json"),
    ):
        with pytest.raises(StorageError, match=r"corpus\.json: a named pipe, not a") as failure:
            ask()
        assert not isinstance(failure.value, MissingError)


def test_a_range_of_absurd_size_allocates_nothing(tmp_path: Path) -> None:
    (tmp_path / "shard.tar").write_bytes(b"0123456789")
    for offset, size in ((0, 2**62), (2**62, 1), (5, 2**40), (2**40, 2**40)):
        with pytest.raises(StorageError, match=r"shard\.tar ends before the requested bytes"):
            open_store(tmp_path).read_range("shard.tar", offset, size)


def test_a_listing_with_loops_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/shard.tar").write_bytes(b"1")
    for number in range(8):
        (tmp_path / f"a/b/up{number}").symlink_to(tmp_path / "a")
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    (tmp_path / "again").symlink_to(tmp_path / "a/b")
    names = open_store(tmp_path).list()
    assert {"a/b/shard.tar", "again/shard.tar"} <= set(names)
    assert len(names) < 30
