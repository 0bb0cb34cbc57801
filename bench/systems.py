"""The systems that are measured, each on the same random T5 of GODEL-base's shape, the peers as they document it.

Every system runs in a process of its own (`serve`), so that its peak memory is its own and its libraries' threads
disturb none while another one is measured.
"""

import asyncio
import gc
import resource
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from serve_app.checkpoint import Checkpoint
from serve_app.engine.backends.select import Dtype, select_backend
from serve_app.engine.engine import Engine
from serve_app.messages import Sampling
from serve_app.model_weights import load_weights

VOCABULARY = 32_128
MAX_BATCH = 32
MAX_PROMPT = 512

# prompts of equal length, number of new tokens -> the new tokens of each
Generate = Callable[[Sequence[list[int]], int], list[list[int]]]


GODEL_BASE = {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 12}


def make_checkpoint(folder: Path, shape: Mapping[str, Any] = GODEL_BASE) -> None:
    """Random weights, by default of GODEL-base's shape (222.9 M parameters), and a tokenizer whose pieces are words."""
    torch.manual_seed(0)
    config = T5Config(vocab_size=VOCABULARY, **shape)
    config.decoder_start_token_id = 0
    T5ForConditionalGeneration(config).save_pretrained(folder)
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((f"w{i}", -float(i)) for i in range(3, VOCABULARY))]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers leaves it so
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)


def _load(folder: Path, dtype: torch.dtype = torch.float32) -> T5ForConditionalGeneration:
    model: T5ForConditionalGeneration = T5ForConditionalGeneration.from_pretrained(folder, dtype=dtype)
    model.train(False)
    return model


def ours(dtype: Dtype) -> Callable[[Path], Generate]:
    """This project's engine: all prompts are submitted at once, as the ingress would."""

    def load(folder: Path) -> Generate:
        checkpoint = Checkpoint(name=folder.name, requested=folder.name, folder=folder)
        weights = load_weights(checkpoint, select_backend(dtype, "cpu"), cache_mb=0)  # a replica that shares none
        engine = Engine(weights, slots=MAX_BATCH, max_prompt=MAX_PROMPT, max_reply=64)

        async def answer(prompt: list[int], length: int) -> list[int]:
            sampling = Sampling(max_length=length + 1, min_length=length + 1)
            return [t async for new in engine.submit(prompt, sampling, budget_s=600) for t in new]

        async def answer_all(prompts: Sequence[list[int]], length: int) -> list[list[int]]:
            return list(await asyncio.gather(*(answer(prompt, length) for prompt in prompts)))

        return lambda prompts, length: asyncio.run(answer_all(prompts, length))

    return load


def transformers_(dtype: torch.dtype, *, compiled: bool = False) -> Callable[[Path], Generate]:
    """`model.generate` on the whole batch, greedy; compiled: by torch.compile, with a static cache."""

    def load(folder: Path) -> Generate:
        model: Any = _load(folder, dtype)  # transformers' types do not let T5 generate
        how = {"cache_implementation": "static"} if compiled else {}
        if compiled:
            model.forward = torch.compile(model.forward, dynamic=False)

        def generate(prompts: Sequence[list[int]], length: int) -> list[list[int]]:
            with torch.inference_mode():
                ids = torch.tensor(prompts)
                out = model.generate(
                    ids,
                    attention_mask=torch.ones_like(ids),
                    do_sample=False,
                    min_new_tokens=length,
                    max_new_tokens=length,
                    **how,
                )
            rows: list[list[int]] = out[:, 1:].tolist()
            return rows

        return generate

    return load


def ctranslate2_(compute_type: str) -> Callable[[Path], Generate]:
    """CTranslate2's Translator, greedy, one replica with all cores, its batch never split."""

    def load(folder: Path) -> Generate:
        import ctranslate2  # of the bench group only

        converted = folder.with_name(f"{folder.name}-ct2-{compute_type}")
        if not converted.exists():
            ctranslate2.converters.TransformersConverter(str(folder)).convert(str(converted), quantization=compute_type)
        translator = ctranslate2.Translator(
            str(converted), device="cpu", compute_type=compute_type, intra_threads=torch.get_num_threads()
        )
        names = ["<pad>", "</s>", "<unk>", *(f"w{i}" for i in range(3, VOCABULARY))]
        ids = {name: i for i, name in enumerate(names)}

        def generate(prompts: Sequence[list[int]], length: int) -> list[list[int]]:
            results = translator.translate_batch(
                [[names[token] for token in prompt] for prompt in prompts],
                beam_size=1,
                min_decoding_length=length,
                max_decoding_length=length,
                max_batch_size=0,
            )
            return [[ids[piece] for piece in result.hypotheses[0]] for result in results]

        return generate

    return load


SYSTEMS: dict[str, tuple[str, Callable[[Path], Generate]]] = {
    "this engine, int8": ("int8", ours("int8")),
    "this engine, float32": ("float32", ours("float32")),
    "transformers generate": ("float32", transformers_(torch.float32)),
    "transformers generate, bfloat16": ("bfloat16", transformers_(torch.bfloat16)),
    "transformers generate, bfloat16, compiled": ("bfloat16", transformers_(torch.bfloat16, compiled=True)),
    "CTranslate2, int8": ("int8", ctranslate2_("int8")),
    "CTranslate2, float32": ("float32", ctranslate2_("float32")),
}


def serve(name: str, folder: Path, connection: Connection) -> None:
    """A system's process: says the MB that it has resident when loaded, then answers (prompts, length) with their new
    tokens; None with its peak memory in MB, and ends."""
    generate = SYSTEMS[name][1](folder)
    gc.collect()
    connection.send(psutil.Process().memory_info().rss // 1024**2)
    while (asked := connection.recv()) is not None:
        connection.send(generate(*asked))
    connection.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
