"""Questions written by hand about texts written by hand: YAML files -> `TextQuestions`, and whether a reply is right.

Knows no model and no ranking. A folder holds one file a text:

    title: Tent
    text: |                         # or `knowledge_of: configs/chatbot.yaml`; absent where none is needed (small talk)
      The tent is made in Oulu. It weighs 2.4 kilograms and sleeps three. ...
    questions:
      - ask: How heavy is it?       # or a list of turns: user, bot, ..., user; bot turns are sentences of the text
        kind: how-much
        needs: [["2.4", "2,4"]]     # all of these occur in a right reply; a list holds alternatives
        sentence: It weighs 2.4 kilograms and sleeps three.  # the sentence of the text that answers
      - ask: Who invented it?
        kind: other-attribute
        declines: true              # the text does not say
      - ask: Hello!
        kind: small-talk
        phrase: greeting            # what the right reply, one of the configured phrases, is for

`development/` is what weights and thresholds are chosen on; never report a score on it. `evaluation/` is what scores
are reported on; nothing is chosen on it, and nothing is learnt from it.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from serve_app import chat_config
from serve_app.errors import ConfigError, reason
from serve_app.passages import split_sentences

DEVELOPMENT, EVALUATION = (Path(__file__).parent / name for name in ("development", "evaluation"))
_ROOT = Path(__file__).resolve().parents[2]

Phrase = Literal["greeting", "thanks", "farewell", "who-are-you", "how-are-you", "help"]
Kind = Literal[
    "when", "where", "who", "how-many", "how-much", "how-long", "which", "what", "why", "yes-no", "how-to",
    "follow-up", "change-of-subject",
    "other-subject", "other-attribute",
    "small-talk",
]  # fmt: skip
_UNANSWERABLE = ("other-subject", "other-attribute")

# What a reply of each sort says, in whatever words the phrases are configured.
_DECLINING = re.compile(
    r"\bI (don't|do not|can't|cannot) (know|say|tell|answer)\b"
    r"|\b(text|knowledge) (says nothing|does not say|doesn't say)\b",
    re.I,
)
_SAYING: dict[Phrase, re.Pattern[str]] = {
    "greeting": re.compile(r"^(hello|hi|hey|greetings|good (day|morning|afternoon|evening))\b", re.I),
    "thanks": re.compile(r"\b(you are|you're) welcome\b|\bmy pleasure\b|\bglad to help\b", re.I),
    "farewell": re.compile(r"\b(good)?bye\b|\bsee you\b|\bfarewell\b", re.I),
    "who-are-you": re.compile(r"\bI am an? [\w ]*(chatbot|bot|assistant|model)\b|\bI (can )?answer\b", re.I),
    "how-are-you": re.compile(r"\bI am (very )?(fine|well)\b|\b(fine|well), thank", re.I),
    "help": re.compile(r"\bI (can )?answer\b|\bask (me|away)\b|\bjust ask\b", re.I),
}


class QuestionsError(ValueError):
    """A file of questions is wrong; says which file, which question and what would be right."""


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Turns = Annotated[tuple[str, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
Alternatives = Annotated[tuple[str, ...], BeforeValidator(_as_tuple), Field(min_length=1)]


class Question(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    ask: Turns  # user, bot, ..., user
    kind: Kind
    needs: tuple[Alternatives, ...] = ()
    sentence: str | None = None
    declines: bool = False
    phrase: Phrase | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> "Question":
        if len(self.ask) % 2 == 0:
            raise ValueError("`ask` has an even number of turns; they alternate, and first and last are the user's")
        if not all(turn.strip() for turn in self.ask):
            raise ValueError("`ask` has an empty turn; write it, or leave it out")
        if any(not alternative.strip() for need in self.needs for alternative in need):
            raise ValueError("`needs` has an empty item, which every reply would satisfy; remove it")
        if bool(self.needs) + self.declines + (self.phrase is not None) != 1:
            raise ValueError("give one of `needs`, `declines: true` and `phrase`, and only one")
        if bool(self.needs) != (self.sentence is not None):
            raise ValueError("`needs` and `sentence` come together; add the missing one")
        if self.declines != (self.kind in _UNANSWERABLE):
            raise ValueError(f"`declines: true` goes with kind {' or '.join(_UNANSWERABLE)}, not {self.kind}")
        if (self.phrase is not None) != (self.kind == "small-talk"):
            raise ValueError(f"`phrase` goes with kind small-talk, and only with it, not {self.kind}")
        return self


class TextQuestions(BaseModel):
    """A text and what is asked about it. `name` is the file's.

    knowledge_of: the configuration, by its path in the repository, whose knowledge the text is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    text: str | None = None
    knowledge_of: str | None = None
    questions: tuple[Question, ...] = Field(min_length=1)

    @property
    def sentences(self) -> list[str]:
        """As the server splits the text; none where there is no text."""
        return split_sentences(self.text or "")


