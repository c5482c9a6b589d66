"""A venue that outlives the bot, a clock moved by hand, and a bot that can be killed at any record or call.

`World` is a real venue as the bot meets it: it goes on while the bot is dead, tells fills that were missed after the
snapshot, and never tells again of an order that ended meanwhile. `PaperWorld` is a market under a paper exchange, whose
venue dies with the bot.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from decimal import Decimal
from typing import Any

import pandas as pd
from attrs import define, field

from ares.events import BookTop, CandleClosed, Command, Event, FillBooked, MarkPrice, Submit
from ares.instrument_tables import default_instrument
from ares.instruments import Instrument, Side
from ares.market import Candle, Ticker
from ares.orders import Order, OrderRequest, OrderType
from ares.pipeline.desk import Desk, DeskConfig
from ares.pipeline.execution import intent_of
from ares.pipeline.journal import MemoryJournal
from ares.pipeline.live import LiveTradingPipeline, PipelineConfig
from ares.pipeline.recovery import replay
from ares.protocols import (
    Action,
    AnalysisInput,
    AnalysisResult,
    Assessment,
    AssessmentInput,
    Capabilities,
    Exchange,
    Leg,
    TacticsInput,
    TacticsResult,
    Target,
    TradePlan,
)
from ares.simulation.paper import PaperExchange
from ares.simulation.trading import VenueDesk
from ares.simulation.venue import Venue, VenueConfig
from tests.pipeline.desk_bench import OneFeature

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
SYMBOLS = ("ETHUSDT", "BTCUSDT")
START = 1_700_000_040 * SECOND  # a whole minute
PRICES = {"ETHUSDT": 2000.0, "BTCUSDT": 40_000.0}
CONFIG = DeskConfig(look_every_ns=5 * SECOND)


class Killed(BaseException):
    """The process is dead: nothing of it runs after this."""


class HandClock:
    """Real time as a bot sees it, moved by hand."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.waiting: list[tuple[int, asyncio.Future[None]]] = []

    def now_ns(self) -> int:
        return self.now

    async def sleep(self, seconds: float) -> None:
        await self.wait_until(self.now + round(max(0.0, seconds) * 1e9))

    async def wait_until(self, ts_ns: int) -> None:
        while ts_ns > self.now:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.waiting.append((ts_ns, future))
            await future

    def next_deadline(self) -> int | None:
        self.waiting = [w for w in self.waiting if not w[1].done()]
        return min((ts for ts, _ in self.waiting), default=None)

    def set_to(self, ts_ns: int) -> None:
        self.now = max(self.now, ts_ns)
        for ts, future in self.waiting:
            if ts <= self.now and not future.done():
                future.set_result(None)


async def settle() -> None:
    """Let the bot do all it can do at this moment."""
    loop: Any = asyncio.get_running_loop()
    for _ in range(20_000):
        await asyncio.sleep(0)
        if not loop._ready:
            return
    raise AssertionError("the bot never comes to rest")


# ------------------------------------------------------------ a bot that trades a lot


def price_at(symbol: str, ts_ns: int) -> float:
    """A market that swings enough to reach stops, limits and targets."""
    t = (ts_ns - START) / SECOND + (17.0 if symbol == "BTCUSDT" else 0.0)
    swing = 0.004 * math.sin(t / 23.0) + 0.003 * math.sin(t / 7.1) + 0.002 * math.sin(t / 61.0)
    return PRICES[symbol] * (1.0 + swing)


