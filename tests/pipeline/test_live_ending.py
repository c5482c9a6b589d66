"""A session that is told to stop: what it leaves at a venue that goes on without it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from ares.errors import Retryable
from ares.events import Command, Event, OperatorOrder, Purpose, Submit
from ares.pipeline.live import LiveTradingPipeline
from tests.pipeline.crash_bench import SECOND, SYMBOLS, Book, Life, Market, World

When = Callable[[LiveTradingPipeline, Event, list[Command]], bool]


def sends(purpose: Purpose) -> When:
    return lambda _, event, said: any(isinstance(c, Submit) and c.intent.purpose is purpose for c in said)


def protected(pipeline: LiveTradingPipeline, event: Event, said: list[Command]) -> bool:
    return any(trade.stop_price is not None for trade in pipeline.desk.custody.trades.values())


def stopping(when: When, **how: Any) -> Callable[[LiveTradingPipeline], None]:
    """Has the session stopped once, at the first record that is so."""
    asked: list[asyncio.Task[None]] = []

    def look(pipeline: LiveTradingPipeline) -> None:
        def heard(event: Event, said: list[Command]) -> None:
            if not asked and when(pipeline, event, said):
                asked.append(asyncio.ensure_future(pipeline.stop(**how)))

        if not pipeline.observers:
            pipeline.observers.append(heard)

    return look


def go_on(world: World, seconds: float) -> None:
    """The market and the venue without any bot."""
    until = world.clock.now + round(seconds * SECOND)
    while (upcoming := world.market.next_ns()) is not None and upcoming <= until:
        world.step()


@pytest.mark.parametrize("when", [sends(Purpose.ENTRY), sends(Purpose.STOP), protected, sends(Purpose.EXIT)],
                         ids=["entry sent", "stop sent", "protected", "exit sent"])  # fmt: skip
async def test_p7_no_position_is_without_a_stop_after_a_session_was_stopped(when: When) -> None:
    world, journal = World(Market(6)), Book()
    life = Life(world, journal, stopping(when))
    await life.run()
    asked = next(e.ts_seen for e, _ in journal.records() if isinstance(e, OperatorOrder))
    assert world.market.script and world.clock.now - asked <= 10 * SECOND, "it ends by itself, and soon"
    assert not any(not o.reduce_only for o in world.venue.open_orders()), "an entry is left to fill alone"
    for _ in range(12):
        for symbol in SYMBOLS:
            held = world.venue.position(symbol).quantity
            assert held == 0 or [o.quantity for o in world.venue.open_orders(symbol)] == [abs(held)]
        go_on(world, 5)


async def test_p7_it_ends_after_ten_seconds_and_says_what_it_could_not_protect() -> None:
    """The venue takes no stop and no exit any more, though it is asked again and again."""
    world, journal = World(Market(6)), Book()

    def refuse(verb: str) -> Exception | None:
        return Retryable("maintenance") if verb == "create_order" and world.venue.fills_made else None

    world.fault = refuse
    life = Life(world, journal, stopping(sends(Purpose.STOP)))
    await life.run()
    asked = next(e.ts_seen for e, _ in journal.records() if isinstance(e, OperatorOrder))
    assert world.market.script and 10 <= (world.clock.now - asked) / SECOND <= 20
    held = {s: str(abs(found)) for s in SYMBOLS if (found := world.venue.position(s).quantity)}
    told = {a.symbol: a.facts["held"] for a in life.pipeline.alerts if a.code == "session.ended_unprotected"}
    assert told == held != {}
