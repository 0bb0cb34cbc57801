"""The types of the hops refuse what makes no sense, and say which field and why."""

import json
import tracemalloc
from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.messages import ChatRequest, Generation, Phrase, Sampling


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_length", 1),
        ("max_length", 12.5),
        ("max_length", "many"),
        ("min_length", -1),
        ("temperature", -1),
        ("temperature", 10.1),
        ("temperature", float("nan")),
        ("top_k", -1),
        ("top_k", 10**400),
        ("max_length", 4097),
        ("no_repeat_ngram_size", 4097),
        ("top_p", 0),
        ("top_p", 2),
        ("top_p", float("nan")),
        ("repetition_penalty", 0),
        ("repetition_penalty", float("inf")),
        ("no_repeat_ngram_size", -2),
        ("seed", -1),
        ("seed", 2**63),
        ("do_sample", "perhaps"),
        ("temprature", 1),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_name(name: str, value: object) -> None:
    with pytest.raises(ValidationError) as refusal:
        Sampling.model_validate({name: value})
    assert refusal.value.errors()[0]["loc"] == (name,)


@pytest.mark.parametrize(
    "edge",
    [
        {"max_length": 2, "min_length": 2},
        {"temperature": 0},
        {"temperature": 10},
        {"top_p": 1},
        {"top_p": 1e-9},
        {"repetition_penalty": 0.1},
        {"seed": 0},
        {"seed": 2**63 - 1},
    ],
    ids=str,
)
def test_the_ends_of_each_range_are_allowed(edge: dict[str, Any]) -> None:
    assert Sampling(**edge).model_dump(exclude_unset=True) == edge


def test_min_length_above_max_length_is_refused_with_both_values() -> None:
    with pytest.raises(ValidationError, match=r"min_length \(9\) must not exceed max_length \(8\)"):
        Sampling(min_length=9, max_length=8)


@pytest.mark.parametrize(
    ("settings", "greedy"),
    [({}, True), ({"do_sample": True}, False), ({"do_sample": True, "temperature": 0}, True), ({"top_k": 5}, True)],
    ids=str,
)
def test_greedy_unless_asked_to_sample_with_a_temperature(settings: dict[str, Any], greedy: bool) -> None:
    assert Sampling(**settings).greedy is greedy


# --- a request's own settings over the configured ones --------------------------------------------------------------

CONFIGURED = Generation(
    max_length=200, min_length=20, do_sample=True, top_k=40, seed=5, phrases=(Phrase(reply="Goodbye!"),)
)


def overrides(**settings: Any) -> ChatRequest:
    return ChatRequest.model_validate({"dialog": ["Hello"], "generation": settings})


def test_a_request_changes_only_what_it_sets() -> None:
    merged = CONFIGURED.overridden_by(overrides(top_k=0, do_sample=False, seed=None, quote=True).generation)
    assert merged == Generation(max_length=200, min_length=20, top_k=0, quote=True, phrases=(Phrase(reply="Goodbye!"),))
    assert CONFIGURED.overridden_by(overrides().generation) == CONFIGURED
    assert CONFIGURED.overridden_by(None) == CONFIGURED


def test_a_request_may_set_a_value_back_to_its_default() -> None:
    assert CONFIGURED.overridden_by(overrides(min_length=0).generation).min_length == 0
    assert CONFIGURED.overridden_by(overrides(phrases=[]).generation).phrases == ()


def test_a_requests_lengths_are_compared_with_the_configured_ones_not_the_defaults() -> None:
    """A min_length of 150 was refused for being above the default max_length, where 200 was configured."""
    assert CONFIGURED.overridden_by(overrides(min_length=150).generation).min_length == 150
    with pytest.raises(ValidationError, match=r"min_length \(20\) must not exceed max_length \(10\)"):
        CONFIGURED.overridden_by(overrides(max_length=10).generation)


# --- what generation adds to sampling -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        ("quote", "perhaps", ()),
        ("quote_prior", -1, ()),
        ("quote_prior", float("nan"), ()),
        ("quote_prior", 1001, ()),
        ("phrases", "Hello", ()),
        ("phrases", ["Hello"] * 17, ()),
        ("phrases", ["Hello", "  "], (1, "reply")),
        ("phrases", ["x" * 201], (0, "reply")),
        ("phrases", [True], (0,)),
        ("phrases", [["Hello", "hi"]], (0,)),
        ("phrases", ["\ud83d"], (0, "reply")),
        ("phrases", [{"to": ["hi"]}], (0, "reply")),
        ("phrases", [{"reply": "Hello", "to": "hi"}], (0, "to")),
        ("phrases", [{"reply": "Hello", "to": ["hi", ""]}], (0, "to", 1)),
        ("phrases", [{"reply": "Hello", "to": ["hi"] * 129}], (0, "to")),
        ("phrases", [{"reply": "Hello", "examples": ["hi"]}], (0, "examples")),
    ],
)
def test_a_wrong_way_to_quote_is_refused_with_its_name(name: str, value: object, place: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError) as refusal:
        Generation.model_validate({name: value})
    assert refusal.value.errors()[0]["loc"] == (name, *place)


def test_a_phrase_is_a_text_or_has_examples() -> None:
    made = Generation.model_validate({"phrases": [" Hello, you! \n", {"reply": "Goodbye!", "to": ["bye", " ciao "]}]})
    assert made.phrases == (Phrase(reply="Hello, you!"), Phrase(reply="Goodbye!", to=("bye", "ciao")))
    assert Generation.model_validate(made.model_dump()) == made


