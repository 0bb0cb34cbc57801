"""The examples of the documents, as they stand there, against the real service."""

import subprocess
import sys

import pytest

from tests.support.backend import Backend
from tests.support.documents import PAGES, Fence, fences

FENCES = [fence for page in PAGES for fence in fences(page.read_text(encoding="utf-8"))]
EXAMPLES = [fence for fence in FENCES if fence.language == "python" or fence.code.startswith("curl ")]
SHELLS = {"sh": ["sh", "-c"], "python": [sys.executable, "-c"]}
SERVICE = "http://127.0.0.1:8000"


def test_there_is_an_example_for_each_client() -> None:
    begin = [" ".join(example.code.split()[:2]) for example in EXAMPLES]
    curls = [f"curl {SERVICE}{path}" for path in ("/chat", "/v1/chat/completions")]
    assert begin == [*curls, "import requests", "from openai", "from langchain_openai"]


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.code.split()[1] for example in EXAMPLES])
def test_an_example_answers(backend: Backend, example: Fence) -> None:
    assert SERVICE in example.code
    code = example.code.replace(SERVICE, backend.url)
    program = subprocess.run([*SHELLS[example.language], code], capture_output=True, text=True, timeout=120)
    assert program.returncode == 0, program.stderr
    assert "smallest unit" in program.stdout
