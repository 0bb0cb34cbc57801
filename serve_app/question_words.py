"""Pure: what a question wants (a time, a number, a name ...), and whether a sentence has such a thing."""

import re
from collections.abc import Sequence
from itertools import dropwhile
from typing import Literal, get_args

from serve_app.words import all_words

Want = Literal["duration", "number", "time", "name", "place", "reason", "instruction", "definition", "permission"]
WANTS: tuple[Want, ...] = get_args(Want)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What the question says, the first that fits.
_ASKED: tuple[tuple[Want, re.Pattern[str]], ...] = (
    (
        "duration",
        re.compile(r"\bhow (long|much time)\b(?! (is|are|was) the\b)"),
    ),  # "How long is the rope?" wants metres
    (
        "number",
        re.compile(
            r"\bhow (many|much|long|old|heavy|big|large|tall|high|far|fast|deep|wide|thick|steep|often|hot|small)\b"
            r"|\bwhat (does|do|is|would) .*\b(cost|price|weigh)"
            r"|\bwhat .*\b(pay|price|cost|charge|fee|pressure|temperature|height|elevation|weight|size|age|speed)\b"
        ),
    ),
    ("time", re.compile(r"\bwhen\b|\b(what|which) (time|year|day|days|month|date|evening|season|century)\b")),
    ("name", re.compile(r"\b(who|whose|whom)\b")),
    ("place", re.compile(r"\bwhere\b|\b(what|which) (place|city|town|country|room|street)\b")),
    ("reason", re.compile(r"\bwhy\b|\bwhat made\b|\bhow come\b|\breason\b")),
    (
        "instruction",
        re.compile(
            r"\bhow (do|can|should|would|to|could|did|must)\b|\bwhat (should|do|must|can) (i|we|you) do\b"
            r"|\bwhat (now|if)\b"
        ),
    ),
    (
        "definition",
        re.compile(
            r"^(and )?what('s| is| are| was) (a |an |the )?[\w ]+\??$|\bwhat is .* (for|about)\b|\b(explain|define)\b"
        ),
    ),
    (
        "permission",
        re.compile(
            r"^(and |so |but )?(can|could|do|does|did|is|are|was|were|may|must|should|will|would|has|have|am)\b"
            r"|\b(can|do|am|is|are|may) (i|we|you|they|he|she|it|there)\b"
        ),
    ),
)
_CONTINUES = re.compile(r"(and|or|but|also|what about|how about)\b")
_TURNS_CONSIDERED = 4
_QUESTION_CHARS = 1000

_NUMBERS = _words(
    """
    one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million half dozen
    several
    """
)
_SPANS = _words(
    """
    year years month months week weeks day days hour hours minute minutes second seconds night nights century
    centuries long
    """
)
_MOMENTS = _SPANS | _words(
    """
    january february march april may june july august september october november december monday mondays tuesday
    tuesdays wednesday wednesdays thursday thursdays friday fridays saturday saturdays sunday sundays morning
    mornings afternoon afternoons evening evenings noon midnight spring summer autumn winter weekend weekends
    weekday weekdays today tomorrow daily until before after since am pm
    """
)
_PLACES = _words(
    "in at on near from behind beside into under below above through to between along opposite inside outside beyond"
)
_REASONS = _words("because since so as therefore avoid order reason partly or otherwise cause caused due")
_PERMISSIONS = _words("not never no cannot only must may can forbidden allowed free welcome please do t")
_OPENS_INSTRUCTION = _words("if to when for in do never please always whenever")
# An imperative is known by what follows its first word: "Push both ...", "Turn it ...".
_FOLLOWS_IMPERATIVE = _words("a an the your it them both all any out up off in on down this these into to away")
_ALLOWS = re.compile(r"\byou (can|may|should|must|need|have)\b|\bcan be\b", re.I)
_IS_A = re.compile(r"^\W*(\w+\W+){1,5}?(is|are|was|were) (a|an|the|one)\b", re.I)
_NAME = re.compile(r"(?<!^)(?<![.!?:] )\b[A-Z][a-z]")  # a capital that does not open the sentence
_CLOCK_OR_YEAR = re.compile(r"\d:\d\d|\b(1\d|20)\d\d\b")


def wanted(dialog: Sequence[str]) -> Want | None:
    """What the last turn asks for; where it only goes on ("And the caravan?"), what the user's turn before it did."""
    for turn in dialog[-1 : -2 * _TURNS_CONSIDERED : -2]:
        # A question tends to stand at the end; some patterns take time that grows with the square of a text's length.
        question = turn[-_QUESTION_CHARS:].strip().lower()
        if found := next((want for want, pattern in _ASKED if pattern.search(question)), None):
            return found
        if not _CONTINUES.match(question):
            return None
    return None


def held(sentence: str) -> frozenset[Want]:
    """What `sentence` could answer."""
    in_order = all_words(sentence)
    words = frozenset(in_order)
    number = not words.isdisjoint(_NUMBERS) or any(character.isdigit() for character in sentence)
    found: dict[Want, bool] = {
        "duration": number and not words.isdisjoint(_SPANS),
        "number": number,
        "time": not words.isdisjoint(_MOMENTS) or (number and bool(_CLOCK_OR_YEAR.search(sentence))),
        "name": bool(_NAME.search(sentence)),
        "place": not words.isdisjoint(_PLACES),
        "reason": not words.isdisjoint(_REASONS),
        "instruction": _is_instruction(in_order) or bool(_ALLOWS.search(sentence)),
        "definition": bool(_IS_A.search(sentence)),
        "permission": not words.isdisjoint(_PERMISSIONS),
    }
    return frozenset(want for want, has in found.items() if has)


def _is_instruction(words: Sequence[str]) -> bool:
    steps = list(dropwhile(str.isdigit, words[:3]))  # "3) Point the camera ..."
    return bool(steps) and (steps[0] in _OPENS_INSTRUCTION or not _FOLLOWS_IMPERATIVE.isdisjoint(steps[1:2]))
