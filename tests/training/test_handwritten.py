"""Handwritten texts: read as they are written; a wrong line is named."""

from pathlib import Path

import pytest

from serve_app.words import content_words, stems
from training.handwritten import DECLINED, HandwrittenError, Question, load

GOOD = """= The Harbour Loft
The Harbour Loft is a hostel.
It has 46 beds.

Guests leave by ten.

? how many can sleep there | 2
+ And when do they go? | 3
? is there a sauna | -
+ And a pool? | -
? What is it? | 1,2

= Another
It is small.
? how big is it | 1
"""


ASKED = "? how many can sleep there | 2"


def written(folder: Path, content: str) -> Path:
    (folder / "some.txt").write_text(content, encoding="utf-8")
    return folder


def test_texts_are_read_whole(tmp_path: Path) -> None:
    loft, other = load(written(tmp_path, GOOD))
    assert loft.title == "The Harbour Loft"
    assert loft.paragraphs == (("The Harbour Loft is a hostel.", "It has 46 beds."), ("Guests leave by ten.",))
    assert loft.questions == (
        Question(("how many can sleep there",), (1,)),
        Question(("how many can sleep there", "It has 46 beds.", "And when do they go?"), (2,)),
        Question(("is there a sauna",), ()),
        Question(("is there a sauna", DECLINED, "And a pool?"), ()),
        Question(("What is it?",), (0, 1)),
    )
    assert other.paragraphs == (("It is small.",),)


@pytest.mark.parametrize(
    ("line", "wrong", "complaint"),
    [
        (ASKED, "? how many can sleep there | 4", r"some.txt:7: there is no sentence 4.*1 to 3"),
        (ASKED, "? how many can sleep there", r"some.txt:7: a question ends in"),
        (ASKED, "? how many can sleep there | two", r"some.txt:7: a question ends in"),
        (ASKED, "+ how many | 2", r"some.txt:7: `\+` leans on a question"),
        ("+ And when do they go? | 3", "It is cheap.", r"some.txt:8: a sentence behind the questions"),
        ("? how big is it | 1", "? how big is it | 0", r"some.txt:15: there is no sentence 0"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_named(tmp_path: Path, line: str, wrong: str, complaint: str) -> None:
    with pytest.raises(HandwrittenError, match=complaint):
        load(written(tmp_path, GOOD.replace(line, wrong)))


def test_most_of_the_committed_ones_share_no_word_with_their_answers() -> None:
    """Of those that mean something."""
    shared = []
    for text in load():
        sentences = [set(stems(content_words(sentence))) for paragraph in text.paragraphs for sentence in paragraph]
        for question in text.questions:
            asked = stems(content_words(question.dialog[-1]))
            shared += [not sentences[place].isdisjoint(asked) for place in question.answers[:1]]
    assert sum(shared) / len(shared) < 0.5


def test_the_committed_ones_are_many_and_of_all_sorts() -> None:
    texts = load()
    questions = [question for text in texts for question in text.questions]
    assert len(texts) > 2_000
    assert len(questions) > 70_000
    assert 0.1 < sum(not question.answers for question in questions) / len(questions) < 0.25
    assert sum(len(question.dialog) > 1 for question in questions) > 1000
