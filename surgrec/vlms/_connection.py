"""Requests to a server: within a time, again after failures that may pass, refused in words."""

import os
import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

from surgrec.errors import (
    ConfigError,
    ServerError,
    SetupError,
    SurgrecError,
    how_to_install,
    reason,
)
from surgrec.storage import RetryPolicy
from surgrec.text import one_line
from surgrec.vlms._config import ServerConfig
from surgrec.vlms._hosts import check_endpoint

CRASHED = 500
"""Status of servers that fail over a request, now and later."""
_TEMPORARY = frozenset((408, 409, 425, 429, CRASHED, 502, 503, 504, 529))
"""Statuses after which another try may succeed."""
_MAX_BYTES = 1 << 22
_MAX_WAIT_S = 60.0
_MESSAGE_CHARACTERS = 300
_Found = TypeVar("_Found")


class TemporaryError(SurgrecError):
    """A failure that may pass."""

    wait_s = 0.0
    """Seconds that the server asks to wait."""
    status = 0
    """Status of the response; 0 if there is none."""


class RefusedError(SurgrecError):
    """A status that another try does not change."""

    status = 0


class Connection:
    """Requests to the address of a server.

    Neither proxies of the environment nor redirects are followed: images go to the checked host
    alone.

    Args:
        model: Name of the model, for messages.
        config: The endpoint.
        policy: Waits between tries.

    Raises:
        ConfigError: The host is not allowed, or the key is missing.
        SetupError: The package for requests is not installed.
    """

    def __init__(self, model: str, config: ServerConfig, policy: RetryPolicy) -> None:
        self._model, self._config, self._policy = model, config, policy
        self.destination = check_endpoint(config.endpoint, config.allow_hosts)
        self.place = f"the server {config.endpoint}"
        self._http = _http_package()

        # No proxy and no redirect: images go to the checked address alone.
        headers = {"Host": self.destination.netloc, "Content-Type": "application/json"}
        if config.api_key_env:
            headers["Authorization"] = f"Bearer {_key(config.api_key_env)}"
        self._client = self._http.Client(
            headers=headers,
            timeout=config.timeout_s,
            follow_redirects=False,
            trust_env=False,
            limits=self._http.Limits(max_connections=config.parallel),
        )

        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the waits between tries. Requests that run may still be answered."""
        self._stopped.set()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def repeated(self, once: Callable[[], _Found]) -> _Found:
        """Return the result of a request, after waits if it fails for a while.

        Raises:
            ServerError: All tries fail.
        """
        for failures in range(1, self._config.tries + 1):
            try:
                return once()
            except TemporaryError as problem:
                if failures == self._config.tries:
                    raise ServerError(
                        f"{problem} in each of {failures} tries; see whether the server runs, and "
                        "run the same command again to continue"
                    ) from None
                wait_s = max(self._policy.delay_s(failures), problem.wait_s)
            if self._stopped.wait(wait_s):
                raise ServerError("the job ends; run the same command again to continue")
        raise AssertionError

    def post(self, path: str, body: bytes) -> bytes:
        """Return the body of a response with status 200.

        Raises:
            TemporaryError: The failure may pass.
            RefusedError: The server refuses the request.
        """
        status, wait_s, data = self._exchange("POST", path, body)
        if status != 200:
            problem = self._refusal(status, data)
            if isinstance(problem, TemporaryError):
                problem.wait_s = wait_s
            raise problem
        return data

    def get(self, path: str) -> tuple[int, bytes]:
        """Return status and body of a response, whatever its status.

        Raises:
            TemporaryError: There is no whole response, or the server asks for patience.
        """
        status, wait_s, data = self._exchange("GET", path, None)
        problem = self._refusal(status, data) if status in _TEMPORARY - {CRASHED} else None
        if isinstance(problem, TemporaryError):
            problem.wait_s = wait_s
            raise problem
        return status, data

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, float, bytes]:
        """Return status, wanted wait and body of a response, within the time of a try."""
        try:
            return self._send(method, f"{self.destination.url}/{path}", body)
        except self._http.RequestError as error:
            raise TemporaryError(
                f"{self.place} failed ({one_line(reason(error), _MESSAGE_CHARACTERS)})"
            ) from None

    def _send(self, method: str, url: str, body: bytes | None) -> tuple[int, float, bytes]:
        end = time.monotonic() + self._config.timeout_s
        extensions = {"sni_hostname": self.destination.host}
        with self._client.stream(method, url, content=body, extensions=extensions) as response:
            data = bytearray()
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > _MAX_BYTES:
                    raise TemporaryError(f"{self.place} sent more than {_MAX_BYTES:,} bytes")
                if time.monotonic() > end:
                    raise TemporaryError(
                        f"{self.place} did not end its answer in {self._config.timeout_s:g} s"
                    )
            return response.status_code, _wanted_wait_s(response.headers), bytes(data)

    def _refusal(self, status: int, data: bytes) -> TemporaryError | RefusedError:
        """Return the error for a status other than 200."""
        words = one_line(data.decode("utf-8", "replace").strip() or "no text", _MESSAGE_CHARACTERS)
        sentence = f"{self.place} answered with status {status} ({words})"

        if status in _TEMPORARY:
            temporary = TemporaryError(sentence)
            temporary.status = status
            return temporary

        remedies = {
            401: "name the environment variable with the key as --api_key_env",
            403: "name the environment variable with the key as --api_key_env",
            404: f"check --endpoint, and that the server has the model {self._model!r}",
            413: "show fewer or smaller images (--frames, --image_px)",
        }
        remedy = remedies.get(status, "read the server's words, and correct the request")
        if 300 <= status < 400:
            remedy = "give the final address as --endpoint: redirects are not followed"

        problem = RefusedError(f"{sentence}; {remedy}")
        problem.status = status
        return problem


def _wanted_wait_s(headers: Any) -> float:
    """Return the seconds that the header Retry-After asks for, within a limit."""
    text = headers.get("Retry-After", "")
    return min(float(text), _MAX_WAIT_S) if text.isdecimal() else 0.0


def _key(variable: str) -> str:
    key = os.environ.get(variable, "")
    if not key:
        raise ConfigError(
            f"the environment variable {variable} of --api_key_env is empty; set it to the key of "
            "the server"
        )
    return key


def _http_package() -> ModuleType:
    try:
        import httpx2
    except ModuleNotFoundError as error:
        raise SetupError(f"{error.name} is not installed; {how_to_install('vlm')}") from None
    return httpx2
