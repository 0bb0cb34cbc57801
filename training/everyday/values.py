"""What fills the slots of templates: numbers, times, prices, names and words, in the manner of one text.

{12-40}        a number in this range; {12-40b} another
{year}         the subject's first year (its founding, its birth); {year+5-20} one that many years later
{price}        made by the function of this name below, or drawn from the list of this name in data/words.txt
{price2}       another of these
{job:a}        with its article: "a baker", "an engineer"
"""

import re
from collections.abc import Callable
from random import Random

from training.everyday.templates import DATA

NEWEST_YEAR = 2025
RANGE = re.compile(r"(?:(year)\+)?(\d+)-(\d+)[a-z]?")
SMALL = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
VOWEL_SOUND = re.compile(
    r"(?!uni|use|usu|eu|one\b|once|ukul|util)[aeiou]|8|11\b|18\b|hour|honest|heir|honou?r|[FLMNRSX]-?\d", re.I
)


class Value(str):
    """A slot's value; `{slot:a}` puts the article before it, `{slot:t}` makes a title of it."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        if spec == "a":
            return f"{'an' if VOWEL_SOUND.match(self) else 'a'} {self}"
        if spec == "t":
            return self.title()
        return str(self)


def _lists() -> dict[str, tuple[str, ...]]:
    """data/words.txt: `name:` and, until an empty line, its items parted by semicolons."""
    lists: dict[str, tuple[str, ...]] = {}
    for paragraph in (DATA / "words.txt").read_text(encoding="utf-8").split("\n\n"):
        name, _, items = paragraph.partition(":")
        lists[name.strip()] = tuple(item for part in items.split(";") if (item := " ".join(part.split())))
    return lists


WORDS = _lists()


class Manner:
    """How one text writes times, money and measures, and what it has already named: no value is drawn twice."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.clock = random.choice(CLOCKS)
        self.money = random.choice(CURRENCIES)
        self.metric = random.random() < 0.7
        self.spelled = random.random() < 0.5
        self.used: set[str] = set()

    def value(self, slot: str, year: int) -> Value:
        """A value for the slot of a subject whose first year is `year`. Raises KeyError for a slot of no known kind."""
        for _ in range(8):
            text = self._make(slot, year)
            if text not in self.used:
                break
        self.used.add(text)
        return Value(text)

    def _make(self, slot: str, year: int) -> str:
        if slot == "year":
            return str(year)
        if found := RANGE.fullmatch(slot):
            number = self.random.randint(int(found[2]), int(found[3]))
            return str(min(year + number, NEWEST_YEAR)) if found[1] else self.number(number)
        name = slot.rstrip("0123456789")
        if maker := MAKERS.get(name):
            return maker(self)
        word = self.random.choice(WORDS[name])
        return word.format_map(Values(self, year)) if "{" in word else word

    def number(self, number: int) -> str:
        return SMALL[number] if self.spelled and number <= 12 else f"{number:,}"

    def between(self, low: int, high: int, step: int = 1) -> int:
        return self.random.randrange(low, high + 1, step)

    def measure(self, low: float, high: float, metric: str, imperial: str, factor: float) -> str:
        """A measure between low and high, in metric units, or in the imperial ones of which one makes `factor`."""
        amount = self.random.uniform(low, high)
        unit = metric
        if not self.metric:
            amount, unit = amount * factor, imperial
        rounded = f"{amount:.1f}" if amount < 10 and self.random.random() < 0.6 else f"{max(1, round(amount)):,}"
        return f"{rounded.removesuffix('.0')} {unit}"


class Values(dict[str, str]):
    """The values of one statement and its questions, each made when first asked for."""

    def __init__(self, manner: Manner, year: int) -> None:
        super().__init__()
        self.manner = manner
        self.year = year

    def __missing__(self, slot: str) -> str:
        value = self.manner.value(slot, self.year)
        self[slot] = value
        return value


def _twelve(dot: str, am: str, pm: str) -> Callable[[int, int], str]:
    def clock(hour: int, minute: int) -> str:
        minutes = f"{dot}{minute:02}" if minute else ""
        return f"{(hour - 1) % 12 + 1}{minutes}{am if hour < 12 else pm}"

    return clock


CLOCKS: tuple[Callable[[int, int], str], ...] = (
    _twelve(":", " am", " pm"),
    _twelve(":", " a.m.", " p.m."),
    _twelve(".", "am", "pm"),
    _twelve(":", " AM", " PM"),
    lambda hour, minute: f"{hour:02}:{minute:02}",
    lambda hour, minute: f"{hour}:{minute:02}",
    lambda hour, minute: f"{hour}.{minute:02}",
)
CURRENCIES: tuple[tuple[str, float], ...] = (
    ("${}", 1), ("${}", 1), ("€{}", 1), ("€{}", 1), ("£{}", 1), ("£{}", 1), ("{} euros", 1), ("{} dollars", 1), ("{} EUR", 1), ("CHF {}", 1),
    ("{} pounds", 1), ("Rs {}", 60), ("{} kr", 10), ("R{}", 15), ("A${}", 1), ("{} €", 1), ("{} zł", 4), ("¥{}", 120),
)  # fmt: skip


