"""What the page of the configuration shows, as display-ready values."""

from collections.abc import Iterator, Mapping

from pydantic import BaseModel, JsonValue

from frontend.errors import BackendError
from frontend.origin import GivenPassage
from frontend.provenance import of_words, percent, time_label
from frontend.trial import Preview, Trial, TriedReply
from frontend.views import Detail, View
from frontend.words import _, number, plural

NONE = "–"


class ConfigFile(BaseModel):
    """The file as it is written."""

    text: str = ""
    version: str = ""


class ConfigTold(BaseModel):
    """The answer of GET /config."""

    version: str = ""
    error: str | None = None
    environment: tuple[str, ...] = ()
    writable: bool = False
    config: dict[str, JsonValue] = {}
    file: ConfigFile | None = None


class ConfigView(View):
    """The configuration in use."""

    version: str
    error: str
    environment: str
    writable: bool
    instruction: str
    knowledge: str
    knowledge_label: str
    settings: tuple[Detail, ...]


class TriedPassage(View):
    """A passage, and how well it fits."""

    text: str
    label: str
    fits: bool


class TriedReplyView(View):
    """A reply, or why there is none."""

    mode: str
    text: str
    trouble: str
    facts: str


class TrialView(View):
    """What came of a question."""

    question: str
    trouble: str  # why there is no preview
    prompt: str
    tokens: int
    window: int
    use: str
    left_out: str
    passages: tuple[TriedPassage, ...]
    replies: tuple[TriedReplyView, ...]


def config_view(told: ConfigTold) -> ConfigView:
    """For the page."""
    config = dict(told.config)
    instruction, knowledge = (str(config.pop(name, "")) for name in ("instruction", "knowledge"))
    return ConfigView(
        version=told.version,
        error=told.error or "",
        environment=", ".join(told.environment),
        writable=told.writable,
        instruction=instruction,
        knowledge=knowledge,
        knowledge_label=_(
            "Knowledge: {chars} characters, {words} words", chars=len(knowledge), words=len(knowledge.split())
        ),
        settings=tuple(_flat(config)),
    )


def trial_view(trial: Trial) -> TrialView:
    """For the page."""
    preview = trial.preview if isinstance(trial.preview, Preview) else Preview()
    return TrialView(
        question=trial.question,
        trouble=trial.preview.advice if isinstance(trial.preview, BackendError) else "",
        prompt=preview.prompt,
        tokens=preview.prompt_tokens,
        window=preview.window,
        use=_("{used} of {size} tokens", used=preview.prompt_tokens, size=preview.window),
        left_out=_left_out(preview),
        passages=tuple(_passage(each) for each in preview.grounding.passages),
        replies=(_reply(_("Quote mode"), trial.quoted), _reply(_("Written freely"), trial.free)),
    )


def _flat(values: Mapping[str, JsonValue], prefix: str = "") -> Iterator[Detail]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield Detail(label=prefix + name, value=_setting(value))


def _setting(value: JsonValue) -> str:
    if value is None:
        return _("as the model recommends")
    if isinstance(value, list):
        return "\n".join(map(_phrase, value)) or NONE
    return str(value)


def _phrase(value: JsonValue) -> str:
    """A reply; its examples are many, and stand in the file."""
    if not isinstance(value, dict):
        return str(value)
    reply, examples = value.get("reply"), value.get("to")
    if not isinstance(examples, list) or not examples:
        return str(reply)
    return plural("{reply} (to {count} example)", "{reply} (to {count} examples)", len(examples), reply=reply)


def _passage(each: GivenPassage) -> TriedPassage:
    label = _("filling") if each.filling or each.score is None else number(each.score, 2)
    return TriedPassage(text=each.text, label=label, fits=not each.filling)


def _left_out(preview: Preview) -> str:
    grounding = preview.grounding
    if not (grounding.dropped_passages or grounding.truncated_tokens):
        return ""
    return plural(
        "Left out for want of room: {count} passage that fits the question, {tokens} tokens.",
        "Left out for want of room: {count} passages that fit the question, {tokens} tokens.",
        grounding.dropped_passages,
        tokens=grounding.truncated_tokens,
    )


def _reply(mode: str, reply: TriedReply | BackendError) -> TriedReplyView:
    if isinstance(reply, BackendError):
        return TriedReplyView(mode=mode, text="", trouble=reply.advice, facts="")
    facts = (time_label(reply.timing_ms.get("total")), of_words(percent(reply.grounded)))
    return TriedReplyView(mode=mode, text=reply.response, trouble="", facts=" · ".join(filter(None, facts)))
