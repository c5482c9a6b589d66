"""Orders by REST: reports of the matching engine and of the algo service, as one kind of `Order`."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from ares.errors import DataError
from ares.exchange.wire.numbers import Number, NumberOrBlank, optional, to_ns
from ares.instruments import Side
from ares.orders import Fill, Order, OrderStatus, OrderType, TimeInForce

__all__ = [
    "ALGO_PREFIX",
    "AlgoAck",
    "AlgoReport",
    "OrderReport",
    "UserTrade",
    "algo_id_of",
    "fill_of_trade",
    "order_of",
    "order_of_algo",
    "side_of",
]

ALGO_PREFIX = "algo-"
"""Begins the `order_id` of a conditional order: the algo service counts in a space of its own."""

_STATUS = {
    "NEW": OrderStatus.NEW,
    "PARTIALLY_FILLED": OrderStatus.PARTIALLY_FILLED,
    "FILLED": OrderStatus.FILLED,
    "CANCELED": OrderStatus.CANCELED,
    "EXPIRED": OrderStatus.EXPIRED,
    "EXPIRED_IN_MATCH": OrderStatus.EXPIRED,
    "REJECTED": OrderStatus.REJECTED,
    "NEW_INSURANCE": OrderStatus.NEW,  # the venue's own liquidation orders
    "NEW_ADL": OrderStatus.NEW,
}
_ALGO_STATUS = {
    "NEW": OrderStatus.NEW,
    "TRIGGERING": OrderStatus.NEW,
    "TRIGGERED": OrderStatus.NEW,
    "CANCELED": OrderStatus.CANCELED,
    "EXPIRED": OrderStatus.EXPIRED,
    "REJECTED": OrderStatus.REJECTED,
}
_TYPES = {t.value: t for t in OrderType}
_NEAREST_TYPE = {  # placed by hand or by the venue: the nearest of ours, the venue's own name stands in `reason`
    "STOP": OrderType.STOP_MARKET,
    "TAKE_PROFIT": OrderType.TAKE_PROFIT_MARKET,
    "TRAILING_STOP_MARKET": OrderType.STOP_MARKET,
    "LIQUIDATION": OrderType.LIMIT,
}
_IN_FORCE = {t.value: t for t in TimeInForce}


class OrderReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An order of the matching engine. Acknowledgements lack `avgPrice` and `cumQuote`; queries have them."""

    order_id: int
    client_order_id: str
    symbol: str
    side: str
    type: str
    status: str
    orig_qty: Number
    executed_qty: Number
    price: NumberOrBlank = "0"
    avg_price: NumberOrBlank | UnsetType = UNSET
    cum_qty: NumberOrBlank | UnsetType = UNSET
    cum_quote: NumberOrBlank | UnsetType = UNSET
    time_in_force: str = "GTC"
    orig_type: str = ""
    reduce_only: bool = False
    close_position: bool = False
    position_side: str = "BOTH"
    stop_price: NumberOrBlank = "0"
    working_type: str = "CONTRACT_PRICE"
    price_protect: bool = False
    price_match: str = "NONE"
    self_trade_prevention_mode: str = "EXPIRE_MAKER"
    good_till_date: int = 0
    time: int | UnsetType = UNSET
    update_time: int = 0


class AlgoReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A conditional order. The `actual` fields speak of the order that its trigger made."""

    algo_id: int
    client_algo_id: str
    symbol: str
    side: str
    order_type: str
    quantity: NumberOrBlank
    algo_status: str
    trigger_price: NumberOrBlank
    algo_type: str = "CONDITIONAL"
    price: NumberOrBlank = "0"
    actual_order_id: str = ""
    actual_price: NumberOrBlank = ""
    actual_qty: NumberOrBlank = ""
    actual_type: str = ""
    time_in_force: str = "GTC"
    position_side: str = "BOTH"
    iceberg_quantity: Any = None
    self_trade_prevention_mode: str = "NONE"
    working_type: str = "CONTRACT_PRICE"
    price_match: str = "NONE"
    close_position: bool = False
    price_protect: bool = False
    reduce_only: bool = False
    activate_price: str = ""
    callback_rate: str = ""
    create_time: int = 0
    update_time: int = 0
    trigger_time: int = 0
    good_till_date: int = 0


class AlgoAck(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer to a cancelled conditional order; `code` comes as text."""

    algo_id: int
    client_algo_id: str
    code: str = "200"
    msg: str = "success"


