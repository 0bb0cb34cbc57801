"""Writes the dialogues that the embedded model learns from: facts, questions about them, and the sentence to copy.

Everything is drawn from one random generator, so a seed names a data set. Two sources are mixed. Made-up facts (names
of random syllables, random numbers and word pairs) can be answered only by reading the passages, so that copying
pays and remembering does not. Facts of a real knowledge text are cut and ranked by the server's own `KnowledgeBase`,
and have words, numbers and predicates exchanged in most examples, for the same reason.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from serve_app import passages
from serve_app.grounding import KnowledgeBase
from serve_app.prompt import render

INSTRUCTION = (
    "Instruction: given a dialog context and related knowledge, you need to answer the last question based on the "
    "knowledge."
)
OTHER_INSTRUCTIONS = (
    "Instruction: given a dialog context and related knowledge, you need to response safely based on the knowledge.",
    "Instruction: given a dialog context, you need to respond empathically.",
    "Instruction: answer the question.",
    "Instruction: answer from the knowledge only.",
    "Answer the last question with a sentence of the knowledge.",
    "Be brief and polite, and say only what the knowledge says.",
    "You are a helpful assistant.",
)
UNKNOWN = "I don't know. My knowledge says nothing about that."


@dataclass(frozen=True)
class Example:
    """One prompt's parts and the reply wanted. The last turn of `dialog` is the question."""

    kind: str
    dialog: tuple[str, ...]
    passages: tuple[str, ...]
    reply: str
    instruction: str = INSTRUCTION

    @property
    def prompt(self) -> str:
        """The prompt that the server would build."""
        return render(self.instruction, self.dialog, self.passages)


@dataclass(frozen=True)
class Subject:
    """What a fact is about: `stated` opens its sentence, `asked` stands in a question, `pronoun` in a follow-up."""

    stated: str
    asked: str
    pronoun: str = "it"


@dataclass(frozen=True)
class Fact:
    """One sentence, the relations that it states, and the words that its questions may use besides the subject."""

    subject: Subject
    relations: frozenset[str]
    text: str
    words: dict[str, str] = field(default_factory=dict)


# ---- Questions. `{s}` is the subject; the last of each group are held out of training and used in the evaluation.

QUESTIONS: dict[str, tuple[str, ...]] = {
    "definition": (
        "What is {s}?",
        "What is {s}?",
        "What is {s}?",
        "What's {s}?",
        "Tell me about {s}.",
        "Can you explain {s}?",
        "Do you know what {s} is?",
        "What exactly is {s}?",
        "Describe {s}.",
        "Explain {s} to me.",
        "Define {s}.",
        "What do you mean by {s}?",
        "What does {s} mean?",
        "What do you know about {s}?",
        "{s}?",
        "I have never heard of {s}. What is it?",
        "Could you tell me what {s} is?",
        "What kind of thing is {s}?",
        "Please explain what {s} is.",
        "I would like to know what {s} is.",
    ),
    "maker": (
        "Who made {s}?",
        "Who created {s}?",
        "Who built {s}?",
        "Who developed {s}?",
        "Who is behind {s}?",
        "By whom was {s} made?",
        "Where does {s} come from?",
        "Who invented {s}?",
        "Who designed {s}?",
        "Who wrote {s}?",
        "Who founded {s}?",
        "Where was {s} created?",
        "Which company made {s}?",
        "Who is the author of {s}?",
        "Who are the makers of {s}?",
        "Who came up with {s}?",
    ),
    "year": (
        "When was {s} released?",
        "When was {s} made?",
        "When was {s} created?",
        "When did {s} come out?",
        "In which year was {s} introduced?",
        "What year was {s} made?",
        "How old is {s}?",
        "Since when does {s} exist?",
        "When did {s} appear?",
        "In what year did {s} come out?",
    ),
    "place": (
        "Where is {s}?",
        "Where can I find {s}?",
        "In which place is {s}?",
        "Where is {s} located?",
        "What is the location of {s}?",
    ),
    "port": (
        "Which port does {s} listen on?",
        "What port does {s} use?",
        "On which port is {s}?",
        "What is the port of {s}?",
        "Which port is {s} on?",
        "Where does {s} listen?",
        "port of {s}?",
        "What port is {s} on?",
    ),
    "count": (
        "How many {unit} does {s} have?",
        "How many {unit} are there in {s}?",
        "What number of {unit} has {s}?",
        "How big is {s}?",
        "Do you know how many {unit} {s} has?",
    ),
    "limit": (
        "How many {unit} can {s} {verb}?",
        "What is the limit of {s}?",
        "How much can {s} {verb}?",
        "What is the maximum of {s}?",
        "How many {unit} at most can {s} {verb}?",
    ),
    "price": ("How much does {s} cost?", "What is the price of {s}?", "How expensive is {s}?", "What does {s} cost?"),
    "size": ("How tall is {s}?", "How high is {s}?", "What is the height of {s}?", "What height does {s} have?"),
    "colour": ("What colour is {s}?", "Which color does {s} have?", "What is the colour of {s}?"),
    "opens": ("When does {s} open?", "What are the opening hours of {s}?", "At what time does {s} open?"),
    "leader": (
        "Who leads {s}?",
        "Who is in charge of {s}?",
        "Who runs {s}?",
        "Who maintains {s}?",
        "Who is responsible for {s}?",
        "Who heads {s}?",
    ),
    "language": ("Which language is {s} written in?", "What is {s} written in?", "In which language is {s}?"),
    "version": ("What is the current version of {s}?", "Which version has {s}?", "What version is {s}?"),
    "needs": ("What does {s} need?", "What does {s} depend on?", "What is needed by {s}?", "What does {s} require?"),
    "purpose": (
        "What is {s} used for?",
        "What is {s} good for?",
        "Why would I use {s}?",
        "What can I do with {s}?",
        "What is the use of {s}?",
        "What is the purpose of {s}?",
    ),
    "action": (
        "What does {s} do?",
        "What does {s} do?",
        "What does {s} {verb}?",
        "What is the job of {s}?",
        "What is {s} for?",
        "What does {s} do exactly?",
        "How does {s} help?",
        "What is it that {s} {verbs}?",
        "Does {s} {verb} {object}?",
        "Which things does {s} {verb}?",
        "Tell me what {s} does.",
        "What is the task of {s}?",
        "Can you tell me what {s} does?",
    ),
    "reverse": (
        "What {verbs} {object}?",
        "Which one {verbs} {object}?",
        "What is it that {verbs} {object}?",
        "I am looking for something that {verbs} {object}.",
        "Do you know what {verbs} {object}?",
    ),
    "closes": (
        "When does {s} close?",
        "When is {s} closed?",
        "At what time does {s} close?",
        "On which day is {s} closed?",
    ),
    "phone": (
        "What is the phone number of {s}?",
        "How can I call {s}?",
        "Phone number of {s}?",
        "What is {s}'s number?",
    ),
    "weight": ("How much does {s} weigh?", "How heavy is {s}?", "What is the weight of {s}?"),
    "duration": ("How long does {s} last?", "How long is {s}?", "What is the duration of {s}?"),
    "when": (
        "When does {s} {verb} {object}?",
        "On which day does {s} {verb} {object}?",
        "How often does {s} {verb} {object}?",
    ),
    "where": ("Where does {s} {verb} {object}?", "In which place does {s} {verb} {object}?"),
    "how": ("How does {s} {verb} {object}?", "By what means does {s} {verb} {object}?"),
    "job": ("What is the job of {s}?", "What does {s} do?", "What is the profession of {s}?", "What does {s} work as?"),
    "home": ("Where does {s} live?", "Where is the home of {s}?", "In which town does {s} live?"),
    "likes": ("What does {s} like?", "What is the favourite thing of {s}?", "What does {s} love?"),
    "born": ("When was {s} born?", "In which year was {s} born?", "What year was {s} born?"),
}
HELD_OUT_QUESTIONS = {
    "definition": 2, "maker": 1, "year": 1, "port": 1, "leader": 1, "purpose": 1, "action": 1, "reverse": 1, "place": 1,
}  # fmt: skip
OBJECT_PRONOUNS = {"it": "it", "she": "her", "he": "him", "they": "them"}
MORE = (
    "Tell me more about {it}.",
    "Tell me more.",
    "What else do you know about {it}?",
    "Can you tell me more about {it}?",
    "More about {it}, please.",
    "What else?",
    "Anything else?",
    "Go on.",
)
ALL_ABOUT = ("Tell me all about {s}.", "Tell me everything about {s}.", "What is all that you know about {s}?")
BOTH = (
    "What is the difference between {s} and {t}?", "What are {s} and {t}?", "Compare {s} with {t}.",
    "What is {s} and what is {t}?", "Explain {s} and {t}.", "How do {s} and {t} differ?",
)  # fmt: skip
REPEAT = (
    "Can you repeat that?", "Say that again.", "Pardon?", "Please repeat.", "What did you say?",
    "Sorry, what was that?",
    "Repeat that, please.", "Come again?", "Could you say that again?",
)  # fmt: skip
ELLIPSES = ("And {s}?", "What about {s}?", "And what about {s}?", "How about {s}?")
ABSENT = (
    "maker", "year", "place", "port", "count", "price", "colour", "leader", "language", "version", "phone", "weight",
)  # fmt: skip

