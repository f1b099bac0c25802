"""Answers to requests: JSON from functions that may wait for a disk or a store."""

import asyncio
import html
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from surgrec.errors import MissingError, StorageError, SurgrecError
from surgrec.text import visible

_FAILURE_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>This page cannot be shown - SurgRec</title>
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/style.css">
</head>
<body>
<main>
<h1>This page cannot be shown</h1>
<p class="missing">{sentence}</p>
<p><a href="/#/runs">All runs</a></p>
</main>
</body>
</html>
"""


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
    try:
        body = msgspec.json.encode(value)
    except UnicodeEncodeError:  # the name of a folder that is not UTF-8
        body = msgspec.json.encode(_encodable(msgspec.to_builtins(value)))
    return Response(body, status, media_type="application/json")


def _encodable(value: Any) -> Any:
    """Return a value whose texts have no halves of pairs."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {_encodable(name): _encodable(each) for name, each in value.items()}
    return [_encodable(each) for each in value] if isinstance(value, list) else value


def json_failure(sentence: str, status: int) -> Response:
    """Return an error as `{"error": sentence}`."""
    return json_answer({"error": sentence}, status)


def page_failure(sentence: str, status: int) -> Response:
    """Return an error as a page, for addresses that a person opens in a tab."""
    page = _FAILURE_PAGE.format(sentence=html.escape(visible(sentence)))
    return Response(page, status, media_type="text/html")


def answer(
    function: Callable[[Request], Any],
    failure: Callable[[str, int], Response] = json_failure,
) -> Callable[[Request], Any]:
    """Return an endpoint that answers with a function's result, as JSON if it is no response.

    Args:
        function: Called with the request, in a thread.
        failure: Called with the sentence of a SurgrecError, and with status 404 (nothing of this
            number or name), 502 (the store failed) or 400.
    """

    async def endpoint(request: Request) -> Response:
        try:
            result = await in_thread(partial(function, request))
        except SurgrecError as error:
            return failure(str(error), _status(error))
        return result if isinstance(result, Response) else json_answer(result)

    return endpoint


def _status(error: SurgrecError) -> int:
    if isinstance(error, (NotFoundError, MissingError)):
        return 404
    return 502 if isinstance(error, StorageError) else 400
