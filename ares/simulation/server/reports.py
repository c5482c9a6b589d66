"""What the local venue says of orders, positions and money, in the words of the wire."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from ares.account import Position
from ares.exchange.wire.account import AccountV3, AssetBalance, PositionV3
from ares.exchange.wire.numbers import MS, plain
from ares.exchange.wire.trade import AlgoReport, OrderReport
from ares.exchange.wire.user import AlgoBody, MarginCallPosition, OrderUpdateBody
from ares.orders import Fill, Order
from ares.simulation.server.algo import Conditional
from ares.simulation.venue import Venue

__all__ = [
    "account_report",
    "algo_body",
    "algo_report",
    "margin_call",
    "order_body",
    "order_report",
    "position_report",
]

_PLACES = Decimal("1e-8")


def order_report(order: Order, behind: Conditional | None, good_till_ms: int, *, full: bool) -> OrderReport:
    """An order of the engine; full: as a query answers, else an acknowledgement, which names no price or value.

    behind: the conditional order whose trigger made it.
    """
    filled, average = order.filled, order.average_price or Decimal(0)
    condition = behind.condition if behind is not None else None
    return OrderReport(
        order_id=int(order.order_id),
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side.value,
        type=order.order_type.value,
        orig_type=condition.kind if condition is not None else order.order_type.value,
        status=order.status.value,
        orig_qty=str(order.quantity),
        executed_qty=str(filled),
        price=str(order.price or 0),
        avg_price=_rounded(average) if full else msgspec.UNSET,
        cum_quote=_rounded(filled * average) if full else msgspec.UNSET,
        cum_qty=msgspec.UNSET if full else str(filled),
        time_in_force="GTD" if good_till_ms else order.time_in_force.value,
        reduce_only=order.reduce_only,
        close_position=condition is not None and condition.closing,
        stop_price=str(condition.trigger) if condition is not None else "0",
        working_type=_working(behind),
        price_protect=condition is not None and condition.protected,
        good_till_date=good_till_ms,
        time=order.created_ns // MS if full else msgspec.UNSET,
        update_time=order.updated_ns // MS,
    )


def order_body(
    order: Order, behind: Conditional | None, good_till_ms: int, execution: str, fill: Fill | None, asset: str, ms: int
) -> OrderUpdateBody:
    """One step of an order of the engine. asset: of the commission."""
    condition = behind.condition if behind is not None else None
    trails = condition is not None and condition.trails
    return OrderUpdateBody(
        s=order.symbol,
        c=order.client_order_id,
        S=order.side.value,
        o=order.order_type.value,
        ot=condition.kind if condition is not None else order.order_type.value,
        f="GTD" if good_till_ms else order.time_in_force.value,
        q=str(order.quantity),
        cp=condition is not None and condition.closing,
        p=str(order.price or 0),
        ap=_rounded(order.average_price or Decimal(0)),
        sp=str(condition.trigger) if condition is not None else "0",
        x="CALCULATED" if fill is not None and fill.liquidation else execution,
        X=order.status.value,
        i=int(order.order_id),
        l=str(fill.quantity) if fill is not None else "0",
        z=str(order.filled),
        L=str(fill.price) if fill is not None else "0",
        N=asset if fill is not None else None,
        n=str(fill.fee) if fill is not None else None,
        T=ms,
        t=int(fill.trade_id) if fill is not None else 0,
        m=fill.maker if fill is not None else False,
        R=order.reduce_only,
        wt=_working(behind),
        protect=condition is not None and condition.protected,
        AP=_activation(behind) if trails else msgspec.UNSET,
        cr=plain(condition.callback) if condition is not None and trails else msgspec.UNSET,
        gtd=good_till_ms,
        er=order.reason if execution == "EXPIRED" else "0",
    )


def algo_report(c: Conditional) -> AlgoReport:
    """A conditional order."""
    request, condition, engine = c.wish.request, c.condition, c.engine
    return AlgoReport(
        algo_id=c.algo_id,
        client_algo_id=c.client_id,
        symbol=c.symbol,
        side=request.side.value,
        order_type=condition.kind,
        quantity=_size(c),
        close_position=condition.closing,
        algo_status=c.status,
        trigger_price=str(condition.trigger),
        price=str(request.price or 0),
        actual_order_id=engine.order_id if engine is not None else "",
        actual_price=_average(engine),
        actual_qty=str(engine.filled) if engine is not None and engine.filled else "",
        actual_type=engine.order_type.value if engine is not None else "",
        time_in_force=_force(c),
        working_type=_working(c),
        price_protect=condition.protected,
        reduce_only=request.reduce_only,
        activate_price=_activation(c) if condition.trails else "",
        callback_rate=plain(condition.callback) if condition.trails else "",
        create_time=c.created_ns // MS,
        update_time=c.updated_ns // MS,
        trigger_time=c.triggered_ns // MS,
        good_till_date=c.wish.good_till_ms,
    )


def algo_body(c: Conditional) -> AlgoBody:
    """One step of a conditional order."""
    request, condition, engine = c.wish.request, c.condition, c.engine
    return AlgoBody(
        caid=c.client_id,
        aid=c.algo_id,
        s=c.symbol,
        S=request.side.value,
        o=condition.kind,
        X=c.status,
        f=_force(c),
        q=_size(c),
        cp=condition.closing,
        tp=str(condition.trigger),
        p=str(request.price or 0),
        wt=_working(c),
        protect=condition.protected,
        ai=engine.order_id if engine is not None else "",
        ap=_average(engine),
        aq=str(engine.filled) if engine is not None and engine.filled else "",
        act=engine.order_type.value if engine is not None else "",
        R=request.reduce_only,
        tt=c.triggered_ns // MS,
        gtd=c.wish.good_till_ms,
        rm=c.reason if c.status in ("REJECTED", "EXPIRED") else "",
    )


def account_report(venue: Venue, ms: int) -> AccountV3:
    """Balances."""
    a = venue.account()
    free = str(a.available)
    balance = AssetBalance(
        asset=a.asset,
        wallet_balance=str(a.wallet),
        unrealized_profit=str(a.unrealised),
        margin_balance=str(a.equity),
        maint_margin=str(sum((p.maintenance_margin for p in a.positions), Decimal(0))),
        initial_margin=str(a.margin + a.reserved),
        position_initial_margin=str(a.margin),
        open_order_initial_margin=str(a.reserved),
        cross_wallet_balance=str(a.wallet - a.margin),
        available_balance=free,
        max_withdraw_amount=free,
        update_time=ms,
    )
    return AccountV3(
        total_wallet_balance=balance.wallet_balance,
        total_unrealized_profit=balance.unrealized_profit,
        total_margin_balance=balance.margin_balance,
        total_initial_margin=balance.initial_margin,
        total_maint_margin=balance.maint_margin,
        total_position_initial_margin=balance.position_initial_margin,
        total_open_order_initial_margin=balance.open_order_initial_margin,
        total_cross_wallet_balance=balance.cross_wallet_balance,
        available_balance=free,
        max_withdraw_amount=free,
        assets=[balance],
    )


def position_report(p: Position, asset: str, ms: int) -> PositionV3:
    """A position, flat or not."""
    return PositionV3(
        symbol=p.symbol,
        position_amt=str(p.quantity),
        entry_price=str(p.entry_price),
        break_even_price=str(p.entry_price),
        mark_price=str(p.mark_price),
        un_realized_profit=str(p.unrealised),
        liquidation_price=str(p.liquidation_price or 0),
        isolated_margin=str(p.margin + p.unrealised),
        isolated_wallet=str(p.margin),
        notional=str(p.quantity * p.mark_price),
        margin_asset=asset,
        initial_margin=str(p.margin),
        maint_margin=str(p.maintenance_margin),
        position_initial_margin=str(p.margin),
        update_time=ms,
    )


def margin_call(p: Position) -> MarginCallPosition:
    """A position that nears its liquidation."""
    return MarginCallPosition(
        s=p.symbol,
        pa=str(p.quantity),
        mt="ISOLATED",
        iw=str(p.margin),
        mp=str(p.mark_price),
        up=str(p.unrealised),
        mm=str(p.maintenance_margin),
    )


def _rounded(value: Decimal) -> str:
    """At most eight places: an average of several fills may have no end."""
    exponent = value.as_tuple().exponent
    return str(value) if isinstance(exponent, int) and exponent >= -8 else str(value.quantize(_PLACES))


def _average(engine: Order | None) -> str:
    return _rounded(engine.average_price) if engine is not None and engine.average_price is not None else ""


def _size(c: Conditional) -> str:
    """A conditional order's quantity: none while it waits to close all."""
    if c.engine is not None:
        return str(c.engine.quantity)
    return "0" if c.condition.closing else str(c.wish.request.quantity)


def _force(c: Conditional) -> str:
    force = c.wish.request.time_in_force
    return "GTD" if c.wish.good_till_ms else force.value if force is not None else "GTC"


def _working(c: Conditional | None) -> str:
    return "MARK_PRICE" if c is not None and c.condition.by_mark else "CONTRACT_PRICE"


def _activation(c: Conditional | None) -> str:
    """The price from which it trails; where the account named none, that at which it was placed."""
    if c is None:
        return ""
    return str(c.condition.activate if c.condition.activate is not None else c.placed_at)
