"""One request, step by step: check, rank, fit the prompt, stream from a model replica, turn ids into text.

Knows neither HTTP nor Ray: `ingress` speaks the one, `model_pool` the other.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

from pydantic import ValidationError
from transformers import PreTrainedTokenizerBase

from serve_app.chat_config import ConfigFile
from serve_app.checkpoint import Checkpoint
from serve_app.citations import cite
from serve_app.errors import DeadlineExceeded, InvalidRequest, reason
from serve_app.grounding import Ranking, Sentence
from serve_app.knowledge import knowledge_base
from serve_app.messages import (
    LARGEST_SEED,
    ChatReply,
    ChatRequest,
    Deployed,
    FinishReason,
    GenerateRequest,
    Generation,
    Grounding,
    HealthStatus,
    Origin,
    Prompt,
    PromptPreview,
    ReplicaStatus,
    ReplyStart,
    Sampling,
    State,
    Timing,
    TokenChunk,
    Usage,
    Writer,
    says_something,
)
from serve_app.outcomes import Outcome, Recorder, recording
from serve_app.prompt import build_prompt
from serve_app.quotes import Quoter, Quotes, nearest
from serve_app.reply_text import GrowingText, QuotedText
from serve_app.settings import AppArgs, ChatConfig
from serve_app.shared_replies import SharedReplies, SharedReply
from serve_app.small_talk import phrase_book
from serve_app.stop_sequences import StopSequences
from serve_app.tracing import span

logger = logging.getLogger("ray.serve.godel")

# Threads that rank and tokenize. They and the event loop, in which streams run, take turns: with more of them a stream
# waits longer; with one, a request behind another's long text does.
_PLANNERS = 2


class Replicas(Protocol):
    """What writes replies; in production `model_pool.ModelPool`."""

    @property
    def ready(self) -> list[ReplicaStatus]: ...

    @property
    def states(self) -> list[tuple[ReplicaStatus, State]]: ...

    @property
    def is_starting(self) -> bool: ...

    async def deployed(self) -> Deployed | None: ...

    def write(self, request: GenerateRequest) -> AsyncGenerator[TokenChunk]: ...

    async def end(self, replica_id: str) -> None: ...


@dataclass(frozen=True)
class Plan:
    """Everything about a request that is settled before its first token."""

    request_id: str
    prompt: Prompt
    seed: int
    sampling: Sampling
    quotes: Quotes | None  # what the reply may be; None: anything
    config_version: str
    started_at: float  # when the request arrived, on this machine's monotonic clock


@dataclass(frozen=True)
class Piece:
    """The next piece of a reply's text; the first comes with what is known then, the last with the whole reply."""

    text: str
    chunk: TokenChunk
    start: ReplyStart | None = None
    reply: ChatReply | None = None


