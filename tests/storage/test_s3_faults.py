"""Failures of the object store, each on demand from a faulty server."""

import logging
import time
from pathlib import Path

import pytest

from surgrec.errors import MissingError, StorageError
from surgrec.storage import RetryPolicy, Store, open_store
from surgrec.storage.s3 import CHUNK_BYTES
from surgrec.storage.seaweed import free_ports
from tests.support.s3 import Fault, FaultyS3, etag

DATA = bytes(range(251)) * 4000
"""1 MB that no shift maps onto itself."""
PASSING: list[Fault] = [
    "slow_down",
    "internal_error",
    "request_timeout",
    "bad_gateway",
    "no_answer",
    "reset",
    "truncate",
    "stall",
    "short",
]
WHOLE: list[Fault] = [fault for fault in PASSING if fault != "short"]
"""Without a range, a short response of consistent length looks like a short file."""
BROKEN: list[Fault] = ["reset", "truncate", "stall", "short"]

DEADLINE_S = 4.0


@pytest.fixture
def store(faulty_s3: FaultyS3) -> Store:
    faulty_s3.objects["x/shard.tar"] = DATA
    policy = RetryPolicy(
        deadline_s=DEADLINE_S, first_delay_s=0.005, max_delay_s=0.05, read_timeout_s=0.8
    )
    return open_store("s3://corpora/x", policy=policy)


@pytest.mark.parametrize("fault", PASSING)
def test_a_range_comes_whole_in_spite_of(fault: Fault, store: Store, faulty_s3: FaultyS3) -> None:
    faulty_s3.faults.extend([fault, fault])
    assert store.read_range("shard.tar", 1000, 600_000) == DATA[1000:601_000]
    assert not faulty_s3.faults
    assert len(faulty_s3.requests) == 3
    assert store.counters.total("retries") == 2


@pytest.mark.parametrize("fault", WHOLE)
def test_a_file_comes_whole_in_spite_of(fault: Fault, store: Store, faulty_s3: FaultyS3) -> None:
    faulty_s3.faults.append(fault)
    assert store.read("shard.tar") == DATA
    assert len(faulty_s3.requests) == 2


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_answer_is_resumed_where_it_broke(
    fault: Fault, store: Store, faulty_s3: FaultyS3
) -> None:
    faulty_s3.faults.append(fault)
    store.read_range("shard.tar", 0, 800_000)
    first, second = (request.range for request in faulty_s3.requests)
    assert first == "bytes=0-799999"
    start, _, last = second.removeprefix("bytes=").partition("-")
    assert 400_000 - CHUNK_BYTES <= int(start) <= 400_000
    assert last == "799999"


@pytest.mark.parametrize("honored", [("Range", "If-Match"), ("Range",)])
def test_a_file_that_changes_while_it_is_read_is_never_mixed(
    honored: tuple[str, ...], store: Store, faulty_s3: FaultyS3
) -> None:
    faulty_s3.honored = honored
    faulty_s3.faults.append("replace")
    with pytest.raises(
        StorageError, match=r"s3://corpora/x/shard\.tar changed while it was being read"
    ):
        store.read("shard.tar")
    assert [request.if_match for request in faulty_s3.requests][:2] == ["", etag(DATA)]
    assert store.read("shard.tar") == bytes(reversed(DATA))


def test_a_store_that_ignores_ranges_is_named(store: Store, faulty_s3: FaultyS3) -> None:
    faulty_s3.honored = ()
    assert store.read("shard.tar") == DATA
    for offset in (0, 1000):
        with pytest.raises(
            StorageError,
            match=r"s3://corpora/x/shard\.tar is in a store that serves no byte ranges",
        ):
            store.read_range("shard.tar", offset, 1000)


