"""A model behind an endpoint that speaks the protocol of OpenAI's chat completions."""

import base64
import json
from functools import cached_property
from typing import Any, NotRequired, TypedDict

from surgrec.errors import ServerError
from surgrec.json_files import decode_json
from surgrec.storage import RetryPolicy
from surgrec.vlms._config import ServerConfig
from surgrec.vlms._connection import CRASHED, Connection, RefusedError, TemporaryError
from surgrec.vlms._constraints import (
    MODES,
    TRIAL,
    Mode,
    Trials,
    is_enforced,
    most_tokens,
    request_fields,
)
from surgrec.vlms._model import Answer, Prompt
from surgrec.vlms._prompts import Question

_UNSUPPORTED = frozenset((400, 415, 422, 501))
"""Statuses by which servers refuse a constraint that they do not know."""
_TRIES_OF_CRASH = 2
"""Tries of the trial of a constraint that ends in `CRASHED`."""
_TRIAL_TOKENS = 64
_TELLING = ("root", "parent", "meta")
"""Fields of a server's list of models by which it tells the origin or the size of one."""


class _Message(TypedDict):
    content: NotRequired[str | None]


class _Choice(TypedDict):
    message: _Message
    finish_reason: NotRequired[str | None]


class _Completion(TypedDict):
    choices: list[_Choice]


class _Models(TypedDict):
    data: list[dict[str, Any]]


class EndpointModel:
    """A model behind an endpoint.

    Args:
        name: Name of the model at the endpoint.
        config: The endpoint.
        policy: Waits between tries.

    Raises:
        ConfigError: The host is not allowed, or the key is missing.
        SetupError: The package for requests is not installed.
    """

    def __init__(
        self, name: str, config: ServerConfig, policy: RetryPolicy = RetryPolicy(first_delay_s=0.5)
    ) -> None:
        self._name, self._config = name, config
        self._connection = Connection(name, config, policy)
        self.destination = self._connection.destination

    @property
    def parallel(self) -> int:
        """Requests at once."""
        return self._config.parallel

    @property
    def place(self) -> str:
        """Address of the server."""
        return self._config.endpoint

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The name of the model, and what the server tells of it, such as the path of its weights.

        If the server tells its name alone, its address distinguishes it from other servers.

        Raises:
            ServerError: The server does not answer.
        """
        told = self._told()
        return {"name": self._name, **({"served": told} if told else {"endpoint": self.place})}

    def choose_mode(self, asked: Question) -> tuple[Mode, Trials]:
        """Return the first constraint that the server enforces, or the one of the options.

        A server that ignores a constraint answers `TRIAL` with the word; one that refuses it
        answers with an error. Some fail with status 500 over a constraint that they do not know:
        then a prompt without any must work.

        Raises:
            ServerError: The server refuses every request, or all tries fail.
        """
        if self._config.constrain != "auto":
            return self._config.constrain, {}
        trials: Trials = {}
        for mode in MODES[:-1]:
            trials[mode] = self._trial(mode, asked)
            if trials[mode] == "enforced":
                return mode, trials
        if any("failed" in words for words in trials.values()):
            self._ask(self._trial_prompt("text", asked))
        return "text", trials

    def answer(self, prompt: Prompt) -> Answer:
        """Return the answer to a prompt.

        Raises:
            ServerError: The server refuses the request, or all tries fail.
        """
        return self._ask(prompt)

    def stop(self) -> None:
        """End the waits between tries. Requests that run may still be answered."""
        self._connection.stop()

    def close(self) -> None:
        """Close all connections."""
        self._connection.close()

    def _trial(self, mode: Mode, asked: Question) -> str:
        """Ask `TRIAL` under a constraint, and return how it ended.

        Raises:
            ServerError: The server refuses every request, or all tries fail otherwise.
        """
        body = self._body(self._trial_prompt(mode, asked))
        crashes = 0

        def once() -> str:
            nonlocal crashes
            try:
                text = self._try(body).text
            except TemporaryError as problem:
                crashes += problem.status == CRASHED
                if crashes < min(_TRIES_OF_CRASH, self._config.tries):
                    raise
                return f"failed with status {CRASHED}"
            return "enforced" if is_enforced(mode, asked, text) else "ignored"

        try:
            return self._connection.repeated(once)
        except RefusedError as problem:
            if problem.status not in _UNSUPPORTED:
                raise ServerError(str(problem)) from None
            return f"refused with status {problem.status}"

    def _trial_prompt(self, mode: Mode, asked: Question) -> Prompt:
        tokens = max(_TRIAL_TOKENS, most_tokens(asked))
        return Prompt(parts=(TRIAL,), asked=asked, mode=mode, max_tokens=tokens)

    def _ask(self, prompt: Prompt) -> Answer:
        body = self._body(prompt)
        try:
            return self._connection.repeated(lambda: self._try(body))
        except RefusedError as problem:
            raise ServerError(str(problem)) from None

    def _body(self, prompt: Prompt) -> bytes:
        content = {
            "model": self._name,
            "messages": [{"role": "user", "content": [_content(part) for part in prompt.parts]}],
            "temperature": 0,
            "max_tokens": prompt.max_tokens,
            "stream": False,
            **request_fields(prompt.mode, prompt.asked),
        }
        return json.dumps(content).encode("utf-8")

    def _try(self, body: bytes) -> Answer:
        """Ask once.

        Raises:
            TemporaryError: The failure may pass.
            RefusedError: The server refuses the request.
        """
        place = self._connection.place
        completion = _completion(self._connection.post("chat/completions", body), place)
        if not completion["choices"]:
            raise TemporaryError(f"{place} gave an answer without choices")
        choice = completion["choices"][0]
        text = choice["message"].get("content") or ""
        return Answer(text=text, finish=choice.get("finish_reason") or "")

    def _told(self) -> dict[str, Any]:
        """Return what the server tells of the origin or the size of the model; maybe nothing."""
        status, data = self._connection.repeated(lambda: self._connection.get("models"))
        if status != 200:
            return {}
        try:
            models: _Models = decode_json(
                data, _Models, "the list of models", error=ServerError, remedy="", any_number=True
            )
        except ServerError:  # a list of another form tells nothing
            return {}
        own = next((each for each in models["data"] if each.get("id") == self._name), {})
        return {name: own[name] for name in _TELLING if own.get(name)}


def _completion(data: bytes, place: str) -> _Completion:
    """Return a response as the protocol has it."""
    context = f"the answer of {place}"
    try:
        return decode_json(
            data, _Completion, context, error=TemporaryError, remedy="", any_number=True
        )
    except TemporaryError as problem:
        raise TemporaryError(str(problem).removesuffix("; ")) from None


def _content(part: str | bytes) -> dict[str, Any]:
    """Return a part of a prompt as the protocol has it."""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    url = f"data:image/jpeg;base64,{base64.b64encode(part).decode('ascii')}"
    return {"type": "image_url", "image_url": {"url": url}}
