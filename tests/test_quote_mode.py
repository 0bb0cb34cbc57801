"""Law 9, from a request over HTTP to the engine and back: in quote mode no word of a reply is made up."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.chat import Chat
from serve_app.chat_config import ConfigFile
from serve_app.checkpoint import ROOT, Checkpoint
from serve_app.engine.engine import Engine
from serve_app.engine.weights import from_transformers
from serve_app.in_process import InProcess
from serve_app.ingress import create_api
from serve_app.passages import split_paragraphs
from serve_app.settings import AppArgs
from tests.support.checkpoints import random_t5, small_tokenizer

TOKENIZER = small_tokenizer()
PASSAGE_WORDS = 12


@pytest.fixture(scope="module")
def client(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    path = tmp_path_factory.mktemp("quote") / "chatbot.yaml"
    path.write_text(f"instruction: Answer.\nknowledge: ''\ngrounding: {{passage_words: {PASSAGE_WORDS}}}\n")
    weights = from_transformers(random_t5(seed=3, vocab_size=len(TOKENIZER)))
    engine = Engine(weights, slots=4, max_prompt=512, max_reply=256)
    checkpoint = Checkpoint(name="random", requested="random", folder=ROOT, quote=True)
    yield TestClient(create_api(Chat(AppArgs(), checkpoint, TOKENIZER, ConfigFile(path, 256), InProcess(engine))))
    engine.close()


# Words that tokenizers fold, split or do not know, and marks that prompts are made of.
words = st.sampled_from(
    ["A", "pod", "is", "small", "the", "node", "½", "ﬁve", "5", "€", "☃", "e\u0301", "</s>", "EOS", "[KNOWLEDGE]", "\0"]
)
sentences = st.lists(words, min_size=1, max_size=30).map(lambda chosen: " ".join(chosen) + ".")
texts = st.lists(sentences, max_size=12).map(" ".join)


@given(
    knowledge=texts,
    dialog=st.lists(sentences, min_size=1, max_size=3),
    phrases=st.lists(sentences.filter(lambda text: len(text) <= 200), min_size=1, max_size=4),
    generation=st.fixed_dictionaries(
        {"do_sample": st.booleans(), "temperature": st.floats(0.1, 10), "seed": st.integers(0, 99)},
        optional={"quote_prior": st.floats(0, 40), "max_length": st.integers(20, 256), "top_k": st.integers(0, 3)},
    ),
)
@settings(deadline=None)
def test_a_reply_is_a_sentence_of_its_passages_or_a_phrase(
    client: TestClient, knowledge: str, dialog: list[str], phrases: list[str], generation: dict[str, Any]
) -> None:
    response = client.post(
        "/chat",
        json={"dialog": dialog, "knowledge": knowledge, "generation": generation | {"phrases": [*phrases, "No."]}},
    )
    reply = response.json()
    assert response.status_code == 200, reply
    given_sentences = [sentence for paragraph in split_paragraphs(knowledge, PASSAGE_WORDS) for sentence in paragraph]
    in_its_passages = [
        sentence
        for sentence in given_sentences
        if any(sentence in passage["text"] for passage in reply["grounding"]["passages"])
    ]
    assert reply["response"] in [*in_its_passages, *(phrase.strip() for phrase in phrases), "No."]
    assert reply["finish_reason"] == "stop"


def test_every_candidate_is_sometimes_the_reply_and_nothing_else_is(client: TestClient) -> None:
    asked: dict[str, Any] = {
        "dialog": ["Is a pod small?"],
        "knowledge": "A pod is small. A pod is a pod. The node costs 5 €.",
    }
    sampling = {"do_sample": True, "temperature": 10, "top_p": 1, "quote_prior": 0, "phrases": ["I do not know."]}
    replies = {
        client.post("/chat", json=asked | {"generation": sampling | {"seed": seed}}).json()["response"]
        for seed in range(60)
    }
    assert replies == {"A pod is small.", "A pod is a pod.", "The node costs 5 €.", "I do not know."}


def test_the_ranking_outweighs_a_model_that_knows_nothing(client: TestClient) -> None:
    """As a model with random weights does."""
    knowledge = "A pod is small. The node is big. Ray is a library. The lantern weighs five kilograms."
    for question, answer in (("How big is the node?", "The node is big."), ("lantern?", "lantern weighs")):
        asked = {"dialog": [question], "knowledge": knowledge, "generation": {"quote_prior": 1000, "phrases": ["No."]}}
        assert answer in client.post("/chat", json=asked).json()["response"]


def test_a_stream_is_the_start_one_token_event_and_the_whole(client: TestClient) -> None:
    asked = {"dialog": ["Is a pod small?"], "knowledge": "A pod is small.", "stream": True}
    assert re.findall(r"event: (\w+)", client.post("/chat", json=asked).text) == ["start", "token", "done"]


def test_the_nearest_sentence_comes_behind_a_doubt_where_none_surely_answers(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve_app.quotes.OFFERED", -0.9)  # whatever weights the ranking has
    asked: dict[str, Any] = {
        "dialog": ["Where is the node?"],
        "knowledge": "A pod is small. The node costs much.",
        "generation": {"quote_prior": 1000, "phrases": ["I do not know."]},
    }
    assert client.post("/chat", json=asked).json()["response"] == "I do not know."
    asked["generation"]["unsure"] = "Perhaps this."
    reply = client.post("/chat", json=asked).json()
    assert reply["response"] == "Perhaps this. The node costs much."
    (citation,) = reply["citations"]
    assert reply["response"][citation["start"] : citation["end"]] == "The node costs much."
