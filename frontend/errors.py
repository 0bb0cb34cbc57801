"""What can go wrong, as types. Status codes are given only in the `*_routes.py`.

FrontendError
├── BackendError              no reply, because of the backend; always retryable
│   ├── Unavailable           it cannot be reached, or has no replica ready
│   │   └── Starting          it had none, and one is starting
│   ├── Busy                  its queues are full (or this frontend's limits are met); may say when to try again
│   ├── Refused               it does not accept the request; its own sentence says why
│   └── Interrupted           it stopped in the middle of a reply
├── StoreError                a conversation cannot be read or changed
│   ├── StoreUnavailable      the database does not answer
│   ├── ReplyInProgress       another tab's reply is being written
│   ├── ConversationGone      the conversation was cleared, or has expired
│   ├── NoSuchMessage         that message, or its reply, is not kept (any more)
│   ├── NothingToStop         that message's reply is not being written
│   ├── TooMany               the session keeps as many conversations as it may
│   └── ClaimLost             the right to write this reply was lost while it was written
├── TooFast                   the session or its address does too much in a short time
├── StoppedByReader           the person at the page has stopped the reply
└── InputRefused              what the person gave is not accepted
    ├── MessageRefused        the message is blank or too long
    ├── TitleRefused          the title is blank or too long
    ├── KnowledgeRefused      the knowledge text is blank, too long or no text
    └── ImportRefused         the file is not one of our exports, or not a sound one
"""

from collections.abc import Callable

from frontend.words import _

Message = str | Callable[[], str]


class FrontendError(Exception):
    """An error with a sentence for the person at the page, and a short name for programs."""

    type = "error"

    def __init__(self, message: Message, retry_after: float | None = None) -> None:
        super().__init__(self.type)
        self._message = message
        self.retry_after = retry_after  # seconds, where it is known when to try again

    def __str__(self) -> str:
        return self.message

    @property
    def message(self) -> str:
        """The sentence; one that is made for each of its readers, in the language of who asks."""
        return self._message if isinstance(self._message, str) else self._message()

    @property
    def advice(self) -> str:
        """The message, and what else the person should know."""
        return self.message


class BackendError(FrontendError):
    """The backend gave no reply.

    `retry_after` is in seconds, where the backend said it. `broken`: the connection ended, or its writer did,
    before the backend itself said how it ends; asked again, it may give the rest.
    """

    type = "unavailable"

    def __init__(self, message: Message, retry_after: float | None = None, *, broken: bool = False) -> None:
        super().__init__(message, retry_after)
        self.broken = broken

    @property
    def advice(self) -> str:
        """The message, and when to try again where the backend said it."""
        if not self.retry_after:
            return self.message
        return self.message + " " + _("Try again in {seconds} seconds.", seconds=round(self.retry_after))


class Unavailable(BackendError):
    """The backend cannot be reached or has no replica ready."""


class Starting(Unavailable):
    """The backend had no replica, and one is starting: the message has only to wait."""


class Busy(BackendError):
    """Too many replies are being written, or too many chats are kept."""

    type = "busy"


class Refused(BackendError):
    """The backend does not accept the request as it is."""

    type = "refused"


class Interrupted(BackendError):
    """The reply broke off; what arrived of it is not a reply."""

    type = "interrupted"


class StoreError(FrontendError):
    """A conversation cannot be read or changed."""

    type = "store"


class StoreUnavailable(StoreError):
    """The database does not answer."""

    type = "store_unavailable"


class ReplyInProgress(StoreError):
    """A reply of this conversation is being written at this moment."""

    type = "reply_in_progress"


class ConversationGone(StoreError):
    """The conversation is not the session's any more."""

    type = "conversation_gone"


class NoSuchMessage(StoreError):
    """The message, or the reply, that is to be changed is not kept, or not any more."""

    type = "no_such_message"


class NothingToStop(StoreError):
    """The reply has ended meanwhile."""

    type = "nothing_to_stop"


class ClaimLost(StoreError):
    """Somebody else may write to the conversation now."""

    type = "claim_lost"


class TooMany(StoreError):
    """The session keeps as many conversations as it may."""

    type = "too_many_conversations"


class TooFast(FrontendError):
    """Too much in a short time, of one session or from one address; nothing was stored."""

    type = "too_fast"


class StoppedByReader(FrontendError):
    """The person at the page has stopped the reply; what was written of it is kept."""

    type = "stopped"

    def __init__(self) -> None:
        super().__init__(_("Its text ends here."))


class InputRefused(FrontendError):
    """What the person gave is not accepted; nothing was changed."""

    type = "input_refused"


class MessageRefused(InputRefused):
    """The message is blank or too long."""

    type = "message_refused"


class TitleRefused(InputRefused):
    """The title is blank or too long."""

    type = "title_refused"


class KnowledgeRefused(InputRefused):
    """The knowledge text is blank, too long or no text."""

    type = "knowledge_refused"


class ImportRefused(InputRefused):
    """The file is not one of our exports, or not a sound one."""

    type = "import_refused"
