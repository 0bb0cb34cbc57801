"""A new T5 of some fifteen million parameters that reads a little before it is taught anything.

Its pieces begin with the static vectors of what they spell. Beside the content's channels and heads there are some of
our own ("wires"), set by hand so that it picks a sentence and copies it (the idea of RASP, Weiss et al. 2021, and
Tracr, Lindner et al. 2023: programs compiled into transformers). Teaching makes an answering model of it:

    IDENTITY   a random code of the token              PREVIOUS, SECOND, THIRD   in the encoder: of the ones before
    RARITY     of the token, 0 for frequent ones       QUESTION   "I stand in the dialogue"
    FLAG       "the question has me, or one like me",  INSIDE     "I stand in the knowledge"
               by that one's rarity                    RELEVANCE  of a sentence's first token: the next ones' flags
    LEADING    "I stand near the knowledge's begin-    START      "the reply begins": of its first three tokens
               ning", where the best sentence leads    ONE        always one
    FIRST      "I am one of its first three tokens"    IS_CONTEXT, IS_KNOWLEDGE   the marks

    encoder layer 1   BEFORE    writes the code of the token before me to PREVIOUS
                      BACK      attends to [KNOWLEDGE] if that stands before me, else to [CONTEXT]: INSIDE, QUESTION
                      NEAR      attends to [KNOWLEDGE] if that is no more than a sentence away: LEADING
    encoder layer 2   BEFORE    writes what that has in PREVIOUS to SECOND
                      BACK      attends to like tokens of the question, or to [CONTEXT] where there are none: their
                                RARITY is my FLAG
                      NEAR      attends to [KNOWLEDGE] if that is no more than three tokens away: FIRST
    encoder layer 3   BEFORE    writes what that has in SECOND to THIRD
                      AHEAD     adds up the flags of the next tokens to RELEVANCE
    decoder layer 1   own       COPY moves the last token's code from IDENTITY, which the head reads, to PREVIOUS;
                                LAST and LAST_BUT_ONE write those of the ones before to SECOND and THIRD, with START
                      cross     COPY attends INSIDE to the token before which the same three stand, rather where it is
                                LEADING, at START where it is FIRST or has RELEVANCE; writes its code to IDENTITY: so
                                it picks a sentence, and copies. END takes the place of a capital behind a full stop
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast, T5Config

from serve_app.words import WordVectors
from training.pieces import CAPITAL, CONTEXT, END, KNOWLEDGE, PAD, TURN_END
from training.t5 import T5

CONTENT, CODE = 256, 27
IDENTITY = slice(CONTENT, CONTENT + CODE)
PREVIOUS = slice(CONTENT + CODE, CONTENT + 2 * CODE)
SECOND = slice(CONTENT + 2 * CODE, CONTENT + 3 * CODE)
THIRD = slice(CONTENT + 3 * CODE, CONTENT + 4 * CODE)
RARITY, IS_CONTEXT, IS_KNOWLEDGE, ONE, START = range(364, 369)
QUESTION, INSIDE, FLAG, RELEVANCE, LEADING, FIRST = range(369, 375)
WIDTH = 384
HEADS, SIZE = 8, 64
BEFORE, AHEAD, BACK, NEAR = range(4, HEADS)  # in the encoder; the first four are the content's
COPY, LAST, LAST_BUT_ONE = range(4, 7)  # the decoder's
WIRED = 3  # layers of the encoder
REACH = 22  # tokens whose flags a sentence's first token adds up

_MARKS = (CAPITAL, TURN_END, CONTEXT, KNOWLEDGE)
_SPELLING = 259  # the first pieces: pad, end, unknown and the bytes
_SHUT = -60.0  # of what a head shall not attend to
_NEXT = 10.0  # of the one token that a head shall attend to
_HALF_SHUT = -30.0  # of what it attends to only if that is called twice as loud
_FIRST, _NEARBY = 3, 45  # tokens: those that say which sentence it is, and about a whole one
_ALIKE = 28.0  # score of two tokens that are the same, or mean the same
_SINK = 0.55  # share of it that tokens must be alike
_COMPARED = (23, 1.0), (19, 0.8), (19, 0.8)  # of each code: the part that tells whether to copy, and its weight
_MATCHED = SIZE - 2  # dimensions in which tokens are compared


def new_model(tokenizer: PreTrainedTokenizerFast, words: WordVectors, texts: Sequence[str]) -> T5:
    """texts: by which words are rare."""
    config = T5Config(  # type: ignore[call-arg]  # extra settings are kept as attributes
        vocab_size=len(tokenizer),
        d_model=WIDTH,
        d_kv=SIZE,
        d_ff=768,
        num_layers=5,
        num_decoder_layers=2,
        num_heads=HEADS,
        dropout_rate=0.1,
        n_positions=512,
        feed_forward_proj="relu",
        pad_token_id=PAD,
        eos_token_id=END,
        decoder_start_token_id=PAD,
    )
    model = T5(config)
    with torch.no_grad():
        static = _embed(model.shared.weight, tokenizer, words, texts)
        _part_content_and_wires(model)
        _read(model, static)
        _copy(model)
    return model


# ---- Embeddings


def _embed(table: Tensor, tokenizer: PreTrainedTokenizerFast, words: WordVectors, texts: Sequence[str]) -> Tensor:
    """-> [pieces, dimensions]: static vectors, of pieces that spell something."""
    table.normal_()
    spelled = []
    for piece, index in tokenizer.get_vocab().items():
        ids = words.pieces(piece.removeprefix("▁").lower())
        if index >= _SPELLING and piece not in _MARKS and ids:
            vector = torch.tensor(words.piece_vectors(ids).mean(axis=0))
            table[index, : len(vector)] = F.normalize(vector, dim=0) * len(vector) ** 0.5
            spelled.append(index)
    context, knowledge, stop = map(tokenizer.convert_tokens_to_ids, (CONTEXT, KNOWLEDGE, "."))
    codes = torch.randint(0, 2, (len(table), CODE)).float() * 2 - 1
    codes[knowledge] = codes[PAD] = codes[stop]  # behind it a sentence begins, as behind a full stop
    codes[[PAD, knowledge], _COMPARED[0][0] :] *= -1  # but these are not what is written
    codes[context] = 0
    table[:, CONTENT:] = 0
    table[:, IDENTITY] = codes
    capital = codes[tokenizer.convert_tokens_to_ids(CAPITAL)]
    table[END, IDENTITY] -= (codes[END] @ capital / CODE - 0.7) * capital
    table[END, PREVIOUS], table[END, START] = 1.5 * codes[stop], -100
    table[PAD, SECOND], table[PAD, THIRD], table[PAD, START] = -codes[stop], -codes[stop], 1
    table[context, IS_CONTEXT] = table[knowledge, IS_KNOWLEDGE] = 1
    table[:, RARITY] = _rarity(tokenizer, texts)
    table[:, ONE] = 1
    return table[torch.tensor(spelled), : len(vector)].clone()


def _rarity(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> Tensor:
    """Inverse document frequency [vocabulary], scaled to 0 for frequent pieces and marks, 1 for the rarest words."""
    seen = Counter(token for ids in tokenizer(list(texts))["input_ids"] for token in set(ids))
    counts = torch.tensor([seen[index] for index in range(len(tokenizer))])
    rarity = ((len(texts) + 1) / (counts + 1)).log()
    rarity = ((rarity / rarity.max() - 0.35) / 0.65).clamp(0, 1)
    for piece, index in tokenizer.get_vocab().items():
        if (len(piece.removeprefix("▁")) < 2 and not piece.isdigit()) or piece in _MARKS:
            rarity[index] = 0
    rarity[:_SPELLING] = 0
    return rarity


# ---- Wires


def _part_content_and_wires(model: T5) -> None:
    """Of the layers that have wires, the content's weights neither read them nor write to them; later layers may read
    them. The decoder writes little at first."""
    for stack in (model.encoder, model.decoder):
        for number, block in enumerate(stack.block):
            for name, weight in block.named_parameters():
                if name.endswith("o.weight"):  # of attention, and wo of the feed-forward
                    weight[CONTENT:] = 0
                    if stack is model.decoder:
                        weight.mul_(0.3)
                elif stack is model.encoder and number < WIRED and weight.dim() == 2 and "bias" not in name:
                    weight[:, CONTENT:] = 0


def wired(model: T5) -> dict[str, Tensor]:
    """Where the wires are, by the names of the weights: 1 for them, 0 for the content."""
    masks = {"shared.weight": torch.zeros_like(model.shared.weight)}
    masks["shared.weight"][:, CONTENT:] = 1
    parts = {f"encoder.block.{number}.": (BEFORE, HEADS) for number in range(WIRED)}
    parts["decoder.block.0."] = (COPY, LAST_BUT_ONE + 1)
    for start, (first, last) in parts.items():
        heads = slice(first * SIZE, last * SIZE)
        for name, weight in model.named_parameters():
            if not name.startswith(start):
                continue
            mask = torch.zeros_like(weight)
            if "relative_attention_bias" in name:
                mask[:, first:last] = 1
            elif name.endswith((".q.weight", ".k.weight", ".v.weight")):
                mask[heads] = 1
            elif name.endswith(".o.weight"):
                mask[:, heads] = 1
            else:
                continue
            masks[name] = mask
    return masks


def _read(model: T5, static: Tensor) -> None:
    """The encoder's own heads. Position bias is one table for all layers, so a head keeps its direction in all."""
    blocks: Any = model.encoder.block
    layers = [block.layer[0].SelfAttention for block in blocks]
    bias = layers[0].relative_attention_bias.weight  # [buckets, heads]
    offsets = torch.arange(-512, 513)
    buckets = model.encoder.bucket(offsets)
    bias[buckets, BEFORE] = torch.where(offsets == -1, _NEXT, 0.0)
    bias[buckets, AHEAD] = torch.where((offsets >= 0) & (offsets < REACH), 0.0, _SHUT)
    bias[buckets, BACK] = torch.where(offsets > 0, _SHUT, 0.0)
    bias[buckets, NEAR] = torch.where((offsets < 0) & (offsets >= -_NEARBY), _HALF_SHUT, _SHUT)
    bias[buckets[(offsets < 0) & (offsets >= -_FIRST)], NEAR] = 0
    for layer in layers[:WIRED]:
        for head in (BEFORE, AHEAD, BACK, NEAR):
            _clear(layer, head)
    code = torch.eye(CODE)

    codes = slice(BEFORE * SIZE, BEFORE * SIZE + CODE)
    for layer, read, written in zip(layers, (IDENTITY, PREVIOUS, SECOND), (PREVIOUS, SECOND, THIRD), strict=False):
        layer.v.weight[codes, read] = layer.o.weight[written, codes] = code

    first = BACK * SIZE
    layers[0].q.weight[first, ONE] = 1
    layers[0].k.weight[first, IS_CONTEXT], layers[0].k.weight[first, IS_KNOWLEDGE] = 25, 50
    layers[0].v.weight[first, IS_CONTEXT] = layers[0].o.weight[QUESTION, first] = 1
    layers[0].v.weight[first + 1, IS_KNOWLEDGE] = layers[0].o.weight[INSIDE, first + 1] = 1

    first = NEAR * SIZE
    for layer, loudness, near in zip(layers, (40, 16), (LEADING, FIRST), strict=False):
        layer.q.weight[first, ONE], layer.k.weight[first, IS_KNOWLEDGE] = 1, loudness
        layer.v.weight[first, IS_KNOWLEDGE] = layer.o.weight[near, first] = 1

    first, last = BACK * SIZE, BACK * SIZE + SIZE - 1
    directions = torch.linalg.svd(static[:4096], full_matrices=False).Vh[:_MATCHED]
    lengths = (static @ directions.T).square().sum(1).mean()
    matched = slice(first, first + _MATCHED)
    for weight in (layers[1].q.weight, layers[1].k.weight):
        weight[matched, : static.shape[1]] = directions * (_ALIKE / lengths).sqrt()
    layers[1].q.weight[last, ONE] = 1
    layers[1].k.weight[last, QUESTION], layers[1].k.weight[last, IS_CONTEXT] = 30, _ALIKE * _SINK
    layers[1].q.weight[last - 1, QUESTION], layers[1].k.weight[last - 1, IS_CONTEXT] = 1, 60  # only knowledge has flags
    layers[1].v.weight[first, RARITY], layers[1].o.weight[FLAG, first] = 1, 2

    first = AHEAD * SIZE
    layers[2].v.weight[first, FLAG], layers[2].o.weight[RELEVANCE, first] = 1, 8
    model.encoder.final_layer_norm.weight[CONTENT:] = 1.8  # the content has grown till here


