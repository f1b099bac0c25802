"""A proxy in front of a real S3 server that forwards everything but the requests with faults.

Requests for bytes of shards are numbered from 1 on, over all clients. A plan maps a number to a
fault. A fault calls some methods of an `Exchange`, one after the other.
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
    """Forward every request."""


def every(period: int, fault: Fault, first: int = 2) -> Plan:
    """Plan a fault periodically."""
    return lambda number: fault if number >= first and (number - first) % period == 0 else None


def between(first: int, last: int, fault: Fault) -> Plan:
    """Plan a fault for a range of requests."""
    return lambda number: fault if first <= number <= last else None


def at(number: int, fault: Fault) -> Plan:
    """Plan a fault once."""
    return between(number, number, fault)


def since(first: int, fault: Fault) -> Plan:
    """Plan a fault from a request on."""
    return between(first, sys.maxsize, fault)


def any_of(*faults: Fault) -> Plan:
    """Plan several faults in turn, in two requests of three."""
    return lambda number: faults[number // 3 % len(faults)] if number % 3 else None


class Proxy:
    """The plans and counts of the proxy. The plans may be changed at any time (`do`)."""

    def __init__(self, server: str) -> None:
        self.server = server
        """Host and port of the real server."""
        self.endpoint = ""
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self.do(never)

    def do(self, plan: Plan, *, elsewhere: Plan = never) -> None:
        """Set new plans and restart the numbers.

        Args:
            plan: Plan of requests for bytes of shards.
            elsewhere: Plan of all other requests, which are numbered separately.
        """
        with self._lock:
            self._plans = {True: plan, False: elsewhere}
            self._numbers = {True: 0, False: 0}
            self.done = 0
            """Number of faults so far."""

    @property
    def shard_requests(self) -> int:
        """Number of requests for bytes of shards since the plan was set."""
        return self._numbers[True]

    def fault_of(self, method: str, path: str) -> Fault | None:
        """Return the fault of the next request, or None."""
        is_of_shard = method == "GET" and path.partition("?")[0].endswith(".tar")
        with self._lock:
            self._numbers[is_of_shard] += 1
            fault = self._plans[is_of_shard](self._numbers[is_of_shard])
            self.done += fault is not None
        return fault


@contextmanager
def run_proxy(server_endpoint: str) -> Iterator[Proxy]:
    """Run a proxy on a free port of loopback, in threads of this process."""
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
        """Do not report clients that disconnect early: faults cause them."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class Exchange(BaseHTTPRequestHandler):
    """One connection of a client, with the parts of which faults are made."""

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
        """Ask the real server. If it is down, reset the client's connection, as without a proxy."""
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
        """Send the server's response."""
        self.ask()
        self.begin()
        self.write(self._body)

    def begin(self) -> None:
        """Send the server's status and headers, which announce the whole body."""
        self.send_response_only(self._status)
        for name, value in self._headers:
            if name.lower() not in _NOT_PASSED_ON | {"content-length"}:
                self.send_header(name, value)
        # The answer to a HEAD has the length of what a GET would give.
        lengths = [value for name, value in self._headers if name.lower() == "content-length"]
        self.send_header("Content-Length", (lengths or [str(len(self._body))])[0])
        self.end_headers()

    def write(self, data: bytes) -> None:
        """Send a part of the body."""
        if self.command != "HEAD":
            self.wfile.write(data)
            self.wfile.flush()

    def pass_half(self) -> None:
        """Send the server's response up to the middle of its body."""
        self.ask()
        self.begin()
        self.write(self._body[: len(self._body) // 2])

    def pass_less(self) -> None:
        """Send a shorter range than requested, with consistent headers."""
        self.ask()
        self._body = self._body[: len(self._body) // 2]
        self._headers = [pair for pair in self._headers if pair[0].lower() != "content-length"]
        self.begin()
        self.write(self._body)

    def pass_changed(self) -> None:
        """Send the server's response with one bit flipped, as a faulty network without TLS."""
        self.ask()
        changed = bytearray(self._body)
        changed[len(changed) // 2] ^= 1
        self.begin()
        self.write(bytes(changed))

    def pass_slowly(self, byte_s: float) -> None:
        """Send single bytes with pauses: never silent for long, and never complete."""
        self.ask()
        self.begin()
        for offset in range(len(self._body)):
            self.write(self._body[offset : offset + 1])
            if self.proxy.stopping.wait(byte_s):
                break
        self.close()

    def wait(self, seconds: float) -> None:
        """Wait, or return early when the proxy stops."""
        self.proxy.stopping.wait(seconds)

    def refuse(self, status: int, code: str) -> None:
        """Send an S3 error instead of the server's response."""
        self.answer(
            status, f"<Error><Code>{code}</Code><Message>requested by the plan</Message></Error>"
        )

    def answer(self, status: int, text: str) -> None:
        """Send a text instead of the server's response."""
        self.send_response_only(status)
        self.send_header(
            "Content-Type", "text/html" if text.startswith("<html") else "application/xml"
        )
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.write(text.encode())

    def fall_silent(self) -> None:
        """Send nothing more, and keep the connection open."""
        self.close()
        self.proxy.stopping.wait()

    def close(self) -> None:
        """Close the connection after the bytes sent so far."""
        self.close_connection = True

    def reset(self) -> None:
        """Reset the connection."""
        self.close_connection = True
        time.sleep(0.02)  # a reset overtakes unread bytes
        with socket.socket(fileno=self.connection.detach()) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""
