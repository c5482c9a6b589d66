"""The merger: events of several sources in one order, none lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from ares.clock import SystemClock
from ares.events import Event, LinkChanged, Wake
from ares.pipeline.merge import Merger


def told(link: str) -> LinkChanged:
    return LinkChanged(ts_event=0, ts_seen=0, link=link, up=True)


class Line:
    """A stream that tells what it is given."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Event] = asyncio.Queue()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        return await self.queue.get()


async def test_an_alarm_that_is_due_survives_another_being_set() -> None:
    """The account speaks at the moment an alarm is due, and its news sets another alarm: both are told."""
    merger, account = Merger(SystemClock()), Line()
    merger.listen(account, Line())
    merger.set_alarm(0, "protect:ETHUSDT")
    waiting = asyncio.ensure_future(merger.next())
    await asyncio.sleep(0)  # both sources are being asked
    account.queue.put_nowait(told("account"))
    first = await waiting
    await asyncio.sleep(0.01)  # by now the alarm has gone off, if it had not before
    merger.set_alarm(0, "look:ETHUSDT")
    events = [first, *[await asyncio.wait_for(merger.next(), 60) for _ in range(2)]]
    assert {e.key for e in events if isinstance(e, Wake)} == {"protect:ETHUSDT", "look:ETHUSDT"}
    await merger.close()


async def test_a_later_alarm_of_the_same_name_replaces_the_earlier() -> None:
    clock = SystemClock()
    merger = Merger(clock)
    merger.listen(Line(), Line())
    merger.set_alarm(clock.now_ns() + 3600 * 10**9, "look:ETHUSDT")
    merger.set_alarm(clock.now_ns(), "look:ETHUSDT")
    event = await asyncio.wait_for(merger.next(), 60)
    assert isinstance(event, Wake) and event.key == "look:ETHUSDT"
    await merger.close()


async def test_work_that_begins_while_somebody_waits_is_heard() -> None:
    merger = Merger(SystemClock())
    merger.listen(Line(), Line())
    waiting = asyncio.ensure_future(merger.next())
    await asyncio.sleep(0.01)  # it waits for two streams that say nothing

    async def work() -> Event:
        return told("outside")

    merger.run_outside(work())
    assert await asyncio.wait_for(waiting, 5) == told("outside")
    await merger.close()
