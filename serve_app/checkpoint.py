"""Where the model comes from: a folder, the hub, the hub's local cache, or the fallback; and how it is read.

`resolve` decides once, when the application is built, and pins what it found. So all replicas run the same weights,
even if the hub comes and goes between their starts.

serve_config.yaml may name any folder that this process may read, outside of the project, too (a mounted
volume): no request names a file. What is in the folder is not trusted: weights are safetensors, or a pickle that is
read without running its code, and Python that comes along is never run.
"""

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import HfApi, constants, scan_cache_dir, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError
from safetensors import SafetensorError, safe_open

from serve_app import int8_weights
from serve_app.errors import ModelError
from serve_app.settings import AppArgs
from serve_app.stored_tensors import StoredTensors

# Torch and transformers are imported where they are used: an ingress needs this module for `Checkpoint` alone, and not
# the 170 MB that torch takes; a model replica needs it for that, too, where its weights are quantised already.
if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, T5Config, T5ForConditionalGeneration

logger = logging.getLogger("ray.serve.godel")

# Relative paths in the settings start here, whatever folder Ray starts its workers in.
ROOT = Path(__file__).resolve().parents[1]

_READ_BY_TOKENIZERS = ("*.json", "*.model")
_READ_BY_TRANSFORMERS = (*_READ_BY_TOKENIZERS, "*.safetensors")
_HOLD_WEIGHTS = ("config.json", "*.safetensors", "pytorch_model*.bin", "*.index.json")
_GENERATION_CONFIG = "generation_config.json"


@dataclass(frozen=True)
class Checkpoint:
    """One model, pinned: a folder, or a hub id with a commit."""

    name: str  # what replies call it
    requested: str  # what the settings asked for
    folder: Path | None = None
    commit: str | None = None
    files: tuple[str, ...] = _READ_BY_TRANSFORMERS  # patterns of what to fetch from the hub
    quote: bool = False  # what it recommends where the setting `generation.quote` is null
    fallback_reason: str | None = None

    @property
    def is_fallback(self) -> bool:
        return self.fallback_reason is not None

    @property
    def identity(self) -> list[object] | None:
        """Differs where the weights do; None: not known. The hub's are known by their commit; those of a folder by
        their files' paths, sizes and times of change: to hash them, all of their bytes would be read. Raises OSError.
        """
        if self.folder is None:
            return [self.name, self.commit] if self.commit else None
        read = {file for pattern in _HOLD_WEIGHTS for file in self.folder.glob(pattern)}
        return [_as_on_disk(file) for file in sorted(read)]


def resolve(args: AppArgs) -> Checkpoint:
    """Find `args.model`, or else `args.fallback_model`.

    Decides within `args.hub_timeout_s` where the hub does not answer.
    Raises ModelError that names the model, the reason and the remedy where neither can be had.
    """
    try:
        return _find(args.model, args.revision, args.hub_timeout_s)
    except ModelError as error:
        if args.fallback_model is None:
            raise ModelError(f"{error} Or name a `fallback_model` in serve_config.yaml.") from None
        logger.warning("%s Using the fallback model %s.", error, args.fallback_model)
        fallback = _find(args.fallback_model, None, args.hub_timeout_s)
        return replace(fallback, requested=args.model, fallback_reason=str(error))


def load_tokenizer(checkpoint: Checkpoint) -> "PreTrainedTokenizerBase":
    """Raises ModelError where the folder holds no tokenizer that transformers can read."""
    return _read_tokenizer(fetch(checkpoint, _READ_BY_TOKENIZERS), checkpoint.name)


def load_model(checkpoint: Checkpoint) -> "T5ForConditionalGeneration":
    """transformers' model in fp32, on the CPU: to train, or to compare with. An engine's: model_weights.py.

    Raises ModelError where weights are missing or damaged.
    """
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    folder = fetch(checkpoint, checkpoint.files)
    try:
        # A pickled checkpoint (GODEL's own is one) goes through torch's weights-only reader, which runs no code.
        small = (folder / int8_weights.FILE).is_file()
        loaded: Any = T5ForConditionalGeneration.from_pretrained(
            None if small else folder,
            config=T5Config.from_pretrained(folder, local_files_only=True),
            state_dict=dict(StoredTensors(folder)) if small else None,
            dtype=torch.float32,
            local_files_only=True,
            weights_only=True,
            output_loading_info=True,
        )
    except Exception as error:  # transformers raises many kinds; each means that this folder cannot be read
        raise ModelError(f"Model {checkpoint.name} cannot be read: {first_line(error)}.") from error
    model: T5ForConditionalGeneration
    model, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise ModelError(f"Model {checkpoint.name} lacks weights: {', '.join(missing[:3])}; copy the folder again.")
    return model


def _find(model: str, revision: str | None, timeout_s: float) -> Checkpoint:
    folder = ROOT / model
    if folder.is_dir():
        _verify(folder, model)
        return Checkpoint(name=model, requested=model, folder=folder, quote=_recommends_quotes(folder, model))
    if model.startswith((".", "/", "~")):
        raise ModelError(f"Model {model} cannot be had: there is no such folder. Give an existing folder or a hub id.")
    try:
        return _on_hub(model, revision, timeout_s)
    except _HubSilent as silence:
        return _in_cache(model, revision, reason=str(silence))


class _HubSilent(Exception):
    """The hub gave no answer, so the local cache may."""


