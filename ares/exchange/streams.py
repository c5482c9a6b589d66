"""The market's live events: one or two connections, gaps refilled by reads, only the newest of what may be skipped."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from typing import TYPE_CHECKING

import msgspec

from ares.clock import Clock
from ares.errors import AresError, DataError
from ares.events import AggTrades, CandleClosed, Event, LinkChanged, MarkPrice
from ares.exchange.link import Connect, Link, all_speak
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

Klines = Callable[[str, str, int], Awaitable["pd.DataFrame"]]


class MarketStream(AsyncIterator[Event]):
    """Events of some symbols. A slow reader gets the newest mark and quote, all trades in one event, and every candle.

    Candles come once, in order and without gaps: a missing one is read by REST before a later one is told. Nothing is
    told before every connection and, when marks are wanted, every symbol's mark price has spoken.
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
    ) -> None:
        """newest: open (ns) of the newest closed bar of a symbol that its reader has already; None: it has none."""
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
        tasks = [t for t in (self._task, *self._filling.values()) if t is not None]
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
        except (msgspec.MsgspecError, DataError, ValueError) as error:
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
        waiting = self._pending.get(key)
        if isinstance(event, AggTrades) and isinstance(waiting, AggTrades):
            event = msgspec.structs.replace(event, trades=waiting.trades + event.trades)
        self.conflated += waiting is not None and not isinstance(event, AggTrades)
        self._put(key, event)

    def _candle(self, event: CandleClosed) -> None:
        candle = event.candle
        if candle.symbol not in self._last_open or candle.open_ns <= self._last_open[candle.symbol]:
            return
        if candle.open_ns > self._last_open[candle.symbol] + self._interval.ns:
            self._refill(candle.symbol)  # it brings this bar too
            return
        self._last_open[candle.symbol] = candle.open_ns
        self._put((candle.symbol, candle.open_ns), event)

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
        finally:
            del self._filling[symbol]

    async def _look(self) -> None:
        """Fetch bars that are overdue, and make a link anew on which one symbol is mute while others speak."""
        began = self._clock.now_ns()
        while True:
            await asyncio.sleep(_LOOK)
            now = self._clock.now_ns()
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
        self._told_ns = max(self._told_ns, event.ts_event)
        self._pending.pop(key, None)
        self._pending[key] = event
        self._there.set()
