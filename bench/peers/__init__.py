"""The systems that this project is measured beside over HTTP, each as its own documentation sets it up.

All speak the same minimal API: POST / with {"prompt": text, "length": tokens to write} answers
{"response": text, "prompt_tokens", "reply_tokens"}. The length stands in for the end that random weights do not find.
"""

from typing import TypedDict


class Asked(TypedDict):
    prompt: str
    length: int  # tokens to write


class Reply(TypedDict):
    response: str
    prompt_tokens: int
    reply_tokens: int
