"""Trades and quotes that features asked for: gathered a quarter of a second, told before the candle of their bar."""

from __future__ import annotations

from collections.abc import Hashable

import msgspec
from attrs import define, field

from ares.events import AggTrades, BookTop, CandleClosed, Event
from ares.market import QUOTE_SLOT_NS

__all__ = ["GATHER", "SETTLE", "Gathering"]

GATHER = QUOTE_SLOT_NS / 1e9
"""Seconds over which trades become one event."""

SETTLE = 0.5
"""Seconds for which a closed candle waits for its last trades: the venue tells them up to a tenth of a second late."""


@define
class Gathering:
    """What waits to be told. Of quotes the last of each slot of time, so that live and recorded ones are the same."""

    kinds: frozenset[str]  # of agg_trades, book_top
    _held: dict[Hashable, AggTrades | BookTop] = field(factory=dict, init=False)
    _traded_ns: dict[str, int] = field(factory=dict, init=False)  # venue time of each symbol's newest trade
    _candles: dict[str, CandleClosed] = field(factory=dict, init=False)  # that wait for their last trades
    _bars: int = field(default=0, init=False)  # candles told so far: trades before and after one stay apart

    def takes(self, event: Event) -> bool:
        """Whether this is an event to gather."""
        kind = {AggTrades: "agg_trades", BookTop: "book_top"}.get(type(event))
        return kind in self.kinds

    @property
    def waiting(self) -> bool:
        """True while something waits."""
        return bool(self._held)

    def add(self, event: AggTrades | BookTop) -> None:
        """Keep it until it is released."""
        if isinstance(event, BookTop):
            self._held[event.symbol, event.ts_event // QUOTE_SLOT_NS] = event
            return
        self._traded_ns[event.symbol] = event.trades[-1].ts_ns
        waiting = self._held.get((event.symbol, "trades"))
        if isinstance(waiting, AggTrades):
            event = msgspec.structs.replace(event, trades=waiting.trades + event.trades)
        self._held[event.symbol, "trades"] = event

    def release(self, now_ns: int, close_ns: int = 0) -> list[tuple[Hashable, AggTrades | BookTop]]:
        """What may be told: all trades, and quotes of slots that are over, or of a bar that closed at `close_ns`.

        Each comes with a key that is equal for trades which may be told as one event.
        """
        told: list[tuple[Hashable, AggTrades | BookTop]] = []
        for key, event in list(self._held.items()):
            forming = now_ns < (event.ts_event // QUOTE_SLOT_NS + 2) * QUOTE_SLOT_NS  # a slot more for its way to us
            if isinstance(event, BookTop) and forming and event.ts_event >= close_ns:
                continue
            del self._held[key]
            told.append(((*key, self._bars) if isinstance(key, tuple) else key, event))
        return told

    def must_wait(self, event: CandleClosed) -> bool:
        """Whether trades of the bar may still be on their way; the candle is then kept until `settled`."""
        candle = event.candle
        if "agg_trades" not in self.kinds or self._traded_ns.get(candle.symbol, 0) >= candle.close_ns:
            return False
        self._candles[candle.symbol] = event
        return True

    def settled(self, symbol: str, *, late: bool = False) -> CandleClosed | None:
        """The candle that waits, once a trade of the next bar has come, or it has waited long enough (`late`)."""
        event = self._candles.get(symbol)
        if event is None or not (late or self._traded_ns.get(symbol, 0) >= event.candle.close_ns):
            return None
        del self._candles[symbol]
        return event

    def told_candle(self) -> None:
        """A candle was told: later trades are another event."""
        self._bars += 1
