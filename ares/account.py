"""Positions and the account as a person reads them: `Decimal` views over the integer ledger."""

from __future__ import annotations

from decimal import Decimal

from attrs import frozen

from ares.instruments import Side

__all__ = ["Account", "Position"]


@frozen(kw_only=True)
class Position:
    """What is held of one symbol, one-way mode. `quantity` is signed: negative is short, 0 is flat."""

    symbol: str
    quantity: Decimal  # base, signed
    entry_price: Decimal  # quote per base, average; 0 when flat
    mark_price: Decimal  # quote per base
    leverage: int
    margin: Decimal  # quote, isolated margin set aside; 0 when flat
    maintenance_margin: Decimal  # quote
    unrealised: Decimal  # quote, at the mark price
    realised: Decimal  # quote, since the account began, before fees and funding
    liquidation_price: Decimal | None  # quote per base; None when flat or out of reach
    updated_ns: int = 0

    @property
    def side(self) -> Side | None:
        """Long or short; None when flat."""
        if self.quantity == 0:
            return None
        return Side.BUY if self.quantity > 0 else Side.SELL

    @property
    def notional(self) -> Decimal:
        """Absolute value at the mark price, quote."""
        return abs(self.quantity) * self.mark_price


@frozen(kw_only=True)
class Account:
    """Money and positions of one account, in its one quote asset."""

    asset: str
    wallet: Decimal  # quote: start + realised - fees + funding
    start: Decimal  # quote, what the account began with
    realised: Decimal  # quote
    fees: Decimal  # quote, paid; positive is a cost
    funding: Decimal  # quote, received; negative is a cost
    unrealised: Decimal  # quote
    margin: Decimal  # quote, isolated margin of all positions
    positions: tuple[Position, ...] = ()  # those not flat
    updated_ns: int = 0

    @property
    def equity(self) -> Decimal:
        """Wallet plus unrealised profit, quote."""
        return self.wallet + self.unrealised

    @property
    def available(self) -> Decimal:
        """What new margin may take from, quote; never below 0. Isolated losses count against their own margin."""
        return max(Decimal(0), self.wallet - self.margin)

    def position(self, symbol: str) -> Position | None:
        """The open position in `symbol`, None when flat."""
        return next((p for p in self.positions if p.symbol == symbol), None)
