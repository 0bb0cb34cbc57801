"""The folder that fine-tuning writes: a checkpoint as transformers saves one, `finetuning.json` and `loss.png`."""

import hashlib
import json
import platform
import shutil
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from huggingface_hub import snapshot_download
from matplotlib.figure import Figure
from transformers import PreTrainedTokenizerBase
from transformers import T5ForConditionalGeneration as T5

from serve_app.checkpoint import Checkpoint
from training.fit import History, Settings
from training.pairs import Cuts
from training.replies import Score

_GENERATION_CONFIG = "generation_config.json"


@dataclass(frozen=True)
class Data:
    """What was learnt from."""

    sha256: str  # of the file
    training: int  # lines
    validation: int
    validation_share: float
    cut: Cuts


@dataclass(frozen=True)
class Result:
    """On the lines kept back."""

    loss: float
    replies: Score


def write_model(model: T5, tokenizer: PreTrainedTokenizerBase, source: Checkpoint, folder: Path) -> None:
    """In float32. What the source recommends for generation, `quote` among it, stays as it is."""
    model.save_pretrained(folder)
    for weights in folder.glob("*.safetensors"):
        shutil.copymode(
            folder / "config.json", weights
        )  # safetensors lets no other user read them; a server may be another
    tokenizer.save_pretrained(folder)
    if (recommended := _folder(source) / _GENERATION_CONFIG).is_file():
        shutil.copyfile(recommended, folder / _GENERATION_CONFIG)


def write_record(
    folder: Path, source: Checkpoint, data: Data, settings: Settings, history: History, before: Result, after: Result
) -> None:
    record = {
        "model": {"name": source.name, "commit": source.commit},
        "data": asdict(data),
        "settings": asdict(settings),
        "ending": history.ending,
        "points": [asdict(point) for point in history.points],
        "before": asdict(before),
        "after": asdict(after),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "transformers")},
        },
    }
    (folder / "finetuning.json").write_text(json.dumps(record, indent=2) + "\n")


def plot(history: History, path: Path) -> None:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    trained = [(point.epoch, point.training) for point in history.points if point.training is not None]
    validated = [(point.epoch, point.validation) for point in history.points]
    for name, curve in (("training", trained), ("validation", validated)):
        axes.plot([epoch for epoch, _ in curve], [loss for _, loss in curve], ".-", label=name)
    axes.axvline(history.best.epoch, color="grey", linestyle=":", label="kept")
    axes.set(xlabel="epoch", ylabel="loss a token", ylim=(0, None))
    axes.legend()
    figure.savefig(path, dpi=120)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folder(source: Checkpoint) -> Path:
    """Where the source's generation_config.json is, if it has one."""
    return source.folder or Path(
        snapshot_download(source.name, revision=source.commit, allow_patterns=[_GENERATION_CONFIG])
    )