def test_a_request_may_send_examples() -> None:
    sent = overrides(phrases=[{"reply": "Hello!", "to": ["hi"]}, "No."]).generation
    assert CONFIGURED.overridden_by(sent).phrases == (Phrase(reply="Hello!", to=("hi",)), Phrase(reply="No."))


def test_what_a_phrase_may_be_is_said() -> None:
    with pytest.raises(ValidationError, match="a text, or an object of `reply`, a text, and `to`, a list of texts"):
        Generation.model_validate({"phrases": [3]})


def test_the_engine_gets_no_text() -> None:
    """It knows token ids only, and a phrase may be anything."""
    generation = Generation(max_length=9, do_sample=True, quote=True, quote_prior=3, phrases=(Phrase(reply="Hello"),))
    assert generation.sampling(seed=7) == Sampling(max_length=9, do_sample=True, seed=7)
    assert type(generation.sampling(seed=7)) is Sampling


# --- the body of POST /chat -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, ("dialog",)),
        ({"dialog": []}, ("dialog",)),
        ({"dialog": None}, ("dialog",)),
        ({"dialog": "Hello"}, ("dialog",)),
        ({"dialog": {"0": "Hello"}}, ("dialog",)),
        ({"dialog": ["Hello", 5]}, ("dialog", 1)),
        ({"dialog": [None]}, ("dialog", 0)),
        ({"dialog": [["Hello"]]}, ("dialog", 0)),
        ({"dialog": ["Hello"], "instruction": 7}, ("instruction",)),
        ({"dialog": ["Hello"], "knowledge": ["a", "b"]}, ("knowledge",)),
        ({"dialog": ["Hello"], "stream": "perhaps"}, ("stream",)),
        ({"dialog": ["Hello"], "dialogue": []}, ("dialogue",)),
        ({"dialog": ["Hello"], "generation": {"temperature": -1}}, ("generation", "temperature")),
        ({"dialog": ["Hello"], "generation": {"top_p": 2}}, ("generation", "top_p")),
        ({"dialog": ["Hello"], "generation": {"beams": 4}}, ("generation", "beams")),
        ({"dialog": ["Hello"], "generation": [1]}, ("generation",)),
        ({"dialog": ["Hello"], "generation": {"phrases": ["Yes.", ""]}}, ("generation", "phrases", 1, "reply")),
        ({"dialog": ["Hello"] * 10_001}, ("dialog",)),
        ({"dialog": ["Hello"], "stream": 1}, ("stream",)),
        ({"dialog": ["Hello"], "generation": {"do_sample": "true"}}, ("generation", "do_sample")),
        ({"dialog": ["Hello"], "generation": {"top_k": "5"}}, ("generation", "top_k")),
        ({"dialog": ["Hello"], "generation": {"top_k": True}}, ("generation", "top_k")),
        ({"dialog": ["Hello"], "generation": {"top_p": "0.5"}}, ("generation", "top_p")),
        ({"dialog": ["cut in half: \ud83d"]}, ("dialog", 0)),
        ({"dialog": ["Hello"], "knowledge": "\udc00"}, ("knowledge",)),
    ],
)
def test_a_wrong_body_is_refused_with_the_fields_name(body: dict[str, Any], field: tuple[str | int, ...]) -> None:
    with pytest.raises(ValidationError) as refusal:
        ChatRequest.model_validate(json.loads(json.dumps(body)))
    assert refusal.value.errors()[0]["loc"] == field


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({"dialog": [0] * 100_000}, 1),
        ({"dialog": ["Hi"], "generation": {"phrases": [0] * 100_000}}, 1),
        ({"dialog": ["Hi"], **dict.fromkeys(map(str, range(100_000)))}, 5),
        ({"dialog": ["Hi"], "generation": dict.fromkeys(map(str, range(100_000)))}, 5),
    ],
    ids=["turns", "phrases", "names", "names in generation"],
)
def test_a_hundred_thousand_mistakes_cost_as_much_as_a_few(body: dict[str, Any], errors: int) -> None:
    """Each was an error of its own: 150 MB and 1.6 s of the event loop, of which an answer shows five."""
    tracemalloc.start()
    try:
        with pytest.raises(ValidationError) as refusal:
            ChatRequest.model_validate(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refusal.value.error_count() == errors
    assert peak < 20e6


def test_the_first_unknown_names_are_told_in_their_order() -> None:
    with pytest.raises(ValidationError) as refusal:
        ChatRequest.model_validate({"dialog": ["Hi"], **dict.fromkeys("zyxwvutsr")})
    assert [error["loc"] for error in refusal.value.errors()] == [("z",), ("y",), ("x",), ("w",), ("v",)]


@pytest.mark.parametrize("text", ["", "\0", "😀", "שלום", "a\nb", "\u202e", "x" * 1_000_000], ids=range(7))
def test_any_text_is_a_turn(text: str) -> None:
    assert ChatRequest(dialog=[text]).dialog == [text]


def test_a_request_needs_only_a_dialog() -> None:
    request = ChatRequest(dialog=["Hello"] * 10_000)
    assert (request.stream, request.instruction, request.knowledge, request.generation) == (False, None, None, None)
    assert len(request.dialog) == 10_000
