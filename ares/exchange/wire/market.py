"""Public market data by REST: payloads as the venue sends them, and the nouns they become."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from ares.errors import DataError
from ares.exchange.wire.decode import decode
from ares.exchange.wire.numbers import MS, Number, NumberOrBlank, to_ns
from ares.instruments import Interval
from ares.market import AggTrade, FundingRate, OrderBook

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "AggTradeRow",
    "BookTicker",
    "Depth",
    "ExchangeInfo",
    "Filter",
    "FundingRow",
    "KlineRow",
    "OpenInterest",
    "PremiumIndex",
    "PriceTicker",
    "RatioRow",
    "RateLimit",
    "ServerTime",
    "SymbolInfo",
    "agg_trades_of",
    "decode_klines",
    "funding_of",
    "klines_frame",
    "order_book_of",
    "positive",
]


class _Payload(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class ServerTime(_Payload, frozen=True, kw_only=True):
    """GET /fapi/v1/time."""

    server_time: int  # ms


class RateLimit(_Payload, frozen=True, kw_only=True):
    """One budget of the venue."""

    rate_limit_type: str
    interval: str
    interval_num: int
    limit: int


class Filter(_Payload, frozen=True, kw_only=True, omit_defaults=True):
    """One rule for orders; which fields are there depends on its type."""

    filter_type: str
    tick_size: NumberOrBlank = ""
    min_price: NumberOrBlank = ""
    max_price: NumberOrBlank = ""
    step_size: NumberOrBlank = ""
    min_qty: NumberOrBlank = ""
    max_qty: NumberOrBlank = ""
    notional: NumberOrBlank = ""
    multiplier_up: NumberOrBlank = ""
    multiplier_down: NumberOrBlank = ""
    multiplier_decimal: str = ""
    limit: int = 0


class SymbolInfo(_Payload, frozen=True, kw_only=True):
    """One contract of exchangeInfo."""

    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    filters: list[Filter]
    pair: str = ""
    contract_type: str = "PERPETUAL"
    margin_asset: str = ""
    liquidation_fee: NumberOrBlank = ""
    delivery_date: int = 4_133_404_800_000
    onboard_date: int = 0
    maint_margin_percent: str = "2.5000"
    required_margin_percent: str = "5.0000"
    price_precision: int = 8
    quantity_precision: int = 8
    base_asset_precision: int = 8
    quote_precision: int = 8
    underlying_type: str = "COIN"
    underlying_sub_type: list[str] = []
    settle_plan: int = 0
    trigger_protect: str = "0.05"
    market_take_bound: str = "0.05"
    order_types: list[str] = []
    time_in_force: list[str] = []


class ExchangeInfo(_Payload, frozen=True, kw_only=True):
    """GET /fapi/v1/exchangeInfo."""

    symbols: list[SymbolInfo]
    rate_limits: list[RateLimit] = []
    server_time: int = 0
    timezone: str = "UTC"
    futures_type: str = "U_MARGINED"
    exchange_filters: list[Any] = []
    assets: list[Any] = []


class Depth(msgspec.Struct, frozen=True, kw_only=True):
    """GET /fapi/v1/depth. Levels are price and quantity, best first."""

    last_update_id: int = msgspec.field(name="lastUpdateId")
    event_ms: int = msgspec.field(name="E", default=0)
    time_ms: int = msgspec.field(name="T", default=0)
    bids: list[tuple[Number, Number]]
    asks: list[tuple[Number, Number]]


class AggTradeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of GET /fapi/v1/aggTrades."""

    agg_id: int = msgspec.field(name="a")
    price: Number = msgspec.field(name="p")
    quantity: Number = msgspec.field(name="q")
    normal_quantity: NumberOrBlank = msgspec.field(name="nq", default="")
    first_id: int = msgspec.field(name="f", default=0)
    last_id: int = msgspec.field(name="l", default=0)
    time_ms: int = msgspec.field(name="T")
    buyer_is_maker: bool = msgspec.field(name="m")


class FundingRow(_Payload, frozen=True, kw_only=True):
    """One row of GET /fapi/v1/fundingRate. Early rows have no mark price."""

    symbol: str
    funding_rate: Number
    funding_time: int
    mark_price: NumberOrBlank = ""
    rate_type: str = "Regular"


class PremiumIndex(_Payload, frozen=True, kw_only=True):
    """GET /fapi/v1/premiumIndex."""

    symbol: str
    mark_price: Number
    index_price: NumberOrBlank = ""
    estimated_settle_price: NumberOrBlank = ""
    last_funding_rate: NumberOrBlank = ""
    interest_rate: NumberOrBlank = ""
    next_funding_time: int = 0
    time: int = 0


class OpenInterest(_Payload, frozen=True, kw_only=True):
    """GET /fapi/v1/openInterest."""

    symbol: str
    open_interest: Number
    time: int = 0


class RatioRow(_Payload, frozen=True, kw_only=True):
    """One row of GET /futures/data/...: openInterestHist, ...LongShort...Ratio, takerlongshortRatio, each its own."""

    timestamp: int  # ms
    sum_open_interest: NumberOrBlank = ""  # base
    long_short_ratio: NumberOrBlank = ""
    buy_sell_ratio: NumberOrBlank = ""


