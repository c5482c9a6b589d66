"""A session that is told to stop: what it leaves at a venue that goes on without it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest

from ares.errors import DataError, Retryable
from ares.events import Command, Event, OperatorOrder, Purpose, Submit
from ares.instruments import Side
from ares.orders import OrderRequest, OrderType
from ares.pipeline.live import LiveTradingPipeline
from tests.pipeline.crash_bench import SECOND, SYMBOLS, Book, Life, Market, Nakedness, World

When = Callable[[LiveTradingPipeline, Event, list[Command]], bool]


def sends(purpose: Purpose) -> When:
    return lambda _, event, said: any(map(sent_for(purpose), said))


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


@pytest.mark.parametrize("away", [3, 60])
async def test_p7_in_a_halt_it_waits_for_entries_that_are_called_back(away: int) -> None:
    """The venue takes no cancel for a while: an entry that were left would fill, and nobody would protect it."""
    world, journal = World(Market(6)), Book()
    halted: list[int] = []

    def refuse(verb: str) -> Exception | None:
        broken = verb == "cancel_order" and halted and world.clock.now < halted[0] + away * SECOND
        return Retryable("maintenance") if broken else None

    def halt(pipeline: LiveTradingPipeline, event: Event, said: list[Command]) -> bool:
        if not halted and sends(Purpose.ENTRY)(pipeline, event, said):
            halted.append(now := world.clock.now)
            pipeline._merger.put(OperatorOrder(ts_event=now, ts_seen=now, action="halt"))
        return bool(halted)

    world.fault = refuse
    life = Life(world, journal, stopping(halt))
    await life.run()
    took = (world.clock.now - halted[0]) / SECOND
    assert world.market.script and 3 <= took <= 15
    orders = world.venue.open_orders()
    left = {o.symbol for o in orders if not o.reduce_only}
    naked = {s for s in SYMBOLS if world.venue.position(s).quantity} - {o.symbol for o in orders if o.reduce_only}
    assert not left or away > 10
    assert left | naked == {a.symbol for a in life.pipeline.alerts if a.code == "session.ended_unprotected"} != set()


def sent_for(purpose: Purpose) -> Callable[[Command], bool]:
    return lambda command: isinstance(command, Submit) and command.intent.purpose is purpose


class FullDisk(Book):
    """A journal that takes nothing any more from a record on."""

    full_at: int | None = None

    def append(self, event: Event, commands: Sequence[Command]) -> None:
        if self.full_at is not None and len(self) >= self.full_at:
            raise DataError("the disk is full")
        super().append(event, commands)


@pytest.mark.parametrize("purpose", [Purpose.STOP, Purpose.EXIT])
async def test_p2_without_a_journal_protection_is_sent_and_no_risk(purpose: Purpose) -> None:
    undisturbed = Book()
    await Life(World(Market(8)), undisturbed).run()
    commanded = [event.seq for event, said in undisturbed.records() if any(map(sent_for(purpose), said))]
    for record in commanded[:6]:
        world, journal = World(Market(8)), FullDisk()
        journal.full_at = record
        with pytest.raises(DataError, match="full"):
            await Life(world, journal).run()
        for symbol in SYMBOLS:
            held = world.venue.position(symbol).quantity
            standing = [o.quantity for o in world.venue.open_orders(symbol) if o.reduce_only]
            assert held == 0 or max(standing, default=0) >= abs(held), "what is held has neither a stop nor an exit"
        assert not [o for o in world.venue.open_orders() if not o.reduce_only], "an entry is left to fill alone"
        journal.full_at = None
        naked = Nakedness(world)
        await Life(world, journal, naked).run(until_ns=world.clock.now + 60 * SECOND)
        assert naked.longest <= 3 * SECOND


async def test_o9_a_stop_that_was_not_written_down_is_not_taken_for_one_that_bears_the_same_number() -> None:
    """The fill that the disk refused is the first thing heard afterwards, so the same stop is decided once more."""
    undisturbed = Book()
    await Life(World(Market(8)), undisturbed).run()
    commanded = [event.seq for event, said in undisturbed.records() if any(map(sent_for(Purpose.STOP), said))]
    again = 0
    for record in commanded[:8]:
        world, journal = World(Market(8)), FullDisk()
        journal.full_at = record
        with pytest.raises(DataError, match="full"):
            await Life(world, journal).run()
        left = {o.client_order_id for o in world.venue.open_orders()}
        journal.full_at = None
        life = Life(world, journal, looked_at(world))
        await life.run(until_ns=world.clock.now + 60 * SECOND)
        again += len(left & {f"ares1-{intent_id}" for intent_id in decided(journal, record)})
        assert "stop.lost" not in {a.code for a in life.pipeline.alerts}
        for symbol in SYMBOLS:
            held = world.venue.position(symbol).quantity
            standing = [o.quantity for o in world.venue.open_orders(symbol) if o.reduce_only]
            assert standing == ([abs(held)] if held else [])
    assert again, "no number was used twice"


def decided(journal: Book, since: int) -> list[str]:
    said = [command for event, commands in journal.records() if event.seq >= since for command in commands]
    return [command.intent.intent_id for command in said if isinstance(command, Submit)]


def looked_at(world: World) -> Callable[[LiveTradingPipeline], None]:
    """The venue tells every ten seconds what is held and what stands there."""
    last = [world.clock.now]

    def look(pipeline: LiveTradingPipeline) -> None:
        if world.link is not None and world.clock.now >= last[0] + 10 * SECOND:
            last[0] = world.clock.now
            world.link.account.put_nowait(world.venue.snapshot())

    return look


@pytest.mark.parametrize("held", [True, False])
async def test_o9_a_stop_of_ours_that_no_trade_knows_is_swept_once_the_position_has_its_own(held: bool) -> None:
    world, journal = World(Market(6)), Book()
    stray = OrderRequest(symbol=SYMBOLS[0], side=Side.SELL, order_type=OrderType.STOP_MARKET,
                         quantity=Decimal("0.01"), stop_price=Decimal("1.00"), reduce_only=True)  # fmt: skip
    placed: list[str] = []

    def watch(pipeline: LiveTradingPipeline) -> None:
        trade = pipeline.desk.custody.trades.get(SYMBOLS[0])
        long = trade is not None and trade.side is Side.BUY and trade.stop_price is not None
        if (long if held else trade is None) and not placed and world.link is not None:
            placed.append(f"ares1-{SYMBOLS[0]}-999999-0")
            world.venue.submit(stray, placed[0])
            world.drain()
            world.link.account.put_nowait(world.venue.snapshot())

    life = Life(world, journal, watch)
    await life.run()
    assert placed and placed[0] not in {o.client_order_id for o in world.venue.open_orders()}
    assert [a.facts for a in life.pipeline.alerts if a.code == "order.forgotten"] == [{"order": placed[0]}]
