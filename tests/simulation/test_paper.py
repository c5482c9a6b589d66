"""Paper trading: over a simulated source it is that source; over ticks it fills at the next of them."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from attrs import evolve

from ares.clock import VirtualClock
from ares.errors import AresError, DataError, InvalidInput, NotAuthorized, Rejected, Retryable
from ares.events import (
    AggTrades,
    BookTop,
    CandleClosed,
    Command,
    Event,
    FillBooked,
    LinkChanged,
    MarkPrice,
    SetLeverage,
    VenueSnapshot,
    Wake,
    encode,
)
from ares.instrument_tables import default_instrument
from ares.instruments import Instrument
from ares.market import AggTrade, Candle, FuturesData, OrderBook, Ticker
from ares.orders import OrderStatus
from ares.protocols import Capabilities, Exchange
from ares.simulation import paper as paper_module
from ares.simulation.listeners import Listener
from ares.simulation.paper import PaperExchange
from ares.simulation.simulated_exchange import SimulatedExchange
from ares.simulation.tape import Tape
from ares.simulation.venue import VenueConfig
from tests.simulation.market import HOUR, T0, D, flat, random_bars, tape
from tests.virtual_time import at_once

CONFIG = VenueConfig(leverage=5, start_balance=D(5_000))


async def trade(exchange: SimulatedExchange | PaperExchange, symbols: Sequence[str]) -> list[bytes]:
    """A trader with replies to candles, fills and wakes; every event it was told, in order."""
    told: list[bytes] = []

    async def reply(event: Event) -> None:
        turn = len(told)
        try:
            if isinstance(event, CandleClosed):
                candle = event.candle
                side = "BUY" if turn % 3 else "SELL"
                if turn % 4 == 0:
                    await exchange.create_order(candle.symbol, side, "MARKET", 0.3)
                elif turn % 4 == 1:
                    away = 0.995 if side == "BUY" else 1.005
                    await exchange.create_order(candle.symbol, side, "LIMIT", 0.2, price=candle.close * away)
                elif turn % 7 == 0:
                    exchange.wake_at(candle.close_ns + HOUR // 3, "look")
                elif turn % 5 == 0:
                    await exchange.set_leverage(candle.symbol, 1 + turn % 9)
            elif isinstance(event, Wake):  # in the middle of a bar
                kind = ("MARKET", "STOP_MARKET")[turn % 2]
                last = (await exchange.get_ticker(symbols[0])).last
                stop_price = None if kind == "MARKET" else last * 1.004
                await exchange.create_order(symbols[0], "BUY", kind, 0.1, stop_price=stop_price)
            elif isinstance(event, FillBooked) and not event.fill.liquidation:
                fill = event.fill
                away = 0.99 if fill.side.value == "BUY" else 1.01
                stop = float(fill.price) * away
                await exchange.create_order(
                    fill.symbol, fill.side.opposite, "STOP_MARKET", fill.quantity, stop_price=stop, reduce_only=True
                )
        except Rejected as refused:
            told.append(str(refused).encode())

    async def listen(stream: AsyncIterator[Event]) -> None:
        async for event in stream:
            told.append(encode(event))
            await asyncio.sleep(0)
            await reply(event)

    account = asyncio.create_task(listen(exchange.stream_account()))
    while not told:  # the snapshot first, as every shell does
        await asyncio.sleep(0)
    await listen(exchange.stream_market(symbols, "1h"))
    await account
    return told


@pytest.mark.parametrize("seed", range(4))
async def test_paper_over_a_simulated_exchange_is_that_exchange(seed: int) -> None:
    market = tape(random_bars(seed, 80, swing=0.03), funding={8: 0.001, 16: -0.002, 24: 0.001, 48: 0.001})
    async with SimulatedExchange(market, T0 + 5 * HOUR, config=CONFIG) as sim:
        expected = await trade(sim, ["ETHUSDT"])
    source = SimulatedExchange(market, T0 + 5 * HOUR)
    async with PaperExchange(source, symbols=market.symbols, config=CONFIG) as paper:
        assert isinstance(paper, Exchange)
        told = await trade(paper, ["ETHUSDT"])
    assert told == expected
    assert sum(b"FillBooked" in e for e in told) > 15
    assert sum(b"Wake" in e for e in told) > 0


async def test_the_same_with_several_symbols_and_gaps() -> None:
    eth = tape(random_bars(1, 60, swing=0.02), funding={8: 0.001, 16: 0.001})
    btc = tape(random_bars(2, 60, price=60_000.0, swing=0.02), symbol="BTCUSDT", skip=(9, 10, 30), funding={8: 0.002})
    market = Tape.merge(eth, btc)
    config = VenueConfig(leverage=5, start_balance=D(50_000))
    expected = await trade(SimulatedExchange(market, T0 + 5 * HOUR, config=config), market.symbols)
    source = SimulatedExchange(market, T0 + 5 * HOUR)
    told = await trade(PaperExchange(source, symbols=market.symbols, config=config), market.symbols)
    assert told == expected
    assert sum(b"FillBooked" in e for e in told) > 15


async def test_klines_of_paper_do_not_run_ahead_with_its_source() -> None:
    paper = PaperExchange(SimulatedExchange(tape(random_bars(4, 30)), T0 + 10 * HOUR), config=CONFIG)
    assert isinstance(paper.clock, VirtualClock)
    async for event in paper.stream_market(["ETHUSDT"], "1h"):
        frame = await paper.get_klines("ETHUSDT", "1h", 5)
        assert len(frame) == 5
        closes = np.asarray(frame["close_time"], dtype="datetime64[ns]").astype(np.int64)
        assert closes[-1] == event.ts_event == paper.clock.now_ns()
        assert (await paper.get_ticker("ETHUSDT")).last == frame["close"].iloc[-1]


async def test_sleep_and_wait_filled_move_paper_time() -> None:
    source = SimulatedExchange(tape(random_bars(4, 30)), T0 + 10 * HOUR)
    paper = PaperExchange(source, symbols=["ETHUSDT"], interval="1h", config=CONFIG)
    await paper.clock.sleep(5400)
    assert paper.clock.now_ns() == T0 + 11 * HOUR + HOUR // 2
    order = await paper.create_order("ETHUSDT", "BUY", "MARKET", 0.5)
    assert (await paper.wait_filled(order)).quantity == D("0.5")
    bare = PaperExchange(SimulatedExchange(tape(random_bars(4, 30))))
    with pytest.raises(InvalidInput, match="name symbols"):
        await bare.clock.sleep(1)


# ---------------------------------------------------------------- real time, ticks


class Feed:
    """Market data of somebody else: what is put into `events` is streamed."""

    def __init__(self, streams: set[str]) -> None:
        self.events: asyncio.Queue[Event | None] = asyncio.Queue()
        self.capabilities = Capabilities(name="FEED", trading=False, streams=frozenset(streams))

    async def get_instrument(self, symbol: str) -> Instrument:
        return default_instrument(symbol)

    async def get_ticker(self, symbol: str) -> Ticker:
        return Ticker(symbol=symbol, ts_ns=T0, bid=1999, ask=2001, bid_quantity=1, ask_quantity=1, last=2000)

    async def get_klines(self, symbol: str, interval: str, limit: int = 500, **_: object) -> pd.DataFrame:
        raise AresError("not here")

    async def get_order_book(self, symbol: str, limit: int = 20) -> OrderBook:
        return OrderBook(symbol=symbol, ts_ns=T0, last_update_id=1, bids=[(1999, 1)], asks=[(2001, 1)])

    async def get_agg_trades(self, symbol: str, limit: int = 500, **_: object) -> tuple[AggTrade, ...]:
        return ()

    async def get_futures_data(self, symbol: str, limit: int = 100) -> FuturesData:
        return FuturesData(symbol=symbol)

    async def stream_market(self, symbols: Sequence[str], interval: str) -> AsyncIterator[Event]:
        while (event := await self.events.get()) is not None:
            yield event


class Hands:
    """A clock that a test sets; it does not own time, so nobody waits for anybody."""

    def __init__(self, now_ns: int) -> None:
        self.now = now_ns

    def now_ns(self) -> int:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += round(seconds * 1e9)

    async def wait_until(self, ts_ns: int) -> None:
        self.now = max(self.now, ts_ns)


def quote(bid: float, ask: float, at: int) -> BookTop:
    return BookTop(ts_event=at, ts_seen=at, symbol="ETHUSDT", bid=bid, bid_quantity=1, ask=ask, ask_quantity=1)


async def test_over_quotes_market_orders_fill_at_the_next_one() -> None:
    feed, clock = Feed({"book_top", "candles", "mark_price"}), Hands(T0)
    config = VenueConfig(slippage=D(0), taker_fee=D(0), leverage=5)
    async with PaperExchange(feed, config=config, clock=clock) as paper:
        with pytest.raises(AttributeError):
            _ = paper.wake_at
        assert not hasattr(paper, "wake_at")
        stream, account = paper.stream_market(["ETHUSDT"], "1m"), paper.stream_account()
        first = await anext(account)
        assert isinstance(first, VenueSnapshot)
        assert [i.symbol for i in first.instruments] == ["ETHUSDT"]
        order = await paper.create_order("ETHUSDT", "BUY", "MARKET", 1)
        assert order.status is OrderStatus.NEW
        clock.now = T0 + 5
        feed.events.put_nowait(quote(1990, 1992, T0 + 3))
        told = await anext(stream)
        assert (told.ts_event, told.ts_seen) == (T0 + 3, T0 + 5)
        filled = await paper.get_order("ETHUSDT", order.order_id)
        assert (filled.average_price, filled.updated_ns) == (D(1992), T0 + 5)
        stop = await paper.create_order("ETHUSDT", "SELL", "STOP_MARKET", 1, stop_price=1985, reduce_only=True)
        feed.events.put_nowait(quote(1984, 1986, T0 + 9))
        await anext(stream)
        assert (await paper.get_order("ETHUSDT", stop.order_id)).average_price == D(1984)
        kinds = [type(await anext(account)).__name__ for _ in range(6)]
        assert kinds == ["OrderUpdate", "FillBooked", "OrderUpdate", "OrderUpdate", "FillBooked", "OrderUpdate"]
        feed.events.put_nowait(None)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_over_trades_and_marks() -> None:
    feed, clock = Feed({"agg_trades", "mark_price"}), Hands(T0)
    paper = PaperExchange(feed, config=VenueConfig(slippage=D(0), taker_fee=D(0), leverage=10), clock=clock)
    stream = paper.stream_market(["ETHUSDT"], "1m")
    await paper.create_order("ETHUSDT", "BUY", "MARKET", 1)
    trade_ = AggTrade(symbol="ETHUSDT", agg_id=1, ts_ns=T0, price=2000.0, quantity=1.0, buyer_is_maker=False)
    feed.events.put_nowait(AggTrades(ts_event=T0, ts_seen=T0, symbol="ETHUSDT", trades=(trade_,)))
    await anext(stream)
    assert (await paper.get_positions())[0].entry_price == D(2000)
    feed.events.put_nowait(MarkPrice(ts_event=T0, ts_seen=T0, symbol="ETHUSDT", price=1800.0))
    await anext(stream)
    account = await paper.get_account()
    assert account.positions == ()
    assert account.wallet >= D(9_800)


async def test_in_real_time_an_order_never_meets_prices_older_than_itself() -> None:
    feed, clock = Feed({"candles"}), Hands(T0)
    paper = PaperExchange(feed, config=CONFIG, clock=clock)
    stream = paper.stream_market(["ETHUSDT"], "1h")

    def candle(number: int, low: float) -> CandleClosed:
        opens = T0 + number * HOUR
        made = Candle(
            symbol="ETHUSDT", interval="1h", open_ns=opens, close_ns=opens + HOUR,
            open=2000.0, high=2000.0, low=low, close=2000.0, volume=1.0,
        )  # fmt: skip
        return CandleClosed(ts_event=opens + HOUR, ts_seen=opens + HOUR, candle=made)

    early = await paper.create_order("ETHUSDT", "BUY", "LIMIT", 0.1, price=1950)
    clock.now = T0 + HOUR // 2
    late = await paper.create_order("ETHUSDT", "BUY", "LIMIT", 0.1, price=1951)
    for number, expected in ((0, OrderStatus.NEW), (1, OrderStatus.FILLED)):
        clock.now = T0 + (number + 1) * HOUR + 10**9
        feed.events.put_nowait(candle(number, 1900.0))
        assert isinstance(await anext(stream), MarkPrice)
        event = await anext(stream)
        assert (event.ts_event, event.ts_seen) == (T0 + (number + 1) * HOUR, clock.now)
        assert (await paper.get_order("ETHUSDT", early.order_id)).status is OrderStatus.FILLED
        assert (await paper.get_order("ETHUSDT", late.order_id)).status is expected


async def test_in_real_time_over_candles_an_order_meets_the_quote_of_the_moment() -> None:
    """The next candle may be an hour away; the stop that belongs to the position cannot wait so long."""
    feed, clock = Feed({"candles"}), Hands(T0 + HOUR // 3)
    paper = PaperExchange(feed, config=evolve(CONFIG, slippage=D(0)), clock=clock)
    paper.stream_market(["ETHUSDT"], "1h")
    bought = await paper.create_order("ETHUSDT", "BUY", "MARKET", 0.1)
    assert (bought.status, bought.average_price) == (OrderStatus.FILLED, D(2001))
    stop = await paper.create_order("ETHUSDT", "SELL", "STOP_MARKET", 0.1, stop_price=1990.0, reduce_only=True)
    assert stop.status is OrderStatus.NEW
    sold = await paper.create_order("ETHUSDT", "SELL", "MARKET", 0.1, reduce_only=True)
    assert (sold.status, sold.average_price) == (OrderStatus.FILLED, D(1999))
    assert (await paper.get_order("ETHUSDT", stop.order_id)).status is OrderStatus.EXPIRED


@pytest.mark.parametrize("error", [Retryable("not now"), NotAuthorized("403"), DataError("no ticker"), None])
async def test_an_order_waits_when_the_source_has_no_quote(
    error: AresError | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent(Feed):
        async def get_ticker(self, symbol: str) -> Ticker:
            if asked:
                if error is not None:
                    raise error
                await asyncio.sleep(60)  # far longer than an order waits
            asked.append(symbol)
            return await super().get_ticker(symbol)

    monkeypatch.setattr(paper_module, "_QUOTE_SECONDS", 0.05)
    asked: list[str] = []
    paper = PaperExchange(Silent({"candles"}), config=CONFIG, clock=Hands(T0))
    paper.stream_market(["ETHUSDT"], "1h")
    with at_once():
        order = await paper.create_order("ETHUSDT", "BUY", "MARKET", 0.1)
    assert order.status is OrderStatus.NEW


class Polled:
    """Market data that cannot stream, on a clock of its own: the least that paper trading needs."""

    def __init__(self) -> None:
        self.inner = SimulatedExchange(tape(random_bars(9, 30)), T0 + 10 * HOUR)
        self.clock = self.inner.clock

    def __getattr__(self, name: str) -> object:
        if name.startswith("get_") and name != "get_exchange_status":
            return getattr(self.inner, name)
        raise AttributeError(name)


async def test_market_data_alone_is_enough() -> None:
    paper = PaperExchange(Polled(), config=CONFIG)  # type: ignore[arg-type]
    told = []
    async for event in paper.stream_market(["ETHUSDT"], "1h"):
        told.append(event)
        if len(told) == 2:
            await paper.create_order("ETHUSDT", "BUY", "MARKET", 0.1)
    candles = [e.candle.open_ns for e in told if isinstance(e, CandleClosed)]
    assert candles == [T0 + i * HOUR for i in range(10, 30)]
    (position,) = await paper.get_positions()
    assert position.quantity == D("0.1")


@pytest.mark.parametrize("error", [Retryable("busy"), DataError("html"), ConnectionError("reset"), TimeoutError()])
@pytest.mark.parametrize("hours", [0.01, 8.0])
async def test_a_polled_source_that_fails_for_a_while_ends_nothing_and_hides_no_bar(
    error: Exception, hours: float
) -> None:
    """Bars are an hour long. While none can be had the market counts as lost."""
    source = Polled()
    ask, began = source.inner.get_klines, T0 + 13 * HOUR

    async def moody(*given: Any, **named: Any) -> pd.DataFrame:
        if began <= source.clock.now_ns() < began + hours * HOUR:
            raise error
        return await ask(*given, **named)

    source.inner.get_klines = moody  # type: ignore[method-assign]
    paper = PaperExchange(source, config=CONFIG)  # type: ignore[arg-type]
    told = [event async for event in paper.stream_market(["ETHUSDT"], "1h")]
    candles = [e.candle.open_ns for e in told if isinstance(e, CandleClosed)]
    assert candles == [T0 + i * HOUR for i in range(10, 30)]
    links = [e.up for e in told if isinstance(e, LinkChanged)]
    assert links == ([False, True] if hours > 1 else [])


async def test_on_virtual_time_a_source_that_never_answers_again_has_ended() -> None:
    source = Polled()
    asked: list[int] = []

    async def gone(*given: Any, **named: Any) -> pd.DataFrame:
        asked.append(source.clock.now_ns())
        raise DataError("html") if len(asked) < 3_000 else InvalidInput("time goes on for ever")

    source.inner.get_klines = gone  # type: ignore[method-assign]
    paper = PaperExchange(source, config=CONFIG)  # type: ignore[arg-type]
    assert not [e async for e in paper.stream_market(["ETHUSDT"], "1m") if isinstance(e, CandleClosed)]
    assert asked[-1] - asked[0] >= 50 * 60 * 10**9, "a source that comes back after a while has not ended"


@pytest.mark.parametrize("error", [InvalidInput("no such symbol"), NotAuthorized("key")])
async def test_what_asking_again_does_not_mend_ends_a_polled_market(error: AresError) -> None:
    source = Polled()

    async def refused(*given: Any, **named: Any) -> pd.DataFrame:
        raise error

    source.inner.get_klines = refused  # type: ignore[method-assign]
    paper = PaperExchange(source, config=CONFIG)  # type: ignore[arg-type]
    with pytest.raises(type(error)):
        [event async for event in paper.stream_market(["ETHUSDT"], "1h")]


async def test_one_market_for_all_streams() -> None:
    paper = PaperExchange(SimulatedExchange(tape(flat(2000, 20))), config=CONFIG)
    paper.stream_market(["ETHUSDT"], "1h")
    with pytest.raises(InvalidInput, match="all symbols at once"):
        paper.stream_market(["BTCUSDT"], "1h")
    with pytest.raises(InvalidInput, match="not 4h"):
        paper.stream_market(["ETHUSDT"], "4h")
    with pytest.raises(InvalidInput, match="did you mean"):
        await paper.get_instrument("ETHUSD")
    assert paper.get_exchange_status()["source"]
    assert paper.capabilities.name == "PAPER on SIM"
    start = dt.datetime(2024, 1, 1, 2, tzinfo=dt.UTC)
    assert len(await paper.get_klines("ETHUSDT", "1h", 3, start=start)) == 3
    assert (await paper.get_account()).wallet == Decimal(5_000)


async def journaled(
    clock: Hands,
) -> tuple[PaperExchange, list[tuple[Event, list[Command]]], Callable[[float], Awaitable[None]]]:
    """A paper exchange over quotes, what its listener wrote down so far, and a hand that gives it the next bid."""
    feed = Feed({"book_top"})
    paper = PaperExchange(feed, symbols=["ETHUSDT"], config=CONFIG, clock=clock)
    stream, account = paper.stream_market(["ETHUSDT"], "1m"), paper.stream_account()
    assert isinstance(account, Listener)
    records: list[tuple[Event, list[Command]]] = [(await anext(account), [])]

    async def tick(bid: float) -> None:
        clock.now += 10**9
        feed.events.put_nowait(quote(bid, bid + 1, clock.now))
        market = await anext(stream)
        while account.has_more:  # private events are journaled as they come
            records.append((await anext(account), []))
        records.append((market, []))

    return paper, records, tick


async def test_after_a_restart_paper_remembers_as_a_real_venue_would() -> None:
    """Feed the same quotes to one exchange that lives and to one that adopts the first one's journal."""
    clock = Hands(T0)
    paper, records, tick = await journaled(clock)
    await paper.create_order("ETHUSDT", "BUY", "MARKET", 0.5, client_order_id="a")
    await tick(2000)
    await paper.set_leverage("ETHUSDT", 9)
    records[-1][1].append(SetLeverage(symbol="ETHUSDT", leverage=9))
    await paper.create_order("ETHUSDT", "SELL", "STOP_MARKET", 0.5, stop_price=1950, reduce_only=True)
    await paper.create_order("ETHUSDT", "BUY", "LIMIT", 0.3, price=1970)
    gone = await paper.create_order("ETHUSDT", "BUY", "LIMIT", 0.3, price=1960)
    await paper.cancel_order("ETHUSDT", gone.order_id)
    await tick(2010)

    again = PaperExchange(Feed({"book_top"}), symbols=["ETHUSDT"], config=CONFIG, clock=clock)
    assert await again.adopt(records) == len(records)
    for venue in (paper._venue, again._venue):
        venue.now_ns = clock.now
        venue.quote("ETHUSDT", 2010.5)
    assert again._venue.account() == paper._venue.account()
    assert again._venue.open_orders() == paper._venue.open_orders()
    for venue in (paper._venue, again._venue):
        venue.trade("ETHUSDT", 1969.0)
        venue.trade("ETHUSDT", 1940.0)
    assert list(again._venue.events) == list(paper._venue.events)
    assert again._venue.account() == paper._venue.account()
    with pytest.raises(Rejected, match="-2013"):
        await again.get_order("ETHUSDT", client_order_id="never sent")
    with pytest.raises(InvalidInput, match="nothing has happened"):
        await again.adopt(records)
    poorer = PaperExchange(Feed({"book_top"}), symbols=["ETHUSDT"], clock=clock)
    with pytest.raises(DataError, match="began with"):
        await poorer.adopt(records)


