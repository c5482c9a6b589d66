"""What an earlier session has told already, as its journal says."""

from __future__ import annotations

from attrs import define, field

from ares.events import AggTrades, BookTop, CandleClosed, Event, FillBooked, Funding, MarkPrice, OrderUpdate
from ares.exchange.conditionals import Conditionals

__all__ = ["Past"]

_LOOK_BACK_NS = 7 * 86_400_000_000_000  # of an earlier session's trades, read again for what it may have missed
_HOUR_NS = 3_600_000_000_000
_DATED_BY_THE_VENUE = (CandleClosed, MarkPrice, BookTop, AggTrades, FillBooked, Funding)


@define
class Past:
    """What an earlier session has told already, as its journal says."""

    told: set[tuple[str, str]] = field(factory=set)  # fills by (symbol, trade id)
    times: dict[tuple[str, str], int] = field(factory=dict)  # of those fills, ns
    symbols: set[str] = field(factory=set)  # that were traded
    funded: set[tuple[str, int]] = field(factory=set)  # funding payments by (symbol, time in ns)
    until_ns: int = 0  # of its last event, by the venue's clock; 0: there was none
    began_ns: int = 0  # of its first event that was no history, by the venue's clock; 0: there was none
    _dated: bool = False  # `until_ns` is of an event of the venue's, not of our clock, which may have been wrong

    def read(self, event: Event, conditionals: Conditionals) -> None:
        """Take one recorded event."""
        if isinstance(event, _DATED_BY_THE_VENUE):
            self.until_ns = max(self.until_ns, event.ts_event) if self._dated else event.ts_event
            self._dated = True
            if not (isinstance(event, CandleClosed) and event.history):
                self.began_ns = self.began_ns or event.ts_event
        elif not self._dated:
            self.until_ns = max(self.until_ns, event.ts_event)
        if isinstance(event, FillBooked):
            identity = event.fill.symbol, event.fill.trade_id
            self.told.add(identity)
            self.times[identity] = event.fill.ts_ns
            self.symbols.add(event.fill.symbol)
        elif isinstance(event, OrderUpdate):
            self.symbols.add(event.order.symbol)
            if event.order.order_type.conditional:
                conditionals.saw(event.order)
        elif isinstance(event, Funding) and event.amount is not None:
            self.funded.add((event.symbol, event.ts_event))

    @property
    def since_ns(self) -> int:
        """From when trades may be missing of a symbol of which none was told; 0: there was no session.

        That the market was heard says nothing of the account: a session may have died before it was told of that.
        """
        return self.began_ns or self.until_ns

    @property
    def paid_ns(self) -> int:
        """From when funding payments may be missing: an hour before the last that was told, else the beginning."""
        return max(self.since_ns, max((at for _, at in self.funded), default=0) - _HOUR_NS)

    def confirmed(self) -> dict[str, int]:
        """Trade id by symbol after which trades are read again: those of the last week, or after the newest told."""
        newest: dict[str, int] = {}
        oldest: dict[str, int] = {}
        for symbol, trade_id in self.told:
            if trade_id.isdigit():
                number = int(trade_id)
                newest[symbol] = max(newest.get(symbol, 0), number)
                if self.times.get((symbol, trade_id), 0) >= max(1, self.until_ns - _LOOK_BACK_NS):
                    oldest[symbol] = min(oldest.get(symbol, number), number)
        return newest | oldest
