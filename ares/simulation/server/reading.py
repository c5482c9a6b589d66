"""Reads orders out of requests, and refuses what no order can be, with the real venue's codes."""

from __future__ import annotations

import re
from decimal import Decimal

from ares.errors import Rejected
from ares.exchange.wire.numbers import MS
from ares.instruments import Side
from ares.orders import OrderRequest, OrderType, TimeInForce
from ares.simulation.server.asked import decimal_of, is_true, symbol_of
from ares.simulation.server.calls import Call
from ares.simulation.server.local_venue import LocalVenue
from ares.simulation.server.terms import Condition, Wish

__all__ = ["CONDITIONAL", "IN_FORCE", "KINDS", "conditional_wish", "engine_wish"]

CONDITIONAL = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
"""Types that the algo service takes."""
KINDS = ("LIMIT", "MARKET", *CONDITIONAL)
"""Types that the venue takes."""
IN_FORCE = ("GTC", "IOC", "FOK", "GTX", "GTD")
"""How long a limit order may live."""

_own_name = re.compile(r"[.A-Z:/a-z0-9_-]+", re.ASCII).fullmatch
_SOONEST_MS, _LAST_MS = 600_000, 253_402_300_799_000  # of goodTillDate: from now on, and ever
_CALLBACK = (Decimal("0.1"), Decimal(10))  # percent


def engine_wish(venue: LocalVenue, call: Call) -> Wish:
    """A limit or market order. Raises Rejected."""
    kind = call.need("type").upper()
    if kind not in ("LIMIT", "MARKET"):
        raise Rejected("Invalid orderType.", code=-1116)
    return _wish(venue, call, limit=kind == "LIMIT", condition=None)


def conditional_wish(venue: LocalVenue, call: Call) -> Wish:
    """An order of the algo service. Raises Rejected."""
    if call.need("algoType") != "CONDITIONAL":
        raise Rejected("Unsupported algoType.", code=-1130)
    kind = call.need("type").upper()
    if kind not in CONDITIONAL:
        raise Rejected("Invalid orderType.", code=-1116)
    working = call.params.get("workingType", "CONTRACT_PRICE").upper()
    if working not in ("CONTRACT_PRICE", "MARK_PRICE"):
        raise Rejected("Data sent for parameter 'workingType' is not valid.", code=-1130)
    callback = Decimal(0)
    trails = kind == "TRAILING_STOP_MARKET"
    if trails:
        given = decimal_of(call, "callbackRate")
        if given is None:
            call.need("callbackRate")
        callback = given or Decimal(0)
        if not _CALLBACK[0] <= callback <= _CALLBACK[1]:
            raise Rejected("Invalid callBack rate.", code=-2007)
    condition = Condition(
        kind=kind,
        trigger=Decimal(0) if trails else _needed(call, "triggerPrice"),
        activate=(decimal_of(call, "activatePrice") or None) if trails else None,
        callback=callback,
        by_mark=working == "MARK_PRICE",
        protected=is_true(call, "priceProtect"),
        closing=is_true(call, "closePosition"),
    )
    return _wish(venue, call, limit=kind in ("STOP", "TAKE_PROFIT"), condition=condition)


def _wish(venue: LocalVenue, call: Call, *, limit: bool, condition: Condition | None) -> Wish:
    symbol = symbol_of(venue, call)
    if call.account.hedge or (call.params.get("positionSide") or "BOTH").upper() != "BOTH":
        raise Rejected("Order's position side does not match user's setting.", code=-4061)
    closing = is_true(call, "closePosition")
    quantity = _closing_quantity(venue, call, symbol, condition) if closing else _quantity(call)
    side = call.need("side").upper()
    if side not in ("BUY", "SELL"):
        raise Rejected("Invalid side.", code=-1117)
    reducing = is_true(call, "reduceOnly") or closing
    if not reducing and call.account.symbol_config(symbol).margin_type != "ISOLATED":
        raise Rejected("The local venue trades in isolated margin only: set the symbol's margin type.", code=-2010)
    price = _needed(call, "price") if limit else None
    force = _in_force(call, needed=condition is None) if limit else ""
    request = OrderRequest(
        symbol=symbol,
        side=Side(side),
        order_type=OrderType.LIMIT if limit else OrderType.MARKET,
        quantity=quantity,
        price=price,
        reduce_only=reducing,
        time_in_force=TimeInForce(force) if force in TimeInForce.__members__ else None,
    )
    till = _good_till(call) if force == "GTD" else 0
    return Wish(request=request, own_id=_own_id(call), good_till_ms=till, condition=condition)


def _needed(call: Call, name: str) -> Decimal:
    value = decimal_of(call, name)
    if not value:
        raise Rejected(f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.", code=-1102)
    return value


def _quantity(call: Call) -> Decimal:
    quantity = decimal_of(call, "quantity")
    if quantity is None:
        call.need("quantity")
    if not quantity:
        raise Rejected("Quantity less than or equal to zero.", code=-4003)
    return quantity


def _closing_quantity(venue: LocalVenue, call: Call, symbol: str, condition: Condition | None) -> Decimal:
    """The most that an order which closes all could trade: when it triggers it is cut to what is held."""
    if condition is None or condition.kind not in ("STOP_MARKET", "TAKE_PROFIT_MARKET"):
        raise Rejected("Target strategy invalid for orderType with closePosition.", code=-4136)
    if decimal_of(call, "quantity"):
        raise Rejected("Quantity must be zero with closePosition equals true.", code=-4137)
    return venue.instruments[symbol].max_market_quantity


def _in_force(call: Call, *, needed: bool) -> str:
    force = call.params.get("timeInForce", "").upper() or ("" if needed else "GTC")
    if force not in IN_FORCE:
        raise Rejected("Invalid or missing parameter 'timeInForce'.", code=-1115 if force else -1102)
    return force


def _good_till(call: Call) -> int:
    """When a GTD order ends, ms; what is less than a second is cut off."""
    till = call.number("goodTillDate")
    if till is None:
        raise Rejected("Mandatory parameter 'goodTillDate' was not sent, was empty/null, or malformed.", code=-1102)
    if not call.now_ns // MS + _SOONEST_MS < till < _LAST_MS:
        raise Rejected(
            "The goodTillDate timestamp must be greater than the current time plus 600 seconds and smaller than "
            f"{_LAST_MS}.",
            code=-5040,
        )
    return till // 1000 * 1000


def _own_id(call: Call) -> str | None:
    own_id = call.params.get("clientAlgoId") or call.params.get("newClientOrderId") or ""
    if len(own_id) > 36:
        raise Rejected("Client order id length should be less than 36 chars", code=-4015)
    if own_id and _own_name(own_id) is None:
        raise Rejected("Illegal characters found in parameter 'newClientOrderId'", code=-1100)
    return own_id or None