class UserTrade(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One row of GET /fapi/v1/userTrades. A positive commission was paid."""

    id: int
    order_id: int
    symbol: str
    side: str
    price: Number
    qty: Number
    commission: Number
    commission_asset: str
    realized_pnl: Number
    time: int
    maker: bool
    buyer: bool = False
    quote_qty: NumberOrBlank = ""
    base_qty: NumberOrBlank = ""
    margin_asset: str = "USDT"
    position_side: str = "BOTH"
    pair: str = ""


def side_of(text: str) -> Side:
    """BUY or SELL. Raises DataError for anything else."""
    if text not in ("BUY", "SELL"):
        raise DataError(f"the venue sent the side {text!r}", side=text)
    return Side(text)


def _type_of(text: str) -> tuple[OrderType, str]:
    """The order's type, and the venue's own name where only the nearest of ours could be given."""
    if text in _TYPES:
        return _TYPES[text], ""
    if text in _NEAREST_TYPE:
        return _NEAREST_TYPE[text], text
    raise DataError(f"the venue sent the order type {text!r}", order_type=text)


def _status_of(text: str) -> OrderStatus:
    """The status. Raises DataError for one that this version does not know: read the order again later."""
    try:
        return _STATUS[text]
    except KeyError:
        raise DataError(f"the venue sent the order status {text!r}", status=text) from None


def _in_force(text: str) -> TimeInForce:
    return _IN_FORCE.get(text, TimeInForce.GTC)  # GTD, RPI: only foreign orders have them, and they rest like GTC


def order_of(report: OrderReport) -> Order:
    """The order of a report. Raises DataError for statuses, types or quantities that cannot be."""
    kind, foreign = _type_of(report.type)
    quantity, filled = _amounts(Decimal(report.orig_qty), Decimal(report.executed_qty), report.client_order_id)
    average = optional(report.avg_price) if isinstance(report.avg_price, str) else None
    created = report.time if isinstance(report.time, int) else report.update_time
    return Order(
        order_id=str(report.order_id),
        client_order_id=report.client_order_id,
        symbol=report.symbol,
        side=side_of(report.side),
        order_type=kind,
        quantity=quantity,
        price=optional(report.price),
        stop_price=optional(report.stop_price),
        reduce_only=report.reduce_only or report.close_position,
        time_in_force=_in_force(report.time_in_force),
        status=_status_of(report.status),
        filled=filled,
        average_price=average if filled else None,
        created_ns=to_ns(created),
        updated_ns=to_ns(report.update_time),
        reason=foreign,
    )


def order_of_algo(report: AlgoReport, actual: Order | None = None) -> Order:
    """A conditional order. actual: the order its trigger made, which then decides status and fills.

    FINISHED without `actual` is told by the executed quantity: all of it is FILLED, less EXPIRED.
    """
    kind, foreign = _type_of(report.order_type)
    quantity, filled = _amounts(
        optional(report.quantity) or Decimal(0), optional(report.actual_qty) or Decimal(0), report.client_algo_id
    )
    average = optional(report.actual_price)
    if actual is not None:
        status, filled, average = actual.status, actual.filled, actual.average_price
    elif report.algo_status == "FINISHED":
        status = OrderStatus.FILLED if filled >= quantity else OrderStatus.EXPIRED
    elif report.algo_status in _ALGO_STATUS:
        status = _ALGO_STATUS[report.algo_status]
    else:
        raise DataError(f"the venue sent the algo status {report.algo_status!r}", status=report.algo_status)
    return Order(
        order_id=f"{ALGO_PREFIX}{report.algo_id}",
        client_order_id=report.client_algo_id,
        symbol=report.symbol,
        side=side_of(report.side),
        order_type=kind,
        quantity=quantity,
        price=optional(report.price),
        stop_price=optional(report.trigger_price),
        reduce_only=report.reduce_only or report.close_position,
        time_in_force=_in_force(report.time_in_force),
        status=status,
        filled=filled,
        average_price=average if filled else None,
        created_ns=to_ns(report.create_time),
        updated_ns=max(to_ns(report.update_time), 0 if actual is None else actual.updated_ns),
        reason=foreign,
    )


def algo_id_of(order_id: str) -> int | None:
    """The algo id in an `order_id` of ours; None when it names an order of the matching engine."""
    return int(order_id.removeprefix(ALGO_PREFIX)) if order_id.startswith(ALGO_PREFIX) else None


def fill_of_trade(trade: UserTrade, order_id: str, client_order_id: str, fee: Decimal) -> Fill:
    """A fill of a trade row. order_id, client_order_id: of our order. fee: the commission in the quote asset."""
    return Fill(
        symbol=trade.symbol,
        trade_id=str(trade.id),
        order_id=order_id,
        client_order_id=client_order_id,
        side=side_of(trade.side),
        price=Decimal(trade.price),
        quantity=Decimal(trade.qty),
        fee=fee,
        maker=trade.maker,
        ts_ns=to_ns(trade.time),
    )


def _amounts(quantity: Decimal, filled: Decimal, name: str) -> tuple[Decimal, Decimal]:
    if quantity < 0 or filled < 0 or (filled > quantity > 0):
        raise DataError(f"order {name}: {filled} filled of {quantity} cannot be", client_order_id=name)
    return quantity, filled
