"""The HTTP side without Ray: contracts, status codes, streaming, bad input, the configuration in use."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.chat_config import VersionedConfig
from serve_app.errors import DeadlineExceeded, NoReplica, Overloaded, ReplyImpossible, ReplyInterrupted, Starting
from serve_app.ingress import _event, _Token
from serve_app.keys import KeyRing
from serve_app.messages import Deployed, DeployedReplica, GenerateRequest, TokenChunk
from serve_app.sentence_encoder import sentence_encoder
from tests.support.application import Application, words
from tests.support.checkpoints import small_tokenizer
from tests.support.fakes import ORIGIN


@pytest.fixture
def chat_config(tmp_path: Path) -> Path:
    path = tmp_path / "chatbot.yaml"
    path.write_text("instruction: Answer.\nknowledge: A pod is small. A node is big.\ngeneration: {max_length: 50}\n")
    return path


@pytest.fixture
def application(chat_config: Path) -> Iterator[Application]:
    yield Application(words("the pod is small."), chat_config)


def test_the_reply_has_the_contracts_fields(application: Application) -> None:
    response = application.post(dialog=["What is a pod?"])
    reply = response.json()
    assert response.status_code == 200
    assert reply["response"] == "the pod is small."
    assert (reply["podName"], reply["nodeName"]) == ("pod-1", "node-1")
    assert (reply["replica_id"], reply["node_id"]) == ("r1", "n1")
    assert (response.headers["x-replica-id"], response.headers["x-node-id"]) == ("r1", "n1")
    assert set(reply) == {
        "response",
        "podName",
        "nodeName",
        "replica_id",
        "node_id",
        "origins",
        "model",
        "config_version",
        "finish_reason",
        "usage",
        "grounding",
        "citations",
        "grounded",
        "timing_ms",
        "request_id",
    }
    assert set(reply["grounding"]) == {"passages", "dropped_turns", "dropped_passages", "truncated_tokens"}
    assert 0 < reply["usage"]["prompt_tokens"] < reply["usage"]["max_prompt_tokens"]


def test_what_is_prepared_is_not_read_when_somebody_asks(application: Application, chat_config: Path) -> None:
    for knowledge in ("A kiln is hot. A wheel spins.", "A loom is loud. A shuttle flies."):
        chat_config.write_text(f"instruction: Answer.\nknowledge: {knowledge}\n")
        application.config_file.refresh()
        application.chat.prepare()
        read = sentence_encoder().sentence.cache_info().misses
        assert application.post(dialog=["Is it hot or loud?"]).status_code == 200
        assert knowledge[:8] in application.prompt()
        assert sentence_encoder().sentence.cache_info().misses == read


def test_the_reply_says_which_of_its_words_stand_in_a_passage_and_a_stream_says_it_too(
    application: Application,
) -> None:
    reply = application.post(dialog=["What is a pod?"]).json()
    (citation,) = reply["citations"]
    (passage,) = (p for p in reply["grounding"]["passages"] if p["id"] == citation["passage"])
    assert reply["response"][citation["start"] : citation["end"]] == "pod is small."
    assert passage["text"][citation["passage_start"] : citation["passage_end"]] == "pod is small."
    assert reply["grounded"] == 0.75
    streamed = application.post(dialog=["What is a pod?"], stream=True).text
    done = json.loads(streamed.split("event: done")[1].split("data: ")[1])
    assert (done["citations"], done["grounded"]) == (reply["citations"], reply["grounded"])


def test_the_model_reads_instruction_dialogue_and_passages(application: Application) -> None:
    application.post(dialog=["Hello", "Hi!", "What is a pod?"])
    prompt = application.prompt()
    assert prompt.startswith("Answer. [CONTEXT] Hello EOS Hi! EOS What is a pod? [KNOWLEDGE] A pod is small.")


def test_a_stream_ends_with_the_same_object_as_json(application: Application) -> None:
    body = application.post(dialog=["What is a pod?"], stream=True).text
    plain = application.post(dialog=["What is a pod?"]).json()
    names = [line.removeprefix("event: ") for line in body.splitlines() if line.startswith("event: ")]
    assert names == ["start"] + ["token"] * 4 + ["done"]
    assert f'"response":"{plain["response"]}"' in body


def test_a_stream_says_first_who_begins_to_write(application: Application) -> None:
    """A reply that is stopped has no `done`, and is somebody's all the same."""
    start, done = (
        json.loads(
            application.post(dialog=["What is a pod?"], stream=True)
            .text.split(f"event: {name}\ndata: ")[1]
            .split("\n")[0]
        )
        for name in ("start", "done")
    )
    for name in ("replica_id", "node_id", "podName", "nodeName", "model", "config_version"):
        assert start[name] == done[name] != ""
    assert start["timing_ms"]["first_token"] > 0


