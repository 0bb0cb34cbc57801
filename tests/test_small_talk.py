"""How well phrases reply to what somebody says, by examples of what they reply to."""

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.chat_config import load
from serve_app.messages import Phrase
from serve_app.small_talk import PhraseBook, phrase_book
from serve_app.words import word_vectors

UNKNOWN = Phrase(reply="I don't know.")
BYE = Phrase(reply="Bye!", to=("bye", "see you later", "I have to go"))
MAKER = Phrase(reply="I am a bot.", to=("who made you", "what is your name", "who are you"))


def scores(message: str, *phrases: Phrase) -> list[float]:
    return PhraseBook(phrases, word_vectors()).scores(message)


@cache
def shipped() -> tuple[Phrase, ...]:
    return load(Path("configs/chatbot.yaml"), environment={}).config.generation.phrases


@cache
def shipped_book() -> PhraseBook:
    return PhraseBook(shipped(), word_vectors())


def best(message: str) -> str:
    """The shipped configuration's reply."""
    found = shipped_book().scores(message)
    return shipped()[found.index(max(found))].reply


def test_an_example_itself_fits_and_another_phrases_does_not() -> None:
    bye, unknown, maker = scores("See you later!", BYE, UNKNOWN, MAKER)
    assert bye == 1
    assert unknown == 0 > maker


@pytest.mark.parametrize(
    ("message", "alike"), [("What's your name?", "what is your name"), ("byeee", "bye"), ("WHO ARE U", "who are you")]
)
def test_contractions_stretched_words_and_capitals_make_no_difference(message: str, alike: str) -> None:
    assert scores(message, BYE, MAKER) == scores(alike, BYE, MAKER)


def test_words_of_grammar_count() -> None:
    """ "it" is no "you", though the two are used much alike."""
    assert scores("Who made you?", MAKER)[0] > 0 > scores("Who made it?", MAKER)[0]


def test_who_made_it_is_not_who_made_you() -> None:
    """It was answered with who the chatbot is, where the text spoken of says who made it."""
    book = phrase_book((Phrase(reply="I am a chatbot.", to=("who made you", "is it you")),))
    assert book.scores("Who made you?")[0] == book.scores("Is it you?")[0] == 1
    assert book.scores("Who made it?")[0] < 0 and book.scores("Who made them?")[0] < 0


@pytest.mark.parametrize("message", ["When?", "who", "Why?", "what how"])
def test_question_words_alone_are_no_example_of_longer_ones(message: str) -> None:
    made = Phrase(reply="I am a bot.", to=("when were you made", "who are you", "why are you", "what or how are you"))
    assert scores(message, made)[0] < 0
    assert scores("why", Phrase(reply="Because.", to=("why",))) == [1]


def test_similar_words_count() -> None:
    assert scores("I have to leave", BYE)[0] > scores("I have to pay", BYE)[0]


def test_the_whole_message_must_be_small_talk() -> None:
    assert scores("Bye!", BYE)[0] == 1
    assert scores("Bye now!", BYE)[0] < 1
    assert scores("Bye, and when does the bakery open?", BYE)[0] < 0


@pytest.mark.parametrize("message", ["", "?!", "\N{SNOWMAN}", "bye " * 33])
def test_a_message_without_words_or_with_too_many_fits_nothing(message: str) -> None:
    assert scores(message, BYE)[0] < 0


@pytest.mark.parametrize("phrases", [(), (UNKNOWN,), (UNKNOWN, Phrase(reply="Hm.", to=("...",)))])
def test_phrases_without_examples_have_a_score_of_0(phrases: tuple[Phrase, ...]) -> None:
    assert scores("Hello", *phrases) == [0] * len(phrases)


@given(st.text(max_size=60), st.lists(st.lists(st.text("ab '.", min_size=1, max_size=9), max_size=4), max_size=5))
def test_any_message_has_a_score_a_phrase(message: str, examples: list[list[str]]) -> None:
    phrases = [Phrase.model_construct(reply="Yes.", to=tuple(lines)) for lines in examples]
    found = scores(message, *phrases)
    assert len(found) == len(phrases)
    assert all(-1 <= score <= 1 for score in found)


@pytest.mark.parametrize(
    ("message", "reply"),
    [
        ("Hello you", "Hello!"),
        ("thanks a lot, friend", "You are welcome."),
        ("bye bot", "Goodbye!"),
        ("so who are you really", "I am a small chatbot"),
        ("hey, how are you doing today?", "I am fine"),
        ("and what can you do?", "I can answer"),
        ("ok", "All right."),
        ("When was Kubernetes released?", "I don't know."),
        ("How does an Ingress work?", "I don't know."),
        ("Who made the transformer?", "I don't know."),
    ],
)
def test_the_shipped_examples_know_small_talk_from_questions(message: str, reply: str) -> None:
    assert best(message).startswith(reply)


def test_every_shipped_example_is_replied_to_by_its_own_phrase() -> None:
    wrong = {line for phrase in shipped() for line in phrase.to if best(line) != phrase.reply}
    assert not wrong
