"""`PaperExchange`: anybody's market data, our own simulated venue."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ares.account import Position
from ares.clock import Clock, SystemClock, VirtualClock
from ares.errors import AresError, InvalidInput, NotAuthorized, Rejected
from ares.events import CandleClosed, Command, Event, FuturesStatistics, LinkChanged, VenueSnapshot
from ares.instruments import Instrument, Interval
from ares.log import get_logger
from ares.market import AggTrade, Candle, FuturesData, OrderBook, Ticker, candles_of
from ares.orders import Order, OrderRequest
from ares.protocols import Capabilities, MarketData
from ares.simulation.adoption import adopt
from ares.simulation.klines import ns_of
from ares.simulation.listeners import Listener, Theatre
from ares.simulation.paper_play import PaperPlay
from ares.simulation.trading import VenueDesk
from ares.simulation.venue import Venue, VenueConfig

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PaperExchange"]

_log = get_logger("ares.simulation")
_SETTLE_NS = 1_000_000_000  # a polled candle is asked for this long after its close
_QUOTE_SECONDS = 1.0  # so long an order waits for the source's quote
_FEWEST, _MOST = 5, 1500  # bars asked for at once
_LONGEST_PAUSE = 30.0  # seconds between two reads of bars that cannot be had
_SILENT_POLLS = 5  # a polled source on virtual time that has no news so often has ended
_LOST_POLLS = 100  # one that fails all the time has ended after so many bars


class PaperExchange(VenueDesk):
    """Trades on paper: the market comes from `source`, orders never leave this object.

    source: any `MarketData`; its `stream_market` is used when it has one, else its klines are polled. What it streams
    decides how orders fill: at the next quote or trade, or, from candles alone, by the rules of `SimulatedExchange`; in
    real time an order over candles alone first meets the quote that the source gives when asked.
    Time is the source's: a virtual clock of our own beside a simulated source, else the machine's.
    """

    def __init__(
        self,
        source: MarketData,
        *,
        symbols: Sequence[str] = (),
        interval: str | None = None,
        config: VenueConfig | None = None,
        clock: Clock | None = None,
        stuck_after: float = 60.0,
    ) -> None:
        """symbols, interval: what to listen to when time must move before `stream_market` was called.

        Not given, they are those of the klines that were asked for first.
        """
        self.source = source
        theirs = clock or getattr(source, "clock", None) or SystemClock()
        virtual = VirtualClock(theirs.now_ns()) if isinstance(theirs, VirtualClock) else None
        self.clock: Clock = virtual or theirs
        self._source_clock = theirs
        self._virtual = virtual
        self._wanted: dict[str, None] = dict.fromkeys(symbols)  # in order
        self._interval = interval
        self._kinds: frozenset[str] = frozenset()
        venue = Venue((), config)
        venue.now_ns = self.clock.now_ns()
        self._play = PaperPlay(venue, self.clock)
        super().__init__(venue, Theatre(self._play, virtual, stuck_after))
        if virtual is not None:
            virtual.on_sleep = self._sleep

    async def _sleep(self, target_ns: int) -> None:
        assert self._virtual is not None
        await self._listen()
        while await self._theatre.move(limit_ns=target_ns):
            pass
        if self._theatre.ended:
            await self._virtual.advance_to(max(target_ns, self._virtual.now_ns()))

    @property
    def wake_at(self) -> Callable[[int, str], None]:
        """`wake_at(ts_ns, key)` has `Wake(key)` told in the account stream. Only beside a source on virtual time."""
        if self._virtual is None:
            raise AttributeError("real time is not ours to stop at: use the clock")
        return self._play.alarms.set

    async def adopt(self, records: Iterable[tuple[Event, Sequence[Command]]]) -> int:
        """After a restart: remember orders, positions and money as a real venue would have. The number of records.

        records: a journal's events with their commands, from its beginning. Call it before anything else happens.
        Raises: InvalidInput when something has; DataError when the journal's account is another one.
        """
        if self._play.listening or self._venue.open_orders() or self._venue.fills_made:
            raise InvalidInput("only an exchange on which nothing has happened yet can adopt a journal")
        await self._all_ready()
        return adopt(self._venue, records)

    # ------------------------------------------------------------ market data

    async def get_klines(
        self,
        symbol: str,
        interval: str,
        limit: int = 500,
        *,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        closed_only: bool = True,
    ) -> pd.DataFrame:
        """The source's klines, none that closes after our own time."""
        await self._ready(symbol)
        if limit < 1:
            raise InvalidInput(f"limit must be at least 1, not {limit}", limit=limit)
        more = 0 if self._virtual is None or start is not None else 2  # the source may be a bar ahead
        frame = await self.source.get_klines(
            symbol, interval, limit + more, start=start, end=end, closed_only=closed_only
        )
        if self._interval is None:  # nobody said what to listen to: what was asked for first
            self._interval = interval
        self._wanted.setdefault(symbol, None)
        if self._virtual is None:
            return frame
        now = self._virtual.now_ns()
        known = frame[ns_of(frame["close_time"]) <= now] if closed_only else frame[ns_of(frame.index) <= now]
        made: pd.DataFrame = known.head(limit) if start is not None else known.tail(limit)
        return made

    async def get_ticker(self, symbol: str) -> Ticker:
        """The source's quotes; beside a simulated source, what our venue would fill at now."""
        await self._ready(symbol)
        return await self.source.get_ticker(symbol) if self._virtual is None else self._quote(symbol)

    async def get_order_book(self, symbol: str, limit: int = 20) -> OrderBook:
        """The source's book; beside a simulated source, what our venue would fill at now."""
        await self._ready(symbol)
        return await self.source.get_order_book(symbol, limit) if self._virtual is None else self._book(symbol, limit)

    async def get_agg_trades(
        self, symbol: str, limit: int = 500, *, start: dt.datetime | None = None, end: dt.datetime | None = None
    ) -> tuple[AggTrade, ...]:
        """The source's trades up to our own time."""
        await self._ready(symbol)
        trades = await self.source.get_agg_trades(symbol, limit, start=start, end=end)
        now = self.clock.now_ns()
        return tuple(t for t in trades if self._virtual is None or t.ts_ns <= now)

    async def get_futures_data(self, symbol: str, limit: int = 100) -> FuturesData:
        """The source's funding up to our own time; beside a simulated source, our venue's mark price."""
        await self._ready(symbol)
        data = await self.source.get_futures_data(symbol, limit)
        if self._virtual is None:
            return data
        now = self._virtual.now_ns()
        mark = self._venue.mark_price(symbol)
        settled = tuple(f for f in data.funding if f.ts_ns <= now)
        return FuturesData(symbol=symbol, funding=settled, mark_price=mark if mark > 0 else None)

    async def get_futures_statistics(self, symbol: str, start: dt.datetime | int) -> tuple[FuturesStatistics, ...]:
        """The source's futures statistics after `start` (ns UTC, or a datetime), up to our own time.

        None from a source that does not offer their history.
        """
        await self._ready(symbol)
        ask = getattr(self.source, "get_futures_statistics", None)
        if ask is None:
            return ()
        found: tuple[FuturesStatistics, ...] = await ask(symbol, start)
        now = self.clock.now_ns()
        return tuple(event for event in found if self._virtual is None or event.ts_event <= now)

    async def get_instrument(self, symbol: str) -> Instrument:
        """The source's filters, tiers and fees."""
        await self._ready(symbol)
        return self._instrument(symbol)

    # ------------------------------------------------------------ streams

    def stream_market(
        self, symbols: Sequence[str], interval: str, kinds: Collection[str] = ()
    ) -> AsyncIterator[Event]:
        """What the source streams, with our own marks and funding payments in their place.

        kinds: what the source is asked to tell besides; orders fill as they would without. All streams share the first
        one's symbols, interval and kinds. Raises: InvalidInput for others, and for a kind that the source lacks.
        """
        Interval.parse(interval)
        if self._play.listening and not set(kinds) <= self._kinds:
            raise InvalidInput(f"this market streams no {', '.join(sorted(set(kinds) - self._kinds))}; ask at first")
        if lacking := set(kinds) - self.capabilities.on_request - self.capabilities.streams:
            raise InvalidInput(f"{self.capabilities.name} cannot stream {', '.join(sorted(lacking))}", kinds=lacking)
        if self._play.listening and not set(symbols) <= set(self._play.symbols):
            raise InvalidInput(f"this market streams {', '.join(self._play.symbols)}; name all symbols at once")
        if self._play.listening and interval != self._interval:
            raise InvalidInput(f"this market streams {self._interval}, not {interval}", interval=interval)
        self._wanted.update(dict.fromkeys(symbols))
        self._interval = interval
        self._kinds |= set(kinds)
        self._start()
        return self._theatre.add(Listener(self._theatre, private=False, symbols=symbols, ready=self._all_ready))

    def stream_account(self) -> AsyncIterator[Event]:
        """Orders, fills and funding payments of our paper account, after a `VenueSnapshot`."""
        return self._theatre.add(Listener(self._theatre, private=True, first=self._snapshot))

    async def _snapshot(self) -> VenueSnapshot:
        await self._all_ready()
        if self._virtual is None:
            self._venue.now_ns = self.clock.now_ns()
        return self._venue.snapshot()

    def _start(self) -> None:
        """Begin to listen to the source, once."""
        if self._play.listening:
            return
        symbols, interval = tuple(self._wanted), self._interval or ""
        stream = getattr(self.source, "stream_market", None)
        known: Any = getattr(self.source, "capabilities", None)
        ticks = stream is not None and known is not None and bool({"book_top", "agg_trades"} & known.streams)
        more = self._kinds & self.capabilities.on_request
        if stream is None:
            events = self._poll(symbols, interval)
        else:
            events = stream(symbols, interval, kinds=more) if more else stream(symbols, interval)
        self._play.listen(events, symbols, ticks=ticks)

    async def _listen(self) -> None:
        """Make time able to move: listen to what was named at the start."""
        if not self._play.listening:
            if not self._wanted or self._interval is None:
                raise InvalidInput("name symbols and interval, or call stream_market, before time can move")
            self._start()
        await self._all_ready()

    async def _poll(self, symbols: Sequence[str], interval: str) -> AsyncIterator[Event]:
        """Closed candles from a source that cannot stream, each asked for just after its close.

        While a symbol's cannot be had for a whole bar, the market counts as lost.
        """
        step = Interval.parse(interval).ns
        clock = self._source_clock
        last = dict.fromkeys(symbols, clock.now_ns() // step * step - step)
        silent, up = 0, True
        while self._virtual is None or silent < (_SILENT_POLLS if up else _LOST_POLLS):
            now = clock.now_ns()
            await clock.sleep((now // step * step + step + _SETTLE_NS - now) / 1e9)
            found = {symbol: await self._bars_after(symbol, interval, last[symbol]) for symbol in symbols}
            if (None not in found.values()) is not up:
                up, now, silent = not up, clock.now_ns(), 0
                yield LinkChanged(ts_event=now, ts_seen=now, link="market", up=up)
            fresh = [candle for candles in found.values() for candle in candles or ()]
            last.update({candle.symbol: candle.open_ns for candle in fresh})
            silent = 0 if fresh else silent + 1
            for candle in sorted(fresh, key=lambda c: c.close_ns):
                yield CandleClosed(ts_event=candle.close_ns, ts_seen=clock.now_ns(), candle=candle)

    async def _bars_after(self, symbol: str, interval: str, after_ns: int) -> list[Candle] | None:
        """The bars that opened after this one and have closed, oldest first; None when they cannot be had in a bar.

        A read that fails is made again, ever later. Raises: what asking again does not mend.
        """
        step, clock, pause = Interval.parse(interval).ns, self._source_clock, 1.0
        until_ns = (clock.now_ns() // step + 1) * step
        while True:
            missing = (clock.now_ns() - after_ns) // step
            try:
                frame = await self.source.get_klines(symbol, interval, max(_FEWEST, min(_MOST, missing)))
                return [c for c in candles_of(frame, symbol, Interval.parse(interval)) if c.open_ns > after_ns]
            except (InvalidInput, NotAuthorized):
                raise
            except Exception as error:  # a source is anybody's code
                _log.warning("candles.not_read", symbol=symbol, error=f"{type(error).__name__}: {error}"[:120])
            if clock.now_ns() + round(pause * 1e9) >= until_ns:
                return None
            await clock.sleep(pause)
            pause = min(_LONGEST_PAUSE, 2 * pause)

    # ------------------------------------------------------------ the exchange

    @property
    def capabilities(self) -> Capabilities:
        """The source's market streams and a paper account."""
        known: Any = getattr(self.source, "capabilities", None)
        streams = frozenset({"candles"}) if known is None else known.streams
        name = "market data" if known is None else known.name
        on_request = frozenset[str]() if known is None else known.on_request
        return Capabilities(name=f"PAPER on {name}", streams=streams | {"account"}, on_request=on_request)

    def get_exchange_status(self) -> dict[str, object]:
        """Where paper trading stands, and the source's own status."""
        ask = getattr(self.source, "get_exchange_status", None)
        return {
            "name": self.capabilities.name,
            "connected": not self._closed,
            "symbols": list(self._venue.instruments),
            "interval": self._interval,
            "now_ns": self.clock.now_ns(),
            "ended": self._theatre.ended,
            "open_orders": len(self._venue.open_orders()),
            "streams": len(self._theatre.listeners()),
            "source": None if ask is None else dict(ask()),
        }

    async def close(self) -> None:
        """End all streams; the source stays as it is. Afterwards every verb raises InvalidInput."""
        self._closed = True
        for listener in self._theatre.listeners():
            await listener.aclose()
        await self._play.close()

    async def __aenter__(self) -> PaperExchange:
        enter = getattr(self.source, "__aenter__", None)
        if enter is not None:
            await enter()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
        leave = getattr(self.source, "__aexit__", None)
        if leave is not None:
            await leave(*exc)

    # ------------------------------------------------------------ inside

    async def _ready(self, symbol: str | None) -> None:
        await super()._ready(symbol)
        if symbol is not None and symbol not in self._venue.instruments:
            await self._learn(symbol)
        if self._virtual is None:
            self._venue.now_ns = self.clock.now_ns()

    async def _all_ready(self) -> None:
        for symbol in self._wanted:
            await self._ready(symbol)

    async def _learn(self, symbol: str) -> None:
        """Take the symbol's filters and last price from the source."""
        instrument = await self.source.get_instrument(symbol)
        last = 0.0
        if self._virtual is None or self._source_clock.now_ns() <= self._virtual.now_ns():  # else it is the future
            with suppress(Rejected):  # the source knows no price yet: neither do we
                last = (await self.source.get_ticker(symbol)).last
        if symbol not in self._venue.instruments:
            self._venue.add(instrument)
            self._venue.quote(symbol, last)

    async def _submit(self, request: OrderRequest, client_order_id: str | None) -> Order:
        """In real time over candles alone the next price may be an hour away: the source is asked for its quote."""
        order = await super()._submit(request, client_order_id)
        waits = order.status.open and not order.order_type.conditional
        if waits and self._virtual is None and self._play.listening and not self._play.ticks:
            try:
                async with asyncio.timeout(_QUOTE_SECONDS):
                    quote = await self.source.get_ticker(order.symbol)
            except (AresError, TimeoutError) as error:  # the order rests already: it meets the next bar instead
                _log.warning("quote.missing", symbol=order.symbol, text=str(error) or "late")
                return self._venue.get_order(order.symbol, order.order_id)
            self._venue.now_ns = self.clock.now_ns()
            self._play.meet(quote)
        return self._venue.get_order(order.symbol, order.order_id)

    async def wait_filled(self, order: Order, timeout: float | None = None) -> Position:
        """As every exchange does; listens to the source when nobody does yet."""
        await self._listen()
        return await super().wait_filled(order, timeout)
