"""The account's trades as reads tell them: none left out, however many, whatever the stream said since."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from ares.clock import Clock
from ares.errors import DataError
from ares.exchange.rest import RestClient
from ares.exchange.wire.requests import read
from ares.exchange.wire.trade import UserTrade

__all__ = ["Trades"]

_MOST = 1000  # rows in one answer
_WEEK = 7 * 86_400_000  # ms; the longest window that the venue answers
_KEPT = 89 * 86_400_000  # ms; how long the venue surely keeps trades
Take = Callable[[UserTrade], Awaitable[None]]


class Trades:
    """Reads each symbol's trades from the last one that a read has confirmed.

    Only a read raises that mark. A trade heard on the stream proves nothing of the ones before it.
    """

    def __init__(self, rest: RestClient, clock: Clock, confirmed: Mapping[str, int]) -> None:
        """confirmed: trade id by symbol, up to which an earlier session has told everything."""
        self._rest, self._clock = rest, clock
        self._confirmed = dict(confirmed)

    async def missed(self, symbol: str, since_ms: int, take: Take) -> None:
        """Hand every trade after the mark to `take`, oldest first; a trade that it raises for is read again next time.

        since_ms: venue time where to begin when no trade of the symbol is confirmed yet.
        Raises: what a read raises, what `take` raises, DataError for rows that were not asked for.
        """
        if symbol not in self._confirmed and not await self._first(symbol, since_ms, take):
            return
        count = _MOST
        while count == _MOST:
            count = await self._hand(symbol, take, fromId=self._confirmed[symbol] + 1)

    async def _first(self, symbol: str, since_ms: int, take: Take) -> bool:
        """Go through the time since, a week at once, up to the first trades. True: more may follow them."""
        now = self._rest.time.venue_ms(self._clock.now_ns())
        start = max(since_ms, now - _KEPT)
        while start + _WEEK <= now:
            if await self._hand(symbol, take, startTime=start, endTime=start + _WEEK - 1):
                return True
            start += _WEEK
        return await self._hand(symbol, take, startTime=start) == _MOST

    async def _hand(self, symbol: str, take: Take, **window: int) -> int:
        request = read("/fapi/v1/userTrades", signed=True, protective=True, symbol=symbol, limit=_MOST, **window)
        rows = sorted(await self._rest.read(request, list[UserTrade]), key=lambda row: row.id)
        first = window.get("fromId", 0)
        for row in rows:
            if row.symbol != symbol or row.id < first:
                message = f"trades of {symbol} from {first} were asked for, {row.id} of {row.symbol} came"
                raise DataError(message, symbol=symbol, trade_id=row.id)
            await take(row)
            self._confirmed[symbol] = row.id
        return len(rows)
