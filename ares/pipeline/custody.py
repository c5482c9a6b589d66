"""Custody of trades: entries, exactly one stop at the venue per position, exits, and the tidy end of a trade.

Protection first: the stop is ordered with the entry's fill, a new stop rests before the old one is cancelled, and a
position that has no acknowledged stop after `protect_within_ns` is closed at market.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from attrs import define, evolve, field

from ares.events import Purpose
from ares.orders import Fill, OrderStatus, OrderType
from ares.pipeline.execution import IntentBook, IntentState
from ares.pipeline.outbox import Outbox
from ares.pipeline.records import ClosedTrade
from ares.pipeline.trade import Trade
from ares.protocols import TradePlan

__all__ = ["Custody"]


@define
class Custody:
    """All trades that are not over yet, at most one a symbol, and the orders around them."""

    intents: IntentBook
    protect_within_ns: int
    on_closed: Callable[[ClosedTrade], None]
    trades: dict[str, Trade] = field(factory=dict)

    def enter(self, out: Outbox, plan: TradePlan, leverage: int | None) -> Trade:
        """Order the entry legs of a plan. leverage: the symbol's present setting, None when unknown."""
        symbol = plan.symbol
        plan = evolve(plan, trade_id=out.next_id(symbol))
        trade = self.trades[symbol] = Trade(plan)
        if plan.leverage != leverage:
            out.leverage(symbol, plan.leverage)
        for number, leg in enumerate(plan.legs):
            out.submit(
                symbol,
                plan.side,
                leg.quantity,
                Purpose.ENTRY,
                plan.trade_id,
                order_type=leg.order_type,
                price=leg.price,
                intent_id=plan.trade_id if number == 0 else None,
            )
        out.wake_at(plan.valid_until_ns, f"entry:{symbol}")
        if plan.exit_by_ns is not None:
            out.wake_at(plan.exit_by_ns, f"exit:{symbol}")
        return trade

    def on_fill(self, out: Outbox, state: IntentState | None, fill: Fill) -> Trade | None:
        """Book one of a trade's fills and bring its protection in line. None when no trade owns the fill."""
        trade = self.trades.get(fill.symbol)
        if trade is None or (state is not None and state.intent.trade_id != trade.trade_id):
            return None
        trade.book(fill)
        if fill.side is not trade.side:
            self._note_exit(trade, state, fill)
        if trade.held > 0:
            if not trade.closing:
                self.protect(out, trade)
        else:
            self.settle(out, trade)
        return trade

    def on_order(self, out: Outbox, state: IntentState) -> None:
        """React to news of an order: a stop that rests or is lost, an entry or exit that came to nothing."""
        trade = self.trades.get(state.intent.request.symbol)
        if trade is None or trade.trade_id != state.intent.trade_id:
            return
        purpose = state.intent.purpose
        if purpose is Purpose.STOP:
            self._stop_news(out, trade, state)
        elif not state.open and state.status is not OrderStatus.FILLED:
            reason = state.order.reason if state.order is not None else ""
            if purpose is not Purpose.ENTRY:
                trade.closing = False
                trade.exit_reason = ""
                out.alert("exit.failed", trade.symbol, status=state.status.value, reason=reason)
            elif state.status is OrderStatus.REJECTED:
                out.alert("entry.rejected", trade.symbol, reason=reason)
        self.settle(out, trade)

    def protect(self, out: Outbox, trade: Trade) -> None:
        """See to it that one stop covers what is held at the wanted price; asks once, however often it is called."""
        for stop in self.intents.open_of(trade.trade_id, Purpose.STOP):
            request = stop.intent.request
            if not stop.cancelling and request.quantity == trade.held and request.stop_price == trade.wanted_stop:
                return
        sent = out.submit(
            trade.symbol,
            trade.side.opposite,
            trade.held,
            Purpose.STOP,
            trade.trade_id,
            order_type=OrderType.STOP_MARKET,
            stop_price=trade.wanted_stop,
        )
        if sent is not None and trade.stop_intent is None and trade.protect_by_ns is None:
            trade.protect_by_ns = out.now_ns + self.protect_within_ns
            out.wake_at(trade.protect_by_ns, f"protect:{trade.symbol}")

    def exit(self, out: Outbox, trade: Trade, quantity: Decimal, purpose: Purpose, reason: str) -> None:
        """Sell off `quantity` at market, reduce-only. The stop rests until the position is flat."""
        if trade.closing or self.intents.open_of(trade.trade_id, Purpose.EXIT, Purpose.TARGET):
            return
        quantity = min(quantity, trade.held)
        if out.submit(trade.symbol, trade.side.opposite, quantity, purpose, trade.trade_id) is not None:
            trade.closing = quantity == trade.held
            trade.exit_reason = reason

    def overdue(self, out: Outbox, trade: Trade) -> None:
        """The moment by which the stop had to be acknowledged has come: without it the position is closed."""
        due = trade.protect_by_ns is not None and out.now_ns >= trade.protect_by_ns
        if due and trade.stop_price is None and trade.held > 0:
            out.alert("position.unprotected", trade.symbol, trade_id=trade.trade_id)
            self.exit(out, trade, trade.held, Purpose.EXIT, "stop.unprotected")

    def cancel_entries(self, out: Outbox, trade: Trade) -> None:
        """Take back what has not filled of the entry."""
        for state in self.intents.open_of(trade.trade_id, Purpose.ENTRY):
            out.cancel(state)

    def settle(self, out: Outbox, trade: Trade) -> None:
        """End a trade that holds nothing and has no entry working: cancel leftovers, then forget it."""
        if trade.held > 0:
            return
        if trade.entered == 0 and self.intents.open_of(trade.trade_id, Purpose.ENTRY):
            return
        leftovers = self.intents.open_of(trade.trade_id)
        for state in leftovers:
            out.cancel(state)
        if leftovers:
            return
        del self.trades[trade.symbol]
        self.intents.forget(trade.trade_id)
        if trade.entered > 0:
            self.on_closed(trade.closed(out.now_ns))

    def _note_exit(self, trade: Trade, state: IntentState | None, fill: Fill) -> None:
        if fill.liquidation:
            trade.exit_reason = "liquidation"
        elif state is None:
            trade.exit_reason = "foreign"
        elif state.intent.purpose is Purpose.STOP:
            trade.exit_reason = "stop"
        elif state.intent.purpose is Purpose.TARGET and not state.open:
            trade.targets = trade.targets[trade.taking :]
            trade.targets_taken += trade.taking
            trade.taking = 0

    def _stop_news(self, out: Outbox, trade: Trade, state: IntentState) -> None:
        stop_id = state.intent.intent_id
        newest = list(self.intents.of_trade(trade.trade_id, Purpose.STOP))[-1]
        if state.resting and state is newest and trade.stop_intent != stop_id:
            trade.stop_intent, trade.stop_price = stop_id, state.intent.request.stop_price
            trade.protect_by_ns = None
            for older in self.intents.open_of(trade.trade_id, Purpose.STOP):
                if older is not state:
                    out.cancel(older)
        elif not state.open and state.status is not OrderStatus.FILLED:
            if trade.stop_intent == stop_id:
                trade.stop_intent, trade.stop_price = None, None
            if trade.held > 0 and not trade.closing and not state.cancelling:
                self._stop_lost(out, trade, state)

    def _stop_lost(self, out: Outbox, trade: Trade, state: IntentState) -> None:
        """A stop was refused or taken away by the venue: one that was refused would have fired, so close now."""
        reason = state.order.reason if state.order is not None else ""
        out.alert("stop.lost", trade.symbol, status=state.status.value, reason=reason)
        if state.status is OrderStatus.REJECTED and trade.stop_price is None:
            self.exit(out, trade, trade.held, Purpose.EXIT, "stop.refused")
        elif state.status is OrderStatus.REJECTED:
            trade.wanted_stop = trade.stop_price if trade.stop_price is not None else trade.wanted_stop
        else:
            self.protect(out, trade)
