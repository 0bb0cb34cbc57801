"""A chat over fake replicas, asked over ASGI: no socket, no Ray."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from transformers import PreTrainedTokenizerFast

from serve_app.chat import Chat
from serve_app.chat_config import ConfigFile
from serve_app.checkpoint import ROOT, Checkpoint
from serve_app.ingress import create_api
from serve_app.keys import KeyRing
from serve_app.messages import GenerateRequest, TokenChunk
from serve_app.outcomes import Outcome, asking_key
from serve_app.settings import AppArgs
from tests.support.checkpoints import small_tokenizer
from tests.support.fakes import ORIGIN, FakeReplicas

Script = Callable[[GenerateRequest], list[TokenChunk | Exception]]


class Application:
    """A chat over fake replicas, and a client of it."""

    def __init__(
        self,
        script: Script,
        chat_config: Path,
        fallback_reason: str | None = None,
        quote: bool = False,
        max_waiting: int = 8,
        timeout_s: float = 60,
        keys: KeyRing | None = None,
        demo: bool = False,
        cold_start_s: float | None = None,
    ) -> None:
        self.tokenizer: PreTrainedTokenizerFast = small_tokenizer()
        self.replicas = FakeReplicas(script)
        checkpoint = Checkpoint(
            name="mini", requested="godel", folder=ROOT, quote=quote, fallback_reason=fallback_reason
        )
        args = AppArgs(
            max_body_bytes=100_000,
            max_turn_chars=2_000,
            max_dialog_chars=11_000,
            max_knowledge_chars=5_000,
            request_timeout_s=timeout_s,
            max_waiting=max_waiting,
            demo=demo,
            cold_start_s=cold_start_s,
        )
        self.config_file = ConfigFile(chat_config, args.max_reply_tokens)
        self.counted: list[tuple[str, str]] = []  # endings of replies and reasons of refusals, with their key's name

        def replied(outcome: Outcome) -> None:
            self.counted.append((str(outcome.ending), asking_key.get()))

        def refused(reason: str) -> None:
            self.counted.append((reason, asking_key.get()))

        self.chat = Chat(args, checkpoint, self.tokenizer, self.config_file, self.replicas, replied)
        self.client = TestClient(create_api(self.chat, keys=keys, refused=refused), raise_server_exceptions=False)

    def post(self, **body: Any) -> Any:
        return self.client.post("/chat", json=body)

    def prompt(self) -> str:
        return str(self.tokenizer.decode(self.replicas.requests[-1].prompt_ids))

    def candidates(self) -> dict[str, float]:
        """The bonus of each."""
        asked = self.replicas.requests[-1].candidates
        return {str(self.tokenizer.decode(list(each.token_ids[:-1]))): each.bonus for each in asked}


def words(text: str) -> Script:
    """A reply of one chunk a word."""
    tokenizer = small_tokenizer()
    chunks = [tokenizer.encode(word, add_special_tokens=False) for word in text.split()]
    return lambda request: [
        TokenChunk(ids, ORIGIN, "stop" if index == len(chunks) - 1 else None) for index, ids in enumerate(chunks)
    ]
