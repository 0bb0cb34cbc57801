"""A T5 that already reads: its encoder is all-MiniLM-L6-v2 (Wang et al. 2020; Reimers and Gurevych 2019), rewritten.

BERT normalizes what its residual stream carries, T5 only what a sub-layer reads. With u_l for BERT's sums before each
of its norms, x_l = gamma_l * u_l / sigma_l + beta_l after it, T5's stream can carry h_l = u_l / D_l (by channel), with

    D_l+1 = gamma_l+1 * D_l / sigma_l+1          h_l+1 = h_l + (sub-layer(x_l) + beta_l) / D_l

where only the tokens' own sigma is replaced by its median over a sample of text, and D is kept within a factor of 2 of
its median. What remains goes into the weights: gammas into the norms', biases into columns at a channel that is always
one, the attention's scale into q, and the mean of the position embeddings into every token's embedding.

Beside MiniLM's 384 channels there are 64 of our own ("wires"), and beside its 12 heads 4. They are wired so that the
model reads before it is taught (the idea of RASP, Weiss et al. 2021, and Tracr, Lindner et al. 2023: programs compiled
into transformers):

    IDENTITY   a random code of the token              PREVIOUS   in the encoder: of the token before
    RARITY     of the token, 0 for frequent ones       QUESTION   "I stand in the dialogue"
    FLAG       "the question has me", by rarity        RELEVANCE  of a sentence's first token: the next ones' flags
    IS_CONTEXT, IS_KNOWLEDGE   the two marks           START      the decoder's start token
    ONE        always one

    encoder layer 1   BEFORE    writes the code of the token before me to PREVIOUS
                      BACK      attends to [KNOWLEDGE] if that stands before me, else to [CONTEXT]: from it, QUESTION
    encoder layer 2   BACK      attends to the same token in the question, or to [CONTEXT] where there is none: its
                                RARITY is my FLAG
    encoder layer 3   AHEAD     adds up the flags of the next tokens to RELEVANCE
    decoder layer 1   cross 0   attends to the token whose PREVIOUS is the last that was written, and to RELEVANCE;
                                writes its code to IDENTITY, which the head reads: so it picks a sentence, and copies on
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedTokenizerBase, PreTrainedTokenizerFast, T5Config
from transformers import T5ForConditionalGeneration as T5

from training.pieces import CAPITAL, CONTEXT, END, KNOWLEDGE, PAD, TURN_END

CONTENT, CODE = 384, 28
IDENTITY = slice(CONTENT, CONTENT + CODE)
PREVIOUS = slice(CONTENT + CODE, CONTENT + 2 * CODE)
RARITY, IS_CONTEXT, IS_KNOWLEDGE, QUESTION, ONE, START, RELEVANCE, FLAG, WIDTH = range(440, 449)
HEADS, SIZE, BERT_HEADS = 16, 32, 12
_SPREAD = 2.0  # of D around its median: a channel that every norm shrinks must not fill the stream
BEFORE, AHEAD, BACK, CONSTANT = 12, 13, 14, 15  # our own heads in the encoder
REACH = 22  # tokens whose flags a sentence's first token adds up


def build_reader(
    bert: Any,
    bert_tokenizer: PreTrainedTokenizerBase,
    tokenizer: PreTrainedTokenizerFast,
    sample: Sequence[str],
    texts: Sequence[str],
    *,
    decoder_layers: int = 2,
    seed: int = 0,
) -> T5:
    """sample: some hundred sentences, by which the norms of the two are matched. texts: by which words are rare."""
    torch.manual_seed(seed)
    model = T5(_config(len(tokenizer), bert, decoder_layers))
    scales = _scales(bert, bert_tokenizer, sample)
    with torch.no_grad():
        _embed(model, bert, bert_tokenizer, tokenizer, texts)
        _rewrite_encoder(model, bert, scales)
        _read_on(model)
        _copy(model)
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]  # transformers leaves it unannotated
        decoder_start_token_id=PAD, eos_token_id=END, pad_token_id=PAD, max_length=128
    )
    return model


def _config(vocabulary: int, bert: Any, decoder_layers: int) -> T5Config:
    return T5Config(  # type: ignore[call-arg]  # extra settings are kept as attributes
        vocab_size=vocabulary,
        d_model=WIDTH,
        d_kv=SIZE,
        d_ff=bert.config.intermediate_size,
        num_layers=bert.config.num_hidden_layers,
        num_decoder_layers=decoder_layers,
        num_heads=HEADS,
        dropout_rate=0.0,
        n_positions=512,
        feed_forward_proj="gelu_new",
        pad_token_id=PAD,
        eos_token_id=END,
        decoder_start_token_id=PAD,
    )


def stream_divisors(bert: Any, tokenizer: PreTrainedTokenizerBase, sample: Sequence[str]) -> list[Tensor]:
    """After each layer but the last: times what by channel the reader's stream is MiniLM's sum there, normalized."""
    scales = _scales(bert, tokenizer, sample)
    return [scale.divisor / scale.sigma for scale in scales[2:-1:2]]


# ---- Embeddings


def _embed(
    model: Any,
    bert: Any,
    bert_tokenizer: PreTrainedTokenizerBase,
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
) -> None:
    """Each piece starts as MiniLM's embedding of what it spells, normalized as MiniLM does but for gamma and beta."""
    embeddings = bert.embeddings
    words = embeddings.word_embeddings.weight
    rest = embeddings.position_embeddings.weight[1:64].mean(0) + embeddings.token_type_embeddings.weight[0]
    known = bert_tokenizer.get_vocab()
    table = model.shared.weight
    table.zero_()
    for piece, index in tokenizer.get_vocab().items():
        row = words[_spelled(piece, known, bert_tokenizer)].mean(0) + rest
        row = row - row.mean()
        table[index, :CONTENT] = row / row.std(correction=0)
    codes = torch.randint(0, 2, (len(table), CODE)).float() * 2 - 1
    stop = codes[tokenizer.convert_tokens_to_ids(".")]
    codes[tokenizer.convert_tokens_to_ids(KNOWLEDGE)] = stop  # after it a sentence begins, as after a full stop
    codes[PAD] = stop
    context, knowledge = (tokenizer.convert_tokens_to_ids(mark) for mark in (CONTEXT, KNOWLEDGE))
    table[:, IDENTITY] = codes
    table[context, IDENTITY] = 0
    table[context, IS_CONTEXT] = table[knowledge, IS_KNOWLEDGE] = 1
    table[:, RARITY] = _rarity(tokenizer, texts)
    table[PAD, :CONTENT] = 0
    table[PAD, START] = 4
    table[:, ONE] = 1


