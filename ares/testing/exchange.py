"""`check_exchange`: does an exchange of your own keep what ares counts on?

report = await check_exchange(MyExchange(), "ETHUSDT")
print(report)
report.raise_for_failures()
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ares.clock import SystemClock
from ares.errors import AresError
from ares.events import CandleClosed, Event
from ares.instruments import Instrument, Interval
from ares.market import AggTrade, FuturesData, OrderBook, Ticker
from ares.protocols import Capabilities
from ares.testing.report import Report
from ares.testing.trading_checks import check_trading
from ares.testing.trial import Trial, expect

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["check_exchange"]

_MARKET_VERBS = (
    "get_klines",
    "get_ticker",
    "get_order_book",
    "get_agg_trades",
    "get_futures_data",
    "get_instrument",
)
_TRADING_VERBS = (
    "create_order",
    "cancel_order",
    "get_order",
    "wait_filled",
    "get_open_orders",
    "get_account",
    "get_positions",
    "set_leverage",
    "set_margin_mode",
)
_STREAM_EVENTS = 6
_PATIENCE = 20.0  # seconds of real time for a stream to speak


async def check_exchange(exchange: Any, symbol: str = "ETHUSDT", *, interval: str = "1h") -> Report:
    """Try an exchange: its data, its errors, its streams and, where it trades without real money, its orders.

    It is entered as a context manager when it is one, and closed at the end. What `capabilities` says it cannot do is
    not tried; without them it is taken for market data alone. Trading needs an account that is flat in `symbol`: it
    sends small orders, some of which fill, and closes what it opened.
    """
    trial = Trial(type(exchange).__name__)
    enter, leave = getattr(exchange, "__aenter__", None), getattr(exchange, "__aexit__", None)
    with trial.check("it can be entered"):
        if enter is not None:
            await enter()
    able: Any = getattr(exchange, "capabilities", None)
    with trial.check("it says what it can do"):
        expect(able is None or isinstance(able, Capabilities), f"capabilities is a {type(able).__name__}")
    trading = isinstance(able, Capabilities) and able.trading and not able.real_money
    _check_verbs(trial, exchange, trading)
    await _check_klines(trial, exchange, symbol, interval)
    await _check_quotes(trial, exchange, symbol)
    await _check_errors(trial, exchange, symbol, interval)
    if trading:
        await check_trading(trial, exchange, symbol)
    if hasattr(exchange, "stream_market"):
        await _check_stream(trial, exchange, symbol, interval)
    if hasattr(exchange, "get_exchange_status"):
        with trial.check("its status is a mapping, given without waiting"):
            expect(isinstance(exchange.get_exchange_status(), Mapping), "get_exchange_status gave no mapping")
    with trial.check("it can be left, and closed twice"):
        if leave is not None:
            await leave(None, None, None)
        if hasattr(exchange, "close"):
            await exchange.close()
    return trial.report()


def _check_verbs(trial: Trial, exchange: Any, trading: bool) -> None:
    with trial.check("it has every verb, async"):
        for verb in (*_MARKET_VERBS, *(_TRADING_VERBS if trading else ())):
            method = getattr(exchange, verb, None)
            expect(method is not None, f"it has no {verb}")
            expect(inspect.iscoroutinefunction(method), f"{verb} is not an async function")
        for verb in ("stream_market", "stream_account") if trading else ():
            expect(callable(getattr(exchange, verb, None)), f"it has no {verb}")


def _now_ns(exchange: Any) -> int:
    clock = getattr(exchange, "clock", None) or SystemClock()
    now: int = clock.now_ns()
    return now


def _ns(times: Any) -> Any:
    return np.asarray(times, dtype="datetime64[ns]").astype(np.int64)


async def _check_klines(trial: Trial, exchange: Any, symbol: str, interval: str) -> None:
    """Schema, order, honest prices, closed bars only, limits."""
    frames: list[pd.DataFrame] = []
    with trial.check("klines come as a klines frame"):
        made: pd.DataFrame = await exchange.get_klines(symbol, interval, 50)
        expect(made.index.name == "open_time", f"the index is named {made.index.name!r}, not 'open_time'")
        expect(str(made.index.dtype) == "datetime64[ns, UTC]", f"the index is {made.index.dtype}")
        for column in ("open", "high", "low", "close", "volume"):
            expect(column in made.columns, f"column {column!r} is missing")
            expect(str(made[column].dtype) == "float64", f"column {column!r} is {made[column].dtype}")
        expect(0 < len(made) <= 50, f"{len(made)} rows for limit=50")
        frames.append(made)
    if not frames:
        return
    frame = frames[0]
    step, opens = Interval.parse(interval).ns, _ns(frame.index)
    with trial.check("klines are oldest first, each once, on the interval's grid"):
        expect(bool((np.diff(opens) > 0).all()), "open times do not rise")
        expect(bool((np.diff(opens) % step == 0).all()), f"open times are not whole {interval} apart")
    with trial.check("close_time is the open time plus the interval, exclusive"):
        if "close_time" in frame:
            expect(bool((_ns(frame["close_time"]) == opens + step).all()), "close_time differs")
    with trial.check("only closed klines are given unless asked"):
        last = int(opens[-1]) + step
        expect(last <= _now_ns(exchange), f"the last closes at {last}, it is {_now_ns(exchange)}")
    with trial.check("prices are positive and fit their bar"):
        values = frame[["open", "high", "low", "close"]].to_numpy()
        expect(bool((np.isfinite(values) & (values > 0)).all()), "a price is missing or not positive")
        expect(bool((values[:, 1] == values.max(axis=1)).all()), "a high is not the highest")
        expect(bool((values[:, 2] == values.min(axis=1)).all()), "a low is not the lowest")
        expect(bool((frame["volume"].to_numpy() >= 0).all()), "a volume is negative")
    with trial.check("limit gives the last ones, end cuts later ones off"):
        few = await exchange.get_klines(symbol, interval, 5)
        expect(len(few) == min(5, len(frame)), f"{len(few)} rows for limit=5")
        expect(set(_ns(few.index)) <= {*opens.tolist(), int(opens[-1]) + step}, "limit=5 gives other bars")
        if len(frame) >= 10:
            end = frame.index[-5].to_pydatetime()
            cut = await exchange.get_klines(symbol, interval, 3, end=end)
            expect(bool((_ns(cut.index) <= opens[-5]).all()), "bars after end")


async def _check_quotes(trial: Trial, exchange: Any, symbol: str) -> None:
    """Instrument, ticker, book, trades and futures data."""
    with trial.check("the instrument is the symbol's, with its filters"):
        instrument = await exchange.get_instrument(symbol)
        expect(isinstance(instrument, Instrument), f"it is a {type(instrument).__name__}")
        expect(instrument.symbol == symbol, f"it is {instrument.symbol}")
    with trial.check("the ticker is of now, positive and not crossed"):
        ticker = await exchange.get_ticker(symbol)
        expect(isinstance(ticker, Ticker) and ticker.symbol == symbol, f"it is {ticker!r}")
        numbers = (ticker.bid, ticker.ask, ticker.last)
        expect(all(math.isfinite(n) and n > 0 for n in numbers), f"bid, ask, last are {numbers}")
        expect(ticker.bid <= ticker.ask, f"bid {ticker.bid} above ask {ticker.ask}")
        expect(ticker.ts_ns <= _now_ns(exchange) + 2_000_000_000, "its time lies in the future")
    with trial.check("the book is sorted, not crossed, and no longer than asked"):
        book = await exchange.get_order_book(symbol, 5)
        expect(isinstance(book, OrderBook), f"it is a {type(book).__name__}")
        bids, asks = book.bids, book.asks
        expect(len(bids) <= 5 and len(asks) <= 5, f"{len(bids)} bids and {len(asks)} asks for limit=5")
        expect(bool((np.diff(bids[:, 0]) < 0).all() and (np.diff(asks[:, 0]) > 0).all()), "the best is not first")
        if len(bids) and len(asks):
            expect(bids[0, 0] < asks[0, 0], f"best bid {bids[0, 0]}, best ask {asks[0, 0]}")
    with trial.check("trades come oldest first"):
        trades = await exchange.get_agg_trades(symbol, 10)
        expect(all(isinstance(t, AggTrade) for t in trades), "not all are AggTrade")
        times = [t.ts_ns for t in trades]
        expect(times == sorted(times) and len(times) <= 10, f"{len(times)} trades, or out of order")
    with trial.check("futures data are of the symbol, settled funding in the past"):
        data = await exchange.get_futures_data(symbol)
        expect(isinstance(data, FuturesData) and data.symbol == symbol, f"it is {data!r}")
        settled = [f.ts_ns for f in data.funding]
        expect(settled == sorted(settled), "funding is out of order")
        expect(not settled or settled[-1] <= _now_ns(exchange), "funding from the future")


async def _check_errors(trial: Trial, exchange: Any, symbol: str, interval: str) -> None:
    """What cannot work raises one of ares' own errors, so that a caller knows what to do."""
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "an unknown symbol": lambda: exchange.get_klines("NOSUCHCOIN", interval, 5),
        "an unknown symbol's ticker": lambda: exchange.get_ticker("NOSUCHCOIN"),
        "an unknown interval": lambda: exchange.get_klines(symbol, "7parsecs", 5),
        "a limit of nothing": lambda: exchange.get_klines(symbol, interval, 0),
    }
    for what, call in calls.items():
        with trial.check(f"{what} raises an ares error"):
            try:
                await call()
            except AresError:
                continue
            expect(False, "nothing was raised")


