"""`make bench-gpu`: this engine beside transformers on the GPU that is here, on a T5 of Flan-T5-XL's shape.

The case is TensorRT-LLM's (its docs/source/models/encoder-decoder.md, which gives Flan-T5-XL's seconds on one H100 in
bfloat16): prompts of 260 to 440 tokens, replies of 74, in batches of 32, 64 and 128. Weights are random and made on the
spot, so nothing is fetched; replies' lengths are forced, so that the work is the same. Each system has the GPU
to itself, and answers a batch once before it is timed. Results: bench/results/gpu.json.
"""

import asyncio
import gc
import json
import logging
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import T5Config, T5ForConditionalGeneration

from bench.engine import RESULTS, environment
from bench.systems import VOCABULARY
from serve_app.engine.backends.select import Dtype, select_backend
from serve_app.engine.engine import Engine
from serve_app.engine.errors import EngineFailed, ReplyFailed
from serve_app.engine.weights import from_transformers
from serve_app.messages import Sampling

ROUNDS = 5
log = logging.getLogger("bench")

Prompts = Sequence[list[int]]
Replies = list[list[int]]
Generate = Callable[[Prompts], Replies]


@dataclass(frozen=True)
class Case:
    batch: int
    published_s: float | None = None  # TensorRT-LLM's seconds for the batch
    shortest: int = 260  # prompts, in tokens
    longest: int = 440
    reply: int = 74

    def prompts(self, vocabulary: int) -> Prompts:
        chance = random.Random(self.batch)
        lengths = [chance.randint(self.shortest, self.longest) for _ in range(self.batch)]
        return [[*(chance.randrange(3, vocabulary) for _ in range(length - 1)), 1] for length in lengths]


CASES = (Case(32, 0.706), Case(64, 1.137), Case(128, 1.999))


@dataclass(frozen=True)
class Row:
    """One system on one case; seconds for the whole batch, none where `failed` says why."""

    system: str
    batch: int
    seconds_median: float | None
    seconds_min: float | None
    seconds_max: float | None
    failed: str | None = None


def flan_t5_xl() -> T5Config:
    """2.85 billion parameters; its head is its own, its feed-forward layers are gated."""
    shape: dict[str, Any] = {"d_model": 2048, "d_kv": 64, "d_ff": 5120, "num_layers": 24, "num_heads": 32}
    kind: dict[str, Any] = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
    config = T5Config(vocab_size=VOCABULARY, **shape, **kind)
    config.decoder_start_token_id = 0
    return config


def make_model(config: T5Config, dtype: torch.dtype, device: str) -> T5ForConditionalGeneration:
    """Random weights, made where they are needed: on the CPU it would take minutes."""
    torch.manual_seed(0)
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = T5ForConditionalGeneration(config)
            if not config.scale_decoder_outputs:  # transformers ties the head unless a checkpoint brings its own
                model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.shared.weight))
    finally:
        torch.set_default_dtype(default)
    model.train(False)
    return model


@contextmanager
def ours(model: T5ForConditionalGeneration, dtype: Dtype, case: Case) -> Iterator[Generate]:
    """This project's engine: all prompts are submitted at once, and there is a slot for each."""
    engine = Engine(
        from_transformers(model, select_backend(dtype, "cuda" if model.device.type == "cuda" else "cpu")),
        slots=case.batch,
        max_prompt=case.longest,
        max_reply=case.reply + 1,
        prefill_tokens=case.batch * case.longest,
    )
    sampling = Sampling(max_length=case.reply + 1, min_length=case.reply + 1)

    async def answer(prompt: list[int]) -> list[int]:
        return [token async for new in engine.submit(prompt, sampling, budget_s=600) for token in new]

    async def answer_all(prompts: Prompts) -> Replies:
        return list(await asyncio.gather(*map(answer, prompts)))

    try:
        yield lambda prompts: asyncio.run(answer_all(prompts))
    finally:
        engine.close()


