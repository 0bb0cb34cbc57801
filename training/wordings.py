"""Word lists and tables of the rules that ask questions: how a measure is asked for, and other words for a verb."""

from dataclasses import dataclass

from training.words import word_set

# ---- Measures. A rule's `said` is looked for in "VERB what stands before # what stands after the amount", the verb in
# its base form: "be # long", "weigh #", "lie # north of Cusco". In its questions {x} is the subject, {object} the same
# behind a verb, {be} and {do} agree with it, {of[weight]} is "the weight of the lamp" or "its weight"; the groups of
# `said` can be used, too.


@dataclass(frozen=True)
class Measure:
    of: str  # what the unit measures; see `spans.quantity`
    said: str
    questions: tuple[str, ...]
    kind: str = "how-much"


_LONG = ("How long {be} {x}?", "What is {of[length]}?")
_HIGH = ("How high {be} {x}?", "How tall {be} {x}?", "What is {of[height]}?")
_DEEP = ("How deep {be} {x}?", "What is {of[depth]}?")
_WIDE = ("How wide {be} {x}?", "What is {of[width]}?")
_FAR = ("How far {be} {x} from {place}?", "How far away from {place} {be} {x}?", "What is the distance to {place}?")
_HEAVY = ("How heavy {be} {x}?", "What is {of[weight]}?", "How much {do} {x} weigh?")
_BIG = ("How big {be} {x}?", "How large {be} {x}?", "What is {of[area]}?")
_DEAR = ("How much {do} {x} cost?", "What {do} {x} cost?", "What is {of[price]}?", "How expensive {be} {x}?")
_WARM = ("How hot {be} {x}?", "How warm {be} {x}?", "What is {of[temperature]}?")
_PLACE = r"(?P<place>(?:the )?[A-Z][\w'-]*(?: [A-Z][\w'-]*)*|the [a-z]+(?: [a-z]+)?)(?= and|,|$)"

MEASURES = (
    Measure("length", r"^be # long\b|# (?:in|of) length\b|(?:length|extent) of #", _LONG),
    Measure("length", r"^(?:stretch|extend|run|flow)(?: for)? #(?! (?:in|of) )", _LONG),
    Measure(
        "length",
        r"# above sea level\b|(?:elevation|altitude) of #",
        ("What is {of[elevation]}?", "How high up {be} {x}?"),
    ),
    Measure("length", r"^be # (?:tall|high)\b|# (?:in|of) height\b|height of #", _HIGH),
    Measure("length", r"^(?:rise|reach|climb) (?:to )?#", _HIGH),
    Measure("length", r"^be # deep\b|depth of #", _DEEP),
    Measure("length", r"^be # (?:wide|across|broad)\b|# in (?:width|diameter)", _WIDE),
    Measure("length", r"^be # thick\b", ("How thick {be} {x}?", "What is {of[thickness]}?")),
    Measure("length", r"wingspan of #", ("What is {of[wingspan]}?",)),
    Measure("length", rf"^(?:be|lie|stand|located|situated) # (?:\w+ )?(?:of|from) {_PLACE}", _FAR),
    Measure("mass", r"^weigh #|(?:weight|mass) of #|# in weight", _HEAVY),
    Measure("money", r"^weigh #", _HEAVY),  # pounds
    Measure("money", r"^(?:cost|charge) #", _DEAR),
    Measure("money", r"^be #(?!.*\w)", ("How much {be} {x}?",)),
    Measure("money", r"budget of #", ("How big {be} {of[budget]}?", "What {be} {of[budget]}?")),
    Measure("money", r"sell for #", ("How much {do} {x} sell for?", "What is {of[price]}?")),
    Measure("duration", r"^last (?:for )?#", ("How long {do} {x} last?", "What {be} {of[duration]}?"), "how-long"),
    Measure("duration", r"^take #", ("How long {do} {x} take?", "How much time {do} {x} take?"), "how-long"),
    Measure("duration", r"^live (?:for |up to )*#", ("How long {do} {x} live?", "How old {do} {x} get?"), "how-long"),
    Measure("duration", r"^be # (?:long|in length)", ("How long {be} {x}?",), "how-long"),
    Measure("duration", r"^be # old\b", ("How old {be} {x}?", "What {be} {of[age]}?")),
    Measure("area", r"^(?:cover|occupy|span) (?:an area of )?#|area of #|be # in (?:area|size)|# large\b", _BIG),
    Measure("speed", r"\bat #|speeds? of #", ("How fast {be} {x}?", "What is {of[speed]}?")),
    Measure("volume", r"^(?:hold|contain|carry) #", ("How much {do} {x} hold?", "What is {of[capacity]}?")),
    Measure("volume", r"capacity of #", ("What is {of[capacity]}?",)),
    Measure("power", r"^(?:draw|use|need|consume|produce|generate) #", ("How much power {do} {x} {verb}?",)),
    Measure("temperature", r"^(?:melt|boil|freeze) at #", ("At what temperature {do} {x} {verb}?",)),
    Measure("temperature", r"(?:heat|heated|cooled|kept|keep|warmed) (?:to|at) #|^be #|temperature of #", _WARM),
    Measure("share", r"^(?:cover|contain|comprise|occupy) #", ("What percentage {do} {x} {verb}?",)),
)

