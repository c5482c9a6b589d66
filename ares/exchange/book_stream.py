"""A live order book: the venue's changes applied to a snapshot, and a new snapshot whenever the chain breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from ares.clock import Clock
from ares.errors import AresError, DataError
from ares.exchange.book import LocalBook
from ares.exchange.link import Connect, Link, all_speak
from ares.exchange.wire.depth import decode_depth
from ares.exchange.wire.market import Depth
from ares.log import get_logger
from ares.market import OrderBook

__all__ = ["BookStream", "warm"]

_log = get_logger("ares.exchange")
_STALL = 5.0  # seconds without a change: the link counts as down
_AGAIN, _SLOWEST = 0.5, 30.0  # seconds between two tries for a snapshot: at first, after many


def warm() -> None:
    """Compile what a book stream needs, or load it from the compile cache, so that no frame waits for a compiler."""
    book = LocalBook("X")
    book.load(Depth(last_update_id=1, time_ms=1, bids=[("1", "1")], asks=[("3", "1")]))
    change = b'{"e":"depthUpdate","T":1,"s":"X","U":1,"u":2,"pu":1,"b":[["2","1"]],"a":[]}'
    book.update(decode_depth(b'{"stream":"x@depth","data":%s}' % change))
    book.top(1)


class BookStream(AsyncIterator[OrderBook]):
    """Books of one symbol, each newer than the one before; a slow reader gets the newest.

    Nothing is told while the book and the venue's may differ.
    """

    def __init__(
        self,
        symbol: str,
        levels: int,
        *,
        base: str,
        connect: Connect,
        clock: Clock,
        snapshot: Callable[[str], Awaitable[Depth]],
    ) -> None:
        """levels: of each side, best first. snapshot: reads the whole book by REST."""
        self.book = LocalBook(symbol)
        self.snapshots = 0
        self._levels, self._snapshot = levels, snapshot
        self._there = asyncio.Event()
        self._told = -1  # update id of the book told last
        self._loading: asyncio.Task[None] | None = None
        self._closed = self._spoken = False
        self._base = base

        async def url() -> str:
            return f"{base}/public/stream?streams={symbol.lower()}@depth@100ms"

        self.link = Link(
            f"book {symbol}", url, self._take, connect=connect, clock=clock, changed=self._changed, stall=_STALL
        )

    def __aiter__(self) -> BookStream:
        return self

    async def __anext__(self) -> OrderBook:
        if not self._closed:
            self.link.start()
        if not self._spoken:
            await all_speak([self.link], self._base, lambda: self._closed)
            self._spoken = True
        while not self._closed:
            if self.book.synced and self.book.last_update_id > self._told:
                self._told = self.book.last_update_id
                return self.book.top(self._levels)
            self._there.clear()
            await self._there.wait()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the stream; a pending read ends too."""
        self._closed = True
        self._there.set()
        if self._loading is not None:
            self._loading.cancel()
        await self.link.close()

    def status(self) -> dict[str, object]:
        """For people."""
        return {
            "link": self.link.status(),
            "synced": self.book.synced,
            "snapshots": self.snapshots,
            "gaps": self.book.gaps,
        }

    def _changed(self, up: bool) -> None:
        if not up:
            self.book.forget()

    def _take(self, data: bytes) -> None:
        try:
            applied = self.book.update(decode_depth(data))
        except (msgspec.MsgspecError, DataError, ValueError, RecursionError) as error:
            _log.warning("frame.unusable", error=str(error)[:120])
            self.book.forget()
            applied = False
        if applied:
            self._there.set()
        elif self._loading is None:
            self._loading = asyncio.ensure_future(self._load())

    async def _load(self) -> None:
        """Read snapshots until one joins the changes that were kept."""
        wait = _AGAIN
        try:
            while not self.book.synced:
                try:
                    snapshot = await self._snapshot(self.book.symbol)
                    self.snapshots += 1
                    self._told = -1  # the venue may count anew, from below
                    if self.book.load(snapshot):
                        self._there.set()
                        return
                except AresError as error:
                    _log.warning("book.not_loaded", symbol=self.book.symbol, error=str(error))
                await asyncio.sleep(wait)
                wait = min(_SLOWEST, 2.0 * wait)
        finally:
            self._loading = None
