"""The account by REST: money, positions, modes, as the venue sees them."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from ares.account import Account, Position
from ares.clock import Clock
from ares.errors import Retryable
from ares.exchange.rest import RestClient
from ares.exchange.wire.account import (
    AccountConfig,
    AccountV3,
    PositionV3,
    SymbolConfig,
    account_of,
    position_of,
)
from ares.exchange.wire.market import PremiumIndex
from ares.exchange.wire.requests import read

__all__ = ["AccountReads"]

_MARK_AGE_NS = 60_000_000_000  # a mark price older than this is read anew


class AccountReads:
    """Reads of one account in one quote asset."""

    def __init__(self, rest: RestClient, clock: Clock, asset: str) -> None:
        self._rest, self._clock, self._asset = rest, clock, asset
        self._marks: dict[str, tuple[int, Decimal]] = {}  # when read, mark price

    async def config(self) -> AccountConfig:
        """What the key and the account may do: trade, withdraw, hedge mode."""
        return await self._rest.read(read("/fapi/v1/accountConfig", signed=True), AccountConfig)

    async def symbol(self, symbol: str) -> SymbolConfig:
        """Margin mode and leverage of one symbol. Raises Retryable when the venue leaves it out."""
        request = read("/fapi/v1/symbolConfig", signed=True, symbol=symbol)
        for row in await self._rest.read(request, list[SymbolConfig]):
            if row.symbol == symbol:
                return row
        raise Retryable(f"{symbol}: the venue did not tell its margin mode and leverage", symbol=symbol)

    async def account(self) -> Account:
        """Money and open positions."""
        money, rows = await asyncio.gather(
            self._rest.read(read("/fapi/v3/account", signed=True, protective=True), AccountV3),
            self._rest.read(read("/fapi/v3/positionRisk", signed=True, protective=True), list[PositionV3]),
        )
        held = [row.symbol for row in rows if Decimal(row.position_amt) != 0]
        leverage = {symbol: (await self.symbol(symbol)).leverage for symbol in held}
        return account_of(money, rows, leverage, self._asset, self._clock.now_ns())

    async def positions(self, symbol: str | None) -> tuple[Position, ...]:
        """Positions that are not flat."""
        rows = [r for r in await self.rows(symbol) if Decimal(r.position_amt) != 0]
        return tuple([position_of(row, (await self.symbol(row.symbol)).leverage) for row in rows])

    async def position(self, symbol: str) -> Position:
        """The position of one symbol, flat or not."""
        leverage = (await self.symbol(symbol)).leverage
        row = next((r for r in await self.rows(symbol) if r.symbol == symbol), None)
        if row is not None:
            return position_of(row, leverage)
        zero = Decimal(0)
        return Position(
            symbol=symbol,
            quantity=zero,
            entry_price=zero,
            mark_price=await self.mark(symbol),
            leverage=leverage,
            margin=zero,
            maintenance_margin=zero,
            unrealised=zero,
            realised=zero,
            liquidation_price=None,
            updated_ns=self._clock.now_ns(),
        )

    async def mark(self, symbol: str) -> Decimal:
        """A mark price not older than a minute."""
        now = self._clock.now_ns()
        known = self._marks.get(symbol)
        if known is None or now - known[0] > _MARK_AGE_NS:
            index = await self._rest.read(read("/fapi/v1/premiumIndex", symbol=symbol), PremiumIndex)
            known = self._marks[symbol] = (now, Decimal(index.mark_price))
        return known[1]

    async def in_quote(self, asset: str, amount: Decimal) -> Decimal:
        """An amount of an asset in the quote asset, at a mark price not older than a minute. Raises Retryable."""
        if amount == 0 or asset in ("", self._asset):
            return amount
        return (amount * await self.mark(f"{asset}{self._asset}")).quantize(Decimal("1e-8"))

    async def rows(self, symbol: str | None) -> list[PositionV3]:
        """Positions as the venue tells them, flat ones with open orders too."""
        request = read("/fapi/v3/positionRisk", signed=True, protective=True, symbol=symbol)
        return await self._rest.read(request, list[PositionV3])