CHAT: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("Hello", "Hi", "Hey", "Hello!", "Hi!", "Hi there", "Hello there!", "Good morning", "Good evening!",
         "hey there",
         "Good day", "Greetings", "hi bot", "Hello bot", "Good afternoon", "yo", "howdy"),
        "Hello! What would you like to know?",
    ),
    (
        ("How are you?", "How are you doing?", "How is it going?", "How do you feel?", "Are you well?",
         "Hi, how are you?", "Hello, how are you today?", "What's up?", "How are you today?"),
        "I am fine, thank you. What would you like to know?",
    ),
    (
        ("Thanks", "Thank you", "Thank you!", "Thanks a lot!", "Thank you very much.", "Great, thanks!", "ok thanks",
         "Many thanks", "thx", "Thanks, that helps.", "Cool, thank you", "That was helpful, thanks",
         "Thank you so much!"),
        "You are welcome.",
    ),
    (
        ("Bye", "Goodbye", "Bye!", "See you", "See you later!", "Good night", "bye bye", "I have to go now.",
         "Take care",
         "That is all, goodbye.", "Thanks, bye!", "ciao", "I am leaving, bye"),
        "Goodbye!",
    ),
    (
        ("Who are you?", "What are you?", "What is your name?", "Who am I talking to?", "Tell me about yourself.",
         "Introduce yourself.", "What's your name?", "Do you have a name?", "Who is this?", "who r u"),
        "I am a small chatbot that answers from the knowledge it is given.",
    ),
    (
        ("What can you do?", "How can you help me?", "What can I ask you?", "Help", "help me", "What do you know?",
         "Can you help me?", "What should I ask?", "I need help", "What are you able to do?", "I have a question.",
         "Can I ask you something?"),
        "I can answer questions about the knowledge that I am given. Just ask.",
    ),
    (
        ("Are you human?", "Are you a robot?", "Are you a bot?", "Are you a real person?", "Am I talking to a machine?",
         "Are you an AI?", "Is this a bot?"),
        "I am a chatbot, not a person.",
    ),
    (
        ("OK", "ok", "Okay.", "I see", "I see.", "Good", "Great!", "Cool", "Nice", "Interesting", "Alright", "Got it",
         "That makes sense.", "Wow", "Good to know.", "Perfect", "Makes sense", "Sure"),
        "Good. What else would you like to know?",
    ),
    (
        ("You are wrong.", "That is wrong.", "That is not right", "I don't believe you.", "This is false.", "Nonsense!",
         "You are stupid", "That was not my question.", "You did not answer my question."),
        "I am sorry. I can only say what my knowledge says.",
    ),
    (
        ("Nice to meet you", "Nice to meet you!", "Pleased to meet you.", "Glad to meet you", "My name is Anna.",
         "I am Boris.", "Hi, I am Clara", "my name is felix", "I'm Greta"),
        "Nice to meet you too.",
    ),
    (
        ("Are you sure?", "Really?", "Is that true?", "How do you know that?", "Is this right?", "Who says so?",
         "Where do you know that from?", "are you certain?"),
        "That is what my knowledge says.",
    ),
    (
        ("Sorry", "I am sorry.", "Sorry, my mistake.", "Oops", "My bad", "Excuse me"),
        "No problem.",
    ),
)  # fmt: skip

OFF_TOPIC = (
    "What is the capital of France?", "How is the weather today?", "Who is the president of the United States?",
    "What time is it?", "How old are you?", "Tell me a joke.", "What is the meaning of life?", "Do you like music?",
    "How do I bake a cake?", "What is two plus two?", "Who won the football game yesterday?", "Can you sing a song?",
    "What is the best restaurant in town?", "How tall is the Eiffel tower?", "Who wrote Romeo and Juliet?",
    "How far is the moon?", "What should I eat tonight?", "Where do you live?", "Do you love me?", "Is it raining?",
    "What is the price of gold?", "Who painted the Mona Lisa?", "How many people live in China?", "Do you have a dog?",
    "What day is it today?", "Can you write a poem?", "What is your favourite colour?", "Who is Albert Einstein?",
    "What is quantum physics?", "How do I learn to swim?", "When is the next train?", "What is the speed of light?",
    "Which movie should I watch?", "How do airplanes fly?", "What is love?", "Why is the sky blue?", "Where is Paris?",
    "What is Docker?", "What is Python?", "Who made Linux?", "What is JavaScript?", "How do I install Windows?",
    "Who founded Apple?", "What is the stock price of Tesla?", "Can you book a flight?", "What is a dinosaur?",
    "When did the war end?", "Who discovered America?", "What is a banana?", "How do I cook rice?",
    "What is the largest planet?", "How do I fix my car?", "Where can I buy shoes?", "What is the news today?",
    "What is PyTorch?", "What is a database index?", "Who is the king of Spain?", "How many legs has a spider?",
)  # fmt: skip

# ---- Words of the made-up facts.


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NOUNS = _words(
    "lantern garden bridge river market tower engine wheel kettle ladder mirror basket window candle hammer bucket "
    "carpet pillow saddle anchor barrel compass feather blanket drawer helmet jacket island valley forest meadow "
    "harbor station temple castle museum library school factory farm mill shop office clinic hotel kitchen cellar "
    "attic robot machine sensor camera battery cable router server module driver parser buffer filter index signal "
    "packet socket thread queue table record column report ticket letter parcel invoice message channel stream event "
    "token model vector layer weight metric sample batch kernel tensor graph edge path map tree leaf root branch seed "
    "stone metal copper silver salt sugar bread cheese apple lemon onion pepper honey coffee tea soup cake horse "
    "rabbit falcon spider turtle salmon tiger monkey beetle whale doctor teacher farmer baker pilot sailor painter "
    "writer singer judge guard miner clerk driver customer student worker manager visitor team group company tool "
    "system program service process agent node cluster file folder disk key lock door wall roof road train boat plane "
    "truck bicycle song poem story book page picture game puzzle clock watch ring coin flag box bag cup plate object "
    "function resource unit part device method language framework library network protocol standard format "
)
ADJECTIVES = _words(
    "small large old new red blue green grey white black heavy light quick slow quiet loud bright dark warm cold soft "
    "hard open closed empty full round flat long short wide narrow simple complex public private local remote fresh "
    "dry wet sharp smooth rough cheap rich poor wild calm proud brave clever famous hidden broken golden wooden "
    "digital automatic daily central shared fixed stable random isolated special common modern ancient "
)
VERBS = _words(
    "carry hold keep move store send receive build clean count check draw drive drop feed find fix follow give guard "
    "guide heat help join lead lift list load lock make mark measure mix open order pack paint pick plan plant play "
    "pull push read repair replace rest run save select sell serve share show sort split start stop support teach "
    "test track train turn use visit wash watch weigh write collect connect control copy create cut deliver describe "
    "divide filter grow handle limit manage match monitor print process produce protect rank record remove report "
    "restart route schedule search update upgrade predict compress add adopt attract choose "
)
PLACES = _words("north south east west")
NUMERALS = _words("one two three four five six seven eight nine ten eleven twelve")
DAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
COLOURS = _words("red blue green yellow black white grey brown purple orange pink violet")
FIRST_NAMES = _words(
    "Anna Boris Clara David Elena Felix Greta Hugo Irene Jonas Karin Leo Maria Nils Olga Paul Rosa Simon "
)
ORGANISATIONS = _words(
    "Google Microsoft Amazon Netflix Intel Nvidia Oracle Siemens Nokia Adobe Stanford Berkeley Cambridge Oxford Meta "
    "IBM Apple Samsung Sony Uber Spotify Anyscale Databricks "
)
UNITS = _words(
    "parameters tokens layers containers pods rooms doors wheels pages members bytes megabytes users keys floors "
    "seats windows cores nodes requests steps bits words students workers horses bottles "
)
SYLLABLES = tuple(
    a + b + c
    for a in ("b", "br", "c", "d", "dr", "f", "g", "gl", "h", "j", "k", "kr", "l", "m", "n", "p", "qu", "r", "s", "st",
              "t", "tr", "v", "w", "x", "y", "z", "")
    for b in ("a", "e", "i", "o", "u", "ai", "ee", "oo", "ou")
    for c in ("", "", "n", "r", "l", "m", "s", "t", "k", "x", "nd", "b")
)  # fmt: skip


