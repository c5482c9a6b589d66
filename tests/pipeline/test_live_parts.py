"""The whole bot on the Binance client, at a venue that fills entries, stops and exits in parts.

Each session trades a market of its own, told by its trades, with limit and market entries larger than a level of the
book, some with a private stream that breaks, repeats or turns its reports around, some dying between two fills. They
run beside each other on a clock that waits for nobody; each test looks at one of them.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from attrs import define, evolve, field

pytest.importorskip("starlette")

from ares.assembly import stages
from ares.backtesting.rehearsal import rehearse
from ares.events import Command, Event, FillBooked, OrderUpdate, Purpose, Submit
from ares.exchange.binance import BinanceExchange
from ares.exchange.config import BinanceConfig
from ares.instruments import Side
from ares.orders import Fill, OrderStatus, OrderType
from ares.pipeline.desk import Desk
from ares.pipeline.execution import intent_of
from ares.pipeline.journal import MemoryJournal
from ares.pipeline.live import LiveTradingPipeline, PipelineConfig
from ares.pipeline.recovery import replay
from ares.protocols import AnalysisInput, AnalysisResult, Leg, TacticsInput, TacticsResult, TradePlan
from ares.secret import Secret
from ares.simulation.faults import Fault, FaultPlan
from ares.simulation.server.in_process import VenueTransport, connector
from ares.simulation.server.local_venue import LocalVenue
from ares.simulation.server.market import Pace
from ares.simulation.tape import Tape
from ares.testing.tactics_checks import analysis_of
from tests.virtual_time import LoopClock, at_once

S, KEY, SECRET = "ETHUSDT", "parts-key", "parts-secret"
SECOND = 10**9
MINUTE = 60 * SECOND
T0 = 1_704_067_200 * SECOND
HISTORY, BARS, TRADES = 10, 50, 12  # trades in a bar
SECONDS = 120.0  # for a session, by that clock
SESSIONS = {
    **{f"market {n}": (n, ()) for n in range(4)},
    "market 4, a private stream that breaks": (4, ("dropped at private nth 14",)),
    "market 5, a private stream that breaks twice": (5, ("dropped at private nth 9", "dropped at private nth 30")),
    "market 6, reports that come twice": (6, ("duplicated at private nth 6 count 20",)),
    "market 7, reports in another order": (7, ("reordered at private nth 6 count 2", "reordered at private nth 20")),
    **{f"market {n}, killed between two fills of an entry": (n, ()) for n in (8, 9)},
}


def told_by_trades(seed: int) -> Tape:
    """A random walk of trades, and the bars that they make."""
    rng = np.random.default_rng(seed)
    count = (HISTORY + BARS) * TRADES
    prices = np.round(2000 + np.cumsum(rng.normal(0, 0.35, count)), 2)
    times = T0 + np.arange(count) * (MINUTE // TRADES) + SECOND
    sizes = np.round(rng.exponential(3.0, count) + 0.001, 3)
    frame = pd.DataFrame(
        {"time": pd.to_datetime(times, utc=True), "agg_id": np.arange(1, count + 1), "price": prices,
         "quantity": sizes, "is_buyer_maker": np.diff(prices, prepend=prices[0]) < 0}
    )  # fmt: skip
    bars = prices.reshape(-1, TRADES)
    opens = pd.DatetimeIndex([T0 + n * MINUTE for n in range(len(bars))], tz="UTC", name="open_time")
    columns = {"open": bars[:, 0], "high": bars.max(1), "low": bars.min(1), "close": bars[:, -1],
               "volume": sizes.reshape(-1, TRADES).sum(1)}  # fmt: skip
    return Tape.from_frame(pd.DataFrame(columns, index=opens), symbol=S, interval="1m", agg_trades=frame)


class Opinion:
    """Long or short on every bar, now the one, now the other."""

    def analyze(self, given: AnalysisInput) -> AnalysisResult:
        side = Side.BUY if given.row.open_ns // MINUTE % 14 < 7 else Side.SELL
        opinion, now = analysis_of(side, chance=0.8, width=0.004), given.now_ns
        return evolve(opinion, symbol=given.symbol, now_ns=now, valid_until_ns=now + 300 * SECOND)

    async def execute_analysis(self, given: AnalysisInput) -> AnalysisResult:
        return self.analyze(given)


class Ladder:
    """Entries larger than what is traded or shown at once: at market, at a limit, or both; the stop is near."""

    def decide(self, given: TacticsInput) -> TacticsResult:
        if not given.limits.may_enter or given.market.candle is None:
            return TacticsResult(plan=None, reasons=given.limits.reasons)
        side, instrument, close = given.analysis.side or Side.BUY, given.instrument, given.market.candle.close
        at = instrument.price(close - side.sign * 0.2)
        resting = Leg(order_type=OrderType.LIMIT, quantity=Decimal(14), price=at)
        legs = ((resting,), (Leg(quantity=Decimal(35)),), (Leg(quantity=Decimal(12)), resting))
        number = given.market.candle.open_ns // MINUTE % 3
        plan = TradePlan(
            trade_id="",
            symbol=given.analysis.symbol,
            side=side,
            legs=legs[number],
            stop=instrument.stop_price(close - side.sign * 1.8, side.opposite),
            targets=(),
            leverage=5,
            valid_until_ns=given.market.now_ns + 2 * SECOND,
            exit_by_ns=given.market.now_ns + 5 * SECOND,
        )
        return TacticsResult(plan=plan)

    async def execute_tactics(self, given: TacticsInput) -> TacticsResult:
        return self.decide(given)


def desk_parts() -> dict[str, Any]:
    parts = stages()
    return {
        "features": parts.features, "analyst": Opinion(), "tactician": Ladder(), "monitor": parts.monitor,
        "symbols": [S], "interval": "1m",
    }  # fmt: skip


@define
class Outcome:
    """What became of one session."""

    venue: LocalVenue
    journal: MemoryJournal = field(factory=MemoryJournal)
    said: Counter[str] = field(factory=Counter)
    alerts: Counter[str] = field(factory=Counter)
    wallet: Decimal = Decimal(0)  # by the desk's ledger, at the end
    half: bool = False  # an entry has filled in part
    alive: bool = False  # the bot runs
    bare: float = 0.0  # the longest that a position stood without a stop of its size, s of the loop
    latches: dict[str, Any] = field(factory=dict)
    error: BaseException | None = None

    def heard(self, event: Event, commands: list[Command]) -> None:
        """An observer."""
        self.said[type(event).__name__] += 1
        if isinstance(event, OrderUpdate) and event.order.status is OrderStatus.PARTIALLY_FILLED:
            self.half = self.half or not event.order.reduce_only

    def fills_of(self) -> dict[str, list[Fill]]:
        """By intent."""
        found: dict[str, list[Fill]] = defaultdict(list)
        for event, _ in self.journal.records():
            if isinstance(event, FillBooked):
                found[intent_of(event.fill.client_order_id) or ""].append(event.fill)
        return found

    def intents(self) -> dict[str, Any]:
        """By id."""
        said = (c for _, commands in self.journal.records() for c in commands if isinstance(c, Submit))
        return {c.intent.intent_id: c.intent for c in said}


async def session(tape: Tape, lines: Iterable[str], *, killed: bool) -> Outcome:
    venue = LocalVenue(
        tape, accounts={KEY: (Secret(SECRET), Decimal(100_000))}, clock=LoopClock(), pace=Pace(speed=60.0),
        history=HISTORY, faults=FaultPlan([Fault.parse(line) for line in lines]),
    )  # fmt: skip
    outcome = Outcome(venue)
    task = asyncio.ensure_future(pump(outcome))
    try:
        async with asyncio.timeout(SECONDS):
            if killed:
                await killed_run(outcome)
                await asyncio.sleep(1.5)
            await whole_run(outcome)
    except BaseException as error:  # told by the test of this session
        outcome.error = error
    finally:
        task.cancel()
    return outcome


async def pump(outcome: Outcome) -> None:
    """The market plays, and somebody looks at what protects the position."""
    venue, since = outcome.venue, None
    trader, instrument = venue.traders[KEY], venue.instruments[S]
    while True:
        venue.play()
        await asyncio.sleep(0.02)
        held, now = abs(trader.venue.ledger.lots(S)), asyncio.get_running_loop().time()
        stops = [instrument.lots(c.wish.request.quantity) for c in trader.algo.waiting(S)]
        bare = outcome.alive and held != 0 and not any(lots >= held for lots in stops)
        since = (since if since is not None else now) if bare else None
        outcome.bare = max(outcome.bare, now - since if since is not None else 0.0)


def pipeline_of(outcome: Outcome) -> LiveTradingPipeline:
    venue = outcome.venue
    config = BinanceConfig(
        api_key=Secret(KEY), api_secret=Secret(SECRET), rest_url="http://localhost", stream_url="ws://localhost",
        timeout=0.5,
    )  # fmt: skip
    exchange = BinanceExchange(config, transport=VenueTransport(venue), connect=connector(venue), clock=venue.clock)
    pipeline = LiveTradingPipeline(
        PipelineConfig(history=5), exchange=exchange, journal=outcome.journal, **desk_parts()
    )
    pipeline.observers.append(outcome.heard)
    return pipeline


async def killed_run(outcome: Outcome) -> None:
    """A bot that dies, without a word, once an entry has filled in part."""
    pipeline = pipeline_of(outcome)
    await pipeline.exchange.__aenter__()
    run = asyncio.ensure_future(pipeline.run())
    while not outcome.half:
        if run.done():
            run.result()
        await asyncio.sleep(0.001)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    await pipeline._merger.close()
    await pipeline.exchange.close()


async def whole_run(outcome: Outcome) -> None:
    """A bot that trades until the market is nearly over, then closes what it holds."""
    pipeline = pipeline_of(outcome)
    async with pipeline:
        run = asyncio.ensure_future(pipeline.run())
        outcome.alive = True
        while outcome.said["CandleClosed"] < BARS - 10:
            if run.done():
                run.result()
            await asyncio.sleep(0.02)
        await pipeline.stop(flatten=True)
        await run
        outcome.wallet = pipeline.desk.account().wallet
        outcome.latches = dict(pipeline.desk.guard.latches)
        outcome.alerts.update(a.code for a in pipeline.alerts)


async def all_sessions() -> dict[str, Outcome]:
    with at_once():
        work = [
            session(told_by_trades(seed), lines, killed="killed" in name) for name, (seed, lines) in SESSIONS.items()
        ]
        return dict(zip(SESSIONS, await asyncio.gather(*work), strict=True))


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    rehearse()
    return asyncio.run(all_sessions())


@pytest.mark.parametrize("name", list(SESSIONS))
def test_what_fills_in_parts_is_booked_protected_and_ended(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name]
    if outcome.error is not None:
        raise outcome.error
    trader = outcome.venue.traders[KEY]
    intents, fills = outcome.intents(), outcome.fills_of()
    assert trader.venue.position(S).quantity == 0 and not trader.busy()
    assert outcome.wallet == trader.venue.account().wallet
    told = [fill.trade_id for parts in fills.values() for fill in parts]
    assert len(told) == len(set(told)) == trader.venue.fills_made
    for intent_id, parts in fills.items():  # nothing is foreign, nothing beyond what was wished
        assert sum((fill.quantity for fill in parts), Decimal(0)) <= intents[intent_id].request.quantity
    assert not {"position.differs", "position.foreign_fill", "fills.missing", "fill.late"} & set(outcome.alerts)
    assert outcome.latches.keys() <= {"stopped", "operator"}  # of the end
    assert outcome.bare < 3.5
    assert replay(outcome.journal.records(), Desk(**desk_parts())).identical


def test_the_sessions_saw_what_they_are_for(outcomes: dict[str, Outcome]) -> None:
    """Entries in parts, some of which never filled whole; stops and exits in parts; every fault happened."""
    seen: Counter[str] = Counter()
    for outcome in outcomes.values():
        intents = outcome.intents()
        ends = {
            intent_of(e.order.client_order_id): e.order
            for e, _ in outcome.journal.records()
            if isinstance(e, OrderUpdate) and not e.order.status.open
        }
        for intent_id, parts in outcome.fills_of().items():
            intent = intents[intent_id]
            if len(parts) > 1:
                limit = " limit" if intent.request.order_type is OrderType.LIMIT else ""
                seen[f"{intent.purpose.value}{limit} in parts"] += 1
            if intent.purpose is Purpose.ENTRY and ends[intent_id].status is OrderStatus.CANCELED:
                seen["rest cancelled"] += 1
        plan = outcome.venue.faults
        assert all(plan.happened[fault.kind.value] for fault in plan.faults)
    assert set(seen) >= {"ENTRY in parts", "ENTRY limit in parts", "rest cancelled", "STOP in parts", "EXIT in parts"}
