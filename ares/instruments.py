"""What can be traded and by which rules: the one border between `Decimal`, float and integer ticks and lots.

Inside matching and ledger a price is an int64 number of ticks, a quantity an int64 number of lots and money an
int64 number of 1e-8 quote units. Only `Instrument` converts between these and the `Decimal` a person or venue reads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from enum import Enum
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from attrs import field, frozen
from attrs.validators import ge, gt

from ares.errors import InvalidInput, unknown_name

__all__ = ["MONEY_UNIT", "Instrument", "Interval", "MarginTier", "Side", "from_units", "to_units"]

MONEY_UNIT = Decimal("1e-8")  # quote asset; the ledger's integer unit
_MAX_TICKS = 10**12  # a price above this many ticks is cut to it
_ROUNDING = {"down": ROUND_FLOOR, "up": ROUND_CEILING, "nearest": ROUND_HALF_EVEN}


def to_units(amount: Decimal) -> int:
    """Whole 1e-8 units of a quote amount, a fee or a rate, rounded half to even."""
    return int(amount.scaleb(8).to_integral_value(ROUND_HALF_EVEN))


def from_units(units: int) -> Decimal:
    """The amount of `units`, with its eight decimals; zero is a plain 0."""
    return Decimal(units).scaleb(-8) if units else Decimal(0)


class Side(str, Enum):
    """The direction of an order or a position: `BUY` opens or is long, `SELL` opens or is short."""

    BUY = "BUY"
    SELL = "SELL"
    LONG = "BUY"
    SHORT = "SELL"

    @property
    def sign(self) -> int:
        """+1 for BUY (long), -1 for SELL (short)."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> Side:
        """The side that closes this one."""
        return Side.SELL if self is Side.BUY else Side.BUY

    @classmethod
    def of(cls, value: Side | str) -> Side:
        """A Side from itself or from text such as "buy", "SELL", "long". Raises InvalidInput."""
        if isinstance(value, Side):
            return value
        try:
            return cls.__members__[value.upper()]
        except (AttributeError, KeyError):
            raise unknown_name("side", value, cls.__members__) from None


_UNIT_NS = {
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
    "w": 604_800_000_000_000,
}
_VENUE_INTERVALS = ("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w")


@frozen(order=False)
class Interval:
    """The length of a kline, such as 1m, 4h, 1d. Bars open at multiples of it since the epoch (weeks on Mondays)."""

    name: str
    ns: int = field(validator=gt(0))  # nanoseconds

    @classmethod
    def parse(cls, text: Interval | str) -> Interval:
        """An Interval from "15m", "4h", "1d" ...; any whole number of s, m, h, d or w. Raises InvalidInput."""
        return text if isinstance(text, Interval) else _parse_interval(text)

    @classmethod
    def of_ns(cls, ns: int) -> Interval:
        """The Interval of `ns` nanoseconds, named in its largest whole unit. Raises InvalidInput."""
        for unit in ("w", "d", "h", "m", "s"):
            if ns > 0 and ns % _UNIT_NS[unit] == 0:
                return cls(f"{ns // _UNIT_NS[unit]}{unit}", ns)
        raise InvalidInput(f"{ns} ns is not a whole number of seconds", ns=ns)

    @property
    def per_year(self) -> float:
        """Bars in a year of 365 days: crypto never closes."""
        return 365 * 86_400e9 / self.ns

    def __str__(self) -> str:
        return self.name


@lru_cache(maxsize=256)
def _parse_interval(text: str) -> Interval:
    digits, unit = text[:-1], text[-1:]
    if digits.isascii() and digits.isdigit() and len(digits) < 6 and 0 < int(digits) <= 10_000 and unit in _UNIT_NS:
        return Interval(text, int(digits) * _UNIT_NS[unit])
    raise unknown_name("interval", text, _VENUE_INTERVALS)


@frozen(kw_only=True)
class MarginTier:
    """One bracket of maintenance margin: `mm = notional * rate - cum`, continuous across brackets."""

    floor: Decimal = field(validator=ge(Decimal(0)))  # quote; notional from here ...
    cap: Decimal = field(validator=gt(Decimal(0)))  # ... to below here
    rate: Decimal = field(validator=ge(Decimal(0)))  # maintenance margin rate, fraction of notional
    cum: Decimal  # quote; deducted so that margin is continuous at `floor`
    max_leverage: int = field(validator=ge(1))


