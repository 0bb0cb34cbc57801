"""The systems that are measured over HTTP. Each is started fresh in processes of its own, and always stopped.

Every system gets all cores and runs as its own documentation recommends; those on Ray Serve share this project's
proxy settings and environment.
"""

import asyncio
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from bench.load import INSTRUCTION, WARM_UP, Answer, Ask, Request, RequestFailed, answered, closed_loop
from bench.peers.transformers_t5 import BEST_DTYPE
from launcher import haproxy
from launcher.preflight import Plan, free_port
from launcher.processes import Processes, Program
from launcher.run import ROOT, STOP_S, child_environment, tail
from serve_app.load import events

HOST = "127.0.0.1"
START_S = 180.0
POLL_S = 1.0
WARM_UP_CLIENTS = 4
CORES = os.cpu_count() or 1
log = logging.getLogger("bench")

AskOverHttp = Callable[[aiohttp.ClientSession, str, Request], Awaitable[Answer]]  # of a base URL; raises RequestFailed


@dataclass(frozen=True)
class Place:
    """Where one system runs."""

    model: Path  # folder of the checkpoint
    folder: Path  # for what the system writes
    port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


@dataclass(frozen=True)
class System:
    dtype: str
    command: Callable[[Place], list[str]]  # arguments for Python
    ask: AskOverHttp
    start_rate: float = 1.0  # requests a second; near where it broke before, so that few rates need be tried
    ours: bool = False  # else a peer


def this_project(dtype: str) -> Callable[[Place], list[str]]:
    """serve_config.yaml with one model replica, which gets all cores."""

    def command(place: Place) -> list[str]:
        config = our_config(place)
        config["applications"][0]["args"]["dtype"] = dtype
        model = model_deployment(config)
        model["autoscaling_config"] |= {"min_replicas": 1, "max_replicas": 1}
        model["ray_actor_options"] |= {"num_cpus": CORES}
        return serve_run(config, place)

    return command


def serve_peer(module: str) -> Callable[[Place], list[str]]:
    """A peer on Ray Serve, behind the same proxy as this project."""

    def command(place: Place) -> list[str]:
        application = {"name": "peer", "import_path": f"{module}:build", "args": {"model": str(place.model)}}
        return serve_run(_config_at(place) | {"applications": [application]}, place)

    return command


def flask_peer(place: Place) -> list[str]:
    return ["-m", "bench.peers.flask_generate", str(place.model), str(place.port)]


def shipped_config() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    return config


def our_config(place: Place) -> dict[str, Any]:
    """The shipped one, on the place's port and of its model, and without knowledge."""
    chat_config = place.folder / "chatbot.yaml"
    chat_config.write_text(yaml.safe_dump({"instruction": INSTRUCTION, "knowledge": ""}))
    config = _config_at(place)
    changed = {"model": str(place.model), "fallback_model": None, "chat_config": str(chat_config)}
    config["applications"][0]["args"] |= changed
    return config


def model_deployment(config: dict[str, Any]) -> dict[str, Any]:
    """The options of the model replicas in a Serve config of ours."""
    deployments = config["applications"][0]["deployments"]
    found: dict[str, Any] = next(deployment for deployment in deployments if deployment["name"] == "GodelModel")
    return found


def _config_at(place: Place) -> dict[str, Any]:
    """The shipped one, on the place's port."""
    config = shipped_config()
    config["http_options"] |= {"host": HOST, "port": place.port}
    return config


def serve_run(config: dict[str, Any], place: Place) -> list[str]:
    """Arguments for Python."""
    path = place.folder / "serve_config.yaml"
    path.write_text(yaml.safe_dump(config))
    return ["-m", "ray.serve.scripts", "run", "--address", "local", str(path)]


async def ask_chat(session: aiohttp.ClientSession, url: str, request: Request) -> Answer:
    """This project's streamed POST /chat."""
    return await _ask_ours(session, url, chat_body(request) | {"stream": True})


async def ask_whole(session: aiohttp.ClientSession, url: str, request: Request) -> Answer:
    """This project's POST /chat for a reply in one piece."""
    return await _ask_ours(session, url, chat_body(request))


