"""Requests to an endpoint: faults pass or end in one sentence, and constraints are proven."""

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from surgrec.errors import ConfigError, ServerError
from surgrec.storage import RetryPolicy
from surgrec.vlms._client import EndpointModel
from surgrec.vlms._config import ServerConfig
from surgrec.vlms._model import Prompt
from surgrec.vlms._prompts import Question
from tests.support.model_server import ModelServer, images

AT_ONCE = RetryPolicy(first_delay_s=0.0)
ASKED = Question(task="phase", names=("access", "closure"), several=False)
SEVERAL = Question(task="tool", names=("grasper", "hook"), several=True)
PROMPT = Prompt(parts=("Which?", b"jpeg"), asked=ASKED, mode="text", max_tokens=9)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer().running() as server:
        yield server


def client(server: ModelServer, **changes: object) -> EndpointModel:
    config = replace(ServerConfig(endpoint=server.endpoint, tries=3), **changes)
    return EndpointModel("tiny", config, AT_ONCE)


def test_a_prompt_is_one_request_of_texts_and_images_in_their_order(server: ModelServer) -> None:
    answer = client(server).answer(PROMPT)
    assert answer.text in ("Answer: A", "Answer: B")
    assert answer.finish == "stop"
    (request,) = server.requests
    assert (request["model"], request["temperature"], request["max_tokens"]) == ("tiny", 0, 9)
    assert [part["type"] for part in request["messages"][0]["content"]] == ["text", "image_url"]
    assert images(request) == ["data:image/jpeg;base64,anBlZw=="]
    assert server.headers[0]["Host"] == server.endpoint.split("/")[2]
    assert "Authorization" not in server.headers[0]


@pytest.mark.parametrize(
    "fault", ["429", "500", "503", "cut", "wrong json", "no choices", "timeout", "large"]
)
def test_a_fault_that_passes_does_no_harm(server: ModelServer, fault: str) -> None:
    server.faults = [fault, fault]
    model = client(server, timeout_s=0.3 if fault == "timeout" else 20.0)
    assert model.answer(PROMPT).text.startswith("Answer: ")
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("429", r"answered with status 429 .*as planned.* in each of 3 tries"),
        ("cut", "failed .* in each of 3 tries; see whether the server runs"),
        ("wrong json", r"is not valid JSON .* in each of 3 tries"),
        ("no choices", "without choices in each of 3 tries"),
    ],
)
def test_a_fault_that_stays_is_one_sentence(server: ModelServer, fault: str, words: str) -> None:
    server.always = fault
    with pytest.raises(ServerError, match=words) as failed:
        client(server).answer(PROMPT)
    assert server.endpoint in str(failed.value)
    assert "\n" not in str(failed.value)
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("400", "read the server's words"),
        ("401", "as --api_key_env"),
        ("404", "has the model 'tiny'"),
        ("413", "fewer or smaller images"),
        ("redirect", "redirects are not followed"),
    ],
)
def test_a_refusal_is_not_tried_again(server: ModelServer, fault: str, words: str) -> None:
    server.always = fault
    with pytest.raises(ServerError, match=words):
        client(server).answer(PROMPT)
    assert len(server.requests) == 1


def test_a_server_that_does_not_run_is_named() -> None:
    with ModelServer().running() as server:
        endpoint = server.endpoint
    config = ServerConfig(endpoint=endpoint, tries=2)
    with pytest.raises(ServerError, match=f"{endpoint} failed .* in each of 2 tries"):
        EndpointModel("tiny", config, AT_ONCE).answer(PROMPT)


def test_proxies_of_the_environment_get_no_image(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setitem(os.environ, name, "http://192.0.2.7:1")
    client(server).answer(PROMPT)
    assert len(server.requests) == 1


def test_the_key_comes_from_the_environment(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="variable MODEL_KEY of --api_key_env is empty"):
        client(server, api_key_env="MODEL_KEY")
    monkeypatch.setenv("MODEL_KEY", "secret")
    client(server, api_key_env="MODEL_KEY").answer(PROMPT)
    assert server.headers[0]["Authorization"] == "Bearer secret"


@pytest.mark.parametrize("asked", [ASKED, SEVERAL])
@pytest.mark.parametrize("mode", ["structured", "json_schema", "json_object"])
@pytest.mark.parametrize("others", ["refuses", "ignores"])
def test_the_strictest_constraint_that_a_server_enforces_is_found(
    asked: Question, mode: str, others: str
) -> None:
    stricter = {"structured": [], "json_schema": ["structured"]}.get(
        mode, ["structured", "json_schema"]
    )
    refuses = stricter if others == "refuses" else []
    server = ModelServer(lambda _: "hello", enforces=[mode], refuses=refuses)
    with server.running():
        assert client(server).choose_mode(asked)[0] == mode
        assert len(server.requests) == len(stricter) + 1


def test_a_server_without_constraints_gets_free_text(server: ModelServer) -> None:
    server.speak = lambda _: "hello"
    mode, trials = client(server).choose_mode(ASKED)
    assert mode == "text"
    assert trials == dict.fromkeys(("structured", "json_schema", "json_object"), "ignored")
    assert client(server, constrain="json_object").choose_mode(ASKED) == ("json_object", {})
    assert len(server.requests) == 3


def test_a_server_that_fails_over_a_constraint_gets_the_next_one() -> None:
    crashes = ("structured", "json_schema")
    with ModelServer(enforces=["json_object"], crashes=crashes).running() as server:
        mode, trials = client(server, tries=6).choose_mode(ASKED)
    assert mode == "json_object"
    assert trials["json_schema"] == "failed with status 500"
    assert len(server.requests) == 2 * 2 + 1, "a constraint that fails is tried twice"


def test_a_server_that_fails_over_every_prompt_gets_no_mode(server: ModelServer) -> None:
    server.crashes = ("structured", "json_schema", "json_object")
    assert client(server).choose_mode(ASKED)[0] == "text"
    server.crashes = (*server.crashes, "")
    with pytest.raises(ServerError, match="status 500"):
        client(server).choose_mode(ASKED)


def test_the_identity_is_what_the_server_tells_or_its_address(server: ModelServer) -> None:
    assert client(server).identity == {"name": "tiny", "endpoint": server.endpoint}
    server.models = [{"id": "tiny", "created": 1}, {"id": "large", "root": "/models/large"}]
    assert client(server).identity == {"name": "tiny", "endpoint": server.endpoint}
    server.models = [{"id": "tiny", "created": 2, "root": "/models/tiny-2", "meta": {"size": 9}}]
    assert client(server).identity == {
        "name": "tiny",
        "served": {"root": "/models/tiny-2", "meta": {"size": 9}},
    }
    assert not server.requests


def test_a_wrong_key_is_no_missing_constraint(server: ModelServer) -> None:
    server.always = "401"
    with pytest.raises(ServerError, match="status 401"):
        client(server).choose_mode(ASKED)
