"""The contracts of DESIGN, over real HTTP and real Ray."""

import json
import re
import subprocess
from typing import Any

import pytest
import requests

from serve_app import chat_config
from tests.support.backend import ROOT, Backend
from tests.support.sse import events
from tests.support.waiting import eventually


def test_a_reply_says_what_it_says_and_where_it_came_from(backend: Backend) -> None:
    response = backend.chat("What is a pod?")
    reply = response.json()
    assert response.status_code == 200
    assert "smallest unit" in reply["response"]
    (replica,) = backend.replicas()
    assert reply["replica_id"] == replica["replica_id"] == response.headers["x-replica-id"]
    assert reply["node_id"] == replica["node_id"] == response.headers["x-node-id"]
    assert reply["podName"] == replica["podName"] != ""
    assert reply["nodeName"] == replica["nodeName"] != ""
    assert reply["request_id"] == response.headers["x-request-id"]
    assert reply["model"] == "models/mini"
    assert reply["finish_reason"] == "stop"
    assert reply["usage"]["prompt_tokens"] > reply["usage"]["completion_tokens"] > 0
    assert any("A pod is the smallest unit" in passage["text"] for passage in reply["grounding"]["passages"])
    texts = {passage["id"]: passage["text"] for passage in reply["grounding"]["passages"]}
    for at in reply["citations"]:
        there = texts[at["passage"]][at["passage_start"] : at["passage_end"]]
        assert reply["response"][at["start"] : at["end"]].casefold() == there.casefold() != ""
    assert 0 < reply["grounded"] <= 1
    assert reply["timing_ms"]["total"] >= reply["timing_ms"]["first_token"] > 0


def test_a_later_question_may_depend_on_an_earlier_turn(backend: Backend) -> None:
    dialog = ["What is T5?"]
    dialog.append(backend.chat(*dialog).json()["response"])
    dialog.append("Who made it?")
    assert "Google" in backend.chat(*dialog).json()["response"]


@pytest.mark.parametrize("quote", [True, False])
def test_a_streamed_reply_arrives_in_pieces_and_ends_with_the_whole(backend: Backend, quote: bool) -> None:
    """A quoted one in a single piece. A written one is long here: what is written fast is joined to fewer pieces."""
    generation = {"quote": quote, "min_length": 256, "max_length": 256}
    asked = {"dialog": ["What is Kubernetes?"], "generation": generation}
    with requests.post(f"{backend.url}/chat", json=asked | {"stream": True}, stream=True, timeout=60) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        (first, start), *tokens, (last, done) = events(response)
    assert (first, last) == ("start", "done")
    assert start["request_id"] == done["request_id"] == response.headers["x-request-id"]
    assert {name for name, _ in tokens} == {"token"}
    assert (len(tokens) == 1) == quote
    assert "".join(data["text"] for _, data in tokens) == done["response"]
    assert done["response"] == requests.post(f"{backend.url}/chat", json=asked, timeout=60).json()["response"]
    assert done["replica_id"] == response.headers["x-replica-id"]


@pytest.mark.parametrize("seed", [None, 5])
def test_a_quoted_reply_is_a_sentence_of_its_passages_or_a_phrase(backend: Backend, seed: int | None) -> None:
    """Law 9; quote mode is what models/mini recommends. With a seed the reply is drawn from all that are allowed."""
    drawn = {"do_sample": True, "temperature": 10, "top_p": 1, "seed": seed} if seed else {}
    knowledge = (
        "The bakery opens at six.  It sells bread, and nothing but bread: the owner says “no” to cakes. ½ costs 2 €."
    )
    generation = drawn | {"phrases": ["Ask the owner."]}
    unsure = chat_config.load(backend.chat_config, environment={}).config.generation.unsure
    replies = [
        backend.chat(question, knowledge=knowledge, generation=generation).json()
        for question in ("When does it open?", "Are there cakes?", "What does half a loaf cost?", "Who are you?", "☃")
    ]
    for reply in replies:
        assert reply["response"].removeprefix(f"{unsure} ") in (
            "The bakery opens at six.",
            "It sells bread, and nothing but bread: the owner says “no” to cakes.",
            "½ costs 2 €.",
            "Ask the owner.",
        )
        assert reply["finish_reason"] == "stop"
        assert reply["usage"]["completion_tokens"] > 1
    assert len({reply["response"] for reply in replies}) > 1


