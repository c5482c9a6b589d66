"""What we ask the venue, as values: one builder for each endpoint. Signing and sending are somebody else's work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from urllib.parse import quote

import msgspec

from ares.exchange.wire.numbers import plain
from ares.orders import OrderRequest, OrderType, TimeInForce

__all__ = [
    "Request",
    "Security",
    "agg_trades",
    "algo_order",
    "amend_order",
    "cancel_algo",
    "cancel_all",
    "cancel_order",
    "countdown",
    "depth",
    "encode_params",
    "klines",
    "listen_key",
    "new_order",
    "query_algo",
    "query_order",
    "read",
    "set_leverage",
    "set_margin_type",
]

Params = tuple[tuple[str, str], ...]
_unreserved = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch  # needs no encoding, as nearly every value


class Security(Enum):
    """What a request must carry."""

    NONE = "none"
    KEY = "key"
    SIGNED = "signed"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request before it is signed. weight: of the IP's budget. orders: of the account's order count."""

    method: str
    path: str
    params: Params = ()
    security: Security = Security.NONE
    weight: int = 1
    orders: int = 0
    protective: bool = False  # a stop, an exit, a cancel: it may use the reserve
    places: bool = False  # it changes something at the venue: a lost answer is an unknown outcome

    @property
    def what(self) -> str:
        """Method and path, for errors and logs; never the parameters."""
        return f"{self.method} {self.path}"


def encode_params(params: Params) -> str:
    """The parameters as they stand on the wire, percent-encoded in UTF-8, in their order."""
    return "&".join([f"{name}={value if _unreserved(value) else quote(value, safe='-_.~')}" for name, value in params])


def _given(**values: object) -> Params:
    """The parameters that have a value, as text."""
    return tuple((name, _text(value)) for name, value in values.items() if value is not None)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return plain(value)
    return str(value)


# ------------------------------------------------------------ reads

_WEIGHTS: Mapping[str, int] = {
    "/fapi/v1/aggTrades": 20,
    "/fapi/v1/premiumIndex": 1,
    "/fapi/v1/ticker/bookTicker": 2,
    "/fapi/v1/fundingRate": 1,
    "/fapi/v3/account": 5,
    "/fapi/v3/positionRisk": 5,
    "/fapi/v1/userTrades": 5,
    "/fapi/v1/symbolConfig": 5,
    "/fapi/v1/accountConfig": 5,
    "/fapi/v1/commissionRate": 20,
    "/fapi/v1/income": 30,
    "/fapi/v1/positionSide/dual": 30,
}
_ALL_SYMBOLS: Mapping[str, int] = {"/fapi/v1/openOrders": 40, "/fapi/v1/openAlgoOrders": 40}


def read(path: str, *, signed: bool = False, protective: bool = False, **params: object) -> Request:
    """A read of `path`; parameters that are None are left out."""
    weight = _WEIGHTS.get(path, 1)
    if path in _ALL_SYMBOLS and params.get("symbol") is None:
        weight = _ALL_SYMBOLS[path]
    return Request(
        method="GET",
        path=path,
        params=_given(**params),
        security=Security.SIGNED if signed else Security.NONE,
        weight=weight,
        protective=protective,
    )


def klines(
    symbol: str, interval: str, limit: int, start_ms: int | None = None, end_ms: int | None = None
) -> Request:
    """Klines; the weight grows with `limit`."""
    weight = 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10
    params = _given(symbol=symbol, interval=interval, startTime=start_ms, endTime=end_ms, limit=limit)
    return Request(method="GET", path="/fapi/v1/klines", params=params, weight=weight)


def depth(symbol: str, limit: int) -> Request:
    """The order book. `limit` is taken up to the next size the venue knows: 5, 10, 20, 50, 100, 500, 1000."""
    size = next((n for n in (5, 10, 20, 50, 100, 500, 1000) if n >= limit), 1000)
    weight = {100: 5, 500: 10, 1000: 20}.get(size, 2)
    return Request(method="GET", path="/fapi/v1/depth", params=_given(symbol=symbol, limit=size), weight=weight)


def agg_trades(
    symbol: str, limit: int, start_ms: int | None = None, end_ms: int | None = None, from_id: int | None = None
) -> Request:
    """Aggregate trades; times and `from_id` exclude each other."""
    params = _given(symbol=symbol, fromId=from_id, startTime=start_ms, endTime=end_ms, limit=limit)
    return Request(method="GET", path="/fapi/v1/aggTrades", params=params, weight=20)


def query_order(symbol: str, order_id: int | None, client_id: str | None) -> Request:
    """One order of the matching engine."""
    return read("/fapi/v1/order", signed=True, protective=True, symbol=symbol, orderId=order_id,
                origClientOrderId=client_id)  # fmt: skip


