"""What the market says: candles, quotes, books, trades, funding, and the view of it that stages share."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from ares.errors import InvalidInput
from ares.instruments import Interval

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "FUTURES_STATISTICS",
    "KLINE_COLUMNS",
    "LARGEST",
    "MADE_UP",
    "QUOTE_SLOT_NS",
    "REQUIRED_COLUMNS",
    "SMALLEST",
    "AggTrade",
    "Candle",
    "FundingRate",
    "FuturesData",
    "MarketView",
    "OrderBook",
    "Ticker",
    "candles_of",
    "exceeds",
]

REQUIRED_COLUMNS = ("open", "high", "low", "close", "volume")
KLINE_COLUMNS = (
    *REQUIRED_COLUMNS,
    "quote_volume",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "trades",
    "close_time",
)
"""Columns of a klines frame. Index: `open_time`, datetime64[ns, UTC]. Only `REQUIRED_COLUMNS` must be there."""
MADE_UP = "made_up"  # in a klines frame's `attrs`, True: the market was invented, and not recorded

FUTURES_STATISTICS = (
    "funding_rate",  # fraction of notional per funding interval; positive: longs pay
    "mark_price",  # quote per base
    "index_price",  # quote per base
    "open_interest",  # base
    "long_short_ratio",  # accounts long over accounts short
    "top_long_short_ratio",  # positions long over positions short among top traders
    "taker_long_short_ratio",  # volume bought over volume sold by takers
)
"""What a futures venue publishes besides candles and trades: columns of a futures frame, names in its events."""

QUOTE_SLOT_NS = 250_000_000
"""Best quotes change hundreds of times a second: features are told the last one of each such slot, live and on tape."""

_NAN = float("nan")


SMALLEST, LARGEST = 1e-100, 1e100
"""Prices, and volumes above 0, beyond these are none: what is computed from them would overflow."""


def exceeds(part: Any, whole: Any) -> Any:
    """Whether an amount is more than the whole it is a part of, beyond rounding; false for NaN. Numbers or arrays."""
    return part > whole * (1.0 + 1e-9)


@frozen(kw_only=True)
class Candle:
    """One closed kline. Known at `close_ns`, exclusive end of its span; a value its source lacks is NaN."""

    symbol: str
    interval: str  # such as "1h"
    open_ns: int  # ns UTC, inclusive
    close_ns: int  # ns UTC, exclusive: open_ns + interval
    open: float  # quote per base
    high: float
    low: float
    close: float
    volume: float  # base
    quote_volume: float = _NAN  # quote
    taker_buy_volume: float = _NAN  # base, bought by takers
    taker_buy_quote_volume: float = _NAN  # quote, spent by buying takers
    trades: int = -1  # count; -1 when unknown


@frozen(kw_only=True)
class Ticker:
    """Best quotes and the last price."""

    symbol: str
    ts_ns: int
    bid: float  # quote per base
    ask: float
    bid_quantity: float  # base
    ask_quantity: float
    last: float

    @property
    def mid(self) -> float:
        """Midpoint of bid and ask."""
        return (self.bid + self.ask) / 2

    @property
    def spread(self) -> float:
        """Ask minus bid, as a fraction of the midpoint."""
        return (self.ask - self.bid) / self.mid


def _levels(value: Any) -> NDArray[np.float64]:
    array = np.ascontiguousarray(value, dtype=np.float64).reshape(-1, 2)
    array.setflags(write=False)
    return array


@frozen(kw_only=True, eq=False)
class OrderBook:
    """Resting orders by price, best first. `bids`, `asks`: (n, 2) read-only float64 of price and quantity (base)."""

    symbol: str
    ts_ns: int
    last_update_id: int
    bids: NDArray[np.float64] = field(converter=_levels)
    asks: NDArray[np.float64] = field(converter=_levels)


@frozen(kw_only=True)
class AggTrade:
    """Fills of one taker order at one price. `buyer_is_maker`: the aggressor sold."""

    symbol: str
    agg_id: int
    ts_ns: int
    price: float  # quote per base
    quantity: float  # base
    buyer_is_maker: bool


@frozen(kw_only=True)
class FundingRate:
    """A settled or predicted funding rate. Positive: longs pay shorts."""

    symbol: str
    ts_ns: int  # when it settles
    rate: Decimal  # fraction of notional per funding interval
    mark_price: float  # quote per base; NaN when unknown


@frozen(kw_only=True, eq=False)
class FuturesData:
    """What only a futures venue publishes. Arrays are oldest first; None: the venue does not provide it."""

    symbol: str
    funding: tuple[FundingRate, ...] = ()
    mark_price: float | None = None  # quote per base
    index_price: float | None = None
    open_interest: float | None = None  # base
    next_funding_ns: int | None = None


@frozen(kw_only=True)
class MarketView:
    """The market of one symbol as known at `now_ns`. A part that nobody sent is None."""

    symbol: str
    now_ns: int
    candle: Candle | None = None  # the last closed one
    mark_price: float | None = None  # quote per base; what liquidation and unrealised profit look at
    ticker: Ticker | None = None
    book: OrderBook | None = None
    funding: FundingRate | None = None

    @property
    def price(self) -> float:
        """Best estimate of the price now: mark, else mid, else the last close.

        Raises: InvalidInput when the view holds none of them.
        """
        for value in (
            self.mark_price,
            self.ticker.mid if self.ticker is not None else None,
            self.candle.close if self.candle is not None else None,
        ):
            if value is not None and math.isfinite(value) and value > 0:
                return value
        raise InvalidInput(f"{self.symbol}: the market view holds no price", symbol=self.symbol)


def candles_of(frame: pd.DataFrame, symbol: str, interval: Interval) -> list[Candle]:
    """The candles of a klines frame, oldest first; columns it lacks become NaN (`trades`: -1)."""
    opened = frame.index.as_unit("ns").asi8.tolist()  # type: ignore[attr-defined]
    missing = [_NAN] * len(opened)
    floats = [
        frame[name].to_numpy(np.float64).tolist() if name in frame.columns else missing for name in KLINE_COLUMNS[:8]
    ]
    trades = frame["trades"].fillna(-1).astype("int64").tolist() if "trades" in frame.columns else [-1] * len(opened)
    rows = zip(opened, *floats, trades, strict=True)
    return [
        Candle(
            symbol=symbol,
            interval=interval.name,
            open_ns=start,
            close_ns=start + interval.ns,
            open=o,
            high=h,
            low=low,
            close=c,
            volume=v,
            quote_volume=qv,
            taker_buy_volume=tb,
            taker_buy_quote_volume=tq,
            trades=count,
        )
        for start, o, h, low, c, v, qv, tb, tq, count in rows
    ]