def _check_tiers(_: object, __: object, tiers: tuple[MarginTier, ...]) -> None:
    for low, high in zip(tiers, tiers[1:], strict=False):
        if low.cap != high.floor or low.rate > high.rate:
            raise InvalidInput(f"margin tiers must adjoin and rise: {low} then {high}")
    if tiers and tiers[0].floor != 0:
        raise InvalidInput("the first margin tier must start at notional 0", floor=str(tiers[0].floor))


@lru_cache(maxsize=4096)  # not in the instrument: whoever stores it as data stores its fields and nothing else
def _unit_fraction(tick_size: Decimal, lot_step: Decimal) -> Fraction:
    return Fraction(tick_size) * Fraction(lot_step) / Fraction(MONEY_UNIT)


@frozen(kw_only=True)
class Instrument:
    """A perpetual future and its venue's filters. Rounding always yields an order the venue accepts, or zero."""

    symbol: str
    base_asset: str
    quote_asset: str
    tick_size: Decimal = field(validator=gt(Decimal(0)))  # quote per base
    lot_step: Decimal = field(validator=gt(Decimal(0)))  # base
    min_quantity: Decimal = field(validator=ge(Decimal(0)))  # base
    max_quantity: Decimal = field(validator=gt(Decimal(0)))  # base, limit orders
    max_market_quantity: Decimal = field(validator=gt(Decimal(0)))  # base, market and triggered orders
    min_notional: Decimal = field(validator=ge(Decimal(0)))  # quote; reduce-only orders are exempt
    min_price: Decimal = Decimal(0)  # quote per base; 0: the tick is the least
    max_price: Decimal | None = None  # quote per base; None: unbounded
    band_up: Decimal = Decimal("1.05")  # a BUY limit is at most mark * band_up
    band_down: Decimal = Decimal("0.95")  # a SELL limit is at least mark * band_down
    maker_fee: Decimal = Decimal("0.0002")  # fraction of notional
    taker_fee: Decimal = Decimal("0.0005")  # fraction of notional
    liquidation_fee: Decimal = Decimal("0.0125")  # fraction of notional
    funding_interval_hours: int = 8
    tiers: tuple[MarginTier, ...] = field(default=(), validator=_check_tiers)
    trading: bool = True  # False: the venue takes no new orders

    def __attrs_post_init__(self) -> None:
        if self.unit_fraction.denominator > 10**6 or self.unit_fraction.numerator > 10**12:
            raise InvalidInput(
                f"{self.symbol}: one tick times one lot must lie between 1e-14 and 1e4 quote",
                tick_size=str(self.tick_size),
                lot_step=str(self.lot_step),
            )

    @property
    def unit_fraction(self) -> Fraction:
        """Money units (1e-8 quote) that one tick times one lot is worth."""
        return _unit_fraction(self.tick_size, self.lot_step)

    @property
    def max_leverage(self) -> int:
        """The first tier's ceiling; 1 when no tiers are known."""
        return self.tiers[0].max_leverage if self.tiers else 1

    def quantity(self, value: Decimal | float, *, market: bool = True) -> Decimal:
        """`value` (base) floored to the lot step and capped; 0 when it is below the venue's least order.

        Never rounds up, so a size that passed the risk rules cannot grow. NaN and negative values give 0.
        """
        exact = _decimal(value)
        if exact is None or exact <= 0:
            return Decimal(0)
        capped = min(exact, self.max_market_quantity if market else self.max_quantity)
        floored = (capped // self.lot_step) * self.lot_step  # `//` is exact, `/` would round at 28 digits
        return Decimal(0) if floored < self.min_quantity else floored

    def order_quantity(
        self, value: Decimal | float, reference: Decimal | float, *, market: bool = True, reduce_only: bool = False
    ) -> Decimal:
        """`quantity(value)`, and 0 also when its notional at `reference` (quote per base) is below the venue's least.

        Reduce-only orders are exempt from the least notional.
        """
        size = self.quantity(value, market=market)
        price = _decimal(reference)
        if not reduce_only and (price is None or size * price < self.min_notional):
            return Decimal(0)
        return size

    def price(self, value: Decimal | float, rounding: Literal["down", "up", "nearest"] = "nearest") -> Decimal:
        """`value` (quote per base) on the tick grid and inside the price filter. Raises InvalidInput unless > 0."""
        exact = _decimal(value)
        if exact is None or exact <= 0:
            raise InvalidInput(f"{self.symbol}: a price must be a positive number, not {value}", value=str(value))
        bounded = min(exact, self.tick_size * _MAX_TICKS)
        ticks = (bounded / self.tick_size).to_integral_value(_ROUNDING[rounding])
        return self._on_grid(ticks) * self.tick_size

    def _on_grid(self, ticks: Decimal) -> Decimal:
        """`ticks` moved inside the price filter."""
        least = max(Decimal(1), (self.min_price / self.tick_size).to_integral_value(ROUND_CEILING))
        most = Decimal(_MAX_TICKS) if self.max_price is None else self.max_price // self.tick_size
        return min(max(ticks, least), most)

    def stop_price(self, value: Decimal | float, side: Side) -> Decimal:
        """A stop's trigger on the grid, rounded away from harm: a BUY stop up, a SELL stop down."""
        return self.price(value, "up" if side is Side.BUY else "down")

    def ticks(self, price: Decimal) -> int:
        """Whole ticks of `price`. Raises InvalidInput when it is off the grid."""
        return _whole(price, self.tick_size, f"{self.symbol} price")

    def lots(self, quantity: Decimal) -> int:
        """Whole lots of `quantity` (may be negative for a short). Raises InvalidInput when it is off the grid."""
        return _whole(quantity, self.lot_step, f"{self.symbol} quantity")

    def from_ticks(self, ticks: int) -> Decimal:
        """The price of `ticks`, quote per base."""
        return ticks * self.tick_size

    def from_lots(self, lots: int) -> Decimal:
        """The quantity of `lots`, base."""
        return lots * self.lot_step

    def nearest_ticks(self, price: float) -> int:
        """Ticks of a recorded float price, nearest; at least 1."""
        return max(1, round(price / float(self.tick_size)))

    def tier(self, notional: Decimal) -> MarginTier:
        """The margin tier that holds `notional` (quote); the last one beyond the table. Raises without tiers."""
        if not self.tiers:
            raise InvalidInput(f"{self.symbol} has no margin tiers", symbol=self.symbol)
        return next((t for t in self.tiers if notional < t.cap), self.tiers[-1])

    def violations(
        self,
        *,
        quantity: Decimal,
        market: bool,
        reduce_only: bool,
        reference: Decimal,
        price: Decimal | None = None,
        stop_price: Decimal | None = None,
        side: Side | None = None,
    ) -> Sequence[str]:
        """Every filter that an order would break, in words; empty when the venue would accept it.

        reference: the price for the notional of a market order and for the price band (the mark price).
        """
        broken: list[str] = []
        top = self.max_market_quantity if market else self.max_quantity
        if not self.trading:
            broken.append("not trading")
        if quantity <= 0 or quantity < self.min_quantity or quantity > top or quantity % self.lot_step != 0:
            broken.append(f"quantity {quantity} outside [{self.min_quantity}, {top}] in steps of {self.lot_step}")
        for name, value in (("price", price), ("stop price", stop_price)):
            if value is not None and (value <= 0 or value < self.min_price or value % self.tick_size != 0):
                broken.append(f"{name} {value} off the grid of {self.tick_size}")
            if value is not None and self.max_price is not None and value > self.max_price:
                broken.append(f"{name} {value} above {self.max_price}")
        notional = quantity * (price if price is not None else reference)
        if not reduce_only and notional < self.min_notional:
            broken.append(f"notional {notional} below {self.min_notional}")
        if price is not None and side is Side.BUY and price > reference * self.band_up:
            broken.append(f"buy price {price} above the band {reference * self.band_up}")
        if price is not None and side is Side.SELL and price < reference * self.band_down:
            broken.append(f"sell price {price} below the band {reference * self.band_down}")
        return broken


def _decimal(value: Decimal | float) -> Decimal | None:
    """Exact Decimal of a finite number, by its shortest text for floats; None for NaN and infinities."""
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    return Decimal(repr(float(value))) if math.isfinite(value) else None


def _whole(value: Decimal, step: Decimal, what: str) -> int:
    count = value / step
    if count != count.to_integral_value():
        raise InvalidInput(f"{what} {value} is not a multiple of {step}", value=str(value), step=str(step))
    return int(count)
