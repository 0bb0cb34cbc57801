"""One model replica without Serve: chunks, deadline, leaving readers, status, health."""

import asyncio
import logging
import pickle
import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import yaml
from ray._raylet import Config  # type: ignore[attr-defined]  # compiled
from ray.exceptions import RayTaskError
from ray.serve._private import constants
from torch import Tensor

from serve_app import model as models
from serve_app import tracing
from serve_app.checkpoint import ROOT, resolve
from serve_app.engine.errors import EngineFailed, QueueFull, ReplyFailed
from serve_app.errors import ModelError
from serve_app.messages import Candidate, GenerateRequest, Sampling, TokenChunk
from serve_app.model import GodelModel
from serve_app.settings import AppArgs
from tests.support.checkpoints import initial_t5, save_checkpoint, small_tokenizer
from tests.support.collector import Collector
from tests.support.fakes import ORIGIN
from tests.support.waiting import eventually

pytestmark = pytest.mark.usefixtures("one_thread")

# A freshly initialised T5 repeats itself and never ends by itself.
LONG = Sampling(max_length=200, min_length=200, seed=1)
FOREVER_S = 1e12


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GodelModel]:
    monkeypatch.setattr(models, "here", lambda: ORIGIN)
    save_checkpoint(initial_t5(vocab_size=len(small_tokenizer())), tmp_path)
    args = AppArgs(model=str(tmp_path), slots=2, weights_cache_mb=0)
    replica = GodelModel(resolve(args), args)
    yield replica
    replica.__del__()


def request(sampling: Sampling = LONG, **fields: Any) -> GenerateRequest:
    return GenerateRequest("id", [5, 6, 1], sampling, **{"budget_s": 600} | fields)


async def chunks_of(model: GodelModel, asked: GenerateRequest) -> list[TokenChunk]:
    return [chunk async for chunk in model.generate(asked)]


