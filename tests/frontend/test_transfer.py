"""Files of conversations: what is written is read again, and what is no such file is refused with a reason."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.errors import ImportRefused
from frontend.models import Exchange
from frontend.transfer import ConversationRecord, ExchangeRecord, from_json, to_json, to_markdown
from frontend.views import exchange_view

MAX_EXCHANGES = 5
AT = "2030-01-02T03:04:05Z"
TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=40)
TIMES = st.datetimes(datetime(1970, 1, 2), datetime(2199, 12, 30), timezones=st.just(UTC))
ORIGINS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
KNOWN = ["grounding", "citations", "timing_ms", "usage", "origins", "grounded", "left_off", "model", "finish_reason"]


@st.composite
def conversations(draw: st.DrawFn) -> ConversationRecord:
    positions = draw(st.lists(st.integers(1, 10**6), min_size=1, max_size=MAX_EXCHANGES, unique=True).map(sorted))
    return ConversationRecord(
        title=draw(TEXTS.filter(bool)),
        last_used_at=draw(TIMES),
        next_position=positions[-1] + draw(st.integers(1, 5)),
        exchanges=tuple(
            ExchangeRecord(
                position=position,
                parent=draw(st.none() | st.integers(0, position - 1)),
                rating=draw(st.none() | st.sampled_from(["up", "down"])),
                message=draw(TEXTS),
                sent_at=draw(TIMES),
                reply=draw(st.none() | TEXTS),
                replied_at=draw(st.none() | TIMES),
                origin=draw(st.none() | st.dictionaries(TEXTS, ORIGINS, max_size=3)),
            )
            for position in positions
        ),
    )


def file(**changes: Any) -> dict[str, Any]:
    """A sound file, with `changes` to its only exchange."""
    exchange = {"position": 1, "message": "q", "sent_at": AT, "reply": "a", "replied_at": AT} | changes
    chat = {"title": "t", "last_used_at": AT, "next_position": 2, "exchanges": [exchange]}
    return {"format": "grounded-chat", "version": 1, "conversations": [chat]}


def read(content: object) -> tuple[ConversationRecord, ...]:
    return from_json(content if isinstance(content, bytes) else json.dumps(content).encode(), MAX_EXCHANGES)


@given(st.lists(conversations(), max_size=3).map(tuple))
def test_what_is_written_is_read_again(chats: tuple[ConversationRecord, ...]) -> None:
    assert read("".join(to_json(chats)).encode()) == chats


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"hello", "is not JSON"),
        (b"\xff\xd8\xff\xe0 a picture", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"format": "grounded-chat"', "is not JSON"),
        ([], "not a file of exported chats"),
        ({"conversations": []}, "not a file of exported chats"),
        (file() | {"version": 3}, "has version 3 of the format, and this page reads versions 1, 2"),
        (file(parent=1), "an exchange's parent must be an earlier one"),
        (file(rating="great"), r"exchanges\.0\.rating: Input should be 'up' or 'down'"),
        (file() | {"version": "1" * 500}, "has version 1111"),
        (file() | {"more": 1}, "more: Extra inputs"),
        ({"format": "grounded-chat", "version": 1}, "conversations: Field required"),
        (file(message=None), r"conversations\.0\.exchanges\.0\.message: Input should be a valid string"),
        (file(unknown=1), r"exchanges\.0\.unknown: Extra inputs"),
        (file(position=2), "positions must ascend and be below next_position"),
        (file(position=0), "position: Input should be greater"),
        (file(sent_at="2030-01-02T03:04:05"), "sent_at: Input should have timezone info"),
        (file(sent_at="0001-01-01T00:00:00+14:00"), "sent_at: must be in the years 1970 to 2200"),
        (file(origin={"timing_ms": {"total": 10**400}}), "origin: holds a number that is out of range"),
        (file(origin={"x": [float("nan")]}), "origin: holds a number that is out of range"),
        (file(message="\ud800"), "is not JSON"),
    ],
)
def test_no_such_file_is_refused_and_says_why(content: object, reason: str) -> None:
    with pytest.raises(ImportRefused, match=reason) as refused:
        read(content)
    assert "imported" in refused.value.message
    assert len(refused.value.message) < 600


def test_what_no_database_takes_is_replaced() -> None:
    assert read(file(message="a\0b"))[0].exchanges[0].message == "a\N{REPLACEMENT CHARACTER}b"


def test_a_chat_of_too_many_questions_is_refused_rather_than_cut() -> None:
    content = file()
    chat = content["conversations"][0]
    chat["exchanges"] = [chat["exchanges"][0] | {"position": n} for n in range(1, MAX_EXCHANGES + 2)]
    chat["next_position"] = 99
    with pytest.raises(ImportRefused, match=r"conversations\.0 has 6 questions; at most 5 are kept"):
        read(content)


@given(st.dictionaries(st.sampled_from(KNOWN) | TEXTS, ORIGINS, max_size=5))
def test_any_origin_that_is_imported_can_be_shown(origin: dict[str, Any]) -> None:
    """A number too large for a float was once enough to make a page an error for good."""
    record = read(file(origin=origin))[0].exchanges[0]
    exchange_view(Exchange(conversation_id="c", **record.model_dump()), is_last=True, writing=False, versions=(1,))


def test_a_file_of_the_first_version_has_no_branches() -> None:
    content = file()
    chat = content["conversations"][0]
    chat["exchanges"] = [chat["exchanges"][0] | {"position": n} for n in (3, 4, 7)]
    chat["next_position"] = 8
    assert read(content)[0].parents == {3: 0, 4: 3, 7: 4}


def test_markdown_has_every_branch_the_newest_first() -> None:
    content = file(rating="down")
    chat = content["conversations"][0]
    first = chat["exchanges"][0]
    chat["exchanges"] = [first, first | {"position": 2, "parent": 0, "message": "newer", "rating": None}]
    chat["next_position"] = 3
    written = "".join(to_markdown(read(content)))
    assert written.index("> newer") < written.index("*Of another branch:*") < written.index("> q")
    assert "## Reply, 2030-01-02 03:04 UTC, rated down" in written


def test_markdown_holds_titles_messages_replies_and_their_writer() -> None:
    content = file(message="# no heading\n<script>", origin={"model": "models/mini", "replica_id": "r_1"})
    content["conversations"][0]["title"] = "A *title* <b>"
    assert "".join(to_markdown(read(content))) == (
        "# A \\*title\\* \\<b\\>\n\n"
        "## You, 2030-01-02 03:04 UTC\n\n> # no heading\n> <script>\n\n"
        "## Reply, 2030-01-02 03:04 UTC, models/mini, r\\_1\n\n> a\n\n"
    )
    failed = "".join(to_markdown(read(file(reply=None, failure_message="The service is away."))))
    assert "*No reply. The service is away.*" in failed