def test_every_request_has_a_seed_of_its_own_so_that_it_can_be_continued(application: Application) -> None:
    application.post(dialog=["Hello"])
    application.post(dialog=["Hello"])
    first, second = (request.sampling.seed for request in application.replicas.requests)
    assert first is not None and second is not None and first != second


def test_whoever_asks_again_by_the_same_id_gets_the_same_reply_and_it_is_not_written_twice(
    application: Application,
) -> None:
    def ask(id: str, *dialog: str, **generation: Any) -> str:
        return str(
            application.client.post(
                "/chat",
                json={"dialog": dialog, "stream": True, "generation": generation or None},
                headers={"x-request-id": id},
            ).text
        )

    first = ask("mine", "Hello")
    start = json.loads(first.split("data: ")[1].split("\n")[0])
    assert start["request_id"] == "mine"
    assert ask("mine", "Hello") == ask("mine", "Hello", seed=start["seed"]) == first
    assert len(application.replicas.requests) == 1
    ask("mine", "Hello, you")  # the same name, another question
    ask("mine", "Hello", temperature=0.5)
    ask("yours", "Hello")
    assert len(application.replicas.requests) == 4
    assert application.replicas.requests[1].sampling.seed == start["seed"], "another ingress would write the same"


def test_a_reply_that_failed_is_written_anew(chat_config: Path) -> None:
    fates: list[list[TokenChunk | Exception]] = [[NoReplica("none")], [TokenChunk([20], ORIGIN, "stop")]]
    application = Application(lambda request: fates.pop(0), chat_config)
    statuses = [
        application.client.post("/chat", json={"dialog": ["Hello"]}, headers={"x-request-id": "mine"}).status_code
        for _ in range(2)
    ]
    assert statuses == [503, 200]


def test_all_who_wrote_a_part_are_named_oldest_first(chat_config: Path) -> None:
    other = replace(ORIGIN, replica_id="r2", pod_name="pod-2")
    script = [TokenChunk([20], ORIGIN), TokenChunk([21], ORIGIN), TokenChunk([22], other, "stop")]
    application = Application(lambda request: list(script), chat_config)
    reply = application.post(dialog=["Hello"]).json()
    assert [(origin["replica_id"], origin["podName"]) for origin in reply["origins"]] == [
        ("r1", "pod-1"),
        ("r2", "pod-2"),
    ]
    assert (reply["replica_id"], reply["podName"]) == ("r2", "pod-2")


def test_a_full_house_refuses_before_it_reads_the_question(chat_config: Path) -> None:
    application = Application(lambda request: [TokenChunk([20], ORIGIN, "stop")], chat_config, max_waiting=0)
    application.replicas.ready = []
    response = application.client.post("/chat", content=b"not even JSON")
    assert response.status_code == 429
    assert response.json()["error"]["type"] == "overloaded"
    assert int(response.headers["Retry-After"]) >= 1


def test_generation_overrides_only_what_it_names(application: Application) -> None:
    application.post(dialog=["Hello"], generation={"temperature": 0.5, "seed": 9})
    sampling = application.replicas.requests[-1].sampling
    assert (sampling.temperature, sampling.seed, sampling.max_length) == (0.5, 9, 50)


