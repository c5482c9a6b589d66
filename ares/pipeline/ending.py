"""The end of a session in order: nothing is left behind that could become a position without a stop."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from ares.clock import Clock
from ares.events import Alert, OperatorOrder
from ares.pipeline.desk import Desk
from ares.pipeline.guard import Mode
from ares.pipeline.merge import Merger

__all__ = ["Ending"]

_PATIENCE_NS = 10_000_000_000  # for answers of the venue, unless everything is to be closed first


@define
class Ending:
    """Says when a session that was told to stop is over.

    Entries are called back, and what is held gets its stop, before nobody listens any more; after ten seconds it ends
    as it is, and says so. A market that stands still while we are away is left as it is: it goes on with us.
    """

    desk: Desk
    clock: Clock
    merger: Merger
    alert: Callable[[Alert], None]
    stands_still: bool  # the exchange owns time
    flatten: bool = False  # first close what is held, however long it takes
    _patient: bool = True

    def begin(self) -> None:
        """Hold new risk, and take back what has not filled of entries."""
        if self.stands_still:
            self.merger.put(self._order("stop"))
        else:
            self.merger.put(self._order("end"))
            self.merger.run_outside(self._lose_patience())

    def close_all(self) -> None:
        """Close what is held, too."""
        self.flatten = True
        self.merger.put(self._order("flatten"))

    def over(self) -> bool:
        """True once the session may end. A halt sends nothing; what it has called back is awaited."""
        custody, trades = self.desk.custody, self.desk.custody.trades
        halted = self.desk.guard.mode is Mode.HALT
        if self.merger.has_ready:
            return False
        if self.flatten and not halted:
            return not trades
        unsafe = [] if self.stands_still else custody.unsafe()
        if self._patient and (custody.entering() if halted and unsafe else unsafe):
            return False
        for symbol, trade in trades.items() if self.flatten else ():
            self._say("flatten.withheld", symbol, held=str(trade.held))
        self.flatten = False  # said once, however often it is asked
        for trade in unsafe:
            self._say("session.ended_unprotected", trade.symbol, held=str(trade.held))
        return True

    async def _lose_patience(self) -> OperatorOrder:
        await self.clock.wait_until(self.clock.now_ns() + _PATIENCE_NS)
        self._patient = False
        return self._order("end")  # so that somebody looks, though the market may be silent

    def _order(self, action: str) -> OperatorOrder:
        now = self.clock.now_ns()
        return OperatorOrder(ts_event=now, ts_seen=now, action=action)

    def _say(self, code: str, symbol: str, **facts: str) -> None:
        self.alert(Alert(code=code, symbol=symbol, facts={**facts}))