# ---- Verbs.

# Behind "a film ...": these say what happened to the whole, not to its last noun.
MADE = word_set(
    "directed written composed painted built founded made designed created developed published produced released "
    "invented discovered established recorded held fought signed introduced launched constructed"
)
LYING = word_set("located situated found lies lie stands stand")
WITH_PREPOSITION = frozenset(
    tuple(pair.split("-"))
    for pair in word_set(
        "consist-of depend-on feed-on refer-to belong-to deal-with focus-on relate-to result-in derive-from lead-to "
        "live-on rely-on stand-for differ-from used-for used-as made-of made-from composed-of known-for known-as "
        "based-on named-after associated-with derived-from divided-into surrounded-by covered-with filled-with "
        "equipped-with concerned-with related-to caused-by characterized-by bordered-by regarded-as defined-as"
    )
)
# A noun phrase behind these is no object, or "What does it ...?" says nothing.
NO_OBJECT = word_set(
    "be become remain seem appear last die take have make do give get go come look feel weigh cost call name term "
    "keep leave let lay play serve"
)
PAST = {  # of participles that differ from the past tense
    "written": "wrote", "taken": "took", "given": "gave", "known": "knew", "drawn": "drew", "begun": "began",
    "chosen": "chose", "shown": "showed", "seen": "saw", "done": "did", "grown": "grew", "thrown": "threw",
    "spoken": "spoke", "broken": "broke", "driven": "drove", "eaten": "ate", "stolen": "stole", "worn": "wore",
    "torn": "tore", "born": "bore", "flown": "flew", "run": "ran", "ridden": "rode", "overthrown": "overthrew",
    "overseen": "oversaw", "rewritten": "rewrote", "hidden": "hid", "fallen": "fell", "forgotten": "forgot",
    "forbidden": "forbade", "proven": "proved", "woven": "wove", "undertaken": "undertook", "beaten": "beat",
    "bitten": "bit", "frozen": "froze", "sunk": "sank", "sung": "sang", "overrun": "overran", "become": "became",
}  # fmt: skip
PARTICIPLES = word_set("set held made found built kept born led sold sent spent taught") | PAST.keys()  # not in "ed"
OTHER_VERBS = {
    "built": ("constructed", "put up"), "constructed": ("built",), "founded": ("established", "set up", "started"),
    "established": ("founded", "set up"), "created": ("made",), "begin": ("start",), "commence": ("start", "begin"),
    "published": ("issued",), "purchase": ("buy",), "purchased": ("bought",), "acquire": ("get",), "reside": ("live",),
    "situated": ("located",), "completed": ("finished",), "die": ("pass away",), "end": ("finish",), "close": ("shut",),
    "manufactured": ("made", "produced"), "produce": ("make",), "contain": ("have",), "comprise": ("contain",),
    "require": ("need",), "permitted": ("allowed",), "employed": ("used",), "utilized": ("used",), "obtain": ("get",),
    "destroyed": ("ruined",), "demolished": ("torn down",), "introduced": ("brought in",), "assist": ("help",),
}  # fmt: skip
# What else is asked about what happened when.
OTHER_QUESTIONS = {
    "built": ("How old is {x}?", "What year does {x} date from?"),
    "founded": ("How old is {x}?", "Since when has {x} existed?"),
    "established": ("How old is {x}?", "Since when has {x} existed?"),
    "born": ("What is {of[date of birth]}?", "When did {x} come into the world?"),
    "die": ("What is {of[date of death]}?", "When did {of[life]} end?"),
    "released": ("When did {x} come out?",),
    "published": ("When did {x} come out?", "When did {x} appear?"),
}  # fmt: skip
PERSON_OBJECTS = word_set("marry meet succeed defeat teach influence")
COLOURS = "red|orange|yellow|green|blue|purple|violet|pink|brown|black|white|grey|gray|silver|golden"
