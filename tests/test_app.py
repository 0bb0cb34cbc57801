"""How the application is put together."""

import pickle
import subprocess
import sys

from serve_app.checkpoint import load_tokenizer, resolve
from serve_app.settings import AppArgs
from tests.support.backend import ROOT

INGRESS = """
import pickle
import sys
import serve_app.app
from serve_app.knowledge import knowledge_base
knowledge_base("A pod is small.", 40).rank(["What is a pod?"], limit=1)
checkpoint, tokenizer, args = pickle.load(sys.stdin.buffer)
print(tokenizer.encode("What is a pod?"), [name for name in ("torch", "serve_app.model") if name in sys.modules])
"""


def test_an_ingress_needs_no_torch() -> None:
    """What its replica does before it answers. It took 430 MB of memory, and takes 170."""
    args = AppArgs(model="models/mini")
    checkpoint = resolve(args)
    tokenizer = load_tokenizer(checkpoint)
    arguments = pickle.dumps((checkpoint, tokenizer, args))
    assert len(arguments) < 50 * len(tokenizer), "Serve keeps a deployment's arguments in Ray's store: pieces alone"
    done = subprocess.run(
        [sys.executable, "-c", INGRESS], input=arguments, cwd=ROOT, capture_output=True, check=True, timeout=120
    )
    assert done.stdout.decode() == f"{tokenizer.encode('What is a pod?')} []\n"
