"""Funding payments of the account: each told once, also those of hours in which nobody listened."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from ares.clock import Clock
from ares.events import Funding
from ares.exchange.rest import RestClient
from ares.exchange.wire.account import Income
from ares.exchange.wire.market import FundingRow
from ares.exchange.wire.requests import read
from ares.log import get_logger

__all__ = ["Payments"]

_log = get_logger("ares.exchange")
_HOUR = 3_600_000  # ms between two reads when nothing announces a payment
_MOST = 1000  # rows in one answer
_WEEK = 7 * 86_400_000  # ms
_KEPT = 89 * 86_400_000  # ms; how long the venue surely keeps income
_OVERLAP = 3_600_000  # ms read again each time: a row may be written after its time
_AROUND = 60_000  # ms around a payment in which its rate was settled
_WAIT_FOR_RATE = 600_000  # ms
_UNKNOWN = Decimal("NaN")

Tell = Callable[[Funding], None]


class Payments:
    """Reads the account's funding income; the account's events do not say which position was paid how much."""

    def __init__(self, rest: RestClient, clock: Clock, told: Iterable[tuple[str, int]], since_ns: int) -> None:
        """told: (symbol, time in ns) of what an earlier session has told.

        since_ns: from when payments may be missing, by the venue's clock; 0: there was no such session.
        """
        self._rest, self._clock = rest, clock
        self._before = frozenset(told)
        self._told: set[tuple[str, int, int]] = set()  # by (symbol, ms, the venue's transaction id)
        now_ms = rest.time.venue_ms(clock.now_ns())
        self._first_ms = since_ns // 1_000_000 if since_ns else now_ms  # a first session owns nothing before
        self._read_ms = 0  # venue time of the last complete read
        self._awaited = since_ns > 0  # one has been announced, or may have been missed

    async def announced(self, tell: Tell) -> None:
        """The venue says that funding was settled; when its rows are not there yet, the next audit reads again."""
        self._awaited = True
        if not await self._read(tell):
            self._awaited = True

    async def audit(self, tell: Tell, *, missed: bool) -> None:
        """Read when it is due: hourly, after an announcement that found nothing, or when something may be missed."""
        now = self._rest.time.venue_ms(self._clock.now_ns())
        self._awaited = self._awaited or missed  # until a read has come to its end
        if self._awaited or now >= max(self._read_ms, self._first_ms) + _HOUR:
            await self._read(tell)

    async def _read(self, tell: Tell) -> int:
        """Tell what was not told yet; how many that were. What could not be told whole is awaited on."""
        now = self._rest.time.venue_ms(self._clock.now_ns())
        start = max(self._first_ms, self._read_ms - _OVERLAP, now - _KEPT)
        outcomes: list[bool | None] = []
        while start <= now:
            for row in await self._between(start, min(start + _WEEK - 1, now + _AROUND)):
                outcomes.append(await self._take(row, now, tell))
            start += _WEEK
        self._awaited = None in outcomes
        if not self._awaited:
            self._read_ms = now
        return outcomes.count(True)

    async def _between(self, start: int, end: int) -> list[Income]:
        """Every row of the time, oldest first: a full answer may hide others, so it is asked for in halves."""
        request = read(
            "/fapi/v1/income", signed=True, incomeType="FUNDING_FEE", startTime=start, endTime=end, limit=_MOST
        )
        rows = await self._rest.read(request, list[Income])
        if len(rows) >= _MOST and end > start:
            middle = (start + end) // 2
            return [*await self._between(start, middle), *await self._between(middle + 1, end)]
        return sorted(rows, key=lambda row: (row.time, row.tran_id))

    async def _take(self, row: Income, now: int, tell: Tell) -> bool | None:
        """Tell one payment: True; False when it was told before; None when its rate is not known yet."""
        identity = row.symbol, row.time, row.tran_id
        if identity in self._told or (row.symbol, row.time * 1_000_000) in self._before:
            return False
        start, end = row.time - _AROUND, row.time + _AROUND
        request = read("/fapi/v1/fundingRate", symbol=row.symbol, startTime=start, endTime=end, limit=1)
        rates = await self._rest.read(request, list[FundingRow])
        if not rates and now - row.time < _WAIT_FOR_RATE:
            return None
        if not rates:
            _log.warning("funding.rate_unknown", symbol=row.symbol, time=row.time)
        self._told.add(identity)
        tell(
            Funding(
                ts_event=row.time * 1_000_000,
                ts_seen=self._clock.now_ns(),
                symbol=row.symbol,
                rate=Decimal(rates[-1].funding_rate) if rates else _UNKNOWN,
                mark_price=float(rates[-1].mark_price or "nan") if rates else float("nan"),
                amount=Decimal(row.income),
            )
        )
        return True
