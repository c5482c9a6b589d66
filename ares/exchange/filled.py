"""Waiting for one order: asked again and again, ever less often, until it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ares.errors import Rejected, Retryable
from ares.exchange.wire.refusals import NO_SUCH_ORDER
from ares.orders import Order, OrderStatus

__all__ = ["until_filled"]


async def until_filled(order: Order, timeout: float | None, look: Callable[[Order], Awaitable[Order]]) -> None:
    """Return once the order has filled. look: reads its present state.

    Raises: Rejected when it ends unfilled; Retryable when `timeout` seconds pass before.
    """
    loop = asyncio.get_running_loop()
    deadline = None if timeout is None else loop.time() + timeout
    pause = 0.05
    while True:
        try:
            now = await look(order)
        except Rejected as error:  # so soon after sending, "no such order" is no proof
            if error.code not in NO_SUCH_ORDER:
                raise
            now = order
        if now.status is OrderStatus.FILLED:
            return
        if now.status.terminal:
            raise Rejected(
                f"order {now.order_id} ended {now.status.value}: {now.reason}",
                order_id=now.order_id,
                status=now.status.value,
            )
        if deadline is not None and loop.time() + pause > deadline:
            raise Retryable(f"order {now.order_id} has not filled in {timeout:g} s", order_id=now.order_id)
        await asyncio.sleep(pause)
        pause = min(1.0, pause * 1.6)