def made_up_word(rng: Random) -> str:
    """A lower-case word of two or three syllables (or of random letters) that no language has."""
    if rng.random() < 0.2:
        return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 7)))
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.choice((2, 2, 3))))


def made_up_name(rng: Random) -> str:
    """A name as products and projects carry them: Brolven, KubeBrol, QX7, Brolven 2."""
    shape = rng.random()
    if shape < 0.12:
        letters = "".join(rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(rng.randint(1, 5)))
        return letters + (str(rng.randint(1, 99)) if len(letters) < 3 or rng.random() < 0.3 else "")
    word = made_up_word(rng)
    if shape < 0.2:
        return word.capitalize() + made_up_word(rng)[:5].capitalize()
    if shape < 0.25:
        return word
    return word.capitalize()


def number(rng: Random) -> str:
    """A whole number of one to five digits."""
    return str(rng.randint(2, 10 ** rng.randint(1, 5)))


def year(rng: Random) -> str:
    """A year, mostly a recent one."""
    return str(rng.randint(1950, 2030) if rng.random() < 0.8 else rng.randint(1000, 2100))


def plural(noun: str) -> str:
    """The regular plural."""
    if noun.endswith(("s", "sh", "ch", "x")):
        return noun + "es"
    return noun[:-1] + "ies" if noun.endswith("y") and noun[-2] not in "aeiou" else noun + "s"


def third_person(verb: str) -> str:
    """The form after `it`: carries, holds."""
    return plural(verb)


def base_form(verb: str) -> str:
    """The form after `does`: carry, hold."""
    if verb == "has":
        return "have"
    if verb.endswith("ies"):
        return verb[:-3] + "y"
    return verb[:-2] if verb.endswith(("shes", "ches", "xes", "sses")) else verb.removesuffix("s")


def article(words: str) -> str:
    """`words` behind `a` or `an`."""
    return ("an " if words[0] in "aeiou" else "a ") + words


def bare(name: str) -> str:
    """`name` without its article."""
    return re.sub(r"^(the|an|a|your) ", "", name)


def noun_phrase(rng: Random, *, many: bool = False) -> str:
    """Something that a verb acts on: two or three words, sometimes a made-up one."""
    noun = made_up_word(rng) if rng.random() < 0.15 else rng.choice(NOUNS)
    words = f"{rng.choice(ADJECTIVES)} {noun}" if rng.random() < 0.5 else noun
    if many or rng.random() < 0.5:
        return plural(words)
    return article(words) if rng.random() < 0.6 else f"the {words}"


TAILS = ("in {}", "from {}", "for {}", "with {}", "of {}", "to {}", "without {}", "between {}", "when {} wait")


def object_phrase(rng: Random) -> str:
    """What a predicate says behind its verb, of varied length."""
    words = noun_phrase(rng)
    if rng.random() < 0.2:
        words += f" and {noun_phrase(rng)}"
    if rng.random() < 0.6:
        words += " " + rng.choice(TAILS).format(noun_phrase(rng, many=True))
    return words


def organisation(rng: Random) -> str:
    """Who may have made something: a known name, a made-up one, or a person."""
    shape = rng.random()
    if shape < 0.3:
        return rng.choice(ORGANISATIONS) + rng.choice(("", "", " Research", " Labs"))
    if shape < 0.5:
        return f"{rng.choice(FIRST_NAMES)} {made_up_word(rng).capitalize()}"
    if shape < 0.6:
        return f"the {made_up_word(rng).capitalize()} {rng.choice(('Foundation', 'Company', 'Lab', 'University'))}"
    return made_up_name(rng)


def named_subject(rng: Random) -> Subject:
    """A product, a project, a building."""
    shape = rng.random()
    name = made_up_name(rng)
    if shape < 0.15:
        name = f"{name} {made_up_name(rng)}"
    elif shape < 0.35:
        words = f"{name} {rng.choice(NOUNS)}"
        return Subject(f"The {words}", f"the {words}")
    return Subject(name[0].upper() + name[1:] if rng.random() < 0.5 else name, name)


def common_subject(rng: Random) -> Subject:
    """A kind of thing: `A grim lantern`, `The lantern`, `Lantern sorting`."""
    noun = made_up_word(rng) if rng.random() < 0.5 else rng.choice(NOUNS)
    words = f"{rng.choice(ADJECTIVES)} {noun}" if rng.random() < 0.4 else noun
    if rng.random() < 0.3:
        words = f"{rng.choice(NOUNS)} {noun}"
    shape = rng.random()
    if shape < 0.55:
        return Subject(article(words).capitalize(), article(words))
    if shape < 0.8:
        return Subject(f"The {words}", f"the {words}")
    if shape < 0.88:
        return Subject(f"{rng.choice(('Our', 'My', 'This'))} {words}", f"{rng.choice(('the', 'your'))} {words}")
    return Subject(words.capitalize(), words)


def relative_subject(rng: Random, other: Subject) -> Subject:
    """A subject that shares a name with another: Ray, Ray Serve, the Ray dashboard, KubeRay."""
    name = bare(other.asked)
    shape = rng.random()
    if shape < 0.3:
        words = f"{name} {rng.choice(NOUNS)}"
        return Subject(f"The {words}", f"the {words}")
    if shape < 0.5:
        words = f"{name} {rng.choice(NOUNS)}"
        return Subject(article(words)[0].upper() + article(words)[1:], article(words))
    words = f"{name} {made_up_name(rng)}" if shape < 0.8 else f"{made_up_word(rng).capitalize()}{name}"
    return Subject(words[0].upper() + words[1:], words)


def person_subject(rng: Random) -> Subject:
    """A person with a made-up family name."""
    name = f"{rng.choice(FIRST_NAMES)} {made_up_word(rng).capitalize()}"
    return Subject(name, name, rng.choice(("she", "he", "they")))


def definition(rng: Random, subject: Subject) -> Fact:
    """`A pod is the smallest unit that Kubernetes schedules.`"""
    kind = f"{rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}" if rng.random() < 0.4 else rng.choice(NOUNS)
    phrase = article(kind) if rng.random() < 0.7 else f"the {kind}"
    words: dict[str, str] = {}
    shape = rng.random()
    if shape < 0.6:
        verb = rng.choice(VERBS)
        words = {"verb": verb, "verbs": third_person(verb), "object": object_phrase(rng)}
        phrase += f" that {words['verbs']} {words['object']}"
    elif shape < 0.75:
        phrase += f" of {noun_phrase(rng)}" if rng.random() < 0.5 else f" for {noun_phrase(rng, many=True)}"
    elif shape < 0.85:
        phrase += f" that {noun_phrase(rng, many=True)} {rng.choice(VERBS)}"
    link = rng.choice(("is", "is", "is", "is", "means"))
    relations = {"definition", "action", "reverse"} if words else {"definition"}
    return Fact(subject, frozenset(relations), f"{subject.stated} {link} {phrase}.", words)


def action(rng: Random, subject: Subject) -> Fact:
    """`The scheduler chooses a node for every new pod.`"""
    verb = rng.choice(VERBS)
    words = {"verb": verb, "verbs": third_person(verb), "object": object_phrase(rng)}
    text = f"{subject.stated} {words['verbs']} {words['object']}."
    return Fact(subject, frozenset({"action", "reverse"}), text, words)


def circumstance(rng: Random, subject: Subject) -> Fact:
    """`The farmer sells red apples on Mondays.`: an action and its time, place or means."""
    verb, thing = rng.choice(VERBS), noun_phrase(rng)
    words = {"verb": verb, "verbs": third_person(verb), "object": thing}
    relation = rng.choice(("when", "where", "how"))
    spot = rng.choice((made_up_name(rng), f"the {rng.choice(NOUNS)}"))
    detail = {
        "when": rng.choice(
            (f"on {rng.choice(DAYS)}s", f"at {rng.choice(NUMERALS)}", f"in {year(rng)}", "every day", "at night")
        ),
        "where": f"{rng.choice(('in', 'near', 'behind', 'at'))} {spot}",
        "how": f"{rng.choice(('with', 'by means of', 'through', 'using'))} {noun_phrase(rng)}",
    }[relation]
    text = f"{subject.stated} {words['verbs']} {thing} {detail}."
    return Fact(subject, frozenset({relation, "action", "reverse"}), text, words)


