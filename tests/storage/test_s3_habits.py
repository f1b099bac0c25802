"""Stores and proxies with peculiar answers: each is read right, or refused in one sentence."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from surgrec.errors import MissingError, StorageError
from surgrec.storage import RetryPolicy, Store, open_store
from tests.support.s3 import Fault, FaultyHandler, FaultyS3, Habit

DATA = bytes(range(251)) * 4000


@pytest.fixture
def store(faulty_s3: FaultyS3) -> Store:
    faulty_s3.objects |= {"x/shard.tar": DATA, "x/empty": b""}
    policy = RetryPolicy(deadline_s=2.0, first_delay_s=0.005, max_delay_s=0.05, read_timeout_s=0.3)
    return open_store("s3://corpora/x", policy=policy)


LENGTHS: list[set[Habit]] = [
    {"chunked"},
    {"chunked", "no_length_of_head"},
    {"unsized"},
    {"chunked", "weak"},
    {"chunked", "no_etag", "no_date"},
    {"unsized", "no_etag"},
]


def _in_order(habits: set[Habit]) -> str:
    """Return a name that is the same in every process: the order of a set is not."""
    return " ".join(sorted(habits))


@pytest.mark.parametrize("habits", LENGTHS, ids=_in_order)
@pytest.mark.parametrize("faults", [[], ["truncate"], ["reset", "slow_down", "truncate"]])
def test_a_body_without_a_length_is_read_to_its_end(
    habits: set[Habit], faults: list[Fault], store: Store, faulty_s3: FaultyS3
) -> None:
    faulty_s3.habits |= habits
    faulty_s3.faults.extend(faults)
    assert store.read("shard.tar") == DATA
    assert store.read("empty") == b""
    assert store.read_range("shard.tar", 5000, 700_000) == DATA[5000:705_000]
    assert store.size("shard.tar") == len(DATA)


def test_an_unsized_body_without_any_length_is_refused(store: Store, faulty_s3: FaultyS3) -> None:
    faulty_s3.habits |= {"unsized", "no_length_of_head"}
    faulty_s3.honored = ("If-Match",)
    with pytest.raises(StorageError, match=r"x/shard\.tar is in a store that states no Content-L"):
        store.read("shard.tar")


def test_a_compressing_proxy_is_named(store: Store, faulty_s3: FaultyS3) -> None:
    faulty_s3.habits |= {"compressed", "weak"}
    with pytest.raises(StorageError, match=r"x/shard\.tar arrives with the Content-Encoding 'gzi"):
        store.read("shard.tar")


TAGS: list[set[Habit]] = [
    {"weak"},
    {"weak_whole"},
    {"no_etag"},
    {"no_date"},
    {"no_etag", "no_date"},
]


@pytest.mark.parametrize("habits", TAGS, ids=_in_order)
def test_a_broken_body_is_resumed_with_any_etag(
    habits: set[Habit], store: Store, faulty_s3: FaultyS3
) -> None:
    faulty_s3.habits |= habits
    faulty_s3.faults.extend(["truncate", "slow_down", "reset"])
    assert store.read("shard.tar") == DATA
    faulty_s3.faults.extend(["truncate", "reset"])
    assert store.read_range("shard.tar", 5000, 700_000) == DATA[5000:705_000]


@pytest.mark.parametrize("habits", [{"weak"}, {"no_etag"}], ids=_in_order)
def test_a_change_is_seen_without_a_strong_etag(
    habits: set[Habit], store: Store, faulty_s3: FaultyS3
) -> None:
    faulty_s3.habits |= habits
    faulty_s3.faults.append("replace")
    with pytest.raises(StorageError, match=r"shard\.tar changed while it was being read"):
        store.read("shard.tar")


def test_without_any_version_a_changed_object_is_read_anew(
    store: Store, faulty_s3: FaultyS3
) -> None:
    faulty_s3.habits |= {"no_etag", "no_date"}
    faulty_s3.faults.append("replace")
    assert store.read("shard.tar") == bytes(reversed(DATA))


def test_a_version_needs_an_etag_or_a_date(store: Store, faulty_s3: FaultyS3) -> None:
    strong = store.version("shard.tar")
    faulty_s3.habits.add("weak")
    assert store.version("shard.tar") == strong
    faulty_s3.habits.add("no_etag")
    dated = store.version("shard.tar")
    faulty_s3.modified = "Sun, 29 Nov 2026 08:00:00 GMT"
    assert store.version("shard.tar") != dated
    faulty_s3.habits.add("no_date")
    with pytest.raises(StorageError, match=r"gives neither an ETag nor Last-Modified"):
        store.version("shard.tar")


def test_a_size_needs_no_head_with_a_length(store: Store, faulty_s3: FaultyS3) -> None:
    faulty_s3.habits |= {"no_length_of_head"}
    assert store.size("shard.tar") == len(DATA)
    assert store.size("empty") == 0
    assert store.exists("shard.tar")


LISTINGS: list[set[Habit]] = [set(), {"no_token"}, {"no_truncated"}]


@pytest.mark.parametrize("habits", LISTINGS, ids=_in_order)
def test_a_listing_is_read_to_its_end(
    habits: set[Habit], store: Store, faulty_s3: FaultyS3
) -> None:
    faulty_s3.habits |= habits
    names = [f"s/{name}" for name in ("ä+b", "a b", "a&b", "c", "z")]
    faulty_s3.objects |= {f"x/{name}": b"" for name in names}
    assert store.list("s/") == sorted(names)


@pytest.mark.parametrize("habits", [{"no_token", "ignores_start_after"}, {"same_token"}])
def test_a_listing_that_does_not_advance_is_refused(
    habits: set[Habit], store: Store, faulty_s3: FaultyS3
) -> None:
    faulty_s3.habits |= habits
    faulty_s3.objects |= {f"x/s/{name}": b"" for name in "abcde"}
    with pytest.raises(StorageError, match=r"x/s is in a store whose listing does not advance"):
        store.list("s/")


@pytest.mark.parametrize("habit", ["drips", "drips_headers"])
def test_a_store_that_drips_bytes_is_given_up(
    habit: Habit, store: Store, faulty_s3: FaultyS3
) -> None:
    store.size("shard.tar")
    faulty_s3.habits.add(habit)
    with pytest.raises(StorageError, match=r"x/shard\.tar: \d+ requests? failed within \d\.\d s"):
        store.read_range("shard.tar", 0, 500_000)


@pytest.fixture
def patient(store: Store) -> Store:
    """The store for a busy machine: its answers need no timeout."""
    return open_store("s3://corpora/x", policy=RetryPolicy(deadline_s=30.0, read_timeout_s=20.0))


def answer_with(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Answer every GET with these bytes."""

    def do_get(handler: FaultyHandler) -> None:
        handler.begin("")
        handler.close_connection = True
        handler.send(data)

    monkeypatch.setattr(FaultyHandler, "do_GET", do_get)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ("".join(f"X{number}: 1\r\n" for number in range(5000)), "got more than 100 headers"),
        (f"X-Long: {'x' * 200_000}\r\n", "got more than 65536 bytes when reading header line"),
    ],
    ids=["many", "long"],
)
def test_headers_beyond_the_limits_are_named_at_once(
    headers: str, words: str, patient: Store, faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(monkeypatch, f"HTTP/1.1 200 OK\r\n{headers}Content-Length: 0\r\n\r\n".encode())
    with pytest.raises(StorageError, match=r"x/shard.tar: the headers of the answer are too") as e:
        patient.read("shard.tar")
    assert f"({words})" in str(e.value)
    assert len(faulty_s3.requests) == 1


FOREIGN = [
    "HTTP/1.1 404 Not Found\r\nContent-Length: 15\r\n\r\n<html>no</html>",
    "HTTP/1.1 404 Not Found\r\nContent-Length: 19\r\n\r\n<Error><Code>NoSuch",
    "HTTP/1.1 404 Not Found\r\n\r\nnothing is here",
    "HTTP/1.1 404 Not Found\r\nContent-Length: 22\r\n\r\n{'detail':'Not Found'}",
]


@pytest.mark.parametrize("data", FOREIGN)
def test_a_404_that_is_not_of_s3_does_not_prove_absence(
    data: str, patient: Store, faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(monkeypatch, data.encode())
    for ask in (lambda: patient.read("a"), lambda: patient.list("")):
        with pytest.raises(StorageError, match="status 404 is not that of an object store") as e:
            ask()
        assert not isinstance(e.value, MissingError)


NO_LISTINGS = {
    "nothing": b"",
    "a web page": b"<!DOCTYPE html><html><body>Please log in</body></html>",
    "a strict web page": b'<?xml version="1.0"?>\n<html><body/></html>',
    "JSON": b"{}",
    "entities": b'<!DOCTYPE x [<!ENTITY a "aaaa">'
    + b"".join(b'<!ENTITY %c "%b">' % (98 + n, b"&%c;" % (97 + n) * 20) for n in range(8))
    + b"]><ListBucketResult><Name>&i;</Name></ListBucketResult>",
}


@pytest.mark.parametrize("body", NO_LISTINGS.values(), ids=NO_LISTINGS)
def test_a_success_that_is_no_listing_is_refused_at_once(
    body: bytes, patient: Store, faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(monkeypatch, sized(body))
    for ask in (lambda: patient.list(""), lambda: patient.remove_unfinished("")):
        with pytest.raises(StorageError, match="status 200 is not that of an object store"):
            ask()
    assert len(faulty_s3.requests) == 2


def test_a_listing_may_have_a_declaration_a_prefix_and_no_names(
    patient: Store, faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '<?xml version="1.0"?>\n<!-- a store -->\n<s:ListBucketResult xmlns:s="http://s"/>'
    answer_with(monkeypatch, sized(b"\xef\xbb\xbf" + text.encode()))
    assert patient.list("") == []


def sized(body: bytes, headers: str = "") -> bytes:
    """Return a whole answer with this body."""
    return f"HTTP/1.1 200 OK\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"


def answer_puts(
    monkeypatch: pytest.MonkeyPatch, body: bytes = b"", *, share: float | None = None
) -> None:
    """Answer every PUT with success and a body, without an ETag; store a share of its bytes."""

    def do_put(handler: FaultyHandler) -> None:
        _, key, _ = handler.target()
        data = handler.rfile.read(int(handler.headers["Content-Length"]))
        if share is not None:
            handler.state.objects[key] = data[: round(share * len(data))]
        handler.begin(key)
        handler.answer(200, body)

    monkeypatch.setattr(FaultyHandler, "do_PUT", do_put)


def uploads(store: Store, path: Path) -> list[Callable[[], object]]:
    path.write_bytes(DATA)
    return [
        lambda: store.write("a", DATA),
        lambda: store.replace("a", DATA, None),
        lambda: store.upload("a", path),
    ]


def test_an_upload_that_a_web_page_answers_is_refused_at_once(
    patient: Store, faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer_puts(monkeypatch, PAGE)
    for upload in uploads(patient, tmp_path / "a"):
        with pytest.raises(
            StorageError,
            match=r"s3://corpora/x/a: the answer with status 200 is not that of an object store",
        ):
            upload()
    assert len(faulty_s3.requests) == 3


@pytest.mark.parametrize(("share", "found"), [(None, "does not exist"), (0.5, "has 502000 bytes")])
def test_an_upload_of_which_the_store_has_less_is_refused(
    share: float | None,
    found: str,
    patient: Store,
    faulty_s3: FaultyS3,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    answer_puts(monkeypatch, share=share)
    for upload in uploads(patient, tmp_path / "a"):
        with pytest.raises(
            StorageError,
            match=f"s3://corpora/x/a {found} after an upload of {len(DATA)} bytes that was "
            "answered with success; check AWS_ENDPOINT_URL",
        ):
            upload()


def test_an_upload_to_a_store_without_etags_works(
    patient: Store, faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer_puts(monkeypatch, share=1.0)
    for upload in uploads(patient, tmp_path / "a"):
        upload()
        assert faulty_s3.objects.pop("x/a") == DATA


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
def test_compressed_bytes_with_a_strong_etag_are_refused(
    encoding: str, patient: Store, faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = f'Content-Encoding: {encoding}\r\nETag: "strong"\r\n'
    answer_with(monkeypatch, sized(gzip.compress(DATA), headers))
    with pytest.raises(StorageError, match=r"x/a arrives with the Content-Encoding 'x?-?gzip', an"):
        patient.read("a")
    assert len(faulty_s3.requests) == 1

    answer_with(monkeypatch, sized(DATA, headers))  # a stored header that says nothing true
    assert patient.read("a") == DATA


@pytest.mark.parametrize("date", ["yesterday", "9" * 30, "Sat, 99 Nov 2026 08:00:00 GMT", "-1e400"])
def test_a_date_that_is_none_is_no_fault(date: str, patient: Store, faulty_s3: FaultyS3) -> None:
    faulty_s3.modified = date
    faulty_s3.habits.add("no_etag")
    assert patient.size("shard.tar") == len(DATA)
    assert patient.read("shard.tar") == DATA
    assert date in patient.version("shard.tar")
    assert all(request.method in ("GET", "HEAD") for request in faulty_s3.requests)
    assert len(faulty_s3.requests) == 3


def test_a_404_without_a_body_means_absence(
    patient: Store, faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(monkeypatch, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(MissingError, match="x/a does not exist"):
        patient.read("a")
