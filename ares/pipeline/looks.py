"""Looks at open positions: the monitor is asked when something changed, and its verdict becomes orders."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from ares.account import Ledger
from ares.events import Purpose
from ares.pipeline.calls import Calls
from ares.pipeline.custody import Custody
from ares.pipeline.outbox import Outbox
from ares.pipeline.records import DeskRecords
from ares.pipeline.seat import Seat
from ares.pipeline.trade import Trade
from ares.protocols import Action, Assessment, AssessmentInput, MonitoringStage

__all__ = ["Looks"]


@define
class Looks:
    """Rations the monitor: at most one look every `every_ns`, none while an exit is working, none without news.

    An unchanged input means hold, so a tape played densely and one played sparsely end alike.
    """

    monitor: MonitoringStage
    calls: Calls
    custody: Custody
    records: DeskRecords
    every_ns: int

    def look(self, out: Outbox, seat: Seat, ledger: Ledger) -> None:
        """Have the monitor judge the symbol's position now, or ask to be woken when the next look is due."""
        trade = self.custody.trades.get(seat.symbol)
        if trade is None or trade.held <= 0 or trade.closing or not seat.dirty:
            return
        if self.custody.intents.open_of(trade.trade_id, Purpose.EXIT, Purpose.TARGET):
            return
        due = (seat.looked_ns + self.every_ns) if seat.looked_ns is not None else out.now_ns
        if out.now_ns < due:
            out.wake_at(due, f"look:{seat.symbol}")
            return
        seat.dirty, seat.looked_ns = False, out.now_ns
        given = AssessmentInput(
            now_ns=out.now_ns,
            trade=trade.view(),
            position=ledger.position(seat.symbol, out.now_ns),
            instrument=seat.known_instrument(),
            market=seat.market(out.now_ns),
            analysis=seat.analysis,
        )
        verdict = self.calls.answer(out, "monitor", seat.symbol, Assessment, self.monitor.assess_position, given)
        if verdict is None:
            return  # the stop rests at the venue; the next news asks again
        self.records.assessments.append(verdict)
        self._act(out, trade, verdict)
        if verdict.action is Action.HOLD:
            self._look_again(out, given)

    def _look_again(self, out: Outbox, given: AssessmentInput) -> None:
        """Ask to be woken when time alone could change the verdict: an opinion goes stale though no candle comes."""
        ask: Callable[[AssessmentInput], int | None] | None = getattr(self.monitor, "next_look", None)
        symbol = given.trade.symbol
        moment = self.calls.answer(out, "monitor", symbol, int | None, ask, given) if ask is not None else None
        if moment is not None:
            out.wake_at(moment, f"stale:{given.trade.symbol}")

    def _act(self, out: Outbox, trade: Trade, verdict: Assessment) -> None:
        """Turn a verdict into orders; what the desk does not do is said, not dropped."""
        reason = verdict.reasons[0].code if verdict.reasons else verdict.action.value.lower()
        if verdict.action is Action.MOVE_STOP and verdict.new_stop is not None:
            self.custody.move_stop(out, trade, verdict.new_stop)
        elif verdict.action is Action.CLOSE:
            self.custody.exit(out, trade, trade.held, Purpose.EXIT, reason)
        elif verdict.action in (Action.TAKE_PROFIT, Action.SCALE_DOWN) and verdict.quantity:
            taking = verdict.action is Action.TAKE_PROFIT
            trade.taking = max(1, verdict.targets_hit) if taking else 0
            self.custody.exit(out, trade, verdict.quantity, Purpose.TARGET if taking else Purpose.EXIT, reason)
        elif verdict.action is Action.SCALE_UP:
            out.alert("assessment.not_followed", trade.symbol, action=verdict.action.value)
