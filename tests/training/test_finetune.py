"""Fine-tuning: what is learnt, when it ends, and a folder that can be served."""

import asyncio
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import T5ForConditionalGeneration as T5

from serve_app import chat_config
from serve_app.chat import Chat
from serve_app.chat_config import ConfigFile
from serve_app.checkpoint import ROOT, Checkpoint, load_model, load_tokenizer, resolve
from serve_app.engine.engine import Engine
from serve_app.engine.weights import from_transformers
from serve_app.errors import ModelError
from serve_app.messages import ChatRequest, Sampling
from serve_app.settings import AppArgs
from tests.engine.support import answer
from tests.support.checkpoints import initial_t5, random_t5, save_checkpoint, small_tokenizer
from tests.support.fakes import FakeReplicas
from training import finetune as command
from training import fit as fitting
from training.dialogues import Dialogue, DialoguesError
from training.finetune import FinetuneError, finetune
from training.finetuned import write_model
from training.fit import Diverged, Settings, fit, rate_factor, validation_loss
from training.pairs import Pair, Tokenizing, batches, collate
from training.replies import score, token_f1

CPU = torch.device("cpu")
TOKENIZER = small_tokenizer()
ARGS = AppArgs()
REPLIES = {
    "What is a pod?": "the smallest unit",
    "What is a node?": "a machine that runs pods",
    "Who made it?": "I do not know.",
    "Hello!": "How are you today?",
    "What is Ray Serve?": "the library of Ray",
    "What runs pods?": "a node",
}


def tiny_t5(**config: Any) -> T5:
    return initial_t5(vocab_size=len(TOKENIZER), dropout_rate=0.0, d_model=64, d_kv=16, d_ff=64, **config)


def tokenizing(args: AppArgs = ARGS) -> Tokenizing:
    return Tokenizing(TOKENIZER, args, chat_config.load(ROOT / args.chat_config).config)


def pairs(replies: dict[str, str] = REPLIES) -> list[Pair]:
    return [
        tokenizing()(Dialogue((question,), "", reply, instruction="Answer.")) for question, reply in replies.items()
    ]


def drawn_pairs(lengths: Sequence[tuple[int, int]]) -> list[Pair]:
    return [Pair(torch.full((prompt,), index), torch.ones(reply)) for index, (prompt, reply) in enumerate(lengths)]


# ---- Prompts and batches


async def test_a_line_is_read_as_the_request_that_it_would_be() -> None:
    """Law: training and serving agree, token for token."""
    knowledge = " ".join(
        f"Pod number {number} runs on node {number % 7} and holds {number} files." for number in range(90)
    )
    turns = ("Hello!", "How can I help?", "Which files does pod number 7 hold?")
    args = AppArgs(max_prompt_tokens=2048)  # so that what the ranking leaves out is told from what has no room
    chat = Chat(
        args,
        Checkpoint(name="tiny", requested="tiny"),
        TOKENIZER,
        ConfigFile(ROOT / args.chat_config, args.max_reply_tokens),
        FakeReplicas(lambda request: []),
    )
    for instruction in (None, "Answer."):
        plan = await chat.plan(ChatRequest(dialog=list(turns), knowledge=knowledge, instruction=instruction), "r1")
        pair = tokenizing(args)(Dialogue(turns, knowledge, "7 files", instruction))
        assert pair.prompt.tolist() == plan.prompt.token_ids
        assert TOKENIZER.decode(pair.reply) == "7 files</s>"


def test_what_does_not_fit_is_cut_and_counted() -> None:
    args = AppArgs(max_prompt_tokens=64, max_reply_tokens=8)
    made = tokenizing(args)
    fitting_line = made(Dialogue(("What?",), "", "pod", "Answer."))
    assert made.cuts == type(made.cuts)()
    assert fitting_line.reply.tolist()[-1] == TOKENIZER.eos_token_id
    cut = made(Dialogue(("a turn " * 40, "another " * 40, "What? " * 80), "A pod is small.", "pod " * 40, "Answer."))
    assert len(cut.prompt) == 64
    assert len(cut.reply) == 7  # and the start token
    assert made.cuts == type(made.cuts)(turns=1, all_knowledge=1, prompt=1, reply=1)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 20)), min_size=1, max_size=40), st.integers(1, 300))
