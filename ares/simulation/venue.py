"""The simulated venue: orders, matching and one account over several symbols, in integers.

It trades in one-way mode with isolated margin. It knows nothing of tapes: `Session` and `PaperExchange` tell it what
the market did (`trade`, `walk`, `fund`), whoever trades tells it orders, and it answers with private events.

Its rules: a taker pays the slippage; a limit order that rested makes and needs the price to pass it; a reduce-only
order is cut to the position when it trades and expires with it; a position is liquidated at the mark price and never
costs more than its margin. A bar does not say how much could have been traded in it, so orders fill whole; where it is
known what somebody else traded, resting limit orders fill by that quantity, the best price first, then the oldest.

A bar's open is a price for ten seconds. What is sent later in the bar waits for the next open and meets nothing of the
bar's path, because that may lie before it; only a reduce-only stop does, since there the worse must be assumed.
"""

from __future__ import annotations

from decimal import Decimal

from attrs import evolve

from ares.account import Account, Position
from ares.errors import Rejected
from ares.events import VenueSnapshot
from ares.instruments import Side, from_units
from ares.kernels import matching as rules
from ares.orders import Order, OrderRequest, OrderStatus, TimeInForce
from ares.simulation.books import Books
from ares.simulation.config import VenueConfig
from ares.simulation.depth import Depth
from ares.simulation.paths import first_hit, nearest_entries
from ares.simulation.refusals import check_amendment, check_filters, refuse
from ares.simulation.resting import MarketState, Resting, order_of

__all__ = ["Venue", "VenueConfig"]

_FRESH_NS = 10_000_000_000  # how long a price can be traded at


