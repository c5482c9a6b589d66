"""The trading half of a simulated exchange: async verbs over a `Venue`, taking what people write."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from ares.account import Account, Position
from ares.errors import DataError, InvalidInput, Rejected, Retryable, unknown_name
from ares.instruments import Instrument, Side
from ares.market import OrderBook, Ticker
from ares.orders import Order, OrderRequest, OrderStatus, OrderType, TimeInForce
from ares.simulation.listeners import Theatre
from ares.simulation.refusals import refuse
from ares.simulation.venue import Venue

__all__ = ["VenueDesk"]

Number = Decimal | float | str


class VenueDesk:
    """Orders and account at a simulated venue; `SimulatedExchange` and `PaperExchange` add market data and streams."""

    def __init__(self, venue: Venue, theatre: Theatre) -> None:
        self._venue = venue
        self._theatre = theatre
        self._closed = False

    # ------------------------------------------------------------ orders

    async def create_order(
        self,
        symbol: str,
        side: Side | str,
        order_type: OrderType | str,
        quantity: Number,
        *,
        price: Number | None = None,
        stop_price: Number | None = None,
        reduce_only: bool = False,
        time_in_force: TimeInForce | str | None = None,
        client_order_id: str | None = None,
    ) -> Order:
        """Send an order; it may come back unfilled.

        A float is rounded to the venue's grid: the quantity down, a limit price to the passive side, a stop away from
        harm. A Decimal or text is taken as it stands and rejected off the grid.
        Raises: Rejected with the venue's code; InvalidInput for what no venue would understand.
        """
        await self._ready(symbol)
        instrument = self._instrument(symbol)
        way, kind = Side.of(side), OrderType.of(order_type)
        market = kind is not OrderType.LIMIT
        size = _exact(quantity, "quantity", lambda q: instrument.quantity(q, market=market))
        if not size > 0:
            raise refuse(-4004, quantity=quantity, least=instrument.min_quantity)
        request = OrderRequest(
            symbol=symbol,
            side=way,
            order_type=kind,
            quantity=size,
            price=_level(price, "price", lambda p: instrument.price(p, "down" if way is Side.BUY else "up")),
            stop_price=_level(stop_price, "stop_price", lambda p: instrument.stop_price(p, way)),
            reduce_only=reduce_only,
            time_in_force=None if time_in_force is None else TimeInForce.of(time_in_force),
            client_order_id=client_order_id,
        )
        order = await self._submit(request, client_order_id)
        self._tell_private()
        return order

    async def cancel_order(
        self, symbol: str, order_id: str | None = None, *, client_order_id: str | None = None
    ) -> Order:
        """Cancel an open order. Raises Rejected -2011 when it is not open (any more)."""
        await self._ready(symbol)
        order = self._venue.cancel(symbol, order_id, client_order_id=client_order_id)
        self._tell_private()
        return order

    async def get_order(self, symbol: str, order_id: str | None = None, *, client_order_id: str | None = None) -> Order:
        """An order in its present state. Raises Rejected -2013 when the venue never saw it."""
        await self._ready(symbol)
        return self._venue.get_order(symbol, order_id, client_order_id=client_order_id)

    async def wait_filled(self, order: Order, timeout: float | None = None) -> Position:
        """Move time on until the order has filled; the position it left.

        timeout: seconds of the exchange's own time. Raises: Rejected when the order ends unfilled; Retryable when it
        has not filled by then; DataError when the market ends before.
        """
        limit = None if timeout is None else self._venue.now_ns + round(timeout * 1e9)
        while True:
            now = self._venue.get_order(order.symbol, order.order_id)
            if now.status is OrderStatus.FILLED:
                return self._venue.position(order.symbol)
            if now.status.terminal:
                raise Rejected(
                    f"order {now.order_id} ended {now.status.value}: {now.reason}",
                    order_id=now.order_id,
                    status=now.status.value,
                )
            if not await self._theatre.move(limit_ns=limit):
                if self._theatre.ended:
                    raise DataError(f"the market ended before order {now.order_id} filled", order_id=now.order_id)
                raise Retryable(f"order {now.order_id} has not filled in {timeout:g} s", order_id=now.order_id)

    async def get_open_orders(self, symbol: str | None = None) -> tuple[Order, ...]:
        """Normal and conditional orders, oldest first."""
        await self._ready(symbol)
        return self._venue.open_orders(symbol)

    # ------------------------------------------------------------ account

    async def get_account(self) -> Account:
        """Money and open positions at the present mark prices."""
        await self._ready(None)
        return self._venue.account()

    async def get_positions(self, symbol: str | None = None) -> tuple[Position, ...]:
        """Positions that are not flat."""
        await self._ready(symbol)
        if symbol is not None:
            self._instrument(symbol)
        return tuple(p for p in self._venue.account().positions if symbol in (None, p.symbol))

    async def set_leverage(self, symbol: str, leverage: int) -> int:
        """Set the leverage of later entries. Raises Rejected."""
        await self._ready(symbol)
        return self._venue.set_leverage(symbol, leverage)

    async def set_margin_mode(self, symbol: str, mode: str) -> str:
        """Only "isolated" is simulated. Raises Rejected for "cross"."""
        await self._ready(symbol)
        self._instrument(symbol)
        if mode.lower() == "isolated":
            return "isolated"
        if mode.lower() == "cross":
            raise Rejected("the simulated venue keeps isolated margin only", symbol=symbol, mode=mode)
        raise unknown_name("margin mode", mode, ("isolated", "cross"))

    # ------------------------------------------------------------ quotes

    def _quote(self, symbol: str) -> Ticker:
        """What the venue would fill market orders at: the last price and its slippage to both sides."""
        instrument = self._instrument(symbol)
        most = float(instrument.max_market_quantity)
        return Ticker(
            symbol=symbol,
            ts_ns=self._venue.now_ns,
            bid=float(self._venue.taker_price(symbol, Side.SELL)),
            ask=float(self._venue.taker_price(symbol, Side.BUY)),
            bid_quantity=most,
            ask_quantity=most,
            last=self._venue.last_price(symbol),
        )

    def _book(self, symbol: str, limit: int) -> OrderBook:
        """The quote as a book of one level a side: all that the venue can honestly say."""
        if limit < 1:
            raise InvalidInput(f"an order book needs a limit of at least 1, not {limit}", limit=limit)
        quote = self._quote(symbol)
        return OrderBook(
            symbol=symbol,
            ts_ns=quote.ts_ns,
            last_update_id=quote.ts_ns,
            bids=[(quote.bid, quote.bid_quantity)],
            asks=[(quote.ask, quote.ask_quantity)],
        )

    # ------------------------------------------------------------ inside

    async def _submit(self, request: OrderRequest, client_order_id: str | None) -> Order:
        """Give the venue an order."""
        return self._venue.submit(request, client_order_id)

    async def _ready(self, symbol: str | None) -> None:
        """Be able to answer about `symbol`."""
        if self._closed:
            raise InvalidInput("this exchange is closed")

    def _instrument(self, symbol: str) -> Instrument:
        try:
            return self._venue.instruments[symbol]
        except KeyError:
            raise unknown_name("symbol", symbol, self._venue.instruments) from None

    def _tell_private(self) -> None:
        """Pass on what the venue has just reported."""
        while self._venue.events:
            self._theatre.tell(self._venue.events.popleft())


def _exact(value: Number, name: str, rounded: Callable[[float], Decimal]) -> Decimal:
    """A Decimal from what a person wrote; floats go through `rounded`."""
    if isinstance(value, float):
        return rounded(value)
    try:
        exact = value if isinstance(value, Decimal) else Decimal(value)
    except (InvalidOperation, TypeError, ValueError):
        raise InvalidInput(f"{name} {value!r} is not a number", **{name: value}) from None
    if not exact.is_finite():
        raise InvalidInput(f"{name} must be a finite number, not {value}", **{name: str(value)})
    return exact


def _level(value: Number | None, name: str, rounded: Callable[[float], Decimal]) -> Decimal | None:
    return None if value is None else _exact(value, name, rounded)
