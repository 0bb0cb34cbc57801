"""What teaching makes small: the reply's loss, and by the encoder alone that of a choice among the sentences, and of
imitating the ranking's encoder."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.batches import NO_LABEL, Batch
from training.distil import Imitation, Read
from training.t5 import T5

_FIRST = 3  # tokens of a reply, the mark of a capital one of them, which say what it will be
_NO_PLACE = -1e4


class Choice(nn.Module):
    """Reads off the encoder's states which sentence answers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.sentence = nn.Linear(width, 1)
        self.none = nn.Linear(width, 1)

    def forward(self, encoded: Tensor, batch: Batch) -> Tensor:
        """[n, places]: the mean over each sentence's tokens; at the mark of knowledge, that none answers."""
        sums = F.pad(self.sentence(encoded)[..., 0].float().cumsum(1), (1, 0))
        sizes = (batch.ends - batch.starts).clamp(min=1)
        means = (sums.gather(1, batch.ends) - sums.gather(1, batch.starts)) / sizes
        none = self.none(encoded)[..., 0].float().gather(1, batch.starts[:, :1])
        scores = torch.cat([none, means[:, 1:]], dim=1)
        return scores.masked_fill(batch.ends == 0, _NO_PLACE)


class Learning(nn.Module):
    """The model, and what is thrown away in the end: by it the encoder is told what the decoder needs."""

    def __init__(self, model: T5) -> None:
        super().__init__()
        self.model = model
        self.choice = Choice(model.config.d_model)
        self.imitation = Imitation(model.config.d_model)

    def forward(self, batch: Batch, read: Mapping[str, Read]) -> "Losses":
        """read: the vectors to imitate, by text."""
        states = self.model.encode(batch.prompts)
        logits = self.model.score(states[-1], batch.prompts, batch.replies).float()
        spoken = batch.replies >= 0
        of_tokens = F.cross_entropy(logits, batch.replies[spoken], reduction="none")
        places = torch.arange(batch.replies.shape[1]).expand_as(batch.replies)[spoken]
        scores = self.choice(states[-1], batch)
        right = (scores.argmax(1) == batch.right)[batch.right != NO_LABEL]
        return Losses(
            of_tokens.mean(),
            of_tokens[places < _FIRST].mean(),
            F.cross_entropy(scores, batch.right, ignore_index=NO_LABEL, reduction="sum") / max(len(right), 1),
            self.imitation(states, batch, read),
            float(right.float().mean()) if len(right) else 0.0,
        )


@dataclass(frozen=True)
class Losses:
    reply: Tensor  # of each token of the replies
    opening: Tensor  # of their first tokens
    choice: Tensor  # among the sentences, by the encoder's states
    imitation: Tensor
    chosen: float  # share of the right choices

    @property
    def figures(self) -> dict[str, float]:
        """What tells how far the model has come."""
        return {
            "reply": float(self.reply.detach()),
            "opening": float(self.opening.detach()),
            "cosine": 1 - float(self.imitation.detach()),
            "chosen": self.chosen,
        }

    @property
    def total(self) -> Tensor:
        return self.reply + 0.5 * self.opening + 0.3 * self.choice + self.imitation
