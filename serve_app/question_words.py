"""Pure: what a question wants (a time, a number, a name ...), and whether a sentence has such a thing."""

import re
from collections.abc import Sequence
from typing import Literal, get_args

Want = Literal["duration", "number", "time", "name", "place", "reason", "instruction", "definition", "permission"]
WANTS: tuple[Want, ...] = get_args(Want)

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
            r"\bhow (do|can|should|would|to|could|did|must)\b|\bwhat (should|do|must|can) (i|we|you) do\b|\bwhat (now|if)\b"
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

_DIGIT = r"\d"
_NUMBER = (
    r"\b(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|thirty|forty|fifty|sixty|seventy"
    r"|eighty|ninety|hundred|thousand|million|half|dozen|several)\b"
)
_SPAN = r"\b(years?|months?|weeks?|days?|hours?|minutes?|seconds?|nights?|centur(y|ies)|long)\b"
_MOMENT = (
    r"\b(january|february|march|april|may|june|july|august|september|october|november|december|(mon|tues|wednes|thurs|fri"
    r"|satur|sun)days?|mornings?|afternoons?|evenings?|noon|midnight|spring|summer|autumn|winter|weekends?|weekdays?"
    r"|today|tomorrow|daily|until|before|after|since|1\d{3}|20\d\d|am|pm)\b|\d:\d\d"
)

_HOLDS: dict[Want, re.Pattern[str]] = {
    "number": re.compile(rf"{_DIGIT}|{_NUMBER}", re.I),
    "time": re.compile(rf"{_MOMENT}|{_SPAN}", re.I),
    "name": re.compile(r"(?<!^)(?<![.!?:] )\b[A-Z][a-z]"),  # a capital that does not open the sentence
    "place": re.compile(
        r"\b(in|at|on|near|from|behind|beside|into|under|below|above|through|to|between|along|opposite) \w", re.I
    ),
    "reason": re.compile(
        r"\b(because|since|so that|as|therefore|so|to avoid|in order|reason|partly|or|otherwise|caused?|due)\b", re.I
    ),
    # An imperative is known by what follows its first word: "Push both ...", "Turn it ...".
    "instruction": re.compile(
        r"^(\d+\W+)?(\w+ (a|an|the|your|it|them|both|all|any|out|up|off|in|on|down|this|these|into|to|away)"
        r"|if|to|when|for|in case|in|do not|never|please|always|whenever)\b"
        r"|\byou (can|may|should|must|need|have)\b|\bcan be\b",
        re.I,
    ),
    "definition": re.compile(r"^\W*(\w+\W+){1,5}?(is|are|was|were) (a|an|the|one)\b", re.I),
    "permission": re.compile(
        r"\b(not|never|no|cannot|only|must|may|can|forbidden|allowed|free|welcome|please|do)\b|n't", re.I
    ),
}


def wanted(dialog: Sequence[str]) -> Want | None:
    """What the last turn asks for; where it only goes on ("And the caravan?"), what the user's turn before it did."""
    question = dialog[-1].strip().lower()
    if found := next((want for want, pattern in _ASKED if pattern.search(question)), None):
        return found
    return wanted(dialog[:-2]) if len(dialog) > 2 and _CONTINUES.match(question) else None


def held(sentence: str) -> frozenset[Want]:
    """What `sentence` could answer."""
    found = {want for want, pattern in _HOLDS.items() if pattern.search(sentence)}
    if "number" in found and re.search(_SPAN, sentence, re.I):
        found.add("duration")
    return frozenset(found)
