"""A proxy in front of a real S3 server that passes everything on, except where it is told to do harm.

Requests for bytes of shards are numbered from 1 on, whoever asks. A plan says what becomes of which number; a fault is a few of an
`Exchange`'s methods, one after the other.
"""

import http.client
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias

Fault: TypeAlias = Callable[["Exchange"], None]
Plan: TypeAlias = Callable[[int], Fault | None]

_SERVER_TIMEOUT_S = 30.0
_NOT_PASSED_ON = {"connection", "expect", "keep-alive", "transfer-encoding"}


def never(number: int) -> None:
    """Everything is passed on."""


def every(period: int, fault: Fault, first: int = 2) -> Plan:
    """A fault again and again."""
    return lambda number: fault if number >= first and (number - first) % period == 0 else None


def between(first: int, last: int, fault: Fault) -> Plan:
    """A fault for a while."""
    return lambda number: fault if first <= number <= last else None


def at(number: int, fault: Fault) -> Plan:
    """A fault once."""
    return between(number, number, fault)


def since(first: int, fault: Fault) -> Plan:
    """A fault from some request on."""
    return between(first, sys.maxsize, fault)


def any_of(*faults: Fault) -> Plan:
    """One fault after the other, in two requests of three."""
    return lambda number: faults[number // 3 % len(faults)] if number % 3 else None


class Proxy:
    """What the proxy is told, and what it saw. `plan` may be changed at any time."""

    def __init__(self, server: str) -> None:
        self.server = server
        """Host and port of the real one."""
        self.endpoint = ""
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self.do(never)

    def do(self, plan: Plan, *, elsewhere: Plan = never) -> None:
        """Another plan; numbers start again.

        Args:
            plan: For requests for bytes of shards.
            elsewhere: For all others, which have numbers of their own.
        """
        with self._lock:
            self._plans = {True: plan, False: elsewhere}
            self._numbers = {True: 0, False: 0}
            self.done = 0
            """Faults that were done."""

    @property
    def shard_requests(self) -> int:
        """Since the plan was made."""
        return self._numbers[True]

    def fault_of(self, method: str, path: str) -> Fault | None:
        """What becomes of the next request."""
        is_of_shard = method == "GET" and path.partition("?")[0].endswith(".tar")
        with self._lock:
            self._numbers[is_of_shard] += 1
            fault = self._plans[is_of_shard](self._numbers[is_of_shard])
            self.done += fault is not None
        return fault


@contextmanager
def run_proxy(server_endpoint: str) -> Iterator[Proxy]:
    """A proxy on a free port of loopback, in threads of this process."""
    proxy = Proxy(server_endpoint.removeprefix("http://"))
    handler = type("Handler", (Exchange,), {"proxy": proxy})
    with _Server(("127.0.0.1", 0), handler) as listening:
        proxy.endpoint = f"http://127.0.0.1:{listening.server_address[1]}"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.stopping.set()
            listening.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that leave in the middle are what this is about."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class Exchange(BaseHTTPRequestHandler):
    """One connection of a client, and what may become of its requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy: Proxy
    _sent: bytes
    _status: int
    _headers: list[tuple[str, str]]
    _body: bytes

    def _relay(self) -> None:
        self._sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        (self.proxy.fault_of(self.command, self.path) or Exchange.pass_on)(self)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _relay  # noqa: N815  # http.server's names

    def ask(self) -> None:
        """Asks the real server. One that is down looks to the client as it would without a proxy."""
        connection = http.client.HTTPConnection(self.proxy.server, timeout=_SERVER_TIMEOUT_S)
        try:
            # The host stays the one that the client signed.
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                if name.lower() not in _NOT_PASSED_ON:
                    connection.putheader(name, value)
            connection.endheaders(self._sent)
            response = connection.getresponse()
            self._status, self._headers, self._body = (
                response.status,
                response.getheaders(),
                response.read(),
            )
        except (OSError, http.client.HTTPException):
            self.reset()
            raise ConnectionError("the server is down") from None
        finally:
            connection.close()

    def pass_on(self) -> None:
        """The server's answer."""
        self.ask()
        self.begin()
        self.write(self._body)

    def begin(self) -> None:
        """The server's status and headers; they promise the whole body."""
        self.send_response_only(self._status)
        for name, value in self._headers:
            if name.lower() not in _NOT_PASSED_ON | {"content-length"}:
                self.send_header(name, value)
        # The answer to a HEAD has the length of what a GET would give.
        lengths = [value for name, value in self._headers if name.lower() == "content-length"]
        self.send_header("Content-Length", (lengths or [str(len(self._body))])[0])
        self.end_headers()

    def write(self, data: bytes) -> None:
        """Some of the body."""
        if self.command != "HEAD":
            self.wfile.write(data)
            self.wfile.flush()

    def pass_half(self) -> None:
        """The server's answer up to the middle of its body."""
        self.ask()
        self.begin()
        self.write(self._body[: len(self._body) // 2])

    def pass_less(self) -> None:
        """A shorter range than was asked for, in itself consistent."""
        self.ask()
        self._body = self._body[: len(self._body) // 2]
        self._headers = [pair for pair in self._headers if pair[0].lower() != "content-length"]
        self.begin()
        self.write(self._body)

    def pass_changed(self) -> None:
        """The server's answer with one bit in the middle flipped, as a faulty wire without TLS would."""
        self.ask()
        changed = bytearray(self._body)
        changed[len(changed) // 2] ^= 1
        self.begin()
        self.write(bytes(changed))

    def pass_slowly(self, byte_s: float) -> None:
        """A byte now and then: the connection is never silent for long, and the body never there."""
        self.ask()
        self.begin()
        for place in range(len(self._body)):
            self.write(self._body[place : place + 1])
            if self.proxy.stopping.wait(byte_s):
                break
        self.close()

    def wait(self, seconds: float) -> None:
        """A delay."""
        self.proxy.stopping.wait(seconds)

    def refuse(self, status: int, code: str) -> None:
        """An error as S3 tells it, which the server knows nothing of."""
        self.answer(
            status, f"<Error><Code>{code}</Code><Message>as the proxy was told</Message></Error>"
        )

    def answer(self, status: int, text: str) -> None:
        """Anything else than what the server would say."""
        self.send_response_only(status)
        self.send_header(
            "Content-Type", "text/html" if text.startswith("<html") else "application/xml"
        )
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.write(text.encode())

    def fall_silent(self) -> None:
        """Not a byte more, and the connection stays open."""
        self.close()
        self.proxy.stopping.wait()

    def close(self) -> None:
        """The connection ends after what was sent."""
        self.close_connection = True

    def reset(self) -> None:
        """The connection breaks."""
        self.close_connection = True
        time.sleep(0.02)  # a reset overtakes bytes that the client has not read yet
        with socket.socket(fileno=self.connection.detach()) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""
