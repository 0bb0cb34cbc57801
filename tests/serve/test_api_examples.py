"""The examples of docs/api.md, as they stand there, against the real service."""

import re
import subprocess
import sys

import pytest

from tests.support.backend import ROOT, Backend

DOCUMENT = (ROOT / "docs/api.md").read_text()
EXAMPLES = re.findall(r"^```(sh|python)\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
SHELLS = {"sh": ["sh", "-c"], "python": [sys.executable, "-c"]}
SERVICE = "http://127.0.0.1:8000"


def test_there_is_an_example_for_each_client() -> None:
    programs = [" ".join(code.split()[:2]) for _, code in EXAMPLES]
    curl = f"curl {SERVICE}/v1/chat/completions"
    assert programs == [curl, "import requests", "from openai", "from langchain_openai"]


@pytest.mark.parametrize(("language", "code"), EXAMPLES, ids=[code.split()[1] for _, code in EXAMPLES])
def test_an_example_answers(backend: Backend, language: str, code: str) -> None:
    assert SERVICE in code
    program = subprocess.run(
        [*SHELLS[language], code.replace(SERVICE, backend.url)], capture_output=True, text=True, timeout=120
    )
    assert program.returncode == 0, program.stderr
    assert "smallest unit" in program.stdout