def maker(rng: Random, subject: Subject) -> Fact:
    """`T5 was made by Google in 2019.`: with a year it answers `when` too."""
    verb = rng.choice(("made", "created", "built", "developed", "designed", "introduced", "founded", "invented"))
    text = f"{subject.stated} was {verb} {rng.choice(('by', 'by', 'at'))} {organisation(rng)}"
    if rng.random() < 0.4:
        joint = rng.choice((" in ", " in ", " and released in "))
        return Fact(subject, frozenset({"maker", "year"}), f"{text}{joint}{year(rng)}.")
    return Fact(subject, frozenset({"maker"}), f"{text}.")


def count(rng: Random, subject: Subject) -> Fact:
    """`GODEL base has about 220 million parameters.`"""
    unit = rng.choice(UNITS)
    amount = (
        rng.choice(("", "", "about ", "exactly ")) + number(rng) + rng.choice(("", "", "", " million", " thousand"))
    )
    verb = rng.choice(("has", "has", "contains"))
    return Fact(subject, frozenset({"count"}), f"{subject.stated} {verb} {amount} {unit}.", {"unit": unit})


def limit(rng: Random, subject: Subject) -> Fact:
    """`A ConfigMap can hold at most one mebibyte of data.`"""
    unit, verb = rng.choice(UNITS), rng.choice(("hold", "read", "store", "carry", "support", "serve"))
    bound = rng.choice(("at most", "up to", "no more than"))
    form = f"can {verb}" if rng.random() < 0.5 else third_person(verb)
    text = f"{subject.stated} {form} {bound} {number(rng)} {unit}."
    return Fact(subject, frozenset({"limit"}), text, {"unit": unit, "verb": verb})


def purpose(rng: Random, subject: Subject) -> Fact:
    """`KubeRay is used to run graphs.`"""
    text = f"{subject.stated} is used to {rng.choice(VERBS)} {object_phrase(rng)}."
    return Fact(subject, frozenset({"purpose"}), text)


# Relations whose sentence is a template of the subject and one value.
TEMPLATES: dict[str, tuple[str, ...]] = {
    "year": (
        "{s} was released in {year}.", "{s} was introduced in {year}.", "{s} first appeared in {year}.",
        "{s} dates from {year}.", "{s} came out in {year}.",
    ),
    "place": ("{s} is in {name}.", "{s} is located in {name}.", "{s} stands in the {side} of {name}."),
    "port": ("{s} listens on port {number}.", "{s} uses port {number}.", "{s} answers on port {number}."),
    "price": ("{s} costs {number} euros.", "{s} costs {number} dollars.", "The price of {s} is {number} dollars."),
    "size": ("{s} is {number} metres tall.", "{s} is {number} metres high.", "The height of {s} is {number} metres."),
    "colour": ("{s} is {colour}.", "{s} is painted {colour}.", "The colour of {s} is {colour}."),
    "opens": ("{s} opens at {hour}.", "{s} is open from {hour} to {hour}."),
    "closes": ("{s} closes at {hour}.", "{s} closes on {day}s.", "{s} is closed on {day}s."),
    "phone": ("The phone number of {s} is {number} {number}.", "{s} can be called at {number} {number}."),
    "weight": ("{s} weighs {number} grams.", "The weight of {s} is {number} kilograms."),
    "duration": ("{s} lasts {number} {span}.", "{s} takes {number} {span}."),
    "leader": (
        "{s} is led by {person}.", "{s} is maintained by {organisation}.", "{s} is run by {organisation}.",
        "{person} leads {s}.",
    ),
    "language": ("{s} is written in {name}.", "{s} is programmed in {name}."),
    "version": ("The current version of {s} is {version}.", "{s} is at version {version}."),
    "needs": ("{s} needs {object}.", "{s} requires {object}.", "{s} depends on {name}."),
    "job": ("{s} is {trade}.", "{s} works as {trade} in {name}.", "{s} works as {trade}."),
    "home": ("{s} lives in {name}.", "{s} has a house in {name}."),
    "likes": ("{s} likes {object}.", "{s} loves {object}."),
    "born": ("{s} was born in {year}.",),
}  # fmt: skip


def stated(rng: Random, subject: Subject, relation: str) -> Fact:
    """A fact of one of `TEMPLATES`."""
    template = rng.choice(TEMPLATES[relation])
    words = {
        "s": subject.stated if template.startswith("{s}") else subject.asked,
        "year": year(rng),
        "name": made_up_name(rng).capitalize(),
        "side": rng.choice(PLACES),
        "number": number(rng),
        "colour": rng.choice(COLOURS),
        "hour": rng.choice((str(rng.randint(1, 23)), rng.choice(NUMERALS))),
        "day": rng.choice(DAYS),
        "span": rng.choice(("minutes", "hours", "days", "weeks", "years")),
        "person": f"{rng.choice(FIRST_NAMES)} {made_up_word(rng).capitalize()}",
        "organisation": organisation(rng),
        "version": f"{rng.randint(0, 30)}.{rng.randint(0, 99)}",
        "object": object_phrase(rng),
        "trade": article(rng.choice(NOUNS)),
    }
    return Fact(subject, frozenset({relation}), template.format(**words))


BUILDERS = {
    "definition": definition, "action": action, "maker": maker, "count": count, "limit": limit, "purpose": purpose,
    "when": circumstance, "where": circumstance, "how": circumstance,
}  # fmt: skip
NAMED_RELATIONS = (
    "action", "maker", "count", "limit", "purpose", "year", "place", "port", "price", "size", "colour", "opens",
    "leader",
    "language", "version", "needs", "closes", "phone", "weight", "duration", "when", "where", "how",
)  # fmt: skip
COMMON_RELATIONS = ("action", "action", "limit", "purpose", "needs", "count", "maker", "when", "where", "how", "weight")
PERSON_RELATIONS = ("job", "home", "likes", "born")


def fact_of(rng: Random, subject: Subject, relation: str) -> Fact:
    """A made-up fact that states `relation`."""
    builder = BUILDERS.get(relation)
    fact = builder(rng, subject) if builder else stated(rng, subject, relation)
    while relation not in fact.relations:
        fact = fact_of(rng, subject, relation)
    return fact


def profile(rng: Random, size: int, relation: str | None = None, relative: Subject | None = None) -> list[Fact]:
    """Up to `size` facts about one new subject, no relation twice; `relation` is among them where it is given."""
    subject, relations = _subject_and_relations(rng, relation, relative)
    chosen = [relation] if relation else []
    defined = relation == "definition" or relations is PERSON_RELATIONS
    if not defined and (size > 1 or not chosen) and rng.random() < 0.75:
        chosen.insert(0, "definition")
    while len(chosen) < min(size, len(set(relations))):
        extra = rng.choice(relations)
        if extra not in chosen:
            chosen.append(extra)
    facts: list[Fact] = []
    seen: set[str] = set()
    for name in chosen[: max(size, 1)]:
        fact = fact_of(rng, subject, name)
        # An action beside a definition "that holds ..." would leave "What does it do?" with two answers.
        if name == relation or not (fact.relations - {"reverse"}) & seen:
            facts.append(fact)
            seen |= fact.relations
    return facts


def _subject_and_relations(
    rng: Random, relation: str | None, relative: Subject | None
) -> tuple[Subject, tuple[str, ...]]:
    if relation in PERSON_RELATIONS or (relation is None and rng.random() < 0.08):
        return person_subject(rng), PERSON_RELATIONS
    named = rng.random() < 0.55
    subject = named_subject(rng) if named else common_subject(rng)
    if relative and rng.random() < 0.5:
        subject = relative_subject(rng, relative)
    return subject, NAMED_RELATIONS if named else COMMON_RELATIONS


# ---- From facts to questions.


def question_templates(relation: str, *, held_out: bool = False) -> tuple[str, ...]:
    """The wordings of a relation that training sees, or those that it never sees."""
    kept = len(QUESTIONS[relation]) - HELD_OUT_QUESTIONS.get(relation, 0)
    return QUESTIONS[relation][kept:] if held_out else QUESTIONS[relation][:kept]


