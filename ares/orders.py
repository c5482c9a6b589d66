"""Orders: what is wished (`OrderRequest`), what reached the venue (`Order`), what was traded (`Fill`)."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from typing import Any

from attrs import evolve, field, frozen
from attrs.validators import gt

from ares.errors import InvalidInput, unknown_name
from ares.instruments import Side

__all__ = ["NEXT_STATUS", "Fill", "Order", "OrderRequest", "OrderStatus", "OrderType", "TimeInForce"]


class OrderType(str, Enum):
    """How an order becomes a trade. The two conditional ones rest until the price touches `stop_price`."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP_MARKET = "STOP_MARKET"
    TAKE_PROFIT_MARKET = "TAKE_PROFIT_MARKET"

    @property
    def conditional(self) -> bool:
        """True for orders that wait for a trigger price."""
        return self in (OrderType.STOP_MARKET, OrderType.TAKE_PROFIT_MARKET)

    @classmethod
    def of(cls, value: OrderType | str) -> OrderType:
        """An OrderType from itself or its name. Raises InvalidInput."""
        try:
            return value if isinstance(value, OrderType) else cls(str(value).upper())
        except ValueError:
            raise unknown_name("order type", str(value), [t.value for t in cls]) from None


class TimeInForce(str, Enum):
    """How long a limit order lives. GTX: post only, never takes."""

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    GTX = "GTX"

    @classmethod
    def of(cls, value: TimeInForce | str) -> TimeInForce:
        """A TimeInForce from itself or its name. Raises InvalidInput."""
        try:
            return value if isinstance(value, TimeInForce) else cls(str(value).upper())
        except ValueError:
            raise unknown_name("time in force", str(value), [t.value for t in cls]) from None


def _time_in_force(value: TimeInForce | str | None) -> TimeInForce | None:
    return None if value is None else TimeInForce.of(value)


def _side(value: Side | str) -> Side:
    return Side.of(value)


def _order_type(value: OrderType | str) -> OrderType:
    return OrderType.of(value)


class OrderStatus(str, Enum):
    """Where an order stands. `UNKNOWN`: it was sent and nobody can say yet whether it arrived."""

    PENDING = "PENDING"
    UNKNOWN = "UNKNOWN"
    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"

    @property
    def terminal(self) -> bool:
        """True when no further status can follow; a late fill is booked all the same."""
        return not NEXT_STATUS[self]

    @property
    def open(self) -> bool:
        """True while the order may still trade at the venue."""
        return not self.terminal


_ENDS = frozenset({OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED})
NEXT_STATUS: dict[OrderStatus, frozenset[OrderStatus]] = {
    OrderStatus.PENDING: frozenset(OrderStatus) - {OrderStatus.PENDING},
    OrderStatus.UNKNOWN: frozenset(OrderStatus) - {OrderStatus.PENDING, OrderStatus.UNKNOWN},
    OrderStatus.NEW: _ENDS | {OrderStatus.PARTIALLY_FILLED, OrderStatus.REJECTED},
    OrderStatus.PARTIALLY_FILLED: _ENDS,
    OrderStatus.FILLED: frozenset(),
    OrderStatus.CANCELED: frozenset(),
    OrderStatus.EXPIRED: frozenset(),
    OrderStatus.REJECTED: frozenset(),
}
"""The order-state table: which status may follow which. State moves forward only."""


def _positive_or_none(_: object, attribute: object, value: Decimal | None) -> None:
    if value is not None and not value > 0:
        raise InvalidInput(f"{getattr(attribute, 'name', 'value')} must be positive, not {value}")


@frozen(kw_only=True)
class OrderRequest:
    """A wish; only an `Order` has reached the venue.

    Raises: InvalidInput when the fields do not fit the type (a limit order without price, a stop without trigger).
    """

    symbol: str
    side: Side = field(converter=_side)
    order_type: OrderType = field(converter=_order_type)
    quantity: Decimal = field(validator=gt(Decimal(0)))  # base asset
    price: Decimal | None = field(default=None, validator=_positive_or_none)  # quote per base; limit orders only
    stop_price: Decimal | None = field(default=None, validator=_positive_or_none)  # trigger; conditional orders only
    reduce_only: bool = False
    time_in_force: TimeInForce | None = field(default=None, converter=_time_in_force)  # None: GTC for limit orders
    client_order_id: str | None = None  # None: the exchange makes one

    def __attrs_post_init__(self) -> None:
        limit = self.order_type is OrderType.LIMIT
        if limit != (self.price is not None):
            raise InvalidInput(f"a {self.order_type.value} order {'needs a' if limit else 'takes no'} price")
        if self.order_type.conditional != (self.stop_price is not None):
            needs = "needs a" if self.order_type.conditional else "takes no"
            raise InvalidInput(f"a {self.order_type.value} order {needs} stop_price")


@frozen(kw_only=True)
class Order:
    """An order the venue knows. `filled` counts what has traded so far."""

    order_id: str
    client_order_id: str
    symbol: str
    side: Side
    order_type: OrderType
    quantity: Decimal  # base
    price: Decimal | None = None  # quote per base; limit orders
    stop_price: Decimal | None = None  # trigger; conditional orders
    reduce_only: bool = False
    time_in_force: TimeInForce = TimeInForce.GTC
    status: OrderStatus = OrderStatus.NEW
    filled: Decimal = Decimal(0)  # base
    average_price: Decimal | None = None  # quote per base of the filled part; None before the first fill
    created_ns: int = 0
    updated_ns: int = 0
    reason: str = ""  # why it was rejected, expired or cancelled, in the venue's words

    @property
    def remaining(self) -> Decimal:
        """Quantity still to trade, base."""
        return self.quantity - self.filled

    def moved(self, status: OrderStatus, **changes: Any) -> Order:
        """This order one step on. Raises InvalidInput when the order-state table forbids the step."""
        if status is not self.status and status not in NEXT_STATUS[self.status]:
            raise InvalidInput(f"order {self.order_id} cannot go from {self.status.value} to {status.value}")
        return evolve(self, status=status, **changes)


@frozen(kw_only=True)
class Fill:
    """One trade of ours. Its identity is (symbol, trade_id)."""

    symbol: str
    trade_id: str
    order_id: str
    client_order_id: str
    side: Side
    price: Decimal  # quote per base
    quantity: Decimal = field(validator=gt(Decimal(0)))  # base
    fee: Decimal  # quote, valued when booked; negative is a rebate
    maker: bool
    ts_ns: int
    liquidation: bool = False  # the venue closed the position, not we
    fee_asset: str = ""  # what the fee was taken from, when that was not the quote asset
