"""What has been written of a reply, in memory while it is being written; any number of readers follow it.

A reader says how far it has read, and has everything since in one piece, however many pieces it was written in: so a
slow reader costs no memory, and one that comes late or comes back misses nothing.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from frontend.asking import ColdStart, Restart
from frontend.backend import Start, Token
from frontend.drafts import Draft
from frontend.models import Exchange


@dataclass(frozen=True)
class Finished:
    """The reply is complete and stored."""

    exchange: Exchange


@dataclass(frozen=True)
class Stopped:
    """The reply was stopped by its reader; what was written of it is stored."""

    exchange: Exchange


@dataclass(frozen=True)
class Failed:
    """There is no reply, and why: an error's type and a sentence."""

    type: str
    message: str


@dataclass(frozen=True)
class Silence:
    """Nothing perhaps has happened for a while; the connection to the browser should be kept alive."""


End = Finished | Stopped | Failed
ReplyEvent = ColdStart | Start | Token | Restart | Silence | End


@dataclass(frozen=True)
class Place:
    """How far a reader has read: so many characters of a draft. Each restart begins another draft."""

    draft: int
    chars: int

    def __str__(self) -> str:
        return f"{self.draft}.{self.chars}"

    @classmethod
    def parse(cls, text: str) -> "Place | None":
        """The place that `str` gave; None for anything else."""
        draft, _, chars = text.partition(".")
        if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in (draft, chars)):
            return None
        return cls(int(draft), int(chars))


class ReplyLog:
    """The text so far and, once there is one, the end. Belongs to one event loop."""

    def __init__(self) -> None:
        self.text = ""
        self.start: Start | None = None  # who writes it, once that is known
        self._is_starting = False  # the backend, so that there is nothing yet
        self._draft = 0
        self._beats = 0
        self._end: End | None = None
        self._changed = asyncio.Event()  # a new one for each change

    @property
    def draft(self) -> Draft:
        """What there is of it, for who cannot follow here."""
        origin = self.start.origin if self.start else None
        return Draft(number=self._draft, text=self.text, origin=origin, is_starting=self._is_starting)

    def add(self, item: ColdStart | Start | Token | Restart) -> None:
        """Write on, or begin anew."""
        self._is_starting = isinstance(item, ColdStart)
        if isinstance(item, ColdStart):
            pass
        elif isinstance(item, Start):
            self.start = item
        elif isinstance(item, Restart):
            self.text, self._draft = "", self._draft + 1
        else:
            self.text += item.text
        self._wake()

    def end(self, how: End) -> None:
        """Nothing follows."""
        self._end = how
        self._wake()

    def beat(self) -> None:
        """Give all readers a Silence. (A timer for each wait would cost as much as a piece's way to the reader.)"""
        self._beats += 1
        self._wake()

    async def follow(self, place: Place | None) -> AsyncGenerator[tuple[Place, ReplyEvent]]:
        """What comes after `place` (None: everything), then exactly one End; each with the place after it."""
        place = place or Place(self._draft, 0)
        beats = self._beats
        start: Start | None = None
        was_starting = False
        while True:
            changed = self._changed
            if self._is_starting and not was_starting:
                was_starting = True
                yield place, ColdStart()
            elif self.start is not None and self.start is not start:
                start = self.start
                yield place, start
            elif place.draft != self._draft or place.chars > len(self.text):
                place = Place(self._draft, 0)
                yield place, Restart()
            elif place.chars < len(self.text):
                news, place = self.text[place.chars :], Place(self._draft, len(self.text))
                yield place, Token(text=news)
            elif self._end is not None:
                yield place, self._end
                return
            elif beats != self._beats:
                beats = self._beats
                yield place, Silence()
            else:
                await changed.wait()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