@pytest.mark.parametrize(
    ("error", "status", "type_"),
    [
        (Overloaded("busy"), 429, "overloaded"),
        (NoReplica("none"), 503, "no_replica"),
        (ReplyInterrupted("lost"), 503, "reply_interrupted"),
        (DeadlineExceeded("late"), 504, "deadline_exceeded"),
        (RuntimeError("a secret"), 500, "internal_error"),
    ],
)
def test_an_error_before_the_first_token_has_its_status_even_in_a_stream(
    chat_config: Path, error: Exception, status: int, type_: str
) -> None:
    application = Application(lambda request: [error], chat_config)
    for stream in (False, True):
        response = application.post(dialog=["Hello"], stream=stream)
        assert response.status_code == status
        assert response.json()["error"]["type"] == type_
        assert "a secret" not in response.text
        assert ("Retry-After" in response.headers) == (status in (429, 503) and type_ != "reply_interrupted")


@pytest.mark.parametrize(
    ("error", "type_"), [(DeadlineExceeded("late"), "deadline_exceeded"), (RuntimeError("bug"), "internal_error")]
)
def test_an_error_during_a_stream_is_its_last_event(chat_config: Path, error: Exception, type_: str) -> None:
    application = Application(lambda request: [TokenChunk([20], ORIGIN), error], chat_config)
    events = application.post(dialog=["Hello"], stream=True).text.strip().split("\n\n")
    assert events[-1].startswith("event: error") and type_ in events[-1]
    assert "event: done" not in "".join(events)


@given(st.text())
def test_whatever_a_token_holds_it_is_one_event(text: str) -> None:
    name, data, end, rest = _event("token", _Token(text=text)).split("\n")
    assert (name, end, rest) == ("event: token", "", "")
    assert json.loads(data.removeprefix("data: ")) == {"text": text}
    assert "\r" not in data


@pytest.mark.parametrize(("stream", "accept"), [(False, "*/*"), (True, "*/*"), (False, "text/event-stream")])
def test_the_replicas_are_told_whether_somebody_reads_along(
    application: Application, stream: bool, accept: str
) -> None:
    response = application.client.post("/chat", json={"dialog": ["Hi"], "stream": stream}, headers={"Accept": accept})
    streamed = response.headers["content-type"].startswith("text/event-stream")
    assert application.replicas.requests[-1].streamed == streamed == (stream or accept == "text/event-stream")


def test_the_replicas_stream_is_closed_after_every_reply(application: Application) -> None:
    for stream in (False, True):
        application.post(dialog=["Hello"], stream=stream)
    assert application.replicas.closed == 2


@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_ends_before_a_stop_sequence_and_its_replica_is_told(application: Application, stream: bool) -> None:
    body = application.post(dialog=["What is a pod?"], stop=["is sm", "never"], stream=stream).text
    *events, reply = (json.loads(line.split("data: ")[-1]) for line in body.splitlines() if line.endswith("}"))
    assert (reply["response"], reply["finish_reason"]) == ("the pod", "stop")
    assert reply["citations"] == [] and reply["usage"]["completion_tokens"] > 0
    assert application.replicas.requests[-1].streamed, "or the replica would write on until it has some tokens"
    assert application.replicas.left_early == 1
    assert "".join(event.get("text", "") for event in events).strip() == ("the pod" if stream else "")


@pytest.mark.parametrize("stop", [["a"] * 5, [""], ["x" * 201], [3]])
def test_stop_sequences_are_few_and_none_is_empty(application: Application, stop: list[Any]) -> None:
    response = application.post(dialog=["What is a pod?"], stop=stop)
    assert response.status_code == 422 and "stop" in response.json()["error"]["message"]


def test_a_stream_splits_no_character(chat_config: Path) -> None:
    """Byte-fallback pieces arrive one by one; half an emoji is not text."""
    tokenizer = small_tokenizer()
    ids = tokenizer.encode("pod 😀!", add_special_tokens=False)
    script = [TokenChunk([token], ORIGIN, "stop" if i == len(ids) - 1 else None) for i, token in enumerate(ids)]
    body = Application(lambda request: list(script), chat_config).post(dialog=["Hello"], stream=True).text
    assert "\N{REPLACEMENT CHARACTER}" not in body
    assert '"text":"😀"' in body


