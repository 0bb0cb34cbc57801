"""One request, and the tokens of its reply: no other object changes these."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from serve_app.engine.sampling import Context
from serve_app.engine.speculation import MOST, Guesser
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
    guesser: Guesser | None = None  # where a step may read several tokens of a reply
    tokens: list[int] = field(init=False)  # start token, prefix, generated tokens: transformers' decoder_input_ids
    decoded: int = field(init=False, default=0)  # tokens whose keys and values are in the slot's cache

    def __post_init__(self) -> None:
        if not self.sampling.greedy and self.sampling.seed is None:
            raise ValueError("seed: must be set by the caller, so that another replica can continue the reply")
        self.tokens = [self.start_token, *self.prefix]

    def next_inputs(self, replies: int) -> list[int]:
        """The tokens that the decoder reads in the next step, of so many replies: known ones, then guesses."""
        if not self.guesser:
            return [self.tokens[self.decoded]]
        known = self.tokens[self.decoded : self.decoded + 1 + MOST]
        # After each token that is read another one comes, and all of them have room.
        room = min(1 + MOST - len(known), self.sampling.max_length - 1 - len(self.tokens))
        return known + self.guesser.guess(room, replies) if room > 0 else known

    def contexts(self, inputs: Sequence[int]) -> list[Context]:
        """What the token after each of `inputs` depends on, besides the logits, if those before it are right."""
        if self.decoded + 1 == len(self.tokens) and len(inputs) == 1:  # nearly always; without a copy
            return [Context(self.sampling, self.tokens)]
        read = [*self.tokens[: self.decoded], *inputs]
        return [Context(self.sampling, read[:end]) for end in range(self.decoded + 1, len(read) + 1)]

    def advance(self, inputs: Sequence[int], sampled: Sequence[int | None]) -> list[int]:
        """Record a decoding step that has read `inputs`. Returns the tokens that are new.

        sampled: the token after each input, for which None stands where there is none; there is a first one.
        A known token of the prefix stays, whatever was sampled there. What comes after a wrong guess is ignored.
        """
        new: list[int] = []
        for token, guess in zip(sampled, [*inputs[1:], None], strict=True):
            if token is None:  # the next step begins there, and says so
                break
            self.decoded += 1
            if self.decoded < len(self.tokens):
                continue
            self.tokens.append(token)
            new.append(token)
            if self.guesser:
                self.guesser.learn(self.tokens)
            if token != guess:
                break
        return new

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