def _on_hub(model: str, revision: str | None, timeout_s: float) -> Checkpoint:
    """Ask the hub which commit `revision` is, and what it recommends."""
    if constants.HF_HUB_OFFLINE:
        raise _HubSilent("HF_HUB_OFFLINE is set")
    # The client retries by itself, so its own timeout does not bound the wait: the thread does.
    asking = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hub")
    try:
        return asking.submit(_ask_hub, model, revision, timeout_s).result(timeout_s)
    except ModelError:  # its generation_config.json is damaged
        raise
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ModelError(
            f"Model {model} cannot be had: the hub does not know it ({type(error).__name__}). "
            "Check the name in serve_config.yaml, and HF_TOKEN if it is private."
        ) from None
    except HfHubHTTPError as error:
        raise _HubSilent(f"the hub answered {first_line(error)}") from None
    except Exception as error:  # refused, unresolved, timed out: the client's libraries each raise their own kinds
        raise _HubSilent(f"the hub cannot be reached ({type(error).__name__})") from None
    finally:
        asking.shutdown(wait=False)


def _ask_hub(model: str, revision: str | None, timeout_s: float) -> Checkpoint:
    info = HfApi().model_info(model, revision=revision, timeout=timeout_s)
    names = [file.rfilename for file in info.siblings or []]
    weights = "*.safetensors" if any(name.endswith(".safetensors") for name in names) else "pytorch_model*.bin"
    found = Checkpoint(name=model, requested=model, commit=info.sha, files=("*.json", "*.model", weights))
    if _GENERATION_CONFIG not in names:
        return found
    return replace(found, quote=_recommends_quotes(fetch(found, (_GENERATION_CONFIG,)), model))


def _in_cache(model: str, revision: str | None, reason: str) -> Checkpoint:
    folder = _cached(model, revision)
    if folder is None:
        raise ModelError(
            f"Model {model} cannot be had: {reason}, and it is not in the local cache. "
            "Connect to the hub once, or set `model` in serve_config.yaml to a folder that holds it."
        )
    _verify(folder, model)
    # Another node has its own cache, so the commit is pinned and not this node's folder.
    return Checkpoint(
        name=model, requested=model, commit=folder.name, files=("*",), quote=_recommends_quotes(folder, model)
    )


def _cached(model: str, revision: str | None) -> Path | None:
    try:
        return Path(snapshot_download(model, revision=revision, local_files_only=True))
    except HFValidationError:
        return None
    except LocalEntryNotFoundError:
        if revision is not None:
            return None
    # What was fetched by its commit, as `_fetch` does, is in the cache without a branch's name.
    repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos if Path(constants.HF_HUB_CACHE).is_dir() else ()
    snapshots = [
        snapshot for repository in repositories if repository.repo_id == model for snapshot in repository.revisions
    ]
    return max(snapshots, key=lambda snapshot: snapshot.last_modified).snapshot_path if snapshots else None


def fetch(checkpoint: Checkpoint, files: tuple[str, ...]) -> Path:
    """The folder that holds these files, brought from the hub where they are not here yet."""
    if checkpoint.folder:
        return checkpoint.folder
    return Path(snapshot_download(checkpoint.name, revision=checkpoint.commit, allow_patterns=list(files)))


def _as_on_disk(file: Path) -> tuple[str, int, int, int]:
    """ctime as well: it tells of a change that kept size and mtime, as some copies do."""
    found = file.stat()
    return str(file.resolve()), found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _recommends_quotes(folder: Path, name: str) -> bool:
    """The key `quote` of the folder's generation_config.json, where there is one."""
    path = folder / _GENERATION_CONFIG
    try:
        recommended = json.loads(path.read_text(encoding="utf-8")).get("quote", False) if path.exists() else False
    except (OSError, ValueError, AttributeError) as error:  # AttributeError: JSON, but no object
        raise ModelError(f"Model {name} cannot be read: {_GENERATION_CONFIG}: {first_line(error)}.") from error
    if not isinstance(recommended, bool):
        raise ModelError(
            f"Model {name} cannot be read: {_GENERATION_CONFIG}: quote is {recommended!r}; it must be true or false."
        )
    return recommended


def _verify(folder: Path, name: str) -> None:
    """Read all but the weights' values, so that a damaged folder is found before a replica starts from it."""
    from transformers import AutoConfig, T5Config

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # as in load_model
        raise ModelError(f"Model {name} cannot be read: config.json: {first_line(error)}.") from error
    if not isinstance(config, T5Config):
        raise ModelError(
            f"Model {name} is of type {config.model_type}, but this engine runs T5 models (model_type t5)."
        )
    if (pieces := len(_read_tokenizer(folder, name))) > config.vocab_size:
        raise ModelError(
            f"Model {name} has a vocabulary of {config.vocab_size}, but its tokenizer one of {pieces}: "
            "they do not belong together; copy the folder again."
        )
    if files := sorted(folder.glob("*.safetensors")):
        _verify_weights(files, config, name)
    elif not any(folder.glob("pytorch_model*.bin")):
        raise ModelError(f"Model {name} has no weights: {folder} holds neither *.safetensors nor pytorch_model*.bin.")


def _verify_weights(files: list[Path], config: "T5Config", name: str) -> None:
    import torch
    from transformers import T5ForConditionalGeneration

    with torch.device("meta"):
        model = T5ForConditionalGeneration(config)
    needed = set(model.state_dict()) - set(model.all_tied_weights_keys)
    try:
        present = {key for file in files for key in _keys(file)}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"Model {name} has damaged weights: {first_line(error)}; copy the folder again.") from error
    if missing := sorted(needed - present):
        raise ModelError(f"Model {name} lacks weights: {', '.join(missing[:3])}; copy the folder again.")


def _keys(file: Path) -> Iterator[str]:
    with safe_open(file, framework="pt") as weights:  # reads the header, and checks it against the file's size
        yield from weights.keys()


def _read_tokenizer(folder: Path, name: str) -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # as in load_model
        raise ModelError(f"Model {name} cannot be read: its tokenizer: {first_line(error)}.") from error
    return tokenizer


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:300]
