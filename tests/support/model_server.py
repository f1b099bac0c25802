"""A small real server that speaks the protocol of chat completions, with faults on request."""

import contextlib
import json
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Fault = str
"""A status such as `429`, or `timeout`, `cut`, `wrong json`, `no choices`, `redirect`, `large`."""


class ModelServer:
    """A server on this machine whose answers are a pure function of the request.

    Args:
        speak: Text for a request without a constraint that the server enforces.
        enforces: Constraints that it enforces: `structured`, `json_schema`, `json_object`.
        refuses: Constraints that it refuses with status 400; it ignores all others.
        crashes: Constraints over which it fails with status 500.
        models: Its list of models; None: it has no such list.
    """

    def __init__(
        self,
        speak: Callable[[dict[str, Any]], str] | None = None,
        *,
        enforces: Sequence[str] = (),
        refuses: Sequence[str] = (),
        crashes: Sequence[str] = (),
        models: Sequence[dict[str, Any]] | None = None,
    ) -> None:
        self.speak = speak or (lambda request: f"Answer: {'AB'[digest(request) % 2]}")
        self.enforces, self.refuses, self.crashes = enforces, refuses, crashes
        self.models = models
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.faults: list[Fault] = []
        """Faults of the next requests, the first one first; empty text is none."""
        self.always: Fault = ""
        """Fault of every request that has no other."""
        self.after: tuple[int, Fault] | None = None
        """A number of requests, and the fault of all requests behind them."""
        self.released = threading.Event()
        """Set at the end: requests that hang then end."""
        self.most_at_once = 0
        self._running = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @contextlib.contextmanager
    def running(self) -> Iterator["ModelServer"]:
        """Serve until the end of a `with` statement."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.released.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def receive(self, request: dict[str, Any], headers: dict[str, str]) -> Fault:
        """Record a request, and return its fault."""
        with self._lock:
            self.requests.append(request)
            self.headers.append(headers)
            self._running += 1
            self.most_at_once = max(self.most_at_once, self._running)
            if self.faults:
                return self.faults.pop(0)
            if self.after is not None and len(self.requests) > self.after[0]:
                return self.after[1]
            return self.always

    def end(self) -> None:
        """Record that a request has its answer."""
        with self._lock:
            self._running -= 1

    def text(self, request: dict[str, Any]) -> str | None:
        """Return the answer to a request; None if its constraint is refused."""
        kind = constraint(request)
        if kind in self.refuses:
            return None
        if kind not in self.enforces:
            return self.speak(request)
        if kind == "json_object":
            return json.dumps({"answer": "AB"[digest(request) % 2]})
        fields = request.get("structured_outputs", {})
        if "choice" in fields:
            return str(fields["choice"][digest(request) % len(fields["choice"])])
        schema = fields.get("json") or request["response_format"]["json_schema"]["schema"]
        return json.dumps(_of_schema(schema, digest(request)))


def constraint(request: dict[str, Any]) -> str:
    """Return the constraint that a request asks for; empty for none."""
    if "structured_outputs" in request:
        return "structured"
    return str(request.get("response_format", {}).get("type", ""))


def digest(request: dict[str, Any]) -> int:
    """Return a number that depends on texts and images alone."""
    return zlib.crc32(json.dumps(request["messages"], sort_keys=True).encode())


def images(request: dict[str, Any]) -> list[str]:
    """Return the addresses of the images of a request."""
    parts = request["messages"][0]["content"]
    return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]


def _of_schema(schema: dict[str, Any], number: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for place, (name, kind) in enumerate(schema["properties"].items()):
        values = kind.get("enum") or [False, True]
        found[name] = values[(number >> place) % len(values)]
    return found


def _handler(served: ModelServer) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        server_of_model = served

    return Handler


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_of_model: ModelServer

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        models = self.server_of_model.models
        if self.path == "/v1/models" and models is not None:
            self._send(200, json.dumps({"object": "list", "data": list(models)}).encode())
        else:
            self._send(404, b"no such path")

    def do_POST(self) -> None:
        server = self.server_of_model
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fault = server.receive(request, dict(self.headers))
        if constraint(request) in server.crashes:
            fault = "500"
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._reply(request, fault)
        finally:
            server.end()

    def _reply(self, request: dict[str, Any], fault: Fault) -> None:
        text = self.server_of_model.text(request)
        if self.path != "/v1/chat/completions":
            self._send(404, b"no such path")
        elif fault == "timeout":
            self.server_of_model.released.wait(30)
            self.close_connection = True
        elif fault == "redirect":
            self._send(307, b"", Location="http://192.0.2.7/v1/chat/completions")
        elif fault.isdecimal():
            wait = {"Retry_After": "0"} if fault == "429" else {}
            self._send(int(fault), b'{"error": {"message": "as planned"}}', **wait)
        elif text is None:
            self._send(400, b'{"error": {"message": "unknown field"}}')
        else:
            self._send(200, _body(request, text, fault), cut=fault == "cut")

    def _send(self, status: int, data: bytes, *, cut: bool = False, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        self.close_connection = cut


def _body(request: dict[str, Any], text: str, fault: Fault) -> bytes:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    data = json.dumps({"choices": [choice], "model": request["model"]}).encode()
    faulty = {
        "wrong json": data[:-9],
        "no choices": b'{"choices": []}',
        "large": b" " * (5 << 20),
    }
    return faulty.get(fault, data)
