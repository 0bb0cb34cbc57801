"""MiniLM's meanings for the rewritten encoder: what its norms lost, it learns back from MiniLM itself, layer by layer.

For each word that both cut at the same places, the student's stream is to point where MiniLM's does (cosine), at every
layer, and the mean over a sentence where MiniLM's mean does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import BertModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers import T5ForConditionalGeneration as T5

from training.pieces import CONTEXT, PAD
from training.reader import CONTENT


@dataclass(frozen=True)
class Aligned:
    """A batch of texts for both, and where the same words stand in each."""

    student: Tensor  # [texts, tokens]
    teacher: dict[str, Tensor]
    rows: Tensor  # [words], of both
    student_places: Tensor  # [words]
    teacher_places: Tensor


def align(texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, bert_tokenizer: PreTrainedTokenizerBase) -> Aligned:
    ours = tokenizer(list(texts), return_offsets_mapping=True)
    theirs = bert_tokenizer(list(texts), return_offsets_mapping=True, padding=True, return_tensors="pt")
    context = tokenizer.convert_tokens_to_ids(CONTEXT)
    longest = max(map(len, ours["input_ids"])) + 1
    student = torch.full((len(texts), longest), PAD)
    rows, own, other = [], [], []
    for row, (ids, offsets) in enumerate(zip(ours["input_ids"], ours["offset_mapping"], strict=True)):
        student[row, : len(ids) + 1] = torch.tensor([context, *ids])
        places = {
            (start, end): place
            for place, (start, end) in enumerate(theirs["offset_mapping"][row].tolist())
            if end > start
        }
        for place, (start, end) in enumerate(offsets, start=1):
            start += end > start and texts[row][start : start + 1] == " "
            if (start, end) in places and end > start:
                rows.append(row)
                own.append(place)
                other.append(places[start, end])
    teacher = {name: theirs[name] for name in ("input_ids", "attention_mask")}
    return Aligned(student, teacher, torch.tensor(rows), torch.tensor(own), torch.tensor(other))


def _norms(bert: Any) -> list[torch.nn.LayerNorm]:
    """MiniLM's norm after each of its layers."""
    return [layer.output.LayerNorm for layer in bert.encoder.layer]


def distil_loss(model: T5, bert: BertModel, divisors: Sequence[Tensor], batch: Aligned) -> Tensor:
    """divisors: D_l of the stream after each layer but the last, by which reader.py divides what MiniLM has there."""
    with torch.no_grad():
        theirs = bert(**batch.teacher, output_hidden_states=True).hidden_states[1:]
    mask = batch.student != PAD
    encoded = model.encoder(batch.student, attention_mask=mask, output_hidden_states=True)
    norms = _norms(bert)
    losses = []
    for index, (norm, wanted) in enumerate(zip(norms, theirs, strict=True)):
        u = (wanted - norm.bias) / norm.weight.abs().clamp(min=0.05).copysign(norm.weight)
        want = u[batch.rows, batch.teacher_places]
        if index == len(norms) - 1:
            stream = encoded.last_hidden_state
            got = stream[batch.rows, batch.student_places, :CONTENT]
            want = (wanted - norm.bias)[batch.rows, batch.teacher_places]
        else:
            got = encoded.hidden_states[index + 1][batch.rows, batch.student_places, :CONTENT] * divisors[index]
        losses.append(1 - F.cosine_similarity(got.float(), want, dim=1).mean())
    ours = _means(encoded.last_hidden_state[..., :CONTENT].float() + norms[-1].bias, mask)
    whole = _means(theirs[-1], batch.teacher["attention_mask"].bool())
    return torch.stack(losses).mean() + 2 * (1 - F.cosine_similarity(ours, whole, dim=1).mean())


def _means(hidden: Tensor, mask: Tensor) -> Tensor:
    weights = mask[..., None].float()
    return (hidden * weights).sum(1) / weights.sum(1)
