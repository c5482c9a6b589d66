"""P6: a wall clock that is set back. What the desk wants to be woken for comes when so much time has passed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from ares import clock as clock_module
from ares.clock import SystemClock
from ares.errors import Retryable
from ares.events import Command, Event, Purpose, Submit, Wake
from ares.pipeline.live import LiveTradingPipeline
from ares.pipeline.merge import Merger
from tests.pipeline.crash_bench import MINUTE, SECOND, START, Book, Life, Market, World
from tests.virtual_time import LoopClock, at_once

HOUR = 60 * MINUTE


async def test_a_wall_clock_that_is_set_back_stretches_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    with at_once():
        began = loop.time()
        back = [0]

        def monotonic_ns() -> int:
            return round(loop.time() * 1e9)

        def time_ns() -> int:
            return START + monotonic_ns() - back[0]

        monkeypatch.setattr(clock_module, "time", SimpleNamespace(time_ns=time_ns, monotonic_ns=monotonic_ns))
        clock = SystemClock()
        loop.call_later(1.0, lambda: back.__setitem__(0, HOUR))
        await clock.wait_until(clock.now_ns() + 3 * SECOND)
        assert 3.0 <= loop.time() - began <= 3.1
        await clock.wait_until(clock.now_ns() + 200 * SECOND)
        assert 203.0 <= loop.time() - began <= 203.1
        loop.call_later(1.0, lambda: back.__setitem__(0, 0))  # and put right again: the moment has passed
        await clock.wait_until(clock.now_ns() + 300 * SECOND)
        assert 263.0 <= loop.time() - began <= 263.2


class Silent:
    """A stream that never says anything."""

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        await asyncio.Event().wait()
        raise StopAsyncIteration


async def test_an_alarm_meant_by_a_clock_that_is_ahead_comes_in_time_and_never_before_its_moment() -> None:
    with at_once():
        clock = LoopClock()
        merger = Merger(clock)
        merger.listen(Silent(), Silent())
        began = clock.now_ns()
        merger.set_alarm(began + HOUR + 3 * SECOND, "protect:X", ahead_ns=HOUR)
        merger.set_alarm(began + 5 * SECOND, "look:X")
        first, second = await merger.next(), await merger.next()
        assert isinstance(first, Wake) and isinstance(second, Wake)
        assert (first.key, second.key) == ("protect:X", "look:X")
        assert first.ts_event == first.ts_seen == began + HOUR + 3 * SECOND
        assert 5 * SECOND <= clock.now_ns() - began <= 5.1 * SECOND
        await merger.close()


async def test_p6_a_bot_whose_clock_was_set_back_before_its_restart_protects_as_soon_as_ever() -> None:
    """It died with a stop on its way, which nobody takes now; the position is to be closed three seconds later."""
    undisturbed = Book()
    await Life(World(Market(6)), undisturbed).run()
    world, journal = World(Market(6)), Book()
    journal.kill_at = next(event.seq for event, said in undisturbed.records() if any(map(is_stop, said)))
    await Life(world, journal).run()
    died = world.clock.now
    world.clock.now -= 30 * SECOND
    began = world.clock.now
    world.fault = lambda verb: Retryable("maintenance") if verb == "create_order" else None
    woken: dict[str, int] = {}

    def watch(pipeline: LiveTradingPipeline) -> None:
        if not pipeline.observers:
            pipeline.observers.append(lambda event, said: note(event))

    def note(event: Event) -> None:
        if isinstance(event, Wake):
            woken.setdefault(event.key.partition(":")[0], world.clock.now)

    life = Life(world, journal, watch)
    await life.run(until_ns=began + 25 * SECOND)
    assert life.pipeline.desk.now_ns > died and woken["protect"] - began <= 10 * SECOND
    trade = next(t for t in life.pipeline.desk.custody.trades.values() if t.held)
    assert trade.insisted and woken["retry"] - began <= 20 * SECOND


def is_stop(command: Command) -> bool:
    return isinstance(command, Submit) and command.intent.purpose is Purpose.STOP
