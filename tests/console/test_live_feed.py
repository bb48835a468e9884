"""One reader for all who watch, and each of them told what changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from collector.console.live_feed import LiveFeed
from collector.console.live_source import LiveRow
from tests.console.event_loop import run
from tests.console.live_rows import FilledSource, hand_over, make_event


def _make_feed(source: FilledSource, heartbeat_s: float = 30.0, max_watchers: int = 5) -> LiveFeed:
    return LiveFeed(source, interval_s=0.01, heartbeat_s=heartbeat_s, max_watchers=max_watchers, now_ms=lambda: 7)


async def _listen(watching: AsyncIterator[bytes], fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the first message that fits; all before it are read and dropped."""
    async for chunk in watching:
        if chunk.startswith(b"data: "):
            assert chunk.endswith(b"\n\n")
            assert b"\n" not in chunk[:-2], "a text of the store cannot end the message"
            message: dict[str, Any] = json.loads(chunk[6:])
            if fits(message):
                return message
    raise AssertionError("the stream ended")


def _ids(rows: list[LiveRow]) -> list[str]:
    return [row.event_id for row in rows]


def test_a_watcher_gets_everything_first_and_then_only_what_changed() -> None:
    """The first answer has all rows; after that a new row and a row that changed hands come alone."""

    async def story() -> None:
        source = FilledSource()
        first, second, third = make_event(1), make_event(2), make_event(3)
        source.fill(first, second)
        feed = _make_feed(source)
        watching = feed.watch()
        message = await _listen(watching, lambda message: message["store"] == "ok")
        assert message["order"] == _ids([second, first])
        assert [row["event_id"] for row in message["rows"]] == message["order"]
        assert message["counts"] == {"events": 2, "visitors": 1, "persons": 1, "customers": 0}
        assert (message["lag_ms"], message["now_ms"]) == (120, 7)

        source.fill(first, second, third)
        message = await _listen(watching, lambda message: bool(message["rows"]))
        assert [row["event_id"] for row in message["rows"]] == [third.event_id]
        assert message["order"] == _ids([third, second, first])

        source.fill(hand_over(first), second, third)
        message = await _listen(watching, lambda message: bool(message["rows"]))
        [changed] = message["rows"]
        assert (changed["event_id"], changed["customer_id"]) == (first.event_id, "4711")
        assert changed["customer_name"] == "Ada Kowalski"
        await watching.aclose()

    run(story())


def test_a_row_that_fell_out_is_sent_again_when_it_is_back() -> None:
    """What is not shown any more counts as not sent."""

    async def story() -> None:
        source = FilledSource()
        first, second = make_event(1), make_event(2)
        source.fill(first)
        feed = _make_feed(source)
        watching = feed.watch()
        await _listen(watching, lambda message: message["order"] == _ids([first]))
        source.fill(second)
        await _listen(watching, lambda message: message["order"] == _ids([second]))
        source.fill(first, second)
        message = await _listen(watching, lambda message: len(message["order"]) == 2)
        assert [row["event_id"] for row in message["rows"]] == [first.event_id]
        await watching.aclose()

    run(story())


def test_all_watchers_share_one_reader_that_ends_with_the_last() -> None:
    """Several watchers cost one thread; nobody reads after the last one has gone, and the source is closed."""

    async def story() -> None:
        source = FilledSource()
        feed = _make_feed(source)
        watching = [feed.watch() for _ in range(3)]
        for one in watching:
            await _listen(one, lambda message: message["store"] == "ok")
        assert feed.watchers == 3
        assert len(source.readers) == 1
        for one in watching:
            assert source.closes == 0
            await one.aclose()
        assert feed.watchers == 0
        await asyncio.to_thread(source.wait_closes, 1)
        reads = source.reads
        await asyncio.sleep(0.1)
        assert source.reads == reads

    run(story())


def test_a_reload_starts_a_new_reader_only_after_the_old_has_let_go() -> None:
    """Leaving and coming back at once gives every thread its own turn: closed as often as opened, rows still come."""

    async def story() -> None:
        source = FilledSource()
        source.fill(make_event(1))
        feed = _make_feed(source)
        for _ in range(5):
            watching = feed.watch()
            await _listen(watching, lambda message: len(message["order"]) == 1)
            await watching.aclose()
        await asyncio.to_thread(source.wait_closes, 5)

    run(story())