def _clock(low: int, high: int, minutes: tuple[int, ...] = (0, 0, 0, 30, 30, 15, 45)) -> Callable[[Manner], str]:
    return lambda manner: manner.clock(manner.between(low, high), manner.random.choice(minutes))


def _price(low: float, high: float) -> Callable[[Manner], str]:
    def price(manner: Manner) -> str:
        form, worth = manner.money
        amount = manner.random.uniform(low, high) * worth
        if amount < 100 and manner.random.random() < 0.4:
            return form.format(f"{int(amount)}.{manner.random.choice(('50', '90', '95', '99', '20', '80'))}")
        step = 1 if amount < 50 else 5 if amount < 500 else 10
        return form.format(f"{max(1, round(amount / step) * step):,}")

    return price


def _measure(*spec: tuple[float, float, str, str, float]) -> Callable[[Manner], str]:
    return lambda manner: manner.measure(*manner.random.choice(spec))


SYLLABLES = [
    "ba",
    "be",
    "bo",
    "bra",
    "bri",
    "ca",
    "ce",
    "co",
    "cla",
    "da",
    "de",
    "do",
    "dra",
    "el",
    "en",
    "fa",
    "fe",
    "fi",
    "flo",
    "ga",
    "ge",
    "gra",
    "ha",
    "he",
    "hu",
    "ja",
    "jo",
    "ka",
    "ke",
    "ki",
    "kor",
    "la",
    "le",
    "li",
    "lo",
    "lu",
    "ma",
    "me",
    "mi",
    "mo",
    "mu",
    "na",
    "ne",
    "ni",
    "no",
    "nor",
    "o",
    "pa",
    "pe",
    "pi",
    "po",
    "pra",
    "qui",
    "ra",
    "re",
    "ri",
    "ro",
    "ru",
    "sa",
    "se",
    "si",
    "so",
    "sta",
    "ta",
    "te",
    "ti",
    "to",
    "tra",
    "tu",
    "u",
    "va",
    "ve",
    "vi",
    "vo",
    "wa",
    "wi",
    "xa",
    "ya",
    "yo",
    "za",
    "ze",
    "zi",
    "zo",
]  # noqa: E501
ENDINGS = [
    "n",
    "r",
    "s",
    "l",
    "m",
    "x",
    "t",
    "ra",
    "na",
    "lo",
    "vo",
    "ta",
    "nix",
    "dex",
    "tor",
    "ris",
    "mar",
    "lin",
    "von",
    "sen",
    "ka",
    "ro",
    "del",
]
TOWN_ENDINGS = [
    "ford",
    "ton",
    "ham",
    "bury",
    "field",
    "bridge",
    "burg",
    "stad",
    "dorf",
    "ville",
    "mouth",
    "wick",
    "by",
    "haven",
    "port",
    "dale",
    "minster",
    "berg",
    "holm",
    "vik",
    "grad",
    "ovo",
    "ino",
    "ara",
    "eda",
    "essa",
]  # noqa: E501


def _coined(manner: Manner, syllables: int = 1) -> str:
    draw = manner.random.choice
    return "".join(draw(SYLLABLES) for _ in range(syllables + (manner.random.random() < 0.4))) + draw(ENDINGS)


def _brand(manner: Manner) -> str:
    coined = _coined(manner).capitalize()
    return coined.upper() if len(coined) < 5 and manner.random.random() < 0.3 else coined


def _town(manner: Manner) -> str:
    if manner.random.random() < 0.5:
        return manner.random.choice(WORDS["known_town"])
    start = "".join(manner.random.choice(SYLLABLES) for _ in range(1 + (manner.random.random() < 0.6)))
    return (start + manner.random.choice(TOWN_ENDINGS)).capitalize()


def _surname(manner: Manner) -> str:
    return manner.random.choice(WORDS["last_name"])


def _woman(manner: Manner) -> str:
    return f"{manner.random.choice(WORDS['woman_name'])} {_surname(manner)}"


def _man(manner: Manner) -> str:
    return f"{manner.random.choice(WORDS['man_name'])} {_surname(manner)}"


def _person(manner: Manner) -> str:
    return _woman(manner) if manner.random.random() < 0.5 else _man(manner)


