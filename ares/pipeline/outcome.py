"""What became of a command, told to the desk as an event. One copy of the rule for backtest, paper and live."""

from __future__ import annotations

from ares.errors import AresError, OutcomeUnknown
from ares.events import Intent, OrderUpdate
from ares.instruments import Side
from ares.orders import Order, OrderStatus, OrderType, TimeInForce

__all__ = ["failed"]


def failed(intent: Intent, client_id: str, error: AresError, now_ns: int) -> OrderUpdate:
    """The report for an order that could not be placed.

    An unknown outcome stays open until the venue has been asked; everything else is proof that nothing was executed.
    """
    request = intent.request
    status = OrderStatus.UNKNOWN if isinstance(error, OutcomeUnknown) else OrderStatus.REJECTED
    order = Order(
        order_id=f"none:{client_id}",
        client_order_id=client_id,
        symbol=request.symbol,
        side=Side.of(request.side),
        order_type=OrderType.of(request.order_type),
        quantity=request.quantity,
        price=request.price,
        stop_price=request.stop_price,
        reduce_only=request.reduce_only,
        time_in_force=request.time_in_force or TimeInForce.GTC,
        status=status,
        created_ns=now_ns,
        updated_ns=now_ns,
        reason=str(error),
    )
    return OrderUpdate(ts_event=now_ns, ts_seen=now_ns, order=order)
