"""`make finetune`: trains a T5 further on a user's dialogues, into a folder that `model:` in serve_config.yaml takes.

    python -m training.finetune --data dialogues.jsonl --model microsoft/GODEL-v1_1-base-seq2seq

The lines are checked (dialogues.py), made token ids as the server would (pairs.py) and trained on (fit.py); the replies
to those kept back are compared before and after (replies.py). docs/fine-tuning.md is the guide.
"""

import argparse
import logging
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import torch
import yaml
from pydantic import ValidationError
from transformers import T5ForConditionalGeneration as T5
from transformers.utils import logging as transformers_logging

from serve_app import chat_config
from serve_app.checkpoint import ROOT, load_model, load_tokenizer, resolve
from serve_app.errors import ConfigError, ServeAppError, reason
from serve_app.settings import AppArgs
from training.dialogues import DialoguesError, read, split
from training.finetuned import Data, Result, plot, sha256, write_model, write_record
from training.fit import Diverged, Settings, fit, validation_loss
from training.half_precision import multiplies_bfloat16
from training.pairs import Tokenizing
from training.replies import Score, score

SERVE_CONFIG = ROOT / "serve_config.yaml"
OUT = "models/finetuned"
log = logging.getLogger("finetune")


class FinetuneError(Exception):
    """Training cannot start, or brought nothing; the text is for the person at the terminal."""


def finetune(path: Path, model_name: str, out: Path, settings: Settings, validation_share: float) -> None:
    """Raises FinetuneError, DialoguesError, Diverged and ServeAppError; nothing stands at `out` then."""
    if out.exists():
        raise FinetuneError(f"OUT: {out} exists already; name another folder, or remove it")
    lines = split(read(path), validation_share, settings.seed)
    args = _served_args(model_name)
    config = chat_config.load(ROOT / args.chat_config).config
    checkpoint = resolve(args)
    tokenizer, model = load_tokenizer(checkpoint), load_model(checkpoint)
    tokenizing = Tokenizing(tokenizer, args, config)
    training, validation = [*map(tokenizing, lines.training)], [*map(tokenizing, lines.validation)]
    data = Data(sha256(path), len(training), len(validation), validation_share, tokenizing.cuts)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    _say_data(path, data)
    log.info("%s: %.1f million parameters, on %s.", checkpoint.name, model.num_parameters() / 1e6, _described(device))

    def replies(model: T5) -> Score:
        return score(model, tokenizer, validation, args, min(config.generation.max_length, args.max_reply_tokens))

    before = replies(model)
    history = fit(_move(model, device), training, validation, settings)
    log.info("Ended after %d steps: %s.", history.points[-1].step, history.ending)
    if history.best is history.points[0]:
        raise FinetuneError(
            f"the validation loss, {history.before:.3f} before, never fell, so nothing is written; lower the rate of "
            f"{settings.rate:g}, or give more lines"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    # `out` appears when it is complete, and by what is read back from it: a server may read it from then on.
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        folder = Path(scratch) / out.name
        write_model(_move(model, torch.device("cpu")), tokenizer, checkpoint, folder)
        written = load_model(resolve(args.model_copy(update={"model": str(folder)})))
        reached = replies(written)
        loss = validation_loss(_move(written, device), validation, settings.batch_tokens)
        results = Result(history.before, before), Result(loss, reached)
        write_record(folder, checkpoint, data, settings, history, *results)
        plot(history, folder / "loss.png")
        folder.rename(out)
    _say_results(*results, out)


def _served_args(model: str) -> AppArgs:
    """What serve_config.yaml says, with this model in place of its own. Raises ConfigError."""
    try:
        args = yaml.safe_load(SERVE_CONFIG.read_text())["applications"][0]["args"]
        return AppArgs.model_validate(args | {"model": model, "revision": None, "fallback_model": None})
    except ValidationError as error:
        mistake = error.errors()[0]
        raise ConfigError(f"{SERVE_CONFIG}: args.{'.'.join(map(str, mistake['loc']))}: {reason(mistake)}") from None
    except (OSError, yaml.YAMLError, LookupError, TypeError) as error:
        raise ConfigError(f"{SERVE_CONFIG}: applications.0.args cannot be read: {type(error).__name__}") from error


def _move(model: T5, device: torch.device) -> T5:
    return torch.nn.Module.to(model, device)  # transformers' own `to` is annotated wrongly


def _described(device: torch.device) -> str:
    numbers = "bfloat16" if multiplies_bfloat16(device) else "float32"
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} in {numbers}"
    return f"the CPU in {numbers}, {torch.get_num_threads()} threads"


