"""Conditional orders are remembered as long as anything may be told of them, and not for ever."""

from __future__ import annotations

from decimal import Decimal

from ares.exchange.conditionals import Conditionals
from ares.instruments import Side
from ares.orders import Order, OrderStatus, OrderType


def stop(number: int, status: OrderStatus) -> Order:
    return Order(
        order_id=f"algo-{number}", client_order_id=f"ares1-X-{number}-0", symbol="X", side=Side.SELL,
        order_type=OrderType.STOP_MARKET, quantity=Decimal(1), stop_price=Decimal(1), reduce_only=True, status=status,
    )  # fmt: skip


def test_weeks_of_moved_stops_are_forgotten_and_the_newest_and_the_open_ones_are_not() -> None:
    known = Conditionals()
    known.saw(stop(0, OrderStatus.NEW))
    for number in range(1, 20_001):
        known.saw(stop(number, OrderStatus.NEW), "")
        known.saw(stop(number, OrderStatus.CANCELED), f"{number}")
    assert len(known._orders) <= 4_001 and len(known._by_engine_id) <= 4_001
    assert [o.order_id for o in known.open_of("X")] == ["algo-0"] and known.waiting("X")
    for number in range(19_001, 20_001):
        behind = known.behind(str(number), "another id")
        assert behind is not None and behind.order_id == f"algo-{number}"