def _rarity(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> Tensor:
    """Inverse document frequency [vocabulary], scaled to 0 for frequent pieces and marks, 1 for the rarest words."""
    seen = Counter(token for ids in tokenizer(list(texts))["input_ids"] for token in set(ids))
    counts = torch.tensor([seen[index] for index in range(len(tokenizer))])
    rarity = ((len(texts) + 1) / (counts + 1)).log()
    rarity = ((rarity / rarity.max() - 0.35) / 0.65).clamp(0, 1)
    for piece, index in tokenizer.get_vocab().items():
        if len(piece.removeprefix("▁")) < 2 and not piece.isdigit() or piece in (CAPITAL, TURN_END, CONTEXT, KNOWLEDGE):
            rarity[index] = 0
    rarity[:259] = 0  # pad, end, unknown and the bytes
    return rarity


def _spelled(piece: str, known: dict[str, int], bert_tokenizer: PreTrainedTokenizerBase) -> list[int]:
    marks = {"</s>": "[SEP]", TURN_END: "[SEP]", CONTEXT: "[CLS]", KNOWLEDGE: "[SEP]", CAPITAL: "[MASK]"}
    if piece in marks:
        return [known[marks[piece]]]
    body = piece.removeprefix("▁").lower()
    first = body if piece.startswith("▁") or not body.isalnum() else f"##{body}"
    if first in known:
        return [known[first]]
    found: list[int] = bert_tokenizer.encode(body, add_special_tokens=False) if body else []
    return found or [known["[UNK]"]]


# ---- Encoder


@dataclass(frozen=True)
class _Scale:
    """At one of BERT's norms: what D_l is, and by what the T5 norm there differs from BERT's, on the average."""

    divisor: Tensor  # D_l of what the stream carries before this norm
    sigma: float
    rms: float  # of the stream h_l, its wires included


def _norms(bert: Any) -> list[torch.nn.LayerNorm]:
    """In their order: the embeddings' one, then each layer's two."""
    layers = [(layer.attention.output.LayerNorm, layer.output.LayerNorm) for layer in bert.encoder.layer]
    return [bert.embeddings.LayerNorm, *chain.from_iterable(layers)]


def _scales(bert: Any, tokenizer: PreTrainedTokenizerBase, sample: Sequence[str]) -> list[_Scale]:
    """For the embeddings' norm and each layer's two."""
    norms = _norms(bert)
    sums: list[list[Tensor]] = [[] for _ in norms]
    hooks = [
        norm.register_forward_pre_hook(lambda _, given, kept=kept: kept.append(given[0][0]))
        for norm, kept in zip(norms, sums, strict=True)
    ]
    with torch.no_grad():
        for text in sample:
            bert(**tokenizer(text, return_tensors="pt"))
    for hook in hooks:
        hook.remove()
    scales: list[_Scale] = []
    divisor = torch.ones(CONTENT)
    for index, (norm, kept) in enumerate(zip(norms, sums, strict=True)):
        u = torch.cat(kept)
        u = u - u.mean(dim=1, keepdim=True)
        sigma = u.std(dim=1, correction=0)
        # The table of embeddings holds u / sigma itself: there the division is exact.
        h = u / sigma[:, None] if index == 0 else u / divisor
        wires = (WIDTH - CONTENT) / 2
        rms = ((h.square().sum(1) + wires) / WIDTH).sqrt()
        mean_sigma = 1.0 if index == 0 else float(sigma.median())
        scales.append(_Scale(divisor, mean_sigma, float(rms.median())))
        divisor = norm.weight.detach() * divisor / mean_sigma
        middle = float(divisor.median())  # a channel that every norm shrinks must not fill the stream in the end
        divisor = divisor.clamp(middle / _SPREAD, middle * _SPREAD)
    scales.append(_Scale(divisor, 1.0, 1.0))
    return scales


def _rewrite_encoder(model: Any, bert: Any, scales: list[_Scale]) -> None:
    norms = _norms(bert)
    for index, (source, block) in enumerate(zip(bert.encoder.layer, model.encoder.block, strict=True)):
        _set_norm(block.layer[0].layer_norm, norms[2 * index], scales[2 * index])
        _rewrite_attention(block.layer[0].SelfAttention, source.attention, norms[2 * index], scales[2 * index + 1])
        _set_norm(block.layer[1].layer_norm, norms[2 * index + 1], scales[2 * index + 1])
        _rewrite_feed_forward(block.layer[1].DenseReluDense, source, norms[2 * index + 1], scales[2 * index + 2])
    _set_norm(model.encoder.final_layer_norm, norms[-1], scales[-2])


def _set_norm(norm: Any, source: Any, scale: _Scale) -> None:
    """So that MiniLM's channels read gamma * u / sigma, and the wires what the stream has."""
    norm.weight[:CONTENT] = source.weight * scale.divisor * scale.rms / scale.sigma
    norm.weight[CONTENT:] = scale.rms


def _read(target: Tensor, weight: Tensor, bias: Tensor, beta: Tensor) -> None:
    """W (gamma * u / sigma + beta) + b."""
    target.zero_()
    target[:, :CONTENT] = weight
    target[:, ONE] = bias + weight @ beta


def _written(weight: Tensor, divisor: Tensor) -> Tensor:
    """Rows that write to the stream: without their mean over the channels, which BERT's norm would take away."""
    return (weight - weight.mean(dim=0, keepdim=True)) / divisor.reshape(-1, *[1] * (weight.dim() - 1))


def _rewrite_attention(target: Any, source: Any, norm: Any, after: _Scale) -> None:
    inner = BERT_HEADS * SIZE
    for weight in (target.q.weight, target.k.weight, target.v.weight):
        weight[inner:] *= 0.3
    _read(
        target.q.weight[:inner], source.self.query.weight * SIZE**-0.5, source.self.query.bias * SIZE**-0.5, norm.bias
    )
    _read(target.k.weight[:inner], source.self.key.weight, source.self.key.bias, norm.bias)
    _read(target.v.weight[:inner], source.self.value.weight, source.self.value.bias, norm.bias)
    out = target.o.weight
    out *= 0.1
    out[CONTENT:] = 0
    out[:CONTENT, :inner] = _written(source.output.dense.weight, after.divisor)
    first = _clear(target, CONSTANT)
    target.v.weight[first, ONE] = 1
    out[:CONTENT, first] = _written(source.output.dense.bias + norm.bias, after.divisor)


def _rewrite_feed_forward(target: Any, source: Any, norm: Any, after: _Scale) -> None:
    _read(target.wi.weight, source.intermediate.dense.weight, source.intermediate.dense.bias, norm.bias)
    out = target.wo.weight
    out.zero_()
    out[RELEVANCE].normal_(std=0.005)
    out[:CONTENT] = _written(source.output.dense.weight, after.divisor)
    least = int(source.output.dense.weight.norm(dim=0).argmin())  # gives its place to the bias
    target.wi.weight[least] = 0
    target.wi.weight[least, ONE] = 4
    out[:, least] = 0
    out[:CONTENT, least] = _written(source.output.dense.bias + norm.bias, after.divisor) / 4


def _read_on(model: Any) -> None:
    """The encoder's own heads. Position bias is one table for all layers, so a head keeps its direction in all."""
    layers = [block.layer[0].SelfAttention for block in model.encoder.block]
    bias = layers[0].relative_attention_bias.weight  # [buckets, heads]
    bias.zero_()

    def bucket(offset: int) -> int:
        return int(layers[0]._relative_position_bucket(torch.tensor([[offset]]), True, 32, 128))

    for offset in range(-128, 129):
        bias[bucket(offset), BEFORE] = 10 if offset == -1 else 0
        bias[bucket(offset), AHEAD] = 0 if 0 <= offset < REACH else -60
        bias[bucket(offset), BACK] = -60 if offset > 0 else 0
        if abs(offset) > 8:  # MiniLM has read sentences, not pages
            bias[bucket(offset), :BERT_HEADS] = -0.3 * torch.tensor(abs(offset) / 8).log2()
    for layer in layers:
        for head in (BEFORE, AHEAD, BACK):
            rows = slice(head * SIZE, (head + 1) * SIZE)
            layer.q.weight[rows] = layer.k.weight[rows] = 0
    code = torch.eye(CODE)

    first = _clear(layers[0], BEFORE)
    layers[0].v.weight[first : first + CODE, IDENTITY] = code
    layers[0].o.weight[PREVIOUS, first : first + CODE] = code

    first = _clear(layers[0], BACK)
    layers[0].q.weight[first, ONE] = 1
    layers[0].k.weight[first, IS_CONTEXT], layers[0].k.weight[first, IS_KNOWLEDGE] = 25, 50
    layers[0].v.weight[first, IS_CONTEXT] = layers[0].o.weight[QUESTION, first] = 1

    first, last = _clear(layers[1], BACK), BACK * SIZE + SIZE - 1
    layers[1].q.weight[first : first + CODE, IDENTITY] = layers[1].k.weight[first : first + CODE, IDENTITY] = code
    layers[1].q.weight[last, ONE] = 1
    layers[1].k.weight[last, QUESTION], layers[1].k.weight[last, IS_CONTEXT] = 30, 15  # the same token gives 28
    layers[1].q.weight[last - 1, QUESTION], layers[1].k.weight[last - 1, IS_CONTEXT] = 1, 60  # only knowledge has flags
    layers[1].v.weight[first, RARITY], layers[1].o.weight[FLAG, first] = 1, 2

    first = _clear(layers[2], AHEAD)
    layers[2].v.weight[first, FLAG], layers[2].o.weight[RELEVANCE, first] = 1, 8


def _clear(attention: Any, head: int) -> int:
    """Its first row, its weights set to zero."""
    rows = slice(head * SIZE, (head + 1) * SIZE)
    for weight in (attention.q.weight, attention.k.weight, attention.v.weight):
        weight[rows] = 0
    attention.o.weight[:, rows] = 0
    return head * SIZE


# ---- Decoder


def _copy(model: Any) -> None:
    for block in model.decoder.block:
        for attention in (block.layer[0].SelfAttention, block.layer[1].EncDecAttention):
            attention.o.weight *= 0.3
            attention.o.weight[CONTENT:] *= 0.1
        block.layer[2].DenseReluDense.wo.weight *= 0.3
        block.layer[2].DenseReluDense.wo.weight[CONTENT:] *= 0.1
    first = model.decoder.block[0]
    own = first.layer[0].SelfAttention  # moves the last token's code from IDENTITY, where the head reads, to PREVIOUS
    own.relative_attention_bias.weight[:, 0] = 0
    own.relative_attention_bias.weight[0, 0] = 15
    head, code = slice(0, SIZE), slice(0, CODE)
    own.q.weight[head] = own.k.weight[head] = own.v.weight[head] = own.o.weight[:, head] = 0
    own.v.weight[code, IDENTITY] = torch.eye(CODE)
    own.o.weight[IDENTITY, code], own.o.weight[PREVIOUS, code] = -torch.eye(CODE), torch.eye(CODE)
    cross = first.layer[1].EncDecAttention
    cross.q.weight[head] = cross.k.weight[head] = cross.v.weight[head] = cross.o.weight[:, head] = 0
    cross.q.weight[code, PREVIOUS] = 0.6 * torch.eye(CODE)
    cross.k.weight[code, PREVIOUS] = torch.eye(CODE)
    cross.q.weight[CODE, ONE], cross.k.weight[CODE, RELEVANCE] = 1, 4
    cross.v.weight[code, IDENTITY] = torch.eye(CODE)
    cross.o.weight[IDENTITY, code] = 3 * torch.eye(CODE)
    final = model.decoder.final_layer_norm.weight
    final[:] = 0.3
    final[IDENTITY] = 2.5
