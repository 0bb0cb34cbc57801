"""Prompts -> their encodings. Encodes no prompt twice that comes twice at a time, or again soon after.

A reply does not depend on its company (law 2), so an encoding that was computed for one request is exactly what another
request with the same prompt would get.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor

from serve_app.engine.request import TokenIds


class EncoderCache:
    def __init__(self, encode: Callable[[Sequence[TokenIds]], list[Tensor]], *, limit_bytes: int) -> None:
        """encode: prompts -> an encoding [tokens, d_model] for each; it is asked for each prompt once a call.

        limit_bytes: of the tensors that are kept for later; the least recently used ones make room. 0: none is kept.
        """
        self._encode = encode
        self._limit_bytes = limit_bytes
        self._kept: OrderedDict[TokenIds, Tensor] = OrderedDict()  # the least recently used one first
        self._kept_bytes = 0

    def encode(self, prompts: Sequence[TokenIds]) -> list[Tensor]:
        """The encoding [tokens, d_model] of each prompt; equal prompts may share one. Not to be written to."""
        # What is kept is taken out first: a new encoding may push it out of the cache, and its cost was said to be 0.
        encodings = {prompt: self._kept[prompt] for prompt in prompts if prompt in self._kept}
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in encodings]
        for prompt in encodings:
            self._kept.move_to_end(prompt)
        if new:
            encodings |= zip(new, self._encode(new), strict=True)
        for prompt in new:
            self._keep(prompt, encodings[prompt])
        return [encodings[prompt] for prompt in prompts]

    def cost(self, prompt: TokenIds) -> int:
        """Tokens that would be encoded, were this prompt asked for now."""
        return 0 if prompt in self._kept else len(prompt)

    def _keep(self, prompt: TokenIds, encoding: Tensor) -> None:
        if encoding.nbytes > self._limit_bytes:
            return
        while self._kept_bytes + encoding.nbytes > self._limit_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= oldest.nbytes
        # A copy: what was encoded may be a view, which would hold the memory of all prompts of its round.
        self._kept[prompt] = encoding.clone()
        self._kept_bytes += encoding.nbytes
