"""What the simulated venue refuses, with the code and the words a real one would use."""

from __future__ import annotations

from decimal import Decimal

from ares.errors import Rejected
from ares.instruments import Instrument
from ares.orders import Order, OrderRequest, OrderType

__all__ = ["check_amendment", "check_filters", "check_level", "refuse"]

_WORDS = {
    -1111: "precision is over the maximum defined for this asset",
    -1121: "invalid symbol",
    -2011: "unknown order sent",
    -2013: "order does not exist",
    -2019: "margin is insufficient",
    -2021: "order would immediately trigger",
    -2022: "reduce-only order is rejected",
    -2027: "exceeded the maximum allowable position at current leverage",
    -4002: "price greater than max price",
    -4004: "quantity less than min quantity",
    -4005: "quantity greater than max quantity",
    -4013: "price less than min price",
    -4014: "price not increased by tick size",
    -4016: "limit price above the price band",
    -4022: "market is not open: there is no price yet",
    -4024: "limit price below the price band",
    -4028: "leverage is not valid",
    -4047: "margin type cannot be changed while there are open orders or positions",
    -4116: "client order id is duplicated",
    -4140: "invalid symbol status for opening position",
    -4161: "leverage reduction is not supported in isolated margin mode with open positions",
    -4183: "limit price too far above the trigger",
    -4184: "limit price too far below the trigger",
    -4164: "order's notional must be no smaller than the minimum (unless reduce only)",
    -5025: "only limit orders can be amended",
    -5027: "the amendment changes nothing",
    -5022: "post-only order would take",
}


def refuse(code: int, **facts: object) -> Rejected:
    """The refusal with this code; the facts are in its message too."""
    told = ", ".join(f"{name}={value}" for name, value in facts.items())
    return Rejected(f"{_WORDS[code]} ({code}){': ' if told else ''}{told}", code=code, **facts)


def check_filters(request: OrderRequest, instrument: Instrument, reference: Decimal) -> None:
    """Raise Rejected unless the order passes every filter of `instrument`.

    reference: the mark price (quote per base), for the notional of market orders and for the price band.
    """
    q, price, stop = request.quantity, request.price, request.stop_price
    most = instrument.max_quantity if request.order_type is OrderType.LIMIT else instrument.max_market_quantity
    if not instrument.trading:
        raise refuse(-4140, symbol=instrument.symbol)
    if q % instrument.lot_step != 0:
        raise refuse(-1111, quantity=q, lot_step=instrument.lot_step)
    if q < instrument.min_quantity:
        raise refuse(-4004, quantity=q, least=instrument.min_quantity)
    if q > most:
        raise refuse(-4005, quantity=q, most=most)
    for name, value in (("price", price), ("stop_price", stop)):
        if value is not None:
            check_level(name, value, instrument)
    notional = q * (price if price is not None else reference)
    if not request.reduce_only and notional < instrument.min_notional:
        raise refuse(-4164, notional=notional, least=instrument.min_notional)
    if price is not None and request.side.sign > 0 and price > reference * instrument.band_up:
        raise refuse(-4016, price=price, most=reference * instrument.band_up)
    if price is not None and request.side.sign < 0 and price < reference * instrument.band_down:
        raise refuse(-4024, price=price, least=reference * instrument.band_down)


def check_level(name: str, value: Decimal, instrument: Instrument) -> None:
    """Raise Rejected unless a price or trigger of this name lies on the grid and within the instrument's prices."""
    if value % instrument.tick_size != 0:
        raise refuse(-4014, **{name: value}, tick_size=instrument.tick_size)
    if value < instrument.min_price:
        raise refuse(-4013, **{name: value}, least=instrument.min_price)
    if instrument.max_price is not None and value > instrument.max_price:
        raise refuse(-4002, **{name: value}, most=instrument.max_price)


def check_amendment(
    order: Order, quantity: Decimal, price: Decimal, instrument: Instrument, reference: Decimal
) -> None:
    """Raise Rejected unless the open order may have this size and price instead of its own."""
    if order.order_type is not OrderType.LIMIT:
        raise refuse(-5025, order_type=order.order_type.value)
    if (quantity, price) == (order.quantity, order.price):
        raise refuse(-5027, quantity=quantity, price=price)
    wish = OrderRequest(
        symbol=order.symbol,
        side=order.side,
        order_type=OrderType.LIMIT,
        quantity=quantity,
        price=price,
        reduce_only=order.reduce_only,
    )
    check_filters(wish, instrument, reference)
