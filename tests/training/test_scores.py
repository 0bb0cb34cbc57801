"""The table, of replies written by hand."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from training.judging import Known, Share
from training.questions import Question, TextQuestions
from training.scores import (
    ANSWERED,
    CATEGORIES,
    DECLINED,
    RIGHT,
    WRONG,
    WRONGLY_DECLINED,
    Column,
    Judged,
    Speed,
    as_json,
    table,
)

TEXT = "The tent is made in Oulu. It weighs 1.8 kilograms."
OULU, HEAVY = TEXT.split(". ", 1)[0] + ".", "It weighs 1.8 kilograms."
KNOWN = Known(TEXT, ("Hello!", "I don't know."), 40, unsure="Perhaps this.")
WHERE = Question(ask=("Where from?",), kind="where", needs=(("Oulu",),), sentence=OULU)
WEIGHT = Question(ask=("Where from?", OULU, "And how heavy?"), kind="follow-up", needs=(("1.8",),), sentence=HEAVY)
WHO = Question(ask=("Who sells it?",), kind="other-attribute", declines=True)
MOON = Question(ask=("How far is the moon?",), kind="other-subject", declines=True)
HI = Question(ask=("Hi",), kind="small-talk", phrase="greeting")
TENT = TextQuestions(name="tent", title="Tent", text=TEXT, questions=(WHERE, WEIGHT, WHO, MOON))
SHIPPED = TENT.model_copy(update={"name": "shipped", "knowledge_of": "configs/chatbot.yaml"})
WORKSHOP = TENT.model_copy(update={"name": "workshop"})
TALK = TextQuestions(name="talk", title="Talk", questions=(HI,))


def judged(text: TextQuestions, question: Question, reply: str) -> Judged:
    return Judged(text, question, reply, KNOWN.judge(reply, question))


GOOD = Column(
    "good",
    (
        judged(TENT, WHERE, OULU),
        judged(TENT, WEIGHT, HEAVY),
        judged(TENT, WHO, "I don't know."),
        judged(TENT, MOON, "I don't know."),
        judged(SHIPPED, WHERE, OULU),
        judged(SHIPPED, WEIGHT, HEAVY),
        judged(SHIPPED, WHO, "I don't know."),
        judged(WORKSHOP, WHERE, OULU),
        judged(TALK, HI, "Hello!"),
    ),
    {"the right sentence is in the prompt": Share(4, 5)},
    Speed(0.25, 400.4),
)
BAD = Column(
    "bad",
    (
        judged(TENT, WHERE, "I don't know."),
        judged(TENT, WEIGHT, OULU),
        judged(TENT, WHO, OULU),
        judged(TENT, MOON, "It is far and it is far and it is far."),
        judged(SHIPPED, WHERE, "It is made."),
        judged(SHIPPED, WEIGHT, ""),
        judged(SHIPPED, WHO, OULU),
        judged(WORKSHOP, WHERE, "I don't know."),
    ),
)


def test_every_question_is_of_one_category() -> None:
    assert sorted(each.category for each in GOOD.judged) == sorted(CATEGORIES)


def test_right_and_wrong_are_counted() -> None:
    assert all(share.value == 1 for share in GOOD.right.values())
    assert {name: GOOD.right[name].of for name in (ANSWERED, DECLINED, RIGHT)} == {ANSWERED: 5, DECLINED: 3, RIGHT: 9}
    assert all(share.value == 0 for share in BAD.right.values())
    assert BAD.wrong == {WRONG: Share(3, 5), WRONGLY_DECLINED: Share(2, 5)}


def test_broken_replies_are_counted_once_each() -> None:
    assert [share.hits for share in GOOD.broken.values()] == [0, 0, 0]
    assert [share.hits for share in BAD.broken.values()] == [1, 2, 1]  # "far" and "it is far": one reply


def test_the_table_has_a_row_for_each_measure_and_a_column_for_each_way() -> None:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table([GOOD, BAD]).splitlines()]
    assert rows[0] == ["right replies to", "questions", "good", "bad"]
    assert {len(row) for row in rows} == {4}
    cells = {row[0]: row[1:] for row in rows[2:]}
    assert cells["first questions"] == ["1", "1.00 (0.21-1.00)", "0.00 (0.00-0.79)"]
    assert cells["small talk"] == ["1", "1.00 (0.21-1.00)", "-"]
    assert cells[f"{RIGHT}"][2] == "-"  # one was not asked for small talk: the two cannot be compared
    assert cells["the right sentence is in the prompt"] == ["5", "0.80 (0.38-0.96)", "-"]
    assert cells["replies that loop"] == ["9", "0", "1"]
    assert cells["alone: seconds a reply"] == ["", "0.250", "-"]
    assert cells["alone: tokens a second"] == ["", "400", "-"]


def test_without_times_there_are_no_rows_for_them() -> None:
    assert "alone" not in table([BAD])


def test_json_holds_the_shares_and_every_reply() -> None:
    read = json.loads(json.dumps(as_json([GOOD, BAD])))
    assert read["good"]["right"]["first questions"] == {
        "hits": 1,
        "of": 1,
        "interval": [pytest.approx(0.2065, abs=1e-3), 1],
    }
    assert read["good"]["speed"] == {"seconds_a_reply": 0.25, "tokens_a_second": 400.4}
    assert read["bad"]["speed"] is None
    reply = read["bad"]["replies"][1]
    assert (reply["text"], reply["ask"][-1], reply["reply"], reply["right"]) == ("tent", "And how heavy?", OULU, False)


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="of the dependency group `training`")
    from training.score_plot import plot

    plot([GOOD, replace(BAD, name="other")], tmp_path / "scores.png", "models/mini")
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")


def test_offers_decline_and_are_counted_by_what_they_hold() -> None:
    column = Column(
        "offers",
        (
            judged(TENT, WHERE, f"Perhaps this. {OULU}"),
            judged(TENT, WEIGHT, f"Perhaps this. {OULU}"),
            judged(TENT, WHO, f"Perhaps this. {OULU}"),
            judged(TENT, MOON, "I don't know."),
        ),
    )
    assert [(share.hits, share.of) for share in column.offered.values()] == [(1, 2), (1, 2), (1, 2)]
    assert (column.right[ANSWERED].hits, column.right[DECLINED].hits) == (0, 2)
    assert [share.hits for share in column.wrong.values()] == [0, 2]