@contextmanager
def transformers_(model: T5ForConditionalGeneration, dtype: Dtype, case: Case) -> Iterator[Generate]:
    """`generate` on the whole batch, padded, greedy."""
    generating: Any = model  # transformers' types do not let T5 generate

    def generate(prompts: Prompts) -> Replies:
        longest = max(map(len, prompts))
        ids = torch.tensor([[*prompt, *[0] * (longest - len(prompt))] for prompt in prompts], device=model.device)
        mask = torch.tensor([[1] * len(prompt) + [0] * (longest - len(prompt)) for prompt in prompts])
        with torch.inference_mode():
            out = generating.generate(
                ids,
                attention_mask=mask.to(model.device),
                do_sample=False,
                min_new_tokens=case.reply,
                max_new_tokens=case.reply,
            )
        rows: Replies = out[:, 1:].tolist()  # waits for the GPU
        return rows

    yield generate


SYSTEMS = {"this engine": ours, "transformers generate": transformers_}


def measure(model: T5ForConditionalGeneration, dtype: Dtype, cases: Sequence[Case], rounds: int) -> Iterator[Row]:
    """Row after row. A GPU's memory may run out in one; the others go on."""
    for case in cases:
        prompts = case.prompts(model.config.vocab_size)
        for name, system in SYSTEMS.items():
            try:
                with system(model, dtype, case) as generate:
                    seconds = [_timed(generate, prompts, case) for _ in range(1 + rounds)][1:]  # the first warms up
                median, least, most = statistics.median(seconds), min(seconds), max(seconds)
                yield Row(name, case.batch, round(median, 4), round(least, 4), round(most, 4))
            except (torch.OutOfMemoryError, ReplyFailed, EngineFailed) as error:
                yield Row(name, case.batch, None, None, None, str(error).splitlines()[0][:200])
            gc.collect()
            torch.cuda.empty_cache()


def _timed(generate: Generate, prompts: Prompts, case: Case) -> float:
    started = time.perf_counter()
    replies = generate(prompts)
    seconds = time.perf_counter() - started
    if (lengths := {len(reply) for reply in replies}) != {case.reply}:
        raise RuntimeError(f"asked for {case.reply} tokens, got {sorted(lengths)}")
    return seconds


def table(rows: Sequence[Row], cases: Sequence[Case]) -> str:
    """Markdown: a line a batch, a column a system; milliseconds for the whole batch."""
    found = {(row.system, row.batch): row for row in rows}
    lines = [f"| batch | {' | '.join(SYSTEMS)} | TensorRT-LLM on one H100, as published |", "|---|---|---|---|"]
    for case in cases:
        cells = [_milliseconds(row) for name in SYSTEMS if (row := found.get((name, case.batch)))]
        published = f"{case.published_s * 1000:.0f}" if case.published_s else "-"
        lines.append(f"| {case.batch} | {' | '.join(cells)} | {published} |")
    return "\n".join(lines)


def _milliseconds(row: Row) -> str:
    return row.failed or f"{1000 * (row.seconds_median or 0):.0f}"


def missing() -> str | None:
    """What there is not here, but must be."""
    if torch.cuda.is_available():
        return None
    if torch.version.cuda is None and torch.version.hip is None:
        return f"PyTorch {torch.__version__} is built for CPUs alone: install one for this machine's GPU, if it has one"
    return "PyTorch finds no GPU: is there one, and its driver (nvidia-smi)?"


def run(
    config: T5Config, dtype: Dtype, number: torch.dtype, device: str, cases: Sequence[Case], rounds: int, file: Path
) -> list[Row]:
    """Measures, and keeps `file` up with it. number: of the weights as transformers computes with them."""
    model = make_model(config, number, device)
    result = environment()
    if device == "cuda":
        result["machine"]["gpu"] = torch.cuda.get_device_name()
    rows: list[Row] = []
    for row in measure(model, dtype, cases, rounds):
        log.info("%s", row)
        rows.append(row)
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(result | {"dtype": dtype, "rows": [asdict(each) for each in rows]}, indent=1) + "\n")
    log.info("milliseconds for the whole batch, median:\n%s", table(rows, cases))
    return rows


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if lack := missing():
        sys.exit(f"bench.gpu: {lack}.")
    bfloat16 = torch.cuda.is_bf16_supported()
    dtype: Dtype = "bfloat16" if bfloat16 else "float16"
    number = torch.bfloat16 if bfloat16 else torch.float16
    run(flan_t5_xl(), dtype, number, "cuda", CASES, ROUNDS, RESULTS / "gpu.json")


if __name__ == "__main__":
    main()
