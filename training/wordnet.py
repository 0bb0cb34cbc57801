"""WordNet's database as Debian packages it (wndb(5WN)): definitions, synonyms, base forms, what nouns are."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from training.sources import FOLDER, unpacked
from training.words import word_set

_POS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
_SENSE_POS = {"1": "noun", "2": "verb", "3": "adj", "4": "adv", "5": "adj"}  # in sense keys; 5: a satellite adjective

# Endings that inflection adds, with what stands there in the base form (morphy(7WN)).
_ENDINGS = {
    "noun": "ses:s xes:x zes:z ches:ch shes:sh men:man ies:y s:",
    "verb": "ies:y es:e es: s: ed:e ed: ing:e ing:",
    "adj": "er: est: er:e est:e",
    "adv": "",
}
# What a name may be called in a question, the nearest of its hypernyms.
_INSTANCES = word_set("city town village country continent island river lake mountain sea ocean desert region")
# The lexicographers' files of nouns (lexnames(5WN)) that tell a question word.
_KINDS = {14: "group", 15: "place", 18: "person", 28: "time", 23: "quantity", 6: "artifact", 5: "animal", 20: "plant"}


@dataclass(frozen=True)
class Gloss:
    """What one sense of `word` means, and sentences or phrases that use it."""

    word: str
    definition: str
    examples: tuple[str, ...]


@dataclass(frozen=True)
class _Synset:
    file: int  # of the lexicographers
    words: tuple[str, ...]
    hypernyms: tuple[int, ...]  # offsets, of the same part of speech
    gloss: str


class WordNet:
    """The database of `folder` (index.*, data.*, *.exc, cntlist.rev), in memory: some 60 MB."""

    def __init__(self, folder: Path) -> None:
        self._data = {pos: (folder / f"data.{pos}").read_bytes() for pos in _POS}
        self._senses = {pos: dict(_read_index(folder / f"index.{pos}")) for pos in _POS}
        self._irregular = {pos: dict(_read_exceptions(folder / f"{pos}.exc")) for pos in _POS}
        self._uses = _read_counts(folder / "cntlist.rev")

    def glosses(self) -> Iterator[Gloss]:
        """Every sense of the database, under its first word."""
        for data in self._data.values():
            for line in data.splitlines():
                if line[:1].isdigit():
                    yield _gloss(_parse(line))

    def synonyms(self, word: str) -> tuple[str, ...]:
        """Words that texts use in the first one or two senses of `word`, for the part of speech it is mostly used as.

        `word` may be inflected; what is returned is in base form, and may be of several words. The second sense counts
        only where it is used about as much as the first.
        """
        pos = self.part_of_speech(word)
        base = pos and self.base(word, pos)
        if not pos or not base:
            return ()
        uses = self._uses.get((base, pos), {})
        senses = 2 if 2 * uses.get(2, 0) > uses.get(1, 0) else 1
        found = [
            other.replace("_", " ")
            for offset in self._senses[pos][base][:senses]
            for other in self._synset(pos, offset).words
            if other != base and other.islower() and self._tagged(other, pos, offset)
        ]
        return tuple(dict.fromkeys(found))

    def part_of_speech(self, word: str) -> str | None:
        """noun, verb, adj or adv: what the word, or its base form, is most often tagged as; None if it is unknown."""
        word = word.lower()
        known = {pos: base for pos in _POS if (base := self.base(word, pos))}
        # Of equals the one whose base form is the word itself, so that "left" is no verb where nothing else tells.
        return max(known, key=lambda pos: (self._used(known[pos], pos), known[pos] == word), default=None)

    def base(self, word: str, pos: str) -> str | None:
        """The base form of a word of that part of speech ("built", "verb" -> "build"), or None if there is none."""
        word = word.lower().replace(" ", "_")
        if self._irregular[pos].get(word) in self._senses[pos]:
            return self._irregular[pos][word]
        if word in self._senses[pos]:
            return word
        endings = [ending.split(":") for ending in _ENDINGS[pos].split()]
        stems = [word[: -len(old)] + new for old, new in endings if word.endswith(old)]
        # "stopped" and "running": the doubled letter goes.
        stems += [stem[:-1] for stem in stems if pos == "verb" and len(stem) > 3 and stem[-1] == stem[-2]]
        found = [stem for stem in stems if stem in self._senses[pos]]
        return max(found, key=lambda stem: self._used(stem, pos), default=None)

    def is_common(self, word: str) -> bool:
        """Whether the word, or its base form, is written in lower case: "carbon", "neurons", but not "paris"."""
        bases = [(pos, base) for pos in _POS if (base := self.base(word, pos))]
        return any(base in self._synset(pos, self._senses[pos][base][0]).words for pos, base in bases)

    def kind(self, noun: str) -> str | None:
        """What the noun's first sense is: person, place, group, time, quantity, artifact, animal, plant; or None."""
        base = self.base(noun, "noun")
        if noun.islower() and not self.is_common(noun):
            return None
        return _KINDS.get(self._synset("noun", self._senses["noun"][base][0]).file) if base else None

    def instance(self, name: str) -> str | None:
        """What the place of that name is ("Leeds" -> "city", "Poland" -> "country"), or None."""
        offsets = self._senses["noun"].get(name.lower().replace(" ", "_"), ())[:1]
        if self.kind(name) != "place" or self.is_common(name):
            return None
        for _ in range(5):
            above = [self._synset("noun", offset) for offset in offsets]
            if found := [word for synset in above for word in synset.words if word in _INSTANCES]:
                return found[0]
            offsets = tuple(offset for synset in above for offset in synset.hypernyms)
        return None

    def _tagged(self, base: str, pos: str, offset: int) -> bool:
        """Whether WordNet's texts use the word in this very sense."""
        sense = self._senses[pos][base].index(offset) + 1
        return sense in self._uses.get((base, pos), {})

    def _used(self, base: str, pos: str) -> int:
        return sum(self._uses.get((base, pos), {}).values())

    def _synset(self, pos: str, offset: int) -> _Synset:
        data = self._data[pos]
        return _parse(data[offset : data.index(b"\n", offset)])


