"""A dictionary of a few words, for the rules' tests."""

_VERBS = (  # the base form, then others
    "open/opens/opened/opening close/closes/closed weigh/weighs/weighed build/builds/built cost/costs "
    "take/takes/took/taken have/has/had last/lasts/lasted write/writes/wrote/written bear/bears/born "
    "die/dies/died move/moves/moved paint/paints/painted leak/leaks/leaked replace/replaces/replaced "
    "locate/locates/located run/runs/ran/running design/designs/designed make/makes/made call/calls/called "
    "eat/eats/ate/eaten feed/feeds/fed hold/holds/held remove/removes/removed select/selects/selected "
    "allow/allows/allowed speak/speaks/spoke/spoken contain/contains/contained need/needs/needed "
    "teach/teaches/taught marry/marries/married be/is/are/was/were/been do/does/did descale/descales/descaled "
    "pull/pulls/pulled discover/discovers/discovered drink/drinks/drank/drunk swim/swims/swam "
    "direct/directs/directed found/founds/founded become/becomes/became turn/turns/turned/turning "
    "change/changes/changed know/knows/knew/known use/uses/used construct/constructs/constructed lie/lies/lay "
    "leave/leaves/left"
)
_NOUNS = {
    "person": "teacher|painter|poet|man|woman",
    "place": "river|town|city|lake|leeds|italy|garden|village",
    "group": "council|company",
    "artifact": "mill|lamp|roof|station|museum|kettle|bottle|floor|door|filter|film",
    "animal": "owl|mouse|dog",
    "time": "morning|year",
    "": "ticket|water|lesson|language|wood|guarantee|century|lid|lever|novel|pool|price|penicillin|date|notification",
}
_FORMS = {form: forms.split("/")[0] for forms in _VERBS.split() for form in forms.split("/")}
_KINDS = {noun: kind or None for kind, nouns in _NOUNS.items() for noun in nouns.split("|")}
_IRREGULAR = {"mice": "mouse", "men": "man", "women": "woman", "cities": "city"}
_SYNONYMS = {
    "build": ("construct",),
    "construct": ("build",),
    "weigh": ("press",),
    "mouse": ("rodent",),
    "feed": ("eat",),
}
_PLACES = {"leeds": "city", "italy": "country"}


class SmallLexicon:
    """Knows what `training.clauses.Lexicon` asks for, of the words above."""

    def base(self, word: str, pos: str) -> str | None:
        word = word.lower()
        if pos == "verb":
            return _FORMS.get(word)
        if pos == "noun":
            singular = _IRREGULAR.get(word, word if word in _KINDS else word.removesuffix("s"))
            return singular if singular in _KINDS else None
        return None

    def part_of_speech(self, word: str) -> str | None:
        return "verb" if word.lower() in _FORMS else "noun" if self.base(word, "noun") else None

    def is_common(self, word: str) -> bool:
        return self.part_of_speech(word) is not None and word.lower() not in _PLACES

    def kind(self, noun: str) -> str | None:
        return _KINDS.get(self.base(noun, "noun") or "")

    def instance(self, name: str) -> str | None:
        return _PLACES.get(name.lower())

    def synonyms(self, word: str) -> tuple[str, ...]:
        return _SYNONYMS.get(self.base(word, "verb") or self.base(word, "noun") or "", ())