def _model(manner: Manner) -> str:
    draw = manner.random.choice
    number = draw(
        (manner.between(2, 9), manner.between(10, 95, 5), manner.between(100, 900, 50), manner.between(1000, 9000, 100))
    )
    letters = "".join(draw("ABCDEFGHKLMPRSTVXZ") for _ in range(manner.between(1, 2)))
    return draw((f"{letters}{number}", f"{letters}-{number}", f"{number}", f"{number}{letters[0]}", draw(WORDS["model_word"]),
                 f"{draw(WORDS['model_word'])} {number}"))  # fmt: skip


def _phone(manner: Manner) -> str:
    digits = lambda count: "".join(manner.random.choice("0123456789") for _ in range(count))  # noqa: E731
    return manner.random.choice((f"0{digits(3)} {digits(6)}", f"555-{digits(4)}", f"+{manner.between(20, 98)} {digits(2)} {digits(3)} {digits(4)}",
                                 f"({digits(3)}) 555-{digits(4)}", f"0{digits(2)}-{digits(4)} {digits(3)}"))  # fmt: skip


def _email(manner: Manner) -> str:
    user = manner.random.choice(
        ["info", "hello", "office", "contact", "desk", "service", "team", "mail", "post", "bookings", "support"]
    )
    return f"{user}@{_coined(manner, 2)}.{manner.random.choice(('example', 'com', 'org', 'net', 'co', 'de'))}"


def _website(manner: Manner) -> str:
    return f"{_coined(manner, 2)}.{manner.random.choice(('com', 'org', 'net', 'io', 'shop', 'info'))}"


def _date(manner: Manner) -> str:
    day, month = manner.between(1, 28), manner.random.choice(WORDS["month"])
    return manner.random.choice((f"{day} {month}", f"{month} {day}", f"{day} {month}"))


def _street(manner: Manner) -> str:
    draw = manner.random.choice
    return draw((f"{draw(WORDS['street_word'])} {draw(WORDS['street_kind'])}", f"{_surname(manner)} {draw(WORDS['street_kind'])}",
                 f"{draw(WORDS['street_word'])} {draw(WORDS['street_kind'])}"))  # fmt: skip


def _percent(low: int, high: int, step: int) -> Callable[[Manner], str]:
    def percent(manner: Manner) -> str:
        number = manner.between(low, high, step)
        return manner.random.choice((f"{number}%", f"{number} %", f"{number} percent", f"{number} per cent"))

    return percent


def _count(low: int, high: int, step: int) -> Callable[[Manner], str]:
    return lambda manner: f"{manner.between(low, high, step):,}"