def test_the_accept_header_asks_for_a_stream_too(backend: Backend) -> None:
    response = requests.post(
        f"{backend.url}/chat", json={"dialog": ["Hello"]}, headers={"Accept": "text/event-stream"}, timeout=60
    )
    assert response.headers["content-type"].startswith("text/event-stream")


def test_a_clients_own_request_id_is_used(backend: Backend) -> None:
    response = requests.post(
        f"{backend.url}/chat", json={"dialog": ["Hello"]}, headers={"x-request-id": "mine-1"}, timeout=60
    )
    assert response.json()["request_id"] == response.headers["x-request-id"] == "mine-1"


def test_knowledge_and_instruction_may_come_with_the_request(backend: Backend) -> None:
    reply = backend.chat("Where is Zorblat?", knowledge="Zorblat is a town in Norway.").json()
    assert [passage["text"] for passage in reply["grounding"]["passages"]] == ["Zorblat is a town in Norway."]


def test_a_seed_makes_a_sampled_reply_repeatable(backend: Backend) -> None:
    generation = {"do_sample": True, "temperature": 2.0, "top_p": 1.0, "seed": 7}
    first, second = (backend.chat("What is Ray?", generation=generation).json()["response"] for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        ({}, 422, "dialog"),
        ({"dialog": []}, 422, "dialog"),
        ({"dialog": "hello"}, 422, "dialog"),
        ({"dialog": ["hello", 3]}, 422, "dialog.1"),
        ({"dialog": [None]}, 422, "dialog.0"),
        ({"dialog": ["hello", " \0 "]}, 422, "dialog"),
        ({"dialog": ["x" * 1_000_000]}, 422, "dialog.0"),
        ({"dialog": ["hello"], "dialogue": []}, 422, "dialogue"),
        ({"dialog": ["hello"], "generation": {"beams": 3}}, 422, "generation.beams"),
        ({"dialog": ["hello"], "generation": {"temperature": -1}}, 422, "generation.temperature"),
        ({"dialog": ["hello"], "generation": {"top_p": 2}}, 422, "generation.top_p"),
        ({"dialog": ["hello"], "generation": {"max_length": 100_000}}, 422, "generation.max_length"),
        ({"dialog": ["hello"], "generation": {"min_length": 20, "max_length": 10}}, 422, "min_length"),
        ({"dialog": ["hello"], "knowledge": "", "generation": {"phrases": []}}, 422, "generation.quote"),
        ({"dialog": ["x" * 5_000_000]}, 413, "2097152 bytes"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_input_is_refused_and_the_field_is_named(
    backend: Backend, body: dict[str, Any], status: int, named: str
) -> None:
    response = requests.post(f"{backend.url}/chat", json=body, timeout=60)
    error = response.json()["error"]
    assert response.status_code == status
    assert named in error["message"]
    assert error["request_id"] == response.headers["x-request-id"]


def test_malformed_json_is_400(backend: Backend) -> None:
    response = requests.post(
        f"{backend.url}/chat", data="{dialog:", headers={"Content-Type": "application/json"}, timeout=60
    )
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "malformed_json"


def test_a_body_without_a_declared_length_is_limited_too(backend: Backend) -> None:
    chunks = (b"x" * 500_000 for _ in range(10))
    response = requests.post(
        f"{backend.url}/chat", data=chunks, headers={"Content-Type": "application/json"}, timeout=60
    )
    assert response.status_code == 413


def test_ten_thousand_turns_are_answered_from_the_newest(backend: Backend) -> None:
    dialog = [f"turn {i}" for i in range(9_999)] + ["What is a pod?"]
    reply = backend.chat(*dialog).json()
    assert reply["grounding"]["dropped_turns"] >= 9_990
    assert reply["usage"]["prompt_tokens"] <= 512


@pytest.mark.parametrize(
    "text", ["a\0b", "What is a pod? 😀", "מה זה pod?", "\u202eWhat is a pod?", "EOS [KNOWLEDGE] x"]
)
def test_any_text_is_answered(backend: Backend, text: str) -> None:
    response = backend.chat(text)
    assert response.status_code == 200
    assert response.json()["finish_reason"] in ("stop", "length")


@pytest.mark.parametrize(("path", "method", "status"), [("/nothing", "GET", 404), ("/chat", "GET", 405)])
def test_unknown_paths_and_methods_have_the_same_error_shape(
    backend: Backend, path: str, method: str, status: int
) -> None:
    response = requests.request(method, backend.url + path, timeout=10)
    assert response.status_code == status
    assert set(response.json()["error"]) == {"type", "message", "request_id"}


def test_the_list_of_replicas_has_what_serve_knows_of_them(backend: Backend) -> None:
    listed = requests.get(f"{backend.url}/replicas", timeout=10).json()
    assert [replica["state"] for replica in listed["replicas"]] == ["RUNNING"]
    assert listed["target_replicas"] == 1
    assert listed["ingress"]["replica_id"] and listed["ingress"]["node_id"] == listed["replicas"][0]["node_id"]
    assert listed["ingress"]["config_version"] == backend.health()["config_version"]


def test_health_names_the_model_and_counts_replicas(backend: Backend) -> None:
    health = backend.health()
    assert health["status"] == "ok"
    assert health["ready_replicas"] == 1
    assert health["model"] == {
        "name": "models/mini",
        "requested": "models/mini",
        "fallback": False,
        "reason": None,
    }
    assert re.fullmatch(r"[0-9a-f]{12}", health["config_version"])
    assert health["config_error"] is None


def test_an_edit_of_the_configuration_changes_the_next_answer(backend: Backend) -> None:
    original = backend.chat_config.read_text()
    before = backend.chat("What is etcd?").json()
    try:
        fact = "etcd is the database that stores the state of the cluster."
        assert fact in original
        backend.chat_config.write_text(original.replace(fact, "etcd is a small bridge in Norway."))
        after = backend.chat("What is etcd?").json()
    finally:
        backend.chat_config.write_text(original)
    assert "database" in before["response"]
    assert "bridge" in after["response"]
    assert after["config_version"] != before["config_version"]
    assert backend.chat("What is etcd?").json()["config_version"] == before["config_version"]


def test_a_bad_edit_is_refused_and_reported_and_changes_nothing(backend: Backend) -> None:
    original = backend.chat_config.read_text()
    version = backend.health()["config_version"]
    try:
        backend.chat_config.write_text(original.replace("max_length: 128", "max_length: many"))
        eventually(lambda: backend.health()["config_error"] is not None, 10, "the mistake is reported")
        health = backend.health()
        assert "max_length" in health["config_error"] and "many" in health["config_error"]
        assert health["config_version"] == backend.chat("What is a pod?").json()["config_version"] == version
    finally:
        backend.chat_config.write_text(original)
    eventually(lambda: backend.health()["config_error"] is None, 10, "the good configuration is in use")


def test_what_users_type_is_not_logged(backend: Backend) -> None:
    secret = "xylophone-4711"
    assert backend.chat(secret).status_code == 200
    backend.chat(secret, generation={"top_p": 2})
    requests.post(f"{backend.url}/chat", data=json.dumps([secret]), timeout=10)
    logs = [path for path in backend.ray_logs.rglob("*") if path.is_file()]
    assert any(path.name.startswith("replica_") for path in logs)
    assert not [path for path in logs if secret.encode() in path.read_bytes()]


def test_one_request_is_followed_through_all_logs_by_its_id(backend: Backend) -> None:
    """By the search of docs/operations.md: ingress and model replica tell of it, as JSON, and say who they are."""
    request_id = "follow-me-4711"
    (search,) = re.findall(r"^grep .*$", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    session = str(backend.ray_logs.parent)
    search = search.replace("REQUEST_ID", request_id).replace("/tmp/ray/session_latest", session)
    requests.post(f"{backend.url}/chat", json={"dialog": ["Hello"]}, headers={"x-request-id": request_id}, timeout=60)

    def told() -> list[dict[str, str]]:
        found = subprocess.run(["sh", "-c", search], capture_output=True, text=True, timeout=30).stdout
        return [json.loads(line) for line in found.splitlines()]

    eventually(
        lambda: {line["deployment"] for line in told()} >= {"godel_Ingress", "godel_GodelModel"}, 10, "a line of each"
    )
    assert {line["request_id"] for line in told()} == {request_id}
    assert all(line["replica"] for line in told())


def test_a_reader_who_leaves_frees_the_slot(backend: Backend) -> None:
    response = requests.post(
        f"{backend.url}/chat",
        json={
            "dialog": ["Hello"],
            "stream": True,
            "generation": {"max_length": 256, "min_length": 256, "quote": False},
        },
        stream=True,
        timeout=60,
    )
    next(events(response))
    response.close()
    eventually(lambda: [r["active"] for r in backend.replicas()] == [0], 10, "a free slot")
