"""HTTP: the configuration in use, its file for those who may change it, and what a prompt would be."""

import asyncio
import os

from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict

from serve_app import openapi
from serve_app.chat import Chat
from serve_app.chat_config import ENVIRONMENT, ConfigFile
from serve_app.config_edit import file_version, is_writable, save
from serve_app.errors import Forbidden
from serve_app.http_errors import request_id_of
from serve_app.keys import Key
from serve_app.messages import ChatRequest, PromptPreview, Text
from serve_app.settings import ChatConfig


class ConfigText(BaseModel):
    """The configuration's file as it is written. A save names the version that it was made from."""

    model_config = ConfigDict(extra="forbid")

    text: Text
    version: str


class ConfigInUse(BaseModel):
    """The body of GET /config."""

    version: str
    error: str | None  # what is wrong with the file as it is now; the last good version stays in use
    environment: list[str]  # variables that win over the file
    writable: bool  # whether the file can be replaced here
    config: ChatConfig
    file: ConfigText | None  # for a key with `admin: true`


def add_config_routes(api: FastAPI, chat: Chat) -> None:
    """The routes below, over the chat's configuration."""
    file = chat.config_file

    @api.get("/config", responses=openapi.errors(401, 500))
    async def get_config(request: Request) -> ConfigInUse:
        """The configuration in use: instruction, knowledge, generation, and its version."""
        return await asyncio.to_thread(_in_use, file, with_text=_is_admin(request))

    @api.put("/config/file", responses=openapi.errors(400, 401, 403, 408, 409, 413, 422, 500))
    async def put_file(body: ConfigText, request: Request) -> ConfigInUse:
        """Replace the file, if it still has `version`. Needs a key with `admin: true`."""
        if not _is_admin(request):
            raise Forbidden("this needs an API key with `admin: true`, in the file of `keys` in serve_config.yaml")
        await asyncio.to_thread(save, file, body.text.encode(), body.version)
        return await asyncio.to_thread(_in_use, file, with_text=True)

    @api.post("/preview", responses=openapi.errors(400, 401, 408, 413, 422, 429, 500, 504))
    async def post_preview(body: ChatRequest, request: Request) -> PromptPreview:
        """What the model would read for this dialogue: the passages and the prompt. Nothing is written."""
        return await chat.preview(body, request_id_of(request))


def _in_use(file: ConfigFile, *, with_text: bool) -> ConfigInUse:
    current = file.refresh()
    return ConfigInUse(
        version=current.version,
        error=file.error,
        environment=sorted(name for name in ENVIRONMENT if name in os.environ),
        writable=is_writable(file.path),
        config=current.config,
        file=_text(file) if with_text else None,
    )


def _text(file: ConfigFile) -> ConfigText | None:
    try:
        content = file.path.read_bytes()
    except OSError:  # it is on `error`
        return None
    return ConfigText(text=content.decode("utf-8", "replace"), version=file_version(content))


def _is_admin(request: Request) -> bool:
    """Whether the key that the gate has admitted may change the configuration."""
    key: Key | None = request.scope.get("key")
    return key is not None and key.admin
