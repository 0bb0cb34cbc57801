"""Request routers beside each other, on a real Ray: `python -m bench.routers`, some ten minutes.

For each router three replicas that take modelled times (bench/modelled.py) are deployed anew. Clients in a closed loop
ask them: as many as there are slots, and twice as many; for replies of one length, and for short ones with a long one
among ten.

    the less busy of two    serve_app.routing's: Serve's default, around replicas that are stalled
    capacity queue          Serve's experimental one: an actor counts what each replica has, and names the least busy
    ... of free slots       and lets none have more than its slots: who waits, waits in that actor
"""

import argparse
import asyncio
import logging
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.load import WARM_UP
from bench.modelled import make_tiny, modelled
from bench.policies import told_environment
from bench.services import running
from launcher import haproxy
from serve_app.load import Load
from serve_app.load_report import quantile

REPLICAS, SLOTS = 3, 4
LENGTHS = {"60": [60], "20, one in ten 240": [20] * 9 + [240]}  # tokens of replies

_EXPERIMENTAL = "ray.serve.experimental"
_QUEUE = {
    "request_router_config": {
        "request_router_class": f"{_EXPERIMENTAL}.capacity_queue_router.CapacityQueueRouter",
        "request_router_kwargs": {"capacity_queue_actor_name": "queue"},
    },
    "deployment_actors": [
        {
            "name": "queue",
            "actor_class": f"{_EXPERIMENTAL}.capacity_queue:CapacityQueue",
            "init_kwargs": {"acquire_timeout_s": 60.0, "token_ttl_s": None},
        }
    ],
}
ROUTERS: dict[str, dict[str, Any]] = {
    "the less busy of two": {},
    "capacity queue": _QUEUE,
    "capacity queue of free slots": _QUEUE | {"max_ongoing_requests": SLOTS},
}


def loads(url: str, seconds: float) -> Iterator[tuple[str, int, Load]]:
    """Lengths of replies, number of clients, and the load. The prompts come again, so that steps take the time."""
    for name, lengths in LENGTHS.items():
        bodies = [
            {"dialog": [WARM_UP[number % len(WARM_UP)].turn], "generation": {"min_length": each, "max_length": each}}
            for number, each in enumerate(lengths)
        ]
        for clients in (REPLICAS * SLOTS, 2 * REPLICAS * SLOTS):
            yield name, clients, Load(url, bodies, seconds, clients=clients)


def row(router: str, lengths: str, clients: int, load: Load) -> str:
    """As Markdown."""
    good = [outcome for outcome in load.outcomes if outcome.ending == "good"]
    first = [outcome.first_piece_s for outcome in good if outcome.first_piece_s is not None]
    whole = [outcome.total_s for outcome in good]
    shown = [f"{quantile(values, share) or 0:.2f}" for values in (first, whole) for share in (0.5, 0.95)]
    others = len(load.outcomes) - len(good)
    return f"| {router} | {lengths} | {clients} | {len(good) / load.elapsed_s:.1f} | {' | '.join(shown)} | {others} |"


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routers", nargs="+", choices=ROUTERS, default=list(ROUTERS))
    parser.add_argument("--seconds", type=float, default=25, help="of each load")
    arguments = parser.parse_args()
    sys.stdout.write(
        "\n".join(told_environment()) + f"\n{REPLICAS} replicas of {SLOTS} slots, {arguments.seconds:.0f} s each\n\n"
    )
    sys.stdout.write("| router | tokens | clients | replies/s | first token p50 | p95 | whole p50 | p95 | not good |\n")
    sys.stdout.write(f"{'|---' * 9}|\n")
    room = haproxy.Limits(slots=REPLICAS * SLOTS)
    with tempfile.TemporaryDirectory() as folder:
        make_tiny(Path(folder))
        for router in arguments.routers:
            options = {"num_replicas": REPLICAS} | ROUTERS[router]
            with running(router, modelled(options, slots=SLOTS), Path(folder), room) as url:
                for lengths, clients, load in loads(url, arguments.seconds):
                    asyncio.run(load.run())
                    sys.stdout.write(f"{row(router, lengths, clients, load)}\n")
                    sys.stdout.flush()


if __name__ == "__main__":
    main()
