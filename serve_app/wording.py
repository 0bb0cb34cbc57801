"""Pure: a dialogue as people type it -> as the ranking reads it.

What is said around a question ("Hi! Could you tell me ...?") is left out, words with a slip of the keyboard are read as
what was meant, and exchanges that the last turn repeats are as if they had not been. Only the ranking reads it so: the
model is given what was typed.
"""

import re
from collections.abc import Container, Sequence
from functools import cache

from spellchecker import SpellChecker

from serve_app.words import all_words, content_words, word_vectors

_GREETED = re.compile(
    r"^\W*(hi|hello|hey|hiya|good (morning|afternoon|evening|day)|thanks?( you)?( (a lot|very much|so much|again))?"
    r"|ok|okay|great|perfect|cool|nice|good|well|oh|so|sorry|excuse me|please)( (there|all|again|bot|everyone))?"
    r"(\s*[,.!;:\u2013\u2014-]+\s*|\s+(?=(who|whose|what|when|where|why|which|how|i|we|my|our|is|are|was|were|do|does|did"
    r"|can|could|may|must|should|will|would|tell|please|so|ok|hi|hello|hey|thanks?|sorry)\b))",
    re.I,
)
_INTRODUCED = re.compile(
    r"^\W*(please )?((can|could|would|will) you (please |kindly )?(tell|show|explain to|say to) me"
    r"|(i|we)( want| need| would like|'d like|\u2019d like)(ed)? to (know|ask)|do you( happen to)? know"
    r"|(i am|i'm|i\u2019m|i was|we were) wondering|i wonder|tell me|let me know|may i ask|any idea)(,? please)?[,:]?\s+"
    r"(?=(who|whose|whom|what|when|where|why|which|how|if|whether)\b)",
    re.I,
)
_CLOSED = re.compile(r"[\s,]+(please|pls|plz|thanks|thank you)(?=[\s.!?]*$)", re.I)
_LONGEST = 300  # characters of a turn that is looked at: what is said around a question is short

_WORD = re.compile(r"(?<![\w'\u2019])[a-z]+(?![\w'\u2019])", re.I)
_SHORTEST_WORD, _LONGEST_WORD = 3, 20  # that are corrected
_LONG_WORD = 5  # letters, from which on one may be wrong: "wifi" is not "wife"
_COMMON = 500  # of a word that may be meant: there are some 25,000 as frequent
_SLIPS = 4  # in a turn, at most


def as_asked(dialog: Sequence[str], of_text: Container[str]) -> list[str]:
    """of_text: the words of the text that is asked about, in lower case."""
    if not dialog:
        return []
    *before, last = asked_once(dialog)
    return [*before, spelt(to_the_point(last), of_text)]


def asked_once(dialog: Sequence[str]) -> list[str]:
    """Without the exchanges right before the last turn that it repeats: it means what they meant.

    "Why?" and "And then?", which hold nothing, go on from reply to reply.
    """
    last = dialog[-1]
    first = len(dialog) - 1  # of the turns that say it
    if content_words(last):
        while first >= 2 and all_words(dialog[first - 2]) == all_words(last):
            first -= 2
    return [*dialog[:first], last]


def to_the_point(turn: str) -> str:
    """Without greeting, thanks and "Could you tell me", unless there is nothing else."""
    if len(turn) > _LONGEST:
        return turn
    while (rest := _GREETED.sub("", turn, count=1)) != turn and all_words(rest):
        turn = rest
    rest = _CLOSED.sub("", _INTRODUCED.sub("", turn, count=1))
    return rest if all_words(rest) else turn


def spelt(turn: str, of_text: Container[str]) -> str:
    """With the first few words that do not exist replaced by what was meant (Norvig 2007): the likeliest word, of the
    text or else a common one, that is a slip away.

    A slip is a letter too many, too few or wrong, or two that have changed places. Capitals within the turn are names,
    which need not be known.
    """
    left = _SLIPS

    def corrected(found: re.Match[str]) -> str:
        nonlocal left
        word = found.group()
        is_name = word[0].isupper() and not word.isupper() and found.start() > 0
        if not left or is_name or not _SHORTEST_WORD <= len(word) <= _LONGEST_WORD or _exists(word.lower(), of_text):
            return word
        left -= 1
        return _meant(word.lower(), of_text)

    return _WORD.sub(corrected, turn)


def _exists(word: str, of_text: Container[str]) -> bool:
    return word in of_text or word in english() or word_vectors().knows(word)


def _meant(word: str, of_text: Container[str]) -> str:
    dictionary = english()
    slips = dictionary.edit_distance_1(word)
    if len(word) < _LONG_WORD:
        slips = {each for each in slips if len(each) != len(word) or _swaps(each, word)}
    likely = [each for each in slips if each in of_text] or [each for each in slips if dictionary[each] >= _COMMON]
    return max(likely, key=lambda each: (_swaps(each, word), dictionary[each], each), default=word)


def _swaps(word: str, typed: str) -> bool:
    """Whether the letters are the same."""
    return sorted(word) == sorted(typed)


@cache
def english() -> SpellChecker:
    """English words, and how often films say them; it takes a moment to read."""
    return SpellChecker("en", distance=1)
