"""The embedded model: its training data, its tokenizer, and what the shipped weights answer."""

import json
from functools import lru_cache
from pathlib import Path
from random import Random

import pytest
import torch
import yaml
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedTokenizerBase, T5ForConditionalGeneration

from serve_app.grounding import KnowledgeBase
from serve_app.prompt import render
from tools.mini_dialogues import (
    EXTRA_QUESTIONS,
    INSTRUCTION,
    QUESTIONS,
    UNKNOWN,
    Example,
    Knowledge,
    Lessons,
    made_up_example,
    parse_fact,
    question_templates,
    sentences,
)
from tools.train_mini import Plan, build_model, learning_rate, read_questions, reply_to, tokenizer_for

REPOSITORY = Path(__file__).resolve().parents[2]
MINI = REPOSITORY / "models" / "mini"
SETTINGS = yaml.safe_load((REPOSITORY / "configs" / "chatbot.yaml").read_text())


@lru_cache
def shipped_knowledge() -> Knowledge:
    return Knowledge(SETTINGS["knowledge"])


def drawn(seed: int, count: int = 300) -> list[Example]:
    lessons = Lessons(shipped_knowledge(), seed)
    return [lessons.draw(0.5) for _ in range(count)]


# ---- Data


def test_instruction_is_the_shipped_one() -> None:
    assert SETTINGS["instruction"] == INSTRUCTION


def test_seed_reproducibility() -> None:
    assert drawn(5) == drawn(5)
    assert drawn(5) != drawn(6)


def test_grounded_replies_stand_in_the_passages() -> None:
    elsewhere = {"chat", "silent", "again", "shipped again"}  # a table's reply, or one that the dialogue holds
    grounded = [example for example in drawn(1) if example.kind not in elsewhere and example.reply != UNKNOWN]
    assert len(grounded) > 150
    for example in grounded:
        assert all(part in " ".join(example.passages) for part in sentences(example.reply)), example


def test_prompts_have_the_servers_form() -> None:
    for example in drawn(2):
        assert example.prompt == render(example.instruction, example.dialog, example.passages)
        assert len(example.dialog) % 2 == 1
        assert len(example.passages) <= 4


def test_held_out_wordings_are_not_trained_on() -> None:
    for relation in QUESTIONS:
        assert not set(question_templates(relation)) & set(question_templates(relation, held_out=True))


def test_every_shipped_sentence_has_wordings_of_its_own() -> None:
    facts = shipped_knowledge().facts
    assert [fact.text for fact in facts if not shipped_knowledge().extra_questions(fact)] == []
    assert [opening for opening in EXTRA_QUESTIONS if not any(fact.text.startswith(opening) for fact in facts)] == []


@pytest.mark.parametrize(
    ("sentence", "asked", "relation"),
    [
        ("A pod holds one or more containers.", "a pod", "action"),
        ("T5 was made by Google in 2019.", "T5", "year"),
        ("Ray Serve listens on port 8000.", "Ray Serve", "port"),
        ("GODEL base has about 220 million parameters.", "GODEL base", "count"),
        ("Grounding means that a model answers from facts.", "grounding", "definition"),
    ],
)
def test_parse_fact(sentence: str, asked: str, relation: str) -> None:
    fact = parse_fact(sentence)
    assert fact.subject.asked == asked
    assert relation in fact.relations


def test_parse_fact_names_the_sentence_that_it_cannot_read() -> None:
    with pytest.raises(ValueError, match="Colourless ideas sleep"):
        parse_fact("Colourless ideas sleep.")


def test_evaluation_questions_can_be_answered_from_their_passages() -> None:
    for question in read_questions(MINI / "evaluation.jsonl"):
        if question.kind in {"shipped knowledge", "follow-up", "changed fact"}:
            assert any(question.is_answered_by(passage) for passage in question.passages), question


# ---- Training


def test_learning_rate_warms_up_and_decays() -> None:
    plan = Plan(warmup=0.1, decay=0.5)
    assert learning_rate(plan, 0.05) == pytest.approx(0.5)
    assert learning_rate(plan, 0.3) == 1.0
    assert learning_rate(plan, 0.75) == pytest.approx(0.5)
    assert 0 < learning_rate(plan, 1.0) < 0.01


def test_a_fresh_model_fits_its_tokenizer() -> None:
    tokenizer = tokenizer_for(Lessons(shipped_knowledge(), 3), 600)
    model = build_model(Plan(width=64, heads=8, hidden=64, encoder_layers=2, decoder_layers=1), tokenizer)
    ids = tokenizer(made_up_example(Random(1), 1.0).prompt, return_tensors="pt")["input_ids"]
    assert torch.isfinite(model(input_ids=ids, labels=ids[:, :5]).loss)


# ---- The shipped model


@lru_cache
def shipped() -> tuple[PreTrainedTokenizerBase, T5ForConditionalGeneration]:
    return AutoTokenizer.from_pretrained(MINI), AutoModelForSeq2SeqLM.from_pretrained(MINI)


def answer(dialog: list[str], knowledge: str = SETTINGS["knowledge"]) -> str:
    tokenizer, model = shipped()
    ranked = KnowledgeBase(knowledge, 40).rank(dialog, 4).passages
    passages = [passage.text for passage in ranked if not ranked[0].filling]  # as it was trained: a greeting has none
    return reply_to(model, tokenizer, [render(INSTRUCTION, dialog, passages)])[0]


@pytest.mark.parametrize(
    "text", ["KubeRay", "T5 listens on 8265.", "the key-value cache", "naïve 🙂 你好", "GODEL, UC"]
)
def test_tokenizer_round_trip(text: str) -> None:
    tokenizer, _ = shipped()
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def test_tokenizer_spells_words_alike_in_any_case() -> None:
    tokenizer, _ = shipped()
    upper, lower = tokenizer.tokenize("Brolven"), tokenizer.tokenize("brolven")
    assert [piece.lower() for piece in upper] == lower


def test_shipped_files_are_small() -> None:
    assert sum(file.stat().st_size for file in MINI.iterdir()) < 30e6
    assert json.loads((MINI / "generation_config.json").read_text())["decoder_start_token_id"] == 0


@pytest.mark.parametrize(
    ("question", "keyword"),
    [
        ("What is a pod?", "smallest unit"),
        ("who made GODEL", "Microsoft Research"),
        ("Which port does Ray Serve listen on?", "8000"),
        ("What does a seed do?", "repeatable"),
        ("Hello!", "Hello"),
    ],
)
def test_shipped_model_answers(question: str, keyword: str) -> None:
    assert keyword in answer([question])


def test_shipped_model_resolves_a_pronoun() -> None:
    dialog = ["What is T5?", "T5 is an encoder-decoder model that treats every task as text in and text out."]
    assert "Google" in answer([*dialog, "Who made it?"])


def test_shipped_model_does_not_invent() -> None:
    assert answer(["What is the capital of France?"]) == UNKNOWN


@pytest.mark.parametrize(
    ("question", "fact", "other"),
    [
        ("What port does the Ray dashboard use?", "8265", "4321"),
        ("Who made T5?", "made by Google in 2019", "made by Nokia in 1999"),
        ("What is greedy decoding?", "the most likely token", "the least likely token"),
    ],
)
def test_shipped_model_follows_a_changed_fact(question: str, fact: str, other: str) -> None:
    assert fact in answer([question])
    assert other in answer([question], SETTINGS["knowledge"].replace(fact, other))
