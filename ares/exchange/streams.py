"""The market's live events: one or two connections, gaps refilled by reads, only the newest of what may be skipped."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from typing import TYPE_CHECKING

import msgspec

from ares.clock import Clock
from ares.errors import AresError, DataError, unknown_name
from ares.events import AggTrades, BookTop, CandleClosed, Event, FuturesStatistics, LinkChanged, MarkPrice
from ares.exchange.gathering import GATHER, SETTLE, Gathering
from ares.exchange.link import Connect, Link, all_speak
from ares.exchange.statistics import RHYTHM, newer
from ares.exchange.wire.streams import AggTradeFrame, BookTickerFrame, decode_frame, event_of, stream_names
from ares.instruments import Interval
from ares.log import get_logger
from ares.market import candles_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MarketStream"]

_log = get_logger("ares.exchange")
_STALL = 5.0  # seconds without any frame: down; twice as long: a new connection
_LATE_NS = 15_000_000_000  # a bar not told so long after its end is fetched
_MUTE_NS = 10_000_000_000  # a symbol without a mark price for so long is mute
_LOOK = 5.0  # seconds between two looks at what is overdue
_RECENT_NS = 3_600_000_000_000  # how far back publications are asked for that may have been missed
_PUBLISHED = 15.0  # seconds after a publication's time at which it is asked for

Statistics = Callable[[str, int], Awaitable[tuple[FuturesStatistics, ...]]]
Klines = Callable[[str, str, int], Awaitable["pd.DataFrame"]]


class MarketStream(AsyncIterator[Event]):
    """Events of some symbols. A slow reader gets the newest mark and quote, all trades in one event, and every candle.

    Candles come once, in order and without gaps: a missing one is read by REST before a later one is told. Nothing is
    told before every connection and, when marks are wanted, every symbol's mark price has spoken. Trades, quotes and
    statistics that features asked for come gathered, each bar's before its candle (`ares.exchange.gathering`).
    """

    def __init__(
        self,
        symbols: tuple[str, ...],
        interval: Interval,
        kinds: frozenset[str],
        *,
        base: str,
        connect: Connect,
        clock: Clock,
        klines: Klines,
        newest: Callable[[str], int | None],
        asked: frozenset[str] = frozenset(),
        statistics: Statistics | None = None,
    ) -> None:
        """newest: open (ns) of the newest closed bar of a symbol that its reader has already; None: it has none.

        asked: kinds for features, of agg_trades, book_top, futures. statistics: reads what was published since a time.
        Raises: InvalidInput for another kind.
        """
        if unknown := sorted(asked - {"agg_trades", "book_top", "futures"}):
            raise unknown_name("kind of market event", unknown[0], ("agg_trades", "book_top", "futures"))
        kinds |= (asked - {"futures"}) | ({"mark_price"} if "futures" in asked else set())
        self._gathering = Gathering(asked - {"futures"})
        self._releasing: asyncio.TimerHandle | None = None
        self._statistics = statistics if "futures" in asked else None
        self._interval, self._klines, self._newest_read, self._clock = interval, klines, newest, clock
        self._pending: OrderedDict[Hashable, Event] = OrderedDict()
        self._there = asyncio.Event()
        self._newest: dict[tuple[str, type], int] = {}  # order of the newest event told, by symbol and kind
        self._symbols, self._base = symbols, base
        self._marked: dict[str, int] = {}  # when each symbol's mark price was heard last, ns
        self._marks_wanted = "mark_price" in kinds
        self._last_open: dict[str, int] = {}  # of the newest closed bar told or known before the stream began
        self._filling: dict[str, asyncio.Task[None]] = {}
        self._down: set[str] = set()
        self._spoken = False  # every stream has, once
        self._told_ns = 0  # the newest venue time told
        self.bad: Counter[str] = Counter()  # frames that could not be used, by reason
        self.conflated = 0
        self.refilled = 0
        self._closed = False
        self._task: asyncio.Task[None] | None = None
        self._polling: asyncio.Task[None] | None = None
        self.links = [
            self._link(path, names, base, connect)
            for path, names in stream_names(symbols, interval.name, kinds).items()
        ]

    def __aiter__(self) -> MarketStream:
        return self

    async def __anext__(self) -> Event:
        if self._task is None and not self._closed:
            for symbol in self._symbols:
                self._last_open[symbol] = await self._begin_after(symbol)
            self._task = asyncio.ensure_future(self._look())
            if self._statistics is not None:
                self._polling = asyncio.ensure_future(self._poll(self._statistics))
            for link in self.links:
                link.start()
        if not self._spoken:
            await all_speak(self.links, self._base, lambda: self._closed, self._unmarked)
            self._spoken = True
        while not self._pending:
            if self._closed:
                raise StopAsyncIteration
            self._there.clear()
            await self._there.wait()
        return self._pending.popitem(last=False)[1]

    async def aclose(self) -> None:
        """End the stream; a pending read ends too."""
        self._closed = True
        self._there.set()
        if self._releasing is not None:
            self._releasing.cancel()
        tasks = [t for t in (self._task, self._polling, *self._filling.values()) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *(link.close() for link in self.links), return_exceptions=True)

    def status(self) -> dict[str, object]:
        """For people."""
        return {
            "links": {link.name: link.status() for link in self.links},
            "conflated": self.conflated,
            "refilled": self.refilled,
            "unusable_frames": dict(self.bad),
        }

    # ------------------------------------------------------------ inside

    def _unmarked(self) -> list[str]:
        """Whose mark price must speak and has not yet, in words."""
        return [f"the mark price of {s}" for s in self._symbols if self._marks_wanted and s not in self._marked]

    async def _begin_after(self, symbol: str) -> int:
        """Open of the bar after which candles are told."""
        known = self._newest_read(symbol)
        if known is None:
            frame = await self._klines(symbol, self._interval.name, 1)
            known = int(frame.index[-1].value) if len(frame) else -self._interval.ns
        return known

    def _link(self, path: str, names: list[str], base: str, connect: Connect) -> Link:
        async def url() -> str:
            return f"{base}/{path}/stream?streams={'/'.join(names)}"

        def changed(up: bool) -> None:
            self._changed(path, up)

        return Link(path, url, self._take, connect=connect, clock=self._clock, changed=changed, stall=_STALL)

    def _changed(self, path: str, up: bool) -> None:
        before = bool(self._down)
        (self._down.discard if up else self._down.add)(path)
        if bool(self._down) is not before:
            now = self._clock.now_ns()
            self._put(("link", now), LinkChanged(ts_event=now, ts_seen=now, link="market", up=not self._down))
        if up:
            for symbol in self._last_open:
                self._refill(symbol)

    def _take(self, data: bytes) -> None:
        now = self._clock.now_ns()
        try:
            frame = decode_frame(data).data
            event = event_of(frame, now)
        except (msgspec.MsgspecError, DataError, ValueError, RecursionError) as error:
            self.bad[type(error).__name__] += 1
            _log.warning("frame.unusable", error=str(error)[:120])
            return
        if event is None:
            return
        if isinstance(event, CandleClosed):
            self._candle(event)
            return
        if isinstance(event, MarkPrice):
            self._marked[frame.s] = now
        order = frame.a if isinstance(frame, AggTradeFrame) else event.ts_event
        if isinstance(frame, BookTickerFrame):
            order = frame.u
        key = (frame.s, type(event))
        if order <= self._newest.get(key, -1):
            return  # a repetition, or older than what was told
        self._newest[key] = order
        if isinstance(event, AggTrades | BookTop) and self._gathering.takes(event):
            self._gather(event)
            return
        waiting = self._pending.get(key)
        if isinstance(event, AggTrades) and isinstance(waiting, AggTrades):
            event = msgspec.structs.replace(event, trades=waiting.trades + event.trades)
        self.conflated += waiting is not None and not isinstance(event, AggTrades)
        self._put(key, event)

    def _candle(self, event: CandleClosed) -> None:
        candle = event.candle
        if candle.interval != self._interval.name:
            self.bad["interval"] += 1
            _log.warning("frame.unusable", symbol=candle.symbol, error=f"a bar of {candle.interval} was not asked for")
            return
        if candle.symbol not in self._last_open or candle.open_ns <= self._last_open[candle.symbol]:
            return
        if candle.open_ns > self._last_open[candle.symbol] + self._interval.ns:
            self._refill(candle.symbol)  # it brings this bar too
            return
        self._last_open[candle.symbol] = candle.open_ns
        if self._gathering.must_wait(event):
            asyncio.get_running_loop().call_later(SETTLE, self._settle, candle.symbol, True)
        else:
            self._put((candle.symbol, candle.open_ns), event)

    def _gather(self, event: AggTrades | BookTop) -> None:
        """Tell it with its neighbours, a little later."""
        self._gathering.add(event)
        if self._releasing is None:
            self._releasing = asyncio.get_running_loop().call_later(GATHER, self._release)
        self._settle(event.symbol)

    def _release(self, close_ns: int = 0) -> None:
        """Tell what was gathered. What waits already for a slow reader becomes one event with it, in its old place."""
        if self._releasing is not None:
            self._releasing.cancel()
            self._releasing = None
        for key, event in self._gathering.release(self._clock.now_ns(), close_ns):
            waiting = self._pending.get(key)
            if isinstance(event, AggTrades) and isinstance(waiting, AggTrades):
                event = msgspec.structs.replace(event, trades=waiting.trades + event.trades)
            self._told_ns = max(self._told_ns, event.ts_event)
            self._pending[key] = event
            self._there.set()
        if self._gathering.waiting:
            self._releasing = asyncio.get_running_loop().call_later(GATHER, self._release)

    def _settle(self, symbol: str, late: bool = False) -> None:
        """Tell the candle that waited for the last trades of its bar."""
        candle = self._gathering.settled(symbol, late=late)
        if candle is not None and not self._closed:
            self._put((symbol, candle.candle.open_ns), candle)

    async def _poll(self, statistics: Statistics) -> None:
        """Tell futures statistics soon after each publication, at first the newest there are."""
        told: dict[str, dict[str, int]] = {symbol: {} for symbol in self._symbols}
        while True:
            for symbol in self._symbols:
                try:
                    fresh = newer(await statistics(symbol, self._clock.now_ns() - _RECENT_NS), told[symbol])
                except AresError as error:
                    _log.warning("statistics.not_read", symbol=symbol, error=str(error)[:120])
                    continue
                except Exception as error:  # the next publication is asked for all the same
                    self._failed("statistics", error)
                    continue
                for event in fresh:
                    self._put((symbol, "statistics", event.ts_event), event)
            now = self._clock.now_ns()
            left = RHYTHM - now / 1e9 % RHYTHM
            await asyncio.sleep(min(left + _PUBLISHED, RHYTHM))

    def _failed(self, what: str, error: Exception) -> None:
        """Count and log a failure that nobody foresaw."""
        self.bad[type(error).__name__] += 1
        _log.error(f"{what}.failed", error=f"{type(error).__name__}: {error}"[:120])

    def _refill(self, symbol: str) -> None:
        if symbol not in self._filling and not self._closed:
            self._filling[symbol] = asyncio.ensure_future(self._fetch(symbol))

    async def _fetch(self, symbol: str) -> None:
        """Read the closed bars after the last one told and tell them."""
        try:
            now = self._clock.now_ns()
            missing = (now - self._last_open[symbol]) // self._interval.ns - 1
            if missing < 1:
                return
            frame = await self._klines(symbol, self._interval.name, min(1500, missing + 1))
            seen = self._clock.now_ns()
            for candle in candles_of(frame, symbol, self._interval):
                if candle.open_ns > self._last_open[symbol]:
                    self._last_open[symbol] = candle.open_ns
                    self.refilled += 1
                    told = max(candle.close_ns, self._told_ns)  # a late bar does not turn time back
                    event = CandleClosed(ts_event=told, ts_seen=seen, candle=candle)
                    self._put((symbol, candle.open_ns), event)
        except AresError as error:
            _log.warning("candles.not_refilled", symbol=symbol, error=str(error))
        except Exception as error:  # the next look at what is overdue tries again
            self._failed("candles", error)
        finally:
            del self._filling[symbol]

    async def _look(self) -> None:
        """Fetch bars that are overdue, and make a link anew on which one symbol is mute while others speak."""
        began = self._clock.now_ns()
        while True:
            before = self._clock.now_ns()
            await asyncio.sleep(_LOOK)
            now = self._clock.now_ns()
            if now - before > 2e9 * _LOOK:
                continue  # this program was held up: what came meanwhile has not been read yet
            for symbol, opened in self._last_open.items():
                if now > opened + 2 * self._interval.ns + _LATE_NS:
                    self._refill(symbol)
            mute = [s for s in self._symbols if now - self._marked.get(s, began) > _MUTE_NS]
            if self._marks_wanted and mute and not self._down:
                self.bad["mute"] += 1
                _log.warning("stream.mute", symbols=mute)
                self._marked.update(dict.fromkeys(mute, now))
                self.links[0].renew()

    def _put(self, key: Hashable, event: Event) -> None:
        """What replaces an event goes to the end: the order told is the order of what was seen."""
        if isinstance(event, CandleClosed):
            self._release(event.candle.close_ns)
            self._gathering.told_candle()
        self._told_ns = max(self._told_ns, event.ts_event)
        self._pending.pop(key, None)
        self._pending[key] = event
        self._there.set()
