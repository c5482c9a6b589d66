"""Orders of the matching engine at the local venue: placing, amending, cancelling, and what is told of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ares.errors import Rejected
from ares.exchange.wire.account import Countdown, Reply
from ares.exchange.wire.numbers import MS
from ares.orders import Order
from ares.simulation.refusals import check_filters
from ares.simulation.resting import order_of
from ares.simulation.server.asked import asked_rows, decimal_of, is_true, limit_of, symbol_of
from ares.simulation.server.calls import Call
from ares.simulation.server.limits import MOST_ORDERS
from ares.simulation.server.local_venue import LocalVenue
from ares.simulation.server.reading import CONDITIONAL, engine_wish
from ares.simulation.server.words import worded

_MOST_PLACED, _MOST_CANCELLED = 5, 10  # in one batch


def new_order(venue: LocalVenue, call: Call) -> Any:
    kind = call.need("type").upper()
    if kind in CONDITIONAL:
        raise Rejected(
            "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.", code=-4120
        )
    return _engine_order(venue, call)


def _engine_order(venue: LocalVenue, call: Call) -> Any:
    wish, trader = engine_wish(venue, call), call.account
    if len(trader.venue.open_orders(wish.request.symbol)) >= MOST_ORDERS:
        raise Rejected("Reach max open order limit.", code=-2025)
    order = trader.place(wish)
    full = call.params.get("newOrderRespType", "ACK").upper() == "RESULT"
    return trader.order_report(trader.find(order.symbol, order.order_id, None) if full else order, full=full)


def test_order(venue: LocalVenue, call: Call) -> Any:
    """Checked like an order and not placed; the answer is that of an order of no number."""
    kind, trader = call.need("type").upper(), call.account
    if kind in CONDITIONAL:
        raise Rejected("Order type not supported for this endpoint.", code=-4120)
    wish = engine_wish(venue, call)
    instrument = venue.instruments[wish.request.symbol]
    check_filters(wish.request, instrument, instrument.price(venue.market.symbols[instrument.symbol].mark))
    order = order_of(wish.request, "0", wish.own_id or "", call.now_ns)
    answer: dict[str, Any] = msgspec.to_builtins(trader.order_report(order, full=True))
    more = {"timeInForce": "GTD", "goodTillDate": wish.good_till_ms} if wish.good_till_ms else {}
    return {**answer, "cumQty": "0", **more}


def amend_order(venue: LocalVenue, call: Call) -> Any:
    """PUT: another size and price for an open limit order, which then stands behind all others."""
    order = _found(venue, call)
    side, quantity, price = call.need("side").upper(), decimal_of(call, "quantity"), decimal_of(call, "price")
    if side != order.side.value:
        raise Rejected("Invalid side.", code=-1117)
    if not quantity or not price:
        name = "price" if quantity else "quantity"
        raise Rejected(f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.", code=-1102)
    if is_true(call, "reduceOnly") and not order.reduce_only:
        raise Rejected("The amended order is reduce only and the original is not.", code=-5047)
    if not order.status.open:
        raise Rejected("Order does not exist.", code=-2013)
    number = call.number("modifyId")
    done = call.account.amend(order, quantity, price, number)
    answer: dict[str, Any] = msgspec.to_builtins(call.account.order_report(done, full=False))
    return {**answer, "pair": order.symbol, **({} if number is None else {"modifyId": number})}


def amendments(venue: LocalVenue, call: Call) -> Any:
    """What was changed of the symbol's orders, or of one, newest first."""
    symbol, number = symbol_of(venue, call), call.number("orderId")
    own_id, start, end = call.params.get("origClientOrderId"), call.number("startTime"), call.number("endTime")
    rows = [
        row
        for row in reversed(call.account.amendments)
        if row["symbol"] == symbol
        and (number is None or row["orderId"] == number)
        and (not own_id or row["clientOrderId"] == own_id)
        and (start is None or row["time"] >= start)
        and (end is None or row["time"] <= end)
    ]
    return rows[: limit_of(call, 50, 100)]


def force_orders(venue: LocalVenue, call: Call) -> Any:
    """The account's liquidations; nobody is deleveraged here."""
    symbol, kind = call.params.get("symbol"), call.params.get("autoCloseType")
    start, end = call.number("startTime"), call.number("endTime")
    rows = [
        row
        for row in call.account.forced
        if kind != "ADL"
        and symbol in (None, "", row["symbol"])
        and (start is None or row["time"] >= start)
        and (end is None or row["time"] <= end)
    ]
    return rows[-limit_of(call, 50, 100) :]


def batch_orders(venue: LocalVenue, call: Call) -> Any:
    return _each(venue, call, _wishes(call), new_order)


def amend_batch(venue: LocalVenue, call: Call) -> Any:
    return _each(venue, call, _wishes(call), amend_order)