async def test_an_order_whose_fill_was_the_last_thing_written_does_not_fill_again() -> None:
    """Cut a journal after each of its records: what had traded has ended, and what it closed leaves nothing behind."""
    clock = Hands(T0)
    paper, records, tick = await journaled(clock)
    await paper.create_order("ETHUSDT", "BUY", "MARKET", 0.5)
    await tick(2000)
    await paper.create_order("ETHUSDT", "SELL", "STOP_MARKET", 0.5, stop_price=1950, reduce_only=True)
    await paper.create_order("ETHUSDT", "SELL", "STOP_MARKET", 0.5, stop_price=1900, reduce_only=True)
    await paper.create_order("ETHUSDT", "BUY", "LIMIT", 0.3, price=1500)
    await tick(1940)  # the first stop closes the position, the second has nothing left to reduce
    assert sum(isinstance(event, FillBooked) for event, _ in records) == 2

    for end in range(1, len(records) + 1):
        again = PaperExchange(Feed({"book_top"}), symbols=["ETHUSDT"], config=CONFIG, clock=clock)
        await again.adopt(records[:end])
        fills = [event.fill for event, _ in records[:end] if isinstance(event, FillBooked)]
        for fill in fills:
            order = await again.get_order("ETHUSDT", fill.order_id)
            assert (order.status, order.filled) == (OrderStatus.FILLED, fill.quantity)
        stops = [order for order in again._venue.open_orders() if order.reduce_only]
        again._venue.trade("ETHUSDT", 1800.0)
        position = (await again.get_account()).position("ETHUSDT")
        held = sum((f.quantity * f.side.sign for f in fills), Decimal(0))
        if fills:  # else the entry still waits, and takes this price
            assert (position.quantity if position is not None else 0) == (0 if stops else held)
        assert not (stops and len(fills) == 2)
