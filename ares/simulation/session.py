"""A tape played to one trader: THE order in which things happen inside a bar.

`BarPlay` holds that order for one moment and is shared with paper trading; `Session` strings the moments together and
is used unchanged by the backtester and by `SimulatedExchange`. A bar `[open, close)` happens in three phases:

a. at its open: funding settles on what is held, then the open is a price to trade at: waiting market orders fill with
   slippage, what the gap jumped over fills. An order sent now trades at this same open, a stop rests during this bar;
   what is sent more than ten seconds later waits for the next open (a reduce-only stop already rests);
b. at its close: the path to low and high is matched (`Venue.walk`), liquidation included;
c. still at its close: what was recorded of the bar and asked for (trades, quotes, statistics), `MarkPrice`, then
   `CandleClosed`, then every order waits for the next bar's open.

The private events of a phase are told before anything else happens. At one time stamp: b of all symbols, then their
marks, their candles, wakes, funding, opens; symbols in the tape's order. A wake so finds the bars that end with it
played: what it decides meets the next open, never the price of a bar that is over.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from ares.clock import VirtualClock, moment_ns
from ares.errors import InvalidInput
from ares.events import AggTrades, CandleClosed, Event, Funding, FuturesStatistics, MarkPrice, Wake
from ares.instrument_tables import default_instrument
from ares.instruments import Instrument, from_units, to_units
from ares.market import AggTrade, Candle
from ares.orders import Order, OrderRequest
from ares.simulation.feed import Feed, statistics
from ares.simulation.tape import StepKind, Tape, Track
from ares.simulation.venue import Venue, VenueConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NO_MARKS", "Alarms", "BarPlay", "Marks", "Session", "instruments_of", "settled_rate"]

Marks = tuple[float, float, float, float]  # mark price at open, high, low, close; NaN where unknown
_NAN = float("nan")
NO_MARKS: Marks = (_NAN, _NAN, _NAN, _NAN)


def instruments_of(tape: Tape) -> tuple[Instrument, ...]:
    """The built-in instruments of a tape's symbols; unknown symbols derive theirs from the first recorded price."""
    return tuple(default_instrument(t.symbol, float(t.open[0])) for t in tape.tracks)


def settled_rate(track: Track, row: int) -> Decimal:
    """The recorded funding rate number `row`, a fraction with eight decimals."""
    return from_units(to_units(Decimal(repr(float(track.funding_rate[row])))))


class Alarms:
    """Moments at which somebody wants to be woken, by key; a later wish with the same key replaces the earlier one."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, str]] = []
        self._latest: dict[str, tuple[int, int]] = {}
        self._count = 0

    def set(self, ts_ns: int, key: str) -> None:
        """Wish to be woken at this time."""
        self._count += 1
        self._latest[key] = (ts_ns, self._count)
        heapq.heappush(self._heap, (ts_ns, self._count, key))

    def first(self) -> int | None:
        """The earliest moment; None without any."""
        while self._heap and self._latest.get(self._heap[0][2]) != self._heap[0][:2]:
            heapq.heappop(self._heap)  # replaced by a later wish
        return self._heap[0][0] if self._heap else None

    def pop(self, now_ns: int) -> Wake:
        """The earliest one's wake, told at `now_ns`."""
        _, _, key = heapq.heappop(self._heap)
        del self._latest[key]
        return Wake(ts_event=now_ns, ts_seen=now_ns, key=key)


class BarPlay:
    """The phases of bars at one moment, for all symbols whose bars open or close then."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self._open: dict[str, int] = {}  # symbol -> open_ns of the bar whose open was played

    def open(self, ts_ns: int, opens: Sequence[tuple[str, float, float]], now_ns: int | None = None) -> None:
        """Phase a without funding: symbol, open and mark price (NaN: the open) of the bars that begin at `ts_ns`.

        now_ns: when we hear of it; None: at `ts_ns`.
        """
        self.venue.now_ns = ts_ns if now_ns is None else now_ns
        for symbol, price, mark in opens:
            self._open[symbol] = ts_ns
            self.venue.trade(symbol, price, mark)

    def close(self, ts_ns: int, bars: Sequence[tuple[Candle, Marks]], now_ns: int | None = None) -> list[Event]:
        """Phases b and c of the bars that end at `ts_ns`; the public events to tell after the private ones.

        A bar whose open nobody played is told but not traded: no order may meet prices from before it was sent.
        """
        venue = self.venue
        seen = venue.now_ns = ts_ns if now_ns is None else now_ns
        for candle, (_, high, low, close) in bars:
            if self._open.get(candle.symbol) == candle.open_ns:
                venue.walk(candle.symbol, candle.low, candle.high, candle.close, low, high, close)
            else:
                venue.quote(candle.symbol, candle.close, close)
        told: list[Event] = [
            MarkPrice(ts_event=ts_ns, ts_seen=seen, symbol=c.symbol, price=venue.mark_price(c.symbol)) for c, _ in bars
        ]
        told += [CandleClosed(ts_event=ts_ns, ts_seen=seen, candle=c) for c, _ in bars]
        return told

    def fund(self, ts_ns: int, symbol: str, rate: Decimal, mark: float, now_ns: int | None = None) -> Funding:
        """Settle funding on what is held now. mark: NaN takes the venue's present mark price."""
        seen = self.venue.now_ns = ts_ns if now_ns is None else now_ns
        price = mark if mark > 0 else self.venue.mark_price(symbol)
        amount = self.venue.fund(symbol, rate, price)
        return Funding(ts_event=ts_ns, ts_seen=seen, symbol=symbol, rate=rate, mark_price=price, amount=amount)