async def _check_stream(trial: Trial, exchange: Any, symbol: str, interval: str) -> None:
    """The market stream speaks, of its symbol, in the order of time."""
    told: list[Event] = []

    async def read(stream: AsyncIterator[Event]) -> None:
        async for event in stream:
            told.append(event)
            if len(told) == _STREAM_EVENTS:
                return

    with trial.check("the market stream speaks"):
        stream = exchange.stream_market([symbol], interval)
        expect(hasattr(stream, "__anext__"), "stream_market gives no async iterator")
        try:
            async with asyncio.timeout(_PATIENCE):
                await read(stream)
        except TimeoutError:
            expect(bool(told), f"no event in {_PATIENCE:g} s")
        expect(bool(told), "it ended without an event")
    with trial.check("events come in the order of time, of the symbol, and each candle once"):
        times = [e.ts_event for e in told]
        expect(times == sorted(times), "time goes back")
        candles = [e.candle for e in told if isinstance(e, CandleClosed)]
        symbols = {c.symbol for c in candles} | {getattr(e, "symbol", symbol) for e in told}
        expect(symbols <= {symbol}, f"events of {sorted(symbols)}")
        opens = [c.open_ns for c in candles]
        expect(opens == sorted(set(opens)), "a candle is repeated or out of order")
        expect(
            all(c.close_ns - c.open_ns == Interval.parse(interval).ns for c in candles), "a candle is of another length"
        )
