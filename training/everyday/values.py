"""What fills the slots of templates: numbers, times, prices, names and words, in the manner of one text.

{12-40}        a number in this range; {12-40b} another
{year}         the subject's first year (its founding, its birth); {year+5-20} one that many years later
{price}        made by the maker of this name below, or drawn from the list of this name in data/words.txt
{price2}       another of these
{job:a}        with its article: "a baker", "an engineer"; {craft:t} in title case
"""

import re
from collections.abc import Callable
from random import Random

from training.everyday.templates import DATA, article

NEWEST_YEAR = 2025
RANGE = re.compile(r"(year\+)?(\d+)-(\d+)[a-z]?")


class Value(str):
    """A slot's value; `{slot:a}` puts the article before it, `{slot:t}` makes a title of it."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        if spec == "a":
            return article(self)
        return self.title() if spec == "t" else str(self)


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
        self.money, self.worth = random.choice(CURRENCIES)
        self.metric = random.random() < 0.7
        self.spelled = random.random() < 0.5  # "three" for 3
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
            number = self.between(int(found[2]), int(found[3]))
            return str(min(year + number, NEWEST_YEAR)) if found[1] else self.number(number)
        name = slot.rstrip("0123456789")
        if maker := MAKERS.get(name):
            return maker(self)
        return self.word(name)

    def word(self, name: str) -> str:
        return self.random.choice(WORDS[name])

    def between(self, low: int, high: int, step: int = 1) -> int:
        return self.random.randrange(low, high + 1, step)

    def number(self, number: int) -> str:
        return WORDS["number"][number] if self.spelled and number <= 12 else f"{number:,}"


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


Maker = Callable[[Manner], str]


# --- times


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
    "{:02}:{:02}".format,
    "{}:{:02}".format,
    "{}.{:02}".format,
)


def _clock(low: int, high: int) -> Maker:
    return lambda manner: manner.clock(manner.between(low, high), manner.random.choice((0, 0, 0, 30, 30, 15, 45)))


def _span(low: int, high: int, unit: str) -> Maker:
    return lambda manner: f"{manner.number(manner.between(low, high))} {unit}"


def _date(manner: Manner) -> str:
    day, month = manner.between(1, 28), manner.word("month")
    return manner.random.choice((f"{day} {month}", f"{month} {day}"))


def _working_days(manner: Manner) -> str:
    low = manner.between(1, 5)
    form = manner.random.choice(("{} to {}", "{}-{}", "between {} and {}"))
    return f"{form.format(low, low + manner.between(1, 4))} {manner.random.choice(('working', 'business'))} days"


# --- money and measures

CURRENCIES: tuple[tuple[str, float], ...] = (
    ("${}", 1),
    ("${}", 1),
    ("€{}", 1),
    ("€{}", 1),
    ("£{}", 1),
    ("£{}", 1),
    ("{} euros", 1),
    ("{} dollars", 1),
    ("{} pounds", 1),
    ("{} EUR", 1),
    ("{} €", 1),
    ("CHF {}", 1),
    ("A${}", 1),
    ("{} zł", 4),
    ("{} kr", 10),
    ("R{}", 15),
    ("Rs {}", 60),
    ("¥{}", 120),
)


def _price(low: float, high: float) -> Maker:
    """Prices from low to high in dollars, in the text's currency, most of them round."""

    def price(manner: Manner) -> str:
        amount = manner.random.uniform(low, high) * manner.worth
        if amount < 100 and manner.random.random() < 0.4:
            return manner.money.format(f"{int(amount)}.{manner.random.choice(('50', '90', '95', '99', '20', '80'))}")
        step = 1 if amount < 50 else 5 if amount < 500 else 10
        return manner.money.format(f"{max(2, round(amount / step) * step):,}")

    return price