def test_what_a_stream_holds_back_comes_at_its_end(chat_config: Path) -> None:
    """The model stopped within an emoji: the reply shows that, and so does the stream."""
    ids = small_tokenizer().encode("pod 😀", add_special_tokens=False)[:-1]
    script = [TokenChunk([token], ORIGIN, "stop" if i == len(ids) - 1 else None) for i, token in enumerate(ids)]
    body = Application(lambda request: list(script), chat_config).post(dialog=["Hello"], stream=True).text
    events = [json.loads(line.removeprefix("data: ")) for line in body.splitlines() if line.startswith("data: ")]
    assert "".join(event["text"] for event in events if "text" in event) == (events[-1]["response"])
    assert events[-1]["response"].endswith("\N{REPLACEMENT CHARACTER}")


def test_health_is_503_without_a_replica_and_still_says_all(application: Application) -> None:
    application.replicas.ready = []
    response = application.client.get("/health")
    assert response.status_code == 503
    assert response.json()["status"] == "unavailable"
    assert response.json()["model"]["name"] == "mini"


def test_where_replicas_are_started_on_demand_health_is_good_without_one(chat_config: Path) -> None:
    """Or else nothing would be asked that starts one; but a replica that is there and does not answer is no good."""
    application = Application(words("Hi"), chat_config, cold_start_s=0)
    replicas, (status,) = application.replicas, application.replicas.ready

    def health() -> tuple[int, str]:
        response = application.client.get("/health")
        return response.status_code, response.json()["status"]

    replicas.ready = []
    assert health() == (200, "idle")
    replicas.is_starting = True
    assert health() == (200, "starting")
    replicas.late = [status]
    assert health() == (503, "unavailable")


@pytest.mark.parametrize("stream", [True, False])
def test_a_cold_start_is_told_with_when_to_come_back(chat_config: Path, stream: bool) -> None:
    application = Application(lambda request: [Starting("a model replica is starting")], chat_config, cold_start_s=0)
    response = application.post(dialog=["Hello"], stream=stream)
    assert (response.status_code, response.json()["error"]["type"]) == (503, "starting")
    assert int(response.headers["Retry-After"]) > 0
    assert application.counted == [("starting", "")], "as a refusal, and not as a reply that failed"


def test_health_says_that_the_fallback_runs_and_why(chat_config: Path) -> None:
    application = Application(words("Hi"), chat_config, fallback_reason="the hub cannot be reached")
    model = application.client.get("/health").json()["model"]
    assert model == {"name": "mini", "requested": "godel", "fallback": True, "reason": "the hub cannot be reached"}


def test_replicas_are_listed_with_their_load_the_model_and_the_configuration_in_use(application: Application) -> None:
    listed = application.client.get("/replicas").json()
    assert listed["replicas"] == [
        {
            "replica_id": "r1",
            "node_id": "n1",
            "podName": "pod-1",
            "nodeName": "node-1",
            "state": "RUNNING",
            "slots": 4,
            "active": 1,
            "waiting": 2,
            "tokens_per_second": 3.5,
            "stalled_s": 0.0,
        }
    ]
    health = application.client.get("/health").json()
    assert listed["model"] == health["model"]
    assert listed["ingress"]["config_version"] == health["config_version"]
    assert listed["target_replicas"] is None


def test_replicas_that_serve_is_making_are_listed_too(application: Application) -> None:
    application.replicas.controller = Deployed(2, (DeployedReplica("r2", "a2", "n2", "STARTING"),))
    listed = application.client.get("/replicas").json()
    assert [(each["replica_id"], each["state"], each["slots"]) for each in listed["replicas"]] == [
        ("r1", "RUNNING", 4),
        ("r2", "STARTING", None),
    ]
    assert listed["target_replicas"] == 2


