"""A T5 of a few thousand weights, to be taught in a moment."""

from typing import Any

from transformers import T5Config

from training.pieces import END, PAD


def small_config(vocabulary: int, **changes: Any) -> T5Config:
    shape = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4}
    return T5Config(  # type: ignore[call-arg]  # extra settings are kept as attributes
        vocab_size=vocabulary,
        dropout_rate=0.0,
        feed_forward_proj="relu",
        pad_token_id=PAD,
        eos_token_id=END,
        decoder_start_token_id=PAD,
        **(shape | changes),
    )
