"""`python -m serve_app`: talk to a service from a terminal, and look into what it does.

Exit codes: 0 all well, 1 the service or a file says no, 2 wrong usage.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import click

from serve_app import chat_config
from serve_app.checkpoint import ROOT, load_tokenizer, resolve
from serve_app.client import ChatClient, Finished
from serve_app.errors import ServeAppError
from serve_app.keys import digest, new_key
from serve_app.knowledge import knowledge_base
from serve_app.load import Load
from serve_app.load_report import progress, report
from serve_app.messages import Passage, Prompt
from serve_app.prompt import build_prompt
from serve_app.settings import AppArgs

_METER = 40  # characters
_PROGRESS_S = 0.5
_QUESTIONS = ("What is a pod?", "What does KubeRay do?", "Who made GODEL?", "What is grounding?")
_KEY = click.option("--key", envvar="GODEL_API_KEY", help="an API key, where the service asks for one [GODEL_API_KEY]")
_KNOWLEDGE = click.option(
    "--knowledge", type=click.Path(path_type=Path), metavar="FILE", help="a text file to answer from instead"
)


class _Commands(click.Group):
    """Ends with the project's own errors as a line on stderr."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ServeAppError as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=_Commands)
def main() -> None:
    """Talk to a grounded chat service from a terminal, and look into what it does."""


@main.command()
@click.argument("url", default="http://127.0.0.1:8000")
@_KEY
@click.option("--ask", metavar="QUESTION", help="ask this alone, and end")
@_KNOWLEDGE
@click.option("--instruction", help="tell the model what to do, instead of the configured instruction")
@click.option("--quote/--free", default=None, help="quote mode, or free decoding; else as configured")
def chat(
    url: str,
    key: str | None,
    ask: str | None,
    knowledge: Path | None,
    instruction: str | None,
    quote: bool | None,
) -> None:
    """Chat with the service at URL; replies appear as they are written.

    An empty line or Ctrl-D ends the chat; /new begins another one.
    """
    fields = {
        "knowledge": _text(knowledge) if knowledge else None,
        "instruction": instruction,
        "generation": None if quote is None else {"quote": quote},
    }
    client, dialog = ChatClient(url, key), list[str]()
    while question := ask or _question():
        if question == "/new":
            dialog = []
            continue
        body = {"dialog": [*dialog, question]} | {name: value for name, value in fields.items() if value is not None}
        try:
            response = _show_reply(client, body)
        except ServeAppError as error:
            if ask:
                raise
            click.secho(f"{error}", fg="red", err=True)  # the dialogue is as it was: ask again
            continue
        if ask:
            return
        dialog += [question, response]


@main.group()
def config() -> None:
    """Chat configurations (configs/chatbot.yaml)."""