@pytest.mark.parametrize(
    ("fault", "kind", "sentence"),
    [
        (
            "access_denied",
            StorageError,
            r"s3://corpora/x/shard\.tar cannot be accessed with these credentials",
        ),
        (
            "storage_full",
            StorageError,
            r"s3://corpora/x/shard\.tar: StorageFull \(as the test asked\); check the store",
        ),
        ("NoSuchKey", MissingError, r"s3://corpora/x/shard\.tar does not exist"),
        (
            "NoSuchBucket",
            MissingError,
            r"s3://corpora/x/shard\.tar is in a bucket that does not exist",
        ),
    ],
)
def test_a_permanent_fault_fails_without_a_retry(
    fault: Fault, kind: type[StorageError], sentence: str, store: Store, faulty_s3: FaultyS3
) -> None:
    # After a denial, the client signs the request itself: a presigned address may be too old or
    # unwelcome.
    faulty_s3.faults.extend([fault] * (2 if fault == "access_denied" else 1))
    with pytest.raises(kind, match=sentence):
        store.read_range("shard.tar", 0, 10)
    assert not faulty_s3.faults
    assert len(faulty_s3.requests) == (2 if fault == "access_denied" else 1)


def test_a_store_that_refuses_presigned_addresses_is_still_read(
    store: Store, faulty_s3: FaultyS3
) -> None:
    for _ in range(3):
        faulty_s3.faults.append("access_denied")
        assert store.read_range("shard.tar", 5, 10) == DATA[5:15]
    assert len(faulty_s3.requests) == 6
    assert store.read_range("shard.tar", 5, 10) == DATA[5:15]
    assert len(faulty_s3.requests) == 7, "presigned addresses must be given up"
    assert store.counters.total("retries") == 0


def test_one_signature_serves_many_ranges(store: Store, faulty_s3: FaultyS3) -> None:
    for offset in (0, 1000, 2000):
        assert store.read_range("shard.tar", offset, 10) == DATA[offset : offset + 10]
    assert len({request.signature for request in faulty_s3.requests}) == 1
    assert faulty_s3.requests[0].signature


def test_a_long_outage_ends_with_the_address_the_time_and_the_last_cause(
    store: Store, faulty_s3: FaultyS3
) -> None:
    faulty_s3.faults.extend(["slow_down"] * 10_000)
    started = time.monotonic()
    with pytest.raises(
        StorageError,
        match=r"^s3://corpora/x/shard\.tar: \d+ requests failed within \d+\.\d s, .* SlowDown",
    ):
        store.read("shard.tar")
    assert time.monotonic() - started >= DEADLINE_S
    assert len(faulty_s3.requests) > 10


