"""Each prompt is encoded once; recent encodings are kept within a limit of bytes."""

import random
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from serve_app.engine.encoder_cache import EncoderCache
from serve_app.engine.request import TokenIds
from serve_app.engine.weights import Weights
from serve_app.messages import Sampling
from tests.engine.support import SteppedEngine, random_prompts, read

WIDTH = 2
TOKEN = WIDTH * 4  # bytes of one token's encoding
A, B, C = (1, 1, 1), (2, 2, 2), (3, 3, 3)


class Encoder:
    """Encodes a token as itself. Prompts are packed, so each encoding is a view of one tensor, as T5's are."""

    def __init__(self) -> None:
        self.asked: list[list[TokenIds]] = []
        self.failure: Exception | None = None

    def __call__(self, prompts: Sequence[TokenIds]) -> list[Tensor]:
        self.asked.append(list(prompts))
        if self.failure:
            raise self.failure
        packed = torch.tensor([[token] * WIDTH for prompt in prompts for token in prompt], dtype=torch.float32)
        return list(torch.split(packed, [len(prompt) for prompt in prompts]))


@pytest.fixture
def encoder() -> Encoder:
    return Encoder()


def read_back(encodings: Sequence[Tensor]) -> list[TokenIds]:
    """The prompts that were encoded."""
    return [tuple(encoding[:, 0].int().tolist()) for encoding in encodings]


def kept(cache: EncoderCache, prompts: Sequence[TokenIds]) -> list[TokenIds]:
    return [prompt for prompt in prompts if cache.cost(prompt) == 0]


@pytest.mark.parametrize("limit", [0, 10**6])
def test_equal_prompts_of_one_call_are_encoded_once(encoder: Encoder, limit: int) -> None:
    cache = EncoderCache(encoder, limit_bytes=limit)
    assert read_back(cache.encode([A, B, A, A])) == [A, B, A, A]
    assert encoder.asked == [[A, B]]


def test_what_is_kept_is_not_encoded_again(encoder: Encoder) -> None:
    cache = EncoderCache(encoder, limit_bytes=10**6)
    assert [cache.cost(A), cache.cost(B)] == [3, 3]
    cache.encode([A])
    assert [cache.cost(A), cache.cost(B)] == [0, 3]
    assert read_back(cache.encode([B, A])) == [B, A]
    assert read_back(cache.encode([A, B])) == [A, B]
    assert encoder.asked == [[A], [B]]


def test_a_limit_of_none_keeps_none(encoder: Encoder) -> None:
    cache = EncoderCache(encoder, limit_bytes=0)
    for _ in range(2):
        assert read_back(cache.encode([A])) == [A]
        assert cache.cost(A) == 3
    assert encoder.asked == [[A], [A]]


def test_the_least_recently_used_makes_room(encoder: Encoder) -> None:
    cache = EncoderCache(encoder, limit_bytes=2 * 3 * TOKEN)
    for prompt in (A, B, A, C):
        cache.encode([prompt])
    assert kept(cache, [A, B, C]) == [A, C]


def test_what_is_larger_than_the_limit_is_not_kept_and_pushes_nothing_out(encoder: Encoder) -> None:
    cache = EncoderCache(encoder, limit_bytes=3 * TOKEN)
    cache.encode([A])
    assert read_back(cache.encode([(4,) * 4])) == [(4,) * 4]
    assert kept(cache, [A, (4,) * 4]) == [A]


def test_who_was_promised_a_kept_encoding_gets_it_though_others_push_it_out(encoder: Encoder) -> None:
    """Its cost was 0 when it was admitted, so it must not be encoded after all."""
    cache = EncoderCache(encoder, limit_bytes=3 * TOKEN)
    cache.encode([A])
    assert read_back(cache.encode([B, A])) == [B, A]
    assert encoder.asked == [[A], [B]]
    assert kept(cache, [A, B]) == [B]


def test_what_is_kept_holds_no_other_memory(encoder: Encoder) -> None:
    """A view of the packed row would hold the row of all, and the limit would be passed unseen."""
    cache = EncoderCache(encoder, limit_bytes=10**6)
    cache.encode([A, B, C])
    for encoding in cache.encode([A, B, C]):
        assert encoding.untyped_storage().nbytes() == 3 * TOKEN


def test_a_failure_leaves_nothing_behind(encoder: Encoder) -> None:
    cache = EncoderCache(encoder, limit_bytes=10**6)
    cache.encode([A])
    encoder.failure = MemoryError("no room")
    with pytest.raises(MemoryError):
        cache.encode([A, B])
    assert kept(cache, [A, B]) == [A]
    encoder.failure = None
    assert read_back(cache.encode([A, B])) == [A, B]
    assert encoder.asked == [[A], [B], [B]]


@pytest.mark.parametrize("seed", range(10))
def test_bytes_never_pass_the_limit_and_the_most_recent_are_kept(seed: int) -> None:
    """Any calls, against a list of prompts by their last use."""
    chance = random.Random(seed)
    prompts: list[TokenIds] = [(number,) * chance.randint(1, 12) for number in range(12)]
    limit = 20 * TOKEN
    cache = EncoderCache(Encoder(), limit_bytes=limit)
    recent: list[TokenIds] = []  # what should be kept, the least recently used one first
    for _ in range(200):
        asked = chance.choices(prompts, k=chance.randint(1, 3))
        hits = [prompt for prompt in dict.fromkeys(asked) if prompt in recent]
        new = [prompt for prompt in dict.fromkeys(asked) if prompt not in recent]
        assert read_back(cache.encode(asked)) == asked
        recent = [prompt for prompt in recent if prompt not in hits] + hits + new
        while sum(map(len, recent)) * TOKEN > limit:
            recent.pop(0)
        assert sorted(kept(cache, prompts)) == sorted(recent)


@pytest.mark.parametrize("sampling", [Sampling(max_length=12), Sampling(max_length=12, do_sample=True, seed=3)])
async def test_a_reply_is_the_same_whether_its_prompt_was_encoded_for_it_or_not(
    weights: Weights, sampling: Sampling
) -> None:
    """Law 2. The prompts come together, then one by one: encoded each time, or only the first."""
    prompts = random_prompts([3, 17, 9, 17, 30])
    written = []
    for limit in (0, 10**6):
        engine = SteppedEngine(weights, slots=5, max_prompt=64, max_reply=64, encoding_cache_bytes=limit)
        replies = [engine.ask(prompt, sampling) for prompt in prompts]
        engine.step()
        while engine.active:
            engine.step()
        for prompt in prompts:
            replies.append(engine.ask(prompt, sampling))
            while not engine.idle:
                engine.step()
        written.append([await read(reply) for reply in replies])
    cache_off, cache_on = written
    assert cache_on == cache_off
    assert cache_on[:5] == cache_on[5:]
