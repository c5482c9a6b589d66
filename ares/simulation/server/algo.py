"""The algo service: conditional orders, in an id space of their own, until a price triggers them.

A stop triggers when the price that it looks at, the last or the mark price, reaches its trigger. A trailing stop begins
to follow once that price has touched `activate`, and triggers when it has come back by `callback` percent from the best
price since it was placed. What triggers becomes an order of the matching engine; only then is margin asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from attrs import define, evolve

from ares.errors import Rejected
from ares.instruments import Instrument
from ares.kernels import matching as rules
from ares.orders import Order
from ares.simulation.refusals import check_filters, check_level, refuse
from ares.simulation.server.terms import Condition, Wish
from ares.simulation.venue import Venue

__all__ = ["TRIGGER_PROTECT", "AlgoService", "Conditional"]

_FIRST_ID = 2_000_000_000_000_000  # of the service's own space; such ids are larger than many a program expects
TRIGGER_PROTECT = Decimal("0.05")
"""Of the last price that the mark price may be away, for orders that ask for this protection."""
_BY_TRIGGER = {-4016: -4183, -4024: -4184}  # a limit price's band lies around the trigger


@define(eq=False)
class Conditional:
    """A conditional order. `status` is NEW, TRIGGERING, TRIGGERED, FINISHED, CANCELED, EXPIRED or REJECTED."""

    algo_id: int
    client_id: str
    wish: Wish
    condition: Condition
    created_ns: int
    updated_ns: int
    placed_at: Decimal  # the price that it looks at, when it was placed
    best: int  # ticks: the lowest price that a trailing buy, the highest that a trailing sell has seen
    activate: int  # ticks
    status: str = "NEW"
    engine: Order | None = None  # what its trigger made, as told last
    triggered_ns: int = 0
    reason: str = ""

    @property
    def symbol(self) -> str:
        """Of the instrument."""
        return self.wish.request.symbol

    @property
    def sign(self) -> int:
        """+1 to buy, -1 to sell."""
        return self.wish.request.side.sign

    @property
    def open(self) -> bool:
        """True while it waits."""
        return self.status == "NEW"

    def meets(self, price: int, instrument: Instrument) -> bool:
        """Whether this price (ticks) triggers it; a trailing one remembers it."""
        condition, sign = self.condition, self.sign
        if not condition.trails:
            kind = rules.TAKE_PROFIT if condition.kind.startswith("TAKE_PROFIT") else rules.STOP
            return rules.reached(kind, sign, instrument.ticks(condition.trigger), price, 0)
        self.best = sign * min(sign * self.best, sign * price)
        active = sign * (self.best - self.activate) <= 0
        return active and sign * (100 * price - self.best * (100 + sign * condition.callback)) >= 0


class AlgoService:
    """The conditional orders of one account. `tell` is called whenever one of them has moved on."""

    def __init__(self, venue: Venue, tell: Callable[[Conditional], None]) -> None:
        self._venue, self._tell = venue, tell
        self._orders: dict[int, Conditional] = {}  # every one ever, by id
        self._waiting: dict[int, Conditional] = {}  # those that may still trigger
        self._by_engine: dict[str, Conditional] = {}

    # ------------------------------------------------------------ what an account may do

    def place(self, wish: Wish) -> Conditional:
        """Take a conditional order. Raises Rejected, with the venue's code; nothing has happened then."""
        condition, request = wish.condition, wish.request
        assert condition is not None
        m = self._venue.markets[request.symbol]
        number = _FIRST_ID + len(self._orders) + 1
        client_id = wish.own_id or f"algo-{number}"
        if any(c.client_id == client_id for c in self._waiting.values()):
            raise refuse(-4116, client_order_id=client_id)
        if m.last <= 0:
            raise refuse(-4022, symbol=request.symbol)
        self._check(wish, condition, m.instrument)
        now = self._price(request.symbol, by_mark=condition.by_mark)
        made = Conditional(
            algo_id=number,
            client_id=client_id,
            wish=wish,
            condition=condition,
            created_ns=self._venue.now_ns,
            updated_ns=self._venue.now_ns,
            placed_at=m.instrument.from_ticks(now),
            best=now,
            activate=now if condition.activate is None else m.instrument.ticks(condition.activate),
        )
        sign = request.side.sign
        at_once = condition.activate is not None and sign * (now - made.activate) <= 0
        if at_once if condition.trails else made.meets(now, m.instrument):
            raise refuse(-2021, trigger=condition.activate or condition.trigger, price=m.instrument.from_ticks(now))
        self._orders[number] = self._waiting[number] = made
        self._tell(made)
        return made

    def find(self, algo_id: int | None, client_id: str | None) -> Conditional:
        """By id, else the newest of this client id. Raises Rejected -2013."""
        if algo_id is not None:
            found = self._orders.get(algo_id)
        else:
            found = next((c for c in reversed(self._orders.values()) if c.client_id == client_id), None)
        if found is None:
            raise refuse(-2013, algo_id=algo_id, client_id=client_id)
        return found

    def cancel(self, order: Conditional) -> None:
        """Cancel one that waits. Raises Rejected -2011 when it does not."""
        if not order.open:
            raise refuse(-2011, algo_id=order.algo_id, status=order.status)
        self.end(order, "CANCELED")

    def waiting(self, symbol: str | None = None) -> list[Conditional]:
        """Those that may still trigger, oldest first."""
        return [c for c in self._waiting.values() if symbol in (None, c.symbol)]

    def every(self, symbol: str) -> list[Conditional]:
        """All of the symbol, oldest first."""
        return [c for c in self._orders.values() if c.symbol == symbol]

    def behind(self, order_id: str) -> Conditional | None:
        """Whose trigger made this order of the engine; None when nobody's did."""
        return self._by_engine.get(order_id)

    # ------------------------------------------------------------ what happens to them

    def met(self, symbol: str) -> list[Conditional]:
        """Those that the present prices trigger, stops first."""
        if not self._waiting:
            return []
        m = self._venue.markets[symbol]
        last, mark = self._price(symbol, by_mark=False), self._price(symbol, by_mark=True)
        apart = abs(mark - last) > TRIGGER_PROTECT * last
        found = [
            c
            for c in self.waiting(symbol)
            if c.meets(mark if c.condition.by_mark else last, m.instrument) and not (c.condition.protected and apart)
        ]
        return sorted(found, key=lambda c: (c.condition.kind.startswith("TAKE_PROFIT"), c.algo_id))

    def trigger(self, order: Conditional) -> Order | None:
        """Make the engine's order; None when the engine refuses it, which the conditional order then tells."""
        self._move(order, "TRIGGERING")
        order.triggered_ns = self._venue.now_ns
        request = order.wish.request
        held = abs(self._venue.position(order.symbol).quantity)
        if order.condition.closing and held:
            request = evolve(request, quantity=min(request.quantity, held))
        try:
            placed = self._venue.submit(request, order.client_id)
        except Rejected as error:
            self.end(order, "REJECTED", error.message)
            return None
        self._by_engine[placed.order_id] = order
        order.engine = placed
        self._waiting.pop(order.algo_id, None)
        self._move(order, "TRIGGERED")
        return placed

    def moved(self, engine: Order) -> None:
        """An order of the engine has moved on; with its end the conditional order behind it is finished."""
        order = self._by_engine.get(engine.order_id)
        if order is not None:
            order.engine = engine
            if engine.status.terminal:
                self._move(order, "FINISHED")

    def expire(self, now_ms: int) -> None:
        """End those whose time has come."""
        for order in self.waiting():
            if 0 < order.wish.good_till_ms <= now_ms:
                self.end(order, "EXPIRED", "its good-till date has come")

    def closed(self, symbol: str, held: int) -> None:
        """The position was closed or turned to `held` (signed): what could only have reduced it expires."""
        for order in self.waiting(symbol):
            if order.wish.request.reduce_only and held * order.sign >= 0:
                self.end(order, "EXPIRED", "the position it would reduce is closed")

    def liquidated(self, symbol: str) -> None:
        """The position was liquidated: nothing of the symbol waits on."""
        for order in self.waiting(symbol):
            status = "EXPIRED" if order.wish.request.reduce_only else "CANCELED"
            self.end(order, status, "the position was liquidated")

    def end(self, order: Conditional, status: str, reason: str = "") -> None:
        """Take an order off the list."""
        self._waiting.pop(order.algo_id, None)
        order.reason = reason
        self._move(order, status)

    # ------------------------------------------------------------ inside

    def _move(self, order: Conditional, status: str) -> None:
        order.status, order.updated_ns = status, self._venue.now_ns
        self._tell(order)

    def _price(self, symbol: str, *, by_mark: bool) -> int:
        m = self._venue.markets[symbol]
        return m.instrument.nearest_ticks(m.mark if by_mark else m.last)

    def _check(self, wish: Wish, condition: Condition, instrument: Instrument) -> None:
        for name, value in (("trigger", condition.trigger), ("activate", condition.activate)):
            if value:
                check_level(name, value, instrument)
        limit = wish.request.price is not None
        reference = condition.trigger if limit else instrument.price(self._venue.mark_price(instrument.symbol))
        try:
            check_filters(wish.request, instrument, reference)
        except Rejected as error:
            if error.code in _BY_TRIGGER:
                facts = {"price": wish.request.price, "trigger": condition.trigger}
                raise refuse(_BY_TRIGGER[error.code], **facts) from None
            raise
