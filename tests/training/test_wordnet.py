"""WordNet's files are read as wndb(5WN) describes them."""

from pathlib import Path

import pytest

from training.wordnet import Gloss, WordNet

LICENCE = "  1 This software and database is being provided to you ...\n"
NOUNS = (
    ("06", "car 0 auto 0", "", 'a motor vehicle (with four wheels); "he needs a car to get to work"'),
    ("06", "car 1 gondola 0", "", "a cabin of an airship"),
    ("15", "city 0", "", "a large place"),
    ("15", "Leeds 0", "@i 2", "a city in England"),
    ("18", "child 0 kid 0 bairn 0", "", "a young person"),
    ("06", "building 0 edifice 0", "", "a structure with a roof"),
)
VERBS = (
    ("36", "build 0 construct 0", "", 'make by putting together; "build a house"; "they built it"'),
    ("36", "stop 0 halt 0", "", "cease to move"),
)
COUNTS = (
    "car%1:06:00:: 1 70\nauto%1:06:00:: 1 5\ncity%1:15:00:: 1 9\nchild%1:18:00:: 1 20\nkid%1:18:00:: 1 3\n"
    "build%2:36:00:: 1 40\nconstruct%2:36:00:: 1 8\nstop%2:36:00:: 1 9\nbuilding%1:06:00:: 1 10\n"
)


def write_part(folder: Path, pos: str, letter: str, synsets: tuple[tuple[str, str, str, str], ...]) -> None:
    """data.POS and index.POS of the synsets; a pointer `@i 2` means the synset number 2."""
    offsets: list[int] = []
    lines: list[str] = [LICENCE]
    for file, words, pointer, gloss in synsets:
        offsets.append(sum(map(len, lines)))
        kind, _, target = pointer.partition(" ")
        pointers = f"001 {kind} {offsets[int(target)]:08} {letter} 0000" if pointer else "000"
        size = len(words.split()) // 2
        lines.append(f"{offsets[-1]:08} {file} {letter} {size:02x} {words} {pointers} | {gloss}  \n")
    (folder / f"data.{pos}").write_text("".join(lines))
    senses: dict[str, list[int]] = {}
    for offset, (_, words, _, _) in zip(offsets, synsets, strict=True):
        for word in words.split()[::2]:
            senses.setdefault(word.lower(), []).append(offset)
    index = [
        f"{lemma} {letter} {len(found)} 1 @ {len(found)} 0 {' '.join(f'{offset:08}' for offset in found)}  \n"
        for lemma, found in senses.items()
    ]
    (folder / f"index.{pos}").write_text(LICENCE + "".join(index))


@pytest.fixture(scope="module")
def wordnet(tmp_path_factory: pytest.TempPathFactory) -> WordNet:
    folder = tmp_path_factory.mktemp("wordnet")
    write_part(folder, "noun", "n", NOUNS)
    write_part(folder, "verb", "v", VERBS)
    write_part(folder, "adj", "a", ())
    write_part(folder, "adv", "r", ())
    for pos, irregular in {
        "noun": "children child\n",
        "verb": "built build\nmade make\n",
        "adj": "",
        "adv": "",
    }.items():
        (folder / f"{pos}.exc").write_text(irregular)
    (folder / "cntlist.rev").write_text(COUNTS)
    return WordNet(folder)


def test_glosses_are_definitions_and_examples(wordnet: WordNet) -> None:
    glosses = list(wordnet.glosses())
    assert len(glosses) == len(NOUNS) + len(VERBS)
    assert glosses[0] == Gloss("car", "a motor vehicle", ("he needs a car to get to work",))
    assert glosses[6].examples == ("build a house", "they built it")


@pytest.mark.parametrize(
    ("word", "pos", "base"),
    [
        ("cars", "noun", "car"),
        ("cities", "noun", "city"),
        ("children", "noun", "child"),
        ("built", "verb", "build"),
        ("builds", "verb", "build"),
        ("stopped", "verb", "stop"),
        ("stopping", "verb", "stop"),
        ("made", "verb", None),  # its base form is not in the database
        ("xyzzy", "noun", None),
    ],
)
def test_base_forms(wordnet: WordNet, word: str, pos: str, base: str | None) -> None:
    assert wordnet.base(word, pos) == base


def test_synonyms_are_of_the_first_sense_and_used_in_it(wordnet: WordNet) -> None:
    assert wordnet.synonyms("cars") == ("auto",)  # no gondola: the second sense is rare
    assert wordnet.synonyms("children") == ("kid",)  # no bairn: texts do not use it
    assert wordnet.synonyms("built") == ("construct",)
    assert wordnet.synonyms("xyzzy") == ()


def test_the_part_of_speech_is_the_one_used_most(wordnet: WordNet) -> None:
    assert wordnet.part_of_speech("built") == "verb"
    assert wordnet.part_of_speech("building") == "verb"  # build is used more than building
    assert wordnet.part_of_speech("Car") == "noun"
    assert wordnet.part_of_speech("xyzzy") is None


def test_names_have_kinds_and_instances(wordnet: WordNet) -> None:
    assert wordnet.kind("Leeds") == "place"
    assert wordnet.instance("Leeds") == "city"
    assert wordnet.kind("children") == "person"
    assert wordnet.instance("city") is None  # no name
    assert wordnet.is_common("cities") and not wordnet.is_common("Leeds")
