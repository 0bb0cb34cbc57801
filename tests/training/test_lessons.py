"""Lessons: what is right stands in the prompt, and questions come as the server and people give them."""

from collections import Counter
from itertools import islice

import pytest

from serve_app.grounding import KnowledgeBase
from training.handwritten import Question, Text
from training.lessons import MOST_PASSAGES, SMALL_TALK, UNKNOWN, Asked, Lesson, Lessons, ask

TEXT = Text(
    "A bakery",
    tuple(
        (f"The {thing} costs {price} euros.", f"It is made of {of}.")
        for price, (thing, of) in enumerate(
            [("loaf", "rye"), ("roll", "wheat"), ("bun", "milk"), ("tart", "plums"), ("cake", "nuts"), ("pie", "leek")]
        )
    ),
    (
        Question(("What is the price of a bun?",), (4,)),
        Question(("What is the price of a bun?", "The bun costs 2 euros.", "And what is in it?"), (5,)),
        Question(("Who bakes?",), ()),
    ),
)


@pytest.fixture(scope="module")
def asked() -> list[Asked]:
    return list(ask([TEXT]))


@pytest.fixture(scope="module")
def lessons(asked: list[Asked]) -> list[Lesson]:
    return list(islice(Lessons(asked, seed=0), 1000))


def test_passages_are_what_the_server_gives(asked: list[Asked]) -> None:
    knowledge = KnowledgeBase("\n\n".join(map(" ".join, TEXT.paragraphs)), 40)
    for each in asked:
        given = knowledge.rank(each.turns, MOST_PASSAGES).passages
        texts = [" ".join(sentence.text for sentence in passage) for passage in each.passages]
        assert texts == [passage.text for passage in given]
    assert [each.answers for each in asked] == [("The bun costs 2 euros.",), ("It is made of milk.",), ()]


def test_the_reply_is_in_the_passages_or_says_that_it_is_not_or_is_small_talk(lessons: list[Lesson]) -> None:
    small_talk = {reply for reply, _ in SMALL_TALK}
    kinds: Counter[str] = Counter()
    for lesson in lessons:
        if lesson.reply in lesson.sentences:
            assert lesson.reply in ("The bun costs 2 euros.", "It is made of milk.")
            kinds["answered"] += 1
        elif lesson.reply == UNKNOWN:
            answers = {"What is the price of a bun?": "bun costs", "And what is in it?": "made of milk"}
            hidden = [a for asks, a in answers.items() if asks.lower()[:-1] == lesson.turns[-1].lower().rstrip("?")]
            assert not [a for a in hidden if a in " ".join(lesson.sentences)]
            kinds["declined"] += 1
        else:
            assert lesson.reply in small_talk
            kinds["small talk"] += 1
    assert kinds["answered"] > kinds["declined"] > kinds["small talk"] > 0


def test_the_right_passage_is_most_often_the_first_and_not_always(lessons: list[Lesson]) -> None:
    answered = [lesson for lesson in lessons if lesson.reply in lesson.sentences and len(lesson.passages) > 2]
    first = sum(lesson.reply in lesson.passages[0] for lesson in answered) / len(answered)
    assert 0.6 < first < 0.95


def test_the_first_passage_is_led_by_its_best_sentence_and_not_always(asked: list[Asked]) -> None:
    lessons = list(islice(Lessons(asked[:1], seed=0), 1000))
    of_bun = [lesson for lesson in lessons if lesson.passages[0][:1] and "bun" in " ".join(lesson.passages[0])]
    led = sum(lesson.passages[0][0] == "The bun costs 2 euros." for lesson in of_bun) / len(of_bun)
    assert 0.9 < led < 1


def test_questions_are_typed_as_people_type(lessons: list[Lesson]) -> None:
    assert {"What is the price of a bun?", "what is the price of a bun"} <= {lesson.turns[-1] for lesson in lessons}


def test_lessons_are_no_longer_than_asked_for(asked: list[Asked]) -> None:
    short = Lessons(asked, seed=1)
    short.longest = 2
    assert {len(lesson.passages) for lesson in islice(short, 300)} == {1, 2}


def test_a_seed_gives_the_same_lessons(asked: list[Asked]) -> None:
    one, again, other = (list(islice(Lessons(asked, seed=seed), 50)) for seed in (3, 3, 4))
    assert one == again != other
