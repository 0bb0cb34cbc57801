"""Pure: sentences, phrases, a tokenizer -> what a reply in quote mode may be, and back from its tokens to the text.

The model reads and writes tokens, and a tokenizer may have none for a character, or fold two into one. So each
candidate keeps the text that it was made of, and a reply is that text, word for word (law 9).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from transformers import PreTrainedTokenizerBase

from serve_app.engine.trie import MAX_TOKENS
from serve_app.grounding import Sentence
from serve_app.messages import Candidate
from serve_app.prompt import plain

TokenIds = tuple[int, ...]

# More would hardly be read: a window of 512 tokens holds some thirty sentences.
MAX_CANDIDATES = 64

# Above this score a sentence is offered where none is taken to answer. Chosen on the development questions: of those
# whose best sentence has a score between it and 0, half are answered by that sentence.
OFFERED = -0.2
NO_OFFERS: Mapping[str, str] = {}

# Sentences whose tokens are remembered, and the longest, in characters: some megabytes in all.
_REMEMBERED, _LONGEST_REMEMBERED = 2048, 500


@dataclass(frozen=True)
class Quotes:
    """The candidates of one reply, and what each says by its tokens, the closing </s> left out."""

    candidates: tuple[Candidate, ...]
    texts: Mapping[TokenIds, str]


def nearest(sentences: Iterable[Sentence], phrases: Iterable[Sentence]) -> Sentence | None:
    """The sentence to offer where the model declines; None where nothing is near, or something is taken to answer."""
    best = max(sentences, key=lambda sentence: sentence.score, default=None)
    if best is None or best.score <= OFFERED or any(each.score > 0 for each in (best, *phrases)):
        return None
    return best


class Quoter:
    """Makes quotes with one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._remembered = lru_cache(_REMEMBERED)(self._tokenize)

    def quotes(
        self,
        sentences: Iterable[Sentence],
        phrases: Iterable[Sentence],
        *,
        prior: float,
        max_length: int,
        offers: Mapping[str, str] = NO_OFFERS,
    ) -> Quotes:
        """Phrases and sentences, each with the bonus `prior` times its score; the sentences with the best scores where
        not all can be had, none that a reply of `max_length` has no room for. Of two with the same tokens the better
        one stays.

        offers: by the phrases that decline, what is said instead of each where the model chooses it.
        """
        bonuses: dict[TokenIds, float] = {}
        texts: dict[TokenIds, str] = {}
        room = MAX_TOKENS
        best_first = sorted(sentences, key=lambda sentence: -sentence.score)
        for option in [*phrases, *best_first]:
            text, bonus = option.text, prior * option.score
            token_ids = self._token_ids(text)
            if not 1 < len(token_ids) < max_length:  # `max_length` counts the start token, too; an empty text is none
                continue
            if token_ids not in bonuses:
                if len(bonuses) == MAX_CANDIDATES or len(token_ids) > room:
                    continue
                room -= len(token_ids)
            if bonus >= bonuses.get(token_ids, bonus):
                bonuses[token_ids], texts[token_ids[:-1]] = bonus, offers.get(text, text)
        return Quotes(tuple(Candidate(token_ids, bonus) for token_ids, bonus in bonuses.items()), texts)

    def _token_ids(self, text: str) -> TokenIds:
        """As they stand in a prompt; with the closing </s>."""
        return self._remembered(text) if len(text) <= _LONGEST_REMEMBERED else self._tokenize(text)

    def _tokenize(self, text: str) -> TokenIds:
        return tuple(self._tokenizer.encode(plain(text), add_special_tokens=True))
