"""The OpenAPI document says what the service does: schemathesis makes requests of it, right ones and wrong ones."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.config import SchemathesisConfig
from schemathesis.openapi import from_asgi
from schemathesis.specs.openapi.checks import positive_data_acceptance

from serve_app.chat import Chat
from serve_app.chat_config import ConfigFile
from serve_app.checkpoint import ROOT, Checkpoint
from serve_app.errors import DeadlineExceeded, NoReplica, Overloaded, ReplyInterrupted
from serve_app.ingress import create_api
from serve_app.messages import GenerateRequest, TokenChunk
from serve_app.settings import AppArgs
from tests.support.checkpoints import small_tokenizer
from tests.support.fakes import ORIGIN, FakeReplicas

ARGS = AppArgs(max_turn_chars=200, max_knowledge_chars=300, max_dialog_chars=1_000, max_reply_tokens=128)

# What a schema cannot say: how two values relate, and what the last of a list is.
BEYOND_SCHEMAS = re.compile(
    r"dialog: the last turn is blank|dialog: \d+ characters in all|generation: min_length \(\d+\) must not exceed"
    r"|generation.quote: there is nothing to quote|(generation.max_length|max_tokens): \d+ has no room for"
    r"|messages: the last one must be the user's|prompt: is blank|n: \d+ for each of \d+ prompts"
    r"|(messages|prompt|documents): \d+ characters"
)


def write(request: GenerateRequest) -> list[TokenChunk | Exception]:
    """A word; or a candidate, where the reply must be one."""
    if request.candidates:
        return [TokenChunk(list(request.candidates[0].token_ids[:-1]), ORIGIN, "stop")]
    return [TokenChunk([20], ORIGIN), TokenChunk([21], ORIGIN, "stop")]


def application(replicas: FakeReplicas) -> FastAPI:
    checkpoint = Checkpoint(name="mini", requested="mini", folder=ROOT)
    config_file = ConfigFile(ROOT / "configs/chatbot.yaml", ARGS.max_reply_tokens)
    return create_api(Chat(ARGS, checkpoint, small_tokenizer(), config_file, replicas))


CONFIG = SchemathesisConfig.from_dict(
    {
        # 413 is a refusal as good as the others: a body may be too large because a list in it is too long; and 404 of a
        # model that is not served.
        "checks": {"negative_data_rejection": {"expected-statuses": [400, 404, 405, 413, 422]}},
        "generation": {"deterministic": True},
    }
)
API = application(FakeReplicas(write))
SCHEMA = from_asgi("/openapi.json", API, config=CONFIG)
DOCUMENT = API.openapi()


@SCHEMA.parametrize()
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_the_service_does_what_its_document_says(case: Case[Any]) -> None:
    response = case.call()
    refused = response.status_code in (400, 422) and BEYOND_SCHEMAS.match(response.json()["error"]["message"])
    case.validate_response(response, excluded_checks=[positive_data_acceptance] if refused else [])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "error",
    [Overloaded("busy"), NoReplica("none"), ReplyInterrupted("lost"), DeadlineExceeded("late"), RuntimeError("bug")],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_the_replicas_are_in_the_document(error: Exception, stream: bool) -> None:
    response = client(lambda request: [error]).post("/chat", json={"dialog": ["Hello"], "stream": stream})
    assert_documented("/chat", "post", response)


@pytest.mark.parametrize("content", [b"{", b"[]", b" " * 3_000_000], ids=["400", "422", "413"])
def test_errors_of_the_body_are_in_the_document(content: bytes) -> None:
    response = client(write).post("/chat", content=content, headers={"Content-Type": "application/json"})
    assert_documented("/chat", "post", response)


def test_a_backend_without_replicas_is_in_the_document() -> None:
    replicas = FakeReplicas(write)
    replicas.ready = []
    api = TestClient(application(replicas))
    assert api.get("/health").status_code == 503
    for path in ("/health", "/replicas"):
        assert_documented(path, "get", api.get(path))


def assert_documented(path: str, method: str, response: Any) -> None:
    documented = DOCUMENT["paths"][path][method]["responses"][str(response.status_code)]
    SCHEMA[path][method].validate_response(response)
    assert ("Retry-After" not in response.headers) or ("Retry-After" in documented["headers"])


@pytest.mark.parametrize(
    ("name", "most"),
    [("dialog", ARGS.max_turn_chars), ("instruction", ARGS.max_turn_chars), ("knowledge", ARGS.max_knowledge_chars)],
)
def test_the_document_says_how_long_a_text_may_be(name: str, most: int) -> None:
    """The settings say it; it was found out by a 422."""
    schema = DOCUMENT["components"]["schemas"]["ChatRequest"]["properties"][name]
    text = schema["items"] if name == "dialog" else schema["anyOf"][0]
    assert text == {"type": "string", "maxLength": most}
    for length, status in ((most, 200), (most + 1, 422)):
        value = ["x" * length] if name == "dialog" else "x" * length
        assert client(write).post("/chat", json={"dialog": ["Hello"], name: value}).status_code == status


def test_the_document_says_how_long_a_reply_may_be() -> None:
    generation = DOCUMENT["components"]["schemas"]["GenerationOverrides"]["properties"]
    assert generation["max_length"]["maximum"] == generation["min_length"]["maximum"] == ARGS.max_reply_tokens
    assert not any("default" in setting for setting in generation.values()), "they are the configuration's"


def test_the_document_is_the_same_whenever_it_is_asked_for() -> None:
    api = client(write)
    assert api.get("/openapi.json").json() == api.get("/openapi.json").json() == DOCUMENT


def client(script: Callable[[GenerateRequest], list[TokenChunk | Exception]]) -> TestClient:
    return TestClient(application(FakeReplicas(script)), raise_server_exceptions=False)
