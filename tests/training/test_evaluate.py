"""`make eval-model`: from a model's folder to one table."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from serve_app import chat_config
from serve_app.checkpoint import ROOT
from serve_app.messages import ChatReply, Grounding, Passage, Timing, Usage
from training import evaluate
from training.answering import Answered, Asked
from training.questions import EVALUATION, load

SENTENCES = {question.ask: question.sentence for text in load(EVALUATION) for question in text.questions}


class FakeAnswerer:
    """In quote mode it knows every answer, else only how to go on; it declines what the texts do not say."""

    def __init__(self, model: str) -> None:
        self.config = chat_config.load(ROOT / "configs/chatbot.yaml", environment={}).config
        self.closed = False

    async def answer(self, asked: Asked) -> Answered:
        sentence = SENTENCES.get(asked.dialog) or SENTENCES.get(asked.dialog[-1:]) or "I don't know."
        response = sentence if asked.generation.quote else "on and on and on and on and on"
        knows = asked.generation.quote_prior >= 8
        reply = ChatReply(
            response=response if knows else "I don't know.",
            podName="p",
            nodeName="n",
            replica_id="r",
            node_id="n",
            origins=[],
            model="fake",
            config_version="v",
            finish_reason="stop",
            usage=Usage(prompt_tokens=9, completion_tokens=20, max_prompt_tokens=512),
            grounding=Grounding(
                passages=[Passage(id="p0", text=f"First. {sentence} Last.", score=1.0)],
                dropped_turns=0,
                dropped_passages=0,
                truncated_tokens=0,
            ),
            citations=[],
            grounded=0,
            timing_ms=Timing(first_token=1, total=2),
            request_id="1",
        )
        return Answered(reply, seconds=0.1)

    async def answer_all(self, asked: Sequence[Asked], on_answer: Callable[[int], None]) -> list[Answered]:
        answered = [await self.answer(each) for each in asked]
        for done in range(1, len(asked) + 1):
            on_answer(done)
        return answered

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "Answerer", FakeAnswerer)


def cells(output: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in output.splitlines()]
    return {row[0]: row[1:] for row in rows}


@pytest.mark.usefixtures("faked")
def test_two_modes_and_two_rankings_stand_side_by_side(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with caplog.at_level("INFO", "evaluate"):
        assert evaluate.main(["a/model", "--json", str(tmp_path / "scores.json")]) == 0
    table = cells(capsys.readouterr().out)
    questions, quoted, free, ranking, bm25 = table["all that a text answers"]
    assert int(questions) > 250
    assert quoted.startswith("1.00") and free.startswith("0.00")
    assert min(float(cell.split()[0]) for cell in (ranking, bm25)) > 0.1
    assert table["small talk"][3:] == ["-", "-"]
    assert table["the right sentence is in the prompt"][1].startswith("1.00")
    assert table["the best-ranked sentence is right"][1:3] == ["-", "-"]
    again, quoted, free, ranking, _ = table["first questions that are asked again later"]
    assert int(again) > 80
    assert float(quoted.split()[0]) > 0.9 and free.startswith("0.00"), "a few are asked of two texts"
    assert float(ranking.split()[0]) > 0.7
    assert table["replies that loop"][2] == table["replies that loop"][0]
    assert table["alone: seconds a reply"][1:3] == ["0.100", "0.100"]
    assert table["alone: tokens a second"][1:3] == ["200", "200"]
    assert "quote mode: 476 of 476 questions answered" in caplog.text
    assert "BM25 declines up to a score of" in caplog.text
    scores = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert (scores["model"], scores["set"]) == ("a/model", "evaluation")
    assert len(scores["columns"]["quote mode"]["replies"]) == 476


@pytest.mark.usefixtures("faked")
def test_a_quick_run_asks_every_fifth_question_of_all_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main(["--quick"]) == 0
    table = cells(capsys.readouterr().out)
    assert int(table["all questions"][0]) == 96
    assert int(table["follow-ups"][0]) > 3


@pytest.mark.usefixtures("faked")
def test_a_sweep_has_a_column_for_each_prior(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "evaluate"):
        assert evaluate.main(["--quick", "--sweep", "4", "32"]) == 0
    assert "prior 4: answers 0.00" in caplog.text and "prior 32: answers 0." in caplog.text
    header, *_ = capsys.readouterr().out.splitlines()
    assert header == "| right replies to | questions | prior 4 | prior 32 |"


def test_no_prior_is_chosen_on_the_evaluation_set(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        evaluate.main(["--sweep", "--set", "evaluation"])
    assert "nothing is chosen on the evaluation set" in capsys.readouterr().err


def test_a_folder_for_the_results_must_exist_before_anything_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        evaluate.main(["--json", "no/such/scores.json"])
    assert "there is no folder no/such" in capsys.readouterr().err


def test_a_model_that_is_none_is_said_in_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert evaluate.main([str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"Model {tmp_path} cannot be read: ") and said.err.count("\n") == 1
    assert said.out == ""
