"""Exactly one stop at the venue per position: a new one rests before the old one is cancelled, and none is asked twice.

A stop counts as protection once the venue has acknowledged it. Until then a deadline runs, by which the position is
closed instead.
"""

from __future__ import annotations

from decimal import Decimal

from attrs import define

from ares.events import Purpose
from ares.orders import OrderStatus, OrderType
from ares.pipeline.execution import IntentBook, IntentState
from ares.pipeline.guard import Mode
from ares.pipeline.outbox import Outbox
from ares.pipeline.trade import Trade

__all__ = ["Stops"]


@define
class Stops:
    """Looks after the stops of all trades."""

    intents: IntentBook
    protect_within_ns: int

    def working(self, trade: Trade) -> list[IntentState]:
        """The trade's stops that may still trade and that nobody has cancelled, oldest first."""
        return [s for s in self.intents.open_of(trade.trade_id, Purpose.STOP) if not s.cancelling]

    def cover(self, trade: Trade, quantity: Decimal) -> bool:
        """True when stops that rest at the venue would sell `quantity`."""
        return sum((s.remaining for s in self.working(trade) if s.resting), Decimal(0)) >= quantity

    def tend(self, out: Outbox, trade: Trade, quantity: Decimal) -> None:
        """See to it that one stop covers `quantity` at the wanted price; asks once, however often it is called.

        quantity: what is held and has not been sold already.
        """
        if quantity <= 0:
            trade.protect_by_ns = None
            return
        self._keep_one(out, trade, quantity)
        covered = self.cover(trade, quantity)
        if covered:
            trade.protect_by_ns = None
        if not self.missing(trade, quantity):
            asked = True
        else:
            asked = trade.stops.due(out.now_ns) and self._submit(out, trade, quantity)
        unprotected = not covered and self._needed(trade, quantity) and (asked or out.guard.mode is not Mode.HALT)
        if unprotected and trade.protect_by_ns is None:
            trade.protect_by_ns = out.now_ns + self.protect_within_ns
            out.wake_at(trade.protect_by_ns, f"protect:{trade.symbol}")

    def missing(self, trade: Trade, quantity: Decimal) -> bool:
        """True while a stop over `quantity` is wanted that has not been ordered.

        A larger one is left alone while an exit works, for what that sells is not known before its end.
        """
        if not self._needed(trade, quantity):
            return False
        working = self.working(trade)
        if any(_fits(s, trade, quantity) for s in working):
            return False
        larger = any(s.resting and s.remaining > quantity and _priced(s, trade) for s in working)
        return not (larger and self.intents.open_of(trade.trade_id, Purpose.EXIT, Purpose.TARGET))

    def lost(self, out: Outbox, trade: Trade, state: IntentState, quantity: Decimal) -> bool:
        """Take the end of a stop that did not sell what it should. True when the position must be closed.

        A stop that was refused would have fired; one that the venue took away is placed again. While another one
        covers the position, a refused one was a wish to move it: the old price stands.
        """
        if state.cancelling or quantity <= 0:
            return False
        refused = state.status is OrderStatus.REJECTED
        trade.stops.tried(out.now_ns, at_once=not refused)
        if not self._needed(trade, quantity):
            return False
        reason = state.order.reason if state.order is not None else ""
        out.alert("stop.lost", trade.symbol, status=state.status.value, reason=reason)
        if not refused or trade.closing:
            return False
        if self.cover(trade, quantity):
            trade.wanted_stop = trade.stop_price if trade.stop_price is not None else trade.wanted_stop
            return False
        return not any(s.remaining >= quantity for s in self.working(trade))

    def _needed(self, trade: Trade, quantity: Decimal) -> bool:
        """A position needs a stop, unless all of it is being sold by an exit of which the venue knows or soon will."""
        if not trade.closing:
            return True
        exits = self.intents.open_of(trade.trade_id, Purpose.EXIT, Purpose.TARGET)
        lost = any(s.status is OrderStatus.UNKNOWN for s in exits)
        return lost or sum((s.remaining for s in exits), Decimal(0)) < quantity

    def _keep_one(self, out: Outbox, trade: Trade, quantity: Decimal) -> None:
        """Note which stop protects the position, and cancel those that it makes needless."""
        working = self.working(trade)
        resting = [s for s in working if s.resting]
        fitting = [s for s in resting if _fits(s, trade, quantity)]
        enough = [s for s in resting if s.remaining >= quantity]
        kept = fitting[-1] if fitting else enough[-1] if enough else None
        shown = kept if kept is not None else resting[-1] if resting else None
        trade.stop_price = shown.intent.request.stop_price if shown is not None else None
        if kept is None:
            return
        older = working[: working.index(kept)]
        for other in [s for s in working if s is not kept] if fitting else older:
            out.cancel(other)

    def _submit(self, out: Outbox, trade: Trade, quantity: Decimal) -> bool:
        sent = out.submit(
            trade.symbol,
            trade.side.opposite,
            quantity,
            Purpose.STOP,
            trade.trade_id,
            order_type=OrderType.STOP_MARKET,
            stop_price=trade.wanted_stop,
        )
        return sent is not None


def _priced(state: IntentState, trade: Trade) -> bool:
    return state.intent.request.stop_price == trade.wanted_stop


def _fits(state: IntentState, trade: Trade, quantity: Decimal) -> bool:
    return state.remaining == quantity and _priced(state, trade)
