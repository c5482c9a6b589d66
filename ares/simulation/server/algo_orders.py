"""Requests about conditional orders of the algo service."""

from __future__ import annotations

from typing import Any

from ares.errors import Rejected
from ares.exchange.wire.account import Reply
from ares.exchange.wire.trade import AlgoAck
from ares.simulation.server.algo import Conditional
from ares.simulation.server.asked import asked_rows, symbol_of
from ares.simulation.server.calls import Call
from ares.simulation.server.limits import MOST_CONDITIONAL
from ares.simulation.server.local_venue import LocalVenue
from ares.simulation.server.reading import conditional_wish


def algo_order(venue: LocalVenue, call: Call) -> Any:
    wish, trader = conditional_wish(venue, call), call.account
    if len(trader.algo.waiting(wish.request.symbol)) >= MOST_CONDITIONAL:
        raise Rejected("Reach max stop order limit.", code=-4045)
    return trader.algo_report(trader.algo.place(wish))


def _found(call: Call) -> Conditional:
    algo_id, own_id = call.number("algoId"), call.params.get("clientAlgoId") or None
    if algo_id is None and own_id is None:
        raise Rejected("Param 'algoId' or 'clientAlgoId' must be sent, but both were empty/null!", code=-1102)
    return call.account.algo.find(algo_id, own_id)


def get_algo(venue: LocalVenue, call: Call) -> Any:
    return call.account.algo_report(_found(call))


def cancel_algo(venue: LocalVenue, call: Call) -> AlgoAck:
    try:
        order = _found(call)
    except Rejected as error:
        raise Rejected("Unknown order sent.", code=-2011 if error.code == -2013 else error.code) from None
    call.account.algo.cancel(order)
    return AlgoAck(algo_id=order.algo_id, client_algo_id=order.client_id)


def cancel_all_algo(venue: LocalVenue, call: Call) -> Reply:
    for order in call.account.algo.waiting(symbol_of(venue, call)):
        call.account.algo.cancel(order)
    return Reply(code=200, msg="The operation of cancel all open order is done.")


def open_algo_orders(venue: LocalVenue, call: Call) -> Any:
    return [call.account.algo_report(o) for o in call.account.algo.waiting(call.params.get("symbol") or None)]


def all_algo_orders(venue: LocalVenue, call: Call) -> Any:
    orders = call.account.algo.every(symbol_of(venue, call))
    return [call.account.algo_report(o) for o in asked_rows(call, orders, "algoId", lambda c: c.algo_id)]