def test_nobody_is_asked_while_nobody_watches() -> None:
    """Making a feed asks nothing."""

    async def story() -> None:
        source = FilledSource()
        _make_feed(source)
        await asyncio.sleep(0.05)
        assert source.reads == 0

    run(story())


def test_the_store_away_keeps_the_rows_and_comes_back() -> None:
    """While the store does not answer the rows stand and the state says so; afterwards it goes on by itself."""

    async def story() -> None:
        source = FilledSource()
        source.fill(make_event(1))
        feed = _make_feed(source)
        watching = feed.watch()
        await _listen(watching, lambda message: message["store"] == "ok")
        source.is_away = True
        message = await _listen(watching, lambda message: message["store"] == "away")
        assert message["rows"] == []
        assert len(message["order"]) == 1
        source.is_away = False
        await _listen(watching, lambda message: message["store"] == "ok")
        await watching.aclose()

    run(story())


def test_the_store_away_from_the_beginning_is_told() -> None:
    """Who comes while the store is away hears so, not nothing."""

    async def story() -> None:
        source = FilledSource()
        source.is_away = True
        watching = _make_feed(source).watch()
        message = await _listen(watching, lambda message: message["store"] == "away")
        assert message["order"] == []
        await watching.aclose()

    run(story())


def test_where_nothing_happens_a_comment_keeps_the_stream_open() -> None:
    """A quiet stream sends comments, which browsers ignore and proxies count as life."""

    async def story() -> None:
        watching = _make_feed(FilledSource(), heartbeat_s=0.02).watch()
        comments = 0
        async for chunk in watching:
            comments += chunk.startswith(b": ")
            if comments == 3:
                break
        await watching.aclose()

    run(story())


def test_a_slow_watcher_misses_versions_and_no_outcome() -> None:
    """Whoever looks away while rows change many times is told the last state at once."""

    async def story() -> None:
        source = FilledSource()
        feed = _make_feed(source)
        slow, quick = feed.watch(), feed.watch()
        await _listen(slow, lambda message: message["store"] == "ok")
        await _listen(quick, lambda message: message["store"] == "ok")
        rows = []
        for number in range(1, 6):
            rows.append(make_event(number))
            source.fill(*rows)
            await _listen(quick, lambda message, number=number: len(message["order"]) == number)  # type: ignore[misc]
        message = await _listen(slow, lambda message: bool(message["rows"]))
        assert len(message["rows"]) == 5
        for one in (slow, quick):
            await one.aclose()

    run(story())


def test_line_breaks_in_texts_do_not_break_the_stream() -> None:
    """A title with line breaks arrives as it is, inside one message."""

    async def story() -> None:
        source = FilledSource()
        source.fill(make_event(1, title="one\n\ndata: {}\r\nevent: x"))
        watching = _make_feed(source).watch()
        message = await _listen(watching, lambda message: bool(message["rows"]))
        assert message["rows"][0]["title"] == "one\n\ndata: {}\r\nevent: x"
        await watching.aclose()

    run(story())


def test_whoever_comes_later_is_not_shown_what_is_long_past() -> None:
    """After nobody watched for a while the first rows are those that stand now, not the last ones shown."""

    async def story() -> None:
        source = FilledSource()
        source.fill(make_event(1))
        feed = _make_feed(source)
        watching = feed.watch()
        await _listen(watching, lambda message: len(message["order"]) == 1)
        await watching.aclose()
        source.fill()
        watching = feed.watch()
        message = await _listen(watching, lambda message: True)
        assert (message["store"], message["order"]) == ("waiting", [])
        message = await _listen(watching, lambda message: message["store"] == "ok")
        assert message["order"] == []
        await watching.aclose()

    run(story())


def test_streams_end_when_the_server_stops() -> None:
    """A server that is told to end is not held up by those who watch: quiet streams end by themselves."""

    async def story() -> None:
        stopping: list[bool] = []
        source = FilledSource()
        feed = LiveFeed(source, interval_s=0.01, is_stopping=lambda: bool(stopping))
        watching = feed.watch()
        await _listen(watching, lambda message: message["store"] == "ok")
        stopping.append(True)
        assert [chunk async for chunk in watching] == []
        assert feed.watchers == 0
        await asyncio.to_thread(source.wait_closes, 1)

    run(story())