class Venue(Books):
    """One account at a simulated venue. `now_ns` is set by whoever owns time; `events` collects private events."""

    depth: Depth | None = None  # what takers eat into, level by level; None: they fill whole at one price

    # ------------------------------------------------------------ what a trader may do

    def submit(self, request: OrderRequest, client_order_id: str | None = None) -> Order:
        """Take an order. It fills at once where the last price can be traded at, else it waits for the next one.

        Raises: Rejected, with the venue's code; nothing has happened then.
        """
        m = self._market(request.symbol)
        instrument = m.instrument
        client_id = client_order_id or request.client_order_id or f"sim-{self.orders_made + 1}"
        if any(r.order.client_order_id == client_id for r in m.orders):
            raise refuse(-4116, client_order_id=client_id)
        if m.last <= 0:
            raise refuse(-4022, symbol=request.symbol)
        check_filters(request, instrument, instrument.price(m.mark))
        order = order_of(request, str(self.orders_made + 1), client_id, self.now_ns)
        return self._enter(m, Resting(self.orders_made + 1, order, instrument))

    def amend(self, symbol: str, order_id: str, *, quantity: Decimal, price: Decimal) -> Order:
        """Give an open limit order another size and price; it stands behind all others then.

        A post-only order that would now take is cancelled, and so is one that has already traded as much. What is
        refused leaves the order as it was.
        Raises: Rejected -2013, -5025 (no limit order), -5027 (no change), and what `submit` refuses.
        """
        m = self._market(symbol)
        old = next((r for r in m.orders if r.order.order_id == order_id), None)
        if old is None:
            raise refuse(-2013, symbol=symbol, order_id=order_id)
        check_amendment(old.order, quantity, price, m.instrument, m.instrument.price(m.mark))
        if quantity <= old.order.filled:
            return self._end(m, old, OrderStatus.CANCELED, "the amended order has traded as much")
        fresh = Resting(
            self.orders_made + 1,
            evolve(old.order, quantity=quantity, price=price, updated_ns=self.now_ns),
            m.instrument,
        )
        self.reserved -= old.reserved
        m.orders.remove(old)
        try:
            return self._enter(m, fresh)
        except Rejected as error:
            self.reserved += old.reserved
            m.orders.append(old)
            if error.code == -5022:
                return self._end(m, old, OrderStatus.CANCELED, "the amended post-only order would take")
            raise

    def cancel(self, symbol: str, order_id: str | None = None, *, client_order_id: str | None = None) -> Order:
        """Cancel an open order. Raises Rejected -2011 when there is no such open order (it may have filled)."""
        m = self._market(symbol)
        for resting in m.orders:
            if resting.order.order_id == order_id or (
                order_id is None and resting.order.client_order_id == client_order_id
            ):
                return self._end(m, resting, OrderStatus.CANCELED, "cancelled by its owner")
        raise refuse(-2011, symbol=symbol, order_id=order_id, client_order_id=client_order_id)

    def expire(self, symbol: str, order_id: str, reason: str) -> Order:
        """End an open order whose time has come. Raises Rejected -2011 when there is no such open order."""
        m = self._market(symbol)
        for resting in m.orders:
            if resting.order.order_id == order_id:
                return self._end(m, resting, OrderStatus.EXPIRED, reason)
        raise refuse(-2011, symbol=symbol, order_id=order_id)

    def get_order(self, symbol: str, order_id: str | None = None, *, client_order_id: str | None = None) -> Order:
        """An order in its present state, open or not. Raises Rejected -2013."""
        self._market(symbol)
        known = order_id if order_id is not None else self.ids_by_client.get((symbol, client_order_id or ""))
        order = self.orders.get(known or "")
        if order is None or order.symbol != symbol:
            raise refuse(-2013, symbol=symbol, order_id=order_id, client_order_id=client_order_id)
        return order

    def open_orders(self, symbol: str | None = None) -> tuple[Order, ...]:
        """Normal and conditional orders that may still trade, oldest first."""
        markets = self.markets.values() if symbol is None else (self._market(symbol),)
        return tuple(r.order for r in sorted((r for m in markets for r in m.orders), key=lambda r: r.number))

    def set_leverage(self, symbol: str, leverage: int) -> int:
        """Set the leverage of later increases. Raises Rejected -4028, -4161, -2027."""
        m = self._market(symbol)
        if not 1 <= leverage <= m.instrument.max_leverage:
            raise refuse(-4028, leverage=leverage, most=m.instrument.max_leverage)
        held = self.ledger.lots(symbol)
        if held and leverage < self.ledger.leverage(symbol):
            raise refuse(-4161, leverage=leverage, now=self.ledger.leverage(symbol))
        if held and m.instrument.tiers:
            notional = m.instrument.from_lots(abs(held)) * m.instrument.price(m.mark)
            if leverage > m.instrument.tier(notional).max_leverage:
                raise refuse(-2027, notional=notional, leverage=leverage)
        self.ledger.set_leverage(m.instrument, leverage)
        return leverage

    def account(self) -> Account:
        """The account at the present mark prices."""
        self._mark_all()
        return self.ledger.account(self.now_ns, reserved=from_units(self.reserved))

    def position(self, symbol: str) -> Position:
        """What is held of `symbol`; a flat position when nothing is."""
        self._market(symbol)
        self._mark_all()
        return self.ledger.position(symbol, self.now_ns)

    def snapshot(self) -> VenueSnapshot:
        """Venue truth at this moment."""
        return VenueSnapshot(
            ts_event=self.now_ns,
            ts_seen=self.now_ns,
            account=self.account(),
            open_orders=self.open_orders(),
            instruments=tuple(self.instruments.values()),
        )

    def last_price(self, symbol: str) -> float:
        """Quote per base; 0 when none is known yet."""
        return self._market(symbol).last

    def mark_price(self, symbol: str) -> float:
        """The mark price, quote per base; 0 when none is known yet."""
        return self._market(symbol).mark

    def taker_price(self, symbol: str, side: Side) -> Decimal:
        """What a market order would pay (BUY) or get (SELL) at the last price. Raises Rejected without a price."""
        m = self._market(symbol)
        if m.last <= 0:
            raise refuse(-4022, symbol=symbol)
        ticks = m.instrument.nearest_ticks(m.last)
        return m.instrument.from_ticks(rules.slipped_ticks(side.sign, ticks, self._slippage))

    # ------------------------------------------------------------ what the market does

    def quote(self, symbol: str, price: float, mark: float | None = None) -> None:
        """The last price (and mark) as known, without anybody trading at it."""
        m = self.markets[symbol]
        m.last = price
        m.mark = price if mark is None or not mark > 0 else mark
        m.tradable = False

    def mark(self, symbol: str, mark: float) -> None:
        """A new mark price: a position beyond its border is liquidated at the last price."""
        m = self.markets[symbol]
        m.mark = mark
        if m.liquidation and m.last > 0:
            self._liquidate_at(m, m.instrument.nearest_ticks(mark), m.instrument.nearest_ticks(m.last))

    def trade(
        self,
        symbol: str,
        price: float,
        mark: float | None = None,
        *,
        ask: float | None = None,
        lots: int | None = None,
        taker: Side | None = None,
    ) -> None:
        """A price at which everything may trade now, and until the next `walk` or `quote`: a bar's open, or a tick.

        First liquidation, then in this order stops, market orders, targets and limits; what a gap jumped over fills at
        this very price. ask: what buyers see when it is not `price`, which is then the bid.

        lots: what others traded at this price, and `taker` who of them took: limit orders that rested then fill no more
        than that, each at its own price; at the very price of the trade (`limit_through` 0) only those on the other
        side. None: not known, they fill whole.
        """
        m = self.markets[symbol]
        m.last = price
        m.mark = price if mark is None or not mark > 0 else mark
        m.tradable = True
        m.traded_ns = self.now_ns
        if m.liquidation:
            self._liquidate_at(m, m.instrument.nearest_ticks(m.mark), m.instrument.nearest_ticks(price))
        if not m.orders:
            return
        bid = m.instrument.nearest_ticks(price)
        offered = bid if ask is None else m.instrument.nearest_ticks(ask)
        for resting in sorted(m.orders, key=lambda r: (r.kind, 0 if lots is None else _rank(r), r.number)):
            if resting not in m.orders or self._too_new(resting):
                continue  # it expired with the position, or this price is older than the order
            ticks = offered if resting.sign > 0 else bid
            if resting.arriving and resting.kind in (rules.MARKET, rules.LIMIT):
                self._arrive(m, resting, ticks)
            elif lots is not None and resting.kind == rules.LIMIT:
                lots -= self._share(m, resting, ticks, lots, taker)
            elif rules.reached(resting.kind, resting.sign, resting.trigger, ticks, self.config.limit_through):
                fill = rules.fill_ticks(resting.kind, resting.sign, resting.trigger, ticks, self._slippage)
                self._fill(m, resting, fill, maker=resting.kind == rules.LIMIT)
            resting.arriving = False

    def walk(
        self,
        symbol: str,
        low: float,
        high: float,
        close: float,
        mark_low: float | None = None,
        mark_high: float | None = None,
        mark_close: float | None = None,
    ) -> None:
        """The price went from where it last traded to both extremes and ended at `close`.

        Which extreme came first is assumed against us; see `ares.kernels.matching`. Marks default to the prices.
        """
        m = self.markets[symbol]
        if m.orders or m.liquidation:
            to_ticks = m.instrument.nearest_ticks
            lowest, highest = to_ticks(low), to_ticks(high)
            self._walk(
                m,
                lowest,
                highest,
                lowest if mark_low is None or not mark_low > 0 else to_ticks(mark_low),
                highest if mark_high is None or not mark_high > 0 else to_ticks(mark_high),
            )
        self.quote(symbol, close, mark_close)

    def fund(self, symbol: str, rate: Decimal, mark: float) -> Decimal | None:
        """Settle funding on what is held now; what was received (quote), None when nothing is held."""
        m = self.markets[symbol]
        if self.ledger.lots(symbol) == 0:
            return None
        received = self.ledger.book_funding(m.instrument, rate=rate, mark_price=mark)
        m.liquidation = self.ledger.liquidation_ticks(symbol)
        return received

    # ------------------------------------------------------------ placing

    def _enter(self, m: MarketState, r: Resting) -> Order:
        """Check an order and put it on the book; it trades at once where the last price can be traded at."""
        price = m.instrument.nearest_ticks(m.last)
        self._check_placing(m, r, price)
        self.orders_made += 1
        self.reserved += r.reserved
        m.orders.append(r)
        self._report(m, r, r.order)
        if m.tradable and self.now_ns <= m.traded_ns + _FRESH_NS:
            r.arriving = False
            if r.kind in (rules.MARKET, rules.LIMIT):
                self._arrive(m, r, price)
        return self.orders[r.order.order_id]

    def _arrive(self, m: MarketState, r: Resting, price: int) -> None:
        """A market or limit order meets its first tradable price: it takes, rests or expires."""
        r.arriving = False
        if r.kind == rules.MARKET:
            self._take(m, r, rules.slipped_ticks(r.sign, price, self._slippage))
        elif rules.reached(rules.LIMIT, r.sign, r.trigger, price, 0):
            if r.order.time_in_force is TimeInForce.GTX:
                self._end(m, r, OrderStatus.EXPIRED, "post-only order would take")
            else:
                self._take(m, r, rules.taken_ticks(r.sign, r.trigger, price, self._slippage))
        elif r.order.time_in_force in (TimeInForce.IOC, TimeInForce.FOK):
            self._end(m, r, OrderStatus.EXPIRED, "nothing to take at its price")

    def _take(self, m: MarketState, r: Resting, first: int) -> None:
        """Trade as taker from the price `first` on; what a limit order does not get rests, unless it may not."""
        if self.depth is None:
            self._fill(m, r, first, maker=False)
            return
        best = self.depth.lots(m.instrument, m.instrument.price(m.last))
        prices = [max(1, first + r.sign * n) for n in range(self.depth.levels)]
        if r.kind == rules.LIMIT:
            prices = [at for at in prices if r.sign * (at - r.trigger) <= 0]
        if r.order.time_in_force is TimeInForce.FOK and best * len(prices) * (len(prices) + 1) // 2 < r.lots:
            self._end(m, r, OrderStatus.EXPIRED, "not all of it can be taken")
            return
        for n, at in enumerate(prices, 1):
            self._fill(m, r, at, maker=False, most=best * n)
            if r not in m.orders:
                return
        if r.kind == rules.MARKET or r.order.time_in_force is TimeInForce.IOC:
            self._end(m, r, OrderStatus.EXPIRED, "nothing more to take at its price")

    # ------------------------------------------------------------ matching

    def _share(self, m: MarketState, r: Resting, price: int, lots: int, taker: Side | None) -> int:
        """What a resting limit order gets of `lots` that others traded at `price`; the lots it traded."""
        beside = r.trigger == price and taker is r.order.side  # it would have been taken from, not by, its own side
        if lots == 0 or beside or not rules.reached(r.kind, r.sign, r.trigger, price, self.config.limit_through):
            return 0
        return self._fill(m, r, r.trigger, maker=True, most=lots)

    def _walk(self, m: MarketState, low: int, high: int, mark_low: int, mark_high: int) -> None:
        """Play one bar's path from its open, order by order; each fill may change what comes next."""
        symbol = m.instrument.symbol
        price, through = m.instrument.nearest_ticks(m.last), self.config.limit_through
        low_ahead = high_ahead = True
        while m.orders or m.liquidation:
            held = self.ledger.lots(symbol)
            below, above = (0, 0) if held else nearest_entries(self._on_path(m), price, low, high, through)
            leg = rules.next_leg(held, low_ahead, high_ahead, below, above)
            if leg == 0:
                break
            end, mark_end = (low, mark_low) if leg < 0 else (high, mark_high)
            hit = first_hit(self._on_path(m), price, end, leg, through)
            liquidated = m.liquidation and held * leg < 0 and leg * (mark_end - m.liquidation) >= 0
            border = leg * max(leg * min(max(m.liquidation, low), high), leg * price)  # a fill may bring it behind us
            if liquidated and (hit is None or leg * (border - hit[0]) < 0):
                self._liquidate(m, border)
                price = border
            elif hit is not None:
                price, r = hit
                limit = r.kind == rules.LIMIT
                fill = r.trigger if limit else rules.slipped_ticks(r.sign, price, self._slippage)
                self._fill(m, r, fill, maker=limit)
            else:
                price = end
                low_ahead, high_ahead = low_ahead and leg > 0, high_ahead and leg < 0

    def _on_path(self, m: MarketState) -> list[Resting]:
        """The orders that a bar's path may meet."""
        return [r for r in m.orders if not self._off_path(r)]

    def _too_new(self, r: Resting) -> bool:
        return self.cutoff_ns is not None and r.order.created_ns > self.cutoff_ns

    def _off_path(self, r: Resting) -> bool:  # it came too late for this bar's path
        return self._too_new(r) or (r.arriving and not (r.reduce_only and r.kind == rules.STOP))


def _rank(r: Resting) -> int:
    """Limit orders that share a trade: the best price first."""
    return -r.sign * r.trigger if r.kind == rules.LIMIT else 0
