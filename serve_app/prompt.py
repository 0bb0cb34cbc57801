"""Pure: instruction, dialogue, passages, token budget -> what the model reads, and what was left out of it."""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from transformers import PreTrainedTokenizerBase

from serve_app.messages import Passage, Prompt

# GODEL marks the parts of a prompt with plain words, and T5's tokenizers read their special tokens in any text, so a
# user could type both: they are taken out of what users type.
_MARKERS = re.compile(r"\[(CONTEXT|KNOWLEDGE)\]|<(/?s|pad|unk|extra_id_\d+)>|\bEOS\b")
_CONTROLS = re.compile(r"[\0-\x1f\x7f-\x9f]")

# The longest piece of a SentencePiece vocabulary, unless it was trained to have longer ones. What has more characters
# than so many for each token that there is room for cannot fit, and is not tokenized to find that out.
_PIECE_CHARS = 16
# So many characters NFKC makes one of, at most: a letter with three accents.
_MOST_FOLDED = 4


def render(instruction: str, turns: Sequence[str], passages: Sequence[str]) -> str:
    """GODEL's prompt form (Peng et al. 2022; the model card's example)."""
    knowledge = f" [KNOWLEDGE] {' '.join(passages)}" if passages else ""
    return f"{instruction} [CONTEXT] {' EOS '.join(turns)}{knowledge}"


def build_prompt(
    tokenizer: PreTrainedTokenizerBase,
    instruction: str,
    turns: Sequence[str],
    passages: Sequence[Passage],
    *,
    lead: str = "",
    window: int,
    max_turns: int,
) -> Prompt:
    """Fit a prompt into `window` tokens, the closing </s> included.

    What matters most is placed first: the instruction (at most half of the window), the last turn, the best passage,
    earlier turns from new to old (at most `max_turns` in all), then the other passages in their order. The first turn
    that does not fit ends the history, and the first passage that does not fit ends the passages. Only an instruction
    or a last turn that is too long by itself is cut: the instruction at its end, the turn at its beginning, since a
    question tends to stand at the end. Raises ValueError where `window` has no room for the form alone.

    lead: a sentence of the best passage that is read before the rest of it. Models use what stands first best (Liu et
    al. 2024, "Lost in the Middle"), and a small one hardly gets beyond it.
    """
    room = window
    instruction, last_turn = plain(instruction), plain(turns[-1])
    while True:
        fitting = _Fitting(tokenizer, room)
        fitting.place_instruction(instruction)
        fitting.place_last_turn(last_turn)
        fitting.place_passages(passages[:1], lead)
        fitting.place_history(turns[-max_turns:-1])
        if len(fitting.passages) == 1:
            fitting.place_passages(passages[1:])
        token_ids = tokenizer.encode(fitting.text, add_special_tokens=True)
        if len(token_ids) <= window:
            break
        room -= len(token_ids) - window  # a tokenizer whose counts do not quite add up
    return Prompt(
        token_ids=token_ids,
        passages=fitting.passages,
        dropped_turns=len(turns) - len(fitting.turns),
        dropped_passages=sum(not passage.filling for passage in passages[len(fitting.passages) :]),
        truncated_tokens=fitting.truncated_tokens,
    )


class _Fitting:
    """A prompt that grows part by part within its window.

    T5's tokens do not reach across a space: each part is counted once, as rendered with the space before it, and the
    counts add up. No text is tokenized that is longer than the window could hold.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, window: int) -> None:
        self._tokenizer = tokenizer
        self._window = window
        self._room = window - 1  # the closing </s>
        self._instruction = ""
        self._knowledge: list[str] = []
        self.turns: list[str] = []
        self.passages: list[Passage] = []
        self.truncated_tokens = 0

    @property
    def text(self) -> str:
        return render(self._instruction, self.turns, self._knowledge)

    def place_instruction(self, instruction: str) -> None:
        self._instruction = self._cut(instruction, self._window // 2, keep_end=False)
        self._room -= self._size(f"{self._instruction} [CONTEXT]")

    def place_last_turn(self, turn: str) -> None:
        limit = self._room
        if limit < self._size(" "):
            raise ValueError(f"window: {self._window} tokens are too few for the instruction and the form alone")
        turn = self._cut(turn, limit, keep_end=True)
        # In its place, a text may take more tokens than by itself.
        while not self._take(f" {turn}"):
            limit -= 1
            turn = self._cut(turn, limit, keep_end=True)
        self.turns = [turn]

    def place_history(self, history: Sequence[str]) -> None:
        for turn in map(plain, reversed(history)):
            if not self._take(f" {turn} EOS"):
                return
            self.turns = [turn, *self.turns]

    def place_passages(self, passages: Sequence[Passage], lead: str = "") -> None:
        for passage in passages:
            if len(passage.text) > _MOST_FOLDED * _PIECE_CHARS * self._window:
                return
            text = plain(_led(passage.text, lead))
            mark = "" if self.passages else " [KNOWLEDGE]"
            if not self._take(f"{mark} {text}"):
                return
            self.passages.append(passage)
            self._knowledge.append(text)

    def _take(self, part: str) -> bool:
        """Whether there is room for `part`; it is taken then."""
        size = self._size(part)
        if size > self._room:
            return False
        self._room -= size
        return True

    def _cut(self, text: str, limit: int, *, keep_end: bool) -> str:
        chars, most_chars = len(text), _PIECE_CHARS * limit
        text = text[max(chars - most_chars, 0) :] if keep_end else text[:most_chars]
        size = _count(self._tokenizer, text)
        if text:  # what was cut off without being tokenized, as if it were like the rest
            self.truncated_tokens += round((chars - len(text)) * size / len(text))
        if size <= limit:
            return text
        ids = self._tokenizer.encode(text, add_special_tokens=False)
        room = size
        while size > limit:
            room = min(room - 1, limit)
            kept = ids[len(ids) - room :] if keep_end else ids[:room]
            text = str(self._tokenizer.decode(kept, skip_special_tokens=True))
            # A character cut in two is decoded to a mark that may take more tokens than were left of it.
            size = self._size(text)
        self.truncated_tokens += len(ids) - room
        return text

    def _size(self, text: str) -> int:
        """In tokens; not less than what its characters could fill."""
        fewest = -(-len(text) // _PIECE_CHARS)
        return fewest if fewest > self._room else max(fewest, _count(self._tokenizer, text))


# The instruction and the passages of the configured knowledge come again and again: to count them anew took half of the
# time before a request's first token. None is longer than _PIECE_CHARS for each token of the window.
@lru_cache(maxsize=1024)
def _count(tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    """The text's tokens."""
    return len(tokenizer.encode(text, add_special_tokens=False))


def _led(passage: str, lead: str) -> str:
    """The passage, `lead` before the rest of it."""
    if not lead:
        return passage
    before, found, after = passage.partition(lead)
    return " ".join(part for part in (found, before.strip(), after.strip()) if part)


def plain(text: str) -> str:
    """As a prompt has it: one line, without control characters and without the prompt's own marks."""
    # Both as T5's tokenizers do, which would read a wide EOS, and a </s> with an invisible character inside.
    folded = unicodedata.normalize("NFKC", _CONTROLS.sub(" ", text))
    # With a space on both sides of what is left of a mark, so that it makes no other one with what stands around it.
    unmarked = _MARKERS.sub(lambda mark: f" {(mark[1] or mark[2] or mark[0]).lower()} ", folded)
    return " ".join(unmarked.split())
