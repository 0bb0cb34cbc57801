"""`python -m bench.replica FOLDER`: what a model replica is without Ray, for bench.memory. FOLDER: its model.

Says "ready" when a replica would, then, for each line that it reads, "done" when it has written sixteen replies.
"""

import asyncio
import sys
from pathlib import Path

from serve_app.checkpoint import Checkpoint
from serve_app.engine.engine import Engine
from serve_app.messages import Sampling
from serve_app.model import make_engine, try_out
from serve_app.settings import AppArgs

REPLIES, PROMPT, REPLY = 16, 300, 32  # at once; tokens


def main(folder: Path) -> None:
    args = AppArgs(model=str(folder))
    checkpoint = Checkpoint(name=folder.name, requested=folder.name, folder=folder)
    engine = make_engine(checkpoint, args)
    try_out(engine, checkpoint, args)
    _say("ready")
    for _ in sys.stdin:
        asyncio.run(_write(engine))
        _say("done")
    engine.close()


async def _write(engine: Engine) -> None:
    sampling = Sampling(max_length=REPLY + 1, min_length=REPLY + 1)

    async def reply(number: int) -> None:
        prompt = [5 + (number * 7 + place) % 1000 for place in range(PROMPT - 1)]
        async for _ in engine.submit([*prompt, 1], sampling, budget_s=600):
            pass

    await asyncio.gather(*map(reply, range(REPLIES)))


def _say(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
