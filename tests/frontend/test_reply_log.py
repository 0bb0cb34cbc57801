"""A reply in memory: whenever a reader comes and however slow it is, it has the text, and then exactly one end."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from frontend.asking import ColdStart, Restart
from frontend.backend import Token
from frontend.reply_log import Failed, Place, ReplyEvent, ReplyLog, Silence

END = Failed("busy", "Full.")
STEPS = st.lists(st.sampled_from(["a", "bc", "restart", "read"]), max_size=12)


async def read_on(log: ReplyLog, place: Place | None) -> list[tuple[Place, ReplyEvent]]:
    return [reached async for reached in log.follow(place)]


def shown(text: str, events: list[tuple[Place, ReplyEvent]]) -> str:
    for _, event in events:
        if isinstance(event, Restart):
            text = ""
        elif isinstance(event, Token):
            text += event.text
    return text


@given(STEPS)
def test_a_reader_that_leaves_and_comes_back_at_any_moment_shows_the_text(steps: list[str]) -> None:
    async def run() -> None:
        log, text, place = ReplyLog(), "", None
        for step in [*steps, "end"]:
            if step == "restart":
                log.add(Restart())
            elif step == "end":
                log.end(END)
            elif step != "read":
                log.add(Token(text=step))
            if step in ("read", "end"):
                events = []
                asyncio.get_running_loop().call_soon(log.beat)
                async for event in log.follow(place):  # reads what there is, and leaves
                    if isinstance(event[1], Silence):
                        break
                    events.append(event)
                text = shown(text, events)
                place = events[-1][0] if events else place
        assert text == log.text
        assert events[-1][1] == END
        assert [event for _, event in events].count(END) == 1

    asyncio.run(run())


async def test_readers_see_pieces_as_they_are_written() -> None:
    log = ReplyLog()
    readers = [aiter(log.follow(None)) for _ in range(2)]
    waiting = [asyncio.ensure_future(anext(reader)) for reader in readers]
    await asyncio.sleep(0)
    log.add(Token(text="one"))
    assert [await each for each in waiting] == [(Place(0, 3), Token(text="one"))] * 2


async def test_a_slow_reader_has_all_it_missed_in_one_piece() -> None:
    log = ReplyLog()
    for piece in ("a", "b", "c"):
        log.add(Token(text=piece))
    log.end(END)
    assert await read_on(log, None) == [(Place(0, 3), Token(text="abc")), (Place(0, 3), END)]
    assert await read_on(log, Place(0, 2)) == [(Place(0, 3), Token(text="c")), (Place(0, 3), END)]


async def test_a_cold_start_is_told_once_and_only_while_it_lasts() -> None:
    log = ReplyLog()
    for _ in range(2):
        log.add(ColdStart())
    reader = log.follow(None)
    assert (await anext(reader))[1] == ColdStart()
    log.add(ColdStart())
    log.add(Token(text="a"))
    assert (await anext(reader))[1] == Token(text="a")
    assert (await anext(log.follow(None)))[1] == Token(text="a")


async def test_silence_is_told_and_the_text_goes_on() -> None:
    log = ReplyLog()
    reader = log.follow(None)
    asyncio.get_running_loop().call_soon(log.beat)
    assert (await anext(reader))[1] == Silence()
    log.add(Token(text="a"))
    assert (await anext(reader))[1] == Token(text="a")


@given(st.builds(Place, st.integers(0, 99), st.integers(0, 99_999)))
def test_a_place_is_read_as_it_was_written(place: Place) -> None:
    assert Place.parse(str(place)) == place


@given(st.text())
def test_what_is_no_place_is_none(text: str) -> None:
    place = Place.parse(text)
    assert place is None or Place.parse(str(place)) == place