MAKERS: dict[str, Callable[[Manner], str]] = {
    "brand": _brand,
    "town": _town,
    "surname": _surname,
    "woman": _woman,
    "man": _man,
    "person": _person,
    "model": _model,
    "phone": _phone,
    "email": _email,
    "website": _website,
    "date": _date,
    "street": _street,
    "address": lambda manner: manner.random.choice(("{1} {0}", "{0} {1}", "{1} {0}")).format(_street(manner), manner.between(1, 240)),
    "early": _clock(5, 8),
    "opens": _clock(7, 11),
    "noon": _clock(12, 14),
    "afternoon": _clock(13, 16),
    "closes": _clock(16, 19),
    "evening": _clock(17, 20),
    "late": _clock(20, 23),
    "hour": _clock(7, 22),
    "coins": _price(1, 8),
    "price": _price(5, 45),
    "price_meal": _price(9, 38),
    "price_room": _price(55, 290),
    "price_goods": _price(15, 900),
    "price_month": _price(5, 90),
    "price_year": _price(20, 480),
    "price_rent": _price(400, 2400),
    "price_deposit": _price(20, 500),
    "price_fine": _price(20, 150),
    "price_minimum": _price(20, 90),
    "price_wage": _price(1500, 5000),
    "fortune": lambda manner: manner.money[0].format(f"{manner.between(2, 95)} million"),
    "grams": _measure((40, 950, "g", "oz", 0.035), (40, 950, "grams", "ounces", 0.035)),
    "kilos": _measure((0.8, 28, "kg", "lb", 2.205), (0.8, 28, "kilograms", "pounds", 2.205), (0.8, 28, "kilos", "pounds", 2.205)),
    "kilos_load": _measure((60, 300, "kg", "lb", 2.205), (60, 300, "kilograms", "pounds", 2.205)),
    "tonnes": _measure((2, 900, "tonnes", "tons", 1.1)),
    "cm": _measure((12, 190, "cm", "inches", 0.394), (12, 190, "centimetres", "inches", 0.394), (120, 900, "mm", "inches", 0.0394)),
    "cm_animal": _measure((8, 160, "cm", "inches", 0.394), (8, 160, "centimetres", "inches", 0.394)),
    "metres": _measure((8, 140, "metres", "feet", 3.28), (8, 140, "m", "ft", 3.28)),
    "metres_far": _measure((50, 900, "metres", "yards", 1.09), (50, 900, "m", "yards", 1.09)),
    "metres_high": _measure((400, 4200, "metres", "feet", 3.28), (400, 4200, "m", "ft", 3.28)),
    "km": _measure((2, 60, "km", "miles", 0.621), (2, 60, "kilometres", "miles", 0.621)),
    "km_long": _measure((60, 900, "km", "miles", 0.621), (60, 900, "kilometres", "miles", 0.621)),
    "kmh": _measure((15, 140, "km/h", "mph", 0.621), (15, 140, "kilometres an hour", "miles per hour", 0.621)),
    "litres": _measure((0.5, 60, "litres", "quarts", 1.057), (0.5, 60, "l", "gallons", 0.264)),
    "hectares": _measure((2, 900, "hectares", "acres", 2.471)),
    "square_km": _measure((5, 2400, "square kilometres", "square miles", 0.386)),
    "square_m": _measure((28, 160, "square metres", "square feet", 10.76), (28, 160, "m²", "sq ft", 10.76)),
    "degrees": lambda manner: f"{manner.between(-5, 38)} °C" if manner.metric else f"{manner.between(20, 100)} °F",
    "oven": lambda manner: f"{manner.between(160, 240, 10)} °C" if manner.metric else f"{manner.between(325, 475, 25)} °F",
    "wash": lambda manner: manner.random.choice(("30 °C", "40 °C", "60 °C", "30 degrees", "40 degrees")),
    "watts": lambda manner: f"{manner.between(5, 95, 5)} {manner.random.choice(('W', 'watts'))}" if manner.random.random() < 0.5
    else f"{manner.between(200, 2400, 50):,} {manner.random.choice(('W', 'watts'))}",
    "decibels": lambda manner: f"{manner.between(22, 78)} {manner.random.choice(('dB', 'decibels'))}",
    "volts": lambda manner: manner.random.choice(("230 V", "110 V", "12 volts", "18 V", "36 V", "24 volts")),
    "percent": _percent(5, 50, 5),
    "percent_any": _percent(3, 97, 1),
    "minutes": lambda manner: f"{manner.between(4, 55)} minutes",
    "hours": lambda manner: f"{manner.number(manner.between(2, 16))} hours",
    "hours_short": lambda manner: f"{manner.number(manner.between(2, 4))} hours",
    "hours_long": lambda manner: f"{manner.between(10, 90)} hours",
    "days": lambda manner: f"{manner.number(manner.between(2, 30))} days",
    "weeks": lambda manner: f"{manner.number(manner.between(2, 12))} weeks",
    "months": lambda manner: f"{manner.number(manner.between(2, 24))} months",
    "years": lambda manner: f"{manner.number(manner.between(2, 12))} years",
    "years_long": lambda manner: f"{manner.between(13, 80)} years",
    "people": _count(300, 99000, 10),
    "crowd": _count(300, 90000, 100),
    "many": _count(100, 9000, 10),
    "millions": lambda manner: f"{manner.random.choice((manner.between(2, 80), round(manner.random.uniform(1.1, 9.9), 1)))} million",
    "days_range": lambda manner: manner.random.choice(("{0} to {1} {2} days", "{0}-{1} {2} days", "between {0} and {1} {2} days")).format(
        low := manner.between(1, 5), low + manner.between(1, 4), manner.random.choice(("working", "business", "working"))),
    "minutes_range": lambda manner: f"{(low := manner.between(10, 40, 5))}-{low + manner.between(5, 20, 5)} minutes",
    "model_year": lambda manner: str(manner.between(2012, 2025)),
    "soon_year": lambda manner: str(manner.between(2026, 2034)),
    "room_number": lambda manner: str(manner.between(1, 420)),
    "bus": lambda manner: manner.random.choice((str(manner.between(1, 99)), f"{manner.random.choice('ABEMNSX')}{manner.between(1, 30)}", str(manner.between(100, 780)))),
    "code": lambda manner: manner.random.choice("EFHLCPTU") + manner.random.choice(("", "-")) + str(manner.between(1, 60)),
    "version": lambda manner: f"{manner.between(1, 14)}.{manner.between(0, 9)}",
    "megabytes": lambda manner: manner.random.choice((f"{manner.between(20, 950)} MB", f"{manner.between(2, 64)} GB")),
    "ipx": lambda manner: manner.random.choice(("IPX4", "IPX7", "IP67", "IP54", "IP68", "IPX5")),
    "megapixels": lambda manner: f"{manner.between(8, 108)} megapixels",
    "age": lambda manner: str(manner.between(3, 21)),
    "age_old": lambda manner: str(manner.between(41, 96)),
    "waypoint": lambda manner: manner.random.choice(WORDS["landmark"]),
}  # fmt: skip