def test_a_replica_is_ended_in_a_demo_alone(application: Application, chat_config: Path) -> None:
    assert application.client.post("/demo/end", json={"replica_id": "r1"}).status_code == 404
    demo = Application(words("Hi"), chat_config, demo=True)
    assert demo.client.post("/demo/end", json={"replica_id": "r2"}).status_code == 422
    assert demo.client.post("/demo/end", json={"replica_id": "r1"}).status_code == 200
    assert (application.replicas.ended, demo.replicas.ended) == ([], ["r1"])


def test_an_edit_changes_the_next_prompt_and_a_bad_one_is_on_health(
    application: Application, chat_config: Path
) -> None:
    chat_config.write_text("instruction: Reply in rhyme.\nknowledge: ''\n")
    application.post(dialog=["Hello"])
    assert application.prompt().startswith("Reply in rhyme. [CONTEXT] Hello")
    chat_config.write_text("instruction: 3\n")
    application.post(dialog=["Hello"])
    assert application.prompt().startswith("Reply in rhyme.")
    assert "instruction" in application.client.get("/health").json()["config_error"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"dialog": ["x" * 2_001]}, "dialog.0"),
        ({"dialog": ["x" * 2_000] * 6}, "dialog: 12000 characters in all; at most 11000 are allowed"),
        ({"dialog": ["Hello"], "knowledge": "x" * 5_001}, "knowledge: 5001 characters; at most 5000 are allowed"),
        ({"dialog": ["Hello"], "instruction": "x" * 2_001}, "instruction"),
        ({"dialog": ["Hello", "\n\t\0"]}, "dialog"),
        ({"dialog": ["Hello", "\x1b\x85\ufeff\u2028"]}, "dialog"),
        ({"dialog": ["Hello"], "generation": {"max_length": 257}}, "generation.max_length"),
        ({"dialog": ["Hello"], "generation": {"min_length": 51}}, "min_length"),
        ({"dialog": ["Hello"], "knowledge": "", "generation": {"quote": True}}, "generation.quote"),
        ({"dialog": ["Hello"], "generation": {"quote": True, "max_length": 3}}, "generation.max_length"),
        ({"dialog": ["Hello"], "generation": {"phrases": ["x" * 201]}}, "generation.phrases.0"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_limits_name_the_field(application: Application, body: dict[str, Any], named: str) -> None:
    response = application.post(**body)
    assert response.status_code == 422
    assert named in response.json()["error"]["message"]
    assert not application.replicas.requests


def test_what_is_too_large_is_refused_before_a_planner_or_the_configuration_sees_it(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application.config_file, "refresh", lambda: pytest.fail("was asked"))
    assert application.post(dialog=["Hello"], knowledge="x" * 5_001).status_code == 422


def test_the_deadline_counts_from_arrival(chat_config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counted from when the request was ranked and tokenized."""
    application = Application(words("Hi"), chat_config, timeout_s=30)
    refresh = application.config_file.refresh

    def slowly() -> VersionedConfig:
        time.sleep(0.2)
        return refresh()

    monkeypatch.setattr(application.config_file, "refresh", slowly)
    reply = application.post(dialog=["Hello"]).json()
    assert application.replicas.requests[-1].budget_s < 29.8
    assert reply["timing_ms"]["total"] >= reply["timing_ms"]["first_token"] >= 200


def test_a_request_that_is_not_even_begun_by_its_deadline_is_504(
    chat_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    application = Application(words("Hi"), chat_config, timeout_s=0.05)
    refresh, released = application.config_file.refresh, threading.Event()

    def blocked() -> VersionedConfig:
        released.wait(10)
        return refresh()

    monkeypatch.setattr(application.config_file, "refresh", blocked)
    try:
        response = application.post(dialog=["Hello"])
    finally:
        released.set()
    assert (response.status_code, response.json()["error"]["type"]) == (504, "deadline_exceeded")
    assert not application.replicas.requests


def test_long_texts_are_read_in_few_threads_of_their_own(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were read in those that all of asyncio shares: twenty of them, that took turns with the streams."""
    names: set[str] = set()
    refresh = application.config_file.refresh

    def noted() -> VersionedConfig:
        names.add(threading.current_thread().name)
        return refresh()

    monkeypatch.setattr(application.config_file, "refresh", noted)
    with ThreadPoolExecutor(12) as clients:
        statuses = list(clients.map(lambda _: application.post(dialog=["Hello"]).status_code, range(24)))
    assert statuses == [200] * 24
    assert names <= {"plan_0", "plan_1"}


def test_what_was_wrong_in_a_text_is_not_repeated(application: Application) -> None:
    response = application.client.post("/chat", json={"dialog": "my secret", "stream": "my secret"})
    assert response.status_code == 422
    assert "my secret" not in response.text


@pytest.mark.parametrize(
    "content", [b'{"dialog":' + b"[" * 90_000, b'{"dialog": ["\xff"]}', b"9" * 5_000, b"{"], ids=range(4)
)
def test_what_is_no_json_is_400(application: Application, content: bytes) -> None:
    response = application.client.post("/chat", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "malformed_json"


def test_an_error_is_short_however_long_the_name_or_number(application: Application) -> None:
    """Names of fields and numbers were repeated in full."""
    for body in ({"x" * 90_000: 1}, {"generation": {"top_k": 10**4000}}):
        response = application.post(dialog=["Hi"], **body)
        assert response.status_code == 422
        assert len(response.text) < 300


@pytest.mark.parametrize("path", ["/chat", "/health", "/replicas"])
def test_a_method_that_is_not_allowed_is_405_and_says_which_is(application: Application, path: str) -> None:
    response = application.client.put(path)
    assert response.status_code == 405
    assert response.headers["Allow"] == ("POST" if path == "/chat" else "GET")
    assert response.json()["error"]["type"] == "method_not_allowed"


def test_half_a_surrogate_pair_is_refused(application: Application) -> None:
    response = application.client.post(
        "/chat", content=b'{"dialog": ["\\ud800"]}', headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 422


def test_a_request_id_is_harmless_in_logs(application: Application) -> None:
    response = application.client.post(
        "/chat", json={"dialog": ["Hello"]}, headers={"x-request-id": "a b<c>" + "d" * 99}
    )
    assert response.json()["request_id"] == ("abc" + "d" * 99)[:64]


# --- quote mode -----------------------------------------------------------------------------------------------------


def choose_best(request: GenerateRequest) -> list[TokenChunk | Exception]:
    """A model that leaves the choice to the bonuses."""
    best = max(request.candidates, key=lambda candidate: candidate.bonus)
    return [TokenChunk(list(best.token_ids[:-1]), ORIGIN, "stop")]


@pytest.fixture
def quoting(chat_config: Path) -> Application:
    return Application(choose_best, chat_config, quote=True)


@pytest.mark.parametrize(
    ("recommended", "asked", "quoted"),
    [(True, None, True), (True, False, False), (False, None, False), (False, True, True)],
)
def test_the_model_recommends_and_the_request_decides(
    chat_config: Path, recommended: bool, asked: bool | None, quoted: bool
) -> None:
    application = Application(words("Hi"), chat_config, quote=recommended)
    application.post(dialog=["What is a pod?"], generation={"quote": asked})
    assert bool(application.replicas.requests[-1].candidates) == quoted


def test_the_configuration_decides_over_the_model(chat_config: Path) -> None:
    chat_config.write_text("instruction: Answer.\nknowledge: A pod is small.\ngeneration: {quote: false}\n")
    application = Application(words("Hi"), chat_config, quote=True)
    application.post(dialog=["What is a pod?"])
    assert application.replicas.requests[-1].candidates == ()


def test_candidates_are_the_passages_sentences_and_the_phrases(quoting: Application) -> None:
    quoting.post(dialog=["What is a pod?"], generation={"phrases": ["Goodbye!"], "quote_prior": 10})
    found = quoting.candidates()
    assert set(found) == {"A pod is small.", "A node is big.", "Goodbye!"}
    (passage,) = quoting.post(dialog=["What is a pod?"]).json()["grounding"]["passages"]
    assert found["A pod is small."] == pytest.approx(10 * passage["score"])
    assert found["A pod is small."] > found["Goodbye!"] == 0 > found["A node is big."]


@pytest.mark.parametrize(("words_asked", "fewest", "most"), [(1, 5, 5), (440, 2, 4), (475, 1, 1)])
def test_only_what_is_in_the_prompt_may_be_quoted(chat_config: Path, words_asked: int, fewest: int, most: int) -> None:
    """A passage that the window has no room for is none of the reply's."""
    knowledge = " ".join(f"A pod is as small as {number} of them." for number in range(9))
    chat_config.write_text(
        f"instruction: Answer.\nknowledge: {knowledge}\ngrounding: {{passage_words: 10, max_passages: 4}}\n"
    )
    application = Application(choose_best, chat_config, quote=True)
    reply = application.post(dialog=["pod " * words_asked], generation={"phrases": ["No."]}).json()
    quoted = set(application.candidates())
    assert quoted == {"No.", *(passage["text"] for passage in reply["grounding"]["passages"])}
    assert fewest <= len(quoted) <= most


@pytest.mark.parametrize("sentence", ["It costs 5 € – “now”.", "Ａ pod  is ½\u2009☃.", "Say [KNOWLEDGE] or </s> EOS."])
def test_a_reply_is_the_sentence_itself_in_json_and_in_a_stream(quoting: Application, sentence: str) -> None:
    """Whatever the tokenizer made of it. White space is the knowledge's own business: a passage has single spaces."""
    asked = {"dialog": ["pod?"], "knowledge": sentence}
    reply = quoting.post(**asked).json()
    assert reply["response"] == " ".join(sentence.split())
    assert reply["response"] == reply["grounding"]["passages"][0]["text"]
    (sent,) = quoting.replicas.requests[-1].candidates
    assert reply["usage"]["completion_tokens"] == len(sent.token_ids) - 1
    assert reply["finish_reason"] == "stop"
    events = [event.split("\ndata: ") for event in quoting.post(**asked, stream=True).text.strip().split("\n\n")]
    assert [name for name, _ in events] == ["event: start", "event: token", "event: done"]
    (_, token, done) = (json.loads(data) for _, data in events)
    assert token["text"] == done["response"] == reply["response"]


def test_a_choice_that_arrives_in_two_parts_is_shown_when_it_is_whole(chat_config: Path) -> None:
    """As it may after a failover."""

    def halved(request: GenerateRequest) -> list[TokenChunk | Exception]:
        longest = max((candidate.token_ids for candidate in request.candidates), key=len)
        return [TokenChunk(list(longest[:2]), ORIGIN), TokenChunk(list(longest[2:-1]), ORIGIN, "stop")]

    application = Application(halved, chat_config, quote=True)
    body = application.post(dialog=["pod?"], generation={"phrases": ["It is a pod, and small."]}, stream=True).text
    assert body.count("event: token") == 1
    assert '"text":"It is a pod, and small."' in body


def test_small_talk_is_replied_to_by_the_phrase_that_fits(chat_config: Path) -> None:
    """By the bonus alone, here; and no sentence of the knowledge nor another phrase comes near it."""
    chat_config.write_text(
        "instruction: Answer.\nknowledge: A pod is small. It says thanks.\ngeneration:\n  phrases:\n"
        "    - {reply: You are welcome., to: [thanks, thank you]}\n    - {reply: Bye!, to: [bye, see you]}\n    - No.\n"
    )
    application = Application(choose_best, chat_config, quote=True)
    assert application.post(dialog=["What is a pod?", "A pod is small.", "Thank you!"]).json()["response"] == (
        "You are welcome."
    )
    found = application.candidates()
    assert found["You are welcome."] > 0 == found["No."] > found["Bye!"]
    assert application.post(dialog=["What is a pod?"]).json()["response"] == "A pod is small."
    examples = [{"reply": "Ahoy!", "to": ["ahoy"]}]
    assert application.post(dialog=["Ahoy"], generation={"phrases": examples}).json()["response"] == "Ahoy!"


def test_phrases_may_be_quoted_without_any_knowledge(quoting: Application) -> None:
    assert quoting.post(dialog=["Hi"], knowledge="", generation={"phrases": ["Hello!"]}).json()["response"] == "Hello!"


@pytest.fixture
def guarded(chat_config: Path, tmp_path: Path) -> Application:
    """Only the keys `page`, and `batch` once a minute, may ask."""
    file = tmp_path / "keys.yaml"
    file.write_text("page: sk-of-the-page-itself\nbatch: {key: sk-of-the-batch-itself, requests_per_minute: 1}\n")
    return Application(words("the pod is small."), chat_config, keys=KeyRing(file))


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer sk-of-somebody-else", "Basic sk-of-the-page-itself"]
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/chat"), ("GET", "/replicas"), ("GET", "/openapi.json")])
def test_without_a_good_key_nothing_is_answered(
    guarded: Application, authorization: str | None, method: str, path: str
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    refused = guarded.client.request(method, path, headers=headers, content=b"not read")
    assert refused.status_code == 401
    assert refused.json()["error"]["type"] == "unauthorized"
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert guarded.replicas.requests == []


def test_health_needs_no_key(guarded: Application) -> None:
    assert guarded.client.get("/health").status_code == 200


def test_with_a_good_key_all_is_as_ever_and_the_log_has_its_name(
    guarded: Application, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ray.serve.godel")
    headers = {"Authorization": "bearer sk-of-the-page-itself"}
    assert guarded.client.post("/chat", json={"dialog": ["x"]}, headers=headers).status_code == 200
    assert guarded.client.get("/replicas", headers=headers).status_code == 200
    assert "asked with the key page" in caplog.text and "sk-" not in caplog.text


def test_a_keys_rate_is_held_to(guarded: Application) -> None:
    headers = {"Authorization": "Bearer sk-of-the-batch-itself"}
    answers = [guarded.client.get("/replicas", headers=headers) for _ in range(4)]  # a minute may end in between
    assert answers[0].status_code == 200
    assert answers[-1].status_code == 429 and int(answers[-1].headers["Retry-After"]) <= 60


def test_replies_and_refusals_are_counted_by_the_name_of_the_key(guarded: Application) -> None:
    page = {"Authorization": "Bearer sk-of-the-page-itself"}
    batch = {"Authorization": "Bearer sk-of-the-batch-itself"}
    asked: dict[str, Any] = {"dialog": ["pod?"]}
    guarded.client.post("/chat", json=asked, headers=page)
    guarded.client.post("/chat", json=asked, headers={"Authorization": "Bearer sk-of-somebody-else"})
    guarded.client.post("/chat", json={"dialog": [" "]}, headers=page)
    guarded.client.post("/chat", json={}, headers=page)
    guarded.client.get("/nowhere", headers=page)
    assert guarded.counted == [
        ("done", "page"),
        ("unauthorized", ""),
        ("invalid_request", "page"),
        ("invalid_request", "page"),
        ("not_found", "page"),
    ]
    guarded.counted.clear()
    for _ in range(3):  # a minute may end in between
        guarded.client.post("/chat", json=asked, headers=batch)
    assert {("done", "batch"), ("key_rate", "batch")} == set(guarded.counted)


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (NoReplica("none"), "no_replica"),
        (DeadlineExceeded("late"), "deadline"),
        (ReplyImpossible("no"), "failed"),
        (RuntimeError("a bug"), "failed"),
    ],
)
def test_each_request_is_counted_once(chat_config: Path, error: Exception, counted: str) -> None:
    application = Application(lambda request: [error], chat_config)
    assert application.post(dialog=["pod?"]).status_code >= 500
    assert application.counted == [(counted, "")]


def test_a_full_service_is_counted_as_such(chat_config: Path) -> None:
    application = Application(words("the pod is small."), chat_config, max_waiting=0)
    application.replicas.ready = []
    application.post(dialog=["pod?"])
    assert application.counted == [("queue_full", "")]
