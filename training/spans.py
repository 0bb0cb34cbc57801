"""Pure: where a text says when, where, how many and how much: patterns of times, quantities, places and names."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from training.clauses import AUXILIARIES, DETERMINERS, PREPOSITIONS, Lexicon
from training.wordings import LYING
from training.words import word_set


@dataclass(frozen=True)
class Span:
    """Words of a text that answer a question of some kind."""

    start: int  # characters
    end: int
    text: str


def _any(alternatives: str) -> str:
    """A pattern of the words that `alternatives` lists; an underscore stands for a space."""
    return f"(?:{'|'.join(alternatives.split()).replace('_', ' ')})"


# ---- Times.

_MONTH = _any("January February March April May June July August September October November December")
_WEEKDAY = _any("Mondays? Tuesdays? Wednesdays? Thursdays? Fridays? Saturdays? Sundays? weekdays")
_YEAR = r"(?:AD \d{1,4}\b|\d{1,4} (?:BC|BCE|AD|CE)\b|1\d{3}s?\b|20\d{2}s?\b)"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_DATE = rf"(?:(?:{_DAY} )?{_MONTH}\b(?: {_DAY}\b)?(?:,? {_YEAR})?|{_YEAR})"
_CENTURY = (
    r"(?:the )?(?:early |late |mid-|middle of |beginning of |end of )*(?:the )?"
    r"(?:(?:\d{1,2}(?:st|nd|rd|th)|[a-z]+th) century(?: BC\b| BCE\b| AD\b)?|1\d{3}s|20\d{2}s|"
    r"(?:Middle|Bronze|Iron) Ages?)"
)
_PERIOD = rf"(?:{_CENTURY}|{_DATE})"
_DIGIT = _any("one two three four five six seven eight nine")
_COUNT = (
    _any(
        "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"
    )
    + rf"(?:-{_DIGIT})?"
)
_HOUR = (
    rf"(?:(?:half past |quarter past |quarter to )?(?:\d{{1,2}}(?:[:.]\d{{2}})?|one|{_COUNT})"
    r"(?: ?[ap]\.?m\b\.?| o'clock)?(?: in the (?:morning|afternoon|evening)| at night)?|noon|midnight)"
)
_TIME = re.compile(
    r"\b(?:"
    rf"from (?:about |around )?{_PERIOD} (?:to|until|till) {_PERIOD}|between {_PERIOD} and {_PERIOD}|"
    rf"{_any('in on since until around about during by before after from')} (?:about |around |approximately )?{_PERIOD}"
    rf"(?: and {_PERIOD})?|"
    rf"(?:on|every) {_WEEKDAY}(?: and {_WEEKDAY})?(?: (?:morning|afternoon|evening|night)s?)?|"
    rf"from {_WEEKDAY} to {_WEEKDAY}|"
    rf"(?:at|from|until|before|after) {_HOUR}(?: (?:to|until|till) {_HOUR})?"
    r"(?= (?:on|in|every|and|from)\b|$|[,.;](?!\d))|"
    rf"(?:after|within) (?:about |around |only )?(?:{_COUNT}|\d+) (?:second|minute|hour|day|week|month|year)s|"
    rf"in (?:the )?{_any('spring summer autumn winter morning afternoon evening')}|"
    r"(?:at|during the) (?:night|dawn|dusk|noon|midnight|weekends|day)"
    r")(?=[ ,.;]|$)"
)
_OFTEN = re.compile(
    rf"\b(?:every (?:(?:few|other|second|{_COUNT}|\d+) )?(?:second|minute|hour|day|week|month|season|year|decade)s?|"
    rf"(?:once|twice|(?:{_COUNT}|\d+) times) (?:a|an|per|every) (?:minute|hour|day|week|month|year)|"
    r"(?:daily|weekly|monthly|yearly)(?=[ ,.;]*$))"
)
_AGE = re.compile(rf"\b(?:at|by) (?:the )?age (?:of )?(?:\d+|{_COUNT})\b|\b(?:when|while) aged \d+")

# ---- Quantities.

_SCALE = f"(?: {_any('hundred thousand million billion trillion')})?"
_NUMBER = rf"(?:\d+(?:,\d{{3}})*(?:\.\d+)?{_SCALE}|{_COUNT}{_SCALE}|an? (?:hundred|dozen|thousand|million))"
_ABOUT = (
    "(?:"
    + _any(
        "about around approximately roughly nearly almost over under some at_least at_most up_to more_than less_than "
        "fewer_than only exactly an_estimated an_average_of"
    )
    + " )*"
)
_AMOUNT = rf"{_ABOUT}{_NUMBER}(?:(?:[-–]| to | or ){_NUMBER})?"
_UNITS = {  # by what they measure
    "speed": r"km/h|kph|mph|(?:kilomet(?:re|er)s|miles|met(?:re|er)s|feet) (?:per|an|a) (?:hour|second|minute)",
    "area": r"square (?:kilomet(?:re|er)s|met(?:re|er)s|miles|feet)|km2|sq mi|hectares?|acres?",
    "mass": r"kilograms?|kg|grams?|tonnes?|tons?|lbs?|ounces?",
    "length": r"(?:kilo|centi|milli)?met(?:re|er)s?|km|cm|mm|m|miles?|mi|feet|ft|foot|inch(?:es)?|yards?|light-years?",
    "money": r"(?:US |Canadian |Australian )?(?:dollars?|euros?|cents?|pounds?|pence|francs?|crowns?|yen|rupees?)",
    "duration": r"seconds?|minutes?|hours?|days?|weeks?|months?|years?|decades?",
    "volume": r"(?:milli)?lit(?:re|er)s?|gallons?|cups?|pints?",
    "power": r"watts?|kilowatts?|megawatts?|volts?",
    "temperature": r"°[CF]|degrees(?: (?:Celsius|Fahrenheit))?",
    "share": r"per ?cent|%",
}
_UNIT = re.compile("|".join(_UNITS.values()))
_QUANTITY = re.compile(
    rf"(?<![\w$€£,.-])(?:{_AMOUNT}|one|half an|an(?= hour))(?: |-|(?=[°%]))(?:"
    + "|".join(f"(?P<{name}>{units})" for name, units in _UNITS.items())
    + r")(?![\w-])"
)
_MONEY = re.compile(rf"{_ABOUT}(?:US)?[$€£]\d[\d,]*(?:\.\d+)?{_SCALE}\b")
_COUNTED = re.compile(
    rf"(?<![\w$€£,.-])(?<!AD )(?P<number>{_AMOUNT}) "
    r"(?P<noun>(?:[a-z]+(?:-[a-z]+)* ){0,2}?[a-z]+(?:-[a-z]+)*(?:s|people|men|women|children|species))\b"
)
# Behind these a number does not say how many there are: "one of the two sisters", "his last ten films".
_NO_COUNT = re.compile(
    r"\b(?:the|its|his|her|their|these|those|in|at|between|from|over|by|last|first|next|than|original) $", re.I
)
_NO_THINGS = PREPOSITIONS | DETERMINERS | AUXILIARIES | word_set("and or percent times")

# ---- Places and names.

_NAME = r"(?:[A-Z][\w'’-]*\.?)(?: (?:(?:of|de|da|del|la|the|van|von|and the) )?[A-Z][\w'’-]*)*"
_PART = _any(
    "(?:far_)?north south east west northern southern eastern western central north-?east(?:ern)? north-?west(?:ern)? "
    "south-?east(?:ern)? south-?west(?:ern)? centre center heart middle coast banks? shores? city town village island "
    "state province district county capital suburb foot edge mouth region"
)
_PLACE = re.compile(
    rf"\b{_any('in at near on off outside between around within across throughout along')} "
    r"(?:(?:what is now|present-day|modern-day|modern) )?"
    rf"(?:(?:the )?{_PART}(?: (?:part|coast|side|end|city))?(?: of)? )?(?:the )?"
    rf"(?P<name>{_NAME})(?: {_any('coast area region district peninsula basin border metropolitan_area')})?"
    rf"(?:, {_NAME})*(?: and (?:the )?{_NAME})?"
)
_ORDINARY_PLACE = re.compile(
    rf"\b{_any('in at near on beside behind next_to opposite under above below inside outside between beneath')} "
    r"(?P<noun>(?:the|a|an|its|their|your|our) (?:[a-z-]+ ){0,2}?[a-z-]+)"
    rf"(?= {_any('of and in at near on by for with from to since during until')}\b|[,.;]|$)"
)
_SITES = word_set(
    "kitchen cellar station school church library museum garden river lake sea mountain floor street road market "
    "harbour square shop desk door entrance hall room yard forest wood desert valley hill coast island village town "
    "city country park beach bridge castle tower office ground building house barn field roof wall window corner "
    "centre ocean cave water sky nest bottom top back front side left right"
)
_PLACING = word_set(
    "located situated found based born died built held lived lives lie lies live stands stand buried founded set "
    "placed stored kept grown grows worked works studied taught takes took buried opened established made produced "
    "raised discovered headquartered published premiered signed fought discovered spoken used occurs occur"
)


def time(text: str) -> Span | None:
    """The first time that stands in `text` with its preposition: "in 1794", "from Monday to Friday", "at noon"."""
    return _span(_TIME.search(text))


def frequency(text: str) -> Span | None:
    """How often something is: "every month", "twice a day"."""
    return _span(_OFTEN.search(text))


def age(text: str) -> Span | None:
    """The age at which something was: "at the age of 81"."""
    return _span(_AGE.search(text))


def quantity(text: str) -> tuple[Span, str] | None:
    """The first number with a unit, and what it measures: mass, length, area, speed, money, duration, ..."""
    if found := _MONEY.search(text):
        return Span(found.start(), found.end(), found[0]), "money"
    if found := _QUANTITY.search(text):
        return Span(found.start(), found.end(), found[0]), next(name for name in _UNITS if found[name])
    return None


def counted(text: str) -> tuple[Span, str] | None:
    """The first number that says how many things there are, and the things, no unit: ("three", "floors")."""
    for found in _COUNTED.finditer(text):
        words = found["noun"].split()
        if _NO_COUNT.search(text[: found.start()]):
            continue
        if not _UNIT.fullmatch(found["noun"]) and not set(words) & _NO_THINGS:
            return Span(found.start("number"), found.end("number"), found["number"]), found["noun"]
    return None


def place(text: str, verb: str, lexicon: Lexicon) -> Span | None:
    """The first place in `text` with its preposition: "in the north of Italy", "behind the station".

    Names that the dictionary does not know count only after a verb that things or people do somewhere.
    """
    for found in sorted([*_PLACE.finditer(text), *_ORDINARY_PLACE.finditer(text)], key=lambda match: match.start()):
        known = found.groupdict()
        is_place = _names_place(known["name"], verb, lexicon) if "name" in known else _is_site(known["noun"], lexicon)
        if is_place and (verb in LYING or not found[0].startswith("between")):
            return _span(found)
    return None


def _names_place(name: str, verb: str, lexicon: Lexicon) -> bool:
    if re.match(rf"{_MONTH}|{_WEEKDAY}", name):
        return False
    kind = lexicon.kind(name) or lexicon.kind(name.split()[-1])
    return kind == "place" or (kind is None and verb in _PLACING and lexicon.base(name, "noun") is None)


def _is_site(noun: str, lexicon: Lexicon) -> bool:
    head = noun.split()[-1]
    return head in _SITES or (lexicon.base(head, "noun") or "") in _SITES


def names(text: str) -> Iterator[Span]:
    """Capitalised names that do not begin the text."""
    for found in re.finditer(_NAME, text):
        if found.start() > 0:
            yield Span(found.start(), found.end(), found[0])


def noun_phrase(text: str) -> str:
    """The words at the start of `text` up to a preposition or comma: a noun phrase, where `text` begins with one."""
    words: list[str] = []
    for word in text.split():
        if words and word.lower() in PREPOSITIONS | {"and", "or", "that", "to"} and words[-1] not in DETERMINERS:
            break
        words.append(word.rstrip(","))
        if word.endswith(","):
            break
    return " ".join(words)


def _span(found: "re.Match[str] | None") -> Span | None:
    return Span(found.start(), found.end(), found[0]) if found else None