def test_batches_hold_every_pair_once_within_the_limit(lengths: list[tuple[int, int]], limit: int) -> None:
    packed = batches(drawn_pairs(lengths), limit, Random(0))
    assert sorted(int(pair.prompt[0]) for rows in packed for pair in rows) == list(range(len(lengths)))
    for rows in packed:
        size = len(rows) * (max(len(row.prompt) for row in rows) + max(len(row.reply) for row in rows))
        assert size <= limit or len(rows) == 1


def test_epochs_differ_and_a_seed_repeats_them() -> None:
    made = drawn_pairs([(20 + number % 3, 5) for number in range(50)])

    def order(seed: int) -> list[list[int]]:
        return [[int(pair.prompt[0]) for pair in rows] for rows in batches(made, 100, Random(seed))]

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_padding_changes_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "multiplies_bfloat16", lambda device: False)
    model = random_t5(vocab_size=len(TOKENIZER))
    made = [pair for index, pair in enumerate(pairs()) if index in (1, 3)]  # a long prompt and a short one
    made[0] = Pair(made[0].prompt.repeat(5), made[0].reply)
    together = validation_loss(model, made, batch_tokens=10_000)
    alone = validation_loss(model, made, batch_tokens=1)
    assert together == pytest.approx(alone, rel=1e-5)
    assert collate(made, CPU).mask.sum().item() == sum(len(pair.prompt) for pair in made)


# ---- The loop


def test_a_small_set_is_learnt_by_heart() -> None:
    model, made = tiny_t5(), pairs()
    history = fit(model, made, made, Settings(epochs=60, rate=1e-2, patience=60))
    assert history.best.validation < 0.1 * history.before
    assert score(model, TOKENIZER, made, ARGS, max_length=40).exact == 1.0


def test_training_ends_early_and_keeps_the_best_weights(caplog: pytest.LogCaptureFixture) -> None:
    """What is kept back says the opposite, so its loss soon rises."""
    model = tiny_t5()
    training = pairs(dict.fromkeys(REPLIES, "a pod"))
    contrary = pairs(dict.fromkeys(REPLIES, "the library of Ray Serve"))
    with caplog.at_level(logging.INFO, "finetune"):
        history = fit(model, training, contrary, Settings(epochs=100, rate=1e-2, patience=2))
    assert history.ending == "no better any more"
    assert history.since_best == 2
    assert 0 < history.best.step < history.points[-1].step < 100
    assert validation_loss(model, contrary, 2048) == pytest.approx(history.best.validation, rel=1e-5)
    line = caplog.messages[history.points.index(history.best)]
    assert line.startswith(f"step {history.best.step}, epoch {history.best.step}.00 of 100: loss ")
    assert "the best so far" in line and "examples/s, at most" in line and line.endswith("left")


def test_a_long_epoch_is_validated_four_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "_FEW_STEPS", 6)
    made = pairs()
    history = fit(tiny_t5(), made, made, Settings(epochs=1, batch_tokens=1))  # six steps
    assert [point.step for point in history.points] == [0, 2, 4, 6]


def test_ctrl_c_ends_the_training_with_the_best_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    model, made = tiny_t5(), pairs()
    step, steps = fitting._Run._step, 0

    def interrupted(run: Any, rows: Any, done: float) -> None:
        nonlocal steps
        steps += 1
        if steps == 4:
            raise KeyboardInterrupt
        step(run, rows, done)

    monkeypatch.setattr(fitting._Run, "_step", interrupted)
    history = fit(model, made, made, Settings(epochs=30, rate=1e-2))
    assert history.ending == "interrupted"
    assert history.points[-1].step == 3
    assert validation_loss(model, made, 2048) == pytest.approx(history.best.validation, rel=1e-5)


