"""The terms of an order at the local venue, beyond what the matching engine knows of it."""

from __future__ import annotations

from decimal import Decimal

from attrs import frozen

from ares.orders import OrderRequest

__all__ = ["Condition", "Wish"]


@frozen(kw_only=True)
class Condition:
    """When a conditional order becomes an order of the matching engine."""

    kind: str  # STOP, STOP_MARKET, TAKE_PROFIT, TAKE_PROFIT_MARKET or TRAILING_STOP_MARKET
    trigger: Decimal = Decimal(0)  # quote per base; 0: it trails
    activate: Decimal | None = None  # quote per base: from where it trails; None: from the price at which it was placed
    callback: Decimal = Decimal(0)  # percent that a trailing one lets the price come back
    by_mark: bool = False  # it looks at the mark price, not at the last price
    protected: bool = False  # it does not trigger while mark and last price lie too far apart
    closing: bool = False  # it closes all that is held then

    @property
    def trails(self) -> bool:
        """True for a trailing stop."""
        return self.kind == "TRAILING_STOP_MARKET"


@frozen(kw_only=True)
class Wish:
    """An order as a request describes it."""

    request: OrderRequest  # market or limit; of a conditional order: what the engine gets once it triggers
    own_id: str | None = None
    good_till_ms: int = 0  # when the venue takes it back; 0: never
    condition: Condition | None = None
