"""The GPU's benchmark: its code runs here on a small model, and says what is missing for the real one."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench import gpu
from bench.gpu import CASES, Case, flan_t5_xl, make_model, missing, ours, run, transformers_
from serve_app.checkpoint import ROOT
from tests.support.checkpoints import random_t5

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = (Case(2, 0.5, shortest=3, longest=9, reply=5), Case(4, None, shortest=3, longest=9, reply=5))


def test_both_systems_write_the_same(tmp_path: Path) -> None:
    """Of prompts of several lengths, in float32, where equal tokens are promised: so both do the whole work."""
    model = random_t5(feed_forward_proj="gated-gelu", tied=False)
    case = SMALL[1]
    prompts = case.prompts(64)
    assert len({len(prompt) for prompt in prompts}) > 1
    with ours(model, "float32", case) as our_generate, transformers_(model, "float32", case) as their_generate:
        replies = our_generate(prompts)
        assert replies == their_generate(prompts)
    assert [len(reply) for reply in replies] == [5] * 4


def test_a_whole_run_on_a_small_model(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = random_t5(feed_forward_proj="gated-gelu", tied=False).config
    with caplog.at_level(logging.INFO, "bench"):
        rows = run(config, "bfloat16", torch.bfloat16, "cpu", SMALL, 2, tmp_path / "gpu.json")
    kept = json.loads((tmp_path / "gpu.json").read_text())
    assert [(row["system"], row["batch"]) for row in kept["rows"]] == [
        (system, case.batch) for case in SMALL for system in gpu.SYSTEMS
    ]
    assert all(row.seconds_median and row.seconds_median > 0 for row in rows)
    assert {row.failed for row in rows} == {None}
    *_, last = [record for record in caplog.records if record.name == "bench"]
    table = last.getMessage().splitlines()
    assert table[-2].startswith("| 2 |")
    assert table[-2].endswith("| 500 |")
    assert table[-1].endswith("| - |")


def test_where_memory_runs_out_the_other_cases_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 13 GiB.")

    monkeypatch.setitem(gpu.SYSTEMS, "this engine", too_large)
    config = random_t5().config
    rows = run(config, "float32", torch.float32, "cpu", SMALL, 1, tmp_path / "gpu.json")
    assert [row.failed for row in rows] == ["CUDA out of memory.", None] * 2
    assert "| 2 | CUDA out of memory. | " in gpu.table(rows, SMALL)


def test_the_shape_is_flan_t5_xls() -> None:
    model = make_model(flan_t5_xl(), torch.bfloat16, "meta")
    assert round(sum(weight.numel() for weight in model.parameters()) / 1e9, 2) == 2.85
    assert not model.config.scale_decoder_outputs
    lengths = [len(prompt) for prompt in CASES[-1].prompts(32_128)]
    assert (min(lengths) >= 260, max(lengths) <= 440, len(lengths)) == (True, True, 128)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_the_command_says_so_in_a_line_and_fails() -> None:
    ended = subprocess.run([sys.executable, "-m", "bench.gpu"], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr == f"bench.gpu: {missing()}.\n"
    assert "GPU" in ended.stderr


@pytest.mark.parametrize(("cuda", "says"), [(None, "built for CPUs alone"), ("13.0", "nvidia-smi")])
def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, cuda: str | None, says: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.version, "hip", None)
    assert says in str(missing())