def test_a_loss_that_is_no_number_ends_it() -> None:
    model, made = tiny_t5(), pairs()
    with torch.no_grad():
        model.shared.weight.fill_(float("nan"))
    with pytest.raises(Diverged, match="step 1 is no number; lower the rate of 0.001"):
        fit(model, made, made, Settings(rate=1e-3))


def test_a_seed_repeats_a_run() -> None:
    def losses(seed: int) -> list[float]:
        model = tiny_t5()
        model.config.dropout_rate = 0.1
        return [point.validation for point in fit(model, pairs(), pairs(), Settings(epochs=2, seed=seed)).points]

    assert losses(1) == losses(1)


def test_the_rate_warms_up_and_decays() -> None:
    factors = [rate_factor(step / 1000) for step in range(1001)]
    top = factors.index(max(factors))
    assert 0 < top < 100
    assert factors == [*sorted(factors[:top]), *sorted(factors[top:], reverse=True)]
    assert max(factors) == pytest.approx(1) and factors[0] == factors[-1] == 0


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"epochs": 0}, "epochs: 0; it must be at least 1"),
        ({"batch_tokens": 0}, "batch_tokens: 0"),
        ({"patience": 0}, "patience: 0"),
        ({"rate": 0.0}, "rate: 0.0; it must be above 0 and at most 1"),
        ({"rate": float("nan")}, "rate: nan"),
        ({"seed": -1}, "seed: -1; it must be at least 0"),
    ],
)
def test_a_wrong_setting_is_named(wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Settings(**wrong)


def test_token_f1() -> None:
    assert token_f1("The pod, small.", "the pod small") == 1
    assert token_f1("a pod", "the pod is small") == pytest.approx(2 * 1 / (2 + 4))
    assert token_f1("pod pod", "pod") == pytest.approx(2 / 3)
    assert token_f1("yes", "no") == 0
    assert token_f1("", "no") == 0


# ---- From a file to a folder that is served


def lines(count: int = 1) -> list[dict[str, str]]:
    """Every question under several greetings, so that what is kept back is known from others."""
    return [
        {
            "Context": f"Hello {number} EOS Hi EOS {question}",
            "Knowledge": "",
            "Response": reply,
            "Instruction": "Answer.",
        }
        for number in range(count)
        for question, reply in REPLIES.items()
    ]


def written(path: Path, lines: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize("tied", [True, False])
async def test_from_a_file_to_a_served_model(tmp_path: Path, tied: bool, caplog: pytest.LogCaptureFixture) -> None:
    model = initial_t5(vocab_size=len(TOKENIZER), dropout_rate=0.0, d_model=64, d_kv=16, d_ff=64, tied=tied)
    if not tied:
        model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.shared.weight) * 0.1)
    source, out = save_checkpoint(model, tmp_path / "source"), tmp_path / "new" / "out"
    (source / "generation_config.json").write_text('{"eos_token_id": 1, "pad_token_id": 0, "quote": true}')
    data = written(tmp_path / "dialogues.jsonl", lines(8))
    with caplog.at_level(logging.INFO, "finetune"):
        await asyncio.to_thread(finetune, data, str(source), out, Settings(epochs=25, rate=1e-2, patience=25), 0.2)

    assert {file.name for file in out.iterdir()} == {
        "config.json", "model.safetensors", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
        "finetuning.json", "loss.png",
    }  # fmt: skip
    assert [file.name for file in out.parent.iterdir()] == ["out"]
    assert json.loads((out / "generation_config.json").read_text())["quote"] is True
    assert (out / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "model.safetensors").stat().st_mode & 0o777 == (out / "config.json").stat().st_mode & 0o777
    record = json.loads((out / "finetuning.json").read_text())
    assert record["data"]["training"] + record["data"]["validation"] == 48
    assert record["after"]["loss"] == pytest.approx(min(point["validation"] for point in record["points"]), rel=1e-4)
    assert record["after"]["loss"] < 0.1 * record["before"]["loss"]
    assert record["after"]["replies"] == {"exact": 1.0, "token_f1": 1.0}
    assert f"set `model: {out}` in serve_config.yaml" in caplog.text

    checkpoint = resolve(AppArgs(model=str(out)))
    tokenizer = load_tokenizer(checkpoint)
    engine = Engine(from_transformers(load_model(checkpoint)), slots=2, max_prompt=512, max_reply=40)
    pair = tokenizing()(Dialogue(("Hello 3", "Hi", "What is a node?"), "", "a machine that runs pods", "Answer."))
    tokens, _ = await answer(engine, pair.prompt.tolist(), Sampling(max_length=40))
    engine.close()
    assert tokenizer.decode(tokens) == "a machine that runs pods"


