"""A request's tokens: which are known, which the decoder has read, and when the reply is complete."""

from typing import Any

import pytest

from serve_app.engine.request import Request, TokenIds
from serve_app.engine.token_stream import Ending
from serve_app.messages import Sampling


def request(prefix: TokenIds = (), sampling: Sampling | None = None) -> Request:
    stream: Any = None  # which none of these tests reads
    return Request((9, 1), sampling or Sampling(max_length=4), 0, 100.0, stream, prefix)


@pytest.mark.parametrize(
    ("generated", "ending"),
    [([], None), ([5, 6], None), ([5, 1], "stop"), ([5, 6, 7], "length"), ([5, 6, 1], "stop")],
)
def test_a_reply_ends_with_eos_or_at_max_length(generated: list[int], ending: Ending | None) -> None:
    one = request()
    for token in generated:
        assert one.ending(eos_token=1) is None
        one.advance(one.next_inputs(1), [token])
    assert one.ending(eos_token=1) == ending


@pytest.mark.parametrize(("prefix", "ending"), [((6, 1), "stop"), ((6, 7, 8), "length"), ((6, 7), None)])
def test_a_reply_may_have_been_completed_by_another_replica(prefix: TokenIds, ending: Ending | None) -> None:
    assert request(prefix).ending(eos_token=1) == ending


def test_the_prefix_is_decoded_before_a_sampled_token_is_appended() -> None:
    one = request(prefix=(6, 7))
    inputs, contexts, appended = [], [], []
    for sampled in (20, 21, 22, 23):
        read = one.next_inputs(1)
        inputs += read
        contexts += [list(context.tokens) for context in one.contexts(read)]
        appended += [bool(one.advance(read, [sampled]))]
    assert inputs == [0, 6, 7, 22]
    assert contexts == [[0], [0, 6], [0, 6, 7], [0, 6, 7, 22]]
    assert appended == [False, False, True, True]
    assert one.tokens == [0, 6, 7, 22, 23]


def test_requests_do_not_share_their_tokens() -> None:
    first, second = request((6,)), request((6,))
    for _ in range(2):
        first.advance(first.next_inputs(1), [9])
    assert (first.tokens, second.tokens) == ([0, 6, 9], [0, 6])


def test_sampling_without_a_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="seed: must be set"):
        request(sampling=Sampling(do_sample=True))
