"""What became of a command, told to the desk as an event. One copy of the rule for backtest, paper and live."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from ares.errors import AresError, OutcomeUnknown, Rejected
from ares.events import Intent, OrderUpdate
from ares.instruments import Side
from ares.orders import Order, OrderStatus, OrderType, TimeInForce

__all__ = ["absent", "answered", "failed"]

T = TypeVar("T")


async def answered(asked: Awaitable[T]) -> T:
    """What an exchange answers. An error outside the tree says nothing of what became of the request.

    Raises: OutcomeUnknown for such an error, any other AresError as it comes.
    """
    try:
        return await asked
    except AresError:
        raise
    except Exception as error:  # an exchange is anybody's code
        raise OutcomeUnknown(f"{type(error).__name__}: {error}") from error


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


def absent(intent: Intent, client_id: str, known: Order | None, now_ns: int) -> OrderUpdate:
    """The report for an order that the venue denies. known: as it was last reported; None: it never was.

    One that had been there has ended; one that never was has been refused.
    """
    if known is None or known.status in (OrderStatus.UNKNOWN, OrderStatus.PENDING) or known.status.terminal:
        never = Rejected("the venue has no such order", client_order_id=client_id)
        return failed(intent, client_id, never, now_ns)
    ended = known.moved(OrderStatus.EXPIRED, updated_ns=max(now_ns, known.updated_ns), reason="the venue has lost it")
    return OrderUpdate(ts_event=ended.updated_ns, ts_seen=now_ns, order=ended)