async def _ask_ours(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> Answer:
    first_token_at: float | None = None
    async with _posted(session, f"{url}/chat", body) as response:
        async for event, data in events(response):
            if event == "token" and first_token_at is None:
                first_token_at = time.perf_counter()
            if event == "done":
                usage = data["usage"]
                return Answer(usage["prompt_tokens"], usage["completion_tokens"], first_token_at)
            if event == "error":
                raise RequestFailed(data["error"]["message"])
    raise RequestFailed("the stream ended before the reply did")


def chat_body(request: Request) -> dict[str, Any]:
    """This project's question: a reply of that length."""
    return {"dialog": [request.turn], "generation": {"min_length": request.length, "max_length": request.length}}


async def ask_peer(session: aiohttp.ClientSession, url: str, request: Request) -> Answer:
    """A peer's POST /, see bench/peers."""
    async with _posted(session, url, {"prompt": request.prompt, "length": request.reply_tokens}) as response:
        reply = await response.json()
    return Answer(reply["prompt_tokens"], reply["reply_tokens"])


@asynccontextmanager
async def _posted(
    session: aiohttp.ClientSession, url: str, body: dict[str, Any]
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Raises RequestFailed for anything else than 200, and where the connection breaks while it is read."""
    try:
        async with session.post(url, json=body) as response:
            if response.status != 200:
                raise RequestFailed(f"{response.status} {(await response.text())[:200]}")
            yield response
    except aiohttp.ClientError as error:
        raise RequestFailed(f"{type(error).__name__}: {error}") from None


_BATCHED_DTYPE = str(BEST_DTYPE).removeprefix("torch.")

SYSTEMS: dict[str, System] = {
    "this project, int8": System("int8", this_project("int8"), ask_chat, 4.0, ours=True),
    "Flask, generate": System("float32", flask_peer, ask_peer, 0.5),
    "serve.batch, generate": System(_BATCHED_DTYPE, serve_peer("bench.peers.batched_generate"), ask_peer, 0.5),
    "serve.batch, CTranslate2": System("int8", serve_peer("bench.peers.batched_ctranslate2"), ask_peer, 2.0),
}


@contextmanager
def running(name: str, system: System, model: Path, room: haproxy.Limits = haproxy.SHIPPED) -> Iterator[str]:
    """A system's URL, once it is warm. Whatever ends the block ends the system's processes too.

    room: what its proxy lets through, if it is on Serve. Raises RuntimeError where the system does not start.
    """
    with tempfile.TemporaryDirectory() as folder, haproxy.prepared(room) as proxy:
        place = Place(model, Path(folder), free_port())
        processes = Processes()
        # By SIGTERM: a process in the background may ignore SIGINT.
        command = [sys.executable, *system.command(place)]
        program = processes.start(name, command, place.folder / "log", signal.SIGTERM, _environment(place, proxy), ROOT)
        try:
            asyncio.run(_warm_up(system, place.url, program))
            log.info("%s is warm", name)
            yield place.url
        finally:
            left = processes.stop(STOP_S, hurry=lambda: False)
            if left:
                log.error("%s: these processes could not be ended: %s", name, [process.pid for process in left])


def _environment(place: Place, proxy: Mapping[str, str]) -> dict[str, str]:
    """`make run`'s: HAProxy for whatever runs on Serve, this machine alone, a token; and a folder of its own for Ray.

    Ray gives its workers way to all other processes (niceness 15); here they are to have the priority of the rest.
    """
    plan = Plan(place.folder, HOST, place.port, "", HOST, frontend_port=0)  # there is no frontend
    ours = {"RAY_TMPDIR": str(place.folder), "RAY_worker_niceness": "0"}
    return child_environment(os.environ, plan, place.folder, proxy) | ours


async def _warm_up(system: System, url: str, program: Program) -> None:
    async with asking(system.ask, url) as ask:
        await _first_answer(ask, WARM_UP[0], program)
        await closed_loop(ask, WARM_UP, WARM_UP_CLIENTS)


async def _first_answer(ask: Ask, request: Request, program: Program) -> None:
    """Ask until the system answers. Raises RuntimeError where it ends instead, or does not answer within START_S."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            await answered(ask, request)
            return
        except RequestFailed as failure:
            if program.exit_code is not None or time.monotonic() > deadline:
                state = "runs" if program.exit_code is None else f"ended with exit code {program.exit_code}"
                end_of_log = f"The end of its log:\n{tail(program.log)}"
                raise RuntimeError(f"{program.name} {state}, but does not answer: {failure}. {end_of_log}") from None
        await asyncio.sleep(POLL_S)


@asynccontextmanager
async def asking(ask: AskOverHttp, url: str) -> AsyncIterator[Ask]:
    """A client of a running system, with as many connections as it takes."""
    unlimited = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=unlimited, timeout=aiohttp.ClientTimeout()) as session:

        async def ask_here(request: Request) -> Answer:
            return await ask(session, url, request)

        yield ask_here
