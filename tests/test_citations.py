"""Citations against a search that tries everything, and laws of theirs on texts of all kinds."""

import time
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.citations import MIN_WORDS, Cited, cite
from serve_app.messages import Passage

PUNCTUATION = ".,!?()“”…-"


@dataclass(frozen=True)
class Text:
    """A text of which it is known, without reading it, what its words are and which of them end a sentence."""

    shown: str
    words: tuple[str, ...]
    ends: tuple[bool, ...]

    @property
    def sentences(self) -> list[tuple[str, ...]]:
        starts = [0, *(i + 1 for i, end in enumerate(self.ends) if end)]
        return [self.words[a:b] for a, b in pairwise(starts)]

    def begins(self, i: int) -> bool:
        return i == 0 or self.ends[i - 1]


@st.composite
def texts(draw: st.DrawFn, min_size: int = 0) -> Text:
    """A few different words only, so that runs are shared by chance, as long ones as short ones."""
    shown, words, ends = "", [], []
    for word in draw(st.lists(st.sampled_from(["a", "b", "ä", "ﬁx"]), min_size=min_size, max_size=14)):
        before = draw(st.sampled_from(["", "", "", "(", "“"]))
        after = draw(st.sampled_from(["", "", "", ",", ".", "!”", " ?", ")"]))
        between = draw(st.sampled_from([" ", " ", "\n", " \N{NO-BREAK SPACE}", " - ", "\0"]))
        shown += before + draw(st.sampled_from([word, word.upper()])) + after + between
        words.append(word)
        ends.append(any(mark in after for mark in ".!?"))
    return Text(shown, tuple(words), (*ends[:-1], True) if ends else ())


def numbered(texts: list[str]) -> list[Passage]:
    return [Passage(id=f"p{i}", text=text, score=1) for i, text in enumerate(texts)]


def words_of(text: str) -> list[str]:
    """What `text` says, read simply."""
    words = (word.strip(PUNCTUATION) for word in text.replace("\0", " ").casefold().split())
    return [word for word in words if word]


def cited_words(reply: Text, cited: Cited) -> set[int]:
    """Which of the reply's words stand in citations."""
    return {
        i
        for citation in cited.citations
        for i in range(
            len(words_of(reply.shown[: citation.start])),
            len(words_of(reply.shown[: citation.end])),
        )
    }


def by_trying_everything(reply: Text, passages: list[Text]) -> set[int]:
    runs = {p.words[a:b] for p in passages for b in range(len(p.words) + 1) for a in range(b)}
    sentences = {sentence for p in passages for sentence in p.sentences}

    def reach(start: int) -> int:
        return max((end for end in range(start, len(reply.words) + 1) if reply.words[start:end] in runs), default=start)

    def short_sentence(start: int) -> int:
        ends = [e for e in range(start + 1, len(reply.words) + 1) if reply.words[start:e] in sentences]
        return next((e for e in ends if e - start < MIN_WORDS and reply.begins(start) and reply.ends[e - 1]), start)

    found: set[int] = set()
    start = 0
    while start < len(reply.words):
        end = reach(start)
        begun = max(i for i in range(start, end + 1) if i == start or reply.begins(i))
        if reach(begun) > end and begun > start:
            end = begun
        if end - start < MIN_WORDS:
            end = short_sentence(start)
        found |= set(range(start, end))
        start = max(end, start + 1)
    return found


@given(texts(), st.lists(texts(), max_size=3))
def test_exactly_the_words_that_a_search_through_everything_finds(reply: Text, passages: list[Text]) -> None:
    cited = cite(reply.shown, numbered([passage.shown for passage in passages]))
    found = by_trying_everything(reply, passages)
    assert cited_words(reply, cited) == found
    assert cited.grounded == (round(len(found) / len(reply.words), 4) if reply.words else 0)


