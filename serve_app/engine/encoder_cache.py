"""Encodes each prompt once: equal prompts share an encoding, and recent encodings are kept.

An encoding does not depend on the other prompts of its batch (law 2), so a kept one is exactly what would be computed.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor

from serve_app.engine.request import TokenIds


class EncoderCache:
    """The least recently used encodings make room for new ones."""

    def __init__(self, encode: Callable[[Sequence[TokenIds]], list[Tensor]], *, limit_bytes: int) -> None:
        """encode: prompts -> an encoding [tokens, d_model] for each; it gets each prompt at most once a call.

        limit_bytes: total size of the kept encodings; 0: none is kept.
        """
        self._encode = encode
        self._limit_bytes = limit_bytes
        self._kept: OrderedDict[TokenIds, Tensor] = OrderedDict()  # the least recently used one first
        self._kept_bytes = 0
        self.made = self.kept = 0  # encodings asked for that were made, and that were there

    def encode(self, prompts: Sequence[TokenIds]) -> list[Tensor]:
        """The encoding [tokens, d_model] of each prompt. Equal prompts may share a tensor: do not write to it."""
        # Kept encodings are looked up before new ones are stored, which may evict them although `cost` has said 0.
        encodings = {prompt: self._kept[prompt] for prompt in prompts if prompt in self._kept}
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in encodings]
        for prompt in encodings:
            self._kept.move_to_end(prompt)
        if new:
            encodings |= zip(new, self._encode(new), strict=True)
        for prompt in new:
            self._keep(prompt, encodings[prompt])
        self.made += len(new)
        self.kept += len(prompts) - len(new)
        return [encodings[prompt] for prompt in prompts]

    def cost(self, prompt: TokenIds) -> int:
        """The number of tokens to encode for this prompt: 0 if its encoding is kept."""
        return 0 if prompt in self._kept else len(prompt)

    def _keep(self, prompt: TokenIds, encoding: Tensor) -> None:
        if encoding.nbytes > self._limit_bytes:
            return
        while self._kept_bytes + encoding.nbytes > self._limit_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= oldest.nbytes
        # A copy, as the encoding may be a view of one tensor with all prompts of its batch, which would stay in memory.
        self._kept[prompt] = encoding.clone()
        self._kept_bytes += encoding.nbytes