# metric names, imperial names, and how many imperial ones make a metric one
Units = tuple[tuple[str, ...], tuple[str, ...], float]
GRAMS: Units = (("g", "grams"), ("oz", "ounces"), 0.035)
KILOS: Units = (("kg", "kilograms", "kilos"), ("lb", "pounds"), 2.205)
TONNES: Units = (("tonnes",), ("tons",), 1.1)
CM: Units = (("cm", "centimetres"), ("inches", "in"), 0.394)
METRES: Units = (("metres", "m"), ("feet", "ft"), 3.28)
PACES: Units = (("metres", "m"), ("yards",), 1.09)
KM: Units = (("km", "kilometres"), ("miles",), 0.621)
SPEED: Units = (("km/h", "kilometres an hour"), ("mph", "miles per hour"), 0.621)
LITRES: Units = (("litres", "l"), ("quarts",), 1.057)
SQUARE_M: Units = (("square metres", "m²"), ("square feet", "sq ft"), 10.76)
SQUARE_KM: Units = (("square kilometres", "km²"), ("square miles",), 0.386)


def _measure(low: float, high: float, units: Units) -> Maker:
    """Measures from low to high in the metric unit, written in the text's system."""
    metric, imperial, factor = units

    def measure(manner: Manner) -> str:
        amount = manner.random.uniform(low, high) * (1 if manner.metric else factor)
        number = f"{amount:.1f}" if amount < 10 and manner.random.random() < 0.6 else f"{max(2, round(amount)):,}"
        unit = manner.random.choice(metric if manner.metric else imperial)
        return f"{number.removesuffix('.0')} {unit}"

    return measure


def _number_of(low: int, high: int, step: int, *units: str) -> Maker:
    def number(manner: Manner) -> str:
        return f"{manner.between(low, high, step):,}{manner.random.choice(units or ('',))}"

    return number


def _either(*makers: Maker) -> Maker:
    return lambda manner: manner.random.choice(makers)(manner)


# --- names


def _coined(manner: Manner, syllables: int = 1) -> str:
    count = syllables + (manner.random.random() < 0.4)
    return "".join(manner.word("syllable") for _ in range(count)) + manner.word("ending")


def _brand(manner: Manner) -> str:
    coined = _coined(manner).capitalize()
    return coined.upper() if len(coined) < 5 and manner.random.random() < 0.3 else coined


def _town(manner: Manner) -> str:
    if manner.random.random() < 0.5:
        return manner.word("known_town")
    start = "".join(manner.word("syllable") for _ in range(1 + (manner.random.random() < 0.6)))
    return (start + manner.word("town_ending")).capitalize()


def _person(*names: str) -> Maker:
    return lambda manner: f"{manner.word(manner.random.choice(names))} {manner.word('last_name')}"


def _letters(manner: Manner, letters: str) -> str:
    return manner.random.choice(letters)


def _model(manner: Manner) -> str:
    low, high, step = manner.random.choice(((2, 9, 1), (10, 95, 5), (100, 900, 50), (1000, 9000, 100)))
    number, letter, word = (
        manner.between(low, high, step),
        _letters(manner, "ABCDEFGHKLMPRSTVXZ"),
        manner.word("model_word"),
    )
    return manner.random.choice(
        (f"{letter}{number}", f"{letter}-{number}", f"{number}", f"{number}{letter}", word, f"{word} {number}")
    )


def _digits(manner: Manner, form: str) -> str:
    """The form with its every # a digit."""
    return "".join(manner.random.choice("0123456789") if sign == "#" else sign for sign in form)


def _phone(manner: Manner) -> str:
    return _digits(manner, manner.word("phone_form"))


def _email(manner: Manner) -> str:
    return f"{manner.word('mail_user')}@{_coined(manner, 2)}.{manner.word('domain')}"


def _website(manner: Manner) -> str:
    return f"{_coined(manner, 2)}.{manner.word('domain')}"


def _street(manner: Manner) -> str:
    return (
        f"{manner.word(manner.random.choice(('street_word', 'street_word', 'last_name')))} {manner.word('street_kind')}"
    )


def _address(manner: Manner) -> str:
    street, house = _street(manner), manner.between(1, 240)
    return manner.random.choice((f"{house} {street}", f"{house} {street}", f"{street} {house}"))