@given(texts(), st.lists(texts(), max_size=3))
def test_three_words_in_a_row_of_one_sentence_that_are_not_cited_stand_in_no_passage(
    reply: Text, passages: list[Text]
) -> None:
    cited = cited_words(reply, cite(reply.shown, numbered([passage.shown for passage in passages])))
    known = {p.words[i : i + MIN_WORDS] for p in passages for i in range(len(p.words) - MIN_WORDS + 1)}
    for i in range(len(reply.words) - MIN_WORDS + 1):
        if not cited & set(range(i, i + MIN_WORDS)) and not any(reply.ends[i : i + MIN_WORDS - 1]):
            assert reply.words[i : i + MIN_WORDS] not in known


def check_offsets(response: str, passages: list[Passage], cited: Cited) -> None:
    by_id = {passage.id: passage.text for passage in passages}
    end = 0
    for citation in cited.citations:
        assert end <= citation.start < citation.end <= len(response)
        assert 0 <= citation.passage_start < citation.passage_end <= len(by_id[citation.passage])
        end = citation.end
    assert 0 <= cited.grounded <= 1
    assert (cited.grounded > 0) == bool(cited.citations)


@given(texts(), st.lists(texts(), max_size=3))
def test_both_spans_hold_the_same_words(reply: Text, passages: list[Text]) -> None:
    given_passages = numbered([passage.shown for passage in passages])
    cited = cite(reply.shown, given_passages)
    check_offsets(reply.shown, given_passages, cited)
    for citation in cited.citations:
        there = given_passages[int(citation.passage[1:])].text[citation.passage_start : citation.passage_end]
        assert words_of(reply.shown[citation.start : citation.end]) == words_of(there) != []


@given(st.text(max_size=60), st.lists(st.text(max_size=60), max_size=3))
def test_any_text_is_taken(response: str, passages: list[str]) -> None:
    """With itself among the passages, so that much is found."""
    given_passages = numbered([*passages, response + " " + response])
    check_offsets(response, given_passages, cite(response, given_passages))


@given(st.data())
def test_a_quoted_sentence_is_one_citation_over_all_of_it(data: st.DataObject) -> None:
    passages = data.draw(st.lists(texts(min_size=1), min_size=1, max_size=3))
    sentences = [s for p in passages for s in p.sentences]
    sentence = data.draw(st.sampled_from(sentences))
    response = " ".join(sentence) + "."
    cited = cite(response, numbered([passage.shown for passage in passages]))
    assert cited.grounded == 1
    (citation,) = cited.citations
    assert response[citation.start : citation.end].rstrip(".") == response.rstrip(".")


@given(st.data())
def test_quoted_sentences_in_any_order_are_grounded_whole(data: st.DataObject) -> None:
    passages = data.draw(st.lists(texts(min_size=1), min_size=1, max_size=3))
    sentences = [s for p in passages for s in p.sentences]
    quoted = data.draw(st.lists(st.sampled_from(sentences), min_size=1, max_size=4))
    response = " ".join(f"{' '.join(sentence)}." for sentence in quoted)
    assert cite(response, numbered([passage.shown for passage in passages])).grounded == 1


LAMP = "The Aurora lamp weighs 1.8 kilograms. It was made in Oslo. The lamp costs €40."


def spans(response: str, *passages: str) -> list[tuple[str, str, str]]:
    """Each citation as (cited words, passage, words there)."""
    given_passages = numbered(list(passages))
    return [
        (response[c.start : c.end], c.passage, passages[int(c.passage[1:])][c.passage_start : c.passage_end])
        for c in cite(response, given_passages).citations
    ]


@pytest.mark.parametrize(
    ("response", "cited"),
    [
        ("It was made in Oslo.", ["It was made in Oslo."]),
        ("it was made in oslo", ["it was made in oslo"]),
        ("I think it was made in Oslo, you know.", ["it was made in Oslo"]),
        ("It weighs 1.8 kilograms. It was made in Oslo.", ["weighs 1.8 kilograms. It was made in Oslo."]),
        ("It was made in Bergen.", ["It was made in"]),
        ("It was here.", []),  # two words in a row are chance
        ("It costs €40.", []),
        ("The lamp costs $40.", ["The lamp costs"]),
        ("It weighs 1.8 kilograms.", ["weighs 1.8 kilograms."]),
        ("", []),
        (" … – !", []),
    ],
)
def test_what_is_cited(response: str, cited: list[str]) -> None:
    assert [here for here, _, _ in spans(response, LAMP)] == cited