def _copy(model: T5) -> None:
    block: Any = model.decoder.block[0]
    moving, copying = block.layer[0].SelfAttention, block.layer[1].EncDecAttention
    code = torch.eye(CODE)
    for attention in (moving, copying):
        for head in (COPY, LAST, LAST_BUT_ONE):
            _clear(attention, head)
    position = moving.relative_attention_bias.weight  # by how far a token stands before
    position[:, COPY : LAST_BUT_ONE + 1] = 0
    for back, (head, written) in enumerate(((COPY, PREVIOUS), (LAST, SECOND), (LAST_BUT_ONE, THIRD))):
        position[back, head] = _NEXT
        first = head * SIZE
        codes = slice(first, first + CODE)
        moving.v.weight[codes, IDENTITY] = moving.o.weight[written, codes] = code
        if back:
            moving.v.weight[first + CODE, START] = moving.o.weight[START, first + CODE] = 1
    moving.o.weight[IDENTITY, COPY * SIZE : COPY * SIZE + CODE] = -code

    first = COPY * SIZE
    for (size, weight), read in zip(_COMPARED, (PREVIOUS, SECOND, THIRD), strict=True):
        compared = slice(first, first + size)
        copying.q.weight[compared, read.start : read.start + size] = weight * torch.eye(size)
        copying.k.weight[compared, read.start : read.start + size] = torch.eye(size)
        first += size
    copying.q.weight[first, ONE] = 1
    copying.k.weight[first, INSIDE], copying.k.weight[first, LEADING] = 20, 8
    copying.q.weight[first + 1, START] = 1
    copying.k.weight[first + 1, RELEVANCE], copying.k.weight[first + 1, FIRST] = 1, 20
    codes = slice(COPY * SIZE, COPY * SIZE + CODE)
    copying.v.weight[codes, IDENTITY] = code
    copying.o.weight[IDENTITY, codes] = 3 * code
    model.decoder.final_layer_norm.weight[:] = 0.2
    model.decoder.final_layer_norm.weight[CONTENT : THIRD.stop] = 5
    model.decoder.final_layer_norm.weight[START] = 2


def _clear(attention: Any, head: int) -> None:
    rows = slice(head * SIZE, (head + 1) * SIZE)
    for weight in (attention.q.weight, attention.k.weight, attention.v.weight):
        weight[rows] = 0
    attention.o.weight[:, rows] = 0
