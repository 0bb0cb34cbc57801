"""transformers' `generate`, greedy, with torch's default threads: one for each core that it is given."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, T5ForConditionalGeneration

from bench.peers import Asked, Reply

# bfloat16 takes half of float32's time where the processor multiplies it, and more where it does not.
BEST_DTYPE = torch.bfloat16 if torch.cpu.get_capabilities().get("avx512_bf16") else torch.float32


class TransformersT5:
    def __init__(self, folder: Path, dtype: torch.dtype) -> None:
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        # Any: transformers' types do not let T5 generate.
        self._model: Any = T5ForConditionalGeneration.from_pretrained(folder, dtype=dtype)

    def __call__(self, batch: Sequence[Asked]) -> list[Reply]:
        """A batch runs until its longest reply is complete; the others are cut where they would have ended."""
        prompts = self._tokenizer([asked["prompt"] for asked in batch], padding=True, return_tensors="pt")
        longest = max(asked["length"] for asked in batch)
        with torch.inference_mode():
            written = self._model.generate(**prompts, do_sample=False, min_new_tokens=longest, max_new_tokens=longest)
        lengths = prompts["attention_mask"].sum(dim=1).tolist()
        return [
            self._reply(length, row[1 : asked["length"] + 1].tolist())  # after the decoder's start token
            for asked, length, row in zip(batch, lengths, written, strict=True)
        ]

    def _reply(self, prompt_tokens: int, tokens: list[int]) -> Reply:
        response: str = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return {"response": response, "prompt_tokens": prompt_tokens, "reply_tokens": len(tokens)}
