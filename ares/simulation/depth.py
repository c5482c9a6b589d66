"""How much a made-up book shows, and how takers eat into it."""

from __future__ import annotations

from decimal import Decimal

from attrs import field, frozen
from attrs.validators import ge, gt

from ares.instruments import Instrument

__all__ = ["Depth"]


@frozen(kw_only=True)
class Depth:
    """A book with so much at its best price, twice as much a tick beyond it, three times as much after that."""

    best: Decimal = field(default=Decimal(20_000), validator=gt(Decimal(0)))  # quote, at the best price
    levels: int = field(default=20, validator=ge(1))  # on each side

    def lots(self, instrument: Instrument, price: Decimal) -> int:
        """What stands at the best price; `price` is near it, quote per base."""
        size = max(instrument.min_quantity, instrument.quantity(self.best / price, market=False)) or instrument.lot_step
        return instrument.lots(size)
