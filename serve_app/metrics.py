"""What the application adds to Ray's metrics: their names, and the objects that report them.

Prometheus sees each name with `ray_` before it, a counter's with `_total` behind it, and with the labels that Serve
gives to all: application, deployment, replica. docs/operations.md has the table. No label is of a user's making.

A Serve metric takes 2 us a value, so nothing is reported for each token: replies are at their end, steps once a second.
Metric objects belong to a Serve replica, so they are made in one.
"""

import time
from dataclasses import dataclass
from typing import Any, Literal

from ray.serve import metrics

from serve_app.engine.measures import ReplyTimes, Totals
from serve_app.messages import ReplicaStatus
from serve_app.outcomes import Outcome, asking_key

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60)
_TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8)
_TOKENS = (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
_REQUESTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)

_STEPS_S = 1.0  # how often what the step loop has done is reported


@dataclass(frozen=True)
class Metric:
    """One metric; `of` is the deployment whose replicas have it."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    of: Literal["Ingress", "GodelModel"]
    meaning: str
    labels: tuple[str, ...] = ()
    boundaries: tuple[float, ...] = ()  # of a histogram's buckets

    @property
    def exported(self) -> str:
        """The name that Prometheus sees."""
        return f"ray_{self.name}{'_total' if self.kind == 'counter' else ''}"

    @property
    def series(self) -> tuple[str, ...]:
        """The names that PromQL may ask for."""
        parts = ("_bucket", "_sum", "_count") if self.kind == "histogram" else ("",)
        return tuple(self.exported + part for part in parts)


REPLIES = Metric(
    "godel_replies",
    "counter",
    "Ingress",
    "replies that have ended: `done`, `cancelled` (its reader left), `deadline` (not complete in time), `failed`",
    ("ending", "key"),
)
REFUSALS = Metric(
    "godel_refusals",
    "counter",
    "Ingress",
    "requests that were refused before any reply: `queue_full`, `share`, `hopeless` (the queue is longer than the "
    "deadline), `key_rate`, or the error's type in the answer",
    ("reason", "key"),
)
FIRST_TOKEN = Metric(
    "godel_first_token_seconds",
    "histogram",
    "Ingress",
    "from a request's arrival to its reply's first token: ranking, queue, encoding and the first step",
    boundaries=_SECONDS,
)
REPLY = Metric(
    "godel_reply_seconds",
    "histogram",
    "Ingress",
    "from a request's arrival to the end of its reply; of replies that are `done`",
    boundaries=_SECONDS,
)
PROMPT_TOKENS = Metric("godel_prompt_tokens", "histogram", "Ingress", "tokens of a reply's prompt", boundaries=_TOKENS)
REPLY_TOKENS = Metric(
    "godel_reply_tokens", "histogram", "Ingress", "tokens of a reply, however it ended", boundaries=_TOKENS
)
QUOTED_TOKENS = Metric(
    "godel_quoted_tokens", "counter", "Ingress", "tokens that quote mode forced: those of a given sentence", ("key",)
)
TAKEOVERS = Metric(
    "godel_takeovers", "counter", "Ingress", "replies that lost the replica that wrote them, so that another was asked"
)
CONFIG = Metric(
    "godel_config_info", "gauge", "Ingress", "1 for the configuration version in use, 0 for earlier ones", ("version",)
)
CONFIG_ERROR = Metric("godel_config_error", "gauge", "Ingress", "1 while the configuration file has an error")
KEYS_ERROR = Metric("godel_keys_error", "gauge", "Ingress", "1 while the API keys' file has an error")
FALLBACK = Metric(
    "godel_fallback_in_use", "gauge", "Ingress", "1 where the fallback model stands in for the one asked for"
)

SLOTS = Metric("godel_slots", "gauge", "GodelModel", "requests that can be decoded at a time")
ACTIVE = Metric("godel_active_requests", "gauge", "GodelModel", "requests in slots")
WAITING = Metric("godel_waiting_requests", "gauge", "GodelModel", "requests that wait for a slot")
QUEUE = Metric(
    "godel_queue_seconds",
    "histogram",
    "GodelModel",
    "from a request's arrival at the model replica until its prompt is encoded",
    boundaries=_SECONDS,
)
TOKEN = Metric(
    "godel_output_token_seconds",
    "histogram",
    "GodelModel",
    "a reply's mean time for each token after the first; none for a quoted reply, which is chosen whole",
    boundaries=_TOKEN_SECONDS,
)
STEP = Metric(
    "godel_step_requests", "histogram", "GodelModel", "requests in a decoding step: slots in use", boundaries=_REQUESTS
)
ENCODER_SHARE = Metric(
    "godel_encoder_share_ratio",
    "histogram",
    "GodelModel",
    "of the step loop's work in a second, the share that went into encoding prompts",
    boundaries=_SHARES,
)
GENERATED = Metric("godel_generated_tokens", "counter", "GodelModel", "tokens written, over all slots")
GUESSED = Metric(
    "godel_guessed_tokens", "counter", "GodelModel", "tokens guessed from prompts and verified, in rows of their own"
)
ACCEPTED = Metric("godel_accepted_tokens", "counter", "GodelModel", "of the tokens guessed, those that came true")
CACHE_HITS = Metric(
    "godel_encoder_cache_hits", "counter", "GodelModel", "prompts that needed no encoding, as an equal one was encoded"
)
CACHE_MISSES = Metric("godel_encoder_cache_misses", "counter", "GodelModel", "prompts that were encoded")

METRICS = tuple(value for value in vars().values() if isinstance(value, Metric))


class IngressMetrics:
    """What an ingress replica counts."""

    def __init__(self) -> None:
        self._replies = _counter(REPLIES)
        self._refusals = _counter(REFUSALS)
        self._takeovers = _counter(TAKEOVERS)
        self._quoted_tokens = _counter(QUOTED_TOKENS)
        self._first_token = _histogram(FIRST_TOKEN)
        self._reply = _histogram(REPLY)
        self._prompt_tokens = _histogram(PROMPT_TOKENS)
        self._reply_tokens = _histogram(REPLY_TOKENS)

    def replied(self, outcome: Outcome) -> None:
        """A reply has ended."""
        key = asking_key.get()
        self._replies.inc(tags={"ending": str(outcome.ending), "key": key})
        if outcome.prompt_tokens:
            self._prompt_tokens.observe(outcome.prompt_tokens)
        self._reply_tokens.observe(outcome.reply_tokens)
        if outcome.first_token_s is not None:
            self._first_token.observe(outcome.first_token_s)
        if outcome.ending == "done":
            self._reply.observe(outcome.total_s)
        if outcome.is_quoted and outcome.reply_tokens:
            self._quoted_tokens.inc(outcome.reply_tokens, tags={"key": key})

    def refused(self, reason: str) -> None:
        """A request was answered with an error before any work on a reply."""
        self._refusals.inc(tags={"reason": reason, "key": asking_key.get()})

    def took_over(self) -> None:
        self._takeovers.inc()


class StateMetrics:
    """What an ingress replica knows of the files that it watches, as they are now, and of the model."""

    def __init__(self, *, is_fallback: bool) -> None:
        self._config = _gauge(CONFIG)
        self._config_error = _gauge(CONFIG_ERROR)
        self._keys_error = _gauge(KEYS_ERROR)
        self._fallback = _gauge(FALLBACK)
        self._is_fallback = is_fallback
        self._version: str | None = None

    def report(self, version: str, config_error: str | None, keys_error: str | None) -> None:
        if self._version not in (None, version):
            self._config.set(0, tags={"version": str(self._version)})
        self._version = version
        self._config.set(1, tags={"version": version})
        self._config_error.set(1 if config_error else 0)
        self._keys_error.set(1 if keys_error else 0)
        self._fallback.set(1 if self._is_fallback else 0)


class ReplicaMetrics:
    """What a model replica reports of its engine."""

    def __init__(self) -> None:
        self._slots = _gauge(SLOTS)
        self._active = _gauge(ACTIVE)
        self._waiting = _gauge(WAITING)
        self._queue = _histogram(QUEUE)
        self._token = _histogram(TOKEN)
        self._step = _histogram(STEP)
        self._encoder_share = _histogram(ENCODER_SHARE)
        self._generated = _counter(GENERATED)
        self._guessed = _counter(GUESSED)
        self._accepted = _counter(ACCEPTED)
        self._hits = _counter(CACHE_HITS)
        self._misses = _counter(CACHE_MISSES)
        self._reported: Totals | None = None
        self._reported_at = float("-inf")

    def replied(self, times: ReplyTimes) -> None:
        """A reply has left the engine."""
        if times.queue_s is not None:
            self._queue.observe(times.queue_s)
        if times.token_s is not None:
            self._token.observe(times.token_s)

    def report(self, status: ReplicaStatus, totals: Totals) -> None:
        """The load now, and what the step loop has done since the last time; may be called as often as one likes."""
        self._slots.set(status.slots)
        self._active.set(status.active)
        self._waiting.set(status.waiting)
        if (now := time.monotonic()) - self._reported_at >= _STEPS_S:
            self._reported_at = now
            before, self._reported = self._reported, totals.copy()
            if before:
                self._report_work(self._reported.since(before))

    def _report_work(self, work: Totals) -> None:
        for requests, steps in enumerate(work.steps):
            for _ in range(steps):
                self._step.observe(requests)
        if work.busy_s > 0:
            self._encoder_share.observe(min(work.encode_s / work.busy_s, 1.0))
        for counter, increase in (
            (self._generated, work.tokens),
            (self._guessed, work.guessed),
            (self._accepted, work.accepted),
            (self._hits, work.encodings_kept),
            (self._misses, work.encodings_made),
        ):
            if increase > 0:  # Ray refuses 0
                counter.inc(increase)


def _counter(metric: Metric) -> metrics.Counter:
    return metrics.Counter(metric.name, description=metric.meaning, tag_keys=_tag_keys(metric))


def _gauge(metric: Metric) -> metrics.Gauge:
    return metrics.Gauge(metric.name, description=metric.meaning, tag_keys=_tag_keys(metric))


def _histogram(metric: Metric) -> metrics.Histogram:
    return metrics.Histogram(
        metric.name,
        description=metric.meaning,
        boundaries=list(metric.boundaries),
        tag_keys=_tag_keys(metric),
    )


def _tag_keys(metric: Metric) -> Any:  # Ray's own annotation allows one label only
    return metric.labels or None