@lru_cache(maxsize=1)
def load(folder: Path = FOLDER) -> WordNet:
    """The WordNet of the fetched corpus. Raises SourceError."""
    return WordNet(unpacked("wordnet-base", folder) / "usr/share/wordnet")


def _read_index(path: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Each lemma with its senses' offsets, the most frequent first. `lemma pos n_senses n_pointers pointers... n_senses
    n_tagged offsets...`"""
    for line in path.read_text().splitlines():
        if not line.startswith(" "):  # the licence
            fields = line.split()
            yield fields[0], tuple(map(int, fields[-int(fields[2]) :]))


def _read_exceptions(path: Path) -> Iterator[tuple[str, str]]:
    for line in reversed(path.read_text().splitlines()):  # of two lines about one word the first wins
        inflected, base, *_ = line.split()
        yield inflected, base


def _read_counts(path: Path) -> dict[tuple[str, str], dict[int, int]]:
    """How often each lemma's senses were tagged in WordNet's texts. `lemma%pos:... sense_number count`"""
    counts: dict[tuple[str, str], dict[int, int]] = {}
    for line in path.read_text().splitlines():
        key, sense, count = line.split()
        lemma, _, rest = key.partition("%")
        counts.setdefault((lemma, _SENSE_POS[rest[0]]), {})[int(sense)] = int(count)
    return counts


def _parse(line: bytes) -> _Synset:
    """`offset file pos n_words(hex) word id word id ... | gloss`"""
    facts, _, gloss = line.decode().partition("|")
    fields = facts.split()
    words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
    above = tuple(int(fields[i + 1]) for i, field in enumerate(fields) if field in {"@", "@i"})
    return _Synset(int(fields[1]), tuple(re.sub(r"\((?:a|p|ip)\)$", "", word) for word in words), above, gloss.strip())


def _gloss(synset: _Synset) -> Gloss:
    definition, *_ = synset.gloss.partition('"')
    definition = re.sub(r"\s*\([^()]*\)\s*", " ", definition)
    examples = re.findall(r'"([^"]+)"', synset.gloss)
    return Gloss(synset.words[0].replace("_", " "), definition.strip(" ;:"), tuple(examples))
