"""Futures statistics as the venue publishes them: settled funding, open interest, long/short ratios."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence

import msgspec

from ares.clock import Clock, moment_ns
from ares.errors import AresError, Rejected
from ares.events import FuturesStatistics
from ares.exchange.rest import RestClient
from ares.exchange.wire.market import FundingRow, OpenInterest, RatioRow, funding_of
from ares.exchange.wire.numbers import MS, to_ns
from ares.exchange.wire.requests import read
from ares.log import get_logger

__all__ = ["RHYTHM", "StatisticsReads", "newer"]

RHYTHM = 300
"""Seconds between two publications of open interest and ratios."""

_LONGEST_NS = 29 * 86_400_000_000_000  # the venue keeps a month of them
_MOST = 500  # rows in one answer
_REFUSED_NS = 3_600_000_000_000  # how long a refused series of a symbol is not asked for
_PERIODS = {"5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "2h": 7200, "4h": 14_400, "6h": 21_600, "12h": 43_200}
_SERIES = {
    "open_interest": "/futures/data/openInterestHist",
    "long_short_ratio": "/futures/data/globalLongShortAccountRatio",
    "top_long_short_ratio": "/futures/data/topLongShortPositionRatio",
    "taker_long_short_ratio": "/futures/data/takerlongshortRatio",
}
_log = get_logger("ares.exchange")

Series = list[tuple[int, float]]  # ns of publication, value


class StatisticsReads:
    """Reads of one venue. A series that the venue does not offer is left out, logged, and asked for an hour later."""

    def __init__(self, rest: RestClient, clock: Clock) -> None:
        self._rest, self._clock = rest, clock
        self._refused: dict[tuple[str, str], int] = {}  # ns until when, by path and symbol

    async def published(self, symbol: str, start: dt.datetime | int) -> tuple[FuturesStatistics, ...]:
        """Everything published after `start` (ns UTC), oldest first, as far as one answer of each series reaches.

        Open interest and ratios come every five minutes, further apart the further back `start` lies, and at most a
        month of them. Raises what a read raises but `Rejected`.
        """
        start_ns = moment_ns(start)
        now = self._clock.now_ns()
        found = await asyncio.gather(
            self._funding(symbol, start_ns), *(self._series(symbol, name, start_ns, now) for name in _SERIES)
        )
        values: dict[int, dict[str, float]] = {}
        for name, series in zip(("funding_rate", *_SERIES), found, strict=True):
            for at, value in series:
                if at > start_ns:
                    values.setdefault(at, {})[name] = value
        return tuple(
            FuturesStatistics(ts_event=at, ts_seen=now, symbol=symbol, values=values[at]) for at in sorted(values)
        )

    async def _funding(self, symbol: str, start_ns: int) -> Series:
        request = read("/fapi/v1/fundingRate", symbol=symbol, startTime=start_ns // MS, limit=1000)
        rows = funding_of(await self._rest.read(request, list[FundingRow]))
        return [(row.ts_ns, float(row.rate)) for row in rows]

    async def _series(self, symbol: str, name: str, start_ns: int, now_ns: int) -> Series:
        first = max(start_ns, now_ns - _LONGEST_NS)
        seconds = (now_ns - first) / 1e9
        period = next((p for p, length in _PERIODS.items() if seconds / length < _MOST), "12h")
        request = read(_SERIES[name], symbol=symbol, period=period, startTime=first // MS, limit=_MOST)
        if now_ns >= self._refused.get((request.path, symbol), 0):
            try:
                return _values(await self._rest.read(request, list[RatioRow]), name)
            except Rejected as error:
                self._refuse(request.path, symbol, now_ns, error)
        return await self._interest_now(symbol, now_ns) if name == "open_interest" else []

    async def _interest_now(self, symbol: str, now_ns: int) -> Series:
        """Where there is no history of it, such as on a test network."""
        row = await self._rest.read(read("/fapi/v1/openInterest", symbol=symbol), OpenInterest)
        return [(to_ns(row.time) if row.time else now_ns, float(row.open_interest))]

    def _refuse(self, path: str, symbol: str, now_ns: int, error: AresError) -> None:
        self._refused[path, symbol] = now_ns + _REFUSED_NS
        _log.warning("statistics.not_offered", path=path, symbol=symbol, reason=str(error)[:120])


def _values(rows: Sequence[RatioRow], name: str) -> Series:
    series = []
    for row in rows:
        text = {"open_interest": row.sum_open_interest, "taker_long_short_ratio": row.buy_sell_ratio}.get(
            name, row.long_short_ratio
        )
        if text:
            series.append((to_ns(row.timestamp), float(text)))
    return series


def newer(events: Sequence[FuturesStatistics], told: dict[str, int]) -> list[FuturesStatistics]:
    """The values that `told` (time of the last one, by name) has not; `told` moves on."""
    fresh = []
    for event in events:
        values = {name: value for name, value in event.values.items() if event.ts_event > told.get(name, -1)}
        told.update(dict.fromkeys(values, event.ts_event))
        if values:
            fresh.append(msgspec.structs.replace(event, values=values))
    return fresh