def query_algo(algo_id: int | None, client_id: str | None) -> Request:
    """One conditional order."""
    return read("/fapi/v1/algoOrder", signed=True, protective=True, algoId=algo_id, clientAlgoId=client_id)


# ------------------------------------------------------------ orders


def new_order(request: OrderRequest, client_id: str) -> Request:
    """A market or limit order. One-way mode: no position side is sent. The answer is an acknowledgement, no fill."""
    limit = request.order_type is OrderType.LIMIT
    params = _given(
        symbol=request.symbol,
        side=request.side.value,
        type=request.order_type.value,
        timeInForce=(request.time_in_force or TimeInForce.GTC).value if limit else None,
        quantity=request.quantity,
        price=request.price,
        reduceOnly=True if request.reduce_only else None,
        newClientOrderId=client_id,
    )
    return _placing("POST", params, request)


def _placing(method: str, params: Params, request: OrderRequest) -> Request:
    """An order or its change: it counts among the orders, and a reduce-only one draws on the reserve."""
    return Request(
        method=method,
        path="/fapi/v1/order",
        params=params,
        security=Security.SIGNED,
        weight=0,
        orders=1,
        protective=request.reduce_only,
        places=True,
    )


def amend_order(request: OrderRequest, order_id: int) -> Request:
    """Another quantity and price for a resting limit order; both are sent, changed or not."""
    params = _given(
        symbol=request.symbol,
        side=request.side.value,
        quantity=request.quantity,
        price=request.price,
        orderId=order_id,
        reduceOnly=True if request.reduce_only else None,  # as the order is; without it the least notional is asked
    )
    return _placing("PUT", params, request)


def algo_order(request: OrderRequest, client_id: str, working_type: str | None = None) -> Request:
    """A conditional order: the algo service takes it, with `triggerPrice`.

    working_type: CONTRACT_PRICE or MARK_PRICE triggers; None leaves it to the venue, which takes the contract's.
    """
    params = _given(
        algoType="CONDITIONAL",
        symbol=request.symbol,
        side=request.side.value,
        type=request.order_type.value,
        quantity=request.quantity,
        triggerPrice=request.stop_price,
        workingType=working_type,
        reduceOnly=True if request.reduce_only else None,
        clientAlgoId=client_id,
    )
    return Request(
        method="POST",
        path="/fapi/v1/algoOrder",
        params=params,
        security=Security.SIGNED,
        weight=0,
        orders=1,
        protective=request.reduce_only,
        places=True,
    )


def cancel_order(symbol: str, order_id: int | None, client_id: str | None) -> Request:
    """Cancel an order of the matching engine."""
    params = _given(symbol=symbol, orderId=order_id, origClientOrderId=client_id)
    return Request(
        method="DELETE", path="/fapi/v1/order", params=params, security=Security.SIGNED, protective=True, places=True
    )


def cancel_algo(algo_id: int | None, client_id: str | None) -> Request:
    """Cancel a conditional order."""
    params = _given(algoId=algo_id, clientAlgoId=client_id)
    return Request(
        method="DELETE",
        path="/fapi/v1/algoOrder",
        params=params,
        security=Security.SIGNED,
        protective=True,
        places=True,
    )


def cancel_all(symbol: str, *, conditional: bool) -> Request:
    """Cancel every open order of a symbol: those of the matching engine, or the conditional ones."""
    return Request(
        method="DELETE",
        path="/fapi/v1/algoOpenOrders" if conditional else "/fapi/v1/allOpenOrders",
        params=_given(symbol=symbol),
        security=Security.SIGNED,
        protective=True,
        places=True,
    )


def countdown(symbol: str, milliseconds: int) -> Request:
    """Have the venue cancel a symbol's open orders when nothing is heard for so long; 0 ends that."""
    return Request(
        method="POST",
        path="/fapi/v1/countdownCancelAll",
        params=_given(symbol=symbol, countdownTime=milliseconds),
        security=Security.SIGNED,
        weight=10,
        protective=True,
        places=True,
    )


def set_leverage(symbol: str, leverage: int) -> Request:
    """Set a symbol's leverage."""
    params = _given(symbol=symbol, leverage=leverage)
    return Request(
        method="POST", path="/fapi/v1/leverage", params=params, security=Security.SIGNED, places=True
    )


def set_margin_type(symbol: str, margin_type: str) -> Request:
    """Set a symbol's margin mode: ISOLATED or CROSSED."""
    params = _given(symbol=symbol, marginType=margin_type)
    return Request(
        method="POST", path="/fapi/v1/marginType", params=params, security=Security.SIGNED, places=True
    )


def listen_key(method: str) -> Request:
    """Make or find (POST), extend (PUT) or end (DELETE) the key of the private stream."""
    return Request(method=method, path="/fapi/v1/listenKey", security=Security.KEY, protective=True)
