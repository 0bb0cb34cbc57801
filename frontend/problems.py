"""What the backend's refusals mean: a status code and the error it carries, as one of `errors.BackendError`'s kinds."""

from collections.abc import Mapping

from pydantic import BaseModel, ValidationError

from frontend.errors import BackendError, Busy, Interrupted, Refused, Starting, Unavailable
from frontend.words import _, later

MAX_ERROR_BYTES = 65_536
# What a proxy says by itself while nothing stands behind it; the backend's own errors have the contract's shape.
PROXY_FAILURES = (404, 500, 502, 503)
STARTING = "starting"  # and for: there was no replica, so one is started
REPLY_INTERRUPTED = "reply_interrupted"  # the backend's name for: the replica that was writing has died
AWAY = later("It cannot be reached at the moment. Your message is kept.")
BROKE_OFF = later("It broke off before it was complete.")


class Problem(BaseModel):
    """The backend's error shape, `{"error": {"type", "message", "request_id"}}`, read leniently."""

    type: str = ""
    message: str = ""

    @classmethod
    def of(cls, body: str | bytes) -> "Problem | None":
        """None when it is not the backend that speaks."""
        try:
            return _Envelope.model_validate_json(body).error
        except ValidationError:
            return None

    @property
    def is_death(self) -> bool:
        """Whether the replica that wrote the reply has died, so that another may go on."""
        return self.type == REPLY_INTERRUPTED


class _Envelope(BaseModel):
    error: Problem


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> BackendError:
    """What an answer with a status other than 200 means. Its words are made for who reads them."""
    problem, wait = Problem.of(body), _retry_after(headers)
    number = str(status)
    if problem is None and status in PROXY_FAILURES:
        return Unavailable(
            lambda: _("Nothing answers behind its address: status {status}.", status=number), wait, broken=True
        )
    message, is_death = (problem.message, problem.is_death) if problem else ("", False)
    if status == 429:
        return Busy(lambda: _("Its queues are full. Your message is kept."), wait)
    if status == 504:
        return Interrupted(lambda: _("The chat service could not finish the reply in time."), wait)
    if status == 401:  # not the person's mistake
        return Unavailable(
            lambda: _("It does not know this page, whose operator has to set FRONTEND_BACKEND_KEY."), wait
        )
    if 400 <= status < 500:
        return Refused(lambda: message or _("The chat service answered with status {status}.", status=number), wait)
    if status == 503 and problem and problem.type == STARTING:
        return Starting(lambda: _("It is starting, which takes a while. Your message is kept."), wait)
    if status == 503:
        return Unavailable(lambda: " ".join((_("It is not ready."), message)).strip(), wait, broken=is_death)
    return Unavailable(lambda: " ".join((_("It failed with status {status}.", status=number), message)).strip(), wait)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header; its other form, a date, is of no use for a wait of seconds."""
    try:
        seconds = float(headers.get("Retry-After", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds <= 86_400 else None
