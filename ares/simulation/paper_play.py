"""What a data source tells, turned into what happens at our own venue, in the order of `ares.simulation.session`.

A source of candles is played bar by bar once each bar has closed: its open, its path, its mark, the candle. So a
simulated exchange as source gives the events that it would have given itself; trades, quotes and statistics that were
asked for beside them are for features only and passed on with the bar. A source of quotes or trades is played as it
comes: each of them is a price at which what waits may trade; candles are then only passed on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

import msgspec

from ares.clock import Clock, VirtualClock
from ares.errors import InvalidInput
from ares.events import AggTrades, BookTop, CandleClosed, Event, Funding, FuturesStatistics, LinkChanged, MarkPrice
from ares.market import Candle, Ticker
from ares.simulation.session import NO_MARKS, Alarms, BarPlay, Marks
from ares.simulation.venue import Venue

__all__ = ["PaperPlay"]

_GRACE_NS = 10_000_000_000  # in real time an order sent this soon after a bar's open still meets that open


class PaperPlay:
    """The play of a `PaperExchange`: pulls the source when nothing else is left to happen."""

    def __init__(self, venue: Venue, clock: Clock) -> None:
        self.venue = venue
        self.clock = clock
        self.alarms = Alarms()
        self.symbols: tuple[str, ...] = ()
        self._virtual = clock if isinstance(clock, VirtualClock) else None
        self._bars = BarPlay(venue)
        self._source: AsyncIterator[Event] | None = None
        self._ticks = False
        self._pulling: asyncio.Task[Event | None] | None = None
        self._ended = False
        self._told: deque[Event] = deque()  # public events that wait to be told
        self._script: deque[tuple[int, Callable[[], None]]] = deque()  # what happens next, and when
        self._batch: list[Candle] = []  # closed at one moment, until all symbols are there
        self._extras: list[Event] = []  # for features, heard since the last bar; on virtual time they wait for theirs
        self._marks: dict[str, MarkPrice] = {}  # heard, and held until it is clear to which bar they belong

    def listen(self, source: AsyncIterator[Event], symbols: Sequence[str], *, ticks: bool) -> None:
        """Take the source's stream. ticks: it has quotes or trades, so prices come from them."""
        self._source, self.symbols, self._ticks = source, tuple(symbols), ticks

    @property
    def listening(self) -> bool:
        """True once a source was given."""
        return self._source is not None

    @property
    def ticks(self) -> bool:
        """True when quotes or trades are streamed, so that prices come by themselves."""
        return self._ticks

    def meet(self, quote: Ticker) -> None:
        """Have what waits meet a quote that was asked for."""
        mark = self.venue.mark_price(quote.symbol)
        self.venue.trade(quote.symbol, quote.bid, mark, ask=quote.ask)
        self.venue.quote(quote.symbol, quote.mid, mark)

    # ------------------------------------------------------------ the play

    async def upcoming(self) -> int | None:
        """When the next thing happens; None when the source has ended and nothing is left."""
        if self.venue.events or self._told:
            return self.venue.now_ns
        while not self._script and not self._ended:
            event = await self._pull()
            if event is None:
                self._ended = True
                self._flush()
                self._release_marks()
            else:
                self._hear(event)
        wake = self.alarms.first() if self._virtual is not None else None
        if self._script:
            first = self._script[0][0]
            return max(self._now(), first if wake is None else min(wake, first))
        return self._now() if wake is not None and wake <= self._now() else None

    def next_event(self) -> Event | None:
        """Do what comes next; its event, None when it has none to tell."""
        if not self.venue.events and not self._told:
            self._advance()
        if self.venue.events:
            return self.venue.events.popleft()
        return self._told.popleft() if self._told else None

    def wait_until(self, ts_ns: int) -> None:
        """Let time pass to `ts_ns`."""
        self._move(max(ts_ns, self._now()))

    async def close(self) -> None:
        """Stop pulling."""
        if self._pulling is not None:
            self._pulling.cancel()
            await asyncio.gather(self._pulling, return_exceptions=True)
        closing = getattr(self._source, "aclose", None)
        if closing is not None:
            await closing()

    def _now(self) -> int:
        """Our own time."""
        return self.venue.now_ns if self._virtual is not None else self.clock.now_ns()

    def _move(self, ts_ns: int) -> None:
        self.venue.now_ns = ts_ns if self._virtual is not None else self.clock.now_ns()
        if self._virtual is not None:
            self._virtual.set_to(ts_ns)

    def _advance(self) -> None:
        wake = self.alarms.first() if self._virtual is not None else None
        if wake is not None and self._is_due(wake):
            self._move(max(wake, self._now()))
            self._told.append(self.alarms.pop(self._now()))
        elif self._script:
            ts_ns, action = self._script.popleft()
            self._move(ts_ns)
            action()

    def _is_due(self, wake: int) -> bool:
        """Whether a wake comes before what the script holds next: earlier, or at its time unless bars close then."""
        if not self._script:
            return wake <= self._now()
        ts_ns, action = self._script[0]
        closes = isinstance(action, partial) and action.func == self._close
        return wake < ts_ns or (not closes and wake <= max(ts_ns, self._now()))

    async def _pull(self) -> Event | None:
        """The source's next event. A cancelled reader does not cancel the source: the event waits for the next one."""
        if self._source is None:
            raise InvalidInput("paper trading has no market yet: call stream_market, or name symbols and interval")
        if self._pulling is None:
            self._pulling = asyncio.ensure_future(_next(self._source))
        event = await asyncio.shield(self._pulling)
        self._pulling = None
        return event

    # ------------------------------------------------------------ hearing

    def _hear(self, event: Event) -> None:
        """Write down what a source's event makes happen."""
        if isinstance(event, Funding):
            self._flush()
            self._release_marks()
            self._then(event.ts_event, partial(self._fund, event))
        elif isinstance(event, CandleClosed) and not event.history and not self._ticks:
            if self._batch and self._batch[0].close_ns != event.candle.close_ns:
                self._flush()
            self._batch.append(event.candle)
            if len(self._batch) == len(self.symbols):
                self._flush()
        elif isinstance(event, MarkPrice) and not self._ticks:
            if self._batch and event.ts_event > self._batch[0].close_ns:
                self._flush()
            if event.symbol in self._marks:
                self._release_marks()
            self._marks[event.symbol] = event
        elif isinstance(event, FuturesStatistics | LinkChanged) or (
            isinstance(event, AggTrades | BookTop) and not self._ticks
        ):
            self._hear_extra(event)
        elif isinstance(event, BookTop | AggTrades | MarkPrice | CandleClosed):
            self._flush()
            self._release_marks()
            self._then(event.ts_event, partial(self._tick, event))

    def _hear_extra(self, event: Event) -> None:
        """What moves no price: told at once, but on virtual time with the bar that has not been played yet."""
        if self._batch and event.ts_seen > self._batch[0].close_ns:
            self._flush()
        if self._virtual is None or self._ticks:
            self._flush()
            self._then(max(event.ts_event, event.ts_seen), partial(self._pass_on, event))
        else:
            self._extras.append(event)

    def _then(self, ts_ns: int, action: Callable[[], None]) -> None:
        self._script.append((ts_ns, action))

    def _flush(self) -> None:
        """The bars that closed together: their opens, then their paths, marks and candles."""
        if not self._batch:
            return
        order = {symbol: i for i, symbol in enumerate(self.symbols)}
        candles = sorted(self._batch, key=lambda c: order.get(c.symbol, len(order)))
        self._batch = []
        close_ns = candles[0].close_ns
        bars: list[tuple[Candle, Marks]] = []
        for candle in candles:
            mark = self._marks.get(candle.symbol)
            if mark is not None and mark.ts_event == close_ns:
                del self._marks[candle.symbol]
                bars.append((candle, (*NO_MARKS[:3], mark.price)))
            else:
                bars.append((candle, NO_MARKS))
        self._release_marks()
        open_ns = candles[0].open_ns
        self._then(open_ns, partial(self._open, open_ns, [(c.symbol, c.open, NO_MARKS[0]) for c in candles]))
        extras, self._extras = self._extras, []
        self._then(close_ns, partial(self._close, close_ns, bars, extras))

    def _release_marks(self) -> None:
        """Marks that belong to no bar's close happen when they were told."""
        for mark in self._marks.values():
            self._then(mark.ts_event, partial(self._tick, mark))
        self._marks.clear()

    # ------------------------------------------------------------ happening

    def _seen(self) -> int | None:
        """Our own time where it differs from the event's; None: it is the same."""
        return None if self._virtual is not None else self.clock.now_ns()

    def _open(self, open_ns: int, opens: Sequence[tuple[str, float, float]]) -> None:
        self.venue.cutoff_ns = None if self._virtual is not None else open_ns + _GRACE_NS
        self._bars.open(open_ns, opens, self._seen())

    def _close(self, close_ns: int, bars: Sequence[tuple[Candle, Marks]], extras: Sequence[Event]) -> None:
        told = self._bars.close(close_ns, bars, self._seen())
        self._told.extend(msgspec.structs.replace(event, ts_seen=self._now()) for event in extras)
        self._told.extend(told)
        self.venue.cutoff_ns = None

    def _fund(self, event: Funding) -> None:
        if event.symbol in self.venue.instruments:
            ours = self._bars.fund(event.ts_event, event.symbol, event.rate, event.mark_price, self._seen())
            self._told.append(ours)

    def _pass_on(self, event: Event) -> None:
        self._told.append(msgspec.structs.replace(event, ts_seen=self._now()))

    def _tick(self, event: BookTop | AggTrades | MarkPrice | CandleClosed) -> None:
        """A quote or trade is a price for what waits; it can be traded at only at this very moment."""
        venue = self.venue
        symbol = event.candle.symbol if isinstance(event, CandleClosed) else event.symbol
        if symbol not in venue.instruments:
            return
        mark = venue.mark_price(symbol) if self._ticks else None
        if isinstance(event, BookTop):
            venue.trade(symbol, event.bid, mark, ask=event.ask)
            venue.quote(symbol, (event.bid + event.ask) / 2, mark)
        elif isinstance(event, AggTrades):
            for trade in event.trades:
                venue.trade(symbol, trade.price, mark)
                venue.quote(symbol, trade.price, mark)
        elif isinstance(event, MarkPrice):
            venue.mark(symbol, event.price)
        self._pass_on(event)


async def _next(source: AsyncIterator[Event]) -> Event | None:
    return await anext(source, None)
