"""The server's own way of answering, without a server."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve_app.errors import DeadlineExceeded, ModelError
from serve_app.in_process import InProcess
from serve_app.messages import GenerateRequest, GenerationOverrides, Phrase, Sampling
from tests.support.checkpoints import random_t5, save_checkpoint, small_tokenizer
from training.answering import AT_ONCE, Answerer, Asked

FREE = GenerationOverrides(quote=False, max_length=8)


@pytest.fixture(scope="module")
def answerer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answerer]:
    folder = tmp_path_factory.mktemp("model")
    save_checkpoint(random_t5(vocab_size=len(small_tokenizer())), folder)
    answerer = Answerer(str(folder))
    yield answerer
    answerer.close()


def test_a_request_brings_its_own_knowledge(answerer: Answerer) -> None:
    asked = Asked(("What is a tent?",), "A tent is a house of cloth.", FREE)
    reply = asyncio.run(answerer.answer(asked)).reply
    assert [passage.text for passage in reply.grounding.passages] == ["A tent is a house of cloth."]
    assert reply.usage.completion_tokens <= 7


def test_without_knowledge_the_configured_one_is_used(answerer: Answerer) -> None:
    reply = asyncio.run(answerer.answer(Asked(("What is a pod?",), None, FREE))).reply
    assert reply.grounding.passages[0].text in " ".join(answerer.config.knowledge.split())


def test_in_quote_mode_a_reply_is_a_sentence_of_the_knowledge_or_a_phrase(answerer: Answerer) -> None:
    knowledge = "A tent is a house of cloth. It has poles."
    phrases = ("I don't know.",)
    quoted = GenerationOverrides(quote=True, phrases=tuple(Phrase(reply=each) for each in phrases), quote_prior=1000)
    asked = [Asked((ask,), knowledge, quoted) for ask in ("What is a tent?", "Has it poles?", "Who won?")]
    replies = [each.reply.response for each in asyncio.run(answerer.answer_all(asked, lambda done: None))]
    assert set(replies) <= {"A tent is a house of cloth.", "It has poles.", *phrases}
    assert replies[0] == "A tent is a house of cloth."


def test_a_reply_that_takes_too_long_is_an_error(answerer: Answerer) -> None:
    request = GenerateRequest("late", [5, 6, 1], Sampling(), budget_s=0)

    async def write() -> None:
        async for _ in InProcess(answerer._engine).write(request):
            pass

    with pytest.raises(DeadlineExceeded, match="within 0 s"):
        asyncio.run(write())


def test_many_are_answered_in_their_order_and_each_is_reported(answerer: Answerer) -> None:
    asked = [
        Asked((f"What is a tent of {number} poles?",), "A tent is a house of cloth.", FREE) for number in range(20)
    ]
    done: list[int] = []
    together = asyncio.run(answerer.answer_all(asked, done.append))
    assert done == list(range(1, 21)) and AT_ONCE < 20
    alone = asyncio.run(answerer.answer(asked[13]))
    assert together[13].reply.response == alone.reply.response
    assert all(answered.seconds > 0 for answered in together)


def test_a_model_that_is_none_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"Model {tmp_path} cannot be read"):
        Answerer(str(tmp_path))
