"""Which of OpenAI's fields are taken, refused by name, or taken only to be left off."""

import inspect
from typing import Any

import pytest
from openai.resources.chat.completions import Completions as ChatCompletions
from openai.resources.completions import Completions
from pydantic import ValidationError

from serve_app.openai_messages import AnyRequest, ChatCompletionRequest, CompletionRequest, Message

OF_THE_CLIENT = {"self", "extra_headers", "extra_query", "extra_body", "timeout"}
CHAT: dict[str, Any] = {"model": "mini", "messages": [{"role": "user", "content": "Hi"}]}
TEXT: dict[str, Any] = {"model": "mini", "prompt": "Hi"}


def mistake(kind: type[AnyRequest], body: dict[str, Any]) -> tuple[str, str, str]:
    """Type, place and text of the first thing that is wrong with a body."""
    with pytest.raises(ValidationError) as refused:
        kind.model_validate(body)
    first = refused.value.errors()[0]
    return first["type"], ".".join(map(str, first["loc"])), first["msg"]


@pytest.mark.parametrize(
    ("create", "kind"), [(ChatCompletions.create, ChatCompletionRequest), (Completions.create, CompletionRequest)]
)
def test_every_parameter_of_openais_client_is_known_by_name(create: Any, kind: type[AnyRequest]) -> None:
    parameters = set(inspect.signature(create).parameters) - OF_THE_CLIENT
    assert parameters - set(kind.model_fields) == set()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("frequency_penalty", 0.5),
        ("presence_penalty", False),
        ("logit_bias", {"1": 2}),
        ("logprobs", True),
        ("top_logprobs", 3),
        ("tools", [{"type": "function"}]),
        ("tool_choice", "required"),
        ("response_format", {"type": "json_object"}),
        ("response_format", {"type": "json_schema", "json_schema": {}}),
        ("modalities", ["text", "audio"]),
        ("store", True),
        ("metadata", {"a": "b"}),
        ("service_tier", "flex"),
        ("reasoning_effort", "high"),
        ("web_search_options", {}),
    ],
)
def test_what_is_not_supported_is_refused_by_its_name(name: str, value: Any) -> None:
    type_, place, text = mistake(ChatCompletionRequest, CHAT | {name: value})
    assert (type_, place) == ("unsupported", name)
    assert text.startswith("only ") and text.endswith(" is supported here")


@pytest.mark.parametrize("name", ["logprobs", "suffix", "echo", "best_of"])
def test_so_it_is_of_completions(name: str) -> None:
    assert mistake(CompletionRequest, TEXT | {name: 5})[:2] == ("unsupported", name)


@pytest.mark.parametrize(
    "fields",
    [
        {"frequency_penalty": 0.0, "presence_penalty": 0, "logprobs": False, "top_logprobs": 0, "n": 1, "store": False},
        {"response_format": {"type": "text"}, "tools": [], "tool_choice": "auto", "metadata": {}, "logit_bias": {}},
        dict.fromkeys(set(ChatCompletionRequest.model_fields) - {"model", "messages"}),
    ],
)
def test_what_leaves_it_off_is_taken(fields: dict[str, Any]) -> None:
    """Clients send it unasked."""
    ChatCompletionRequest.model_validate(CHAT | fields)


def test_an_answer_of_the_assistant_may_be_sent_back_as_it_came() -> None:
    nulls = dict.fromkeys(["refusal", "audio", "function_call", "tool_calls", "annotations", "name"])
    assert Message.model_validate({"role": "assistant", "content": "Hi"} | nulls).content == "Hi"


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "file", "refusal"])
def test_parts_that_are_no_text_are_refused_by_their_name(kind: str) -> None:
    parts = [{"type": "text", "text": "Look:"}, {"type": kind, kind: {"url": "https://example.org"}}]
    _, place, text = mistake(ChatCompletionRequest, CHAT | {"messages": [{"role": "user", "content": parts}]})
    assert place == "messages.0.content"
    assert f"parts of the type {kind} are not supported" in text


@pytest.mark.parametrize("part", [3, {}, {"type": "secret"}, {"type": "text"}, {"type": "text", "text": "a", "b": 1}])
def test_parts_of_no_form_are_refused_and_not_repeated(part: Any) -> None:
    _, place, text = mistake(ChatCompletionRequest, CHAT | {"messages": [{"role": "user", "content": [part]}]})
    assert place == "messages.0.content"
    assert "each part must be" in text and "secret" not in text


@pytest.mark.parametrize(
    ("fields", "type_", "place"),
    [
        ({"messages": []}, "too_short", "messages"),
        ({"messages": [{"role": "user", "content": "x"}] * 10_001}, "too_long", "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "literal_error", "messages.0.role"),
        ({"messages": [{"role": "user", "content": "x", "name": "Bo"}]}, "unsupported", "messages.0.name"),
        ({"messages": "Hi"}, "list_type", "messages"),
        ({"n": 0}, "greater_than_equal", "n"),
        ({"n": 1000}, "less_than_equal", "n"),
        ({"stop": ["a"] * 100}, "too_long", "stop"),
        ({"stop": ""}, "string_too_short", "stop.0"),
        ({"max_tokens": 0}, "greater_than_equal", "max_tokens"),
        ({"temperature": 2.5}, "less_than_equal", "temperature"),
        ({"top_p": 0}, "greater_than", "top_p"),
        ({"seed": -1}, "greater_than_equal", "seed"),
        ({"stream": "yes"}, "bool_type", "stream"),
        ({"stream_options": {"include_obfuscation": True}}, "unsupported", "stream_options.include_obfuscation"),
        ({"documents": ["A pod is small."]}, "model_type", "documents.0"),
        ({"documents": [{"text": "x"}] * 1001}, "too_long", "documents"),
        ({"generation": {"beams": 3}}, "extra_forbidden", "generation.beams"),
        ({"colour": "red"}, "extra_forbidden", "colour"),
        ({"model": None}, "string_type", "model"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_input_names_its_place(fields: dict[str, Any], type_: str, place: str) -> None:
    assert mistake(ChatCompletionRequest, CHAT | fields)[:2] == (type_, place)


@pytest.mark.parametrize(
    ("prompt", "place"),
    [([], "prompt"), (["a"] * 9, "prompt"), ([1, 2], "prompt.0"), ([[1, 2]], "prompt.0"), (None, "prompt")],
)
def test_prompts_are_texts(prompt: Any, place: str) -> None:
    assert mistake(CompletionRequest, TEXT | {"prompt": prompt})[1] == place
