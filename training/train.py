"""How models/mini is made, from packages and handwritten texts to weights: `make mini`.

    sources -> tokenizer -> a new T5 -> taught to answer, and to read as models/ranker reads -> models/mini

Each stage leaves its result in the work folder and is passed over when that is there; teaching goes on where it was
stopped. Started by torchrun, each process has its share of the texts, and gradients are their mean.
"""

import argparse
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from random import Random

import torch
import torch.distributed as dist
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from serve_app import int8_weights
from serve_app.grounding import Sentence
from serve_app.words import word_vectors
from training import corpus, handwritten, vectors
from training.batches import Encoder, endless_batches
from training.distil import read_by_encoder
from training.half_precision import Optimizer, multiplies_bfloat16
from training.lessons import Asked, Lessons, ask
from training.losses import Learning
from training.phrase_study import shipped_small_talk
from training.pieces import END, PAD, build_tokenizer
from training.ranking_lessons import ranking_texts
from training.sentence_encoder import pace
from training.small_t5 import new_model, wired
from training.sources import FOLDER
from training.t5 import T5

logger = logging.getLogger(__name__)

MINI = Path("models/mini")
_FILE = "asked.json"
_SAVED_EVERY, _SAID_EVERY = 200, 25  # steps


@dataclass(frozen=True)
class Plan:
    """Steps are of all processes together; rates are AdamW's."""

    words: int = 10_500
    parts: int = 1_500
    tokens: int = 4_000  # of prompts, in one process's batch
    steps: int = 700
    rate: float = 1.5e-3
    wired_share: float = 0.15  # of the rate, at which the wires learn: they work already
    warmup: int = 100
    seed: int = 1


# The most passages of a lesson, from that share of the steps on: to copy is learnt on short ones.
_LENGTHS = ((0.0, 3), (0.06, 6), (0.15, 12))


class Work:
    """The folder of what is made on the way."""

    def __init__(self, folder: Path, sources: Path, plan: Plan) -> None:
        self.folder = folder
        self._sources = sources
        self._plan = plan

    def tokenizer(self) -> PreTrainedTokenizerFast:
        def make(target: Path) -> None:
            common = _common_words(vectors.teacher(self._sources))
            texts = [sentence for article in corpus.articles(self._sources) for sentence in article.sentences]
            for text in handwritten.load():
                texts += text.sentences * 2
                texts += [question.dialog[-1] for question in text.questions]
            made = build_tokenizer(texts, common, parts=self._plan.parts, words=self._plan.words)
            made.save_pretrained(target)

        tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(self.made("tokenizer", make))
        return tokenizer

    def asked(self, share: int, shares: int) -> list[Asked]:
        """One process's share of the questions, as the server ranks their texts."""

        def make(target: Path) -> None:
            texts = ranking_texts(handwritten.load(), shipped_small_talk())
            kept = [each for number, each in enumerate(texts) if number % shares == share]
            (target / _FILE).write_text(json.dumps([astuple(each) for each in ask(kept)]))

        made = self.made(f"asked-{share}-of-{shares}", make) / _FILE
        return [
            Asked(
                tuple(turns),
                tuple(tuple(Sentence(*sentence) for sentence in passage) for passage in passages),
                tuple(answers),
            )
            for turns, passages, answers in json.loads(made.read_text())
        ]

    def made(self, name: str, make: Callable[[Path], None]) -> Path:
        target = self.folder / name
        if not target.is_dir():
            logger.info("making %s", name)
            draft = self.folder / f"{name}.part"
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            make(draft)
            draft.rename(target)
        return target


def _common_words(teacher: Path) -> list[str]:
    """MiniLM's vocabulary, which is in the order of frequency."""
    vocabulary = Tokenizer.from_file(str(teacher / "tokenizer.json")).get_vocab()
    known = sorted(vocabulary, key=vocabulary.__getitem__)
    return [word for word in known if word.isascii() and word.isalpha() and word.islower() and len(word) > 1]


class Learner:
    """A module that learns step by step, and goes on where it was stopped."""

    def __init__(self, optimizer: Optimizer, steps: int, warmup: int, state: Path) -> None:
        """state: the file that it goes on from."""
        self.optimizer = optimizer
        self.step, self.steps = 0, steps
        self._warmup, self._state = warmup, state
        if state.is_file():
            saved = torch.load(state, weights_only=True)
            self.optimizer.load(saved["optimizer"])
            self.step = saved["step"]

    def learn(self, loss: Tensor) -> None:
        torch.autograd.backward(loss)
        self.optimizer.step(pace(self.step, self.steps, self._warmup))
        self.step += 1
        if self.step % _SAVED_EVERY == 0 or self.step == self.steps:
            self.save()

    def save(self) -> None:
        if _is_first():
            draft = self._state.with_suffix(".part")
            torch.save({"optimizer": self.optimizer.state(), "step": self.step}, draft)
            draft.replace(self._state)

    def weights(self, name: str) -> dict[str, Tensor]:
        """Those of one part of the module, in 32 bits."""
        head = f"{name}."
        return {key.removeprefix(head): w for key, w in self.optimizer.weights.items() if key.startswith(head)}


