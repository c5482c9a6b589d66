"""The custody of trades, by a property: whatever a lawful venue does, no position is left without protection.

A scenario is plain data, a list of operations with two numbers each. Hypothesis writes scenarios and shrinks the ones
that break a promise; those found so far stand as plain tests in `test_custody.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ares.events import MarkPrice, Purpose
from ares.instruments import Side
from ares.orders import OrderStatus
from ares.pipeline.execution import client_order_id
from tests.pipeline.custody_bench import (
    BY_HAND,
    LOT,
    ORDERS_OF_PEOPLE,
    PLANS,
    VERDICTS,
    WAITS,
    World,
    at_market,
)
from tests.pipeline.desk_bench import SECOND, SYMBOL

# ---------------------------------------------------------------- what can happen


def _accept(w: World, a: int, b: int) -> None:
    if found := w.at("under way"):
        w.accept(found[a % len(found)])


def _reject(w: World, a: int, b: int) -> None:
    if found := w.at("under way"):
        w.move(found[a % len(found)], OrderStatus.REJECTED)


def _lose(w: World, a: int, b: int) -> None:
    """The answer is lost, and whether the order arrived nobody knows."""
    if found := w.at("under way"):
        order = found[a % len(found)]
        w.mail.append(w.report(order, OrderStatus.UNKNOWN))
        if b % 2:
            w.accept(order)
        else:
            order.place = "absent"


def _deny(w: World, a: int, b: int) -> None:
    """The venue has been asked, and has no such order."""
    if found := w.at("absent"):
        w.move(found[a % len(found)], OrderStatus.REJECTED)


def _trade(w: World, a: int, b: int) -> None:
    if found := w.at("at the venue"):
        w.trade_order(found[a % len(found)], b)


def _expire(w: World, a: int, b: int) -> None:
    """The venue, or a person at its website, ends an order."""
    if found := w.at("at the venue"):
        w.move(found[a % len(found)], OrderStatus.CANCELED if b % 2 else OrderStatus.EXPIRED)


def _tell_again(w: World, a: int, b: int) -> None:
    """Somebody has read an order, and tells where it stands."""
    if found := w.at("at the venue", "ended"):
        order = found[a % len(found)]
        w.mail.append(w.report(order, order.status))


def _cancel(w: World, a: int, b: int) -> None:
    if w.cancels:
        w.do_cancel(w.cancels.pop(a % len(w.cancels)))


def _lose_cancel(w: World, a: int, b: int) -> None:
    if w.cancels:
        order = w.orders[w.cancels.pop(a % len(w.cancels))]
        if b % 2 and order.place in ("at the venue", "ended"):
            w.mail.append(w.report(order, order.status))


def _liquidate(w: World, a: int, b: int) -> None:
    """The venue closes the position, or a part of it."""
    if w.position:
        whole = b % 3 != 1
        quantity = abs(w.position) if whole else max(LOT, (abs(w.position) / 2).quantize(LOT))
        w.fill(Side.SELL if w.position > 0 else Side.BUY, quantity, "autoclose-1", liquidation=True)
        for order in w.at("at the venue") if whole else ():
            w.move(order, OrderStatus.EXPIRED)


def _foreign(w: World, a: int, b: int) -> None:
    """A person trades by hand."""
    w.fill(Side.SELL if a % 2 else Side.BUY, (Decimal("0.2"), Decimal(1), Decimal(3))[b % 3], BY_HAND)


def _repeat(w: World, a: int, b: int) -> None:
    """A market order is delivered to the venue twice."""
    found = [o for o in w.orders.values() if o.status is OrderStatus.FILLED and at_market(o) and not o.repeated]
    found = [o for o in found if o.purpose is Purpose.ENTRY or w.position * o.sign < 0]
    if found:
        order = found[a % len(found)]
        order.repeated = True
        request = order.submit.intent.request
        quantity = min(request.quantity, abs(w.position)) if request.reduce_only else request.quantity
        w.fill(request.side, quantity, client_order_id(order.intent_id, 1))


def _deliver(w: World, a: int, b: int) -> None:
    w.deliver(a, twice=b % 4 == 3)


def _deliver_all(w: World, a: int, b: int) -> None:
    w.deliver_all()


def _wait(w: World, a: int, b: int) -> None:
    w.advance(WAITS[a % len(WAITS)])


def _mark(w: World, a: int, b: int) -> None:
    w.price += 1.0
    w.bench.script.verdict = VERDICTS[b % len(VERDICTS)]
    w.tell(MarkPrice(ts_event=w.now, ts_seen=w.now, symbol=SYMBOL, price=w.price))


def _candle(w: World, a: int, b: int) -> None:
    w.bench.script.verdict = VERDICTS[b % len(VERDICTS)]
    w.candle()


def _person(w: World, a: int, b: int) -> None:
    w.person(ORDERS_OF_PEOPLE[a % len(ORDERS_OF_PEOPLE)])


def _snapshot(w: World, a: int, b: int) -> None:
    w.snapshot()


def _storm(w: World, a: int, b: int) -> None:
    """The venue refuses or ends whatever comes, at once: the desk must stop asking before time passes."""
    for _ in range(12):
        w.deliver_all()
        waiting = w.at("under way")
        if not waiting:
            return
        for order in waiting:
            if (a, b) != (0, 0) and (a + b) % 2:
                w.accept(order)
            if order.place != "ended":
                w.move(order, OrderStatus.EXPIRED if (a + b) % 2 else OrderStatus.REJECTED)
    raise AssertionError("orders are sent and refused without end, and no time passes")


def _siege(w: World, a: int, b: int) -> None:
    """Five minutes of storm: what is asked again is asked ever more slowly."""
    sent = w.submits
    until = w.now + 300 * SECOND
    while w.now < until:
        _storm(w, a, b)
        w.advance(max(1.0, min(30.0, (min(w.wakes.values(), default=until) - w.now) / SECOND)))
    assert w.submits - sent <= 60, "asked too often"


OPERATIONS: dict[str, Callable[[World, int, int], None]] = {
    function.__name__.strip("_"): function
    for function in (
        _accept,
        _reject,
        _lose,
        _deny,
        _trade,
        _expire,
        _tell_again,
        _cancel,
        _lose_cancel,
        _liquidate,
        _foreign,
        _repeat,
        _deliver,
        _deliver_all,
        _wait,
        _mark,
        _candle,
        _person,
        _snapshot,
        _storm,
        _siege,
    )
}

Scenario = list[tuple[str, int, int]]
OFTEN = (
    "accept",
    "accept",
    "trade",
    "trade",
    "trade",
    "deliver",
    "deliver",
    "deliver",
    "deliver_all",
    "cancel",
    "mark",
)
STEP = st.tuples(st.sampled_from((*OPERATIONS, *OFTEN)), st.integers(0, 8), st.integers(0, 8))


def play(plan: int, scenario: Scenario) -> World:
    """Have the desk enter a trade, and everything in the scenario happen; then let the venue be kind."""
    world = World(plan)
    world.candle()
    for name, a, b in scenario:
        OPERATIONS[name](world, a, b)
    world.calm()
    return world


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.integers(0, len(PLANS) - 1), st.lists(STEP, max_size=50))
def test_no_lawful_venue_leaves_a_position_to_itself(plan: int, scenario: Scenario) -> None:
    play(plan, scenario)
