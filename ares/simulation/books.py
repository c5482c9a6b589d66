"""What the simulated venue books: one account over several symbols, its orders, and what each trade does to both.

When and at what price an order trades is the venue's affair (`ares.simulation.venue`); here it is checked, paid for,
booked and told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from attrs import evolve

from ares.account import Ledger
from ares.errors import InvalidInput
from ares.events import Event, FillBooked, OrderUpdate
from ares.instruments import Instrument, Side, from_units, to_units
from ares.kernels import ledger as money
from ares.kernels import matching as rules
from ares.orders import Fill, Order, OrderStatus, OrderType, TimeInForce
from ares.simulation.config import VenueConfig
from ares.simulation.liquidation import closing_trade
from ares.simulation.refusals import refuse
from ares.simulation.resting import MarketState, Resting

__all__ = ["Books"]


class Books:
    """The account and the orders of a simulated venue. `now_ns` is set by whoever owns time; `events` collects private
    events."""

    def __init__(self, instruments: Iterable[Instrument] = (), config: VenueConfig | None = None) -> None:
        """Instruments may also be added later. Raises: InvalidInput when they have several quote assets."""
        self.config = config or VenueConfig()
        known = tuple(instruments)
        self.instruments: dict[str, Instrument] = {}
        self.ledger = Ledger(known[0].quote_asset if known else self.config.asset, self.config.start_balance)
        self.now_ns = 0
        self.cutoff_ns: int | None = None  # orders placed later than this meet no price yet; None: all do
        self.events: deque[Event] = deque()
        self._slippage = to_units(self.config.slippage)
        self.markets: dict[str, MarketState] = {}
        self.orders: dict[str, Order] = {}  # every order ever, by id
        self.ids_by_client: dict[tuple[str, str], str] = {}  # the latest order of each client id
        self.reserved = 0  # units held back for resting entries
        self.orders_made = self.fills_made = 0  # so far
        for instrument in known:
            self.add(instrument)

    def add(self, instrument: Instrument) -> None:
        """Trade this instrument too; a known one stays as it is. Raises InvalidInput for another quote asset."""
        if instrument.symbol not in self.instruments:
            self.ledger.add(instrument, min(self.config.leverage, instrument.max_leverage))
            self.instruments[instrument.symbol] = instrument
            self.markets[instrument.symbol] = MarketState(instrument, self.config.maker_fee, self.config.taker_fee)

    # ------------------------------------------------------------ placing

    def _market(self, symbol: str) -> MarketState:
        try:
            return self.markets[symbol]
        except KeyError:
            raise refuse(-1121, symbol=symbol, known=", ".join(self.markets)) from None

    def _check_placing(self, m: MarketState, r: Resting, price: int) -> None:
        """Everything beyond filters that decides whether an order may be placed; reserves the margin it may need."""
        held = self.ledger.lots(m.instrument.symbol)
        if r.reduce_only and r.kind in (rules.MARKET, rules.LIMIT) and held * r.sign >= 0:
            raise refuse(-2022, side=r.order.side.value, position=m.instrument.from_lots(held))
        crosses = rules.reached(r.kind, r.sign, r.trigger, price, 0)
        if r.order.order_type.conditional and crosses:
            raise refuse(-2021, stop_price=r.order.stop_price, price=m.last)
        if r.kind == rules.LIMIT and r.order.time_in_force is TimeInForce.GTX and crosses:
            raise refuse(-5022, price=r.order.price, last=m.last)
        if r.reduce_only:
            return
        at = r.trigger if r.trigger else price
        worst = at if r.kind == rules.LIMIT else rules.slipped_ticks(r.sign, at, self._slippage)
        r.reserved = self.needed(m, r.sign * r.lots, worst)
        free = self.ledger.wallet_units - self.ledger.margin_units - self.reserved
        if r.reserved > free:
            raise refuse(-2019, needed=from_units(r.reserved), available=from_units(max(0, free)))
        if m.instrument.tiers and r.reserved:
            after = m.instrument.from_lots(abs(held + r.sign * r.lots)) * m.instrument.from_ticks(worst)
            leverage = self.ledger.leverage(m.instrument.symbol)
            if leverage > m.instrument.tier(after).max_leverage or after >= m.instrument.tiers[-1].cap:
                raise refuse(-2027, notional=after, leverage=leverage)

    def needed(self, m: MarketState, lots: int, ticks: int) -> int:
        """Margin and taker fee (units) that trading `lots` at `ticks` takes beyond closing what is held."""
        held = self.ledger.lots(m.instrument.symbol)
        opened = abs(lots) if held * lots >= 0 else max(0, abs(lots) - abs(held))
        if opened == 0:
            return 0
        unit = m.instrument.unit_fraction
        value = money.value_units(opened, ticks, unit.numerator, unit.denominator)
        fee = money.fee_units(opened, ticks, unit.numerator, unit.denominator, max(m.taker, 0))
        if value < 0 or fee < 0:
            raise InvalidInput(f"{m.instrument.symbol}: the order is worth more than the ledger can hold", lots=lots)
        return -(-value // self.ledger.leverage(m.instrument.symbol)) + fee

    # ------------------------------------------------------------ trading

    def _fill(self, m: MarketState, r: Resting, ticks: int, *, maker: bool, most: int | None = None) -> int:
        """Trade an order, or `most` lots of it; the lots traded.

        A reduce-only one is cut to the position, an unpayable one expires.
        """
        symbol = m.instrument.symbol
        held = self.ledger.lots(symbol)
        whole = r.lots
        if r.reduce_only:
            if held * r.sign >= 0:
                self._end(m, r, OrderStatus.EXPIRED, "nothing to reduce")
                return 0
            whole = min(whole, abs(held))
        lots = whole if most is None else min(whole, most)
        if not r.reduce_only:
            free = self.ledger.wallet_units - self.ledger.margin_units - self.reserved + r.reserved
            if (needed := self.needed(m, r.sign * lots, ticks)) > free:
                reason = f"margin is insufficient: {from_units(needed)} needed, {from_units(max(0, free))} available"
                self._end(m, r, OrderStatus.EXPIRED, reason)
                return 0
        self.reserved -= r.reserved
        unit = m.instrument.unit_fraction
        fee = money.fee_units(lots, ticks, unit.numerator, unit.denominator, m.maker if maker else m.taker)
        if lots < whole:
            self._book(m, r.order, r.sign * lots, ticks, fee, maker=maker, rest=r)
            r.lots -= lots
            r.reserved = 0 if r.reduce_only else self.needed(m, r.sign * r.lots, r.trigger)
            self.reserved += r.reserved
        else:
            m.orders.remove(r)
            cut = r.order.filled + m.instrument.from_lots(lots)
            order = r.order if lots == r.lots else evolve(r.order, quantity=cut)
            self._book(m, order, r.sign * lots, ticks, fee, maker=maker)
        after = self.ledger.lots(symbol)
        if held and after * held <= 0:
            for other in [o for o in m.orders if o.reduce_only and after * o.sign >= 0]:
                self._end(m, other, OrderStatus.EXPIRED, "the position it would reduce is closed")
        return lots

    def _book(
        self, m: MarketState, order: Order, lots: int, ticks: int, fee: int, *, maker: bool, liquidation: bool = False,
        rest: Resting | None = None,
    ) -> None:  # fmt: skip
        """Book one trade of `lots` (signed) and tell it: first the fill, then the order as the fill leaves it.

        rest: the order stays on the book with what it has not traded; None: this was all of it.
        """
        instrument = m.instrument
        self.ledger.book_lots(instrument, lots, ticks, fee)
        m.liquidation = self.ledger.liquidation_ticks(instrument.symbol)
        self.fills_made += 1
        fill = Fill(
            symbol=instrument.symbol,
            trade_id=str(self.fills_made),
            order_id=order.order_id,
            client_order_id=order.client_order_id,
            side=order.side,
            price=instrument.from_ticks(ticks),
            quantity=order.remaining if rest is None else instrument.from_lots(abs(lots)),
            fee=from_units(fee),
            maker=maker,
            ts_ns=self.now_ns,
            liquidation=liquidation,
        )
        self.events.append(FillBooked(ts_event=self.now_ns, ts_seen=self.now_ns, fill=fill))
        filled, average = order.filled + fill.quantity, fill.price
        if order.average_price is not None:
            average = (order.average_price * order.filled + fill.price * fill.quantity) / filled
        status = OrderStatus.FILLED if rest is None else OrderStatus.PARTIALLY_FILLED
        moved = order.moved(status, filled=filled, average_price=average, updated_ns=self.now_ns)
        self._report(m, rest, moved)

    def _liquidate_at(self, m: MarketState, mark: int, price: int) -> None:
        """Liquidate when the mark price is beyond the border; it trades at `price`."""
        held = self.ledger.lots(m.instrument.symbol)
        if (mark - m.liquidation) * held <= 0:
            self._liquidate(m, price)

    def _liquidate(self, m: MarketState, price: int) -> None:
        """Close the position for its owner and cancel its orders."""
        instrument = m.instrument
        held = self.ledger.lots(instrument.symbol)
        ticks, fee = closing_trade(self.ledger, instrument, price, self._slippage)
        self.orders_made += 1
        order = Order(
            order_id=str(self.orders_made),
            client_order_id=f"autoclose-{self.orders_made}",
            symbol=instrument.symbol,
            side=Side.SELL if held > 0 else Side.BUY,
            order_type=OrderType.MARKET,
            quantity=instrument.from_lots(abs(held)),
            reduce_only=True,
            created_ns=self.now_ns,
            updated_ns=self.now_ns,
            reason="liquidation",
        )
        self._book(m, order, -held, ticks, fee, maker=False, liquidation=True)
        for other in list(m.orders):
            status = OrderStatus.EXPIRED if other.reduce_only else OrderStatus.CANCELED
            self._end(m, other, status, "the position was liquidated")

    def _end(self, m: MarketState, r: Resting, status: OrderStatus, reason: str) -> Order:
        """Take an order off the book with what it has not traded."""
        m.orders.remove(r)
        self.reserved -= r.reserved
        return self._report(m, None, r.order.moved(status, updated_ns=self.now_ns, reason=reason))

    def _report(self, m: MarketState, resting: Resting | None, order: Order) -> Order:
        """Remember an order's newest state and tell its owner."""
        if resting is not None:
            resting.order = order
        self.orders[order.order_id] = order
        self.ids_by_client[(order.symbol, order.client_order_id)] = order.order_id
        self.events.append(OrderUpdate(ts_event=self.now_ns, ts_seen=self.now_ns, order=order))
        return order

    def _mark_all(self) -> None:
        for symbol, m in self.markets.items():
            if m.mark > 0:
                self.ledger.mark_ticks(symbol, m.instrument.nearest_ticks(m.mark))