def test_what_the_source_recommends_stays_however_its_weights_were_read(tmp_path: Path) -> None:
    source = save_checkpoint(tiny_t5(), tmp_path / "source")
    (source / "generation_config.json").write_text('{"eos_token_id": 1, "quote": true}')
    write_model(tiny_t5(), TOKENIZER, Checkpoint(name="tiny", requested="tiny", folder=source), tmp_path / "out")
    assert json.loads((tmp_path / "out" / "generation_config.json").read_text())["quote"] is True


def test_the_embedded_model_learns_from_twenty_lines(tmp_path: Path) -> None:
    data, out = written(tmp_path / "dialogues.jsonl", lines(4)[:20]), tmp_path / "out"
    finetune(data, "models/mini", out, Settings(epochs=1, batch_tokens=512), 0.3)
    record = json.loads((out / "finetuning.json").read_text())
    assert record["after"]["loss"] < record["before"]["loss"]
    assert load_model(resolve(AppArgs(model=str(out)))).num_parameters() > 1e6


def test_nothing_is_trained_or_written_where_something_is_wrong(tmp_path: Path) -> None:
    out, defaults = tmp_path / "out", Settings()
    good = written(tmp_path / "good.jsonl", lines(2))
    bad = written(tmp_path / "bad.jsonl", [*lines(1), {"Context": "Hello", "Knowledge": ""}])
    with pytest.raises(DialoguesError, match="line 7: Response: missing"):
        finetune(bad, "models/mini", out, defaults, 0.1)
    with pytest.raises(ModelError, match="there is no such folder"):
        finetune(good, "./nowhere", out, defaults, 0.1)
    (tmp_path / "taken").mkdir()
    with pytest.raises(FinetuneError, match="taken exists already"):
        finetune(good, "models/mini", tmp_path / "taken", defaults, 0.1)
    assert not out.exists()


def test_a_model_that_does_not_get_better_is_not_written(tmp_path: Path) -> None:
    source = save_checkpoint(tiny_t5(), tmp_path / "source")
    data = written(tmp_path / "dialogues.jsonl", lines(2))
    with pytest.raises(FinetuneError, match="never fell, so nothing is written"):
        finetune(data, str(source), tmp_path / "out", Settings(epochs=1, rate=1e-30), 0.5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dialogues.jsonl", "source"]


def test_the_command_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*flags: str) -> str:
        monkeypatch.setattr("sys.argv", ["finetune", *flags])
        with pytest.raises(SystemExit) as ended:
            command.main()
        return f"{ended.value.code} {capsys.readouterr().err}"

    data = str(written(tmp_path / "dialogues.jsonl", lines(2)))
    assert "--data: nothing given; try: make finetune DATA=" in run("--data", "", "--model", "models/mini")
    assert "--model: nothing given" in run("--data", data, "--model", "")
    assert "--validation-share: 1; it must be above 0 and below 1" in run(
        "--data", data, "--model", "m", "--validation-share", "1"
    )
    assert "epochs: 0; it must be at least 1" in run("--data", data, "--model", "models/mini", "--epochs", "0")
    assert "finetune: nowhere.jsonl: there is no such file" in run("--data", "nowhere.jsonl", "--model", "models/mini")
    monkeypatch.setattr(command, "SERVE_CONFIG", written(tmp_path / "serve_config.yaml", [{"a": "b"}]))
    assert "applications.0.args cannot be read" in run("--data", data, "--model", "models/mini")
