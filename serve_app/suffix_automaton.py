"""Pure: every run of consecutive words of a text, and where each stands first.

The suffix automaton (Blumer et al. 1985): its paths from state 0 spell exactly the runs. Each appended word brings at
most two states, in amortized constant time.
"""

from collections.abc import Iterable


class SuffixAutomaton:
    def __init__(self) -> None:
        self._next: list[dict[str, int]] = [{}]
        self._length = [0]  # of the longest run that leads to the state, in words
        self._end = [0]  # where that run first ends: the number of words up to there
        self._shorter = [-1]  # the state of its longest ending that also stands elsewhere; none for state 0
        self._whole = 0  # the state of all words so far

    def append(self, word: str) -> None:
        """Let the text go on with `word`."""
        state, size = self._whole, self._length[self._whole] + 1
        self._whole = self._add({}, size, size, 0)
        while state >= 0 and word not in self._next[state]:
            self._next[state][word] = self._whole
            state = self._shorter[state]
        if state >= 0:
            self._shorter[self._whole] = self._told_apart(state, word)

    def longest_run(self, words: Iterable[str]) -> tuple[int, int]:
        """How many of the first `words` stand in the text as one run, and at which of its words they begin first."""
        state = length = 0
        for word in words:
            following = self._next[state].get(word)
            if following is None:
                break
            state, length = following, length + 1
        return length, self._end[state] - length

    def _told_apart(self, state: int, word: str) -> int:
        """The state of `state`'s run and `word`; split off from a state of longer runs, which stand in fewer places."""
        found, length = self._next[state][word], self._length[state] + 1
        if self._length[found] == length:
            return found
        split = self._add(dict(self._next[found]), length, self._end[found], self._shorter[found])
        self._shorter[found] = split
        while state >= 0 and self._next[state].get(word) == found:
            self._next[state][word] = split
            state = self._shorter[state]
        return split

    def _add(self, following: dict[str, int], length: int, end: int, shorter: int) -> int:
        self._next.append(following)
        self._length.append(length)
        self._end.append(end)
        self._shorter.append(shorter)
        return len(self._next) - 1