def _bus(manner: Manner) -> str:
    return manner.random.choice((str(manner.between(1, 780)), f"{_letters(manner, 'ABEMNSX')}{manner.between(1, 30)}"))


def _code(manner: Manner) -> str:
    return f"{_letters(manner, 'EFHLCPTU')}{manner.random.choice(('', '-'))}{manner.between(1, 60)}"


MAKERS: dict[str, Maker] = {
    # names
    "brand": _brand,
    "town": _town,
    "surname": lambda manner: manner.word("last_name"),
    "woman": _person("woman_name"),
    "man": _person("man_name"),
    "person": _person("woman_name", "man_name"),
    "model": _model,
    "phone": _phone,
    "email": _email,
    "website": _website,
    "street": _street,
    "address": _address,
    "waypoint": lambda manner: manner.word("landmark"),
    "bus": _bus,
    "code": _code,
    "version": lambda manner: f"{manner.between(1, 14)}.{manner.between(0, 9)}",
    "room_number": _number_of(1, 420, 1),
    # times
    "early": _clock(5, 8),
    "opens": _clock(7, 11),
    "noon": _clock(12, 13),
    "afternoon": _clock(13, 16),
    "closes": _clock(16, 19),
    "evening": _clock(17, 20),
    "late": _clock(20, 23),
    "hour": _clock(7, 22),
    "date": _date,
    "minutes": _span(4, 55, "minutes"),
    "hours_short": _span(2, 4, "hours"),
    "hours": _span(2, 16, "hours"),
    "hours_long": _span(10, 90, "hours"),
    "days": _span(2, 30, "days"),
    "days_range": _working_days,
    "weeks": _span(2, 12, "weeks"),
    "months": _span(2, 24, "months"),
    "years": _span(2, 12, "years"),
    "years_long": _span(13, 80, "years"),
    "model_year": lambda manner: str(manner.between(2012, NEWEST_YEAR)),
    "soon_year": lambda manner: str(manner.between(NEWEST_YEAR + 1, NEWEST_YEAR + 9)),
    # money
    "coins": _price(2, 8),
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
    "fortune": lambda manner: manner.money.format(f"{manner.between(2, 95)} million"),
    # measures
    "grams": _measure(40, 950, GRAMS),
    "kilos": _measure(0.8, 28, KILOS),
    "kilos_load": _measure(60, 300, KILOS),
    "tonnes": _measure(2, 900, TONNES),
    "cm": _measure(12, 190, CM),
    "cm_animal": _measure(8, 160, CM),
    "metres": _measure(8, 140, METRES),
    "metres_far": _measure(50, 900, PACES),
    "metres_high": _measure(400, 4200, METRES),
    "km": _measure(2, 60, KM),
    "km_long": _measure(60, 900, KM),
    "kmh": _measure(15, 140, SPEED),
    "litres": _measure(1, 60, LITRES),
    "square_m": _measure(28, 160, SQUARE_M),
    "square_km": _measure(5, 2400, SQUARE_KM),
    "oven": lambda manner: (
        f"{manner.between(160, 240, 10)} °C" if manner.metric else f"{manner.between(325, 475, 25)} °F"
    ),
    "watts": _either(_number_of(5, 95, 5, " W", " watts"), _number_of(200, 2400, 50, " W", " watts")),
    "decibels": _number_of(22, 78, 1, " dB", " decibels"),
    "megabytes": _either(_number_of(20, 950, 10, " MB"), _number_of(2, 64, 1, " GB")),
    "percent": _number_of(5, 50, 5, "%", " %", " percent", " per cent"),
    "percent_any": _number_of(3, 97, 1, "%", " %", " percent", " per cent"),
    # numbers
    "people": _number_of(300, 99000, 10),
    "crowd": _number_of(300, 90000, 100),
    "many": _number_of(100, 9000, 10),
    "millions": _number_of(2, 80, 1, " million"),
    "age": _number_of(3, 21, 1),
}