def _say_data(path: Path, data: Data) -> None:
    log.info("%s: %d lines to train on, %d kept back for validation.", path, data.training, data.validation)
    lost = {
        "their oldest turns": data.cut.turns,
        "some of their Knowledge": data.cut.knowledge,
        "all of their Knowledge": data.cut.all_knowledge,
        "a part of their instruction or last turn": data.cut.prompt,
        "the end of their Response": data.cut.reply,
    }
    for what, lines in lost.items():
        if lines:
            log.info("%d lines lose %s, as they would in a request.", lines, what)


def _say_results(before: Result, after: Result, out: Path) -> None:
    for name, result in (("Before:", before), ("After:", after)):
        exact, f1 = 100 * result.replies.exact, result.replies.token_f1
        log.info("%-8s validation loss %.3f, exact replies %.1f %%, token F1 %.3f", name, result.loss, exact, f1)
    folder = out.relative_to(ROOT) if out.is_relative_to(ROOT) else out
    log.info("Written to %s. To serve it, set `model: %s` in serve_config.yaml, then: make run", folder, folder)
    if (ROOT / "training" / "questions").is_dir():
        log.info("To score it on questions about texts that it has never seen: make eval-model MODEL=%s", folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.finetune",
        description="Trains a T5 further on your own dialogues; docs/fine-tuning.md is the guide.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--data", required=True, type=_given, help="a file of JSON lines: Context, Knowledge, Response")
    parser.add_argument("--model", required=True, type=_given, help="folder or hub id of the T5 to start from")
    parser.add_argument("--out", default=OUT, type=_given, help="the folder to write, which must not exist")
    parser.add_argument("--epochs", type=int, default=Settings.epochs, help="most passes over the lines")
    parser.add_argument("--rate", type=float, default=Settings.rate, help="AdamW's learning rate at its highest")
    parser.add_argument("--batch-tokens", type=int, default=Settings.batch_tokens, help="of a step; memory follows it")
    parser.add_argument(
        "--patience", type=int, default=Settings.patience, help="validations without a lower loss until it ends"
    )
    parser.add_argument("--validation-share", type=_share, default=0.1, help="of the lines, kept back for validation")
    parser.add_argument("--seed", type=int, default=Settings.seed, help="of the split, the order and the dropout")
    return parser


def _given(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("nothing given; try: make finetune DATA=dialogues.jsonl MODEL=models/mini")
    return text


def _share(text: str) -> float:
    if not 0 < (share := float(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text}; it must be above 0 and below 1")
    return share


def main() -> None:
    parser = _parser()
    flags = parser.parse_args()
    try:
        settings = Settings(**{name: getattr(flags, name) for name in asdict(Settings())})
    except ValueError as error:
        parser.error(str(error))
    log.addHandler(logging.StreamHandler(sys.stdout))
    log.setLevel(logging.INFO)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves it unannotated
    try:
        finetune(Path(flags.data), flags.model, ROOT / flags.out, settings, flags.validation_share)
    except (FinetuneError, DialoguesError, Diverged, ServeAppError) as error:
        sys.exit(f"finetune: {error}")


if __name__ == "__main__":
    main()
