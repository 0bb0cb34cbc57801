"""The load: its arrival times, its lengths, and how answers are timed."""

import asyncio
import statistics
import time

import pytest

from bench.load import Answer, Latency, Request, RequestFailed, arrivals, burst, closed_loop, open_loop
from capacity.traces import PROMPT, REPLY


async def answer_at_once(request: Request) -> Answer:
    return Answer(request.prompt_tokens, request.reply_tokens)


def request_at(at_s: float) -> Request:
    return Request(at_s, "w5w6", 4, 8)


def test_arrivals_are_a_poisson_process() -> None:
    requests = arrivals(rate=20, seconds=500, fewest=0, seed=1)
    gaps = [later.at_s - earlier.at_s for earlier, later in zip(requests, requests[1:], strict=False)]
    assert all(0 <= request.at_s < 500 for request in requests)
    assert statistics.mean(gaps) == pytest.approx(1 / 20, rel=0.05)
    assert statistics.stdev(gaps) == pytest.approx(1 / 20, rel=0.05), "an exponential's deviation equals its mean"


def test_a_low_rate_lasts_until_enough_have_come() -> None:
    requests = arrivals(rate=0.1, seconds=1, fewest=30, seed=1)
    assert len(requests) == 30
    assert requests[-1].at_s > 100


def test_the_same_seed_and_rate_give_the_same_load() -> None:
    assert arrivals(2, 10, 0, seed=1) == arrivals(2, 10, 0, seed=1)
    assert arrivals(2, 10, 0, seed=1) != arrivals(2, 10, 0, seed=2)
    assert burst(3, seed=1) == burst(3, seed=1)


def test_lengths_follow_their_distributions() -> None:
    requests = arrivals(rate=10, seconds=100, fewest=0, seed=3)
    for lengths, drawn in (
        (PROMPT, [request.prompt_tokens for request in requests]),
        (REPLY, [request.reply_tokens for request in requests]),
    ):
        assert statistics.median(drawn) == pytest.approx(lengths.median, rel=0.1)
        assert min(drawn) >= lengths.least
        assert max(drawn) <= lengths.most


def test_no_prompt_repeats_a_word_or_another_prompt() -> None:
    words = [request.turn.split("w")[1:] for request in burst(20, seed=1)]
    assert all(len(set(turn)) == len(turn) for turn in words)
    assert len({tuple(turn[:4]) for turn in words}) == 20


async def test_a_slow_service_does_not_slow_the_open_loop_down() -> None:
    seen: list[float] = []
    started = time.perf_counter()

    async def slowly(request: Request) -> Answer:
        seen.append(time.perf_counter() - started)
        await asyncio.sleep(0.3)
        return await answer_at_once(request)

    await open_loop(slowly, [request_at(0.1 * number) for number in range(4)])
    assert seen == pytest.approx([0, 0.1, 0.2, 0.3], abs=0.08)


async def test_a_latency_counts_from_the_scheduled_arrival() -> None:
    one_at_a_time = asyncio.Lock()

    async def in_turn(request: Request) -> Answer:
        async with one_at_a_time:
            await asyncio.sleep(0.1)
            return await answer_at_once(request)

    outcomes = await open_loop(in_turn, [request_at(0), request_at(0), request_at(0.05)])
    waited = [outcome.total_s for outcome in outcomes if isinstance(outcome, Latency)]
    assert waited == pytest.approx([0.1, 0.2, 0.25], abs=0.05)


async def test_the_first_token_of_a_reply_that_comes_at_once_is_its_last() -> None:
    async def streamed(request: Request) -> Answer:
        first_token_at = time.perf_counter()
        await asyncio.sleep(0.1)
        return Answer(request.prompt_tokens, request.reply_tokens, first_token_at)

    (at_once,) = await open_loop(answer_at_once, [request_at(0)])
    (in_pieces,) = await open_loop(streamed, [request_at(0)])
    assert isinstance(at_once, Latency)
    assert isinstance(in_pieces, Latency)
    assert at_once.first_token_s == at_once.total_s
    assert in_pieces.total_s - in_pieces.first_token_s >= 0.09  # a busy machine may take longer than it was asked to


async def test_a_failure_is_an_outcome_of_its_own() -> None:
    async def refuse(request: Request) -> Answer:
        raise RequestFailed("429 busy")

    (outcome,) = await open_loop(refuse, [request_at(0)])
    assert isinstance(outcome, RequestFailed)
    with pytest.raises(RequestFailed, match="429 busy"):
        await closed_loop(refuse, [request_at(0)], clients=2)


async def test_other_token_counts_than_asked_for_end_the_measurement() -> None:
    async def short(request: Request) -> Answer:
        return Answer(request.prompt_tokens, request.reply_tokens - 1)

    with pytest.raises(RuntimeError, match="not comparable"):
        await open_loop(short, [request_at(0)])


async def test_a_closed_loop_keeps_as_many_requests_under_way_as_it_has_clients() -> None:
    under_way, most, answered = 0, 0, 0

    async def counted(request: Request) -> Answer:
        nonlocal under_way, most, answered
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        answered += 1
        return await answer_at_once(request)

    seconds = await closed_loop(counted, [request_at(0)] * 12, clients=4)
    assert (most, answered) == (4, 12)
    assert seconds == pytest.approx(0.03, abs=0.03)
