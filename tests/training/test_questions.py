"""Hand-written questions: a file that is wrong is refused by name, and no wrong sentence counts as an answer."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from training.questions import DEVELOPMENT, EVALUATION, Question, QuestionsError, TextQuestions, is_right, load

TEXT = "The tent is made in Oulu. It weighs 1.8 kilograms\nand folds flat. Dr. Aho sells it."
HEAVY = "It weighs 1.8 kilograms and folds flat."
GOOD: dict[str, Any] = {
    "title": "Tent",
    "text": TEXT,
    "questions": [
        {"ask": "How heavy is it?", "kind": "how-much", "needs": [["1.8", "1,8"]], "sentence": HEAVY},
        {
            "ask": ["Where is it made?", "The tent is made in Oulu.", "And who sells it?"],
            "kind": "follow-up",
            "needs": ["Aho"],
            "sentence": "Dr. Aho sells it.",
        },
        {"ask": "Who invented it?", "kind": "other-attribute", "declines": True},
        {"ask": "hello", "kind": "small-talk", "phrase": "greeting"},
    ],
}


def written(folder: Path, content: object, name: str = "tent") -> Path:
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return folder


# --- loading --------------------------------------------------------------------------------------------------------


def test_a_good_file_is_read_whole(tmp_path: Path) -> None:
    (read,) = load(written(tmp_path, GOOD))
    assert (read.name, read.title) == ("tent", "Tent")
    assert read.sentences == ["The tent is made in Oulu.", HEAVY, "Dr. Aho sells it."]
    assert read.questions[0].ask == ("How heavy is it?",)
    assert read.questions[0].needs == (("1.8", "1,8"),)
    assert read.questions[1].ask[-1] == "And who sells it?"


def test_files_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b", "c", "a"):
        written(tmp_path, GOOD, name)
    assert [read.name for read in load(tmp_path)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("change", "number", "complaint"),
    [
        (lambda q: q[0].update(sentence="It weighs 1.8 kilograms."), 1, "no sentence of the text"),
        (lambda q: q[0].update(needs=["2.8"]), 1, "does not hold what `needs` lists"),
        (lambda q: q[0].update(needs=[""]), 1, "empty item"),
        (lambda q: q[0].update(needs=[[]]), 1, "at least 1 item"),
        (lambda q: q[0].update(needs=[1.8]), 1, "valid tuple"),
        (lambda q: q[0].pop("sentence"), 1, "come together"),
        (lambda q: q[0].pop("needs"), 1, "give one of"),
        (lambda q: q[0].update(declines=True), 1, "only one"),
        (lambda q: q[0].update(kind="how-heavy"), 1, "kind"),
        (lambda q: q[0].update(kind="other-subject"), 1, "`declines: true` goes with"),
        (lambda q: q[0].update(answer="1.8"), 1, "answer"),
        (lambda q: q[1]["ask"].pop(), 2, "even number of turns"),
        (lambda q: q[1]["ask"].__setitem__(1, "It is made in Oulu."), 2, "bot's turn"),
        (lambda q: q[1]["ask"].__setitem__(0, " "), 2, "empty turn"),
        (lambda q: q[2].update(kind="who"), 3, "`declines: true` goes with"),
        (lambda q: q[3].update(phrase="joke"), 4, "phrase"),
        (lambda q: q[3].update(kind="what"), 4, "`phrase` goes with kind small-talk"),
        (lambda q: q.__setitem__(3, {"ask": "hello", "kind": "small-talk", "declines": True}), 4, "goes with"),
        (lambda q: q[0].update(kind="small-talk"), 1, "`phrase` goes with kind small-talk"),
    ],
)
def test_a_mistake_is_refused_with_file_and_question(
    tmp_path: Path, change: Callable[[list[dict[str, Any]]], object], number: int, complaint: str
) -> None:
    content = yaml.safe_load(yaml.safe_dump(GOOD))
    change(content["questions"])
    with pytest.raises(QuestionsError, match=re.escape(complaint)) as refused:
        load(written(tmp_path, content))
    assert str(tmp_path / "tent.yaml") in str(refused.value)
    assert f"question {number} (" in str(refused.value)


@pytest.mark.parametrize(
    "content", ["", "- a list", "title: [", "title: Tent\nquestions: []\n", "title: Tent\ntext: A tent.\n"]
)
def test_a_file_of_another_shape_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "tent.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(QuestionsError, match=r"tent\.yaml"):
        load(tmp_path)


def test_a_question_about_a_text_needs_one(tmp_path: Path) -> None:
    with pytest.raises(QuestionsError, match="no sentence of the text"):
        load(written(tmp_path, {key: value for key, value in GOOD.items() if key != "text"}))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QuestionsError, match="holds no"):
        load(tmp_path)


# --- judging --------------------------------------------------------------------------------------------------------


def asked(**answer: Any) -> Question:
    kind = "small-talk" if "phrase" in answer else "other-subject" if "declines" in answer else "what"
    return Question.model_validate({"ask": "?", "kind": kind} | answer)


def test_all_needs_and_one_of_their_alternatives_must_occur() -> None:
    question = asked(needs=(("1.8", "1,8"), ("kilograms",)), sentence=HEAVY)
    assert is_right("it weighs 1.8 KILOGRAMS", question)
    assert is_right("The tent is made in Oulu. It weighs 1,8\nkilograms.", question)
    assert not is_right("It weighs 1.9 kilograms.", question)
    assert not is_right("It weighs 1.8 pounds.", question)
    assert not is_right("", question)


@pytest.mark.parametrize(
    ("reply", "declines"),
    [
        ("I don't know. My knowledge says nothing about that.", True),
        ("I do not know.", True),
        ("I cannot answer that from this text.", True),
        ("The text does not say.", True),
        ("It weighs 1.8 kilograms and folds flat.", False),
        ("They don't know fear.", False),
        ("", False),
    ],
)
def test_only_a_reply_that_declines_is_right_where_the_text_is_silent(reply: str, declines: bool) -> None:
    assert is_right(reply, asked(declines=True)) is declines


PHRASES = {
    "greeting": "Hello! What would you like to know?",
    "thanks": "You are welcome.",
    "farewell": "Goodbye!",
    "who-are-you": "I am a small chatbot that answers from the knowledge it is given.",
    "how-are-you": "I am fine, thank you. What would you like to know?",
    "help": "I can answer questions about the knowledge that I am given. Just ask.",
}


@pytest.mark.parametrize("phrase", PHRASES)
def test_small_talk_wants_its_own_phrase(phrase: str) -> None:
    right = {name for name, reply in PHRASES.items() if is_right(reply, asked(phrase=phrase))}
    assert phrase in right
    # What helps also says who one is.
    assert right - {phrase} <= ({"help"} if phrase == "who-are-you" else set())
    assert not is_right("I don't know. My knowledge says nothing about that.", asked(phrase=phrase))
    assert not is_right(HEAVY, asked(phrase=phrase))


# --- the committed sets -----------------------------------------------------------------------------------------------


def test_the_evaluation_set_is_large_and_of_many_texts() -> None:
    """So that a share of its answers has an interval of a few points."""
    texts = load(EVALUATION)
    assert sum(len(text.questions) for text in texts) >= 250
    assert sum(text.text is not None for text in texts) >= 20
    assert {text.knowledge_of for text in texts} == {None, "configs/chatbot.yaml"}


def test_the_two_sets_share_no_question_and_no_sentence() -> None:
    """What is chosen on the one would otherwise be measured on the other. Greetings and headings may be the same."""
    seen, held_out = (
        {words for text in load(folder) for words in said_in(text)} for folder in (DEVELOPMENT, EVALUATION)
    )
    assert not {words for words in seen & held_out if len(words) > 3}


def said_in(text: TextQuestions) -> Iterator[tuple[str, ...]]:
    """The words of each question and each sentence."""
    for said in [*text.sentences, *(turn for question in text.questions for turn in question.ask[::2])]:
        yield tuple(re.findall(r"\w+", said.lower()))


@pytest.mark.parametrize("text", load(DEVELOPMENT) + load(EVALUATION), ids=lambda text: text.name)
def test_no_other_sentence_of_the_text_is_right(text: TextQuestions) -> None:
    for question in text.questions:
        right = [sentence for sentence in text.sentences if is_right(sentence, question)]
        assert right == [question.sentence] * (question.sentence is not None), question.ask[-1]