def test_a_short_sentence_counts_only_where_it_is_whole_on_both_sides() -> None:
    assert spans("Oslo.", "Where? Oslo. Indeed.") == [("Oslo.", "p0", "Oslo.")]
    assert spans("Oslo.", "It was made in Oslo.") == []
    assert spans("Oslo it is.", "Where? Oslo. Indeed.") == []


def test_sentences_of_two_passages_have_each_their_own() -> None:
    """The run from the first one reaches into the second one's words."""
    first, second = "Turn it off. The lamp is hot.", "The lamp is red."
    assert spans("Turn it off. The lamp is red.", first, second) == [
        ("Turn it off.", "p0", "Turn it off."),
        ("The lamp is red.", "p1", "The lamp is red."),
    ]


def test_the_punctuation_that_both_sides_have_belongs_to_the_citation() -> None:
    passage = "He said: “It (the lamp) is hot!”"
    assert spans("“It (the lamp) is hot”, I read.", passage) == [
        ("“It (the lamp) is hot", "p0", "“It (the lamp) is hot"),
    ]
    assert spans("(the lamp) is hot!”", passage) == [("(the lamp) is hot!”", "p0", "(the lamp) is hot!”")]


def test_the_passage_given_first_is_cited() -> None:
    assert [
        passage for _, passage, _ in spans("It is very hot.", "Hot it is.", LAMP, "It is very hot.", "It is very hot.")
    ] == ["p2"]


@pytest.mark.parametrize(
    ("passage", "response"),
    [
        ("Peter´s ﬁsh costs ½ crown.", "Peter ́s fish costs 1⁄2 crown."),  # as the prompt's compatibility form has it
        ("THE STRASSE IS WIDE", "the straße is wide"),
        ("ＡＢＣ is a\N{NO-BREAK SPACE}test", "abc is a test"),
        ("„Guten“ – “Morgen” ‘zusammen’!", "Guten Morgen zusammen"),
        ("20 ℃ is hot", "20 °C is hot"),
        ("हिन्दी भाषा अच्छी है।", "हिन्दी भाषा अच्छी है।"),
        ("a\0b c", "a b c"),
        ("Cafe\N{COMBINING ACUTE ACCENT} du monde", "Café du Monde"),
    ],
)
def test_words_are_compared_as_the_model_reads_them(passage: str, response: str) -> None:
    (span,) = spans(response, passage)
    assert cite(response, numbered([passage])).grounded == 1
    assert span[0] == response or span[0] + "." == response


def test_a_word_of_another_script_is_taken_whole() -> None:
    """A vowel sign at a word's end is a part of it and not punctuation."""
    assert spans("अच्छी है हिन्दी भाषा", "x हिन्दी भाषा अच्छी है हिन्दी")[0][0] == "अच्छी है हिन्दी"
    assert cite("हिन्द हिन्द हिन्द", numbered(["हिन्दी हिन्दी हिन्दी"])).grounded == 0


@pytest.mark.parametrize("unit", ["a ", "a b. ", "a. ", "a b c. a b d. "])
@pytest.mark.parametrize("strange", ["", "x "])
def test_long_repetitive_texts_take_linear_time(unit: str, strange: str) -> None:
    """Searched anew for each word, or walked through from the start, they would take minutes."""
    text = unit * 20_000
    started = time.thread_time()
    cited = cite(strange.join([unit] * 20_000), numbered([text, unit * 100]))
    assert (cited.grounded == 1) == (strange == "")
    assert time.thread_time() - started < 20