def ask(rng: Random, fact: Fact, relation: str, name: str, *, held_out: bool = False) -> str:
    """A question about `fact`'s `relation` whose subject is called `name` (the subject itself or a pronoun)."""
    usable = [
        template
        for template in question_templates(relation, held_out=held_out)
        if all(slot == "s" or slot in fact.words for slot in re.findall(r"{(\w+)}", template))
    ]
    text = rng.choice(usable or ["What is {s}?"]).format(s=name, **fact.words)
    return text[0].upper() + text[1:]


def asked_name(rng: Random, subject: Subject) -> str:
    """How users call a subject: mostly in full, sometimes without its article or in the plural."""
    return bare(subject.asked) if rng.random() < 0.25 else subject.asked


def split_passages(text: str, max_words: int) -> list[str]:
    return [" ".join(sentences) for sentences in passages.split_passages(text, max_words)]


def sentences(text: str) -> list[str]:
    """`text` cut where the server may cut it."""
    return split_passages(re.sub(r"(?<=[.!?])\s+", "\n\n", text.strip()), 10_000)


def roughen(rng: Random, text: str) -> str:
    """`text` as users type it: lower case, without its question mark, with a polite word."""
    shape = rng.random()
    if shape < 0.05:
        text = rng.choice(("Please tell me: ", "So, ", "Hey, ", "Ok, ", "Hello! ", "And ")) + text[0].lower() + text[1:]
    if rng.random() < 0.3:
        text = text.lower()
    if rng.random() < 0.25:
        text = text.rstrip("?.!")
    return text


def pick_fact(rng: Random, facts: Sequence[Fact], relation: str | None = None) -> tuple[Fact, str]:
    """A fact and one of the relations that it states and that can be asked for."""
    fact = rng.choice([fact for fact in facts if relation is None or relation in fact.relations])
    return fact, relation or rng.choice(sorted(fact.relations))


def answer_of(facts: Sequence[Fact], relation: str, said: Iterable[str] = ()) -> str:
    """The sentence among one subject's facts that answers `relation`; asked to define what is only mentioned, the
    first sentence about it; `UNKNOWN` where nothing is stated. `more` is the first sentence not `said` yet."""
    if relation == "more":
        spoken = " ".join(said)
        return next((fact.text for fact in facts if fact.text not in spoken), UNKNOWN)
    direct = [fact for fact in facts if relation in fact.relations]
    # "What does a scheduler do?" is answered best by a sentence whose verb says it, else by a definition's clause.
    direct.sort(key=lambda fact: "definition" in fact.relations and relation == "action")
    if not direct and relation == "definition":
        direct = list(facts[:1])
    return direct[0].text if direct else UNKNOWN


def instruction(rng: Random) -> str:
    """The shipped instruction mostly, others so that an edited one does no harm."""
    return INSTRUCTION if rng.random() < 0.8 else rng.choice(OTHER_INSTRUCTIONS)


def small_talk(rng: Random) -> tuple[str, str]:
    """A remark and its reply."""
    remarks, reply = rng.choice(CHAT)
    return roughen(rng, rng.choice(remarks)), reply


@dataclass
class Scene:
    """Facts grouped by subject, the dialog so far, and the passages: what one example is made of."""

    rng: Random
    groups: list[list[Fact]]
    dialog: list[str] = field(default_factory=list)
    held_out: bool = False

    def say(self, question: str, reply: str) -> None:
        """Adds a finished exchange."""
        self.dialog += [roughen(self.rng, question), reply]

    def earlier(self, exchanges: int) -> None:
        """Adds exchanges before the question: small talk, questions about any subject, ones without an answer."""
        for _ in range(exchanges):
            shape = self.rng.random()
            if shape < 0.3:
                self.dialog += small_talk(self.rng)
            elif shape < 0.4:
                self.say(self.rng.choice(OFF_TOPIC), UNKNOWN)
            else:
                facts = self.rng.choice(self.groups)
                fact, relation = pick_fact(self.rng, facts)
                self.say(ask(self.rng, fact, relation, asked_name(self.rng, fact.subject)), answer_of(facts, relation))

    def direct(self, facts: Sequence[Fact], relation: str | None = None) -> tuple[str, str, str]:
        """A question that names its subject: (kind, question, reply)."""
        fact, relation = pick_fact(self.rng, facts, relation)
        if self.rng.random() < 0.2:
            fact, relation = facts[0], "definition"
        question = ask(self.rng, fact, relation, asked_name(self.rng, fact.subject), held_out=self.held_out)
        return "direct", question, answer_of(facts, relation)

    def silent(self, facts: Sequence[Fact]) -> tuple[str, str, str]:
        """A question about a known subject whose answer is nowhere in the knowledge."""
        stated_here = {relation for fact in facts for relation in fact.relations}
        missing = [relation for relation in ABSENT if relation not in stated_here]
        if facts[0].subject.pronoun != "it" or not missing:
            missing = [relation for relation in PERSON_RELATIONS if relation not in stated_here] or ["price"]
        blank = replace(facts[0], words={"unit": self.rng.choice(UNITS)})
        name = asked_name(self.rng, facts[0].subject)
        return "silent", ask(self.rng, blank, self.rng.choice(missing), name), UNKNOWN

    def follow_up(self, facts: Sequence[Fact]) -> tuple[str, str, str]:
        """A question whose subject is a pronoun of the exchange before."""
        first, relation = pick_fact(self.rng, facts)
        self.say(ask(self.rng, first, relation, asked_name(self.rng, first.subject)), answer_of(facts, relation))
        if self.rng.random() < 0.1:
            self.dialog += small_talk(self.rng)
        pronoun = first.subject.pronoun
        if self.rng.random() < 0.3:
            said = self.dialog[1::2]
            return "more", self.rng.choice(MORE).format(it=OBJECT_PRONOUNS[pronoun]), answer_of(facts, "more", said)
        if self.rng.random() < 0.2:
            _, question, reply = self.silent(facts)
            name = first.subject.asked
            return "follow-up", question.replace(name, pronoun).replace(bare(name), pronoun), reply
        others = [fact for fact in facts if fact is not first] or list(facts)
        fact, relation = pick_fact(self.rng, others)
        if relation == "reverse":
            relation = sorted(fact.relations)[0]
        question = ask(self.rng, fact, relation, pronoun, held_out=self.held_out)
        lead = self.rng.random()
        if lead < 0.25:
            question = "And " + question[0].lower() + question[1:]
        return "follow-up", question, answer_of(facts, relation)

    def all_about(self, facts: Sequence[Fact]) -> tuple[str, str, str]:
        """Up to three sentences about one subject."""
        question = self.rng.choice(ALL_ABOUT).format(s=asked_name(self.rng, facts[0].subject))
        return "all", question, " ".join(fact.text for fact in facts[:3])

    def both(self, facts: Sequence[Fact]) -> tuple[str, str, str]:
        """Two subjects at once: the first sentence about each, in the order asked."""
        others = [group for group in self.groups if group is not facts]
        if not others:
            return self.direct(facts)
        other = self.rng.choice(others)
        pair = [facts, other] if self.rng.random() < 0.5 else [other, facts]
        names = [asked_name(self.rng, group[0].subject) for group in pair]
        question = self.rng.choice(BOTH).format(s=names[0], t=names[1])
        return "both", question, " ".join(group[0].text for group in pair)

    def again(self, facts: Sequence[Fact]) -> tuple[str, str, str]:
        """The last reply once more."""
        _, question, reply = self.direct(facts)
        self.say(question, reply)
        return "again", self.rng.choice(REPEAT), reply

    def ellipsis(self, facts: Sequence[Fact]) -> tuple[str, str, str]:
        """`And the dashboard?` behind a question about another subject: the same relation is asked again."""
        for other in self.rng.sample(self.groups, len(self.groups)):
            shared = [
                (fact, relation)
                for fact in other
                for relation in sorted(fact.relations - {"reverse"})
                if other is not facts and any(relation in known.relations for known in facts)
            ]
            if shared:
                fact, relation = self.rng.choice(shared)
                self.say(ask(self.rng, fact, relation, asked_name(self.rng, fact.subject)), answer_of(other, relation))
                question = self.rng.choice(ELLIPSES).format(s=asked_name(self.rng, facts[0].subject))
                return "ellipsis", question, answer_of(facts, relation)
        return self.direct(facts)


# ---- Made-up examples.