@config.command()
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Say what is in FILE, or what is wrong with it (exit code 1)."""
    current = chat_config.load(file)
    settings = current.config
    passages = knowledge_base(settings.knowledge, settings.grounding.passage_words).passages
    click.echo(f"{file} is a good configuration, version {current.version}: ", nl=False)
    click.echo(f"{len(settings.knowledge.split())} words of knowledge in {len(passages)} passages, ", nl=False)
    click.echo(f"{len(settings.generation.phrases)} phrases.")


@main.command()
@click.argument("question", nargs=-1, required=True)
@click.option(
    "--config", type=click.Path(path_type=Path), default=ROOT / "configs/chatbot.yaml", help="a chat configuration"
)
@_KNOWLEDGE
@click.option("--model", default="models/mini", show_default=True, help="whose tokenizer counts: a folder or hub id")
def prompt(question: tuple[str, ...], config: Path, knowledge: Path | None, model: str) -> None:
    """Show what the model would read for QUESTION: passages, prompt, use of the window. Needs no server.

    Several QUESTIONs are a dialogue's turns, the last one the user's.
    """
    settings = chat_config.load(config).config
    text = _text(knowledge) if knowledge else settings.knowledge
    args = AppArgs(model=model)
    tokenizer = load_tokenizer(resolve(args))
    ranking = knowledge_base(text, settings.grounding.passage_words).rank(question, settings.grounding.max_passages)
    built = build_prompt(
        tokenizer,
        settings.instruction,
        question,
        ranking.passages,
        lead=ranking.lead,
        window=args.max_prompt_tokens,
        max_turns=settings.history.max_turns,
    )
    _show_prompt(built, str(tokenizer.decode(built.token_ids)), args.max_prompt_tokens)


@main.command()
@click.argument("url", default="http://127.0.0.1:8000")
@_KEY
@click.option("--clients", type=click.IntRange(1, 10_000), help="so many, each asks again once it has its answer [8]")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="instead: so many requests arrive in a second")
@click.option("--seconds", type=click.FloatRange(1, 86_400), default=30.0, show_default=True)
@click.option("--ask", "questions", multiple=True, metavar="QUESTION", help="what is asked, in turn; may be repeated")
@click.option("--quote/--free", default=None, help="quote mode, or free decoding; else as configured")
def load(
    url: str,
    key: str | None,
    clients: int | None,
    rate: float | None,
    seconds: float,
    questions: tuple[str, ...],
    quote: bool | None,
) -> None:
    """Put the service at URL under load and show what becomes of it (exit code 1 if a request failed).

    A refusal (429, 503) is no failure: that is how a full service answers.
    """
    if clients and rate:
        raise click.UsageError("--clients and --rate are two kinds of load; give one of them.")
    fields: dict[str, Any] = {} if quote is None else {"generation": {"quote": quote}}
    bodies = [fields | {"dialog": [question]} for question in questions or _QUESTIONS]
    made = Load(url.rstrip("/"), bodies, seconds, clients=clients or (None if rate else 8), rate=rate, key=key)
    asyncio.run(_watched(made))
    click.echo("\n".join(report(made)))
    if not made.outcomes or any(outcome.ending == "failed" for outcome in made.outcomes):
        sys.exit(1)


@main.group()
def keys() -> None:
    """API keys (`keys` in serve_config.yaml)."""


@keys.command()
@click.argument("name")
def new(name: str) -> None:
    """Make a key for the client NAME: the key goes to the client, the line into the file of keys."""
    key = new_key()
    click.echo(f"key:   {key}")
    click.echo(f"line:  {name}: {{sha256: {digest(key)}}}")


async def _watched(load: Load) -> None:
    """Run it, with a line of progress that is written over, where there is a terminal."""
    running = asyncio.create_task(load.run())
    while not running.done():
        if sys.stderr.isatty():
            click.echo("\r" + progress(load), nl=False, err=True)
        await asyncio.wait([running], timeout=_PROGRESS_S)
    if sys.stderr.isatty():
        click.echo(err=True)
    await running


def _question() -> str:
    try:
        asked: str = click.prompt(click.style("you", bold=True), default="", show_default=False)
    except click.Abort:  # Ctrl-D and Ctrl-C
        click.echo()
        return ""
    return asked.strip()


def _show_reply(client: ChatClient, body: dict[str, Any]) -> str:
    for piece in client.ask(body):
        if isinstance(piece, Finished):
            click.echo()
            click.secho(_tags(piece), dim=True)
            return str(piece.reply["response"])
        click.echo(piece, nl=False)
    raise AssertionError("ChatClient.ask ends with Finished")


def _tags(finished: Finished) -> str:
    """Who wrote it, from what, and how fast."""
    reply = finished.reply
    writing_s = finished.seconds - finished.first_piece_s
    tokens = reply["usage"]["completion_tokens"]
    parts = [
        " -> ".join(origin["replica_id"] for origin in reply["origins"]),
        reply["nodeName"],
        reply["model"],
        f"configuration {reply['config_version']}",
        f"first word {finished.first_piece_s * 1000:.0f} ms",
        f"all {finished.seconds * 1000:.0f} ms",
        *([f"{tokens / writing_s:.0f} tokens/s"] if writing_s > 0.05 else []),
        f"{reply['grounded']:.0%} from the text",
    ]
    return "  [" + " | ".join(parts) + "]"


def _show_prompt(built: Prompt, text: str, window: int) -> None:
    click.secho("Passages, by their score", bold=True)
    for passage in built.passages:
        click.echo(f"  {_worth(passage):>7}  {passage.text}")
    click.secho("Prompt", bold=True)
    click.echo(f"  {text}")
    used = len(built.token_ids)
    click.secho("Window", bold=True)
    click.echo(f"  [{'#' * round(_METER * used / window):<{_METER}}] {used} of {window} tokens")
    left_out = f"{built.dropped_turns} turns, {built.dropped_passages} passages, {built.truncated_tokens} tokens"
    click.echo(f"  left out for want of room: {left_out}")


def _worth(passage: Passage) -> str:
    return "filling" if passage.filling else f"{passage.score:.2f}"


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{file} cannot be read as text: {error}") from None


if __name__ == "__main__":
    sys.exit(main())
