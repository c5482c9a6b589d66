"""`SimulatedExchange`: a tape and a venue behind the interface of every exchange, on its own virtual time."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from ares.clock import VirtualClock, moment_ns
from ares.errors import InvalidInput, unknown_name
from ares.events import CandleClosed, Command, Event, FuturesStatistics, Intent, VenueSnapshot
from ares.instruments import Instrument, Interval
from ares.market import AggTrade, FundingRate, FuturesData, OrderBook, Ticker
from ares.protocols import Capabilities
from ares.simulation.klines import klines_at
from ares.simulation.listeners import Listener, Theatre
from ares.simulation.restore import restore_session
from ares.simulation.session import Session, settled_rate
from ares.simulation.tape import Tape
from ares.simulation.trading import VenueDesk
from ares.simulation.venue import VenueConfig

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SimulatedExchange"]

_HISTORY = 1000  # bars before the start unless it is named


class SimulatedExchange(VenueDesk):
    """A recorded market that answers like an exchange. It owns a virtual clock, `clock`.

    Time moves by `advance`, by reading `stream_market`, by `clock.sleep` and by `wait_filled`, and only while whoever
    reads an account stream waits for more. An account stream begins with a `VenueSnapshot`.
    """

    def __init__(
        self,
        tape: Tape,
        start: dt.datetime | int | None = None,
        *,
        config: VenueConfig | None = None,
        instruments: Sequence[Instrument] | None = None,
        stuck_after: float = 60.0,
    ) -> None:
        """start: bars that closed by then are history; None: the first 1,000 bars are, or half of a shorter tape.

        instruments: None takes built-in ones. stuck_after: seconds of real time after which a reader that keeps
        everybody waiting is an error.
        """
        if not isinstance(tape, Tape):
            raise InvalidInput(f"a market is a Tape, not {type(tape).__name__}: `Tape.from_frame` makes one of klines")
        if start is None:
            track = tape.tracks[0]
            start = int(track.open_ns[min(_HISTORY, len(track) // 2)])
        self.session = Session(tape, start=start, config=config, instruments=instruments)
        self.clock: VirtualClock = self.session.clock
        self.clock.on_sleep = self._sleep
        self.tape = tape
        self._opening = self.session.next_event()  # the snapshot; each account stream makes its own
        self._told_by_journal = False  # the next account stream goes on where a journal ended
        self._bars_closed = 0
        self._frames: dict[str, pd.DataFrame] = {}
        super().__init__(self.session.venue, Theatre(_SessionPlay(self), self.clock, stuck_after))

    # ------------------------------------------------------------ time

    async def advance(
        self, *, bars: int | None = None, seconds: float | None = None, to: dt.datetime | int | None = None
    ) -> int:
        """Let time pass: `bars` closes of the first symbol, or `seconds`, or up to `to` (ns UTC or datetime).

        Everything due on the way happens. Returns the new time, ns UTC; earlier than asked when the tape ends.
        """
        if sum(given is not None for given in (bars, seconds, to)) != 1:
            raise InvalidInput("advance takes exactly one of bars, seconds, to")
        if (bars or 0) < 0 or (seconds or 0.0) < 0.0:
            raise InvalidInput("time does not go back: bars and seconds are at least 0", bars=bars, seconds=seconds)
        if bars is not None:
            wanted = self._bars_closed + bars
            while self._bars_closed < wanted and await self._theatre.move():
                pass
            while not self._theatre.ended and self.session.has_told_not_all:
                await self._theatre.move()
        else:
            now = self.session.now_ns
            await self._sleep(now + round((seconds or 0.0) * 1e9) if to is None else moment_ns(to))
        return self.session.now_ns

    def wake_at(self, ts_ns: int, key: str) -> None:
        """Have `Wake(key)` told in the account stream at this time; a later wish with the same key replaces it."""
        self.session.wake_at(ts_ns, key)

    async def restore(
        self,
        records: Iterable[tuple[Event, Sequence[Command]]],
        client_id: Callable[[Intent], str],
        *,
        kinds: Collection[str] = (),
    ) -> int:
        """Play the session again to where a journal ends: the venue is then as it was, with all its orders.

        records: each event with the commands that answered it, in order, from the first snapshot on. client_id: the
        client order id an intent was sent with. kinds: what was told besides bars. Returns the number of records.
        The next account stream goes on from there, without a snapshot. Raises: DataError at the first event that this
        tape, start and venue do not produce again.
        """
        opening, self._opening = self._opening, None
        if opening is None:
            raise InvalidInput("only an exchange on which nothing has happened yet can be restored")
        self.session.tell(kinds)
        count = restore_session(self.session, opening, records, client_id)
        self._told_by_journal = True
        return count

    async def _sleep(self, target_ns: int) -> None:
        while await self._theatre.move(limit_ns=target_ns):
            pass
        if self._theatre.ended:
            await self.clock.advance_to(max(target_ns, self.clock.now_ns()))

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
        """The last `limit` klines known now (the first ones from `start` on), of the tape's interval or a multiple."""
        await self._ready(symbol)
        self._instrument(symbol)
        track = self.tape.track(symbol)
        if symbol not in self._frames:
            self._frames[symbol] = self.tape.frame(symbol)
        wanted = Interval.parse(interval)
        now = self.session.now_ns
        return klines_at(track, self._frames[symbol], wanted, now, limit, start=start, end=end, closed_only=closed_only)

    async def get_ticker(self, symbol: str) -> Ticker:
        """What market orders would fill at: the last price and the venue's slippage to both sides."""
        await self._ready(symbol)
        return self._quote(symbol)

    async def get_order_book(self, symbol: str, limit: int = 20) -> OrderBook:
        """One level a side: the price at which this venue fills a market order, for as much as one may hold.

        A tape of bars has no book and none is invented.
        """
        await self._ready(symbol)
        return self._book(symbol, limit)

    async def get_agg_trades(
        self, symbol: str, limit: int = 500, *, start: dt.datetime | None = None, end: dt.datetime | None = None
    ) -> tuple[AggTrade, ...]:
        """The last `limit` recorded trades known now (the first ones from `start` on); none when none were recorded."""
        await self._ready(symbol)
        self._instrument(symbol)
        return self.session.trades(symbol, limit, start, end)

    async def get_futures_data(self, symbol: str, limit: int = 100) -> FuturesData:
        """The last `limit` funding settlements up to now, and the mark price; None for what the tape lacks."""
        await self._ready(symbol)
        self._instrument(symbol)
        track = self.tape.track(symbol)
        known = self.session.settled_funding(symbol)
        rates = tuple(
            FundingRate(
                symbol=symbol,
                ts_ns=int(track.funding_ns[row]),
                rate=settled_rate(track, row),
                mark_price=float(track.funding_mark[row]),
            )
            for row in range(max(0, known - limit), known)
        )
        mark = self._venue.mark_price(symbol)
        return FuturesData(symbol=symbol, funding=rates, mark_price=mark if mark > 0 else None)

    async def get_futures_statistics(self, symbol: str, start: dt.datetime | int) -> tuple[FuturesStatistics, ...]:
        """Statistics published after `start` (ns UTC, or a datetime) and by now; of a bar the last of each name."""
        await self._ready(symbol)
        self._instrument(symbol)
        return self.session.statistics(symbol, moment_ns(start))

    async def get_instrument(self, symbol: str) -> Instrument:
        """Filters, tiers and fees. Raises InvalidInput naming the nearest symbol."""
        await self._ready(symbol)
        return self._instrument(symbol)

    # ------------------------------------------------------------ streams

    def stream_market(
        self, symbols: Sequence[str], interval: str, kinds: Collection[str] = ()
    ) -> AsyncIterator[Event]:
        """Candles, mark prices and funding of `symbols`; reading moves time on. Ends with the tape.

        kinds: recordings of the tape to tell besides, each bar's just before its candle. Raises InvalidInput for one
        that the tape does not hold.
        """
        for symbol in symbols:
            if symbol not in self.tape.symbols:
                raise unknown_name("symbol", symbol, self.tape.symbols)
        if Interval.parse(interval).ns != self.tape.interval.ns:
            raise InvalidInput(f"this tape has {self.tape.interval} bars, not {interval}", interval=interval)
        self.session.tell(kinds)
        return self._theatre.add(Listener(self._theatre, private=False, symbols=symbols))

    def stream_account(self) -> AsyncIterator[Event]:
        """Orders, fills, funding payments and wakes, after a `VenueSnapshot`; ends with the tape."""
        if self._told_by_journal:
            self._told_by_journal = False
            listener = self._theatre.add(Listener(self._theatre, private=True))
            self._tell_private()
            return listener
        return self._theatre.add(Listener(self._theatre, private=True, first=self._snapshot))

    async def _snapshot(self) -> VenueSnapshot:
        return self._venue.snapshot()

    # ------------------------------------------------------------ the exchange

    @property
    def capabilities(self) -> Capabilities:
        """Candles, marks and funding; on request what else the tape holds of every symbol."""
        streams = {"candles", "mark_price", "account"}
        if any(t.has_funding for t in self.tape.tracks):
            streams.add("funding")
        held = frozenset.intersection(*(t.kinds for t in self.tape.tracks))
        return Capabilities(name="SIM", streams=frozenset(streams), on_request=held)

    def get_exchange_status(self) -> dict[str, object]:
        """Where the simulation stands."""
        return {
            "name": "SIM",
            "connected": not self._closed,
            "symbols": list(self.tape.symbols),
            "interval": self.tape.interval.name,
            "now_ns": self.session.now_ns,
            "end_ns": self.tape.end_ns,
            "ended": self._theatre.ended,
            "open_orders": len(self._venue.open_orders()),
            "streams": len(self._theatre.listeners()),
        }

    async def close(self) -> None:
        """End all streams; afterwards every verb raises InvalidInput."""
        self._closed = True
        for listener in self._theatre.listeners():
            await listener.aclose()

    async def __aenter__(self) -> SimulatedExchange:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


class _SessionPlay:
    """A session as the play of a theatre."""

    def __init__(self, exchange: SimulatedExchange) -> None:
        self._exchange = exchange

    async def upcoming(self) -> int | None:
        return self._exchange.session.next_ns

    def next_event(self) -> Event | None:
        exchange = self._exchange
        exchange._opening = None
        event = exchange.session.step()
        if isinstance(event, CandleClosed) and event.candle.symbol == exchange.tape.symbols[0]:
            exchange._bars_closed += 1
        return event

    def wait_until(self, ts_ns: int) -> None:
        self._exchange._opening = None
        self._exchange.session.wait_until(ts_ns)
