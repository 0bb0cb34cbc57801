"""Times, places, numbers and their units are found as text has them."""

import pytest

from tests.training.lexicon import SmallLexicon
from training import spans

LEXICON = SmallLexicon()


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("built in 1794 by the river", "in 1794"),
        ("signed on 6 July 1975 in Paris", "on 6 July 1975"),
        ("sank on April 15, 1912", "on April 15, 1912"),
        ("ruled from 1762 to 1796", "from 1762 to 1796"),
        ("known since the early 20th century", "since the early 20th century"),
        ("founded in 44 BC as a camp", "in 44 BC"),
        ("popular in the 1960s and 1970s", "in the 1960s and 1970s"),
        ("closed on Mondays", "on Mondays"),
        ("open from Monday to Friday", "from Monday to Friday"),
        ("opens at half past seven in the morning", "at half past seven in the morning"),
        ("opens from 9 am to 5 pm on weekdays", "from 9 am to 5 pm"),
        ("switches off after three minutes", "after three minutes"),
        ("blooms in spring", "in spring"),
        ("stands at 2,430 metres", None),
        ("lives at the station", None),
        ("built in 12 towns", None),
    ],
)
def test_times(text: str, time: str | None) -> None:
    found = spans.time(text)
    assert (found and found.text) == time
    assert found is None or text[found.start : found.end] == time


@pytest.mark.parametrize(
    ("text", "amount", "measured"),
    [
        ("weighs 1.8 kilograms", "1.8 kilograms", "mass"),
        ("is about 2,508 km long", "about 2,508 km", "length"),
        ("covers 650 km2", "650 km2", "area"),
        ("costs 6 euros", "6 euros", "money"),
        ("costs $1.5 million", "$1.5 million", "money"),
        ("lasts two to three weeks", "two to three weeks", "duration"),
        ("flies at 120 km/h", "120 km/h", "speed"),
        ("melts at 27 degrees Celsius", "27 degrees Celsius", "temperature"),
        ("up to 40% of it", "up to 40%", "share"),
        ("holds 1.7 litres", "1.7 litres", "volume"),
    ],
)
def test_quantities(text: str, amount: str, measured: str) -> None:
    found = spans.quantity(text)
    assert found and (found[0].text, found[1]) == (amount, measured)


@pytest.mark.parametrize(
    ("text", "number", "things"),
    [
        ("has three floors", "three", "floors"),
        ("has over 1,200 native plant species", "over 1,200", "native plant species"),
        ("has 120 lockers in it", "120", "lockers"),
        ("is 40 kilometres long with two lakes", "two", "lakes"),
        ("was finished in AD 80 under his successors", None, None),
        ("weighs 40 kilograms", None, None),
        ("was founded in 1912", None, None),
    ],
)
def test_counts(text: str, number: str | None, things: str | None) -> None:
    found = spans.counted(text)
    assert (found and (found[0].text, found[1])) == ((number, things) if number else None)


@pytest.mark.parametrize(
    ("text", "verb", "place"),
    [
        ("in the north of Italy", "", "in the north of Italy"),
        ("in Leeds since 1950", "", "in Leeds"),
        ("at Pajaka near the coast", "born", "at Pajaka"),
        ("in Hegelian thought", "", None),  # a name that is no place, as far as is known
        ("in July", "held", None),
        ("behind the old station", "", "behind the old station"),
        ("in the morning", "", None),
        ("between Leeds and Italy", "located", "between Leeds and Italy"),
        ("between Leeds and Italy", "fought", None),
    ],
)
def test_places(text: str, verb: str, place: str | None) -> None:
    found = spans.place(text, verb, LEXICON)
    assert (found and found.text) == place


def test_frequency_and_age() -> None:
    assert (often := spans.frequency("clean it twice a week")) and often.text == "twice a week"
    assert (often := spans.frequency("descale it every two months")) and often.text == "every two months"
    assert (age := spans.age("died at the age of 81 in Leeds")) and age.text == "at the age of 81"


def test_noun_phrases_end_at_prepositions() -> None:
    assert spans.noun_phrase("a wooden lid with a handle") == "a wooden lid"
    assert spans.noun_phrase("mice, which it hunts") == "mice"
