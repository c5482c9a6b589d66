"""Public market data by REST, in the shapes the rest of ares uses."""

from __future__ import annotations

import asyncio
import datetime as dt
from functools import partial
from typing import TYPE_CHECKING

from ares.clock import Clock, moment_ns
from ares.errors import InvalidInput, unknown_name
from ares.exchange.rest import RestClient
from ares.exchange.wire import requests
from ares.exchange.wire.market import (
    AggTradeRow,
    BookTicker,
    Depth,
    FundingRow,
    KlineRow,
    OpenInterest,
    PremiumIndex,
    PriceTicker,
    agg_trades_of,
    decode_klines,
    funding_of,
    klines_frame,
    order_book_of,
    positive,
)
from ares.exchange.wire.numbers import MS, to_ns
from ares.instruments import Interval
from ares.market import AggTrade, FuturesData, OrderBook, Ticker

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MarketReads"]

_INTERVALS = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w")
_PAGE = 1500


class MarketReads:
    """Reads of one venue. Every one is idempotent and tried again when the venue asks to wait."""

    def __init__(self, rest: RestClient, clock: Clock) -> None:
        self._rest, self._clock = rest, clock

    async def klines(
        self,
        symbol: str,
        interval: Interval,
        limit: int,
        start: dt.datetime | None,
        end: dt.datetime | None,
        closed_only: bool,
    ) -> pd.DataFrame:
        """The last `limit` bars, or the first from `start`; as many pages as it takes."""
        if interval.name not in _INTERVALS:
            raise unknown_name("interval of this venue", interval.name, _INTERVALS)
        if limit < 1:
            raise InvalidInput(f"limit must be at least 1, not {limit}", limit=limit)
        first = None if start is None else _ms(start)
        last = None if end is None else _ms(end)
        rows: list[KlineRow] = []
        wanted = limit + (closed_only and end is None and start is None)  # one more: the newest may still be forming
        while len(rows) < wanted:
            size = min(_PAGE, wanted - len(rows))
            request = requests.klines(symbol, interval.name, size, first, last)
            page = await self._rest.read_as(request, partial(decode_klines, what=request.what))
            rows = [*rows, *page] if start is not None else [*page, *rows]
            if len(page) < size:
                break
            if start is not None:
                first = page[-1][0] + 1
            else:
                last = page[0][0] - 1
        known = self._clock.now_ns() + self._rest.time.offset_ns
        frame = klines_frame(rows, interval, known if closed_only else None)
        return frame.head(limit) if start is not None else frame.tail(limit)

    async def ticker(self, symbol: str) -> Ticker:
        """Best quotes and the last price."""
        quote, last = await asyncio.gather(
            self._rest.read(requests.read("/fapi/v1/ticker/bookTicker", symbol=symbol), BookTicker),
            self._rest.read(requests.read("/fapi/v2/ticker/price", symbol=symbol), PriceTicker),
        )
        return Ticker(
            symbol=symbol,
            ts_ns=to_ns(max(quote.time, last.time)),
            bid=positive(quote.bid_price, f"{symbol} bid"),
            ask=positive(quote.ask_price, f"{symbol} ask"),
            bid_quantity=float(quote.bid_qty),
            ask_quantity=float(quote.ask_qty),
            last=positive(last.price, f"{symbol} last price"),
        )

    async def order_book(self, symbol: str, limit: int) -> OrderBook:
        """The best `limit` levels."""
        if not 1 <= limit <= 1000:
            raise InvalidInput(f"an order book has 1 to 1000 levels, not {limit}", limit=limit)
        return order_book_of(symbol, await self._rest.read(requests.depth(symbol, limit), Depth), limit)

    async def agg_trades(
        self, symbol: str, limit: int, start: dt.datetime | None, end: dt.datetime | None
    ) -> tuple[AggTrade, ...]:
        """Aggregate trades; several pages by id when `limit` is above 1000."""
        if limit < 1:
            raise InvalidInput(f"limit must be at least 1, not {limit}", limit=limit)
        first, last = (None if t is None else _ms(t) for t in (start, end))
        request = requests.agg_trades(symbol, min(1000, limit), first, last)
        rows = await self._rest.read(request, list[AggTradeRow])
        while rows and len(rows) < limit:
            forward = start is not None
            from_id = rows[-1].agg_id + 1 if forward else max(0, rows[0].agg_id - min(1000, limit - len(rows)))
            page = await self._rest.read(
                requests.agg_trades(symbol, min(1000, limit - len(rows)), from_id=from_id), list[AggTradeRow]
            )
            fresh = [r for r in page if (r.agg_id > rows[-1].agg_id if forward else r.agg_id < rows[0].agg_id)]
            fresh = [r for r in fresh if last is None or r.time_ms <= last]
            if not fresh:
                break
            rows = [*rows, *fresh] if forward else [*fresh, *rows]
        return agg_trades_of(symbol, rows)

    async def futures_data(self, symbol: str, limit: int) -> FuturesData:
        """Settled funding (the newest `limit`), mark, index, open interest, next funding."""
        funding, index, interest = await asyncio.gather(
            self._rest.read(
                requests.read("/fapi/v1/fundingRate", symbol=symbol, limit=min(1000, max(1, limit))), list[FundingRow]
            ),
            self._rest.read(requests.read("/fapi/v1/premiumIndex", symbol=symbol), PremiumIndex),
            self._rest.read(requests.read("/fapi/v1/openInterest", symbol=symbol), OpenInterest),
        )
        return FuturesData(
            symbol=symbol,
            funding=funding_of(funding),
            mark_price=positive(index.mark_price, f"{symbol} mark price"),
            index_price=float(index.index_price) if index.index_price else None,
            open_interest=float(interest.open_interest),
            next_funding_ns=to_ns(index.next_funding_time) if index.next_funding_time else None,
        )


def _ms(moment: dt.datetime) -> int:
    return moment_ns(moment) // MS
