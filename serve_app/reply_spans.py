"""A model replica's spans of a reply, made of its times once it has ended: the engine knows nothing of spans."""

import time
from collections.abc import Iterator
from itertools import pairwise

from opentelemetry.trace import SpanKind, use_span

from serve_app.engine.measures import ReplyTimes
from serve_app.tracing import past_span

_STAGES = ("queue", "encode", "first token", "decode")


def tell_reply(times: ReplyTimes, now: float, **attributes: str | int) -> None:
    """One span of the reply, as a part of the present one, and within it one for each stage.

    now: when the reply ended, on the engine's clock, which is the monotonic one.
    """
    since_1970 = time.time() - time.monotonic()
    reply = past_span("generate", since_1970 + times.submitted, since_1970 + now, SpanKind.SERVER, **attributes)
    with use_span(reply):
        for stage, began, ended in stages(times, now):
            past_span(stage, since_1970 + began, since_1970 + ended)


def stages(times: ReplyTimes, now: float) -> Iterator[tuple[str, float, float]]:
    """Name, beginning and end of each stage that the reply came to; where it was ended in one, that one ends `now`.

    A reply that was chosen whole has all its tokens at once, and so nothing to decode after the first.
    """
    moments = (times.submitted, times.began, times.encoded, times.first_token, times.last_token)
    for stage, (began, ended) in zip(_STAGES, pairwise(moments), strict=True):
        if began is not None and began != ended:
            yield stage, began, now if ended is None else ended
