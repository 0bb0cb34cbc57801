"""The evaluation set is kept out of all that is learnt from, and of all that chooses."""

import ast
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

import pytest

from serve_app import chat_config
from training import everyday, handwritten, lessons
from training.questions import EVALUATION, load

TRAINING = Path("training")
EVALUATES = TRAINING / "evaluate.py"

Words = tuple[str, ...]


def words(text: str) -> Words:
    return tuple(re.findall(r"\w+", text.lower().replace("'", "").replace("\N{RIGHT SINGLE QUOTATION MARK}", "")))


def held_out() -> Iterator[Words]:
    """What the evaluation set asks, and its sentences. Its headings are everybody's: "Opening hours"."""
    for text in load(EVALUATION):
        yield from (words(turn) for question in text.questions for turn in question.ask[::2])
        yield from (words(sentence) for sentence in text.sentences if len(words(sentence)) > 5)


HELD_OUT = {said for said in held_out() if len(said) > 1}  # "hi", "bye" and "help" have no other wording


def leaks(texts: Iterable[str]) -> set[str]:
    return {text for text in texts if words(text) in HELD_OUT}


def test_it_notices_a_leak() -> None:
    text = load(EVALUATION)[0]
    assert leaks([text.questions[0].ask[0].upper(), text.sentences[0], "Hi!"]) == {
        text.questions[0].ask[0].upper(),
        text.sentences[0],
    }


@pytest.mark.parametrize("seed", range(2))
def test_made_up_everyday_texts_have_neither_its_questions_nor_its_sentences(seed: int) -> None:
    """Where a template comes to say the same, the evaluation set is to say it otherwise."""
    random = Random(seed)
    for _ in range(1000):
        text = everyday.sample(random)
        asked = [turn for question in text.questions for turn in (*question.history[::2], question.ask)]
        assert not leaks([*text.sentences, *asked])


def test_handwritten_texts_have_neither_its_questions_nor_its_sentences() -> None:
    for text in handwritten.load():
        sentences = [sentence for paragraph in text.paragraphs for sentence in paragraph]
        assert not leaks([*sentences, *(question.dialog[-1] for question in text.questions)])


def test_small_talk_of_lessons_is_worded_otherwise() -> None:
    said = [line for _, lines in lessons.SMALL_TALK for line in lines]
    told = itertools.product(lessons._OPENERS, said, lessons._CLOSERS)
    assert not leaks("".join(parts) for parts in told)


def test_configured_examples_of_small_talk_are_worded_otherwise() -> None:
    phrases = chat_config.load(Path("configs/chatbot.yaml"), environment={}).config.generation.phrases
    assert not leaks(example for phrase in phrases for example in phrase.to)


def test_no_file_of_training_holds_its_text() -> None:
    """Templates, tables and word lists as they are written, whatever is made of them."""
    files = [
        path
        for path in TRAINING.rglob("*")
        if path.suffix in {".py", ".txt", ".json"} and EVALUATION not in path.parents
    ]
    longest = [said for said in HELD_OUT if len(said) > 7]
    for path in files:
        content = f" {' '.join(words(path.read_text(encoding='utf-8')))} "
        assert not [said for said in longest if f" {' '.join(said)} " in content], path


def test_only_the_evaluation_reads_it() -> None:
    for path in set(TRAINING.rglob("*.py")) - {EVALUATES, TRAINING / "questions" / "__init__.py"}:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not [name for name in _names(tree) if "EVALUATION" in name], f"{path} may read the evaluation set"
        assert not [text for text in _texts(tree) if "evaluation/" in text or text == "evaluation"], path
        assert "training.evaluate" not in _imports(tree), f"{path} imports what reads the evaluation set"


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name


def _texts(tree: ast.Module) -> Iterator[str]:
    """The string constants, docstrings left out."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    prose = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, documented)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in prose:
            yield node.value


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{name.name}" for name in node.names)
