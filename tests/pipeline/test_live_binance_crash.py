"""The whole bot on the Binance client, killed at any record or request: the next bot finds what the venue did."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, evolve, field

pytest.importorskip("starlette")

from ares.assembly import stages
from ares.events import Cancel, FillBooked, SetLeverage, Submit
from ares.exchange.binance import BinanceExchange
from ares.exchange.config import BinanceConfig
from ares.instruments import Side
from ares.orders import Order
from ares.pipeline.desk import Desk, DeskConfig
from ares.pipeline.execution import intent_of
from ares.pipeline.live import LiveTradingPipeline, PipelineConfig
from ares.pipeline.recovery import replay
from ares.protocols import Action, AnalysisInput, AnalysisResult, Assessment, AssessmentInput
from ares.secret import Secret
from ares.simulation.server.in_process import VenueTransport, connector
from ares.simulation.server.local_venue import LocalVenue
from ares.simulation.server.market import Pace
from ares.simulation.tape import Tape
from ares.testing.tactics_checks import analysis_of
from tests.pipeline.crash_bench import Book, Killed
from tests.virtual_time import LoopClock, at_once

S, KEY, SECRET = "ETHUSDT", "crash-key", "crash-secret"
BARS = 24  # of a second each, until the first bot must have died
DOWN = (0.0, 0.5, 2.0, 7.0)  # seconds until the next start


class Fickle:
    """Long at odd bars and short at even ones, for a bar's time: the monitor closes what has gone stale."""

    def analyze(self, given: AnalysisInput) -> AnalysisResult:
        now = given.now_ns
        opinion = analysis_of(Side.BUY if now // (60 * 10**9) % 3 else Side.SELL, chance=0.8, width=0.004)
        return evolve(opinion, symbol=given.symbol, now_ns=now, valid_until_ns=now + 90 * 10**9)

    async def execute_analysis(self, given: AnalysisInput) -> AnalysisResult:
        return self.analyze(given)


class Restless:
    """Moves the stop of a position after a second, and closes it after two and a half."""

    def assess_position(self, given: AssessmentInput) -> Assessment:
        trade, age = given.trade, (given.now_ns - given.trade.opened_ns) / 1e9
        said: dict[str, Any] = {"action": Action.HOLD}
        if age >= 2.5:
            said = {"action": Action.CLOSE}
        elif age >= 1.0 and trade.stop == trade.initial_stop:
            price = float(trade.entry_price) * (1 - trade.side.sign * 0.02)
            said = {"action": Action.MOVE_STOP, "new_stop": given.instrument.stop_price(price, trade.side.opposite)}
        return Assessment(trade_id=trade.trade_id, now_ns=given.now_ns, risk=0.0, **said)


def desk_parts() -> dict[str, Any]:
    parts = stages()
    return {
        "features": parts.features, "analyst": Fickle(), "tactician": parts.tactician, "monitor": Restless(),
        "symbols": [S], "interval": "1m",
    }  # fmt: skip


CONFIG = DeskConfig(look_every_ns=500_000_000)


class Mortal(BinanceExchange):
    """A client whose process dies when so many of its orders, cancels and settings have reached the venue."""

    kill_after: int | None = None
    acted = 0

    def _reached(self) -> None:
        self.acted += 1
        if self.kill_after is not None and self.acted >= self.kill_after:
            raise Killed

    async def create_order(self, *given: Any, **kinds: Any) -> Order:
        order = await super().create_order(*given, **kinds)
        self._reached()
        return order

    async def cancel_order(self, *given: Any, **kinds: Any) -> Order:
        order = await super().cancel_order(*given, **kinds)
        self._reached()
        return order

    async def set_leverage(self, symbol: str, leverage: int) -> int:
        made = await super().set_leverage(symbol, leverage)
        self._reached()
        return made


@define
class Stage:
    """A venue that plays on, and the journal of the bots that trade there."""

    venue: LocalVenue
    journal: Book = field(factory=Book)
    bare: float = 0.0  # the longest that a position stood without its stop while a bot lived, s

    async def bot(self, seconds: float, kill_after: int | None = None) -> LiveTradingPipeline | None:
        """One bot's life; None when it was killed."""
        config = BinanceConfig(
            api_key=Secret(KEY), api_secret=Secret(SECRET), rest_url="http://localhost", stream_url="ws://localhost",
            streams=("candles", "mark_price", "book_top"),
        )  # fmt: skip
        venue = self.venue
        exchange = Mortal(config, transport=VenueTransport(venue), connect=connector(venue), clock=venue.clock)
        exchange.kill_after = kill_after
        pipeline = LiveTradingPipeline(
            PipelineConfig(desk=CONFIG, history=5), exchange=exchange, journal=self.journal, **desk_parts()
        )
        await exchange.__aenter__()
        task = asyncio.ensure_future(pipeline.run())
        watch = asyncio.ensure_future(self.watch())
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(task)
        except TimeoutError:
            return pipeline
        except Killed:
            return None
        finally:
            watch.cancel()
            task.cancel()
            await pipeline._merger.close()
            await exchange.close()
            await asyncio.gather(task, watch, return_exceptions=True)

    async def watch(self) -> None:
        trader, since = self.venue.traders[KEY], None
        while True:
            await asyncio.sleep(0.05)
            held, now = trader.venue.position(S).quantity, asyncio.get_running_loop().time()
            stops = [c.wish.request for c in trader.algo.waiting(S)]
            bare = held != 0 and not any(o.quantity >= abs(held) for o in stops)
            since = (since if since is not None else now) if bare else None
            self.bare = max(self.bare, now - since if since is not None else 0.0)


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    tape = Tape.synthetic(S, "1m", bars=600, seed=3)
    venue = LocalVenue(
        tape, accounts={KEY: (Secret(SECRET), Decimal(10_000))}, clock=LoopClock(), pace=Pace(speed=60.0), history=200
    )

    async def pump() -> None:
        while True:
            venue.play()
            await asyncio.sleep(0.02)

    with at_once():
        task = asyncio.ensure_future(pump())
        try:
            yield Stage(venue)
        finally:
            task.cancel()


async def survive(down: float, *, record: int | None = None, call: int | None = None) -> bool:
    """Kill a bot and start it again. False: it was not killed."""
    async with stage() as made:
        made.journal.kill_at = record
        if await made.bot(BARS, kill_after=call) is not None:
            return False
        await asyncio.sleep(down)
        began, made.bare = len(made.journal), 0.0
        pipeline = await made.bot(30.0)
        assert pipeline is not None
        await asyncio.sleep(0.2)
        check(made, pipeline, began)
    return True


def check(made: Stage, pipeline: LiveTradingPipeline, began: int) -> None:
    trader, bot = made.venue.traders[KEY], pipeline.desk
    theirs, algo = trader.venue, trader.algo
    records = list(made.journal.records())
    intents = [c.intent for _, said in records for c in said if isinstance(c, Submit)]
    ids = {i.intent_id for i in intents}
    assert len(ids) == len(intents)
    fills = [e.fill for e, _ in records if isinstance(e, FillBooked)]
    assert len({f.trade_id for f in fills}) == len(fills)
    for intent in intents:
        filled = sum((f.quantity for f in fills if intent_of(f.client_order_id) == intent.intent_id), Decimal(0))
        assert filled <= intent.request.quantity
    placed = [o for o in theirs.orders.values() if algo.behind(o.order_id) is None]
    names = [*(o.client_order_id for o in placed), *(c.client_id for c in algo.every(S))]
    names = [name for name in names if intent_of(name) in ids]
    assert len(names) == len(set(names))
    trade = bot.custody.trades.get(S)
    assert bot.account().wallet == theirs.account().wallet
    assert (trade.held * trade.side.sign if trade is not None else 0) == theirs.position(S).quantity
    live = {s.intent.intent_id for s in bot.intents.open_of(trade.trade_id)} if trade is not None else set()
    resting = [*(o.client_order_id for o in theirs.open_orders(S)), *(c.client_id for c in algo.waiting(S))]
    assert {intent_of(name) for name in resting} <= live
    alerts = [a.code for a in pipeline.alerts]
    assert "position.differs" not in alerts and "position.foreign_fill" not in alerts
    assert bot.guard.latches == {}
    assert made.bare <= 3.1
    assert any(isinstance(c, Submit) for _, said in records[began:] for c in said)
    assert replay(made.journal.records(), Desk(config=CONFIG, **desk_parts())).identical


async def places() -> list[dict[str, int]]:
    """Every record that asks for something, and every request that reached the venue, in an undisturbed session."""
    async with stage() as made:
        await made.bot(BARS)
        asked = [
            (event.seq, sum(isinstance(c, Submit | Cancel | SetLeverage) for c in said))
            for event, said in made.journal.records()
        ]
    calls = sum(count for _, count in asked)
    private = [seq for seq, count in asked if count] + [
        event.seq for event, _ in made.journal.records() if type(event).__name__ in ("OrderUpdate", "FillBooked")
    ]
    return [{"record": seq} for seq in sorted(set(private))] + [{"call": n + 1} for n in range(calls)]


async def test_the_fill_of_an_order_that_no_report_was_heard_of_is_told() -> None:
    """The very first entry has filled and the bot died before it heard a word of it."""
    assert await survive(0.0, call=2)


async def test_a_bot_on_binance_killed_anywhere_goes_on() -> None:
    found = await places()
    assert len(found) > 100
    for number, place in list(enumerate(found))[7 :: len(found) // 4]:
        assert await survive(DOWN[number % len(DOWN)], **place), place
