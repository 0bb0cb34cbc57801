"""/v1 as it is on the wire, without Ray; the real client asks it in tests/serve."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI, RateLimitError

from serve_app.checkpoint import ROOT
from serve_app.errors import DeadlineExceeded, NoReplica, Overloaded, ReplyInterrupted, Starting
from serve_app.keys import KeyRing
from serve_app.messages import TokenChunk
from tests.support.application import Application, words
from tests.support.fakes import ORIGIN

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HELLO = [{"role": "user", "content": "What is a pod?"}]


@pytest.fixture
def chat_config(tmp_path: Path) -> Path:
    path = tmp_path / "chatbot.yaml"
    path.write_text("instruction: Answer.\nknowledge: A pod is small. A node is big.\ngeneration: {max_length: 50}\n")
    return path


@pytest.fixture
def application(chat_config: Path) -> Application:
    return Application(words("the pod is small."), chat_config, fallback_reason="away")


def ask(application: Application, path: str = CHAT, **fields: Any) -> Any:
    asked = {"messages": HELLO} if path == CHAT else {"prompt": "What is a pod?"}
    return application.client.post(path, json={"model": "mini"} | asked | fields)


def chunks(response: Any) -> Iterator[dict[str, Any]]:
    """Of a stream that ends as it must."""
    *events, end = response.text.split("\n\n")
    assert events.pop() == "data: [DONE]" and end == ""
    return (json.loads(event.removeprefix("data: ")) for event in events)


def test_the_served_model_is_listed_and_found_by_both_of_its_names(application: Application) -> None:
    """The fallback answers for the model that was asked for in the settings, and says so."""
    listed = application.client.get("/v1/models").json()
    assert listed["object"] == "list"
    (model,) = listed["data"]
    assert (model["id"], model["object"]) == ("mini", "model")
    for name in ("mini", "godel"):
        assert application.client.get(f"/v1/models/{name}").json() == model
        assert ask(application, model=name).json()["model"] == "mini"


@pytest.mark.parametrize("name", ["gpt-4o", "", "org/name", "x" * 9000])
def test_another_model_is_404_and_the_served_one_is_named(application: Application, name: str) -> None:
    for response in (ask(application, model=name), ask(application, TEXT, model=name)):
        error = response.json()["error"]
        assert (response.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
        assert "mini is what is served" in error["message"]
    assert application.client.get("/v1/models/org/name").json()["error"]["code"] == "model_not_found"


def test_a_chat_completion_has_openais_fields_and_where_it_came_from(application: Application) -> None:
    response = ask(application)
    answer = response.json()
    (choice,) = answer.pop("choices")
    reply = choice.pop("reply")
    assert answer.pop("created") > 1_700_000_000
    assert answer == {
        "id": f"chatcmpl-{reply['request_id']}",
        "object": "chat.completion",
        "model": "mini",
        "system_fingerprint": f"fp_{reply['config_version']}",
        "usage": {
            "prompt_tokens": reply["usage"]["prompt_tokens"],
            "completion_tokens": reply["usage"]["completion_tokens"],
            "total_tokens": reply["usage"]["prompt_tokens"] + reply["usage"]["completion_tokens"],
        },
    }
    assert choice == {
        "index": 0,
        "message": {"role": "assistant", "content": "the pod is small.", "refusal": None},
        "finish_reason": "stop",
        "logprobs": None,
    }
    assert set(reply) == set(application.post(dialog=["What is a pod?"]).json()), "what /chat answers"
    expected = {"x-replica-id": "r1", "x-node-id": "n1", "x-model": "mini", "x-grounded": "0.75"}
    assert expected.items() <= dict(response.headers).items()
    assert response.headers["x-config-version"] == reply["config_version"]
    assert response.headers["x-cited-passages"] == reply["citations"][0]["passage"]


def test_a_completion_has_openais_fields(application: Application) -> None:
    answer = ask(application, TEXT).json()
    (choice,) = answer["choices"]
    assert (answer["object"], answer["id"][:5]) == ("text_completion", "cmpl-")
    assert (choice["index"], choice["text"], choice["finish_reason"]) == (0, "the pod is small.", "stop")
    assert choice["reply"]["response"] == choice["text"]


def test_the_model_reads_the_roles_in_its_own_form(application: Application) -> None:
    ask(application, messages=[{"role": "system", "content": "Be brief."}, *HELLO], documents=[{"text": "Pods sing."}])
    assert application.prompt().startswith("Be brief. [CONTEXT] What is a pod? [KNOWLEDGE] Pods sing.")
    ask(application, TEXT, prompt="Is a pod small?")
    assert application.prompt().startswith("Answer. [CONTEXT] Is a pod small? [KNOWLEDGE] A pod is small.")


@pytest.mark.parametrize("include_usage", [True, False])
def test_a_streamed_chat_completion(application: Application, include_usage: bool) -> None:
    response = ask(application, stream=True, stream_options={"include_usage": include_usage})
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-replica-id"] == "r1"
    first, *pieces = chunks(response)
    end = pieces.pop() if include_usage else {}
    last = pieces.pop()
    assert first["object"] == "chat.completion.chunk"
    assert len({chunk["id"] for chunk in (first, *pieces, last)}) == 1
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [chunk["choices"][0]["delta"]["content"] for chunk in pieces] == ["the", " pod", " is", " small."]
    assert {chunk["choices"][0]["finish_reason"] for chunk in (first, *pieces)} == {None}
    (choice,) = last["choices"]
    assert (choice["delta"], choice["finish_reason"]) == ({}, "stop")
    assert choice["reply"]["citations"] and choice["reply"]["origins"][0]["replica_id"] == "r1"
    assert [chunk.get("usage", "none") for chunk in (first, last)] == [None if include_usage else "none"] * 2
    if include_usage:
        assert end["choices"] == []
        assert end["usage"] == ask(application).json()["usage"]


def test_a_streamed_completion(application: Application) -> None:
    answers = list(chunks(ask(application, TEXT, stream=True)))
    assert "".join(answer["choices"][0]["text"] for answer in answers) == "the pod is small."
    assert [answer["choices"][0]["finish_reason"] for answer in answers[-2:]] == [None, "stop"]
    assert {answer["object"] for answer in answers} == {"text_completion"}


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_a_stop_sequence_ends_the_reply_and_frees_its_slot(application: Application, path: str) -> None:
    (choice,) = ask(application, path, stop=["is sm", "never"]).json()["choices"]
    assert (choice["reply"]["response"], choice["finish_reason"]) == ("the pod", "stop")
    assert application.replicas.left_early == 1


def test_a_reply_cut_by_max_tokens_says_length(chat_config: Path) -> None:
    application = Application(lambda request: [TokenChunk([20], ORIGIN, "length")], chat_config)
    (choice,) = ask(application, max_tokens=1).json()["choices"]
    assert application.replicas.requests[-1].sampling.max_length == 2
    assert choice["finish_reason"] == "length"


@pytest.mark.parametrize("stream", [False, True])
def test_n_replies_are_drawn_each_by_itself(application: Application, stream: bool) -> None:
    response = ask(application, n=3, seed=5, temperature=1, stream=stream, stream_options={"include_usage": True})
    assert sorted(request.sampling.seed or 0 for request in application.replicas.requests) == [5, 6, 7]
    assert len({request.request_id for request in application.replicas.requests}) == 3
    if stream:
        *answers, last = chunks(response)
        usage = last["usage"]
        texts = ["", "", ""]
        for choice in (choice for answer in answers for choice in answer["choices"]):
            texts[choice["index"]] += choice["delta"].get("content", "")
    else:
        usage = response.json()["usage"]
        texts = [choice["message"]["content"] for choice in response.json()["choices"]]
    assert texts == ["the pod is small."] * 3
    one = ask(application).json()["usage"]
    assert usage["prompt_tokens"] == one["prompt_tokens"]
    assert usage["completion_tokens"] == 3 * one["completion_tokens"]


def test_several_prompts_are_answered_each(application: Application) -> None:
    answer = ask(application, TEXT, prompt=["One?", "Two?"], n=2).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    prompts = [application.tokenizer.decode(request.prompt_ids) for request in application.replicas.requests]
    assert sorted("One?" in prompt for prompt in prompts) == [False, False, True, True]
    refused = ask(application, TEXT, prompt=["One?", "Two?"], n=5)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "n")


def test_each_of_n_replies_takes_a_place(chat_config: Path) -> None:
    """4 slots and a queue of 1: a quarter of it is kept for others."""
    application = Application(words("Hi"), chat_config, max_waiting=1)
    assert ask(application, n=4).status_code == 200
    refused = ask(application, n=8)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert ask(application, n=4).status_code == 200, "the places were given back"


def test_the_same_id_and_body_are_the_same_reply(application: Application) -> None:
    for _ in range(2):
        application.client.post(
            CHAT, json={"model": "mini", "messages": HELLO, "n": 2}, headers={"x-request-id": "mine"}
        )
    # Planned by two threads: either may be first.
    assert sorted(request.request_id for request in application.replicas.requests) == ["mine", "mine-1"]


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"logprobs": True}, "logprobs", "unsupported_parameter"),
        ({"colour": "red"}, "colour", "unknown_parameter"),
        ({"messages": HELLO[:0]}, "messages", "invalid_value"),
        ({"messages": [{"role": "user"}, {"role": "assistant", "content": "Hi"}]}, "messages", "invalid_value"),
        ({"messages": [{"role": "user", "content": "x" * 2001}]}, "messages", "invalid_value"),
        ({"messages": [{"content": "x"}]}, "messages.0.role", "missing_required_parameter"),
        ({"n": 1000}, "n", "invalid_value"),
        ({"stop": ["a"] * 100}, "stop", "invalid_value"),
        ({"documents": [{"text": "x" * 5001}]}, "documents", "invalid_value"),
        ({"max_tokens": 1, "generation": {"quote": True}}, "max_tokens", "invalid_value"),
    ],
    ids=lambda value: str(value)[:30],
)
@pytest.mark.parametrize("stream", [False, True])
def test_bad_input_is_400_in_openais_shape(
    application: Application, fields: dict[str, Any], param: str, code: str, stream: bool
) -> None:
    response = ask(application, stream=stream, **fields)
    error = response.json()["error"]
    assert response.status_code == 400
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    assert error["message"].startswith(f"{param}: ")
    assert not application.replicas.requests


@pytest.mark.parametrize(
    ("error", "status", "type_", "code"),
    [
        (Overloaded("busy"), 429, "rate_limit_error", "rate_limit_exceeded"),
        (NoReplica("none"), 503, "server_error", "no_replica"),
        (Starting("soon"), 503, "server_error", "starting"),
        (ReplyInterrupted("lost"), 503, "server_error", "reply_interrupted"),
        (DeadlineExceeded("late"), 504, "server_error", "deadline_exceeded"),
        (RuntimeError("a secret"), 500, "server_error", "internal_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_before_the_first_token_have_their_status(
    chat_config: Path, error: Exception, status: int, type_: str, code: str, stream: bool
) -> None:
    response = ask(Application(lambda request: [error], chat_config), stream=stream)
    assert response.status_code == status
    assert (response.json()["error"]["type"], response.json()["error"]["code"]) == (type_, code)
    assert "a secret" not in response.text
    assert ("Retry-After" in response.headers) == (code in ("rate_limit_exceeded", "no_replica", "starting"))


@pytest.mark.parametrize(
    ("error", "code"), [(DeadlineExceeded("late"), "deadline_exceeded"), (RuntimeError("bug"), "internal_error")]
)
def test_an_error_during_a_stream_is_its_last_event(chat_config: Path, error: Exception, code: str) -> None:
    application = Application(lambda request: [TokenChunk([20], ORIGIN), error], chat_config)
    events = ask(application, stream=True).text.strip().split("\n\n")
    assert json.loads(events[-1].removeprefix("data: "))["error"]["code"] == code
    assert "[DONE]" not in "".join(events)


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "code"),
    [
        ("POST", CHAT, b"{", 400, "malformed_json"),
        ("POST", TEXT, b" " * 200_000, 413, "body_too_large"),
        ("GET", CHAT, b"", 405, "method_not_allowed"),
        ("POST", "/v1/embeddings", b"{}", 404, "not_found"),
    ],
)
def test_all_errors_under_v1_are_in_openais_shape(
    application: Application, method: str, path: str, content: bytes, status: int, code: str
) -> None:
    headers = {"Content-Type": "application/json"}
    response = application.client.request(method, path, content=content, headers=headers)
    assert response.status_code == status
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert (response.json()["error"]["code"], response.json()["error"]["param"]) == (code, None)


def test_elsewhere_errors_are_as_ever(application: Application) -> None:
    assert set(application.client.get("/nothing").json()["error"]) == {"type", "message", "request_id"}


def test_the_key_is_the_one_that_openais_client_sends(chat_config: Path, tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text("batch: sk-of-the-batch-itself\n")
    application = Application(words("Hi"), chat_config, keys=KeyRing(file))
    client = openai_client(application, api_key="sk-of-the-batch-itself")
    assert client.models.list().data[0].id == "mini"
    refused = application.client.get("/v1/models", headers={"Authorization": "Bearer sk-of-somebody-else"})
    assert refused.status_code == 401
    assert refused.json()["error"]["code"] == "invalid_api_key"
    assert refused.headers["WWW-Authenticate"] == "Bearer"


ASKED = [  # what Open WebUI's backend and chat-ui's post, after their pages' own fields are taken out
    pytest.param({"stream": True, "messages": HELLO}, id="Open WebUI"),
    pytest.param(
        {
            "stream": True,
            "messages": [{"role": "system", "content": "Be brief."}, *HELLO],
            "stream_options": {"include_usage": True},
            "temperature": 0.7,
            "top_p": 0.9,
            "max_tokens": 40,
            "frequency_penalty": 0.0,
            "seed": 4,
            "stop": ["###"],
        },
        id="Open WebUI with a model's parameters and usage",
    ),
    pytest.param({"stream": False, "messages": HELLO, "max_completion_tokens": 1000}, id="Open WebUI, a title"),
    pytest.param(
        {"stream": True, "messages": [{"role": "system", "content": ""}, *HELLO], "stop": []},
        id="chat-ui",
    ),
]


@pytest.mark.parametrize("body", ASKED)
def test_open_webui_and_chat_ui_find_the_model_and_have_their_replies(
    chat_config: Path, tmp_path: Path, body: dict[str, Any]
) -> None:
    (tmp_path / "keys.yaml").write_text("webui: sk-of-the-web-interface\n")
    application = Application(words("the pod is small."), chat_config, keys=KeyRing(tmp_path / "keys.yaml"))
    headers = {"Authorization": "Bearer sk-of-the-web-interface", "X-OpenWebUI-User-Name": "Jo", "X-use-cache": "false"}
    (model,) = application.client.get("/v1/models", headers=headers).json()["data"]
    response = application.client.post(CHAT, json=body | {"model": model["id"]}, headers=headers)
    assert response.status_code == 200, response.text
    if body["stream"]:
        said = "".join(choice["delta"].get("content", "") for chunk in chunks(response) for choice in chunk["choices"])
    else:
        said = response.json()["choices"][0]["message"]["content"]
    assert said.strip() == "the pod is small."


def test_open_webuis_documents_are_the_knowledge(application: Application) -> None:
    """By the RAG_TEMPLATE of docs/api.md, which becomes the last message."""
    page = (ROOT / "docs/api.md").read_text()
    (template,) = re.findall(r"^RAG_TEMPLATE=(\S+)", page, re.MULTILINE)
    found = '<source id="1" name="pods.txt">Pods sing.</source>'
    asked = template.replace("{{CONTEXT}}", found).replace("{{QUERY}}", "What is a pod?")
    ask(application, messages=[{"role": "user", "content": asked}], stream=True)
    assert application.prompt().startswith("Answer. [CONTEXT] What is a pod? [KNOWLEDGE] Pods sing.")


def test_open_webuis_tools_are_refused_by_name(application: Application) -> None:
    """It offers them unless DEFAULT_MODEL_PARAMS says otherwise, as docs/api.md tells."""
    tool = {"type": "function", "function": {"name": "search_notes", "parameters": {}}}
    error = ask(application, stream=True, tools=[tool]).json()["error"]
    assert (error["code"], error["param"]) == ("unsupported_parameter", "tools")


def test_openais_client_comes_again_when_it_is_told_to(chat_config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fates: list[list[TokenChunk | Exception]] = [[Overloaded("busy", 7)], [TokenChunk([20], ORIGIN, "stop")]]
    application = Application(lambda request: fates.pop(0), chat_config)
    slept: list[float] = []
    monkeypatch.setattr("openai._base_client.time.sleep", slept.append)
    client = openai_client(application)
    answer = client.chat.completions.create(model="mini", messages=[{"role": "user", "content": "Hi"}])
    assert answer.choices[0].finish_reason == "stop"
    assert slept == [7]


def test_openais_client_raises_its_own_errors(chat_config: Path) -> None:
    client = openai_client(Application(lambda request: [Overloaded("busy")], chat_config), max_retries=0)
    with pytest.raises(RateLimitError, match="busy") as refused:
        client.chat.completions.create(model="mini", messages=[{"role": "user", "content": "Hi"}])
    assert refused.value.code == "rate_limit_exceeded"


def openai_client(application: Application, **options: Any) -> OpenAI:
    return OpenAI(base_url="http://testserver/v1", http_client=application.client, **{"api_key": "none"} | options)