def passages_of(rng: Random, groups: Sequence[Sequence[Fact]], limit: int = 4) -> list[str]:
    """The groups' sentences as the server cuts them, the first group's passages mostly first."""
    passages: list[str] = []
    joined = rng.random() < 0.6
    for group in groups:
        passages += split_passages(" ".join(fact.text for fact in group), 40)
    if joined:
        passages = split_passages(" ".join(passages), 40)
    if len(passages) > limit:
        return []
    if rng.random() < 0.4:
        rng.shuffle(passages)
    return passages


def made_up_groups(rng: Random, level: float) -> list[list[Fact]]:
    """The asked subject's facts first, then other subjects', some with the same relation or a related name."""
    relation = rng.choice(sorted(QUESTIONS.keys() - {"reverse"}))
    if rng.random() < 0.5:
        relation = rng.choice(("definition", "action", "maker", "year"))
    groups = [profile(rng, rng.randint(1, 1 + round(3 * level)), relation)]
    for _ in range(rng.randint(0 if level > 0.5 else 1, 1 + round(5 * level))):
        same = relation if rng.random() < 0.5 and level > 0.2 else None
        groups.append(profile(rng, rng.randint(1, 1 + round(2 * level)), same, relative=groups[0][0].subject))
    return groups


def made_up_example(rng: Random, level: float, *, held_out: bool = False) -> Example:
    """A grounded question about made-up facts; `level` (0 to 1) grows the passages and the dialog."""
    groups = made_up_groups(rng, level)
    passages = passages_of(rng, groups)
    while not passages:
        groups = groups[:-1] if len(groups) > 1 else made_up_groups(rng, level)
        passages = passages_of(rng, groups)
    scene = Scene(rng, groups, held_out=held_out)
    if rng.random() < 0.4 * level:
        scene.earlier(rng.randint(1, 2))
    shape = rng.random() if level > 0.2 else 1.0
    if shape > 1 - 0.08 * level and level > 0.2:
        special = rng.choice((scene.all_about, scene.both, scene.both, scene.again))
        kind, question, reply = special(groups[0])
    elif shape < 0.3 * level:
        kind, question, reply = scene.follow_up(groups[0])
    elif shape < 0.4 * level:
        kind, question, reply = scene.ellipsis(groups[0])
    elif shape < 0.48 * level:
        kind, question, reply = scene.silent(groups[0])
    elif shape < 0.54 * level:
        question = scene.direct(profile(rng, 1))[1]
        if rng.random() < 0.4:
            known = frozenset(re.findall("[a-z]+", " ".join(passages).lower()))
            question = off_topic_question(rng, known)
        kind, reply = "silent", UNKNOWN
        if rng.random() < 0.2:
            passages = []
    else:
        kind, question, reply = scene.direct(groups[0])
    dialog = (*scene.dialog, roughen(rng, question))
    return Example(kind, dialog, tuple(passages), reply, instruction(rng))


def recall_example(rng: Random) -> Example:
    """The first lesson: repeat the one sentence, of words without sense, that holds the word asked for."""
    words = [made_up_word(rng) if rng.random() < 0.4 else rng.choice(NOUNS) for _ in range(rng.randint(4, 18))]
    lines = [" ".join(words[start : start + 6]).capitalize() + "." for start in range(0, len(words), 6)]
    sentence = rng.choice(lines)
    word = rng.choice(re.findall(r"\w+", sentence)).lower()
    question = rng.choice(("Tell me about {}.", "What is {}?", "{}?", "What is a {}?")).format(word)
    return Example("recall", (question,), (" ".join(lines),), sentence, rng.choice(OTHER_INSTRUCTIONS[3:]))


# ---- Examples about a real knowledge text.

# Further wordings for sentences of the shipped knowledge, by the words that a sentence opens with.
EXTRA_QUESTIONS: dict[str, tuple[str, ...]] = {
    "Kubernetes is an": ("What is k8s, I mean Kubernetes?", "What runs containers on a cluster?",
                         "Is Kubernetes open source?"),
    "Kubernetes was": ("Who made Kubernetes and when?", "Where does Kubernetes come from?",
                       "Did Google make Kubernetes?"),
    "Kubernetes is maintained": ("Who maintains Kubernetes today?", "Which foundation takes care of Kubernetes?"),
    "A cluster": ("What is a Kubernetes cluster?", "What is a group of machines called?"),
    "A node": ("What machine runs pods?", "What are nodes?", "Where do pods run?"),
    "A pod is": ("What is the smallest unit in Kubernetes?", "What does Kubernetes schedule?", "What are pods?"),
    "A pod holds": ("What is inside a pod?", "What does a pod contain?", "How many containers can a pod hold?",
                    "What do the containers of a pod share?"),
    "A container": ("What are containers?", "What carries its own files?"),
    "An image": ("What does a container start from?", "What is a container image?"),
    "The control plane": ("What decides what runs where?", "Which part of Kubernetes decides?"),
    "The API server": ("What is the front door of the control plane?", "What is the API server for?"),
    "The scheduler": ("Who decides where a pod runs?", "What chooses the node of a pod?",
                      "How does a new pod get its node?"),
    "The kubelet": ("What starts containers on a node?", "Which agent runs on each node?"),
    "etcd": ("Where is the state of the cluster stored?", "Which database does Kubernetes use?",
             "What stores the cluster state?"),
    "A Deployment": ("How do I keep a number of identical pods running?", "What is a Deployment?",
                     "What are Deployments for?"),
    "A StatefulSet": ("How do I give each pod its own storage?", "What is a StatefulSet?",
                      "How do pods get a fixed name?"),
    "A DaemonSet": ("How do I run a pod on every node?", "What is a DaemonSet?"),
    "A rolling update": ("How are old pods replaced?", "What is a rolling update?", "How do updates work?"),
    "A Service": ("What is a Service?", "How do pods get a stable address?", "Why do I need a Service?"),
    "An Ingress": ("How does web traffic get into the cluster?", "What is an Ingress?",
                   "How do I reach a service from outside?"),
    "A namespace": ("How can I divide a cluster?", "What is a namespace?", "What are namespaces for?"),
    "A ConfigMap holds": ("Where do I put settings?", "What is a ConfigMap?", "How do pods get their settings?"),
    "A ConfigMap can": ("How much data can a ConfigMap hold?", "How big can a ConfigMap be?",
                        "Is there a limit for a ConfigMap?",
                        "What is the maximum size of a ConfigMap?"),
    "A Secret": ("Where do I store passwords?", "What is a Secret?", "How do I keep keys and tokens?"),
    "A liveness": ("What is a liveness probe?", "When does Kubernetes restart a container?",
                   "How does Kubernetes know when to restart?"),
    "A readiness": ("What is a readiness probe?", "When may a pod receive traffic?",
                    "How does Kubernetes know that a pod is ready?"),
    "The horizontal": ("How do I get more pods when load grows?", "What adds pods?",
                       "What is the horizontal pod autoscaler?",
                       "What happens to pods when the load grows?"),
    "A disruption": ("How many pods may be down?", "What is a disruption budget?",
                     "How do I limit how many pods are down?"),
    "kubectl": ("What is the command line tool of Kubernetes?", "Which tool do I use on the command line?",
                "What is kubectl?"),
    "Ray is": ("How can I scale Python programs?", "What is Ray?", "Is Ray open source?"),
    "Ray was": ("Who made Ray?", "Which university made Ray?", "At which lab was Ray created?"),
    "Anyscale": ("What is Anyscale?", "Which company did the authors of Ray found?", "Who founded Anyscale?"),
    "A Ray task": ("What is a task in Ray?", "What are Ray tasks?", "Where does a Ray task run?"),
    "A Ray actor": ("What is an actor in Ray?", "What are Ray actors?", "What keeps its state in Ray?",
                    "What is an actor?"),
    "The object store": ("How is data shared between processes?", "What is the object store?",
                         "Where are objects kept?"),
    "The head node": ("Which node runs the control service?", "What is the head node?", "What runs on the head node?"),
    "Ray Serve is": ("How can I serve a model?", "What is Serve?", "Which library serves models over HTTP?"),
    "A Serve deployment": ("What is a deployment in Serve?", "What is a Serve deployment?"),
    "A replica": ("What are replicas?", "What is a copy of a deployment called?"),
    "A deployment handle": ("How does one deployment call another?", "What is a handle?",
                            "What is a deployment handle?"),
    "The proxy": ("What does the proxy do?", "What is the proxy?", "Who receives web requests?",
                  "How do requests reach replicas?"),
    "Ray Serve listens": ("Which port does Serve use?", "What is the port of Ray Serve?"),
    "Autoscaling": ("What is autoscaling?", "When are replicas added?", "How does autoscaling work?"),
    "Backpressure": ("What happens when the queues are full?", "What is backpressure?",
                     "When does a server refuse requests?"),
    "Failover": ("What happens when a replica dies?", "What is failover?", "Who finishes a reply when a replica dies?"),
    "The Ray dashboard shows": ("What is the Ray dashboard?", "What can I see in the dashboard?",
                                "Where can I see logs?"),
    "The Ray dashboard listens": ("Which port is the dashboard on?", "What port does the Ray dashboard use?",
                                  "Port of the dashboard?"),
    "KubeRay": ("How do I run Ray on Kubernetes?", "Which operator runs Ray?", "What is KubeRay?"),
    "A RayCluster": ("How do I describe a Ray cluster?", "What is a RayCluster?"),
    "A RayService": ("How do I upgrade without downtime?", "What is a RayService?", "What runs a Serve application?"),
    "A RayJob": ("How do I run a job?", "What is a RayJob?", "What removes its cluster after a job?"),
    "A language model": ("What does a language model predict?", "What is a language model?", "What is an LLM?"),
    "A token ": ("What are tokens?", "Is a token a word?"),
    "A tokenizer": ("What splits text into tokens?", "What is a tokenizer?", "How does text become tokens?"),
    "The context window": ("How many tokens can a model read?", "What is the context window?"),
    "A transformer": ("What is a transformer built on?", "What are transformers?",
                      "Which network is built on attention?"),
    "The transformer": ("Who introduced the transformer?", "When was the transformer introduced?",
                        "Who invented the transformer?"),
    "Attention": ("What is attention?", "How does attention work?", "What lets a token look at others?"),
    "An encoder": ("What does an encoder do?", "What is an encoder?", "What turns the input into vectors?"),
    "A decoder": ("What does a decoder do?", "What is a decoder?", "What writes the answer?"),
    "T5 is": ("What kind of model is T5?", "What is T5?", "How does T5 treat tasks?"),
    "T5 was": ("Who made T5?", "When was T5 made?", "Did Google make T5?"),
    "GODEL is": ("What kind of model is GODEL?", "What does GODEL do?", "How does GODEL reply?"),
    "GODEL was": ("Who made GODEL?", "When was GODEL made?", "Did Microsoft make GODEL?"),
    "GODEL base": ("How many parameters does GODEL have?", "How big is GODEL?", "How large is GODEL base?"),
    "GODEL reads": ("How many tokens can GODEL read?", "How long may the input of GODEL be?",
                    "How much does GODEL read?"),
    "Grounding": ("What is grounding?", "What is a grounded model?", "What does grounded mean?"),
    "A hallucination": ("What are hallucinations?", "What is a confident statement without a source?"),
    "BM25": ("How are passages ranked?", "What is BM25?", "How does BM25 work?"),
    "Greedy": ("What is greedy decoding?", "What always picks the most likely token?", "What does greedy mean?"),
    "Sampling": ("What is sampling?", "How is the next token picked at random?", "How does sampling work?"),
    "The temperature": ("What is the temperature?", "How do I make sampling more random?", "What sets the randomness?"),
    "Top-p": ("What is top-p?", "What is top p sampling?", "What is nucleus sampling, or top-p?"),
    "A seed": ("What is a seed?", "How do I make a reply repeatable?", "Why use a seed?"),
    "Continuous": ("What is continuous batching?", "How do requests join a running batch?", "What is batching?"),
    "The key-value": ("What is the key-value cache?", "What is the KV cache?", "What does the cache keep?",
                      "What is the kv cache for?"),
    "Quantization": ("What is quantization?", "How can I save memory?", "How do I store weights in fewer bits?"),
    "Fine-tuning": ("What is fine-tuning?", "How do I train a model further?", "What is finetuning?"),
}  # fmt: skip

