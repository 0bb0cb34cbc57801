"""Knowledge bases, remembered: the configured one, and as many as fit of those that clients send along."""

from collections import OrderedDict
from threading import Lock

from serve_app.grounding import KnowledgeBase

Key = tuple[str, int]

# One of the greediest texts of 200,000 characters, or some twenty ordinary ones of that length.
_LIMIT_BYTES = 64 * 1024**2


class KnowledgeBases:
    """Called by several threads. Two that ask for a text at once may read it twice: neither waits for the other."""

    def __init__(self, *, limit_bytes: int) -> None:
        """limit_bytes: of `KnowledgeBase.nbytes` in all, without the configured one; the least recently used ones make
        room."""
        self._limit_bytes = limit_bytes
        self._lock = Lock()
        self._sent: OrderedDict[Key, KnowledgeBase] = OrderedDict()  # the least recently used one first
        self._sent_bytes = 0
        self._configured: tuple[Key, KnowledgeBase] | None = None

    def __call__(self, text: str, passage_words: int, *, configured: bool = False) -> KnowledgeBase:
        """The knowledge base of a text; a configured one is kept until another one is configured."""
        key = (text, passage_words)
        base = self._find(key)
        if base is None:
            base = KnowledgeBase(text, passage_words)
            if not configured:
                self._keep(key, base)
        if configured:
            self._configured = key, base
        return base

    def _find(self, key: Key) -> KnowledgeBase | None:
        if (configured := self._configured) and configured[0] == key:
            return configured[1]
        with self._lock:
            if key in self._sent:
                self._sent.move_to_end(key)
            return self._sent.get(key)

    def _keep(self, key: Key, base: KnowledgeBase) -> None:
        with self._lock:
            if key in self._sent or base.nbytes > self._limit_bytes:
                return
            self._sent[key] = base
            self._sent_bytes += base.nbytes
            while self._sent_bytes > self._limit_bytes:
                _, oldest = self._sent.popitem(last=False)
                self._sent_bytes -= oldest.nbytes


knowledge_base = KnowledgeBases(limit_bytes=_LIMIT_BYTES)
