"""The tokenizer of models/mini: a text -> pieces that most often are whole words.

A capital at the start of a word is a mark of its own before the word's lower-case piece, so "Bakery" and "bakery" have
one vector between them and half the pieces suffice. Digits stand alone, and bytes spell what no piece does: every text
survives unchanged (a sign of Unicode's private use area apart, which is the mark).
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

PAD, END, UNKNOWN = 0, 1, 2
CAPITAL = "\ue000"
# GODEL's marks, each one piece. In transformers' form they are words of the text, not special tokens.
TURN_END, CONTEXT, KNOWLEDGE = "▁EOS", "▁[CONTEXT]", "▁[KNOWLEDGE]"

_CAPITALS = [chr(code) for code in range(0x41, 0x180) if chr(code).isupper() and len(chr(code).lower()) == 1]
_WORD = re.compile(r"[A-Za-z]+")
_ENDINGS = ("s", "es", "ed", "d", "ing", "ly", "er", "ers", "ness")
_ANY_FORM = 5000  # the commonest words are pieces in every form


def build_tokenizer(
    texts: Sequence[str], common_words: Sequence[str], *, parts: int, words: int
) -> PreTrainedTokenizerFast:
    """T5's layout: pad 0, </s> 1, unknown 2, then 256 bytes, then pieces.

    texts: to count in. common_words: lower-case words, the commonest first, which count however rare in `texts`.
    parts: of words, to learn. words: whole words to take, of the texts' and the common ones together.
    """
    pieces = dict(_parts(texts, parts)) | _whole_words(texts, common_words, words) | _abbreviations(texts)
    pieces |= dict.fromkeys((CAPITAL, TURN_END, CONTEXT, KNOWLEDGE), 0.0)
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -100.0)]
    spelled = [(f"<0x{byte:02X}>", -100.0) for byte in range(256)]
    tokenizer = Tokenizer(models.Unigram([*special, *spelled, *pieces.items()], UNKNOWN, byte_fallback=True))
    tokenizer.normalizer = _normalizer()
    tokenizer.pre_tokenizer = _pre_tokenizer()
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            *(decoders.Replace(f"{CAPITAL} {letter.lower()}", f" {letter}") for letter in _CAPITALS),
            decoders.Replace(CAPITAL, ""),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", END)])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers leaves it unannotated
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )


def _parts(texts: Iterable[str], size: int) -> list[tuple[str, float]]:
    """Unigram pieces (Kudo 2018), with their log-probabilities."""
    draft = Tokenizer(models.Unigram())
    draft.normalizer = normalizers.Sequence([_normalizer(), normalizers.Lowercase()])
    draft.pre_tokenizer = _pre_tokenizer()
    letters = [chr(code) for code in range(33, 127)]
    trainer = trainers.UnigramTrainer(
        vocab_size=size,
        special_tokens=["<unk>"],
        unk_token="<unk>",
        show_progress=False,
        max_piece_length=12,
        initial_alphabet=letters,
    )
    draft.train_from_iterator(texts, trainer)
    learned = dict(json.loads(draft.to_str())["model"]["vocab"])
    del learned["<unk>"]
    least = min(learned.values())
    return list((dict.fromkeys(letters, least) | learned).items())


def _whole_words(texts: Iterable[str], common: Sequence[str], size: int) -> dict[str, float]:
    """The `size` likeliest words: by their count in the texts, and by Zipf's law over their rank among the common."""
    counts = Counter(word for text in texts for word in _WORD.findall(text.lower()))
    total, harmonic = sum(counts.values()), math.log(len(common)) + 0.58
    likely = {word: count / total / 2 for word, count in counts.items()}
    for rank, word in enumerate(common, start=1):
        likely[word] = likely.get(word, 0.0) + 1 / (rank * harmonic) / 2
    ranked = sorted(likely, key=likely.__getitem__, reverse=True)
    kept = [word for rank, word in enumerate(ranked) if rank < _ANY_FORM or not _is_inflected(word, likely)]
    return {"▁" + word: math.log(likely[word]) for word in kept[:size]}


def _is_inflected(word: str, words: Mapping[str, float]) -> bool:
    """Whether it is a known word with an ending: "kilograms" is spelled well by "kilogram" and "s"."""
    return any(word.endswith(ending) and word.removesuffix(ending) in words for ending in _ENDINGS)


def _abbreviations(texts: Iterable[str]) -> dict[str, float]:
    """Words in capitals throughout, of which the first is no mark."""
    counts = Counter(word for text in texts for word in re.findall(r"\b[A-Z]{2,6}\b", text))
    total = sum(counts.values())
    return {"▁" + word: math.log(count / total) - 2 for word, count in counts.items() if count >= 4}


def _normalizer() -> normalizers.Normalizer:
    return normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Replace(CAPITAL, ""),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
            normalizers.Prepend(" "),
            normalizers.Replace(Regex(r" (?=\p{Lu}(?:\p{Ll}|\W|$))"), f"{CAPITAL} "),
            *(normalizers.Replace(f"{CAPITAL} {letter}", f"{CAPITAL} {letter.lower()}") for letter in _CAPITALS),
        ]
    )


def _pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="never"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Split(Regex(rf"""[.,?!:;()"'/{CAPITAL}-]"""), "isolated"),
        ]
    )
