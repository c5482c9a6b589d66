"""Market streams: frames to typed values with float fields, and those to the desk's events.

Floats, because prices of a stream become features and quotes; nothing here is booked as money.
Depth comes by connections of its own, see `depth`.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from ares.errors import DataError
from ares.events import AggTrades, BookTop, CandleClosed, Event, MarkPrice
from ares.exchange.wire.numbers import to_ns
from ares.instruments import Interval
from ares.market import AggTrade, Candle, exceeds

__all__ = [
    "AggTradeFrame",
    "BookTickerFrame",
    "Envelope",
    "KlineBody",
    "KlineFrame",
    "MarkPriceFrame",
    "MarketFrame",
    "Reply",
    "decode_frame",
    "event_of",
    "stream_names",
]


class AggTradeFrame(msgspec.Struct, frozen=True, tag_field="e", tag="aggTrade", gc=False):
    """<symbol>@aggTrade."""

    s: str
    a: int  # aggregate id
    p: float  # quote per base
    q: float  # base
    T: int  # ms
    m: bool  # the buyer is the maker
    E: int = 0  # ms, when it was told


class BookTickerFrame(msgspec.Struct, frozen=True, tag_field="e", tag="bookTicker", gc=False):
    """<symbol>@bookTicker."""

    s: str
    u: int  # update id
    b: float
    B: float
    a: float
    A: float
    T: int  # ms


class MarkPriceFrame(msgspec.Struct, frozen=True, tag_field="e", tag="markPriceUpdate", gc=False):
    """<symbol>@markPrice@1s."""

    s: str
    p: float
    E: int
    i: float | None = None  # index price
    r: str = ""  # funding rate
    T: int = 0  # next funding, ms


class KlineBody(msgspec.Struct, frozen=True, gc=False):
    """The bar inside a kline frame; `x`: it has closed."""

    t: int  # open, ms
    i: str
    o: float
    h: float
    l: float  # noqa: E741  the wire's letter
    c: float
    v: float
    x: bool
    q: float = math.nan
    n: int = -1
    V: float = math.nan
    Q: float = math.nan


class KlineFrame(msgspec.Struct, frozen=True, tag_field="e", tag="kline", gc=False):
    """<symbol>@kline_<interval>, several times a second; final only when closed."""

    s: str
    E: int
    k: KlineBody


MarketFrame = AggTradeFrame | BookTickerFrame | MarkPriceFrame | KlineFrame


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """A frame of a combined stream. Its payload says symbol and kind, so the stream's name is not read."""

    data: MarketFrame


class Reply(msgspec.Struct, frozen=True):
    """The answer to SUBSCRIBE and its like."""

    id: int | str | None = None
    result: Any = None
    error: Any = None


decode_frame = msgspec.json.Decoder(Envelope, strict=False).decode
"""The envelope of one combined-stream frame; raises msgspec.MsgspecError or UnicodeDecodeError for anything else.

No wrapper: it is hot."""


def stream_names(symbols: tuple[str, ...], interval: str, kinds: frozenset[str]) -> dict[str, list[str]]:
    """Stream names by path, `market` and `public`. kinds: of candles, mark_price, agg_trades, book_top."""
    market: list[str] = []
    public: list[str] = []
    for symbol in symbols:
        low = symbol.lower()
        if "candles" in kinds:
            market.append(f"{low}@kline_{interval}")
        if "mark_price" in kinds:
            market.append(f"{low}@markPrice@1s")
        if "agg_trades" in kinds:
            market.append(f"{low}@aggTrade")
        if "book_top" in kinds:
            public.append(f"{low}@bookTicker")
    return {path: names for path, names in (("market", market), ("public", public)) if names}


def event_of(frame: MarketFrame, seen_ns: int) -> Event | None:
    """The event of a frame; None for a bar that is still forming.

    Raises: DataError for numbers that are no prices.
    """
    if isinstance(frame, AggTradeFrame):
        _check(frame.s, frame.p, frame.q)
        trade = AggTrade(
            symbol=frame.s,
            agg_id=frame.a,
            ts_ns=to_ns(frame.T),
            price=frame.p,
            quantity=frame.q,
            buyer_is_maker=frame.m,
        )
        told = max(trade.ts_ns, to_ns(frame.E))
        return AggTrades(ts_event=told, ts_seen=seen_ns, symbol=frame.s, trades=(trade,))
    if isinstance(frame, BookTickerFrame):
        _check(frame.s, frame.b, frame.a, frame.a - frame.b)
        return BookTop(
            ts_event=to_ns(frame.T),
            ts_seen=seen_ns,
            symbol=frame.s,
            bid=frame.b,
            bid_quantity=frame.B,
            ask=frame.a,
            ask_quantity=frame.A,
        )
    if isinstance(frame, MarkPriceFrame):
        _check(frame.s, frame.p)
        index = frame.i if frame.i else None
        return MarkPrice(ts_event=to_ns(frame.E), ts_seen=seen_ns, symbol=frame.s, price=frame.p, index=index)
    return _candle(frame, seen_ns) if frame.k.x else None


def _candle(frame: KlineFrame, seen_ns: int) -> CandleClosed:
    bar = frame.k
    _check(frame.s, bar.o, bar.h, bar.l, bar.c)
    fits = bar.h >= max(bar.o, bar.c) and bar.l <= min(bar.o, bar.c) and 0 <= bar.v < math.inf
    amounts = min(bar.q, bar.V, bar.Q, bar.n + 1.0) < 0.0 or exceeds(bar.V, bar.v) or exceeds(bar.Q, bar.q)
    if amounts or not fits:
        raise DataError(f"{frame.s}: the bar of {bar.t} contradicts itself", symbol=frame.s, open_ms=bar.t)
    opened = to_ns(bar.t)
    closes = opened + Interval.parse(bar.i).ns
    candle = Candle(
        symbol=frame.s,
        interval=bar.i,
        open_ns=opened,
        close_ns=closes,
        open=bar.o,
        high=bar.h,
        low=bar.l,
        close=bar.c,
        volume=bar.v,
        quote_volume=bar.q,
        taker_buy_volume=bar.V,
        taker_buy_quote_volume=bar.Q,
        trades=bar.n,
    )
    return CandleClosed(ts_event=max(closes, to_ns(frame.E)), ts_seen=seen_ns, candle=candle)


def _check(symbol: str, *values: float) -> None:
    for value in values:
        if not 0 < value < math.inf:
            raise DataError(f"{symbol}: {value} is no positive number", symbol=symbol)
