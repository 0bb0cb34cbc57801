"""How sentences bear on a dialogue: each feature by itself."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.evidence import CLOSENESS, FEATURES, SentenceIndex, leant_on
from serve_app.passages import split_paragraphs
from serve_app.sentence_encoder import sentence_encoder
from serve_app.words import word_vectors

CAMPSITE = """
House rules

Welcome to Willow Bend. You may arrive from two in the afternoon.

Prices

A tent costs 14 pounds a night. Electricity is 3.50 extra. It closes on Wednesdays.

Dogs are welcome if they are on a lead. They must not go into the washrooms, because children play there.
"""


def index(text: str = CAMPSITE) -> SentenceIndex:
    return SentenceIndex(split_paragraphs(text, 400), word_vectors())


def feature(name: str, *dialog: str, text: str = CAMPSITE) -> dict[str, float]:
    """By the first words of each sentence."""
    read = index(text)
    column = read.evidence(dialog)[:, FEATURES.index(name)]
    return {
        " ".join(sentence.split()[:2]): float(value) for sentence, value in zip(read.sentences, column, strict=True)
    }


def best(name: str, *dialog: str) -> str:
    column = feature(name, *dialog)
    return max(column, key=lambda sentence: column[sentence])


@pytest.mark.parametrize("name", ["meaning", "words"])
def test_other_words_of_like_meaning_are_found(name: str) -> None:
    assert best(name, "May my pets come along?") == "Dogs are"
    assert best(name, "On which weekday is it shut?") == "It closes"


def test_a_sentence_with_all_the_words_has_all_the_share() -> None:
    words = feature("words", "What does a tent cost?")
    assert words["A tent"] == pytest.approx(1)
    assert words["Electricity is"] == pytest.approx(0.5), "by its context, which counts half"
    assert feature("gap", "What does a tent cost?")["A tent"] == pytest.approx(0)
    assert feature("gap", "What colour is a tent?")["A tent"] > 0.5


def test_openings_say_what_is_defined() -> None:
    text = "Every pod has an address. A pod is the smallest unit."
    assert feature("opening", "What is a pod?", text=text)["A pod"] == pytest.approx(1)
    assert feature("defines", "What is a pod?", text=text)["A pod"] == pytest.approx(1)
    assert feature("defines", "Where is a pod?", text=text)["A pod"] == 0


def test_a_definition_is_of_the_whole_subject() -> None:
    """Of the subject's words, up to its verb, the rare ones count most."""
    text = "The head node is the node that runs the service. A node is a machine. A probe of a node has a limit."
    subject = feature("subject", "What is a node?", text=text)
    assert subject["A node"] == pytest.approx(1)
    assert subject["The head"] < 0.5
    assert subject["A probe"] < 0.5
    assert not any(feature("subject", "Where is a node?", text=text).values())


def test_without_a_verb_that_is_sure_to_be_one_the_first_word_is_the_subject() -> None:
    text = "A decoder writes the answer. T5 is an encoder-decoder model that was made in 2019."
    subject = feature("subject", "What is a decoder?", text=text)
    assert subject["A decoder"] == pytest.approx(1)
    assert subject["T5 is"] < 0.5


def test_what_is_wanted_is_seen_in_the_sentence() -> None:
    assert [s for s, has in feature("perhaps", "How much is it?").items() if has] == [
        "You may",
        "A tent",
        "Electricity is",
    ]
    assert [s for s, has in feature("wanted", "Why not?").items() if has] == ["They must"]
    assert not any(feature("wanted", "Tell me all.").values())
    assert set(feature("clear", "Why not?").values()) == {1.0}
    assert set(feature("clear", "Tell me all.").values()) == {0.0}


def test_headings_are_short_lines_without_a_mark_before_text() -> None:
    assert [s for s, heading in feature("heading", "?").items() if heading] == ["House rules", "Prices"]
    listed = "\n\n".join(["We sell", "red apples", "green pears", "blue plums"])
    assert not any(feature("heading", "?", text=f"{listed}\n\nAll are fresh.").values()), "a list is none"


def test_a_heading_lends_its_words_to_what_stands_below_it() -> None:
    text = "Opening hours\n\nWe are there until six.\n\nPrices\n\nWe are cheap until six."
    meaning = feature("meaning", "opening hours", text=text)
    read = index(text).evidence(["opening hours"])[:, FEATURES.index("meaning")]
    assert read[1] > read[3] + 0.1, meaning


def test_what_was_said_is_known() -> None:
    dialog = ["What does a tent cost?", "A tent costs 14 pounds a night.", "And electricity?"]
    assert [s for s, said in feature("said", *dialog).items() if said] == ["A tent"]
    assert not any(feature("said", dialog[0]).values())