class Chat:
    def __init__(
        self,
        args: AppArgs,
        checkpoint: Checkpoint,
        tokenizer: PreTrainedTokenizerBase,
        config_file: ConfigFile,
        replicas: Replicas,
        record: Recorder = lambda outcome: None,
    ) -> None:
        """record: is given each reply's outcome at its end."""
        self.args = args
        self.checkpoint = checkpoint
        self.config_file = config_file
        self.replicas = replicas
        self._record = record
        self._tokenizer = tokenizer
        self._quoter = Quoter(tokenizer)
        self._replies: SharedReplies[Piece] = SharedReplies()
        self._planners = ThreadPoolExecutor(_PLANNERS, thread_name_prefix="plan")

    def prepare(self) -> None:
        """Read the configured knowledge and phrases before anybody asks; it takes no time where they have been read."""
        config = self.config_file.current.config
        knowledge_base(config.knowledge, config.grounding.passage_words, configured=True).read_ahead()
        phrase_book(config.generation.phrases)

    def seed(self, request: ChatRequest, request_id: str) -> int:
        """The request's or the configuration's; else one that follows from its id, wherever and whenever it is asked.

        Not drawn by the model replica, so that another one can continue the reply.
        """
        given = request.generation.seed if request.generation else None
        if given is None:
            given = self.config_file.current.config.generation.seed
        return given if given is not None else int.from_bytes(sha256(request_id.encode()).digest()) % (LARGEST_SEED + 1)

    def reply(self, request: ChatRequest, request_id: str, *, streamed: bool) -> SharedReply[Piece]:
        """The reply, shared by all callers that ask for the same by the same id. Reading it raises RequestError."""
        name = (request_id, self.seed(request, request_id), _digest(request))
        return self._replies.join(name, lambda: self._write(request, request_id, streamed))

    async def preview(self, request: ChatRequest, request_id: str) -> PromptPreview:
        """What the model would read. Raises as `plan` does."""
        plan = await self.plan(request, request_id)
        return PromptPreview(
            prompt=str(self._tokenizer.decode(plan.prompt.token_ids)),
            prompt_tokens=len(plan.prompt.token_ids),
            window=self.args.max_prompt_tokens,
            grounding=_grounding(plan.prompt),
            config_version=plan.config_version,
        )

    async def plan(self, request: ChatRequest, request_id: str) -> Plan:
        """Raises InvalidRequest, which names the field, and DeadlineExceeded."""
        started_at = time.monotonic()
        self._check(request)
        # Ranking and tokenizing a long text takes tens of milliseconds, in which others' tokens should flow.
        planning = asyncio.get_running_loop().run_in_executor(
            self._planners, self._plan, request, request_id, started_at
        )
        try:
            async with asyncio.timeout(self._timeout_s(request)):
                return await planning
        except TimeoutError:
            raise DeadlineExceeded("there was no time to begin the reply; try again") from None

    async def _write(self, asked: ChatRequest, request_id: str, streamed: bool) -> AsyncGenerator[Piece]:
        """The reply, piece by piece; in few pieces where it is not streamed."""
        with recording(self._record) as outcome:
            with span("plan", request_id=request_id):
                plan = await self.plan(asked, request_id)
            outcome.prompt_tokens = len(plan.prompt.token_ids)
            outcome.is_quoted = plan.quotes is not None
            text = QuotedText(plan.quotes) if plan.quotes else GrowingText(self._tokenizer)
            until = StopSequences(asked.stop)
            writers: dict[Origin, None] = {}  # in their order
            async with aclosing(self.replicas.write(self._question(plan, asked, streamed))) as chunks:
                async for chunk in chunks:
                    outcome.note_tokens(len(chunk.token_ids))
                    start = None if writers else self._start(plan, chunk.origin, outcome)
                    writers[chunk.origin] = None
                    is_last = chunk.finish_reason is not None
                    piece = until.grow(text.grow(chunk.token_ids, is_last=is_last), is_last=is_last)
                    finish_reason = "stop" if until.found else chunk.finish_reason
                    if finish_reason in ("stop", "length"):
                        outcome.ending = "done"
                        whole = until.text if until.found else text.whole
                        reply = self._finish(plan, whole, list(writers), finish_reason, outcome)
                        yield Piece(piece, chunk, start, reply)
                    else:
                        yield Piece(piece, chunk, start)
                    if until.found:  # the replica would write on
                        return

    def _question(self, plan: Plan, asked: ChatRequest, streamed: bool) -> GenerateRequest:
        return GenerateRequest(
            plan.request_id,
            plan.prompt.token_ids,
            plan.sampling,
            budget_s=plan.started_at + self._timeout_s(asked) - time.monotonic(),
            candidates=plan.quotes.candidates if plan.quotes else (),
            streamed=streamed or bool(asked.stop),  # so that it ends where it is told to
        )

    def _plan(self, request: ChatRequest, request_id: str, started_at: float) -> Plan:
        current = self.config_file.refresh()
        seed = self.seed(request, request_id)
        generation = self._generation(request, current.config)
        ranking = self._rank(request, current.config)
        prompt = self._prompt(request, current.config, ranking)
        return Plan(
            request_id=request_id,
            prompt=prompt,
            seed=seed,
            sampling=generation.sampling(seed),
            quotes=self._quotes(request.dialog[-1], generation, ranking, prompt)
            if self._is_quoted(generation)
            else None,
            config_version=current.version,
            started_at=started_at,
        )

    def _timeout_s(self, request: ChatRequest) -> float:
        return min(request.timeout_s or math.inf, self.args.request_timeout_s)

    def _check(self, request: ChatRequest) -> None:
        if not says_something(request.dialog[-1]):
            raise InvalidRequest("dialog: the last turn is blank; it must hold the user's message")
        for i, turn in enumerate(request.dialog):
            _check_length(f"dialog.{i}", turn, self.args.max_turn_chars)
        _check_length("instruction", request.instruction, self.args.max_turn_chars)
        _check_length("knowledge", request.knowledge, self.args.max_knowledge_chars)
        if (size := sum(map(len, request.dialog))) > (limit := self.args.max_dialog_chars):
            raise InvalidRequest(
                f"dialog: {size} characters in all; at most {limit} are allowed, so leave out its oldest turns"
            )

    def _rank(self, request: ChatRequest, config: ChatConfig) -> Ranking:
        configured = request.knowledge is None
        knowledge = config.knowledge if request.knowledge is None else request.knowledge
        base = knowledge_base(knowledge, config.grounding.passage_words, configured=configured)
        return base.rank(request.dialog, config.grounding.max_passages)

    def _prompt(self, request: ChatRequest, config: ChatConfig, ranking: Ranking) -> Prompt:
        return build_prompt(
            self._tokenizer,
            request.instruction or config.instruction,
            request.dialog,
            ranking.passages,
            lead=ranking.lead,
            window=self.args.max_prompt_tokens,
            max_turns=config.history.max_turns,
        )

    def _generation(self, request: ChatRequest, config: ChatConfig) -> Generation:
        try:
            generation = config.generation.overridden_by(request.generation)
        except ValidationError as error:
            raise InvalidRequest(f"generation: {reason(error.errors()[0])}") from None
        if generation.max_length > self.args.max_reply_tokens:
            limit = self.args.max_reply_tokens
            raise InvalidRequest(
                f"generation.max_length: {generation.max_length} is too large; at most {limit} is allowed"
            )
        return generation

    def _is_quoted(self, generation: Generation) -> bool:
        return self.checkpoint.quote if generation.quote is None else generation.quote

    def _quotes(self, message: str, generation: Generation, ranking: Ranking, prompt: Prompt) -> Quotes:
        sentences = [sentence for passage in prompt.passages for sentence in ranking.sentences[passage.id]]
        if not sentences and not generation.phrases:
            raise InvalidRequest(
                "generation.quote: there is nothing to quote, as no passage is in the prompt and generation.phrases is "
                "empty; give knowledge or phrases, or set it to false"
            )
        scores = phrase_book(generation.phrases).scores(message)
        phrases = [Sentence(phrase.reply, score) for phrase, score in zip(generation.phrases, scores, strict=True)]
        quotes = self._quoter.quotes(
            sentences,
            phrases,
            prior=generation.quote_prior,
            max_length=generation.max_length,
            offers=_offers(generation, nearest(sentences, phrases)),
        )
        if not quotes.candidates:
            raise InvalidRequest(
                f"generation.max_length: {generation.max_length} has no room for any sentence or phrase that could be "
                "quoted; raise it, or set generation.quote to false"
            )
        return quotes

    def _start(self, plan: Plan, origin: Origin, outcome: Outcome) -> ReplyStart:
        return ReplyStart(
            request_id=plan.request_id,
            seed=plan.seed,
            **origin.names,
            model=self.checkpoint.name,
            config_version=plan.config_version,
            timing_ms={"first_token": round((outcome.first_token_s or 0.0) * 1000, 1)},
        )

    def _finish(
        self,
        plan: Plan,
        text: str,
        writers: Sequence[Origin],
        finish_reason: FinishReason,
        outcome: Outcome,
    ) -> ChatReply:
        total_s = outcome.elapsed_s  # by the same clock as the first token's time, which is never the longer one
        first_token_s = outcome.first_token_s or total_s
        logger.info(
            "request %s: %d prompt tokens, %d reply tokens, first token %.0f ms, total %.0f ms, replica %s",
            plan.request_id,
            len(plan.prompt.token_ids),
            outcome.reply_tokens,
            first_token_s * 1000,
            total_s * 1000,
            " -> ".join(writer.replica_id for writer in writers),
        )
        response = text.strip()
        cited = cite(response, plan.prompt.passages)
        return ChatReply(
            response=response,
            **writers[-1].names,
            origins=[Writer(**writer.names) for writer in writers],
            model=self.checkpoint.name,
            config_version=plan.config_version,
            finish_reason=finish_reason,
            usage=Usage(
                prompt_tokens=len(plan.prompt.token_ids),
                completion_tokens=outcome.reply_tokens,
                max_prompt_tokens=self.args.max_prompt_tokens,
            ),
            grounding=_grounding(plan.prompt),
            citations=cited.citations,
            grounded=cited.grounded,
            timing_ms=Timing(first_token=round(first_token_s * 1000, 1), total=round(total_s * 1000, 1)),
            request_id=plan.request_id,
        )

    def health(self) -> dict[str, Any]:
        """What /health says, of the configuration as it was last read."""
        return {
            "status": self._status(),
            "model": {
                "name": self.checkpoint.name,
                "requested": self.checkpoint.requested,
                "fallback": self.checkpoint.is_fallback,
                "reason": self.checkpoint.fallback_reason,
            },
            "config_version": self.config_file.current.version,
            "config_error": self.config_file.error,
            "ready_replicas": len(self.replicas.ready),
        }

    def _status(self) -> HealthStatus:
        if self.replicas.ready:
            return "ok"
        if self.args.cold_start_s is None or self.replicas.states:
            return "unavailable"
        return "starting" if self.replicas.is_starting else "idle"


def _offers(generation: Generation, sentence: Sentence | None) -> dict[str, str]:
    """What is said instead of the phrases that may be the reply to anything."""
    if generation.unsure is None or sentence is None:
        return {}
    return {phrase.reply: f"{generation.unsure} {sentence.text}" for phrase in generation.phrases if not phrase.to}


def _grounding(prompt: Prompt) -> Grounding:
    return Grounding(
        passages=prompt.passages,
        dropped_turns=prompt.dropped_turns,
        dropped_passages=prompt.dropped_passages,
        truncated_tokens=prompt.truncated_tokens,
    )


def _digest(request: ChatRequest) -> bytes:
    """Of what the reply depends on, apart from its seed."""
    asked = request.model_dump(exclude={"stream", "generation"}, exclude_unset=True)
    generation = request.generation.model_dump(exclude={"seed"}, exclude_unset=True) if request.generation else {}
    return sha256(repr((asked, generation)).encode()).digest()


def _check_length(name: str, text: str | None, limit: int) -> None:
    if text is not None and len(text) > limit:
        raise InvalidRequest(f"{name}: {len(text)} characters; at most {limit} are allowed, so shorten it")
