"""A user's file: its form, what is said of wrong lines, and the split."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.checkpoint import ROOT
from training import dialogues
from training.dialogues import Dialogue, DialoguesError, read, split

GOOD = {
    "Context": "Hello! EOS How can I help? EOS What is a pod?",
    "Knowledge": "A pod is small.",
    "Response": "Small.",
}


def written(folder: Path, *lines: dict[str, Any] | str | bytes) -> Path:
    path = folder / "dialogues.jsonl"
    encoded = [
        line if isinstance(line, bytes) else (line if isinstance(line, str) else json.dumps(line)).encode()
        for line in lines
    ]
    path.write_bytes(b"\n".join(encoded))
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(DialoguesError) as raised:
        read(path)
    return [line.strip() for line in str(raised.value).splitlines()]


def test_a_line_is_a_dialogue(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD, "", GOOD | {"Knowledge": "", "Instruction": "Be brief."})
    turns = ("Hello!", "How can I help?", "What is a pod?")
    assert read(path) == [
        Dialogue(turns, "A pod is small.", "Small."),
        Dialogue(turns, "", "Small.", "Be brief."),
    ]


def test_the_guides_example_is_two_lines_of_one_dialogue(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "fine-tuning.md").read_text().splitlines()
    first, second = read(written(tmp_path, *(line for line in guide if line.startswith('{"Context"'))))
    assert second.turns[:2] == (*first.turns, first.response)


def test_only_a_word_of_its_own_ends_a_turn(tmp_path: Path) -> None:
    (dialogue,) = read(written(tmp_path, GOOD | {"Context": "What is EOSIN, or EOS's? \n EOS\tYes."}))
    assert dialogue.turns == ("What is EOSIN, or EOS's?", "Yes.")


def test_a_files_mark_of_utf_8_is_no_part_of_its_first_line(tmp_path: Path) -> None:
    assert len(read(written(tmp_path, b"\xef\xbb\xbf" + json.dumps(GOOD).encode()))) == 1


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({"Context": "a", "Knowledge": ""}, "Response: missing; add it"),
        ({"Context": "a", "Response": "b"}, "Knowledge: missing; write an empty text where there is none"),
        (GOOD | {"Context": ["a", "b"]}, "Context: a list; it must be one text, its turns joined by ' EOS '"),
        (GOOD | {"Context": "a EOS EOS b"}, "Context: turn 2 is blank; write a turn before and after every EOS"),
        (GOOD | {"Context": " "}, "Context: turn 1 is blank; write a turn before and after every EOS"),
        (GOOD | {"Knowledge": None}, "Knowledge: null; it must be one text"),
        (GOOD | {"Response": " \n"}, "Response: blank; write a text, or leave it out"),
        (
            GOOD | {"Response": "Yes.</s>"},
            "Response: holds </s>, which T5 reads as a mark and not as text; take it out",
        ),
        (GOOD | {"Instruction": ""}, "Instruction: blank; write a text, or leave it out"),
        (
            GOOD | {"response": "b"},
            "response: no field of this form; its fields are Context, Knowledge, Response and, if wanted, Instruction",
        ),
        (
            '{"Context": "\\ud800", "Knowledge": "", "Response": "b"}',
            "Context: holds half of a surrogate pair, which is",
        ),
        ("[", "not JSON (Expecting value at 2); a line is one whole object, {...}, with no comma after it"),
        (json.dumps(GOOD) + ",", "a line is one whole object, {...}, with no comma after it"),
        ("[" * 100_000, "not JSON (too deep or too long); a line is one whole object"),
        ("3", "a number; a line is one object with Context, Knowledge and Response"),
        (b"\xff", "byte 1 is not UTF-8; save the file as UTF-8"),
    ],
)
def test_a_wrong_line_is_named_with_field_and_remedy(tmp_path: Path, line: Any, problem: str) -> None:
    first, *found = problems(written(tmp_path, GOOD, "", line, GOOD))
    assert "nothing is trained" in first
    assert len(found) == 1
    assert found[0].startswith("line 3: ")
    assert problem in found[0]


def test_all_fields_of_a_line_are_named(tmp_path: Path) -> None:
    _, found = problems(written(tmp_path, {"Context": 3, "Knowledge": [], "Answer": "secret"}))
    assert [field in found for field in ("Context:", "Knowledge:", "Response:", "Answer:")] == [True] * 4
    assert "secret" not in found  # what users type is repeated nowhere


def test_twenty_wrong_lines_are_named_and_the_others_counted(tmp_path: Path) -> None:
    _, *found, rest = problems(written(tmp_path, *["no"] * 31))
    assert [line.split(":")[0] for line in found] == [f"line {number}" for number in range(1, 21)]
    assert rest == "and 11 more lines"


def test_a_long_line_is_named_and_the_next_ones_keep_their_numbers(tmp_path: Path) -> None:
    long = GOOD | {"Knowledge": "x" * (2 * dialogues.MAX_LINE_BYTES)}
    _, *found = problems(written(tmp_path, GOOD, long, GOOD, "no"))
    assert [line.split(":")[0] for line in found] == ["line 2", "line 4"]
    assert "shorten Knowledge or Context" in found[0]


def test_too_many_lines_too_many_bytes_none_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "the file is empty" in problems(written(tmp_path, "", " "))[0]
    assert "there is no such file" in problems(tmp_path / "nowhere.jsonl")[0]
    monkeypatch.setattr(dialogues, "MAX_LINES", 2)
    assert len(read(written(tmp_path, GOOD, GOOD))) == 2
    assert "more than 2 lines; use a part of them" in problems(written(tmp_path, GOOD, GOOD, GOOD))[0]
    monkeypatch.setattr(dialogues, "MAX_FILE_BYTES", 100)
    assert "at most 100 can be read" in problems(written(tmp_path, GOOD, GOOD))[0]


_DIALOGUES = st.lists(
    st.builds(
        Dialogue,
        turns=st.tuples(st.sampled_from(["Hello", "hello ", "What is it?", "Who?"]), st.sampled_from(["a", "b"])),
        knowledge=st.sampled_from(["", "A pod.", "A node."]),
        response=st.sampled_from(["yes", "no"]),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(_DIALOGUES, st.floats(0.01, 0.99), st.integers(0, 5))
def test_a_split_keeps_dialogues_together_and_loses_no_line(lines: list[Dialogue], share: float, seed: int) -> None:
    def groups(side: list[Dialogue]) -> set[tuple[str, str]]:
        return {(line.turns[0].strip().lower(), line.knowledge) for line in side}

    if len(groups(lines)) < 2:
        with pytest.raises(DialoguesError):
            split(lines, share, seed)
        return
    found = split(lines, share, seed)
    assert found.training and found.validation
    assert not groups(found.training) & groups(found.validation)
    assert sorted(map(repr, found.training + found.validation)) == sorted(map(repr, lines))
    assert found == split(lines, share, seed)


def test_a_split_keeps_back_the_share_and_another_seed_another_one() -> None:
    lines = [Dialogue((f"question {number}",), "", "reply") for number in range(200)]
    assert len(split(lines, 0.1, 0).validation) == 20
    assert split(lines, 0.1, 0).validation != split(lines, 0.1, 1).validation


def test_lines_that_are_one_dialogue_are_refused() -> None:
    with pytest.raises(DialoguesError, match="give at least two"):
        split([Dialogue(("Hello", str(number)), "", "reply") for number in range(5)], 0.1, 0)
