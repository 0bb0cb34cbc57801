"""Trains models/mini from scratch: the embedded T5 that answers from the passages of its prompt.

    torchrun --nproc-per-node 2 -m tools.train_mini      # one process a core; without torchrun it runs as one process
    python -m tools.train_mini --evaluate                # measures the model that is there

A small model learns to copy slowly unless it is helped. What helps here: the first lessons are one or two short
sentences and grow from there; words are one piece where possible, and pieces that differ only in case begin with nearly
the same embedding; the first weights already hold an induction circuit (Olsson et al. 2022, "In-context Learning and
Induction Heads"; setting weights to what training tends to find is Trockman and Kolter 2023, "Mimetic Initialization");
and Muon (Jordan et al. 2024) updates the matrices.
"""

import argparse
import json
import logging
import math
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import cast

import torch
import torch.distributed as distributed
import yaml
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from serve_app.prompt import render
from tools.mini_dialogues import (
    CHAT,
    EXTRA_QUESTIONS,
    INSTRUCTION,
    NOUNS,
    OFF_TOPIC,
    OTHER_INSTRUCTIONS,
    QUESTIONS,
    UNKNOWN,
    Example,
    Knowledge,
    Lessons,
    made_up_example,
)

log = logging.getLogger("train_mini")

PAD, EOS, UNKNOWN_PIECE = 0, 1, 2
PROMPT_PIECES = ("▁[CONTEXT]", "▁[KNOWLEDGE]", "▁EOS")
REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Plan:
    """The training's knobs; the defaults made the shipped model."""

    steps: int = 4050
    seed: int = 7
    pieces: int = 700  # lower-case parts of words; whole words, capitalised forms and 256 byte pieces are added
    width: int = 256
    heads: int = 8
    hidden: int = 512
    encoder_layers: int = 4
    decoder_layers: int = 2
    batch_tokens: int = 2000  # prompt tokens of a batch, padding included
    matrix_rate: float = 0.015  # Muon's step: the spectral norm of an update
    other_rate: float = 3e-3  # AdamW's step, for embeddings, norms and relative positions
    warmup: float = 0.015  # shares of all steps
    decay: float = 0.9
    threads: int = 1


# ---- Tokenizer


def learned_pieces(texts: Iterable[str], size: int) -> list[tuple[str, float]]:
    """Unigram pieces (Kudo 2018) of lower-cased text, with their log probabilities."""
    draft = Tokenizer(models.Unigram())
    draft.normalizer = normalizers.Sequence([_normalizer(), normalizers.Lowercase()])
    draft.pre_tokenizer = _pre_tokenizer()
    trainer = trainers.UnigramTrainer(
        vocab_size=size,
        special_tokens=["<unk>"],
        unk_token="<unk>",
        show_progress=False,
        max_piece_length=16,
        initial_alphabet=[chr(code) for code in range(33, 127) if not chr(code).isupper()],
    )
    draft.train_from_iterator(texts, trainer)
    model = json.loads(draft.to_str())["model"]
    return [(piece, score) for piece, score in model["vocab"] if piece != "<unk>"]


def whole_words(texts: Iterable[str], least: int) -> list[tuple[str, float]]:
    """The words that stand `least` times in the texts, as pieces: fewer pieces are fewer places to lose the thread."""
    counts = Counter(word for text in texts for word in re.findall(r"[a-z]+", text.lower()))
    total = sum(counts.values())
    return [("▁" + word, math.log(count / total)) for word, count in counts.items() if count >= least]


def cased_pieces(lower: Sequence[tuple[str, float]], words: Iterable[str]) -> list[tuple[str, float]]:
    """`lower` and its written forms, each as likely as its lower-case form, so that both are cut at the same places.

    What is written in capitals can then be found by a question typed without them.
    """
    pieces = dict(lower)
    for piece, score in lower:
        body = piece.removeprefix("▁")
        if body:
            pieces.setdefault(piece[: len(piece) - len(body)] + body[0].upper() + body[1:], score)
    for word in words:  # written forms such as GODEL, KubeRay, ConfigMap
        if "▁" + word.lower() in pieces:
            pieces.setdefault("▁" + word, pieces["▁" + word.lower()])
    pieces.update(dict.fromkeys(PROMPT_PIECES, 0.0))
    return list(pieces.items())


