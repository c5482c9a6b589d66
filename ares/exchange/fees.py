"""Commissions in the quote asset, whatever they were paid in. A fee never keeps a fill from being told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Context, Decimal

from ares.errors import AresError
from ares.log import get_logger

__all__ = ["Fees"]

_log = get_logger("ares.exchange")
_WAIT = 2.0  # seconds that a fill may wait for the price of its fee
_REST = 5.0  # seconds without another try after a price could not be had
_STEP = Decimal("1e-8")
_WIDE = Context(prec=400)  # holds the product of any two numbers of the wire
_USUAL = {True: Decimal("0.0002"), False: Decimal("0.0005")}  # of the notional: makers, takers
_ONE = Decimal(1)

Value = Callable[[str, Decimal], Awaitable[Decimal]]


class Fees:
    """Values commissions at a fresh price; failing that at the last one known, failing that by the usual rate."""

    def __init__(self, value: Value) -> None:
        """value: an amount of an asset in the quote asset, by a fresh price."""
        self._value = value
        self._last: dict[str, Decimal] = {}  # price by asset
        self._rest_until: dict[str, float] = {}
        self.assumed = 0  # fees not valued by a fresh price so far

    async def of(self, asset: str, amount: Decimal, notional: Decimal, *, maker: bool) -> Decimal:
        """The commission in the quote asset, rounded to 1e-8 unless it was paid in it.

        A fee above the notional is taken for a wrong number. What is not valued by a fresh price is logged as
        `fee.assumed` with the price or the rate that was used.
        """
        if amount == 0:
            return amount
        price = await self._fresh(asset)
        fresh = price is not None
        if price is None:
            price = self._last.get(asset)
        if price is not None:
            fee = amount if price == _ONE else _WIDE.quantize(_WIDE.multiply(amount, price), _STEP)
            if abs(fee) <= notional:
                if not fresh:
                    self._assume(asset, amount, fee, price=price)
                return fee
        rate = _USUAL[maker]
        fee = _WIDE.quantize(_WIDE.multiply(notional, rate), _STEP).copy_sign(amount)
        self._assume(asset, amount, fee, rate=rate)
        return fee

    async def _fresh(self, asset: str) -> Decimal | None:
        now = asyncio.get_running_loop().time()
        if now < self._rest_until.get(asset, 0.0):
            return None
        try:
            async with asyncio.timeout(_WAIT):
                price = await self._value(asset, _ONE)
        except (AresError, ArithmeticError, TimeoutError) as error:
            _log.warning("fee.price_not_read", asset=asset, error=f"{type(error).__name__}: {error}"[:120])
            self._rest_until[asset] = now + _REST
            return None
        self._last[asset] = price
        return price

    def _assume(self, asset: str, amount: Decimal, fee: Decimal, **by: Decimal) -> None:
        self.assumed += 1
        facts = {name: str(value) for name, value in by.items()}
        _log.warning("fee.assumed", asset=asset, amount=str(amount), fee=str(fee), **facts)
