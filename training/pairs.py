"""Dialogues -> token ids, as the server would send them, and batches of like length.

A line is read as the request that it would be: its knowledge is cut into passages and ranked, and the prompt is fitted
into the window, by the server's own code and settings. So what is trained on is what will be asked.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from serve_app.knowledge import knowledge_base
from serve_app.prompt import build_prompt
from serve_app.settings import AppArgs, ChatConfig
from training.dialogues import Dialogue

_ALIKE = 16  # tokens: pairs whose lengths differ by less may share a batch, so each epoch has other batches
NO_LABEL = -100


@dataclass(frozen=True)
class Pair:
    prompt: Tensor  # [tokens], the closing </s> included
    reply: Tensor  # [tokens], likewise, unless it was cut

    @property
    def tokens(self) -> int:
        return len(self.prompt) + len(self.reply)


@dataclass
class Cuts:
    """Lines that did not fit, by what was left out of them."""

    turns: int = 0  # the oldest ones
    knowledge: int = 0  # some of it
    all_knowledge: int = 0
    prompt: int = 0  # the instruction's end, or the last turn's beginning
    reply: int = 0  # its end


@dataclass(frozen=True)
class Batch:
    prompts: Tensor  # [pairs, tokens]
    mask: Tensor  # likewise; 1 where there is a token
    replies: Tensor  # [pairs, tokens], padded with NO_LABEL


class Tokenizing:
    """Dialogue -> Pair; counts in `cuts` what did not fit."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, args: AppArgs, config: ChatConfig) -> None:
        self.cuts = Cuts()
        self._tokenizer = tokenizer
        self._args = args
        self._config = config

    def __call__(self, dialogue: Dialogue) -> Pair:
        return Pair(self._prompt(dialogue), self._reply(dialogue.response))

    def _prompt(self, dialogue: Dialogue) -> Tensor:
        base = knowledge_base(dialogue.knowledge, self._config.grounding.passage_words)
        ranking = base.rank(dialogue.turns, self._config.grounding.max_passages)
        prompt = build_prompt(
            self._tokenizer,
            dialogue.instruction or self._config.instruction,
            dialogue.turns,
            ranking.passages,
            lead=ranking.lead,
            window=self._args.max_prompt_tokens,
            max_turns=self._config.history.max_turns,
        )
        self.cuts.turns += prompt.dropped_turns > 0
        self.cuts.knowledge += 0 < len(prompt.passages) < len(base.passages)
        self.cuts.all_knowledge += not prompt.passages and bool(base.passages)
        self.cuts.prompt += prompt.truncated_tokens > 0
        return _ids(prompt.token_ids)

    def _reply(self, response: str) -> Tensor:
        ids = self._tokenizer.encode(response, add_special_tokens=True)
        longest = self._args.max_reply_tokens - 1  # the start token counts
        self.cuts.reply += len(ids) > longest
        return _ids(ids[:longest])


def batches(pairs: Sequence[Pair], tokens: int, chance: Random | None = None) -> list[list[Pair]]:
    """Pairs of like length together, at most `tokens` a batch, padding included; a longer pair goes alone.

    chance: puts pairs of like length, and the batches, in random order.
    """
    order = list(pairs)
    if chance:
        chance.shuffle(order)
    order.sort(key=lambda pair: pair.tokens // _ALIKE)
    packed = list(_packed(order, tokens))
    if chance:
        chance.shuffle(packed)
    return packed


def collate(rows: Sequence[Pair], device: torch.device) -> Batch:
    ones = [torch.ones(len(row.prompt), dtype=torch.long) for row in rows]
    return Batch(
        prompts=pad_sequence([row.prompt for row in rows], batch_first=True).long().to(device),
        mask=pad_sequence(ones, batch_first=True).to(device),
        replies=pad_sequence([row.reply for row in rows], batch_first=True, padding_value=NO_LABEL).long().to(device),
    )


def _packed(pairs: Sequence[Pair], tokens: int) -> Iterator[list[Pair]]:
    rows: list[Pair] = []
    prompt = reply = 0  # the longest of these rows
    for pair in pairs:
        prompt, reply = max(prompt, len(pair.prompt)), max(reply, len(pair.reply))
        if rows and (len(rows) + 1) * (prompt + reply) > tokens:
            yield rows
            rows, prompt, reply = [], len(pair.prompt), len(pair.reply)
        rows.append(pair)
    if rows:
        yield rows


def _ids(ids: Sequence[int]) -> Tensor:
    return torch.tensor(ids, dtype=torch.int32)  # the whole file's are kept: half the size of what a model reads