class Busy:
    """All three stages as functions of what they are given: in and out of the market at every bar, stops moved."""

    model_id = "busy"

    def analyze(self, given: AnalysisInput) -> AnalysisResult:
        odd = (given.now_ns // MINUTE) % 2
        return AnalysisResult(
            symbol=given.symbol, now_ns=given.now_ns, p_up=0.6, p_down=0.3, p_timeout=0.1,
            side=Side.BUY if odd else Side.SELL, confidence=0.6, horizon=3, horizon_ns=3 * MINUTE, stop_width=0.004,
            target_width=0.006, valid_until_ns=given.now_ns + MINUTE, model_id=self.model_id,
        )  # fmt: skip

    def decide(self, given: TacticsInput) -> TacticsResult:
        symbol, now, instrument = given.analysis.symbol, given.market.now_ns, given.instrument
        side, limits = given.analysis.side, given.limits
        assert side is not None and given.market.ticker is not None
        price = given.market.ticker.mid
        size = instrument.quantity(1000.0 / price)
        rest = instrument.price(price * (1 - side.sign * 0.0015), "down" if side is Side.BUY else "up")
        plan = TradePlan(
            trade_id="", symbol=symbol, side=side, leverage=3 + (now // MINUTE) % 2,
            legs=(Leg(quantity=size), Leg(quantity=size, order_type=OrderType.LIMIT, price=rest)),
            stop=instrument.stop_price(price * (1 - side.sign * 0.004), side.opposite),
            targets=(Target(price=instrument.price(price * (1 + side.sign * 0.004)), fraction=0.5),),
            valid_until_ns=now + 12 * SECOND, exit_by_ns=now + 90 * SECOND,
        )  # fmt: skip
        return TacticsResult(plan=plan if limits.may_enter else None, reasons=limits.reasons)

    def assess_position(self, given: AssessmentInput) -> Assessment:
        trade, age = given.trade, given.now_ns - given.trade.opened_ns
        said: dict[str, Any] = {"action": Action.HOLD}
        if age >= 70 * SECOND:
            said = {"action": Action.CLOSE}
        elif age >= 40 * SECOND and trade.quantity == trade.initial_quantity:
            half = given.instrument.quantity(float(trade.quantity) / 2)
            said = {"action": Action.SCALE_DOWN, "quantity": half}
        elif age >= 15 * SECOND and trade.stop == trade.initial_stop:
            nearer = given.instrument.stop_price(float(trade.entry_price) * (1 - trade.side.sign * 0.003),
                                                 trade.side.opposite)  # fmt: skip
            said = {"action": Action.MOVE_STOP, "new_stop": nearer}
        return Assessment(trade_id=trade.trade_id, now_ns=given.now_ns, risk=0.0, **said)

    def next_look(self, given: AssessmentInput) -> int | None:
        age = given.now_ns - given.trade.opened_ns
        ages = [at * SECOND for at in (15, 40, 70) if at * SECOND > age]
        return given.trade.opened_ns + ages[0] if ages else None


def desk() -> Desk:
    busy: Any = Busy()
    features: Any = OneFeature()
    return Desk(features=features, analyst=busy, tactician=busy, monitor=busy, symbols=SYMBOLS, interval="1m",
                config=CONFIG)  # fmt: skip


# ------------------------------------------------------------ the market


@define
class Market:
    """Quotes and marks every five seconds, a candle every minute."""

    bars: int
    clock: HandClock = field(factory=lambda: HandClock(START))
    candles: dict[str, list[Candle]] = field(factory=lambda: {s: [] for s in SYMBOLS})
    script: deque[Event] = field(init=False)
    queues: list[asyncio.Queue[Event]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        events: list[Event] = []
        for ts in range(START, START + self.bars * MINUTE + SECOND, 5 * SECOND):
            for number, symbol in enumerate(SYMBOLS):
                price, at = price_at(symbol, ts), ts + number * SECOND
                events.append(BookTop(ts_event=at, ts_seen=at, symbol=symbol, bid=price, bid_quantity=9.0,
                                      ask=price * 1.0001, ask_quantity=9.0))  # fmt: skip
                events.append(MarkPrice(ts_event=at, ts_seen=at, symbol=symbol, price=price))
                if ts % MINUTE == 0 and ts > START:
                    seen = [price_at(symbol, t) for t in range(ts - MINUTE, ts + 1, 5 * SECOND)]
                    bar = Candle(symbol=symbol, interval="1m", open_ns=ts - MINUTE, close_ns=ts, open=seen[0],
                                 high=max(seen), low=min(seen), close=seen[-1], volume=1.0)  # fmt: skip
                    events.append(CandleClosed(ts_event=ts, ts_seen=at, candle=bar))
        self.script = deque(sorted(events, key=lambda e: e.ts_seen))

    def listen(self) -> asyncio.Queue[Event]:
        queue: asyncio.Queue[Event] = asyncio.Queue()
        self.queues.append(queue)
        return queue

    def next_ns(self) -> int | None:
        times = [t for t in (self.script[0].ts_seen if self.script else None, self.clock.next_deadline()) if t]
        return min(times, default=None)

    def move(self) -> Event | None:
        """Time passes to the next thing that happens; the market's event when it is one."""
        at = self.next_ns()
        assert at is not None
        self.clock.set_to(at)
        if not self.script or self.script[0].ts_seen > self.clock.now:
            return None
        event = self.script.popleft()
        if isinstance(event, CandleClosed):
            self.candles[event.candle.symbol].append(event.candle)
        return event

    def tell(self, event: Event) -> None:
        for queue in self.queues:
            queue.put_nowait(event)

    def frame(self, symbol: str, limit: int) -> pd.DataFrame:
        bars = self.candles[symbol][-limit:]
        index = pd.DatetimeIndex([c.open_ns for c in bars], tz="UTC", name="open_time")
        names = ("open", "high", "low", "close", "volume")
        made = pd.DataFrame({n: [getattr(c, n) for c in bars] for n in names}, index=index)
        made["close_time"] = pd.DatetimeIndex([c.close_ns for c in bars], tz="UTC")
        return made


class Feed:
    """The market as a data source: enough for paper trading."""

    def __init__(self, market: Market) -> None:
        self.market = market

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(name="FEED", trading=False, streams=frozenset({"candles", "mark_price", "book_top"}))

    async def get_klines(self, symbol: str, interval: str, limit: int = 500, **_: Any) -> pd.DataFrame:
        return self.market.frame(symbol, limit)

    async def get_instrument(self, symbol: str) -> Instrument:
        return default_instrument(symbol)

    async def get_ticker(self, symbol: str) -> Ticker:
        now = self.market.clock.now
        price = price_at(symbol, now)
        return Ticker(symbol=symbol, ts_ns=now, bid=price, ask=price, bid_quantity=9.0, ask_quantity=9.0, last=price)

    async def stream_market(
        self, symbols: Sequence[str], interval: str, kinds: Collection[str] = ()
    ) -> AsyncIterator[Event]:
        queue = self.market.listen()
        while True:
            yield await queue.get()


# ------------------------------------------------------------ a venue that outlives the bot


@define
class World:
    """The venue and all that it ever said; `link` is the living bot's connection to it."""

    market: Market
    venue: Venue = field(init=False)
    link: Link | None = None
    told: list[Event] = field(factory=list)  # private events, as they happened
    sent: list[tuple[str, str]] = field(factory=list)  # what reached the venue: verb and client id
    kill_after: int | None = None  # the bot dies when so many calls have reached the venue, before their answer
    fault: Callable[[str], Exception | None] = lambda verb: None  # what a call raises instead of reaching the venue

    def __attrs_post_init__(self) -> None:
        self.venue = Venue([default_instrument(s) for s in SYMBOLS], VenueConfig(start_balance=Decimal(10_000)))
        self.venue.now_ns = START
        for symbol in SYMBOLS:
            self.venue.quote(symbol, price_at(symbol, START))

    @property
    def clock(self) -> HandClock:
        return self.market.clock

    def drain(self) -> None:
        while self.venue.events:
            event = self.venue.events.popleft()
            self.told.append(event)
            if self.link is not None:
                self.link.account.put_nowait(event)

    def step(self) -> None:
        event = self.market.move()
        self.venue.now_ns = self.clock.now
        if isinstance(event, BookTop):
            self.venue.trade(event.symbol, event.bid, ask=event.ask)
            self.drain()
        if event is not None:
            self.market.tell(event)

    def reached(self, verb: str, client_id: str) -> None:
        self.sent.append((verb, client_id))
        if self.kill_after is not None and len(self.sent) >= self.kill_after:
            self.kill_after = None
            raise Killed

    def connect(self) -> Exchange:
        self.link = Link(self)
        made: Any = self.link
        return made

    def disconnect(self) -> None:
        self.link = None
        self.market.queues.clear()


class Told:
    """What `VenueDesk` tells goes to the world."""

    def __init__(self, world: World) -> None:
        self.world = world

    def tell(self, event: Event) -> None:
        self.world.venue.events.append(event)
        raise AssertionError("the world drains the venue")


class Link(VenueDesk, Feed):
    """One bot's connection: an `Exchange` and no more, but that it may hear which fills a journal knows."""

    def __init__(self, world: World) -> None:
        theatre: Any = Told(world)
        VenueDesk.__init__(self, world.venue, theatre)
        Feed.__init__(self, world.market)
        self.world, self.clock = world, world.clock
        self.account: asyncio.Queue[Event] = asyncio.Queue()
        self.known: set[str] = set()

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(name="LINK", streams=frozenset({"candles", "mark_price", "book_top", "account"}))

    def get_exchange_status(self) -> dict[str, object]:
        return {}

    async def create_order(self, *given: Any, **kinds: Any) -> Order:
        self._fail("create_order")
        self._refuse_known(kinds["client_order_id"], given[0])
        order = await super().create_order(*given, **kinds)
        self.world.reached("create", order.client_order_id)
        return order

    async def get_order(self, symbol: str, order_id: str | None = None, *, client_order_id: str | None = None
                        ) -> Order:  # fmt: skip
        self._fail("get_order")
        return await super().get_order(symbol, order_id, client_order_id=client_order_id)

    async def get_klines(self, symbol: str, interval: str, limit: int = 500, **_: Any) -> pd.DataFrame:
        self._fail("get_klines")
        return self.market.frame(symbol, limit)

    def _fail(self, verb: str) -> None:
        error = self.world.fault(verb)
        if error is not None:
            raise error

    def _refuse_known(self, client_id: str, symbol: str) -> None:
        assert (symbol, client_id) not in self._venue.ids_by_client, f"{client_id} was sent twice"

    async def cancel_order(self, symbol: str, order_id: str | None = None, *, client_order_id: str | None = None
                           ) -> Order:  # fmt: skip
        self._fail("cancel_order")
        order = await super().cancel_order(symbol, order_id, client_order_id=client_order_id)
        self.world.reached("cancel", order.client_order_id)
        return order

    async def set_leverage(self, symbol: str, leverage: int) -> int:
        self._fail("set_leverage")
        made = await super().set_leverage(symbol, leverage)
        self.world.reached("leverage", symbol)
        return made

    def _tell_private(self) -> None:
        self.world.drain()

    async def _ready(self, symbol: str | None) -> None:
        await asyncio.sleep(0)
        if self.world.link is not self:
            raise Killed
        self._venue.now_ns = self.clock.now

    async def adopt(self, records: Iterable[tuple[Event, Sequence[Command]]]) -> None:
        self.known = {e.fill.trade_id for e, _ in records if isinstance(e, FillBooked)}

    async def stream_account(self) -> AsyncIterator[Event]:
        while not self.account.empty():
            self.account.get_nowait()
        self._venue.now_ns = self.clock.now
        snapshot = self._venue.snapshot()
        missed = [e for e in self.world.told if isinstance(e, FillBooked) and e.fill.trade_id not in self.known]
        yield snapshot
        for event in missed:
            yield event
        while True:
            yield await self.account.get()

    async def __aenter__(self) -> Link:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass


@define
class PaperWorld:
    """A market under a paper exchange: the venue is the bot's own, and dies with it."""

    market: Market
    exchange: PaperExchange | None = None
    sent: list[tuple[str, str]] = field(factory=list)
    kill_after: int | None = None

    @property
    def clock(self) -> HandClock:
        return self.market.clock

    @property
    def venue(self) -> Venue:
        assert self.exchange is not None
        return self.exchange._venue

    def step(self) -> None:
        event = self.market.move()
        if event is not None:
            self.market.tell(event)

    def connect(self) -> Exchange:
        source: Any = Feed(self.market)
        self.exchange = PaperExchange(source, symbols=SYMBOLS, interval="1m", clock=self.clock,
                                      config=VenueConfig(start_balance=Decimal(10_000)))  # fmt: skip
        made: Any = self.exchange
        return made

    def disconnect(self) -> None:
        self.market.queues.clear()


# ------------------------------------------------------------ a bot's life


class Book(MemoryJournal):
    """A journal whose writer dies right after a record."""

    kill_at: int | None = None

    def append(self, event: Event, commands: Sequence[Command]) -> None:
        super().append(event, commands)
        if self.kill_at is not None and len(self) > self.kill_at:
            self.kill_at = None
            raise Killed


@define
class Life:
    """One bot from its start to its death, or to a moment."""

    world: World | PaperWorld
    journal: Book
    watch: Callable[[LiveTradingPipeline], None] = field(default=lambda pipeline: None)
    pipeline: LiveTradingPipeline = field(init=False)
    killed: bool = False

    async def run(self, until_ns: int | None = None) -> None:
        busy: Any = Busy()
        features: Any = OneFeature()
        self.pipeline = LiveTradingPipeline(
            PipelineConfig(desk=CONFIG, history=3), exchange=self.world.connect(), features=features, analyst=busy,
            tactician=busy, monitor=busy, symbols=SYMBOLS, interval="1m", journal=self.journal, clock=self.world.clock,
        )  # fmt: skip
        task = asyncio.ensure_future(self.pipeline.run())
        await settle()
        while not task.done():
            self.watch(self.pipeline)
            upcoming = self.world.market.next_ns()
            if upcoming is None or not self.world.market.script or (until_ns is not None and upcoming > until_ns):
                break
            self.world.step()
            await settle()
        self.world.disconnect()
        failed = task.exception() if task.done() and not task.cancelled() else None
        task.cancel()
        await self.pipeline._merger.close()
        await asyncio.gather(task, return_exceptions=True)
        self.world.clock.waiting.clear()
        if failed is not None and not isinstance(failed, Killed):
            raise failed
        self.killed = failed is not None


@define
class Nakedness:
    """How long the bot has left a position without a stop that covers it, counted while it lives."""

    world: World | PaperWorld
    since: dict[str, int] = field(factory=dict)
    longest: int = 0

    def __call__(self, pipeline: LiveTradingPipeline) -> None:
        venue, now = self.world.venue, self.world.clock.now
        for symbol in SYMBOLS:
            held = venue.position(symbol).quantity
            orders = [o for o in venue.open_orders(symbol) if o.reduce_only and o.side.sign * held < 0]
            selling = any(o.order_type is OrderType.MARKET for o in orders)  # and the market has not told a price yet
            covered = selling or any(o.quantity >= abs(held) for o in orders)
            if held == 0 or covered:
                self.since.pop(symbol, None)
            else:
                self.longest = max(self.longest, now - self.since.setdefault(symbol, now))


def orders_of(journal: MemoryJournal) -> dict[str, OrderRequest]:
    """Every intent ever decided, by id."""
    found: dict[str, OrderRequest] = {}
    for _, commands in journal.records():
        for command in commands:
            if isinstance(command, Submit):
                assert command.intent.intent_id not in found
                found[command.intent.intent_id] = command.intent.request
    return found


def check(world: World | PaperWorld, journal: Book, life: Life, starts: int = 2) -> None:
    """What must hold at the end of every life, whatever happened before."""
    bot, venue = life.pipeline.desk, world.venue
    intents = orders_of(journal)
    fills = [event.fill for event, _ in journal.records() if isinstance(event, FillBooked)]
    assert len({f.trade_id for f in fills}) == len(fills)
    for intent_id, request in intents.items():
        filled = sum((f.quantity for f in fills if intent_of(f.client_order_id) == intent_id), Decimal(0))
        assert filled <= request.quantity
    names = [o.client_order_id for o in venue.orders.values()]
    assert len(names) == len(set(names)) and {intent_of(name) for name in names} <= intents.keys()
    assert len(journal.incarnations()) == starts
    for symbol in SYMBOLS:
        ours, theirs = bot.account().position(symbol), venue.account().position(symbol)
        assert (ours and (ours.quantity, ours.entry_price)) == (theirs and (theirs.quantity, theirs.entry_price))
        trade = bot.custody.trades.get(symbol)
        live = {s.intent.intent_id for s in bot.intents.open_of(trade.trade_id)} if trade is not None else set()
        assert {intent_of(o.client_order_id) for o in venue.open_orders(symbol)} <= live
    assert bot.account().wallet == venue.account().wallet
    assert not {"position.differs", "position.foreign_fill"} & {a.code for a in life.pipeline.alerts}
    assert replay(journal.records(), desk()).identical
