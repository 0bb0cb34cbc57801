"""The automaton against a search that tries everything."""

from hypothesis import given
from hypothesis import strategies as st

from serve_app.suffix_automaton import SuffixAutomaton

WORDS = st.lists(st.sampled_from("abc"), max_size=30)


def automaton(text: list[str]) -> SuffixAutomaton:
    runs = SuffixAutomaton()
    for word in text:
        runs.append(word)
    return runs


@given(WORDS, WORDS)
def test_the_longest_run_is_found_where_it_stands_first(text: list[str], words: list[str]) -> None:
    lengths = [n for n in range(len(words) + 1) if first_place(text, words[:n]) is not None]
    assert automaton(text).longest_run(words) == (max(lengths), first_place(text, words[: max(lengths)]))


def first_place(text: list[str], run: list[str]) -> int | None:
    return next((i for i in range(len(text) - len(run) + 1) if text[i : i + len(run)] == run), None)


@given(WORDS)
def test_it_has_at_most_two_states_a_word(text: list[str]) -> None:
    assert len(automaton(text)._next) <= max(1, 2 * len(text))  # noqa: SLF001