def load(folder: Path) -> list[TextQuestions]:
    """All files of `folder`, in the order of their names.

    Raises QuestionsError that names the file and the question, also where there are no files.
    """
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise QuestionsError(f"{folder}: holds no *.yaml; is this the folder of the questions?")
    return [_load_file(path) for path in paths]


def _load_file(path: Path) -> TextQuestions:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or an odd date
        raise QuestionsError(f"{path}: cannot be read as YAML: {error}") from None
    if not isinstance(content, dict):
        raise QuestionsError(f"{path}: expected title, text and questions, found {type(content).__name__}")
    try:
        read = TextQuestions.model_validate({"name": path.stem} | content | _knowledge(path, content))
    except ValidationError as error:
        mistakes = (f"{_place(content, mistake['loc'])}: {reason(mistake)}" for mistake in error.errors())
        raise QuestionsError("; ".join(f"{path}: {mistake}" for mistake in mistakes)) from None
    for number, question in enumerate(read.questions, 1):
        if complaint := _complaint(question, read.sentences):
            raise QuestionsError(f"{path}: question {number} ({question.ask[-1]!r}): {complaint}")
    return read


def _knowledge(path: Path, content: dict[str, Any]) -> dict[str, str]:
    """The text, where it is a configuration's knowledge."""
    if not (config := content.get("knowledge_of")):
        return {}
    if "text" in content:
        raise QuestionsError(f"{path}: has both text and knowledge_of; remove one")
    try:
        return {"text": chat_config.load(_ROOT / str(config), environment={}).config.knowledge}
    except ConfigError as error:
        raise QuestionsError(f"{path}: knowledge_of: {error}") from None


def _place(content: dict[str, Any], loc: tuple[int | str, ...]) -> str:
    """`questions.2.kind` as "question 3 ('How heavy is it?'): kind"."""
    if len(loc) < 2 or not isinstance(loc[1], int):
        return ".".join(map(str, loc))
    entry = content["questions"][loc[1]]
    ask = entry.get("ask") if isinstance(entry, dict) else entry
    return ": ".join([f"question {loc[1] + 1} ({ask!r})", *[".".join(map(str, loc[2:]))] * (len(loc) > 2)])


def _complaint(question: Question, sentences: list[str]) -> str | None:
    """What does not fit the text, or None."""
    if question.sentence is not None:
        if question.sentence not in sentences:
            return f"`sentence` is no sentence of the text: {question.sentence!r}; copy it whole"
        if not is_right(question.sentence, question):
            return f"`sentence` does not hold what `needs` lists: {question.needs}"
    for turn in question.ask[1::2]:
        if strange := [sentence for sentence in split_sentences(turn) if sentence not in sentences]:
            return f"the bot's turn has {strange[0]!r}, which is no sentence of the text; copy it whole"
    return None


def is_right(reply: str, question: Question) -> bool:
    """Whether `reply` holds all that the question needs, declines, or is the phrase that is asked for.

    Case and the kinds of white space do not matter. A reply with needs may say more than is needed.
    """
    said = " ".join(reply.split())
    if question.declines:
        return declines(reply)
    if question.phrase is not None:
        return bool(_SAYING[question.phrase].search(said)) and not declines(reply)
    return all(any(words.lower() in said.lower() for words in need) for need in question.needs)


def declines(reply: str) -> bool:
    """Whether `reply` says that it does not know."""
    return bool(_DECLINING.search(" ".join(reply.split())))