def test_a_long_outage_is_logged_while_it_lasts(
    store: Store, faulty_s3: FaultyS3, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        faulty_s3.faults.extend(["slow_down", "slow_down"])
        store.size("shard.tar")
        assert caplog.messages == []
        faulty_s3.faults.extend(["slow_down"] * 3)
        store.read("shard.tar")
    assert len(caplog.messages) == 1
    assert "s3://corpora/x/shard.tar: SlowDown" in caplog.messages[0]


def test_repeated_outages_are_logged_at_most_every_few_seconds(
    store: Store,
    faulty_s3: FaultyS3,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            faulty_s3.faults.extend(["slow_down"] * 5)
            store.read("shard.tar")
        assert len(caplog.messages) == 1
        monkeypatch.setattr("surgrec.storage._failures.WARNED_EVERY_S", 0.0)
        faulty_s3.faults.extend(["slow_down"] * 5)
        store.read("shard.tar")
    assert len(caplog.messages) == 4


@pytest.mark.parametrize("fault", ["slow_down", "internal_error", "no_answer"])
def test_a_write_is_sent_again(
    fault: Fault, store: Store, faulty_s3: FaultyS3, tmp_path: Path
) -> None:
    faulty_s3.faults.extend([fault, fault])
    store.write("index.parquet", DATA)
    assert faulty_s3.objects["x/index.parquet"] == DATA
    assert len(faulty_s3.requests) == 3


def test_an_upload_is_sent_again(store: Store, faulty_s3: FaultyS3, tmp_path: Path) -> None:
    (tmp_path / "spool.tar").write_bytes(DATA)
    faulty_s3.faults.append("slow_down")
    store.upload("new.tar", tmp_path / "spool.tar")
    assert faulty_s3.objects["x/new.tar"] == DATA
    assert [request.method for request in faulty_s3.requests] == ["PUT", "PUT", "HEAD"]


def test_a_refused_upload_fails_at_once(store: Store, faulty_s3: FaultyS3, tmp_path: Path) -> None:
    (tmp_path / "spool.tar").write_bytes(DATA)
    faulty_s3.faults.append("access_denied")
    with pytest.raises(StorageError, match=r"s3://corpora/x/new\.tar cannot be accessed"):
        store.upload("new.tar", tmp_path / "spool.tar")
    assert len(faulty_s3.requests) == 1


def test_the_check_for_writing_leaves_nothing_behind(store: Store, faulty_s3: FaultyS3) -> None:
    store.check_writable()
    assert [request.method for request in faulty_s3.requests] == ["PUT", "DELETE"]
    assert set(faulty_s3.objects) == {"x/shard.tar"}


def test_the_check_for_writing_does_not_wait_as_long_as_a_run_would(
    faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surgrec.storage.s3.CHECK_DEADLINE_S", 0.2)
    faulty_s3.faults.extend(["slow_down"] * 10_000)
    with pytest.raises(
        StorageError, match=r"s3://corpora/x/.*: \d+ requests failed within 0\.\d s"
    ):
        open_store("s3://corpora/x").check_writable()


def test_a_listing_reads_all_pages_in_spite_of_a_failure_between_them(
    store: Store, faulty_s3: FaultyS3
) -> None:
    for number in range(5):
        faulty_s3.objects[f"x/s/{number}.tar"] = b""
    faulty_s3.objects |= {"x/": b"", "x/s/": b"", "x/s/.tmp-1": b"", "xy/s/9.tar": b""}
    faulty_s3.faults.append("internal_error")
    assert store.list("s/") == [f"s/{number}.tar" for number in range(5)]
    assert len(faulty_s3.requests) == 1 + 4
    assert store.list() == [*(f"s/{number}.tar" for number in range(5)), "shard.tar"]


def test_a_whole_bucket_is_a_store(store: Store, faulty_s3: FaultyS3) -> None:
    bucket = open_store("s3://corpora/")
    bucket.write("corpus.json", b"{}")
    assert bucket.list() == ["corpus.json", "x/shard.tar"]
    assert bucket.locate("corpus.json") == "s3://corpora/corpus.json"


def test_a_new_retry_waits_longer_on_average_but_never_beyond_the_bound() -> None:
    policy = RetryPolicy(first_delay_s=0.1, max_delay_s=1.0)
    for failures, longest_s in [(1, 0.1), (2, 0.2), (4, 0.8), (5, 1.0), (5000, 1.0)]:
        delays = [policy.delay_s(failures) for _ in range(500)]
        assert max(delays) <= longest_s
        assert longest_s * 0.4 < sum(delays) / 500 < longest_s * 0.6
        assert min(delays) < longest_s * 0.1


def test_a_store_that_has_never_answered_is_given_up_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_ports(1)[0]}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    policy = RetryPolicy(first_answer_s=0.2, first_delay_s=0.005, max_delay_s=0.05)
    with pytest.raises(
        StorageError, match=r"^s3://corpora/x/a: \d+ requests failed within \d\.\d s, .* Endpoint"
    ):
        open_store("s3://corpora/x", policy=policy).read("a")


def test_a_store_that_throttles_its_first_requests_is_waited_for(
    store: Store, faulty_s3: FaultyS3
) -> None:
    faulty_s3.faults.extend(["slow_down"] * 30)
    policy = RetryPolicy(first_answer_s=0.0, first_delay_s=0.005, max_delay_s=0.005)
    assert open_store("s3://corpora/x", policy=policy).read("shard.tar") == DATA
