"""Sentences and phrases -> candidates, and back from their tokens to the very text."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from serve_app.engine.trie import MAX_TOKENS, make_trie
from serve_app.grounding import Sentence
from serve_app.quotes import MAX_CANDIDATES, OFFERED, Quoter, Quotes, nearest
from tests.support.checkpoints import EOS, PAD, UNKNOWN, small_tokenizer

TOKENIZER = small_tokenizer()
QUOTER = Quoter(TOKENIZER)


def quotes(
    *sentences: tuple[str, float],
    phrases: Sequence[str] = (),
    prior: float = 1.0,
    max_length: int = 128,
    quoter: Quoter = QUOTER,
) -> Quotes:
    return quoter.quotes(
        [Sentence(text, score) for text, score in sentences],
        [Sentence(phrase, 0) for phrase in phrases],
        prior=prior,
        max_length=max_length,
    )


def texts(made: Quotes) -> list[str]:
    return [made.texts[candidate.token_ids[:-1]] for candidate in made.candidates]


def without_bytes() -> PreTrainedTokenizerFast:
    """As T5's own: what has no piece is <unk>, whatever it is."""
    words = [(f"▁{word}", -1.0) for word in ("it", "costs", "5", "6")]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), *words]
    tokenizer = Tokenizer(models.Unigram([*pieces, ("▁", -2.0)], UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", EOS)])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers leaves it so
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def test_phrases_and_sentences_are_candidates_with_their_bonus() -> None:
    made = quotes(("A pod is small.", 0.5), ("A node is big.", -0.25), phrases=["Hello!"], prior=8)
    assert dict(zip(texts(made), [candidate.bonus for candidate in made.candidates], strict=True)) == {
        "Hello!": 0,
        "A pod is small.": 4,
        "A node is big.": -2,
    }


def test_a_phrase_has_a_bonus_by_its_score() -> None:
    made = QUOTER.quotes([], [Sentence("Hello!", 0.5), Sentence("Bye!", -0.5)], prior=8, max_length=128)
    assert [candidate.bonus for candidate in made.candidates] == [4, -4]


def test_a_candidate_is_what_stands_in_a_prompt() -> None:
    """The prompt's own marks are taken out of what users type, and so out of the candidates; not out of the reply."""
    made = quotes(("Write [CONTEXT] or </s>  or ＥＯＳ here.", 0))
    assert texts(made) == ["Write [CONTEXT] or </s>  or ＥＯＳ here."]
    (candidate,) = made.candidates
    assert candidate.token_ids == tuple(TOKENIZER.encode("Write context or /s or eos here."))


@pytest.mark.parametrize(
    "text", ["It costs 5 € – “now”.", "a\0b", "½ cup", "ﬁnd it", "5 ☃ and 😀", "مرحبا", "e\u0301", "It  is\tone"]
)
@pytest.mark.parametrize("quoter", [QUOTER, Quoter(without_bytes())], ids=["bytes", "unknown"])
def test_a_reply_is_its_text_whatever_the_tokenizer_makes_of_it(quoter: Quoter, text: str) -> None:
    assert texts(quotes((text, 0), quoter=quoter)) == [text]


@pytest.mark.parametrize("scores", [(0.1, 0.2), (0.2, 0.1)])
def test_of_two_with_the_same_tokens_the_better_stays(scores: tuple[float, float]) -> None:
    quoter = Quoter(without_bytes())
    made = quotes(("it costs €", scores[0]), ("it costs £", scores[1]), quoter=quoter)
    assert texts(made) == ["it costs €" if scores[0] > scores[1] else "it costs £"]
    assert made.candidates[0].bonus == 0.2
    assert quotes(("it costs €", -0.1), phrases=["it costs £"], quoter=quoter).candidates[0].bonus == 0
    assert texts(quotes(("it costs €", -0.1), phrases=["it costs £"], quoter=quoter)) == ["it costs £"]
    assert texts(quotes(("it costs €", 0.1), phrases=["it costs £"], quoter=quoter)) == ["it costs €"]


def test_what_a_reply_has_no_room_for_is_left_out() -> None:
    """A reply's length counts the start token and the </s>."""
    sentence = "A pod is the smallest unit that Kubernetes schedules."
    tokens = len(TOKENIZER.encode(sentence))
    for max_length, expected in ((tokens + 1, ["Hello!", sentence]), (tokens, ["Hello!"]), (2, [])):
        assert texts(quotes((sentence, 1), phrases=["Hello!"], max_length=max_length)) == expected


@pytest.mark.parametrize("text", ["", "\u200b", "\0"])
def test_a_text_without_tokens_is_no_reply(text: str) -> None:
    assert all(len(candidate.token_ids) > 1 for candidate in quotes((text, 1)).candidates)


def test_the_best_scored_stay_where_there_are_too_many() -> None:
    many = [(f"The {n}th.", (n * 37 % 100) / 100) for n in range(100)]
    made = quotes(*many, phrases=["Hello!"])
    best = sorted(many, key=lambda each: -each[1])[: MAX_CANDIDATES - 1]
    assert set(texts(made)) == {"Hello!", *(text for text, _ in best)}


def test_all_candidates_together_are_bounded_and_a_shorter_one_may_still_fit() -> None:
    long = [(f"{n}: {'a pod is small ' * 50}", 1 - n / 100) for n in range(10)]
    made = quotes(*long, ("Short.", 0), max_length=1000)
    assert sum(len(candidate.token_ids) for candidate in made.candidates) <= MAX_TOKENS
    assert texts(made) == [*(text for text, _ in long[: len(made.candidates) - 1]), "Short."]
    assert len(made.candidates) > 2


some_texts = st.text(alphabet=st.sampled_from("aA .!?\0€ﬁ☃5[]</s>EOS\u0301"), min_size=1, max_size=12)


@given(
    st.lists(st.tuples(some_texts, st.floats(-1, 1)), max_size=80),
    st.lists(some_texts, max_size=16),
    st.floats(0, 1000),
    st.integers(2, 20),
)
def test_any_texts_make_what_the_engine_takes(
    sentences: list[tuple[str, float]], phrases: list[str], prior: float, max_length: int
) -> None:
    made = quotes(*sentences, phrases=phrases, prior=prior, max_length=max_length)
    bonus_of: dict[str, list[float]] = {phrase: [0.0] for phrase in phrases}
    for text, score in sentences:
        bonus_of.setdefault(text, []).append(prior * score)
    for text, candidate in zip(texts(made), made.candidates, strict=True):
        assert candidate.bonus in bonus_of[text]
        assert 2 <= len(candidate.token_ids) < max_length
        assert candidate.token_ids.index(EOS) == len(candidate.token_ids) - 1
    assert len({candidate.token_ids for candidate in made.candidates}) == len(made.candidates) <= MAX_CANDIDATES
    assert sum(len(candidate.token_ids) for candidate in made.candidates) <= MAX_TOKENS
    if made.candidates:
        make_trie(made.candidates, PAD)


def test_a_text_is_tokenized_once_and_a_long_one_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: a text of a request may be of megabytes without a space."""
    tokenizer = small_tokenizer()
    encode, encoded = tokenizer.encode, []

    def recorded(text: str, **options: Any) -> Any:
        encoded.append(text)
        return encode(text, **options)

    monkeypatch.setattr(tokenizer, "encode", recorded)
    quoter = Quoter(tokenizer)
    for _ in range(3):
        quotes(("A pod is small.", 1), ("x" * 501, 1), phrases=["Hello!"], quoter=quoter, max_length=1000)
    assert sorted(encoded) == ["A pod is small.", "Hello!", *["x" * 501] * 3]


@pytest.mark.parametrize(
    ("sentence", "phrase", "is_offered"),
    [(-0.01, -0.5, True), (OFFERED + 0.01, 0, True), (0.01, -0.5, False), (OFFERED, -0.5, False), (-0.01, 0.01, False)],
)
def test_the_nearest_sentence_is_offered_where_nothing_answers(
    sentence: float, phrase: float, is_offered: bool
) -> None:
    price = Sentence("It costs 5 €.", sentence)
    found = nearest([Sentence("It is blue.", sentence - 0.1), price], [Sentence("Hello!", phrase)])
    assert found == (price if is_offered else None)


def test_without_sentences_nothing_is_offered() -> None:
    assert nearest([], [Sentence("No.", 0)]) is None


def test_an_offer_is_said_where_the_model_declines() -> None:
    phrases = [Sentence("Hello!", 0), Sentence("No idea.", 0)]
    made = QUOTER.quotes([], phrases, prior=1, max_length=128, offers={"No idea.": "Perhaps this. It costs 5 €."})
    assert texts(made) == ["Hello!", "Perhaps this. It costs 5 €."]
    assert made.candidates == QUOTER.quotes([], phrases, prior=1, max_length=128).candidates