def cancel_batch(venue: LocalVenue, call: Call) -> Any:
    """DELETE by engine ids or by own ids; the names of the lists are read in any case, numbers also as bare digits."""
    given = {name.lower(): text for name, text in call.params.items()}
    by_id, by_own = _ids(given.get("orderidlist", "")), _ids(given.get("origclientorderidlist", ""))
    if not by_id and not by_own:
        raise Rejected("Param 'orderIdList' or 'origClientOrderIdList' must be sent.", code=-1102)
    if len(by_id or by_own) > _MOST_CANCELLED:
        raise Rejected("Too many orders in one cancel.", code=-4032)
    name, found = ("orderId", by_id) if by_id else ("origClientOrderId", by_own)
    wishes = [{"symbol": call.need("symbol"), name: number} for number in found]
    return _each(venue, call, wishes, cancel_order)


def _wishes(call: Call) -> list[dict[str, Any]]:
    try:
        wishes = msgspec.json.decode(call.need("batchOrders"), type=list[dict[str, Any]])
    except msgspec.MsgspecError:
        raise Rejected("Illegal characters found in parameter 'batchOrders'", code=-1100) from None
    if not 1 <= len(wishes) <= _MOST_PLACED:
        raise Rejected("Invalid batch size.", code=-4082)
    return wishes


def _ids(text: str) -> list[str]:
    try:
        return [str(n) for n in msgspec.json.decode(text or "[]", type=list[int | str])]
    except msgspec.MsgspecError:
        raise Rejected("Illegal characters found in a list of ids", code=-1100) from None


def _each(
    venue: LocalVenue, call: Call, wishes: list[dict[str, Any]], verb: Callable[[LocalVenue, Call], Any]
) -> list[Any]:
    """The answers to a batch, in its order; a refusal is one of them."""
    answers: list[Any] = []
    for one in wishes:
        params = {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in one.items()}
        try:
            answers.append(verb(venue, Call(call.method, call.path, params, call.now_ns, call.trader)))
        except Rejected as error:
            code, text = worded(error)
            answers.append({"code": code, "msg": text})
    return answers


def _found(venue: LocalVenue, call: Call) -> Order:
    symbol = symbol_of(venue, call)
    order_id, own_id = call.params.get("orderId") or None, call.params.get("origClientOrderId") or None
    if order_id is None and own_id is None:
        raise Rejected("Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!", code=-1102)
    return call.account.find(symbol, order_id, own_id if order_id is None else None)


def get_order(venue: LocalVenue, call: Call) -> Any:
    return call.account.order_report(_found(venue, call), full=True)


def open_order(venue: LocalVenue, call: Call) -> Any:
    order = _found(venue, call)
    if not order.status.open:
        raise Rejected("Order does not exist.", code=-2013)
    return call.account.order_report(order, full=True)


def cancel_order(venue: LocalVenue, call: Call) -> Any:
    try:
        order = _found(venue, call)
    except Rejected as error:
        raise Rejected("Unknown order sent.", code=-2011 if error.code == -2013 else error.code) from None
    return call.account.order_report(call.account.cancel(order), full=False)


def cancel_all(venue: LocalVenue, call: Call) -> Reply:
    for order in call.account.venue.open_orders(symbol_of(venue, call)):
        call.account.cancel(order)
    return Reply(code=200, msg="The operation of cancel all open order is done.")


def countdown_cancel_all(venue: LocalVenue, call: Call) -> Countdown:
    symbol, wait = symbol_of(venue, call), call.number("countdownTime")
    if wait is None or wait < 0:
        raise Rejected("Mandatory parameter 'countdownTime' was not sent, was empty/null, or malformed.", code=-1102)
    call.account.countdown(symbol, venue.clock.now_ns() + wait * MS if wait else None)
    return Countdown(symbol=symbol, countdown_time=str(wait))


def open_orders(venue: LocalVenue, call: Call) -> Any:
    orders = call.account.venue.open_orders(call.params.get("symbol") or None)
    return [call.account.order_report(o, full=True) for o in orders]


def all_orders(venue: LocalVenue, call: Call) -> Any:
    symbol = symbol_of(venue, call) if call.params.get("symbol") else None
    orders = asked_rows(call, call.account.all_orders(symbol), "orderId", lambda o: int(o.order_id))
    return [call.account.order_report(o, full=True) for o in orders]


def user_trades(venue: LocalVenue, call: Call) -> Any:
    symbol, first, start = symbol_of(venue, call), call.number("fromId"), call.number("startTime")
    end, order = call.number("endTime"), call.number("orderId")
    rows = [
        t
        for t in call.account.trades
        if t.symbol == symbol
        and (first is None or t.id >= first)
        and (start is None or t.time >= start)
        and (end is None or t.time <= end)
        and (order is None or t.order_id == order)
    ]
    limit = limit_of(call, 500)
    return rows[:limit] if first is not None or start is not None else rows[-limit:]
