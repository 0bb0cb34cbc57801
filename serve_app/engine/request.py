"""One request, and the tokens of its reply: no other object changes these."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from serve_app.engine.sampling import Context
from serve_app.engine.token_stream import TokenStream
from serve_app.engine.trie import Trie
from serve_app.messages import FinishReason, Sampling

TokenIds = tuple[int, ...]


@dataclass(eq=False)
class Request:
    """What the caller asked for, the tokens of the reply so far, and how many of them the decoder has read."""

    prompt: TokenIds
    sampling: Sampling
    start_token: int
    deadline: float  # on the engine's clock
    stream: TokenStream
    prefix: TokenIds = ()  # the reply's first tokens, where another replica has generated them
    trie: Trie | None = None  # the candidates of the reply, if it must be one of them
    tokens: list[int] = field(init=False)  # start token, prefix, generated tokens: transformers' decoder_input_ids
    decoded: int = field(init=False, default=0)  # tokens whose keys and values are in the slot's cache

    def __post_init__(self) -> None:
        if not self.sampling.greedy and self.sampling.seed is None:
            raise ValueError("seed: must be set by the caller, so that another replica can continue the reply")
        self.tokens = [self.start_token, *self.prefix]

    @property
    def next_input(self) -> int:
        """The token that the decoder reads in the next step."""
        return self.tokens[self.decoded]

    @property
    def context(self) -> Context:
        """What the token after `next_input` depends on, besides the logits."""
        return Context(self.sampling, self._read(self.decoded + 1))

    def advance(self, sampled: int) -> bool:
        """Record a decoding step. Returns whether `sampled` was appended to the reply.

        It is not while the decoder still reads the prefix, whose next token is known.
        """
        self.decoded += 1
        is_new = self.decoded == len(self.tokens)
        if is_new:
            self.tokens.append(sampled)
        return is_new

    def ending(self, eos_token: int) -> FinishReason | None:
        """Why the reply is complete after its last token; None if it is not."""
        if self.tokens[-1] == eos_token:
            return "stop"
        return "length" if len(self.tokens) >= self.sampling.max_length else None

    def is_expired(self, now: float) -> bool:
        """Whether the reader has cancelled the reply, or its deadline has passed."""
        return self.stream.cancelled or now >= self.deadline

    @property
    def scoring_cost(self) -> int:
        """The time that scoring the candidates takes, in prompt tokens encoded; 0 without candidates.

        It is the trie's nodes, and a quarter of the prompt for its keys and values in every decoder layer.
        """
        return len(self.trie.tokens) + len(self.prompt) // 4 if self.trie else 0

    def _read(self, count: int) -> Sequence[int]:
        """The first `count` tokens; all of them, nearly always, without a copy."""
        return self.tokens if count == len(self.tokens) else self.tokens[:count]