def _normalizer() -> normalizers.Normalizer:
    return normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()])


def _pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="always"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Split(Regex(r"""[.,?!:;()"'/-]"""), "isolated"),
        ]
    )


def build_tokenizer(texts: Sequence[str], words: Iterable[str], size: int) -> PreTrainedTokenizerFast:
    """T5's layout (pad 0, </s> 1, unk 2), single digits, and bytes for what no piece spells."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -100.0)]
    spelled = [(f"<0x{byte:02X}>", -100.0) for byte in range(256)]
    lower = dict(learned_pieces(texts, size)) | dict(whole_words(texts, 20))
    pieces = cased_pieces(list(lower.items()), words)
    tokenizer = Tokenizer(models.Unigram(special + spelled + pieces, UNKNOWN_PIECE, byte_fallback=True))
    tokenizer.normalizer = _normalizer()
    tokenizer.pre_tokenizer = _pre_tokenizer()
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", EOS)])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers leaves it unannotated
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )


# ---- Model


def build_model(plan: Plan, tokenizer: PreTrainedTokenizerBase) -> T5ForConditionalGeneration:
    """A T5 whose first weights already look at neighbours and at equal words."""
    config = T5Config(  # type: ignore[call-arg]  # extra settings are kept as attributes
        vocab_size=len(tokenizer),
        d_model=plan.width,
        d_kv=plan.width // plan.heads,
        d_ff=plan.hidden,
        num_layers=plan.encoder_layers,
        num_decoder_layers=plan.decoder_layers,
        num_heads=plan.heads,
        dropout_rate=0.0,  # no example is seen twice
        n_positions=512,
        feed_forward_proj="relu",
        pad_token_id=PAD,
        eos_token_id=EOS,
        decoder_start_token_id=PAD,
    )
    model = T5ForConditionalGeneration(config)
    with torch.no_grad():
        _alike_in_any_case(model, tokenizer)
        _look_at_neighbours(model)
        _follow_what_came_before(model)
        _match_equal_words(model)
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]  # transformers leaves it unannotated
        decoder_start_token_id=PAD, eos_token_id=EOS, pad_token_id=PAD, max_length=128, quote=True
    )
    return model


def _alike_in_any_case(model: T5ForConditionalGeneration, tokenizer: PreTrainedTokenizerBase) -> None:
    table = model.shared.weight
    vocabulary = tokenizer.get_vocab()
    for piece, row in vocabulary.items():
        lower = vocabulary.get(piece.lower())
        if lower is not None and lower != row:
            table[row] = 0.8 * table[lower] + 0.6 * table[row]


def _look_at_neighbours(model: T5ForConditionalGeneration) -> None:
    """Heads 0, 1, 2 of the encoder begin at the tokens 1, 2, 3 back, head 3 at the token ahead; the decoder's heads 1
    and 2 begin at the tokens 1 and 2 back."""
    ahead = model.config.relative_attention_num_buckets // 2 + 1  # T5's bucket of the offset +1; n back is bucket n
    encoder = model.get_parameter("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight")
    decoder = model.get_parameter("decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight")
    encoder[1, 0] = encoder[2, 1] = encoder[3, 2] = encoder[ahead, 3] = decoder[1, 1] = decoder[2, 2] = 7.0


def _follow_what_came_before(model: T5ForConditionalGeneration) -> None:
    """Wires induction: "after the words that I just wrote, the passage goes on with ...".

    The first encoder layer leaves each token traces of the tokens 1, 2 and 3 back (one head each). The decoder knows
    the last token that it wrote, and its first layer leaves it traces of the two before. Cross-attention heads compare
    the two sides, over the last 1, 2 or 3 tokens, and pass on the token that they find.
    """
    size = model.config.d_kv
    read = model.get_parameter("encoder.block.0.layer.0.SelfAttention.v.weight")
    trace = model.get_parameter("encoder.block.0.layer.0.SelfAttention.o.weight").T
    model.get_parameter("decoder.block.0.layer.0.SelfAttention.v.weight")[size : 3 * size] = read[size : 3 * size]
    model.get_parameter("decoder.block.0.layer.0.SelfAttention.o.weight").T[size : 3 * size] = trace[size : 3 * size]
    for layer in range(len(model.decoder.block)):
        lengths = (1, 2, 2, 3, 3, 3) if layer else (1, 2, 2, 3)  # the first layer leaves more heads free
        query, key, value, out = (
            model.get_parameter(f"decoder.block.{layer}.layer.1.EncDecAttention.{name}.weight") for name in "qkvo"
        )
        for head, length in enumerate(lengths):
            share = size // length
            for offset in range(length):
                rows = slice(head * size + offset * share, head * size + (offset + 1) * share)
                kept = slice(offset * size, offset * size + share)
                query[rows] = 0.45 * (read[kept] if offset == 0 else trace[kept])
                key[rows] = trace[kept]
        torch.nn.init.orthogonal_(value)
        out.copy_(2.0 * value.T)


def _match_equal_words(model: T5ForConditionalGeneration) -> None:
    """Two heads of the second encoder layer begin at places with the same word, as in a question and a passage."""
    rows = slice(4 * model.config.d_kv, 6 * model.config.d_kv)
    query, key = (model.get_parameter(f"encoder.block.1.layer.0.SelfAttention.{name}.weight") for name in "qk")
    query[rows] = 0.25 * key[rows]


# ---- Batches


@dataclass(frozen=True)
class Batch:
    """Token ids, prompts [rows, prompt tokens], replies [rows, reply tokens]; -100 in `labels` counts for no loss."""

    prompts: Tensor
    mask: Tensor
    labels: Tensor


def collate(prompts: Sequence[Sequence[int]], replies: Sequence[Sequence[int]]) -> Batch:
    """Pads to the longest of each."""
    prompt_ids, labels = _padded(prompts, PAD), _padded(replies, -100)
    return Batch(prompt_ids, (prompt_ids != PAD).long(), labels)


def _padded(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])


def batches(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, tokens: int) -> Iterator[Batch]:
    """Batches of prompts of like length, about `tokens` prompt tokens each."""
    prompts = tokenizer([example.prompt for example in examples])["input_ids"]
    replies = tokenizer([example.reply for example in examples])["input_ids"]
    pairs = sorted(
        ((prompt, reply) for prompt, reply in zip(prompts, replies, strict=True) if len(prompt) <= 512),
        key=lambda pair: len(pair[0]),
    )
    rows: list[tuple[list[int], list[int]]] = []
    for pair in pairs:
        if rows and (len(rows) + 1) * len(pair[0]) > tokens:
            yield collate(*zip(*rows, strict=True))
            rows = []
        rows.append(pair)
    if rows:
        yield collate(*zip(*rows, strict=True))


# ---- Training


def learning_rate(plan: Plan, done: float) -> float:
    """The share of the full rate after a share `done` of the steps: warm-up, plateau, linear decay."""
    return max(min(1.0, done / plan.warmup, (1.0 - done) / plan.decay), 0.002)


def reply_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy, the first tokens of a reply counting more: they choose the sentence, the others copy it."""
    losses = torch.nn.functional.cross_entropy(logits.float().transpose(1, 2), labels, reduction="none")
    weights = (labels != -100).float()
    weights[:, :4] *= 4.0
    return (losses * weights).sum() / weights.sum()


