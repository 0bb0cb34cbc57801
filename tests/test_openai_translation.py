"""OpenAI's requests in the service's own terms: roles, knowledge, limits of length, sampling, seeds, errors."""

from typing import Any

import pytest

from serve_app.errors import InvalidRequest
from serve_app.messages import LARGEST_SEED, ChatRequest
from serve_app.openai_messages import ChatCompletionRequest, CompletionRequest
from serve_app.openai_translation import chat_request, completion_requests, copies, in_openais_names

LONGEST = 100


def body(*messages: tuple[str, Any], **fields: Any) -> ChatCompletionRequest:
    return ChatCompletionRequest.model_validate(
        {"model": "mini", "messages": [{"role": role, "content": content} for role, content in messages]} | fields
    )


def translated(*messages: tuple[str, Any], **fields: Any) -> ChatRequest:
    return chat_request(body(*messages or [("user", "Hello")], **fields), LONGEST)


def generation(**fields: Any) -> dict[str, Any]:
    asked = translated(**fields).generation
    assert asked is not None
    return asked.model_dump(exclude_unset=True)


def test_system_and_developer_are_the_instruction_and_the_others_take_turns() -> None:
    request = translated(
        ("system", "Be kind."), ("user", "Hi"), ("assistant", "Hello!"), ("developer", "Be short."), ("user", "A pod?")
    )
    assert request.instruction == "Be kind.\nBe short."
    assert request.dialog == ["Hi", "Hello!", "A pod?"]
    assert request.knowledge is None


def test_what_one_side_says_in_several_messages_is_one_turn() -> None:
    said = [("assistant", "Hi!"), ("user", "A pod."), ("user", " "), ("user", "What is it?")]
    assert translated(*said).dialog == ["Hi!", "A pod.\nWhat is it?"]
    nothing = [("assistant", None), ("assistant", "")]
    assert translated(("user", "Hi"), *nothing, ("user", "There?")).dialog == ["Hi\nThere?"]


def test_without_a_system_message_the_instruction_is_the_configurations() -> None:
    assert translated(("system", " "), ("user", "Hi")).instruction is None


@pytest.mark.parametrize(
    "messages",
    [
        [("assistant", "Hi")],
        [("system", "Hi")],
        [("user", "Hi"), ("assistant", "Hello")],
        [("user", "\n")],
        [("user", "Hi"), ("assistant", "Hello"), ("user", "")],
        [("user", "<context>only a text</context>")],
    ],
)
def test_the_last_message_must_be_the_users_and_say_something(messages: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidRequest, match="^messages: the last one must be the user's"):
        translated(*messages)


def test_a_system_message_may_come_last() -> None:
    assert translated(("user", "Hi"), ("system", "Be kind.")).dialog == ["Hi"]


def test_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "Look."}, {"type": "text", "text": "What is a pod?"}]
    assert translated(("user", parts)).dialog == ["Look.\nWhat is a pod?"]


def test_documents_are_the_knowledge() -> None:
    request = translated(documents=[{"title": "Pods", "text": "A pod is small."}, {"text": "A node is big."}])
    assert request.knowledge == "Pods\nA pod is small.\n\nA node is big."
    assert translated(documents=[]).knowledge == "", "no knowledge is not the configuration's"


def test_context_blocks_are_the_knowledge_and_no_part_of_the_message() -> None:
    request = translated(
        ("system", 'Cite.<context><source id="1" name="a.txt">A pod is small.</source></context>'),
        ("user", "<context>If a < b and c > d.</context>What is a pod?<context></context>"),
    )
    assert request.instruction == "Cite."
    assert request.dialog == ["What is a pod?"]
    assert " ".join((request.knowledge or "").split()) == "A pod is small. If a < b and c > d."


@pytest.mark.parametrize("text", ["a <context> of it", "</context> a", "</context> a <context>"])
def test_half_a_context_block_is_text(text: str) -> None:
    request = translated(("user", text))
    assert (request.dialog, request.knowledge) == ([text], None)


def test_an_assistants_context_block_is_what_it_said() -> None:
    said = "<context>It is so.</context>"
    request = translated(("user", "Hi"), ("assistant", said), ("user", "Really?"))
    assert (request.dialog[1], request.knowledge) == (said, None)


@pytest.mark.timeout(20)
def test_many_halves_of_context_blocks_take_no_time() -> None:
    """Looking for the end of each would."""
    text = "</context>" + "<context>" * 200_000
    assert translated(("user", text)).dialog == [text]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {}),
        ({"max_tokens": 7}, {"max_length": 8}),  # the start token counts there
        ({"max_tokens": 9, "max_completion_tokens": 7}, {"max_length": 8}),
        ({"max_tokens": 10**9}, {"max_length": LONGEST}),
        ({"temperature": 0.5}, {"temperature": 0.5, "do_sample": True}),
        ({"temperature": 0}, {"temperature": 0, "do_sample": False}),
        ({"top_p": 0.5}, {"top_p": 0.5, "do_sample": True}),
        ({"temperature": 0, "top_p": 1}, {"temperature": 0, "top_p": 1, "do_sample": False}),
        ({"seed": 5.0}, {"seed": 5}),
        ({"generation": {"quote": True, "seed": 4}, "seed": 5}, {"quote": True, "seed": 5}),
        ({"generation": {"phrases": ["No."]}}, {"phrases": ({"reply": "No."},)}),
    ],
)
def test_what_openai_names_wins_and_the_rest_is_the_configurations(
    fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert generation(**fields) == expected


@pytest.mark.parametrize(("stop", "expected"), [("a", ["a"]), (["a", "b"], ["a", "b"]), (None, []), ([], [])])
def test_stop_is_one_text_or_several(stop: Any, expected: list[str]) -> None:
    assert translated(stop=stop).stop == expected


def test_each_prompt_is_a_dialogue_of_its_own() -> None:
    asked = CompletionRequest.model_validate({"model": "mini", "prompt": ["One", "<context>It is.</context>Two"]})
    one, two = completion_requests(asked, LONGEST)
    assert (one.dialog, one.knowledge, one.instruction) == (["One"], None, None)
    assert (two.dialog, two.knowledge) == (["Two"], "It is.")


def test_further_copies_have_the_next_seeds() -> None:
    request = translated(temperature=1)
    first, *others = copies(request, 3, LARGEST_SEED - 1)
    assert first is request
    assert [other.generation.seed for other in others if other.generation] == [LARGEST_SEED, 0]
    assert all(other.generation and other.generation.temperature == 1 for other in others)


@pytest.mark.parametrize(
    ("fields", "complaint", "expected"),
    [
        ({}, "dialog.3: 9 characters", "messages: 9 characters"),
        ({}, "dialog: 9 characters: too many", "messages: 9 characters: too many"),
        ({}, "instruction: long", "messages: long"),
        ({}, "knowledge: long", "documents: long"),
        ({"max_tokens": 3}, "generation.max_length: short", "max_tokens: short"),
        ({}, "generation.max_length: short", "generation.max_length: short"),
        ({}, "generation.quote: no", "generation.quote: no"),
        ({}, "generation: no", "generation: no"),
    ],
)
def test_errors_name_the_field_that_it_came_from(fields: dict[str, Any], complaint: str, expected: str) -> None:
    assert str(in_openais_names(InvalidRequest(complaint), body(("user", "Hi"), **fields))) == expected


def test_a_prompt_too_long_is_called_a_prompt() -> None:
    asked = CompletionRequest.model_validate({"model": "mini", "prompt": "x"})
    assert str(in_openais_names(InvalidRequest("dialog.0: long"), asked)) == "prompt: long"
