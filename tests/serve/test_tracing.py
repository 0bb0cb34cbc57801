"""One chat's trace, from the page's form to the decoding, over real HTTP and real Ray."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from starlette.testclient import TestClient

from frontend import tracing
from tests.frontend.test_routes import exchanges, stream
from tests.support.backend import Backend
from tests.support.collector import Collector
from tests.support.waiting import eventually

# Each is a part of the one before it: form, reply and question are the frontend's, then comes the ingress.
WAY = ("POST /messages", "reply", "POST /chat", "POST /chat", "write", "generate", "decode")


@pytest.fixture
def collector(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> Collector:
    """The backend's, and the page's, too."""
    assert backend.collector
    for name, value in backend.collector.environment.items():
        monkeypatch.setenv(name, value)
    return backend.collector


@pytest.fixture
def page(collector: Collector, page: TestClient) -> Iterator[TestClient]:
    tracing.start()
    yield page
    tracing.stop()


@pytest.fixture
def writing_freely(backend: Backend) -> Iterator[None]:
    """Not in quote mode, where a reply is chosen whole, and nothing is decoded."""
    shipped, version = backend.chat_config.read_text(), backend.health()["config_version"]
    backend.chat_config.write_text(shipped.replace("quote: null", "quote: false"))
    eventually(lambda: backend.health()["config_version"] != version, 10, "the other configuration")
    yield
    backend.chat_config.write_text(shipped)
    eventually(lambda: backend.health()["config_version"] == version, 10, "the shipped configuration")


@pytest.mark.usefixtures("writing_freely")
def test_a_chat_is_followed_from_the_page_to_the_decoding(
    backend: Backend, collector: Collector, page: TestClient
) -> None:
    stream(page, "What is a zebra pod?")
    assert exchanges(page)[-1]["reply"]
    try:
        eventually(lambda: len(collector.along(*WAY)) == len(WAY), what="the whole way")
    except AssertionError:
        told = [(span.service, span.name, span.span_id, span.parent_id) for span in collector.spans[-40:]]
        pytest.fail(f"not the whole way was told, but: {told}")
    way = form, reply, question, asked, write, generate, _ = collector.along(*WAY)
    services = ["godel-frontend"] * 3 + ["godel-ingress"] * 2 + ["godel-model"] * 2
    assert [span.service for span in way] == services
    assert {span.trace_id for span in way} == {form.trace_id}
    assert collector.parts(asked) == ["plan", "write"]
    assert collector.parts(generate) == ["queue", "encode", "first token", "decode"]
    assert all(outer.began <= inner.began for outer, inner in pairwise(way))
    (replica,) = backend.replicas()
    assert write.attributes["replica_id"] == generate.instance == replica["replica_id"]
    request_id = str(question.attributes["request_id"])
    assert {span.attributes["request_id"] for span in (reply, question, asked, write, generate)} == {request_id}
    assert {line["trace_id"] for line in backend.lines_about(request_id)} == {form.trace_id}
    assert b"zebra" not in b"".join(collector.bodies)