class Trainer:
    """One training run: its weights, its optimisers, and the steps that it has made."""

    def __init__(self, plan: Plan, model: T5ForConditionalGeneration, tokenizer: PreTrainedTokenizerBase) -> None:
        self.plan, self.model, self.tokenizer = plan, model, tokenizer
        self.seconds, self.steps = 0.0, 0
        matrices = [weight for name, weight in model.named_parameters() if _is_matrix(name, weight)]
        others = [weight for name, weight in model.named_parameters() if not _is_matrix(name, weight)]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=plan.matrix_rate, momentum=0.95, weight_decay=0.0),
            torch.optim.AdamW(others, lr=plan.other_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
        ]
        self.rates = (plan.matrix_rate, plan.other_rate)

    @property
    def done(self) -> float:
        """The share of the steps that is made."""
        return self.steps / self.plan.steps

    def step(self, batch: Batch) -> float:
        """Forward, backward, update; the batch's mean loss per reply token."""
        began = time.monotonic()
        scale = learning_rate(self.plan, self.done)
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.model(input_ids=batch.prompts, attention_mask=batch.mask, labels=batch.labels).logits
        loss = reply_loss(logits, batch.labels)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        self._average_gradients()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer, rate in zip(self.optimizers, self.rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * scale
            optimizer.step()
            optimizer.zero_grad()
        self.steps += 1
        self.seconds += time.monotonic() - began
        return float(loss.detach())

    def _average_gradients(self) -> None:
        """One process a core, each with its own batches, waits once a step; two threads wait at every operation."""
        if not distributed.is_initialized():
            return
        gradients = [weight.grad for weight in self.model.parameters() if weight.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= distributed.get_world_size()
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()

    def save(self, path: Path) -> None:
        """Writes what `load` needs to go on."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "seconds": self.seconds,
            "steps": self.steps,
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def load(self, path: Path) -> None:
        """Goes on where `save` was called."""
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.seconds, self.steps = state["seconds"], state["steps"]


def lessons_for(settings: Path, seed: int) -> Lessons:
    """Lessons about the knowledge of a chatbot.yaml."""
    return Lessons(Knowledge(yaml.safe_load(settings.read_text())["knowledge"]), seed)


def tokenizer_for(lessons: Lessons, size: int) -> PreTrainedTokenizerFast:
    """A tokenizer that knows the knowledge's words, the questions' words, and parts for all others."""
    own = [*lessons.knowledge.base.passages, *OFF_TOPIC, *OTHER_INSTRUCTIONS, INSTRUCTION]
    own += [text for asked, reply in CHAT for text in (*asked, reply)]
    own += [text for asked in (*EXTRA_QUESTIONS.values(), *QUESTIONS.values()) for text in asked]
    drawn = [lessons.draw(0.5) for _ in range(1000)]
    texts = own * 20 + [text for example in drawn for text in (*example.dialog, *example.passages)]
    return build_tokenizer(texts, {*lessons.knowledge.words, *(noun.capitalize() for noun in NOUNS)}, size)


def main_process() -> bool:
    """Whether this process writes files: the only one, or the first of those that torchrun started."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def train(trainer: Trainer, lessons: Lessons, work: Path, publish: Callable[[], None]) -> None:
    """Makes all steps; saves and publishes every few hundred."""
    shuffle, losses, saved = Random(trainer.steps), [], trainer.steps
    while trainer.done < 1.0:
        pool = [lessons.draw(trainer.done) for _ in range(300)]
        lesson = list(batches(pool, trainer.tokenizer, trainer.plan.batch_tokens))
        shuffle.shuffle(lesson)
        for batch in lesson[: trainer.plan.steps - trainer.steps]:
            losses.append(trainer.step(batch))
            if main_process() and trainer.steps % 50 == 0:
                log.info("step %d, %.0f s, loss %.3f", trainer.steps, trainer.seconds, sum(losses) / len(losses))
                losses = []
        if main_process() and (trainer.steps - saved > 150 or trainer.done >= 1.0):
            saved = trainer.steps
            trainer.save(work / "checkpoint.pt")
            publish()


def _is_matrix(name: str, weight: Tensor) -> bool:
    return weight.ndim == 2 and "shared" not in name and "relative" not in name


# ---- Evaluation


def reply_to(
    model: T5ForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]
) -> list[str]:
    """Greedy replies."""
    replies: list[str] = []
    for start in range(0, len(prompts), 32):
        batch = tokenizer(list(prompts[start : start + 32]), return_tensors="pt", padding=True)
        ids = model.generate(  # type: ignore[misc]  # a mixin that mypy cannot match with the class
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], max_length=64, do_sample=False
        )
        replies += tokenizer.batch_decode(cast(Tensor, ids), skip_special_tokens=True)
    return replies


