"""What training makes small: wrong turns at the trie's branches, the reply's loss, attention to other sentences."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import T5ForConditionalGeneration as T5

from training.batches import Batch
from training.reader import RELEVANCE

_SHARPNESS = 4.0  # what the wired decoder multiplies it by


@dataclass(frozen=True)
class Losses:
    choice: Tensor  # at the branches, among the allowed tokens, summed over each reply
    reply: Tensor  # of each token among all
    relevance: Tensor  # of the channel RELEVANCE, as a choice among the sentences
    right: float  # share of the replies that win at every one of their branches

    @property
    def total(self) -> Tensor:
        return self.choice + 0.5 * self.reply + 0.5 * self.relevance


def losses(model: T5, batch: Batch) -> Losses:
    encoded = model.encoder(batch.prompts, attention_mask=batch.mask)
    out = model(encoder_outputs=encoded, attention_mask=batch.mask, labels=batch.replies)
    logits = out.logits.float()
    rows = len(batch.prompts)
    at_branches = logits[batch.branch_rows, batch.branch_places]  # [branches, vocabulary]
    scores = at_branches.gather(1, batch.allowed.clamp(min=0)).masked_fill(batch.allowed < 0, -torch.inf)
    of_branches = -scores.log_softmax(dim=1)[:, 0]
    wrong = torch.zeros(rows).index_add(0, batch.branch_rows, (scores.argmax(dim=1) != 0).float())
    return Losses(
        choice=of_branches.sum() / rows,
        reply=F.cross_entropy(logits.flatten(0, 1), batch.replies.flatten(), ignore_index=-100),
        relevance=relevance_loss(encoded.last_hidden_state, batch)[0],
        right=float((wrong == 0).float().mean()),
    )


def relevance_loss(encoded: Tensor, batch: Batch) -> tuple[Tensor, float]:
    """encoded: [n, tokens, d_model]. The channel RELEVANCE of each sentence's first token, and of the mark for "nothing
    answers", as a choice among them -> its cross-entropy, and the share of right choices."""
    scores = _SHARPNESS * encoded[..., RELEVANCE].float().gather(1, batch.places.clamp(min=0))
    scores = scores.masked_fill(batch.places < 0, -torch.inf)
    right = (scores.argmax(dim=1) == batch.right).float().mean()
    return F.cross_entropy(scores, batch.right), float(right)