class Progress:
    def __init__(self, name: str, learner: Learner) -> None:
        self._name, self._learner = name, learner
        self._began, self._first = time.monotonic(), learner.step
        self._kept: list[dict[str, float]] = []

    def say(self, **figures: float) -> None:
        """Now and then, the means since the last time."""
        self._kept.append(figures)
        step, steps = self._learner.step, self._learner.steps
        if _is_first() and (step % _SAID_EVERY == 0 or step == steps):
            told = (f"{name} {sum(each[name] for each in self._kept) / len(self._kept):.3f}" for name in figures)
            left = (steps - step) * (time.monotonic() - self._began) / (step - self._first) / 60
            logger.info("%s: step %d of %d, %s, %.0f minutes left", self._name, step, steps, ", ".join(told), left)
            self._kept.clear()


def teach(model: T5, asked: Sequence[Asked], encode: Encoder, plan: Plan, state: Path) -> None:
    """Until the model answers."""
    learning = Learning(model)
    dtype = torch.bfloat16 if multiplies_bfloat16(torch.device("cpu")) else torch.float32
    optimizer = Optimizer(learning, lambda _: plan.rate, held=_wired(model), share=plan.wired_share, dtype=dtype)
    learner = Learner(optimizer, plan.steps, plan.warmup, state)
    if learner.step < learner.steps:
        read = read_by_encoder(_all_texts(asked), word_vectors(), encode)
        lessons = Lessons(asked, plan.seed + 1_000 * _rank() + learner.step)
        progress = Progress("teaching", learner)
        learning.train()
        batches = endless_batches(iter(lessons), encode, plan.tokens, Random(plan.seed))
        while learner.step < learner.steps:
            lessons.longest = max(longest for share, longest in _LENGTHS if share * learner.steps <= learner.step)
            losses = learning(next(batches), read)
            learner.learn(losses.total)
            progress.say(**losses.figures)
    model.float().load_state_dict(learner.weights("model"))


def _wired(model: T5) -> dict[str, Tensor]:
    return {f"model.{name}": mask for name, mask in wired(model).items()}


def _all_texts(asked: Sequence[Asked]) -> set[str]:
    turns = {turn for each in asked for turn in each.turns}
    return turns | {sentence.text for each in asked for passage in each.passages for sentence in passage}


def publish(model: T5, tokenizer: PreTrainedTokenizerFast, target: Path) -> None:
    """Weights in 8 bits, the tokenizer, and the word that quote mode suits this model."""
    target.mkdir(parents=True, exist_ok=True)
    model.config.architectures = ["T5ForConditionalGeneration"]
    model.config.save_pretrained(target)
    tokenizer.save_pretrained(target)
    recommended = {
        "decoder_start_token_id": PAD, "pad_token_id": PAD, "eos_token_id": END, "max_length": 128, "quote": True
    }  # fmt: skip
    (target / "generation_config.json").write_text(json.dumps(recommended, indent=2, sort_keys=True) + "\n")
    int8_weights.write(dict(model.state_dict()), target)


def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def _is_first() -> bool:
    return _rank() == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=Path, default=FOLDER, help="where fetched packages are")
    parser.add_argument("--work", type=Path, default=Path(".training"), help="what is made on the way; reused")
    parser.add_argument("--steps", type=int, default=Plan.steps, help="of teaching")
    parser.add_argument("--target", type=Path, default=MINI)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    if "RANK" in os.environ:
        torch.set_num_threads(1)
        dist.init_process_group("gloo")
    plan = Plan(steps=arguments.steps)
    work = Work(arguments.work, arguments.sources, plan)
    if _is_first():
        work.tokenizer()
    if dist.is_initialized():
        dist.barrier()
    tokenizer = work.tokenizer()
    asked = work.asked(_rank(), dist.get_world_size() if dist.is_initialized() else 1)
    torch.manual_seed(plan.seed)
    texts = [sentence for text in handwritten.load() for sentence in text.sentences]
    model, encode = new_model(tokenizer, word_vectors(), texts), Encoder(tokenizer)
    teach(model, asked, encode, plan, work.folder / "taught.pt")
    if _is_first():
        publish(model, tokenizer, arguments.target)


if __name__ == "__main__":
    main()
