"""A resting order is changed where it lies, keeps its ids, and is told as changed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve

from ares.errors import InvalidInput, OutcomeUnknown, Rejected
from ares.events import OrderUpdate, VenueSnapshot
from ares.orders import Order, OrderStatus

from .conftest import Heard, Make, in_process

S = "ETHUSDT"


async def resting(exchange: Any, away: float = 0.97) -> Any:
    price = float((await exchange.get_ticker(S)).last) * away
    return await exchange.create_order(S, "BUY", "LIMIT", "0.100", price=price, client_order_id="entry")


async def test_quantity_and_price_change_and_the_ids_stay(make_venue: Make, road: Any) -> None:
    async with road(make_venue(speed=1.0)) as exchange:
        heard = Heard(exchange.stream_account())
        await heard.until(lambda: heard.of(VenueSnapshot))
        order = await resting(exchange)
        assert order.price is not None
        lower = order.price - Decimal("5.00")
        changed = await exchange.amend_order(order, quantity="0.150", price=lower)
        again = await exchange.amend_order(changed, quantity="0.200")  # the price stays
        found = await exchange.get_order(S, order.order_id)
        assert (again.price, again.quantity) == (found.price, found.quantity) == (lower, Decimal("0.200"))
        assert (found.order_id, found.client_order_id, found.status) == (order.order_id, "entry", OrderStatus.NEW)
        assert len(await exchange.get_open_orders(S)) == 1
        await heard.until(lambda: len(heard.of(OrderUpdate)) == 3)
        assert [float(e.order.quantity) for e in heard.of(OrderUpdate)] == [0.1, 0.15, 0.2]
        await exchange.cancel_order(S, order.order_id)


async def test_an_order_that_is_so_already_is_no_error(make_venue: Make) -> None:
    async with in_process(make_venue(speed=1.0)) as exchange:
        order = await resting(exchange)
        same = await exchange.amend_order(order)
        assert (same.order_id, same.price, same.quantity) == (order.order_id, order.price, order.quantity)


async def test_what_breaks_a_filter_is_not_sent_and_the_order_stays(make_venue: Make) -> None:
    async with in_process(make_venue(speed=1.0)) as exchange:
        order = await resting(exchange)
        asked = len(exchange._rest._wire._transport.requests)
        with pytest.raises(Rejected, match="not sent"):
            await exchange.amend_order(order, price="1000.001")
        assert len(exchange._rest._wire._transport.requests) == asked
        assert (await exchange.get_order(S, order.order_id)).price == order.price


async def test_only_limit_orders_can_be_changed_and_none_that_is_gone(make_venue: Make) -> None:
    async with in_process(make_venue(speed=1.0)) as exchange:
        await exchange.wait_filled(await exchange.create_order(S, "BUY", "MARKET", "0.5"))
        price = float((await exchange.get_ticker(S)).last) * 0.9
        stop = await exchange.create_order(S, "SELL", "STOP_MARKET", "0.5", stop_price=price, reduce_only=True)
        with pytest.raises(InvalidInput, match="only limit orders"):
            await exchange.amend_order(stop, quantity="0.4")
        order = await resting(exchange)
        await exchange.cancel_order(S, order.order_id)
        with pytest.raises(Rejected):
            await exchange.amend_order(order, quantity="0.2")


async def test_a_lost_answer_is_unknown_and_the_change_is_sent_once(make_venue: Make) -> None:
    async with in_process(make_venue("unknown_503 at PUT /fapi/v1/order count 9", speed=1.0)) as exchange:
        order = await resting(exchange)
        with pytest.raises(OutcomeUnknown):
            await exchange.amend_order(order, quantity="0.2")
        assert (await exchange.get_order(S, order.order_id)).quantity == Decimal("0.2")
        assert [r.method for r in exchange._rest._wire._transport.requests].count("PUT") == 1


async def test_reports_of_one_millisecond_are_told_once_each_and_older_ones_never(make_venue: Make) -> None:
    async with in_process(make_venue()) as exchange:
        new = Order(
            order_id="7", client_order_id="x", symbol=S, side="BUY", order_type="LIMIT", quantity=Decimal(3),
            price=Decimal(2000), status=OrderStatus.NEW, created_ns=5, updated_ns=5,
        )  # fmt: skip
        amended = evolve(new, price=Decimal(1999))
        parts = [evolve(amended, status=OrderStatus.PARTIALLY_FILLED, filled=Decimal(n)) for n in (1, 2)]
        done = evolve(amended, status=OrderStatus.FILLED, filled=Decimal(3), updated_ns=6)
        stream = exchange.stream_account()
        for order in (new, new, amended, amended, parts[0], parts[1], parts[0], amended, done, parts[1], done):
            stream._tell_order(order)
        told = [event.order for event in stream._events if isinstance(event, OrderUpdate)]
        assert told == [new, amended, *parts, done]