@dataclass(frozen=True)
class Question:
    """One line of evaluation.jsonl: a prompt's parts, and words that a right reply holds (any case)."""

    kind: str
    dialog: tuple[str, ...]
    passages: tuple[str, ...]
    keywords: tuple[str, ...]

    def is_answered_by(self, reply: str) -> bool:
        """Whether every keyword is in the reply."""
        return all(word.lower() in reply.lower() for word in self.keywords)


def read_questions(path: Path) -> list[Question]:
    """The questions of a jsonl file."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [Question(row["kind"], tuple(row["dialog"]), tuple(row["passages"]), tuple(row["keywords"])) for row in rows]


def evaluate(
    model: T5ForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question], made_up: int
) -> dict[str, float]:
    """The share of right replies by kind: keywords for the written questions, the whole sentence for made-up ones."""
    right: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    prompts = [render(INSTRUCTION, question.dialog, question.passages) for question in questions]
    for question, reply in zip(questions, reply_to(model, tokenizer, prompts), strict=True):
        asked[question.kind] += 1
        right[question.kind] += question.is_answered_by(reply)
        if not question.is_answered_by(reply):
            log.info("wrong (%s): %s -> %s", question.kind, question.dialog[-1], reply)
    examples = [made_up_example(Random(f"held out {i}"), 1.0, held_out=True) for i in range(made_up)]
    for example, reply in zip(examples, reply_to(model, tokenizer, [e.prompt for e in examples]), strict=True):
        kind = f"made-up, {example.kind if example.reply != UNKNOWN else 'silent'}"
        asked[kind] += 1
        right[kind] += reply == example.reply
    return {f"{kind} (of {asked[kind]})": round(right[kind] / asked[kind], 3) for kind in sorted(asked)}


# ---- Command


def publish(model: T5ForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Writes the model's files beside the folder's others; each file appears whole or not at all."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part, max_shard_size="1GB")
    tokenizer.save_pretrained(part)
    folder.mkdir(parents=True, exist_ok=True)
    for file in part.iterdir():
        file.replace(folder / file.name)
    part.rmdir()


def parse_arguments() -> argparse.Namespace:
    """The command line; `--help` shows it."""
    parser = argparse.ArgumentParser(description="Trains the embedded model from scratch, or measures it.")
    parser.add_argument("--steps", type=int, default=Plan.steps, help="a third to half a second each on two idle cores")
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--threads", type=int, default=Plan.threads)
    parser.add_argument("--settings", type=Path, default=REPOSITORY / "configs" / "chatbot.yaml")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "models" / "mini")
    parser.add_argument(
        "--work", type=Path, default=REPOSITORY / ".run" / "train_mini", help="keeps what a stopped run goes on from"
    )
    parser.add_argument("--evaluate", action="store_true", help="only measure the model in --out")
    parser.add_argument("--made-up", type=int, default=200, help="made-up questions to measure with")
    return parser.parse_args()


def main() -> None:
    """Trains, measures, writes."""
    arguments = parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("bm25s").setLevel(logging.WARNING)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    if not arguments.evaluate:
        if distributed.is_torchelastic_launched():
            distributed.init_process_group("gloo")
        run_training(arguments)
    if not main_process():
        return
    tokenizer = AutoTokenizer.from_pretrained(arguments.out)
    model = AutoModelForSeq2SeqLM.from_pretrained(arguments.out)
    questions = read_questions(REPOSITORY / "models" / "mini" / "evaluation.jsonl")
    scores = evaluate(model, tokenizer, questions, arguments.made_up)
    for kind, share in scores.items():
        log.info("%5.1f %% %s", 100 * share, kind)


def run_training(arguments: argparse.Namespace) -> None:
    """One run from its tokenizer to its last checkpoint, or the rest of a run that was stopped."""
    plan = Plan(steps=arguments.steps, seed=arguments.seed, threads=arguments.threads)
    work: Path = arguments.work
    if (work / "tokenizer").exists():
        tokenizer = AutoTokenizer.from_pretrained(work / "tokenizer")
    else:
        tokenizer = tokenizer_for(lessons_for(arguments.settings, plan.seed), plan.pieces)
        tokenizer.save_pretrained(work / "tokenizer")
    model = build_model(plan, tokenizer)
    log.info("%d pieces, %.2f million parameters", len(tokenizer), sum(w.numel() for w in model.parameters()) / 1e6)
    trainer = Trainer(plan, model, tokenizer)
    if (work / "checkpoint.pt").exists():
        trainer.load(work / "checkpoint.pt")
    rank = distributed.get_rank() if distributed.is_initialized() else 0
    lessons = lessons_for(arguments.settings, plan.seed + trainer.steps + 1_000_003 * rank)
    train(trainer, lessons, work, lambda: publish(model, tokenizer, arguments.out))


if __name__ == "__main__":
    main()
