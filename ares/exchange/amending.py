"""Changing a resting limit order in one request: no moment without it, but its place in the queue is lost."""

from __future__ import annotations

from decimal import Decimal

from ares.errors import InvalidInput, Rejected
from ares.exchange.rest import RestClient
from ares.exchange.wire.refusals import ALREADY_SO
from ares.exchange.wire.requests import amend_order, query_order
from ares.exchange.wire.trade import OrderReport, order_of
from ares.exchange.wishes import Number, check, wish
from ares.instruments import Instrument
from ares.orders import Order, OrderType

__all__ = ["amend"]


async def amend(
    rest: RestClient,
    instrument: Instrument,
    mark: Decimal | None,
    order: Order,
    quantity: Number | None,
    price: Number | None,
) -> Order:
    """Send the new quantity and price, once. mark: None leaves out the filters that depend on it.

    Raises: InvalidInput for any order but a limit order; whatever sending an order raises.
    """
    if order.order_type is not OrderType.LIMIT or order.price is None:
        raise InvalidInput(
            f"order {order.order_id} is a {order.order_type.value}: only limit orders can be changed; cancel it and"
            " place another",
            order_id=order.order_id,
        )
    request = wish(
        instrument,
        order.side,
        OrderType.LIMIT,
        order.quantity if quantity is None else quantity,
        price=order.price if price is None else price,
        stop_price=None,
        reduce_only=order.reduce_only,
        time_in_force=None,
        client_order_id=order.client_order_id,
    )
    check(request, instrument, mark)
    number = int(order.order_id)
    try:
        return order_of(await rest.call(amend_order(request, number), OrderReport))
    except Rejected as error:
        if error.code not in ALREADY_SO:
            raise
        return order_of(await rest.read(query_order(order.symbol, number, None), OrderReport))