class BookTicker(_Payload, frozen=True, kw_only=True):
    """GET /fapi/v1/ticker/bookTicker."""

    symbol: str
    bid_price: Number
    bid_qty: Number
    ask_price: Number
    ask_qty: Number
    time: int = 0


class PriceTicker(_Payload, frozen=True, kw_only=True):
    """GET /fapi/v2/ticker/price."""

    symbol: str
    price: Number
    time: int = 0


Count = Annotated[int, Meta(ge=0, le=2**53)]
KlineRow = tuple[int, Number, Number, Number, Number, Number, int, Number, Count, Number, Number, Any]
"""Open time, open, high, low, close, volume, close time, quote volume, trades, taker buy base and quote, unused."""


def decode_klines(data: bytes, what: str) -> list[KlineRow]:
    """The rows of a klines body. Raises DataError."""
    return decode(data, list[KlineRow], what)


def klines_frame(rows: Sequence[KlineRow], interval: Interval, known_ns: int | None) -> pd.DataFrame:
    """A klines frame. known_ns: bars that close later are left out; None keeps the forming one.

    `close_time` is the open time plus the interval, exclusive: the wire's last millisecond is undone.
    Raises: DataError for numbers that are no prices or for rows out of order; `row` is the first one.
    """
    import pandas as pd

    opens = np.array([to_ns(row[0]) for row in rows], dtype=np.int64)
    values = np.array([[row[i] for i in (1, 2, 3, 4, 5, 7, 9, 10)] for row in rows], dtype=np.float64).reshape(-1, 8)
    trades = np.array([row[8] for row in rows], dtype=np.int64)
    bad = ~np.isfinite(values).all(axis=1) | (values[:, :4] <= 0).any(axis=1) | (values[:, 4:] < 0).any(axis=1)
    bad |= (values[:, 1] < values[:, [0, 2, 3]].max(axis=1, initial=0)) | (values[:, 2] > values[:, [0, 3]].min(axis=1))
    bad[1:] |= np.diff(opens) <= 0
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(f"kline {row} is no bar or out of order: {rows[row][:6]}", row=row)
    keep = np.ones(opens.size, dtype=bool) if known_ns is None else opens + interval.ns <= known_ns
    names = (
        "open",
        "high",
        "low",
        "close",
        "volume",
        "quote_volume",
        "taker_buy_volume",
        "taker_buy_quote_volume",
    )
    columns: dict[str, Any] = {name: values[keep, i] for i, name in enumerate(names)}
    columns["trades"] = trades[keep]
    columns["close_time"] = pd.DatetimeIndex(opens[keep] + interval.ns, tz="UTC")
    return pd.DataFrame(columns, index=pd.DatetimeIndex(opens[keep], tz="UTC", name="open_time"))


def order_book_of(symbol: str, depth: Depth, limit: int | None = None) -> OrderBook:
    """An order book. Raises DataError when it is crossed, unordered or holds empty levels."""
    bids = np.array(depth.bids[:limit], dtype=np.float64).reshape(-1, 2)
    asks = np.array(depth.asks[:limit], dtype=np.float64).reshape(-1, 2)
    ordered = (np.diff(bids[:, 0]) < 0).all() and (np.diff(asks[:, 0]) > 0).all()
    if not ordered or not ((bids > 0).all() and (asks > 0).all()):
        raise DataError(f"{symbol}: the book is unordered or holds empty levels", symbol=symbol)
    if bids.size and asks.size and bids[0, 0] >= asks[0, 0]:
        raise DataError(f"{symbol}: the book is crossed: {bids[0, 0]} >= {asks[0, 0]}", symbol=symbol)
    return OrderBook(
        symbol=symbol,
        ts_ns=to_ns(depth.time_ms or depth.event_ms),
        last_update_id=depth.last_update_id,
        bids=bids,
        asks=asks,
    )


def agg_trades_of(symbol: str, rows: Sequence[AggTradeRow]) -> tuple[AggTrade, ...]:
    """Aggregate trades, oldest first. Raises DataError for a price or quantity that is not above 0."""
    return tuple(
        AggTrade(
            symbol=symbol,
            agg_id=row.agg_id,
            ts_ns=to_ns(row.time_ms),
            price=positive(row.price, f"{symbol} price of trade {row.agg_id}"),
            quantity=positive(row.quantity, f"{symbol} quantity of trade {row.agg_id}"),
            buyer_is_maker=row.buyer_is_maker,
        )
        for row in rows
    )


def funding_of(rows: Sequence[FundingRow]) -> tuple[FundingRate, ...]:
    """Settled funding rates, oldest first. The stamp is cut to the whole second: the venue settles a few ms late."""
    return tuple(
        FundingRate(
            symbol=row.symbol,
            ts_ns=to_ns(row.funding_time) // (1000 * MS) * (1000 * MS),
            rate=Decimal(row.funding_rate),
            mark_price=float(row.mark_price) if row.mark_price else math.nan,
        )
        for row in rows
    )


def positive(text: str | float, what: str) -> float:
    """A finite number above 0. Raises DataError."""
    value = float(text)
    if not (value > 0 and math.isfinite(value)):
        raise DataError(f"{what} is {text}, not a positive number")
    return value
