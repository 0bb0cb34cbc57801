"""A transformers checkpoint -> the engine's tensors."""

from typing import Any

import pytest
import torch

from serve_app.engine.weights import from_transformers
from tests.support.checkpoints import EOS, PAD, random_t5


def test_shape_is_the_checkpoints() -> None:
    shape = from_transformers(
        random_t5(
            d_kv=12,
            num_heads=3,
            num_layers=1,
            num_decoder_layers=2,
            layer_norm_epsilon=0.5,
            relative_attention_num_buckets=16,
            relative_attention_max_distance=99,
        )
    ).shape
    assert (shape.d_model, shape.d_kv, shape.heads, shape.decoder_layers, shape.vocabulary) == (32, 12, 3, 2, 64)
    assert (shape.norm_epsilon, shape.bias_buckets, shape.bias_max_distance) == (0.5, 16, 99)
    assert (shape.start_token, shape.eos_token) == (PAD, EOS)


@pytest.mark.parametrize(("tied", "scale"), [(True, 32**-0.5), (False, 1.0)])
def test_logits_are_scaled_where_the_head_is_tied(tied: bool, scale: float) -> None:
    assert from_transformers(random_t5(tied=tied)).shape.logit_scale == scale


def test_flan_t5s_layers_are_gated_and_its_head_is_its_own() -> None:
    model: Any = random_t5(feed_forward_proj="gated-gelu", tied=False)
    weights = from_transformers(model)
    x = torch.randn(5, 32)
    feed_forward, dense = weights.decoder[0].feed_forward, model.decoder.block[0].layer[2].DenseReluDense
    assert feed_forward.gated
    torch.testing.assert_close(feed_forward.wi(x), torch.cat([dense.wi_0(x), dense.wi_1(x)], dim=-1))
    assert torch.equal(weights.head(x), model.lm_head(x))
    assert not torch.equal(weights.head(x), x @ weights.embedding.T)
    values = torch.linspace(-3, 3, 7)
    expected = torch.nn.functional.gelu(values, approximate="tanh")
    torch.testing.assert_close(weights.encoder[0].feed_forward.activation(values), expected)


def test_queries_keys_and_values_are_one_product() -> None:
    model: Any = random_t5(d_kv=12)
    weights = from_transformers(model)
    x = torch.randn(5, 32)
    attention = model.encoder.block[1].layer[0].SelfAttention
    expected = torch.cat([attention.q(x), attention.k(x), attention.v(x)], dim=-1)
    torch.testing.assert_close(weights.encoder[1].qkv(x), expected)
    cross = model.decoder.block[1].layer[1].EncDecAttention
    torch.testing.assert_close(weights.decoder[1].cross_kv(x), torch.cat([cross.k(x), cross.v(x)], dim=-1))


@pytest.mark.parametrize("feed_forward", ["gated-silu", "gelu", "silu", "gated-tanh"])
def test_other_feed_forward_layers_are_refused_with_a_remedy(feed_forward: str) -> None:
    with pytest.raises(ValueError, match=rf"feed_forward_proj '{feed_forward}'.*use 'relu' or 'gated-gelu'"):
        from_transformers(random_t5(feed_forward_proj=feed_forward))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_everything_is_fp32_whatever_the_checkpoint_is(dtype: torch.dtype) -> None:
    model: Any = random_t5()
    weights = from_transformers(model.to(dtype))
    tensors: list[Any] = [weights.embedding, weights.encoder_bias, weights.decoder_norm, weights.encoder[0].norm]
    assert {tensor.dtype for tensor in tensors} == {torch.float32}
    assert weights.head(torch.ones(1, 32)).dtype == torch.float32


@pytest.mark.parametrize(("name", "value"), [("decoder_start_token_id", None), ("eos_token_id", [1, 2])])
def test_a_configuration_without_one_start_or_end_token_is_refused(name: str, value: object) -> None:
    model = random_t5()
    setattr(model.config, name, value)
    with pytest.raises(ValueError, match=name):
        from_transformers(model)


def test_a_configuration_that_leaves_the_start_token_out_is_refused() -> None:
    """transformers 5.23 does not know the attribute then."""
    model = random_t5()
    del model.config.decoder_start_token_id
    with pytest.raises(ValueError, match="decoder_start_token_id"):
        from_transformers(model)
