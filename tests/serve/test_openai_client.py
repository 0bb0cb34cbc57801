"""The real `openai` client against the real service: as its users write it."""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
import requests
from openai import AsyncOpenAI, BadRequestError, DefaultHttpxClient, NotFoundError, OpenAI
from openai.types.chat import ChatCompletionMessageParam

from tests.support.backend import Backend
from tests.support.waiting import eventually

POD: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is a pod?"}]
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
# As much as is allowed, written freely: it takes long enough for something to happen meanwhile.
LONG = {"generation": {"max_length": 250, "min_length": 250, "quote": False}}


@pytest.fixture
def client(backend: Backend) -> OpenAI:
    return OpenAI(base_url=f"{backend.url}/v1", api_key="none", max_retries=0)


@pytest.fixture
def model(client: OpenAI) -> str:
    return client.models.list().data[0].id


def test_a_model_is_listed_and_found(client: OpenAI, model: str) -> None:
    assert model == "models/mini"
    assert client.models.retrieve(model).id == model
    with pytest.raises(NotFoundError):
        client.models.retrieve("gpt-4o")


def test_a_chat_completion_says_where_it_came_from(client: OpenAI, model: str, backend: Backend) -> None:
    raw = client.chat.completions.with_raw_response.create(model=model, messages=POD)
    answer = raw.parse()
    (choice,) = answer.choices
    assert choice.message.content and "smallest unit" in choice.message.content
    assert choice.finish_reason == "stop"
    assert answer.usage and answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    (replica,) = backend.replicas()
    assert choice.model_extra and choice.model_extra["reply"]["replica_id"] == replica["replica_id"]
    assert raw.headers["x-replica-id"] == replica["replica_id"]
    assert float(raw.headers["x-grounded"]) == 1
    assert raw.request_id and answer.id == f"chatcmpl-{raw.request_id}"


def test_a_dialogue_goes_on_with_the_clients_own_messages(client: OpenAI, model: str) -> None:
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is T5?"}]
    said = client.chat.completions.create(model=model, messages=messages).choices[0].message
    messages += [said.model_dump(), {"role": "user", "content": "Who made it?"}]  # type: ignore[list-item]  # as its users do
    assert "Google" in (client.chat.completions.create(model=model, messages=messages).choices[0].message.content or "")


def test_documents_are_what_it_answers_from(client: OpenAI, model: str) -> None:
    answer = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "Where is Zorblat?"}],
        extra_body={"documents": [{"text": "Zorblat is a town in Norway."}]},
    )
    assert answer.choices[0].message.content == "Zorblat is a town in Norway."


def test_a_stream_is_the_same_reply_with_its_usage(client: OpenAI, model: str) -> None:
    whole = client.chat.completions.create(model=model, messages=POD)
    text, usage, finish_reason = "", None, None
    for chunk in client.chat.completions.create(
        model=model, messages=POD, stream=True, stream_options={"include_usage": True}
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish_reason = choice.finish_reason or finish_reason
    assert (text, usage, finish_reason) == (whole.choices[0].message.content, whole.usage, "stop")


def test_a_completion_ends_before_a_stop_sequence(client: OpenAI, model: str) -> None:
    whole = client.completions.create(model=model, prompt="What is a pod?").choices[0].text
    cut = client.completions.create(model=model, prompt="What is a pod?", stop=[" smallest"]).choices[0].text
    assert cut and whole.startswith(f"{cut} smallest")


def test_ten_thousand_messages_are_answered_from_the_newest(client: OpenAI, model: str) -> None:
    turns: list[ChatCompletionMessageParam] = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hi"},
    ]
    answer = client.chat.completions.create(model=model, messages=[*turns * 4_999, *POD])
    assert "smallest unit" in (answer.choices[0].message.content or "")


def test_what_is_not_supported_is_refused_by_its_name(client: OpenAI, model: str) -> None:
    with pytest.raises(BadRequestError, match="logprobs") as refused:
        client.chat.completions.create(model=model, messages=POD, logprobs=True)
    assert (refused.value.param, refused.value.code) == ("logprobs", "unsupported_parameter")


async def test_many_at_once_and_a_stream_that_is_left_frees_its_slot(backend: Backend, model: str) -> None:
    async with AsyncOpenAI(base_url=f"{backend.url}/v1", api_key="none", max_retries=0) as client:
        answers = await asyncio.gather(*(client.chat.completions.create(model=model, messages=POD) for _ in range(4)))
        assert len({answer.choices[0].message.content for answer in answers}) == 1
        stream = await client.chat.completions.create(model=model, messages=HELLO, stream=True, extra_body=LONG)
        async with stream:
            async for chunk in stream:
                if chunk.choices[0].delta.content:
                    break
    eventually(lambda: [replica["active"] for replica in backend.replicas()] == [0], 10, "a free slot")


def test_whoever_finds_it_full_comes_again_and_is_answered(slow_backend: Backend) -> None:
    """Twelve for two slots and a queue of four: the client waits as long as Retry-After says."""
    refusals: list[str] = []

    def note(response: httpx2.Response) -> None:
        if response.status_code == 429:
            refusals.append(response.headers["Retry-After"])

    client = OpenAI(
        base_url=f"{slow_backend.url}/v1",
        api_key="none",
        max_retries=20,
        http_client=DefaultHttpxClient(event_hooks={"response": [note]}),
    )

    def ask() -> str | None:
        answer = client.chat.completions.create(
            model=model_of(slow_backend),
            messages=HELLO,
            extra_body={"generation": {"max_length": 30, "min_length": 30}},
        )
        return answer.choices[0].finish_reason

    with ThreadPoolExecutor(12) as clients:
        answers = [clients.submit(ask) for _ in range(12)]
        assert {answer.result(120) for answer in answers} == {"length"}
    assert refusals and all(int(seconds) > 0 for seconds in refusals)


def test_a_stop_sequence_frees_the_slot_of_a_long_reply(slow_backend: Backend) -> None:
    """The reply would go on for seconds."""
    eventually(slow_backend.is_idle, 30, "nothing else is written")
    written = {"max_length": 250, "min_length": 250, "quote": False, "do_sample": True}
    asked = {"messages": HELLO, "model": model_of(slow_backend), "generation": written}

    def ask(**fields: object) -> tuple[str, int]:
        answer = requests.post(f"{slow_backend.url}/v1/chat/completions", json=asked | fields, timeout=60).json()
        return answer["choices"][0]["message"]["content"], answer["usage"]["completion_tokens"]

    # The model's weights are random, and so are its bytes: of some seeds they are letters soon.
    for seed in range(20):
        text, tokens = ask(seed=seed)
        if letters := re.search("[a-zA-Z]{2}", text[4:24]):
            break
    assert letters
    cut, fewer = ask(seed=seed, stop=letters[0])
    assert cut == text[: text.index(letters[0])].strip()
    assert fewer < tokens
    eventually(slow_backend.is_idle, 10, "a free slot")


def model_of(backend: Backend) -> str:
    return str(requests.get(f"{backend.url}/v1/models", timeout=10).json()["data"][0]["id"])
