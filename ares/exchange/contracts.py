"""The venue's contracts as instruments: filters, margin brackets and our fee rates, kept for an hour."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from ares.clock import Clock
from ares.errors import AresError, DataError, unknown_name
from ares.exchange.rest import RestClient
from ares.exchange.wire.decode import decode
from ares.exchange.wire.instruments import CommissionRate, LeverageBrackets, instrument_of, tiers_of
from ares.exchange.wire.market import ExchangeInfo, SymbolInfo
from ares.exchange.wire.requests import read
from ares.instrument_tables import DEFAULT_SYMBOLS, DEFAULT_TIERS, default_instrument
from ares.instruments import Instrument, MarginTier
from ares.log import get_logger

__all__ = ["Contracts"]

_log = get_logger("ares.exchange")
_HOUR_NS = 3_600_000_000_000


class Contracts:
    """Instruments by symbol. Without keys the margin brackets are the built-in ones and fees the public standard."""

    def __init__(self, rest: RestClient, clock: Clock) -> None:
        self._rest, self._clock = rest, clock
        self._infos: dict[str, SymbolInfo] = {}
        self._tiers: dict[str, tuple[MarginTier, ...]] = {}
        self._made: dict[str, Instrument] = {}
        self._loaded_ns = 0
        self._lock = asyncio.Lock()

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols the venue lists."""
        return tuple(self._infos)

    @property
    def known(self) -> dict[str, Instrument]:
        """The instruments asked for so far."""
        return dict(self._made)

    async def load(self) -> None:
        """Read the venue's table anew; known instruments are made anew with it."""
        info = await self._rest.read(read("/fapi/v1/exchangeInfo"), ExchangeInfo)
        if not info.symbols:
            raise DataError("the venue lists no contracts")
        self._infos = {s.symbol: s for s in info.symbols}
        self._rest.limits.adopt(info.rate_limits)
        self._loaded_ns = self._clock.now_ns()
        for symbol, old in list(self._made.items()):
            commission = CommissionRate(
                symbol=symbol,
                maker_commission_rate=format(old.maker_fee, "f"),
                taker_commission_rate=format(old.taker_fee, "f"),
            )
            if symbol in self._infos:
                self._made[symbol] = instrument_of(self._infos[symbol], old.tiers, commission)

    async def refresh(self) -> None:
        """Read the table anew when it is older than an hour; an unreachable venue keeps the old one."""
        if self._clock.now_ns() - self._loaded_ns > _HOUR_NS:
            try:
                await self.load()
            except AresError as error:
                _log.warning("contracts.not_refreshed", error=str(error))

    async def get(self, symbol: str) -> Instrument:
        """One instrument. Raises InvalidInput naming the nearest symbol; DataError for filters that cannot be."""
        if symbol in self._made:
            return self._made[symbol]
        async with self._lock:
            if not self._infos:
                await self.load()
            if symbol not in self._infos:
                raise unknown_name("symbol", symbol, self._infos)
            if symbol not in self._made:
                tiers, commission = await self._private(symbol)
                self._made[symbol] = instrument_of(self._infos[symbol], tiers, commission)
        return self._made[symbol]

    async def get_all(self, symbols: Iterable[str]) -> tuple[Instrument, ...]:
        """Several instruments."""
        return tuple([await self.get(symbol) for symbol in symbols])

    async def _private(self, symbol: str) -> tuple[tuple[MarginTier, ...], CommissionRate | None]:
        """Margin brackets and fee rates, which the venue tells only to its customers."""
        if not self._rest.has_keys:
            tiers = default_instrument(symbol).tiers if symbol in DEFAULT_SYMBOLS else DEFAULT_TIERS
            return tiers, None
        table = await self._rest.read_as(
            read("/fapi/v1/leverageBracket", signed=True, symbol=symbol), lambda body: _brackets(body, symbol)
        )
        commission = await self._rest.read(
            read("/fapi/v1/commissionRate", signed=True, symbol=symbol), CommissionRate
        )
        return tiers_of(table.brackets), commission


def _brackets(body: bytes, symbol: str) -> LeverageBrackets:
    """The answer is a list, or one object when a symbol was asked for: the venue does both."""
    if body.lstrip().startswith(b"{"):
        return decode(body, LeverageBrackets, "leverageBracket")
    for row in decode(body, list[LeverageBrackets], "leverageBracket"):
        if row.symbol == symbol:
            return row
    raise DataError(f"{symbol}: the venue sent no margin brackets", symbol=symbol)
