"""Watching a session from outside: the equity curve and the market it was earned in, from the desk's own events."""

from __future__ import annotations

from attrs import define, field

from ares.events import Alert, CandleClosed, Command, Event, Funding, ModelActivated, VenueSnapshot
from ares.pipeline.desk import Desk

__all__ = ["MarketMemory", "Recorder"]


@define
class MarketMemory:
    """The bars a session played of one symbol, with the funding settled in or at the end of each."""

    open_ns: list[int] = field(factory=list)
    close_ns: list[int] = field(factory=list)
    open: list[float] = field(factory=list)
    close: list[float] = field(factory=list)
    funding: list[float] = field(factory=list)  # sum of rates
    settled: int = 0  # fundings seen; 0: not in the data
    _pending: float = 0.0

    def candle(self, event: CandleClosed) -> None:
        """Take a closed bar."""
        self.open_ns.append(event.candle.open_ns)
        self.close_ns.append(event.candle.close_ns)
        self.open.append(event.candle.open)
        self.close.append(event.candle.close)
        self.funding.append(self._pending)
        self._pending = 0.0

    def fund(self, event: Funding) -> None:
        """Take a settlement: it belongs to the bar that ends with it, or to the one that is forming."""
        self.settled += 1
        if self.close_ns and event.ts_event <= self.close_ns[-1]:
            self.funding[-1] += float(event.rate)
        else:
            self._pending += float(event.rate)


@define
class Recorder:
    """Call it after each event. `equity` has one point for each moment at which candles closed."""

    desk: Desk
    start_units: int | None = None  # 1e-8 quote; None before the first snapshot
    times_ns: list[int] = field(factory=list)
    equity_units: list[int] = field(factory=list)
    in_position: list[bool] = field(factory=list)
    markets: dict[str, MarketMemory] = field(factory=dict)
    models: list[tuple[int, str]] = field(factory=list)  # when each began, and its id
    alerts: dict[str, int] = field(factory=dict)  # by code, how often

    def __call__(self, event: Event, commands: list[Command]) -> None:
        """Note what the event changed."""
        for command in commands:
            if isinstance(command, Alert):
                self.alerts[command.code] = self.alerts.get(command.code, 0) + 1
        kind = type(event)
        if kind is CandleClosed:
            assert isinstance(event, CandleClosed)
            if not event.history:
                self._candle(event)
        elif kind is Funding:
            assert isinstance(event, Funding)
            self._market(event.symbol).fund(event)
        elif kind is ModelActivated:
            assert isinstance(event, ModelActivated)
            self.models.append((event.ts_event, event.sha256))
        elif kind is VenueSnapshot and self.start_units is None:
            self.start_units = self._units()

    def finish(self) -> None:
        """Bring the last point up to date: funding may settle with the last bar."""
        if self.equity_units:
            self.equity_units[-1] = self._units()

    def _candle(self, event: CandleClosed) -> None:
        self._market(event.candle.symbol).candle(event)
        busy = any(trade.held for trade in self.desk.custody.trades.values())
        closed = event.candle.close_ns
        if self.times_ns and self.times_ns[-1] >= closed:  # another symbol's bar; a late one does not turn time back
            self.equity_units[-1] = self._units()
            self.in_position[-1] = busy
        else:
            self.times_ns.append(closed)
            self.equity_units.append(self._units())
            self.in_position.append(busy)

    def _market(self, symbol: str) -> MarketMemory:
        return self.markets.setdefault(symbol, MarketMemory())

    def _units(self) -> int:
        return self.desk.ledger.equity_units if self.desk.ledger is not None else 0
