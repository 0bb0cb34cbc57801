"""What the metrics cost: `python -m bench.metrics_cost` prints their share of a model replica's time, in half a minute.

A full engine on models/mini writes replies, and the time is taken. Then everything that the metrics did meanwhile is
done again by itself, with Ray's real metric objects, and timed: their share is too small to be a difference of two
runs. mini is the worst case, as its steps are the shortest. Exits with 1 where it is above a hundredth.
"""

import asyncio
import sys
import time
from collections.abc import Callable

import ray

from serve_app.checkpoint import ROOT, resolve
from serve_app.engine.engine import Engine
from serve_app.engine.measures import ReplyTimes, Totals
from serve_app.messages import Origin, ReplicaStatus, Sampling
from serve_app.metrics import IngressMetrics, ReplicaMetrics
from serve_app.model import make_engine
from serve_app.outcomes import Outcome
from serve_app.settings import AppArgs

REPLIES, TOKENS, PROMPT = 400, 32, 100
LIMIT = 0.01
STATUS = ReplicaStatus(Origin("r", "n", "p", "n"), slots=16, active=16, waiting=48, tokens_per_second=0)


def main() -> int:
    args = AppArgs(model=str(ROOT / "models/mini"), max_waiting=REPLIES)
    engine = make_engine(resolve(args), args)
    asyncio.run(write(engine, 32))  # warm
    before = engine.totals.copy()
    wall_s = timed(lambda: asyncio.run(write(engine, REPLIES)))
    work = engine.totals.since(before)
    engine.close()
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    cost_s = timed(lambda: measure_again(work, wall_s))
    share = cost_s / wall_s
    steps = sum(work.steps)
    sys.stdout.write(
        f"{REPLIES} replies, {work.tokens} tokens, {steps} steps in {wall_s:.2f} s; "
        f"metrics {cost_s * 1000:.1f} ms: {share:.2%}, at most {LIMIT:.0%}\n"
    )
    return int(share > LIMIT)


async def write(engine: Engine, replies: int) -> None:
    """That many at once, of different prompts, none of which ends early."""
    sampling = Sampling(max_length=TOKENS, min_length=TOKENS)

    async def one(number: int) -> None:
        prompt = [5 + (number * 7 + place) % 1000 for place in range(PROMPT)]
        async for _ in engine.submit([*prompt, 1], sampling, budget_s=600, join_s=0.05):
            pass

    await asyncio.gather(*map(one, range(replies)))


def measure_again(work: Totals, wall_s: float) -> None:
    """What engine, model replica and ingress did for their metrics in that time."""
    replica, ingress = ReplicaMetrics(), IngressMetrics()
    for _ in range(REPLIES):
        times = ReplyTimes(submitted=0.0, began=0.1)
        for _ in range(TOKENS):
            times.wrote(0.2)
        replica.replied(times)
        outcome = Outcome(ending="done", first_token_s=0.2, total_s=1.0, prompt_tokens=PROMPT, reply_tokens=TOKENS)
        ingress.replied(outcome)
    for _ in range(int(wall_s) + 1):
        replica.report(STATUS, work)
    replica._report_work(work)


def timed(do: Callable[[], None]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