def test_what_was_said_does_not_count_where_the_question_leans_on_nothing() -> None:
    said = "A tent costs 14 pounds a night."
    assert not any(feature("said", "What does a tent cost?", said, "What is the price of a tent?").values())
    assert not any(feature("said", "The tent?", said, "Dogs?", "Dogs are welcome.", "And electricity?").values())


def test_earlier_turns_count_only_where_the_last_leans_on_them() -> None:
    before = ["May I bring a dog?", "Dogs are welcome if they are on a lead."]
    assert feature("words", *before, "Where must they not go?")["They must"] > 0.5
    assert feature("words", *before, "What is electricity?") == feature("words", "What is electricity?")


def test_a_question_without_words_that_mean_something_has_no_match() -> None:
    evidence = index().evidence(["What is it?"])
    assert not evidence[:, [FEATURES.index(name) for name in ("meaning", "words", "length")]].any()


def closeness(name: str, *dialog: str, text: str = CAMPSITE, places: Sequence[int] | None = None) -> list[float]:
    read = index(text)
    all_places = np.arange(len(read.sentences)) if places is None else np.array(places)
    return [float(x) for x in read.closeness(dialog, all_places, sentence_encoder())[:, CLOSENESS.index(name)]]


def test_a_sentence_is_close_by_what_is_meant() -> None:
    text = "It is open daily. The tent weighs 2.4 kilograms. It was made in Oulu."
    for name, sign in (("near", 1), ("whole", 1), ("far", -1)):
        column = [sign * value for value in closeness(name, "How heavy is it?", text=text)]
        assert max(column) == column[1], name


def test_the_sentence_before_lends_its_words_for_less() -> None:
    text = "The lamp is from Oulu. It weighs 2 kilograms."
    alone, amid = (
        closeness(name, "How heavy is the lamp from Oulu?", text=text)[1] for name in ("near", "near in context")
    )
    assert amid > alone + 0.01
    apart = text.replace(". ", ".\n\n")
    assert closeness("near in context", "How heavy is the lamp from Oulu?", text=apart)[1] == pytest.approx(alone)


def test_what_is_read_beside_a_sentence_changes_only_what_is_said_of_all() -> None:
    whole = [closeness(name, "Are dogs welcome?") for name in CLOSENESS]
    some = [closeness(name, "Are dogs welcome?", places=[6, 1]) for name in CLOSENESS]
    for name, all_of_it, two in zip(CLOSENESS, whole, some, strict=True):
        if name in ("nearest", "most alike"):
            assert two == [max(some[CLOSENESS.index({"nearest": "near", "most alike": "whole"}[name])])] * 2
        else:
            assert two == pytest.approx([all_of_it[6], all_of_it[1]], abs=1e-5), name


def test_a_question_is_read_behind_the_one_that_it_leans_on() -> None:
    before = ["What does a tent cost?", "A tent costs 14 pounds a night."]
    assert leant_on([*before, "And what about it?"]) == before[0]
    assert leant_on([*before, "Where do children play?"]) == ""
    assert leant_on(["And it?"]) == ""
    assert closeness("near", *before, "And for it?") != closeness("near", "And for it?")


def test_an_empty_dialogue_is_refused() -> None:
    with pytest.raises(ValueError, match="dialog"):
        index().evidence([])


TURNS = st.text(max_size=60) | st.sampled_from(["And it?", "What is a tent?", "...", "How do I pay?", "14", "Dogs."])
TEXTS = st.text(max_size=120) | st.text(st.sampled_from("ab .!?\n,"), max_size=200)


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.lists(TURNS, min_size=1, max_size=5))
def test_any_text_and_dialogue_give_bounded_numbers(text: str, dialog: list[str]) -> None:
    read = index(text)
    evidence = read.evidence(dialog)
    assert evidence.shape == (len(read.sentences), len(FEATURES))
    assert np.isfinite(evidence).all()
    others = [column for name, column in zip(FEATURES, evidence.T, strict=True) if name != "length"]
    assert np.abs(others).max(initial=0) < 1.001


def test_a_text_of_many_sentences_is_read_as_its_parts_are() -> None:
    """They are summed block by block."""
    sentences = [f"The {word} weighs {i} grams." for i in range(300) for word in ("lamp", "tent", "shrew", "canoe")]
    read = SentenceIndex([[sentence] for sentence in sentences], word_vectors())
    meaning = read.evidence(["How heavy is the canoe?"])[:, FEATURES.index("meaning")].reshape(300, 4)
    assert meaning.argmax(axis=1).tolist() == [3] * 300


def test_a_very_long_turn_counts_by_its_end() -> None:
    pasted, question = " ".join(f"word{i}" for i in range(5000)), "Are dogs welcome?"
    assert feature("words", f"{pasted}. {question}")["Dogs are"] > feature("words", f"{question} {pasted}")["Dogs are"]
    assert feature("length", pasted)["Dogs are"] < 40
