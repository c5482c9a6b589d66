"""From what a person writes to a checked order: rounding to the grid, and every filter before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from ares.errors import InvalidInput, Rejected
from ares.instruments import Instrument, Side
from ares.orders import OrderRequest, OrderType, TimeInForce

__all__ = ["Number", "check", "wish"]

Number = Decimal | float | str


def wish(
    instrument: Instrument,
    side: Side | str,
    order_type: OrderType | str,
    quantity: Number,
    *,
    price: Number | None,
    stop_price: Number | None,
    reduce_only: bool,
    time_in_force: TimeInForce | str | None,
    client_order_id: str,
) -> OrderRequest:
    """The order that was meant. Floats are rounded to the grid: the quantity down, a limit price to its passive side,
    a stop away from harm. Decimals and text are taken as they stand.

    Raises: InvalidInput for what no venue would understand; Rejected for a size that rounds to nothing.
    """
    way, kind = Side.of(side), OrderType.of(order_type)
    market = kind is not OrderType.LIMIT
    size = _exact(quantity, "quantity", lambda q: instrument.quantity(q, market=market))
    if not size > 0:
        raise Rejected(
            f"{instrument.symbol}: quantity {quantity} is less than {instrument.min_quantity}",
            code=-4004,
            quantity=str(quantity),
        )
    return OrderRequest(
        symbol=instrument.symbol,
        side=way,
        order_type=kind,
        quantity=size,
        price=_level(price, "price", lambda p: instrument.price(p, "down" if way is Side.BUY else "up")),
        stop_price=_level(stop_price, "stop_price", lambda p: instrument.stop_price(p, way)),
        reduce_only=reduce_only,
        time_in_force=None if time_in_force is None else TimeInForce.of(time_in_force),
        client_order_id=client_order_id,
    )


def check(request: OrderRequest, instrument: Instrument, mark: Decimal | None) -> None:
    """Refuse an order that breaks a filter, before it is sent. mark: None leaves out what depends on it.

    Raises: Rejected, with every broken filter in words.
    """
    reference = mark if mark is not None else request.price or request.stop_price
    broken = instrument.violations(
        quantity=request.quantity,
        market=request.order_type is not OrderType.LIMIT,
        reduce_only=request.reduce_only or reference is None,
        reference=reference if reference is not None else Decimal(1),
        price=request.price if mark is not None else None,
        stop_price=request.stop_price,
        side=request.side,
    )
    if broken:
        raise Rejected(
            f"{request.symbol}: not sent, it breaks the venue's filters: {'; '.join(broken)}",
            symbol=request.symbol,
            broken=list(broken),
        )


def _exact(value: Number, name: str, rounded: Callable[[float], Decimal]) -> Decimal:
    if isinstance(value, float):
        return rounded(value)
    try:
        exact = value if isinstance(value, Decimal) else Decimal(value)
    except (InvalidOperation, TypeError, ValueError):
        raise InvalidInput(f"{name} {value!r} is not a number") from None
    if not exact.is_finite():
        raise InvalidInput(f"{name} must be a finite number, not {value}")
    return exact


def _level(value: Number | None, name: str, rounded: Callable[[float], Decimal]) -> Decimal | None:
    return None if value is None else _exact(value, name, rounded)
