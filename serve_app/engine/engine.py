"""Continuous batching: requests join and leave the running batch at every decoding step.

    submit -> waiting --admit--> slot: encode once, then one token a step --> stop | length | deadline | cancelled
                         `-----> given candidates: encode once, choose one --> stop

The step loop has a thread of its own, so the event loop of whoever submits is never blocked. What goes wrong with one
reply, which is memory that runs out or scores that are no numbers, ends that reply; all else ends the engine.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from serve_app.engine.encoder_cache import EncoderCache
from serve_app.engine.errors import EngineFailed, QueueFull, ReplyFailed
from serve_app.engine.memory import is_out_of_memory, return_freed
from serve_app.engine.sampling import NOT_FINITE, Choice, choose_candidate, sample
from serve_app.engine.scheduler import Move, Request, Scheduler, TokenIds
from serve_app.engine.t5 import T5
from serve_app.engine.threads import end_workers
from serve_app.engine.token_stream import Ending, Failure, TokenStream, send
from serve_app.engine.trie import MAX_TOKENS, Trie, make_trie
from serve_app.engine.weights import Weights
from serve_app.messages import Candidate, Sampling

logger = logging.getLogger("ray.serve.godel")  # what Serve writes to its files; needs no Ray

_THROUGHPUT_WINDOW_S = 5.0


class Engine:
    """Replies to many prompts at once. Use `close` to end its thread."""

    def __init__(
        self,
        weights: Weights,
        *,
        slots: int,
        max_prompt: int,
        max_reply: int,
        max_waiting: int | None = None,
        prefill_tokens: int = 1024,
        encoding_cache_bytes: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """max_waiting: requests beyond the slots; by default as many as slots.

        `prefill_tokens`: prompt tokens encoded at most between two decoding steps; a longer prompt goes alone.

        encoding_cache_bytes: of the encodings that are kept for prompts which come again; 0: none.
        clock: seconds, by which deadlines pass.
        """
        self.slots = slots
        self._max_prompt = max_prompt
        self._max_reply = max_reply
        self._clock = clock
        self._shape = weights.shape
        self._model = T5(weights, slots=slots, max_prompt=max_prompt, max_reply=max_reply)
        self._encoder_cache = EncoderCache(self._model.encode, limit_bytes=encoding_cache_bytes)
        self._scheduler = Scheduler(
            slots=slots,
            max_waiting=slots if max_waiting is None else max_waiting,
            prefill_tokens=prefill_tokens,
            cost=self._encoder_cache.cost,
        )
        self._changed = threading.Condition()  # guards the scheduler; notified when there may be work
        self._closing = False
        self._failure: str | None = None
        self._progressed_at = 0.0
        self._steps: deque[tuple[float, int]] = deque()  # (when, tokens written), of the last few seconds
        end_workers()  # of the thread that loaded the model, which is this one
        return_freed()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    # --- the side of whoever asks -----------------------------------------------------------------------------------

    def submit(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        *,
        candidates: Sequence[Candidate] = (),
        prefix: Sequence[int] = (),
        budget_s: float,
        join_s: float = 0,
    ) -> TokenStream:
        """Queue a request; call from a running event loop.

        prompt: token ids, the closing </s> included. candidates: the replies to choose from; none: it is free.
        prefix: tokens of the reply that were written elsewhere already; the reply goes on after them.
        budget_s: seconds until the reply ends with "deadline".
        join_s: seconds in which tokens join before they are handed out.
        Raises ValueError that names the field which does not suit this engine, QueueFull, EngineFailed.
        """
        self._check(prompt, sampling, candidates, prefix)
        reply = TokenStream(join_s)
        choice = Choice(sampling, [self._shape.start_token])
        trie = make_trie(candidates, self._shape.start_token) if candidates else None
        request = Request(tuple(prompt), choice, self._clock() + budget_s, reply, deque(prefix), trie)
        if ending := request.ending(self._shape.eos_token):
            self._end([reply], ending)
            return reply
        with self._changed:
            if failure := self.failure:
                raise failure
            if self._scheduler.full:
                raise QueueFull(f"all {self.slots} slots are taken, and as many requests wait already")
            if self._scheduler.idle:
                self._progressed_at = self._clock()
            self._scheduler.add(request)
            self._changed.notify()
        return reply

    @property
    def active(self) -> int:
        return len(self._scheduler.running) + len(self._scheduler.scoring)

    @property
    def waiting(self) -> int:
        return len(self._scheduler.waiting)

    @property
    def failure(self) -> EngineFailed | None:
        """Why the step loop has ended; a new one each time, as a raise adds to the traceback."""
        return EngineFailed(self._failure) if self._failure else None

    @property
    def stalled_s(self) -> float:
        """Seconds since the step loop last came forward, while it has work; 0 while it has none.

        In good health that is the time of encoding, or of a decoding step, at most. From any thread, without a lock.
        """
        return self._clock() - self._progressed_at if self.active or self.waiting else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Tokens written in the last seconds, over all slots."""
        horizon = self._clock() - _THROUGHPUT_WINDOW_S
        return sum(tokens for when, tokens in tuple(self._steps) if when > horizon) / _THROUGHPUT_WINDOW_S

    def close(self, patience_s: float = 10) -> None:
        """End the step loop after its present step; requests that still run fail.

        A step that takes longer than `patience_s` hangs: its thread is left behind, which ends with the process.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(patience_s)
        if self._thread.is_alive():
            self._fail(f"the engine was closed while a step hung for more than {patience_s:g} s")

    def _check(
        self, prompt: Sequence[int], sampling: Sampling, candidates: Sequence[Candidate], prefix: Sequence[int]
    ) -> None:
        if not 1 <= len(prompt) <= self._max_prompt:
            raise ValueError(f"prompt: {len(prompt)} tokens, but it must be 1 to {self._max_prompt}")
        if sampling.max_length > self._max_reply:
            raise ValueError(f"max_length: {sampling.max_length} is more than this engine's {self._max_reply}")
        for name, tokens in (("prompt", prompt), ("prefix", prefix)):
            if tokens and not 0 <= min(tokens) <= max(tokens) < self._shape.vocabulary:
                raise ValueError(f"{name}: a token id is outside of the vocabulary of {self._shape.vocabulary}")
        if candidates:
            self._check_candidates([candidate.token_ids for candidate in candidates], sampling, tuple(prefix))

    def _check_candidates(self, candidates: list[TokenIds], sampling: Sampling, prefix: TokenIds) -> None:
        eos, longest = self._shape.eos_token, sampling.max_length - 1
        if len(set(candidates)) < len(candidates):
            raise ValueError("candidates: two of them are the same")
        if (size := sum(map(len, candidates))) > MAX_TOKENS:
            raise ValueError(f"candidates: {size} tokens together, but at most {MAX_TOKENS} are allowed")
        for tokens in candidates:
            if tokens[-1:] != (eos,) or eos in tokens[:-1]:
                raise ValueError(f"candidates: each must end with the end-of-sequence token {eos}, and hold no other")
            if len(tokens) > longest:
                raise ValueError(f"candidates: one of {len(tokens)} tokens, but max_length allows {longest}")
            if not 0 <= min(tokens) <= max(tokens) < self._shape.vocabulary:
                raise ValueError(f"candidates: a token id is outside of the vocabulary of {self._shape.vocabulary}")
        if not any(tokens[: len(prefix)] == prefix for tokens in candidates):
            raise ValueError("prefix: none of the candidates begins with it")

    # --- the step loop's thread -------------------------------------------------------------------------------------

    @torch.inference_mode()
    def _run(self) -> None:
        try:
            while self._await_work():
                self._step()
            self._fail("the engine was closed")
        except Exception as error:  # whatever it is, no reader may be left waiting (law 4)
            logger.exception("the engine's step loop failed")
            self._fail(f"{type(error).__name__}: {error}")

    def _await_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closing or not self._scheduler.idle)
            return not self._closing

    def _step(self) -> None:
        """One round. Whoever runs waits for one `_prefill` between two tokens, never for more."""
        for part in (self._drop_expired, self._prefill, self._decode):
            part()
            self._progressed_at = self._clock()

    def _drop_expired(self) -> None:
        with self._changed:
            over, moves = self._scheduler.drop_expired(self._clock())
        self._end([request.stream for request in over if not request.stream.cancelled], "deadline")
        self._move(moves)

    def _prefill(self) -> None:
        with self._changed:
            admitted = self._scheduler.admit()
        for request, encoding in zip(admitted, self._encode(admitted), strict=True):
            with self._alone([request]):
                self._begin(request, encoding)

    def _encode(self, requests: list[Request]) -> list[Tensor | None]:
        """The encoding of each one's prompt. None: there was no memory for all at once, but there may be for each."""
        try:
            return [*self._encoder_cache.encode([request.prompt for request in requests])]
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        return [None] * len(requests)

    def _begin(self, request: Request, encoding: Tensor | None) -> None:
        if encoding is None:
            (encoding,) = self._encoder_cache.encode([request.prompt])
        if request.trie:
            self._score_candidates(request, request.trie, encoding)
        else:
            self._model.fill(self._scheduler.running.index(request), encoding)

    def _score_candidates(self, request: Request, trie: Trie, encoding: Tensor) -> None:
        """Hand out the candidate that becomes the reply, all of it at once."""
        prefix = tuple(request.replay)
        tokens = choose_candidate(self._model.trie_logits(trie, encoding), trie, request.choice, prefix)
        self._count(len(tokens) - len(prefix))
        with self._changed:
            self._scheduler.leave([request])
        request.stream.put(list(tokens[len(prefix) : -1]), "stop")
        send([request.stream], self._clock())

    def _decode(self) -> None:
        running = list(self._scheduler.running)
        if not running or not (tokens := self._next_tokens(running)):
            return
        chosen = list(zip(running, tokens, strict=True))
        if without := [request for request, token in chosen if token is None]:
            self._give_up(without, ReplyFailed(NOT_FINITE))
        # A replay is read token by token, among the others: so its sums are rounded as when it was written (law 3), and
        # nobody waits for it.
        written = [request for request, token in chosen if token is not None and request.take(token)]
        self._count(len(written))
        self._deliver(written)

    def _next_tokens(self, running: list[Request]) -> list[int | None]:
        """One decoding step. None: for who has no next token; nothing at all where memory did not suffice for it."""
        with self._alone(running):
            logits = self._model.step([request.choice.written[-1] for request in running])
            return sample(logits, [request.choice for request in running], self._shape.eos_token)
        return []

    def _deliver(self, requests: list[Request]) -> None:
        """Hand out each reply's newest token; who is complete leaves."""
        endings = [request.ending(self._shape.eos_token) for request in requests]
        with self._changed:
            moves = self._scheduler.leave([r for r, ending in zip(requests, endings, strict=True) if ending])
        for request, ending in zip(requests, endings, strict=True):
            newest = request.choice.written[-1]
            request.stream.put([] if newest == self._shape.eos_token else [newest], ending)
        send([request.stream for request in requests], self._clock())
        self._move(moves)  # last: were it to fail, who has left must have been told already

    def _move(self, moves: list[Move]) -> None:
        for move in moves:
            self._model.move(move.source, move.target)

    def _count(self, tokens: int) -> None:
        now = self._clock()
        self._steps.append((now, tokens))
        while self._steps[0][0] < now - _THROUGHPUT_WINDOW_S:
            self._steps.popleft()

    @contextmanager
    def _alone(self, requests: list[Request]) -> Iterator[None]:
        """Where memory does not suffice, or the model's scores are no numbers, these requests fail and no others."""
        try:
            yield
            return
        except ReplyFailed as error:
            failure = error
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            failure = ReplyFailed("there was not enough memory to write this reply")
        self._give_up(requests, failure)

    def _give_up(self, requests: list[Request], failure: ReplyFailed) -> None:
        """End these alone. First of all their slots are cleared, before others move there."""
        logger.warning("%d of %d replies failed: %s", len(requests), self.active, failure)
        for request in requests:
            if not request.trie:
                self._model.clear(self._scheduler.running.index(request))
        with self._changed:
            moves = self._scheduler.leave(requests)
        self._end([request.stream for request in requests], failure)
        self._move(moves)

    def _fail(self, reason: str) -> None:
        with self._changed:
            self._failure = reason
            unfinished = [*self._scheduler.running, *self._scheduler.scoring, *self._scheduler.waiting]
            for requests in (self._scheduler.running, self._scheduler.scoring, self._scheduler.waiting):
                requests.clear()
        self._end([request.stream for request in unfinished], EngineFailed(reason))

    def _end(self, replies: list[TokenStream], ending: Ending | Failure) -> None:
        for reply in replies:
            reply.put([], ending)
        send(replies, self._clock())