_VERB = (
    "is|was|means|has|holds|can hold|keeps|gives|runs|replaces|routes|divides|tells|adds|limits|predicts|splits|lets|"
    "turns|writes|treats|grounds|reads|ranks|always picks|picks|sets|makes|stores|trains|shows|listens|receives|"
    "chooses|shares|serves"
)
_STATEMENT = re.compile(rf"^(?P<subject>.+?) (?P<verb>{_VERB}) (?P<rest>.+)\.$")
_CLAUSE = re.compile(r"\b(?:that|where|which) (?P<verbs>(?!is\b)[a-z]+s) (?P<object>.+)$")


def parse_fact(sentence: str) -> Fact:
    """The fact that a sentence of plain English states, as far as a few patterns can tell."""
    match = _STATEMENT.match(sentence)
    if not match:
        raise ValueError(f"no verb known in {sentence!r}: add it to _VERB")
    stated_as, verb, rest = match["subject"], match["verb"], match["rest"]
    head = stated_as.split(" ", 1)[0]
    common = head in {"A", "An", "The"} or (stated_as.lower().endswith(_COMMON_ENDINGS) and head.capitalize() == head)
    asked = stated_as[0].lower() + stated_as[1:] if common else stated_as
    subject = Subject(stated_as, asked)
    relations, words = _relations(verb, rest)
    return Fact(subject, frozenset(relations), sentence, words)


_COMMON_ENDINGS = (
    "autoscaling", "backpressure", "failover", "attention", "grounding", "decoding", "sampling", "batching",
    "quantization",
    "tuning",
)  # fmt: skip


def _relations(verb: str, rest: str) -> tuple[set[str], dict[str, str]]:
    if verb == "was":
        return {"maker", "year"} if re.search(r"\bin \d{4}", rest) else {"maker"}, {}
    if rest.startswith("maintained"):
        return {"leader"}, {}
    if rest.startswith("on port"):
        return {"port"}, {}
    if match := re.match(r"(?:about |at most |up to )+\w+(?: million)? (?P<unit>\w+)", rest):
        verbs = {"has": "have", "can hold": "hold"}.get(verb, base_form(verb))
        return {"count" if verb == "has" else "limit"}, {"unit": match["unit"], "verb": verbs}
    if verb in {"is", "means"}:
        clause = _CLAUSE.search(rest)
        words = {"verb": base_form(clause["verbs"]), **clause.groupdict()} if clause else {}
        return {"definition", "action", "reverse"} if clause else {"definition"}, words
    verbs = verb.split()[-1]
    return {"action", "reverse"}, {"verb": base_form(verbs), "verbs": verbs, "object": rest}


class Knowledge:
    """A knowledge text's facts by subject, and the server's own ranking of its passages."""

    def __init__(self, text: str, passage_words: int = 40, limit: int = 4) -> None:
        self.limit = limit
        self.base = KnowledgeBase(text, passage_words)
        groups: dict[str, list[Fact]] = {}
        for sentence in sentences(text):
            fact = parse_fact(sentence)
            groups.setdefault(bare(fact.subject.asked), []).append(fact)
        self.groups = list(groups.values())
        self.facts = [fact for group in self.groups for fact in group]
        self.words = sorted(set(re.findall(r"[A-Za-z]{2,}", text)))

    def rank(self, dialog: Sequence[str]) -> tuple[str, ...]:
        """The passages that the server would put into the prompt."""
        return tuple(passage.text for passage in self.base.rank(dialog, self.limit).passages if not passage.filling)

    def extra_questions(self, fact: Fact) -> tuple[str, ...]:
        """The table's wordings for a sentence; none for a sentence that the table does not know."""
        return next((asked for opening, asked in EXTRA_QUESTIONS.items() if fact.text.startswith(opening)), ())


class Swap:
    """Words exchanged in every part of an example alike, so that the passages and not the memory hold the answer."""

    def __init__(self, rng: Random, text: str, share: float) -> None:
        self.words: dict[str, str] = {}
        for word in sorted(set(re.findall(r"[A-Za-z]{3,}|\d+", text))):
            if rng.random() < share and word.lower() not in KEPT_WORDS:
                self.words[word] = self._other(rng, word)
        self._pattern = re.compile(r"\b(" + "|".join(map(re.escape, self.words)) + r")\b") if self.words else None

    def __call__(self, text: str) -> str:
        """`text` with its words exchanged; a word typed in lower case becomes the new word in lower case."""
        return self._pattern.sub(lambda match: self.words[match[1]], text) if self._pattern else text

    def _other(self, rng: Random, word: str) -> str:
        if word.isdigit():
            return year(rng) if len(word) == 4 and word[:2] in {"19", "20"} else number(rng)
        if word.lower() in self.words:
            return self.words[word.lower()].capitalize()
        if word[0].isupper():
            return made_up_name(rng).capitalize() if rng.random() < 0.7 else rng.choice(ORGANISATIONS)
        return made_up_word(rng) if rng.random() < 0.4 else rng.choice(NOUNS)