async def test_only_the_last_chunk_says_why_the_reply_ended(model: GodelModel) -> None:
    chunks = await chunks_of(model, request())
    assert [chunk.finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["length"]
    assert sum(len(chunk.token_ids) for chunk in chunks) == 199
    assert {chunk.origin for chunk in chunks} == {ORIGIN}


async def test_the_first_token_travels_alone_and_later_ones_together(
    model: GodelModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "_JOIN_STREAM_S", FOREVER_S)
    first, rest = await chunks_of(model, request())
    assert (len(first.token_ids), len(rest.token_ids)) == (1, 198)


async def test_a_reply_that_nobody_reads_along_travels_in_fewer_pieces(
    model: GodelModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "_JOIN_STREAM_S", 0)
    monkeypatch.setattr(models, "_JOIN_WHOLE_S", FOREVER_S)
    assert [len(await chunks_of(model, request(streamed=streamed))) for streamed in (True, False)] == [199, 2]


async def test_a_prefix_is_continued_and_not_repeated(model: GodelModel) -> None:
    whole = [token for chunk in await chunks_of(model, request()) for token in chunk.token_ids]
    rest = [token for chunk in await chunks_of(model, request(prefix=whole[:150])) for token in chunk.token_ids]
    assert whole[:150] + rest == whole


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_reply_that_is_one_of_candidates_comes_in_one_chunk(model: GodelModel, streamed: bool) -> None:
    candidates = (Candidate((7, 8, 9, 1), bonus=99), Candidate((7, 9, 1)))
    chunks = await chunks_of(model, request(candidates=candidates, streamed=streamed))
    assert chunks == [TokenChunk([7, 8, 9], ORIGIN, "stop")]


async def test_the_deadline_is_the_last_chunk(model: GodelModel) -> None:
    chunks = await chunks_of(model, request(budget_s=0))
    assert chunks[-1].finish_reason == "deadline"


async def test_a_reader_who_leaves_frees_the_slot(model: GodelModel) -> None:
    stream = cast("AsyncGenerator[TokenChunk]", model.generate(request()))
    await anext(stream)
    await stream.aclose()
    eventually(lambda: model._engine.active == 0, 10, "a free slot")


async def test_a_replys_stages_are_told_in_its_askers_trace(
    collector: Collector, model: GodelModel, caplog: pytest.LogCaptureFixture
) -> None:
    asker = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    with caplog.at_level(logging.INFO, "ray.serve.godel"):
        await chunks_of(model, request(trace_context=asker))
        await chunks_of(model, request(trace_context=asker, budget_s=0))
    tracing.stop()
    whole, expired = sorted((span for span in collector.spans if span.name == "generate"), key=lambda span: span.began)
    assert {(span.trace_id, span.parent_id) for span in (whole, expired)} == {("a" * 32, "b" * 16)}
    assert (whole.service, whole.instance) == ("godel-model", ORIGIN.replica_id)
    assert collector.parts(whole) == ["queue", "encode", "first token", "decode"]
    assert collector.parts(expired) == ["queue"]
    assert whole.attributes == {"request_id": "id", "prompt_tokens": 3, "reply_tokens": 199, "ending": "length"}
    assert expired.attributes["ending"] == "deadline"
    assert [vars(record)["trace_id"] for record in caplog.records if "tokens" in record.message] == ["a" * 32] * 2


async def test_status_counts_slots_and_requests(model: GodelModel) -> None:
    status = await model.status()
    assert (status.origin, status.slots, status.active, status.waiting) == (ORIGIN, 2, 0, 0)


async def test_an_engine_that_hangs_fails_the_health_check_until_it_goes_on(
    model: GodelModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its event loop lives, and answers."""
    may_go_on = threading.Event()
    original = model._engine._model.step

    def hang(tokens: Sequence[int], counts: Sequence[int] | None) -> Tensor:
        assert may_go_on.wait(30)
        return original(tokens, counts)

    monkeypatch.setattr(model._engine._model, "step", hang)
    monkeypatch.setattr(model, "_stall_limit_s", 0.05)
    asked = asyncio.create_task(chunks_of(model, request()))
    async with asyncio.timeout(30):
        while (await model.status()).stalled_s < 0.1:
            await asyncio.sleep(0.01)
    with pytest.raises(EngineFailed, match=r"no progress for .* s: more than stall_limit_s, 0.05 s"):
        model.check_health()
    may_go_on.set()
    assert (await asked)[-1].finish_reason == "length"
    monkeypatch.setattr(model, "_stall_limit_s", 10)
    model.check_health()


async def test_a_dead_engine_fails_the_health_check(model: GodelModel, monkeypatch: pytest.MonkeyPatch) -> None:
    model.check_health()
    monkeypatch.setattr(model._engine._model, "step", lambda tokens, counts: torch.zeros(1))  # of the wrong shape
    with pytest.raises(EngineFailed):
        await chunks_of(model, request())
    with pytest.raises(EngineFailed):
        model.check_health()


def test_what_hangs_is_stopped_within_the_time_that_is_promised() -> None:
    """By the numbers that `check_health` gives: of serve_config.yaml, and of Ray, which may change with a release."""
    (application,) = yaml.safe_load((ROOT / "serve_config.yaml").read_text())["applications"]
    (config,) = (one for one in application["deployments"] if one["name"] == "GodelModel")
    period, timeout = 1.1 * config["health_check_period_s"], config["health_check_timeout_s"]
    failures = constants.REPLICA_HEALTH_CHECK_UNHEALTHY_THRESHOLD
    assert period <= timeout, "else the next check would not begin when one has timed out"
    assert period + failures * timeout < 21
    assert AppArgs().stall_limit_s + failures * period < 17
    assert not constants.RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS, (
        "Ray's default: the variable has this name, and is off"
    )
    assert Config.kill_worker_timeout_milliseconds() == 5000, "likewise"


# --- what a caller across Ray sees ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [QueueFull, ReplyFailed, EngineFailed, ValueError])
def test_an_error_is_caught_by_its_name_across_ray(kind: type[Exception]) -> None:
    """Serve hands on the error itself (over gRPC), or one that is a RayTaskError and of the error's class."""
    error = kind("it says why")
    alone = pickle.loads(pickle.dumps(error))
    assert (type(alone), str(alone)) == (kind, "it says why")
    wrapped: Any = RayTaskError("generate", "Traceback ...", error, "", 1, "127.0.0.1")  # type: ignore[no-untyped-call]
    raised = pickle.loads(pickle.dumps(wrapped)).as_instanceof_cause()
    assert str(raised.cause) == "it says why"
    assert isinstance(raised, kind)


async def test_one_reply_that_fails_leaves_the_engine_and_the_health_check_well(
    model: GodelModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(model._engine._model, "step", lambda tokens, counts: torch.full((len(tokens), 9), torch.nan))
        with pytest.raises(ReplyFailed, match="not finite"):
            await chunks_of(model, request())
    assert (await chunks_of(model, request()))[-1].finish_reason == "length"
    model.check_health()


# --- ready only once it has written -----------------------------------------------------------------------------------


def start(folder: Path, **args: Any) -> GodelModel:
    settings = AppArgs(model=str(folder), slots=2, weights_cache_mb=0, **args)
    return GodelModel(resolve(settings), settings)


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(models, "here", lambda: ORIGIN)
    return save_checkpoint(initial_t5(vocab_size=len(small_tokenizer())), tmp_path)


def test_a_replica_has_written_before_it_is_ready(checkpoint: Path) -> None:
    replica = start(checkpoint, max_reply_tokens=2)
    assert sum(tokens for _, tokens in replica._engine._steps) == 1
    replica.__del__()


@pytest.mark.parametrize("dtype", ["auto", "float32"])
def test_a_model_that_cannot_write_fails_the_start_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    """Damaged weights, which a checkpoint's format does not show."""
    monkeypatch.setattr(models, "here", lambda: ORIGIN)
    damaged = initial_t5(vocab_size=len(small_tokenizer()))
    with torch.no_grad():
        damaged.get_parameter("encoder.block.0.layer.0.SelfAttention.v.weight")[3] = torch.nan
    with pytest.raises(ModelError, match="was read, but cannot write a reply: the model's scores .* not finite"):
        start(save_checkpoint(damaged, tmp_path), dtype=dtype)
    assert not [thread for thread in threading.enumerate() if thread.name == "engine"]


def test_a_model_that_hangs_fails_the_start_in_bounded_time(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_go_on = threading.Event()
    monkeypatch.setattr("serve_app.engine.t5.T5.step", lambda self, tokens, counts: may_go_on.wait(30))
    with pytest.raises(ModelError, match=r"nothing came within request_timeout_s, 0.2 s"):
        start(checkpoint, request_timeout_s=0.2, stall_limit_s=0.01)
    may_go_on.set()
