"""Custody of trades: entries, one stop at the venue per position, exits, and the tidy end of a trade.

Whatever happens to an order, `attend` compares what is with what should be and orders the difference. What the venue
refuses is asked again by a `retry` wake, ever later: no answer leads to an endless exchange, and none leaves a
position to itself.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from attrs import define, evolve, field

from ares.events import Purpose
from ares.orders import Fill, OrderStatus
from ares.pipeline.execution import IntentBook, IntentState
from ares.pipeline.guard import Mode
from ares.pipeline.outbox import Outbox
from ares.pipeline.records import ClosedTrade
from ares.pipeline.stops import Stops
from ares.pipeline.trade import Trade
from ares.protocols import TradePlan

__all__ = ["Custody"]

_FILLS_WITHIN_NS = 45_000_000_000  # fills that an order's end speaks of are told by then, also by a slow audit
_PLANS_REMEMBERED = 200  # of finished trades, for fills that come late


@define
class Custody:
    """All trades that are not over yet, at most one a symbol, and the orders around them."""

    intents: IntentBook
    protect_within_ns: int
    on_closed: Callable[[ClosedTrade], None]
    trades: dict[str, Trade] = field(factory=dict)
    stops: Stops = field(init=False)
    _missing: dict[str, list[IntentState]] = field(factory=dict)  # written off, by symbol, and the venue has not agreed
    _over: dict[str, TradePlan] = field(factory=dict)  # of finished trades, oldest first

    def __attrs_post_init__(self) -> None:
        self.stops = Stops(self.intents, self.protect_within_ns)

    # ------------------------------------------------------------ what people and stages decide

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

    def move_stop(self, out: Outbox, trade: Trade, price: Decimal) -> None:
        """Have the stop rest at another price."""
        trade.wanted_stop = price
        self.attend(out, trade)

    def exit(self, out: Outbox, trade: Trade, quantity: Decimal, purpose: Purpose, reason: str) -> None:
        """Sell off `quantity` at market, reduce-only, unless an exit works already. The stop rests until all is sold.

        Whoever asked decides anew when the venue refuses and a stop rests.
        """
        if trade.closing or self._exits(trade):
            return
        quantity = min(quantity, self._unsold(trade))
        if quantity > 0:
            self._sell(out, trade, quantity, purpose, reason)
            self.attend(out, trade)

    def close(self, out: Outbox, trade: Trade, reason: str) -> None:
        """Sell all that is held or still comes, and go on until that is done."""
        if not trade.insisted:
            trade.closing, trade.insisted = reason, True
        self.recall(out, trade)

    def recall(self, out: Outbox, trade: Trade) -> None:
        """Take back what has not filled of the entry."""
        trade.recalled = True
        self.attend(out, trade)

    def recall_all(self, out: Outbox) -> None:
        """Take back what has not filled of any entry."""
        for trade in list(self.trades.values()):
            self.recall(out, trade)

    # ------------------------------------------------------------ what happens

    def on_fill(self, out: Outbox, state: IntentState | None, fill: Fill, position: Decimal) -> Trade | None:
        """Book a fill and bring its trade in line. None when no trade owns it.

        position: what the account holds after it, base, signed.
        """
        trade = self.trades.get(fill.symbol)
        if trade is None:
            trade = self._reopened(state, fill, position)
            if trade is None:
                return None
            fill = evolve(fill, quantity=abs(position))
        trade.book(fill)
        if fill.side is not trade.side:
            self._note_exit(trade, state, fill)
        else:
            trade.stops.hurry(out.now_ns)  # more is held: another stop than the one that was refused
            self._note_entry(out, trade, state, fill)
        self.attend(out, trade)
        return trade

    def on_order(self, out: Outbox, state: IntentState) -> None:
        """React to news of an order: a stop that rests or is lost, an entry or exit that came to nothing."""
        trade = self.trades.get(state.intent.request.symbol)
        if trade is None or trade.trade_id != state.intent.trade_id:
            return
        if not state.open and not state.concluded:
            state.concluded = True
            if state.status is not OrderStatus.FILLED:
                self._conclude(out, trade, state)
        self.attend(out, trade)

    def overdue(self, out: Outbox, trade: Trade) -> None:
        """The moment by which the stop had to be acknowledged has come: without it the position is closed."""
        due = trade.protect_by_ns is not None and out.now_ns >= trade.protect_by_ns
        unsold = self._unsold(trade)
        if due and unsold > 0 and not self.stops.cover(trade, unsold) and out.guard.mode is not Mode.HALT:
            if not trade.insisted:
                out.alert("position.unprotected", trade.symbol, trade_id=trade.trade_id)
            self.close(out, trade, "stop.unprotected")

    def retry(self, out: Outbox, trade: Trade) -> None:
        """A `retry` wake has come."""
        trade.retry_ns = None
        self.attend(out, trade)

    def unsafe(self) -> list[Trade]:
        """Trades that nobody may leave alone: all but those of which one stop over what is held rests, and no more."""

        def safe(trade: Trade) -> bool:
            working = self.intents.open_of(trade.trade_id)
            stops = [s for s in working if s.intent.purpose is Purpose.STOP and s.resting]
            covered = [s.remaining for s in stops] == [trade.held]
            return covered and len(working) == 1 and not self._promised(trade)

        return [trade for trade in self.trades.values() if not safe(trade)]

    def entering(self) -> list[Trade]:
        """Trades of which an entry may still fill."""
        return [trade for trade in self.trades.values() if self.intents.open_of(trade.trade_id, Purpose.ENTRY)]

    def covered(self, trade: Trade) -> bool:
        """Whether stops of the desk's that rest at the venue cover what is held."""
        return self.stops.cover(trade, self._unsold(trade))

    def lacks_fills(self, symbol: str) -> bool:
        """Whether fills of this symbol were written off and have not come after all."""
        return any(state.untold for state in self._missing.get(symbol, ()))

    def agreed(self, symbol: str) -> None:
        """The venue holds what our ledger holds: nothing is missing, whatever was promised."""
        self._missing.pop(symbol, None)

    def review(self, out: Outbox) -> None:
        """Go through all trades: after a halt, and when the venue has told what it holds."""
        for trade in list(self.trades.values()):
            if out.now_ns >= trade.plan.valid_until_ns:
                trade.recalled = True
            self.overdue(out, trade)
            self.attend(out, trade)

    # ------------------------------------------------------------ one rule for every moment

    def attend(self, out: Outbox, trade: Trade) -> None:
        """Order what a trade lacks and cancel what it has too much of; says nothing when all is as it should be."""
        if self.trades.get(trade.symbol) is not trade:
            return
        self._forget_lost_cancels(out, trade)
        self._await_fills(out, trade)
        if trade.held > 0:
            unsold = self._unsold(trade)
            self._sell_due(out, trade, unsold)
            self.stops.tend(out, trade, unsold)
        else:
            self._settle(out, trade)
        if trade.recalled:
            for state in self.intents.open_of(trade.trade_id, Purpose.ENTRY):
                out.cancel(state)
        self._ask_wake(out, trade)

    def _sell_due(self, out: Outbox, trade: Trade, unsold: Decimal) -> None:
        """Sell what nobody wants to hold, when no exit works and the last refusal is long enough ago."""
        quantity = unsold if trade.closing else min(trade.excess, unsold)
        if quantity > 0 and not self._exits(trade) and trade.exits.due(out.now_ns):
            self._sell(out, trade, quantity, Purpose.EXIT, trade.closing or "entry.overfilled")

    def _sell(self, out: Outbox, trade: Trade, quantity: Decimal, purpose: Purpose, reason: str) -> None:
        whole = quantity == self._unsold(trade)
        if out.submit(trade.symbol, trade.side.opposite, quantity, purpose, trade.trade_id) is not None:
            trade.exit_reason = reason
            if whole:
                trade.closing, trade.recalled = trade.closing or reason, True
        elif not trade.insisted:
            trade.closing = ""  # in a halt nothing is sent; whoever wanted it decides anew afterwards

    def _settle(self, out: Outbox, trade: Trade) -> None:
        """End a trade that holds nothing and has no entry working: cancel leftovers, then forget it."""
        trade.protect_by_ns = None
        if trade.entered == 0 and self.intents.open_of(trade.trade_id, Purpose.ENTRY):
            return
        if trade.entered > 0 and not trade.insisted:
            trade.closing, trade.insisted, trade.recalled = "fill.late", True, True
        leftovers = self.intents.open_of(trade.trade_id)
        for state in leftovers:
            out.cancel(state)
        if leftovers or self._promised(trade) or self._may_hold(trade):
            return
        del self.trades[trade.symbol]
        self.intents.forget(trade.trade_id)
        self._over[trade.trade_id] = trade.plan
        if len(self._over) > _PLANS_REMEMBERED:
            del self._over[next(iter(self._over))]
        if trade.held < 0:
            out.alert("position.unowned", trade.symbol, quantity=str(trade.held * trade.side.sign))
        if trade.entered > 0:
            self.on_closed(trade.closed(out.now_ns))

    def _forget_lost_cancels(self, out: Outbox, trade: Trade) -> None:
        """A cancel that should have ended its order by now counts as never sent."""
        if out.guard.mode is Mode.HALT:
            return
        for state in self.intents.open_of(trade.trade_id):
            if state.cancelling and state.cancels.due(out.now_ns):
                state.cancelling = False

    def _await_fills(self, out: Outbox, trade: Trade) -> None:
        """Wait for fills that the end of an order speaks of; after a while go on without them, and say so."""
        promised = self._promised(trade)
        if not promised:
            trade.fills_by_ns = None
        elif trade.fills_by_ns is None:
            trade.fills_by_ns = out.now_ns + _FILLS_WITHIN_NS
        elif out.now_ns >= trade.fills_by_ns:
            for state in promised:
                out.alert("fills.missing", trade.symbol, intent=state.intent.intent_id, quantity=str(state.promised))
                state.written_off = True
                self._missing.setdefault(trade.symbol, []).append(state)
                trade.recalled = trade.recalled or state.intent.purpose is Purpose.ENTRY
            out.guard.hold(f"difference:{trade.symbol}", Mode.REDUCE)  # until the venue's position is ours again

    def _ask_wake(self, out: Outbox, trade: Trade) -> None:
        """Ask to be woken at the next moment at which something may be tried again."""
        if self.trades.get(trade.symbol) is not trade:
            return
        moments = [] if trade.fills_by_ns is None else [trade.fills_by_ns]
        if out.guard.mode is not Mode.HALT:
            moments += [s.cancels.again_ns for s in self.intents.open_of(trade.trade_id) if s.cancelling]
            unsold = self._unsold(trade)
            if unsold > 0 and (trade.closing or trade.excess) and not self._exits(trade):
                moments.append(trade.exits.again_ns)
            if unsold > 0 and self.stops.missing(trade, unsold):
                moments.append(trade.stops.again_ns)
        soonest = min((m for m in moments if m > out.now_ns), default=None)
        asked = trade.retry_ns if trade.retry_ns is not None and trade.retry_ns > out.now_ns else None
        if soonest is not None and (asked is None or soonest < asked):
            trade.retry_ns = soonest
            out.wake_at(soonest, f"retry:{trade.symbol}")

    # ------------------------------------------------------------ what an order's news means

    def _conclude(self, out: Outbox, trade: Trade, state: IntentState) -> None:
        """An order has ended and did not trade all that it should."""
        purpose = state.intent.purpose
        unsold = self._unsold(trade)
        reason = state.order.reason if state.order is not None else ""
        if purpose is Purpose.STOP:
            if self.stops.lost(out, trade, state, unsold):
                self.close(out, trade, "stop.refused")
        elif purpose is Purpose.ENTRY:
            if state.status is OrderStatus.REJECTED:
                out.alert("entry.rejected", trade.symbol, reason=reason)
        elif unsold > 0:
            out.alert("exit.failed", trade.symbol, status=state.status.value, reason=reason)
            trade.exits.tried(out.now_ns)
            if not trade.insisted and self.stops.cover(trade, unsold):
                trade.closing = trade.exit_reason = ""

    def _note_exit(self, trade: Trade, state: IntentState | None, fill: Fill) -> None:
        if fill.liquidation:
            trade.exit_reason = "liquidation"
        elif state is None:
            trade.exit_reason = "foreign"
        elif state.intent.purpose is Purpose.STOP:
            trade.exit_reason = "stop"
        elif state.intent.purpose is Purpose.EXIT:
            trade.excess = max(Decimal(0), trade.excess - fill.quantity)
        elif state.intent.purpose is Purpose.TARGET and not state.open:
            trade.targets = trade.targets[trade.taking :]
            trade.targets_taken += trade.taking
            trade.taking = 0

    def _note_entry(self, out: Outbox, trade: Trade, state: IntentState | None, fill: Fill) -> None:
        """What an order of ours traded beyond its quantity, or for a trade that is over, is sold again."""
        if state is None:
            return
        if state.intent.trade_id != trade.trade_id or trade.trade_id in self._over:
            trade.excess += fill.quantity
            out.alert("fill.late", trade.symbol, intent=state.intent.intent_id, quantity=str(fill.quantity))
            return
        beyond = min(fill.quantity, state.filled - state.intent.request.quantity)
        if beyond > 0:
            trade.excess += beyond
            out.alert("entry.overfilled", trade.symbol, intent=state.intent.intent_id, quantity=str(beyond))

    def _reopened(self, state: IntentState | None, fill: Fill, position: Decimal) -> Trade | None:
        """A trade again, when an order of one that is over has traded after all; only to be closed.

        None when the fill is not ours, or when what is held after it is not by this fill alone.
        """
        plan = self._over.get(state.intent.trade_id) if state is not None else None
        ours = position * fill.side.sign  # less than the fill where others had gone the other way before
        if plan is None or fill.side is not plan.side or not 0 < ours <= fill.quantity:
            return None
        trade = self.trades[plan.symbol] = Trade(plan)
        trade.closing, trade.insisted, trade.recalled = "fill.late", True, True
        return trade

    # ------------------------------------------------------------ small things

    def _exits(self, trade: Trade) -> list[IntentState]:
        return self.intents.open_of(trade.trade_id, Purpose.EXIT, Purpose.TARGET)

    def _promised(self, trade: Trade) -> list[IntentState]:
        return [s for s in self.intents.of_trade(trade.trade_id) if s.promised > 0]

    def _may_hold(self, trade: Trade) -> bool:
        """Whether an entry has traded of which no fill was told: its trade is kept until the fill comes or the venue
        says that nothing is held, so that what was bought gets its stop. Who insists on the end does not wait.
        """
        missing = (s for s in self._missing.get(trade.symbol, ()) if s.intent.trade_id == trade.trade_id)
        return trade.entered == 0 and not trade.insisted and any(s.untold for s in missing)

    def _unsold(self, trade: Trade) -> Decimal:
        """What is held, less what ended orders have sold by the venue's report though no fill was told yet."""
        told = (s.promised for s in self._promised(trade) if s.intent.purpose is not Purpose.ENTRY)
        return max(Decimal(0), trade.held - sum(told, Decimal(0)))