KEPT_WORDS = frozenset(
    _words(
        "the and that with for from what who when where which how many much does did was are can could has have this "
        "its own each every one all other another know mean made created built developed introduced released founded "
        "invented come out use used year port listen listens about more tell explain describe define instead knowledge "
        "nothing "
        "says between than into outside everything else author company behind job task exactly please you your not but "
        "any may least most several means maintained maintains language version price colour leads located find there "
        "old exist "
    )
)


OFF_TOPIC_FORMS = (
    "What is a {n}?", "What is a {n} {m}?", "How do I {v} a {n}?", "Where can I buy a {n}?", "Can you {v} my {n}?",
    "Do you like {n}s?", "How much is a {n}?", "Who invented the {n}?", "What does a {n} eat?", "Why do {n}s {v}?",
    "Which {n} is the best?", "Tell me about {n}s.", "How many {n}s are there in the world?", "Where is my {n}?",
    "When did the {n} {v}?", "Who is {p}?", "Who is {p} {q}?", "Where was {p} {q} born?", "Who {v}s the {n}?",
    "Should I {v} the {n}?", "What is the best way to {v} a {n}?", "How old is {p}?", "What is the capital of {q}?",
    "How is the {n} in {q}?",
)  # fmt: skip


def off_topic_question(rng: Random, known: frozenset[str]) -> str:
    """A question of everyday words, none of them among those `known`."""
    nouns = [noun for noun in NOUNS if not known & {noun, plural(noun)}]
    words = {
        "n": rng.choice(nouns),
        "m": rng.choice(nouns),
        "v": rng.choice([verb for verb in VERBS if not known & {verb, third_person(verb)}]),
        "p": rng.choice(FIRST_NAMES),
        "q": made_up_word(rng).capitalize(),
    }
    return rng.choice(OFF_TOPIC_FORMS).format(**words)


class Lessons:
    """Draws training examples: made-up facts, a real knowledge text, small talk, and questions without an answer."""

    def __init__(self, knowledge: Knowledge, seed: int) -> None:
        self.knowledge = knowledge
        self.rng = Random(seed)
        self.known_words = frozenset(word.lower() for word in knowledge.words)

    def draw(self, done: float) -> Example:
        """An example fit for a share `done` of the training time: longer and more about real knowledge later on."""
        level = min(1.0, 0.1 + done / 0.35)
        shape = self.rng.random()
        if shape < 0.4 - 3 * done:
            return recall_example(self.rng)
        about_knowledge = 0.54 if done < 0.65 else 0.74
        if shape < about_knowledge * level:
            return self.knowledge_example()
        if shape < (about_knowledge + 0.16) * level:
            return self.chat_example()
        return made_up_example(self.rng, level * self.rng.choice((0.2, 0.4, 0.7, 1.0)))

    def knowledge_example(self) -> Example:
        """A question about the real text, mostly with words exchanged."""
        rng = self.rng
        scene = Scene(rng, self.knowledge.groups)
        if rng.random() < 0.3:
            scene.earlier(rng.randint(1, 2))
        facts = rng.choice(self.knowledge.groups)
        shape = rng.random()
        if shape < 0.25:
            kind, question, reply = scene.follow_up(facts)
        elif shape < 0.32:
            kind, question, reply = scene.ellipsis(facts)
        elif shape < 0.41:
            kind, question, reply = scene.silent(facts)
        elif shape < 0.46:
            kind, question, reply = rng.choice((scene.all_about, scene.both, scene.both, scene.again))(facts)
        else:
            kind, question, reply = self._direct(scene, facts)
        dialog = (*scene.dialog, roughen(rng, question))
        example = Example(f"shipped {kind}", dialog, self.knowledge.rank(dialog), reply, instruction(rng))
        return self._disturbed(self._checked(example))

    def _direct(self, scene: Scene, facts: Sequence[Fact]) -> tuple[str, str, str]:
        fact = self.rng.choice(facts)
        extra = self.knowledge.extra_questions(fact)
        if extra and self.rng.random() < 0.45:
            return "direct", self.rng.choice(extra), fact.text
        return scene.direct(facts)

    def _checked(self, example: Example) -> Example:
        """Without its sentence in the passages, the only grounded reply is that the knowledge is silent."""
        known = " ".join(example.passages)
        present = example.kind == "shipped again" or all(part in known for part in sentences(example.reply))
        return example if present or example.reply == UNKNOWN else replace(example, reply=UNKNOWN)

    def _disturbed(self, example: Example) -> Example:
        """Exchanges words and predicates, removes the answer, reorders: what keeps the model reading."""
        rng = self.rng
        shape = rng.random()
        whole = example.kind in {"shipped direct", "shipped follow-up"} and example.reply != UNKNOWN
        if shape < 0.06 and whole and len(example.dialog) == 1:
            return self._without_subject(example)
        if shape < 0.2 and whole:
            example = self._with_other_predicate(example)
        passages = list(example.passages)
        if rng.random() < 0.15:
            rng.shuffle(passages)
        if rng.random() < 0.45:
            parts = sentences(example.reply)
            passages = [text for text in passages if any(part in text for part in parts) or rng.random() < 0.4]
        example = replace(example, passages=tuple(passages))
        if rng.random() < 0.45:
            return example
        swap = Swap(rng, " ".join(example.passages), rng.choice((0.05, 0.1, 0.25)))
        reply = example.reply if example.reply == UNKNOWN else swap(example.reply)
        return replace(
            example,
            dialog=tuple(turn if turn == UNKNOWN else swap(turn) for turn in example.dialog),
            passages=tuple(map(swap, example.passages)),
            reply=reply,
        )

    def _without_subject(self, example: Example) -> Example:
        fact = parse_fact(example.reply)
        name = bare(fact.subject.asked).lower()
        kept = [passage for passage in example.passages if name not in passage.lower()]
        return replace(example, kind="shipped silent", passages=tuple(kept), reply=UNKNOWN)

    def _with_other_predicate(self, example: Example) -> Example:
        """The same question, but the passage says of its subject what the text says of another."""
        fact = parse_fact(example.reply)
        others = [
            other for other in self.knowledge.facts if other.relations == fact.relations and other.text != fact.text
        ]
        if not others or "reverse" in fact.relations and "What" not in example.dialog[-1]:
            return example
        other = self.rng.choice(others)
        reply = fact.subject.stated + other.text.removeprefix(other.subject.stated)
        asked = example.dialog[-1].lower()
        if bare(fact.subject.asked).lower() not in asked or any(
            word.lower() in asked for word in fact.words.get("object", "").split() if len(word) > 4
        ):
            return example
        passages = tuple(passage.replace(example.reply, reply) for passage in example.passages)
        return replace(example, passages=passages, reply=reply)

    def chat_example(self) -> Example:
        """Small talk or a question about something else, with whatever passages the server would find."""
        rng = self.rng
        scene = Scene(rng, self.knowledge.groups)
        if rng.random() < 0.3:
            scene.earlier(rng.randint(1, 3))
        if rng.random() < 0.75:
            question, reply = small_talk(rng)
        else:
            question, reply = self._stranger(), UNKNOWN
        dialog = (*scene.dialog, roughen(rng, question))
        passages = self.knowledge.rank(dialog)
        if rng.random() < 0.3 and reply != UNKNOWN:
            passages = tuple(rng.sample(self.knowledge.base.passages, rng.randint(0, 3)))
        return Example("chat" if reply != UNKNOWN else "silent", dialog, passages, reply, instruction(rng))

    def _stranger(self) -> str:
        """A question about something that no passage mentions."""
        rng = self.rng
        shape = rng.random()
        if shape < 0.4:
            return rng.choice(OFF_TOPIC)
        if shape < 0.7:
            return off_topic_question(rng, self.known_words)
        facts = profile(rng, 1)
        while self.known_words & set(re.findall("[a-z]+", facts[0].text.lower())) - KEPT_WORDS:
            facts = profile(rng, 1)
        fact, relation = pick_fact(rng, facts)
        return ask(rng, fact, relation, asked_name(rng, fact.subject))
