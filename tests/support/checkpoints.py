"""Small random T5 checkpoints and a small real tokenizer, made on the spot: no test needs a download."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

PAD, EOS, UNKNOWN = 0, 1, 2  # T5's; the pad token also starts every reply

_TEXTS = [
    "Instruction: given a dialog context and related knowledge, answer the question based on the knowledge.",
    "A pod is the smallest unit that Kubernetes schedules. A node is a machine that runs pods.",
    "Hello! How are you today? What is a pod, and who made it? I do not know what you mean.",
    "[CONTEXT] turn EOS turn EOS turn [KNOWLEDGE] Ray Serve is the library of Ray that serves models over HTTP.",
]


def random_t5(*, seed: int = 0, tied: bool = True, **config: Any) -> T5ForConditionalGeneration:
    """A T5 whose replies vary with the prompt and often end by themselves.

    Freshly initialised ones do neither: a tied head sees mostly the embedding of the token just read, and repeats it.
    So what the layers add is made to outweigh it, and the end-of-sequence row is made longer than the others.
    """
    model = initial_t5(seed=seed, tied=tied, **config)
    for name, weight in model.named_parameters():
        if weight.ndim == 2:
            torch.nn.init.normal_(weight, std=_spread(name))
    with torch.no_grad():
        model.shared.weight[EOS] *= 1.5
    if not tied:
        model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.shared.weight) * 0.3)
    return model


def initial_t5(*, seed: int = 0, tied: bool = True, **config: Any) -> T5ForConditionalGeneration:
    """A T5 as initialised: dull, but it does not amplify rounding, so long sampled replies can be compared."""
    torch.manual_seed(seed)
    model: T5ForConditionalGeneration = T5ForConditionalGeneration(_config(tied, config))
    model.train(False)
    return model


def save_checkpoint(model: T5ForConditionalGeneration, folder: Path) -> Path:
    """Write `model` and the tokenizer as a folder that transformers loads; an untied head as in published T5 v1.1."""
    model.save_pretrained(folder)
    small_tokenizer().save_pretrained(folder)
    if not model.config.scale_decoder_outputs:
        path = folder / "config.json"
        config = json.loads(path.read_text()) | {"tie_word_embeddings": False}
        del config["scale_decoder_outputs"]  # transformers' own name, which no published checkpoint has
        path.write_text(json.dumps(config))
    return folder


def small_tokenizer() -> PreTrainedTokenizerFast:
    """A unigram tokenizer with T5's layout, its closing </s>, and bytes for what no piece spells."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(_TEXTS, trainer)
    pieces = [(piece, score) for piece, score in json.loads(tokenizer.to_str())["model"]["vocab"]]
    marks, trained = pieces[: len(special)], pieces[len(special) :]
    # The trainer orders pieces of one score by chance, and scores differ in their last digits.
    learnt = sorted(((piece, round(score, 2)) for piece, score in trained), key=lambda pair: (-pair[1], pair[0]))
    spelled = [(f"<0x{byte:02X}>", -100.0) for byte in range(256)]
    tokenizer.model = models.Unigram([*marks, *learnt, *spelled], UNKNOWN, byte_fallback=True)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", EOS)])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers leaves it so
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )


def _config(tied: bool, changed: dict[str, Any]) -> T5Config:
    small: dict[str, Any] = {
        "vocab_size": 64,
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 48,
        "num_layers": 2,
        "num_heads": 4,
        "pad_token_id": PAD,
        "eos_token_id": EOS,
        "decoder_start_token_id": PAD,
    }
    # transformers reads "scale the decoder's output, as the first T5 did" from this name, and only from the argument.
    return T5Config(**small | changed | {"tie_word_embeddings": tied})


def _spread(name: str) -> float:
    if name.startswith("shared") or "relative_attention_bias" in name:
        return 1.0
    return 2.0 if name.endswith((".o.weight", ".wo.weight")) else 0.35
