"""What a reply says of where it came from, at a glance: its tag, and how full the model's window was."""

from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict

from frontend.hues import hue
from frontend.origin import Origin, Writer
from frontend.words import _, number

SHORT_ID = 8  # characters of an id that tell replicas apart at a glance
SECONDS_FROM_MS = 1_000  # below, tenths of a second would say little, or "0.0 s"


class Fact(BaseModel):
    """A part of a reply's tag."""

    model_config = ConfigDict(frozen=True)

    name: str
    text: str
    title: str = ""
    hue: int | None = None  # of a replica


class Window(BaseModel):
    """How much of the model's window the prompt took, in tokens."""

    model_config = ConfigDict(frozen=True)

    used: int
    size: int
    label: str


def tag(origin: Origin) -> tuple[Fact, ...]:
    """Who wrote a reply, with what, and how fast: as much of it as is known."""
    return tuple(fact for fact in _facts(origin) if fact.text)


def _facts(origin: Origin) -> Iterator[Fact]:
    yield from _replicas(origin.origins if len(origin.origins) > 1 else [origin])
    yield _place(origin)
    yield Fact(name=_("model"), text="/".join(origin.model.rstrip("/").split("/")[-2:]), title=origin.model)
    yield Fact(name=_("configuration"), text=origin.config_version[:SHORT_ID], title=origin.config_version)
    yield Fact(name=_("first token"), text=time_label(origin.timing_ms.get("first_token")))
    yield Fact(name="", text=_speed(origin), title=_("Tokens of the reply, by the whole time it took"))
    share = percent(origin.grounded)
    yield Fact(name=_("grounded"), text=share, title=of_words(share))
    own = _("this chat’s own text") if origin.own_knowledge else ""
    yield Fact(name=_("from"), text=own, title=origin.own_knowledge)
    yield Fact(name=_("in"), text=time_label(origin.timing_ms.get("total")), title=_("The whole time"))


def _replicas(writers: Sequence[Writer]) -> Iterator[Fact]:
    for place, each in enumerate(writers):
        if each.replica_id:
            name = _("then") if place else _("replica")
            yield Fact(name=name, text=each.replica_id[-SHORT_ID:], title=each.replica_id, hue=hue(each.replica_id))


def _place(origin: Origin) -> Fact:
    """The node, or the pod where the cluster has no name for its nodes."""
    if origin.pod_name and not origin.node_name:
        return Fact(name=_("pod"), text=origin.pod_name, title=origin.pod_name)
    return Fact(name=_("node"), text=origin.node_name or origin.node_id[:SHORT_ID], title=origin.node)


def _speed(origin: Origin) -> str:
    tokens, total_ms = origin.usage.completion_tokens, origin.timing_ms.get("total")
    if not tokens or not total_ms:
        return ""
    rate = tokens / total_ms * 1_000
    return _("{rate} tokens/s", rate=number(rate, 0 if rate >= 10 else 1))


def window(origin: Origin) -> Window | None:
    """None where it is not known."""
    used, size = origin.usage.prompt_tokens, origin.usage.max_prompt_tokens
    if used is None or not size:
        return None
    left_out = turns_left_out(origin)
    remembered = _("earlier turns left out: {turns}", turns=left_out) if left_out else _("no earlier turn left out")
    return Window(
        used=used,
        size=size,
        label=_("{used} of {size} tokens read, {remembered}", used=used, size=size, remembered=remembered),
    )


def turns_left_out(origin: Origin) -> str:
    """Turns that the model did not see, by either side's limit; empty when it saw all."""
    by_backend = origin.grounding.dropped_turns
    parts = [_("{count} by this page's limit", count=origin.left_off)] if origin.left_off else []
    return ", ".join(parts + ([_("{count} by the model's window", count=by_backend)] if by_backend else []))


def time_label(ms: float | None) -> str:
    """A time in s, or in ms where it is short; empty where it is not known."""
    if ms is None:
        return ""
    return f"{number(ms / 1000, 1)} s" if ms >= SECONDS_FROM_MS else f"{number(ms)} ms"


def percent(share: float | None) -> str:
    """A share of 0 to 1 in whole percent, 100 for all alone; empty where it is not known."""
    if share is None:
        return ""
    return f"{100 if share == 1 else min(round(share * 100), 99)} %"


def of_words(share: str) -> str:
    """The same as a sentence."""
    return _("{percent} of the words stand in the knowledge", percent=share) if share else ""