class Session:
    """One trader's run over a tape. The first event is a `VenueSnapshot`; the last is followed by None.

    Between two calls of `next_event` the trader may submit, cancel and set leverage; all of it happens at `now_ns`.
    `clock` shows the same time.
    """

    def __init__(
        self,
        tape: Tape,
        venue: Venue | None = None,
        clock: VirtualClock | None = None,
        *,
        start: datetime | str | int | None = None,
        config: VenueConfig | None = None,
        instruments: Sequence[Instrument] | None = None,
        kinds: Collection[str] = (),
    ) -> None:
        """start: bars that closed by then are history (a moment, see `moment_ns`); None: there is none.

        venue: None makes one from `config` and `instruments` (None: built-in ones). kinds: what to tell besides bars,
        see `tell`.
        Raises: InvalidInput when `start` is not before the tape's end, or the venue lacks a symbol of the tape.
        """
        self.tape = tape
        self.venue = venue or Venue(instruments or instruments_of(tape), config)
        if missing := [s for s in tape.symbols if s not in self.venue.instruments]:
            raise InvalidInput(f"the venue does not know {', '.join(missing)}", missing=missing)
        self.start_ns = tape.start_ns if start is None else moment_ns(start)
        if not self.start_ns < tape.end_ns:
            raise InvalidInput("the session starts after the tape's end", start_ns=self.start_ns, end_ns=tape.end_ns)
        self.clock = clock or VirtualClock(self.start_ns)
        self._play = BarPlay(self.venue)
        self._queue: deque[Event] = deque()
        self._steps: Iterator[tuple[int, int, int, int]] = tape.steps(self.start_ns)
        self._step = next(self._steps, None)
        self._alarms = Alarms()
        self._more = True  # the tape has not ended
        self._marks = [
            list(zip(*(a.tolist() for a in (t.mark_open, t.mark_high, t.mark_low, t.mark_close)), strict=True))
            if t.has_mark
            else None
            for t in tape.tracks
        ]
        self._move(self.start_ns)
        self._feed = Feed(tape, kinds, self.start_ns)
        self._begin()

    def _begin(self) -> None:
        """Skip what happened before the start, and know the last prices."""
        while self._step is not None and self._step[0] <= self.start_ns and self._step[1] != StepKind.OPEN:
            self._step = next(self._steps, None)
        for number, track in enumerate(self.tape.tracks):
            if known := track.closed_by(self.start_ns):
                marks = self._marks_at(number, known - 1)
                self.venue.quote(track.symbol, float(track.close[known - 1]), marks[3])
        self._queue.append(self.venue.snapshot())

    # ------------------------------------------------------------ time

    @property
    def now_ns(self) -> int:
        """The virtual moment, ns UTC."""
        return self.venue.now_ns

    @property
    def next_ns(self) -> int | None:
        """When the next event happens; now while events wait to be told, None at the tape's end."""
        if self.venue.events or self._queue:
            return self.now_ns
        wake = self._alarms.first()
        if self._step is None:
            return self.now_ns if wake is not None and wake <= self.now_ns else None
        return max(self.now_ns, self._step[0] if wake is None else min(wake, self._step[0]))

    @property
    def has_told_not_all(self) -> bool:
        """True while events of this very moment wait to be told."""
        return bool(self.venue.events or self._queue)

    def next_event(self) -> Event | None:
        """The next event; private ones first, and time moves on only when there are none left. None: the tape ended."""
        while True:
            event = self.step()
            if event is not None:
                return event
            if not self._more:
                return None

    def step(self) -> Event | None:
        """One step: the event that waits, else what happens at `next_ns`, which may be nothing to tell: None."""
        if self.venue.events:
            return self.venue.events.popleft()
        if self._queue:
            return self._queue.popleft()
        self._more = self._advance()
        if self.venue.events:
            return self.venue.events.popleft()
        return self._queue.popleft() if self._queue else None

    def wait_until(self, ts_ns: int) -> None:
        """Let time pass to `ts_ns`, at most to the next event: nothing happens on the way."""
        upcoming = self.next_ns
        if upcoming is not None and ts_ns > upcoming:
            raise InvalidInput("an event comes before that moment", ts_ns=ts_ns, next_ns=upcoming)
        self._move(max(ts_ns, self.now_ns))

    def wake_at(self, ts_ns: int, key: str) -> None:
        """Have `Wake(key)` told at this time, after the bars that close then. A later wish replaces it."""
        self._alarms.set(ts_ns, key)

    # ------------------------------------------------------------ trading

    def submit(self, request: OrderRequest, client_order_id: str | None = None) -> Order:
        """Send an order now. Raises Rejected."""
        return self.venue.submit(request, client_order_id)

    def cancel(self, symbol: str, order_id: str | None = None, *, client_order_id: str | None = None) -> Order:
        """Cancel an open order. Raises Rejected -2011."""
        return self.venue.cancel(symbol, order_id, client_order_id=client_order_id)

    def get_order(self, symbol: str, order_id: str | None = None, *, client_order_id: str | None = None) -> Order:
        """An order in its present state. Raises Rejected -2013."""
        return self.venue.get_order(symbol, order_id, client_order_id=client_order_id)

    def set_leverage(self, symbol: str, leverage: int) -> int:
        """Set the leverage of later entries. Raises Rejected."""
        return self.venue.set_leverage(symbol, leverage)

    def tell(self, kinds: Collection[str]) -> None:
        """From now on also tell these recordings of the tape, each bar's before its candle.

        kinds: of agg_trades, book_top, futures. Raises: InvalidInput when the tape does not hold one of them.
        """
        if not set(kinds) <= self._feed.kinds:
            self._feed = Feed(self.tape, self._feed.kinds | set(kinds), self.now_ns)

    # ------------------------------------------------------------ history

    def trades(
        self, symbol: str, limit: int, start: datetime | None = None, end: datetime | None = None
    ) -> tuple[AggTrade, ...]:
        """The last `limit` recorded trades of `symbol` by now (the first ones from `start` on)."""
        track = self.tape.track(symbol)
        if "agg_trades" not in track.recordings:
            return ()
        recording = track.recordings["agg_trades"]
        last = recording.known_by(min(self.now_ns, self.now_ns if end is None else moment_ns(end) + 1))
        first = max(0, last - limit) if start is None else recording.known_by(moment_ns(start))
        if start is not None:
            last = min(last, first + limit)
        told = recording.events(symbol, first, last, self.now_ns, track.interval.ns)
        return tuple(trade for event in told if isinstance(event, AggTrades) for trade in event.trades)

    def statistics(self, symbol: str, start_ns: int) -> tuple[FuturesStatistics, ...]:
        """The futures statistics published after `start_ns` and by now; see `ares.simulation.feed`."""
        return statistics(self.tape, symbol, start_ns, self.now_ns)

    def history(self, symbol: str, limit: int | None = None) -> list[Candle]:
        """The last `limit` bars of `symbol` that have closed by now, oldest first; None: all of them."""
        track = self.tape.track(symbol)
        known = track.closed_by(self.now_ns)
        return list(track.candles(0 if limit is None else max(0, known - limit), known))

    def settled_funding(self, symbol: str) -> int:
        """How many of the track's funding settlements have happened by now."""
        return int(self.tape.track(symbol).funding_ns.searchsorted(self.now_ns, side="right"))

    # ------------------------------------------------------------ the next moment

    def _move(self, ts_ns: int) -> None:
        self.venue.now_ns = ts_ns
        self.clock.set_to(ts_ns)

    def _advance(self) -> bool:
        """Make the next thing happen. False at the tape's end."""
        step = self._step
        wake = self._alarms.first()
        if wake is not None and _is_due(wake, self.now_ns, step):
            self._move(max(wake, self.now_ns))
            self._queue.append(self._alarms.pop(self.now_ns))
            return True
        if step is None:
            return False
        ts_ns, kind = step[0], step[1]
        together: list[tuple[int, int]] = []
        while step is not None and step[0] == ts_ns and step[1] == kind:
            together.append((step[2], step[3]))
            step = next(self._steps, None)
        self._step = step
        self._move(ts_ns)
        tape = self.tape
        if kind == StepKind.CLOSE:
            bars = [(tape.candle_at(number, row), self._marks_at(number, row)) for number, row in together]
            told = self._play.close(ts_ns, bars)
            if self._feed.kinds:
                for number, _ in together:
                    self._queue.extend(self._feed.until(number, ts_ns))
            self._queue.extend(told)
        elif kind == StepKind.OPEN:
            candles = [(tape.candle_at(number, row), self._marks_at(number, row)[0]) for number, row in together]
            self._play.open(ts_ns, [(c.symbol, c.open, mark) for c, mark in candles])
        else:
            for number, row in together:
                track = tape.tracks[number]
                rate, mark = settled_rate(track, row), float(track.funding_mark[row])
                self._queue.append(self._play.fund(ts_ns, track.symbol, rate, mark))
        return True

    def _marks_at(self, number: int, row: int) -> Marks:
        marks = self._marks[number]
        return NO_MARKS if marks is None else marks[row]


def _is_due(wake: int, now_ns: int, step: tuple[int, int, int, int] | None) -> bool:
    """Whether a wake comes before the tape's next step: earlier, or at its time unless that step closes bars."""
    if step is None:
        return wake <= now_ns
    return wake < step[0] or (step[1] != StepKind.CLOSE and wake <= max(step[0], now_ns))
