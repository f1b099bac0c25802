"""Answers to requests: JSON from functions that may wait for a disk or a store."""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from surgrec.errors import MissingError, StorageError, SurgrecError


class NotFoundError(SurgrecError):
    """A number in an address names nothing."""


async def in_thread(function: Callable[[], Any]) -> Any:
    """Return the result of a function that runs in a daemon thread.

    A store may keep a thread waiting for minutes. Threads of a pool would keep the process from
    ending until then; a daemon thread does not.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def work() -> None:
        result, failure = None, None
        try:
            result = function()
        except BaseException as error:  # the waiting request raises it
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=work, daemon=True, name="browse").start()
    return await future


def json_answer(value: object, status: int = 200) -> Response:
    """Return a value as JSON. Numbers that are not finite become null."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def answer(function: Callable[[Request], Any]) -> Callable[[Request], Any]:
    """Return an endpoint that answers with the JSON of a function's result.

    A SurgrecError becomes `{"error": sentence}` with status 404 (nothing of this number or name),
    502 (the store failed) or 400.
    """

    async def endpoint(request: Request) -> Response:
        try:
            result = await in_thread(partial(function, request))
        except SurgrecError as error:
            return failure(error)
        return result if isinstance(result, Response) else json_answer(result)

    return endpoint


def failure(error: SurgrecError) -> Response:
    """Return an error as the answer to a request."""
    status = 502 if isinstance(error, StorageError) else 400
    if isinstance(error, (NotFoundError, MissingError)):
        status = 404
    return json_answer({"error": str(error)}, status)
