"""One watched position and its orders at the venue: exactly one resting stop, reduce-only exits, a tidy end.

All orders are reduce-only, so that sending one twice does no harm. The new stop is placed before the old one is
cancelled. An order whose fate is unknown is asked for by its client order id before anything else is done.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from decimal import Decimal

from attrs import define, evolve, field

from ares.account import Position
from ares.errors import OutcomeUnknown, Rejected
from ares.instruments import Instrument
from ares.log import get_logger
from ares.orders import Order, OrderType
from ares.protocols import Action, Assessment, Exchange, OpenTrade, TradePlan

__all__ = ["PREFIX", "Watch"]

PREFIX = "ares-m"  # of every client order id of a monitor: a stop that carries it is ours, whichever run placed it
log = get_logger("monitor")


@define
class Watch:
    """What the monitor knows of one position, and how it acts on it."""

    position_id: str
    position: Position
    new_client_id: Callable[[], str]
    plan: TradePlan | None = None
    trade: OpenTrade | None = None  # None: not adopted yet
    instrument: Instrument | None = None
    wanted_stop: Decimal | None = None  # where the stop belongs
    stop: Order | None = None  # resting at the venue
    leaving: Order | None = None  # an exit on its way
    leaving_targets: int = 0  # targets that this exit takes
    unknown: str | None = None  # client order id of an order whose fate is not known
    surplus: list[Order] = field(factory=list)  # stops to be cancelled
    history: deque[Assessment] = field(factory=deque)
    error: str = ""  # what the last look ran into; empty when all went well
    closed: bool = False
    lock: asyncio.Lock = field(factory=asyncio.Lock)  # one look at a time

    @property
    def symbol(self) -> str:
        return self.position.symbol

    def view(self) -> OpenTrade:
        """The trade with its quantity and stop as the venue shows them. The position must have been adopted."""
        assert self.trade is not None
        resting = self.stop.stop_price if self.stop is not None else None
        return evolve(self.trade, quantity=abs(self.position.quantity), stop=resting)

    def saw(self, mark: float) -> None:
        """Take a mark price: the best one seen feeds the trailing stop."""
        if self.trade is not None:
            best = self.trade.best_price
            if best is None or (mark - best) * self.trade.side.sign > 0:
                self.trade = evolve(self.trade, best_price=mark)

    async def resolve(self, exchange: Exchange) -> None:
        """Learn what became of an order in doubt, and which of our orders are open at the venue."""
        if self.unknown is not None:
            try:
                found = await exchange.get_order(self.symbol, client_order_id=self.unknown)
            except Rejected:
                log.warning("order.absent", position_id=self.position_id, client_order_id=self.unknown)
            else:
                if not found.order_type.conditional:
                    self._left(found)
            self.unknown = None
        still_open = {order.order_id: order for order in await exchange.get_open_orders(self.symbol)}
        if self.leaving is not None and self.leaving.order_id not in still_open:
            self.leaving = None
        ours = [o for o in still_open.values() if o.order_type.conditional and o.client_order_id.startswith(PREFIX)]
        self.stop = still_open.get(self.stop.order_id) if self.stop is not None else None
        if self.stop is None and ours:
            self.stop = next((o for o in ours if o.stop_price == self.wanted_stop), ours[0])
        self.surplus = [order for order in ours if self.stop is None or order.order_id != self.stop.order_id]

    async def protect(self, exchange: Exchange) -> None:
        """See to it that one stop covers the position at the wanted price, then cancel any other of ours."""
        held = abs(self.position.quantity)
        fits = self.stop is not None and self.stop.stop_price == self.wanted_stop and self.stop.remaining == held
        if not fits and self.wanted_stop is not None:
            new = await self._send(exchange, OrderType.STOP_MARKET, held, self.wanted_stop)
            if new is not None:
                if self.stop is not None:
                    self.surplus.append(self.stop)
                self.stop = new
        if self.stop is not None:
            await self.cancel(exchange, self.surplus)

    async def act(self, exchange: Exchange, verdict: Assessment) -> None:
        """Carry out a verdict. An exit waits while another is on its way."""
        if verdict.action is Action.MOVE_STOP and verdict.new_stop is not None:
            self.wanted_stop = verdict.new_stop
            await self.protect(exchange)
        elif verdict.quantity is not None and verdict.action in (Action.CLOSE, Action.TAKE_PROFIT, Action.SCALE_DOWN):
            if self.leaving is None and self.unknown is None:
                self.leaving_targets = verdict.targets_hit
                order = await self._send(exchange, OrderType.MARKET, verdict.quantity, None)
                if order is not None:
                    self._left(order)

    async def leave(self, exchange: Exchange, reason: str) -> None:
        """Close everything at market, unless an exit is on its way."""
        if self.leaving is not None or self.unknown is not None:
            return
        log.warning("position.closing", position_id=self.position_id, symbol=self.symbol, reason=reason)
        order = await self._send(exchange, OrderType.MARKET, abs(self.position.quantity), None)
        if order is not None:
            self._left(order)

    async def tidy(self, exchange: Exchange) -> None:
        """The position is flat: cancel what is left of our orders."""
        rest = [*self.surplus, *([self.stop] if self.stop is not None else [])]
        await self.cancel(exchange, rest)
        self.stop, self.closed = None, True

    async def cancel(self, exchange: Exchange, orders: list[Order]) -> None:
        """Cancel these orders; one that is gone already counts as cancelled."""
        while orders:
            try:
                await exchange.cancel_order(self.symbol, orders[-1].order_id)
            except Rejected as error:
                log.info("order.gone", order_id=orders[-1].order_id, reason=error.message)
            orders.pop()

    async def _send(
        self, exchange: Exchange, kind: OrderType, quantity: Decimal, stop_price: Decimal | None
    ) -> Order | None:
        """One reduce-only order; None when its fate is unknown. Raises Rejected."""
        side, client_id = self.position.side, self.new_client_id()
        if side is None:
            return None
        try:
            order = await exchange.create_order(
                self.symbol,
                side.opposite,
                kind,
                quantity,
                stop_price=stop_price,
                reduce_only=True,
                client_order_id=client_id,
            )
        except OutcomeUnknown:
            self.unknown = client_id
            log.warning("order.unknown", position_id=self.position_id, client_order_id=client_id)
            return None
        log.info("order.sent", position_id=self.position_id, order_id=order.order_id, type=kind.value, stop=stop_price)
        return order

    def _left(self, order: Order) -> None:
        """An exit of ours is known to the venue: its targets are taken."""
        self.leaving = order if order.status.open else None
        if self.trade is not None and self.leaving_targets:
            self.trade = evolve(
                self.trade,
                targets=self.trade.targets[self.leaving_targets :],
                targets_taken=self.trade.targets_taken + self.leaving_targets,
            )
        self.leaving_targets = 0
