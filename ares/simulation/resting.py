"""What the venue remembers between two prices: resting orders and one state a symbol."""

from __future__ import annotations

from decimal import Decimal

from ares.instruments import Instrument, to_units
from ares.kernels import matching as rules
from ares.orders import Order, OrderRequest, OrderType, TimeInForce

__all__ = ["MarketState", "Resting", "order_of"]

_KINDS = {
    OrderType.MARKET: rules.MARKET,
    OrderType.LIMIT: rules.LIMIT,
    OrderType.STOP_MARKET: rules.STOP,
    OrderType.TAKE_PROFIT_MARKET: rules.TAKE_PROFIT,
}


def order_of(request: OrderRequest, order_id: str, client_order_id: str, now_ns: int) -> Order:
    """The order that a wish becomes at the venue."""
    return Order(
        order_id=order_id,
        client_order_id=client_order_id,
        symbol=request.symbol,
        side=request.side,
        order_type=request.order_type,
        quantity=request.quantity,
        price=request.price,
        stop_price=request.stop_price,
        reduce_only=request.reduce_only,
        time_in_force=TimeInForce.of(request.time_in_force or TimeInForce.GTC),
        created_ns=now_ns,
        updated_ns=now_ns,
    )


class Resting:
    """An order at the venue that may still trade."""

    __slots__ = ("arriving", "kind", "lots", "number", "order", "reduce_only", "reserved", "sign", "trigger")

    def __init__(self, number: int, order: Order, instrument: Instrument) -> None:
        self.number = number
        self.order = order
        self.sign = order.side.sign
        self.kind = _KINDS[order.order_type]
        self.lots = instrument.lots(order.remaining)  # still to trade
        level = order.price if order.price is not None else order.stop_price
        self.trigger = 0 if level is None else instrument.ticks(level)  # ticks
        self.reduce_only = order.reduce_only
        self.reserved = 0  # units
        self.arriving = True  # no tradable price has come since it was placed


class MarketState:
    """What the venue knows of one symbol."""

    __slots__ = ("instrument", "last", "liquidation", "maker", "mark", "orders", "taker", "tradable", "traded_ns")

    def __init__(self, instrument: Instrument, maker_fee: Decimal | None, taker_fee: Decimal | None) -> None:
        self.instrument = instrument
        self.maker = to_units(instrument.maker_fee if maker_fee is None else maker_fee)  # 1e-8 of the notional
        self.taker = to_units(instrument.taker_fee if taker_fee is None else taker_fee)
        self.last = 0.0  # quote per base; 0: nothing known yet
        self.mark = 0.0
        self.tradable = False  # the last price could be traded at ...
        self.traded_ns = 0  # ... when it came
        self.orders: list[Resting] = []
        self.liquidation = 0  # ticks; 0: flat or out of reach
