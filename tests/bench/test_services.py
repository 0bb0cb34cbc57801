"""How the harness speaks to the services, on a stub of them; and what it has them started with."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from bench.load import Answer, Request, RequestFailed
from bench.services import CORES, SYSTEMS, Place, ask_whole, asking, shipped_config

REQUEST = Request(0, "w5w6", prompt_tokens=4, reply_tokens=8)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves POST / and POST /chat by a handler -> the URL."""
    runners: list[web.AppRunner] = []

    async def start(handler: Handler) -> str:
        app = web.Application()
        app.add_routes([web.post("/", handler), web.post("/chat", handler)])
        runner = web.AppRunner(app)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        return f"http://{host}:{port}"

    yield start
    for runner in runners:
        await runner.cleanup()


def event(name: str, **data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


DONE = event("done", usage={"prompt_tokens": 4, "completion_tokens": 8})


def streaming(*pieces: bytes) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            await asyncio.sleep(0.05)
        return response

    return answer


async def test_this_project_is_asked_for_a_whole_reply_of_the_wanted_length(serve: Serve) -> None:
    bodies: list[dict[str, object]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        bodies.append(await request.json())
        return web.json_response({"usage": {"prompt_tokens": 4, "completion_tokens": 8}})

    async with asking(ask_whole, await serve(answer)) as ask:
        assert await ask(REQUEST) == Answer(4, 8)
    assert bodies == [{"dialog": ["w5w6"], "generation": {"min_length": 9, "max_length": 9}}]


async def test_this_project_is_asked_for_a_stream_of_the_wanted_length(serve: Serve) -> None:
    bodies: list[dict[str, object]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        bodies.append(await request.json())
        return await streaming(event("token", text="w3"), event("token", text=" w3"), DONE)(request)

    async with asking(SYSTEMS["this project, int8"].ask, await serve(answer)) as ask:
        answered = await ask(REQUEST)
    generation = {"min_length": 9, "max_length": 9}
    assert bodies == [{"dialog": ["w5w6"], "stream": True, "generation": generation}]
    assert (answered.prompt_tokens, answered.reply_tokens) == (4, 8)
    assert answered.first_token_at is not None


async def test_a_peer_is_given_the_whole_prompt(serve: Serve) -> None:
    bodies: list[dict[str, object]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        bodies.append(await request.json())
        return web.json_response({"response": "w3", "prompt_tokens": 4, "reply_tokens": 8})

    async with asking(SYSTEMS["Flask, generate"].ask, await serve(answer)) as ask:
        answered = await ask(REQUEST)
    assert bodies == [{"prompt": "w3 [CONTEXT] w5w6", "length": 8}]
    assert (answered.prompt_tokens, answered.reply_tokens, answered.first_token_at) == (4, 8, None)


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (streaming(event("token", text="w3"), event("error", error={"message": "died"})), "died"),
        (streaming(event("token", text="w3")), "ended before the reply"),
    ],
    ids=["an error event", "no done event"],
)
async def test_a_reply_that_is_broken_off_has_failed(serve: Serve, handler: Handler, reason: str) -> None:
    async with asking(SYSTEMS["this project, int8"].ask, await serve(handler)) as ask:
        with pytest.raises(RequestFailed, match=reason):
            await ask(REQUEST)


@pytest.mark.parametrize("name", SYSTEMS)
async def test_a_refusal_and_a_dead_service_are_failures(serve: Serve, name: str) -> None:
    async def refuse(request: web.Request) -> web.StreamResponse:
        return web.Response(status=429, text="busy")

    async with asking(SYSTEMS[name].ask, await serve(refuse)) as ask:
        with pytest.raises(RequestFailed, match="429 busy"):
            await ask(REQUEST)
    async with asking(SYSTEMS[name].ask, "http://127.0.0.1:1") as ask:
        with pytest.raises(RequestFailed, match="Connect"):
            await ask(REQUEST)


def test_this_project_runs_as_shipped_on_one_replica_with_all_cores(tmp_path: Path) -> None:
    place = Place(Path("a/model"), tmp_path, 4711)
    *_, path = SYSTEMS["this project, int8"].command(place)
    written, shipped = yaml.safe_load(Path(path).read_text()), shipped_config()
    application, model = written["applications"][0], written["applications"][0]["deployments"][1]
    assert written["http_options"] == shipped["http_options"] | {"port": 4711}
    assert application["args"] == shipped["applications"][0]["args"] | {
        "model": "a/model",
        "fallback_model": None,
        "chat_config": str(tmp_path / "chatbot.yaml"),
        "dtype": "int8",
    }
    assert model["name"] == "GodelModel"
    assert model["ray_actor_options"]["num_cpus"] == CORES
    assert model["autoscaling_config"]["max_replicas"] == 1
