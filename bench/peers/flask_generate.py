"""The workshop's design: Flask in one process, one float32 `generate` a request, in threads, as Flask serves.

python -m bench.peers.flask_generate FOLDER_OF_THE_CHECKPOINT PORT
"""

import sys
from pathlib import Path

import torch
from flask import Flask, request

from bench.peers import Reply
from bench.peers.transformers_t5 import TransformersT5


def create_app(folder: Path) -> Flask:
    model = TransformersT5(folder, torch.float32)

    def answer() -> Reply:
        return model([request.get_json()])[0]

    app = Flask(__name__)
    app.add_url_rule("/", view_func=answer, methods=["POST"])
    return app


if __name__ == "__main__":
    create_app(Path(sys.argv[1])).run(port=int(sys.argv[2]))
