"""One order for events that come from several places: our own account first, then alarms, then the market."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from attrs import define, field

from ares.clock import Clock
from ares.events import Event, Wake

__all__ = ["Merger"]

_ACCOUNT, _STAGES, _ALARM, _MARKET = range(4)


@define
class Merger:
    """Waits for whichever source speaks first.

    The account stream is asked again only after its last event was handled, so an exchange that owns time can tell
    that everybody who listens is waiting before it moves on.
    """

    clock: Clock
    _streams: dict[int, AsyncIterator[Event]] = field(factory=dict)
    _tasks: dict[int, asyncio.Task[Event | None]] = field(factory=dict)
    _alarms: dict[str, tuple[int, int]] = field(factory=dict)  # when, by our clock and by the one it is meant by; ns
    _outside: set[asyncio.Task[Event | None]] = field(factory=set)
    _ready: deque[Event] = field(factory=deque)
    _nudge: asyncio.Event = field(factory=asyncio.Event)
    _before: AsyncIterator[Event] | None = None  # what is told before the market; None: it is over
    _ended: set[int] = field(factory=set)  # streams that are over

    def listen(
        self,
        account: AsyncIterator[Event],
        market: AsyncIterator[Event],
        *,
        before: AsyncGenerator[Event, None] | None = None,
    ) -> None:
        """Take the two streams of an exchange. The account is heard from the start, the market from `next` on.

        before: bars that closed unheard; the market is heard after the last of them, the account meanwhile.
        """
        self._streams = {_ACCOUNT: account, _MARKET: market}
        self._before = before

    def put(self, event: Event) -> None:
        """Tell this event before anything else, also to a `next` that is waiting already."""
        self._ready.append(event)
        self._nudge.set()

    @property
    def has_ready(self) -> bool:
        """True while events given by `put` wait to be told."""
        return bool(self._ready)

    def set_alarm(self, ts_ns: int, key: str, *, ahead_ns: int = 0) -> None:
        """Give `Wake(key)` at this moment; a later alarm with the same key replaces it.

        ahead_ns: how far the clock by which `ts_ns` is meant is ahead of ours.
        """
        self._alarms[key] = ts_ns - ahead_ns, ts_ns
        task = self._tasks.get(_ALARM)
        if task is not None and not task.done():  # one that has gone off waits to be told
            del self._tasks[_ALARM]
            task.cancel()

    def run_outside(self, work: Any) -> None:
        """Run a coroutine that ends in an event or in None, beside everything else; a `next` that waits hears of it."""
        self._outside.add(asyncio.ensure_future(work))
        self._nudge.set()

    async def account_event(self) -> Event | None:
        """The next event of the account alone: a session begins with the venue's snapshot."""
        return await self._pull(_ACCOUNT)

    async def next(self) -> Event | None:
        """The next event of all; None when the market stream has ended and nothing is pending."""
        while True:
            if self._ready:
                return self._ready.popleft()
            self._arm()
            if _MARKET in self._ended and _MARKET not in self._tasks and self._quiet():
                return None
            self._nudge.clear()
            nudged = asyncio.ensure_future(self._nudge.wait())
            waiting: set[asyncio.Future[Any]] = {*self._tasks.values(), *self._outside, nudged}
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            finally:
                nudged.cancel()
            event = self._first_done()
            if event is not None:
                return event

    async def close(self) -> None:
        """Cancel what is pending and close the streams."""
        tasks: list[asyncio.Task[Any]] = [*self._tasks.values(), *self._outside]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        self._outside.clear()
        for stream in (*self._streams.values(), self._before):
            closing = getattr(stream, "aclose", None)
            if closing is not None:
                await closing()

    def _arm(self) -> None:
        """Have exactly one pending request to each source."""
        for source in (_ACCOUNT, _MARKET):
            if source not in self._tasks and source not in self._ended:
                self._tasks[source] = asyncio.ensure_future(self._pull(source))
        if self._alarms and _ALARM not in self._tasks:
            self._tasks[_ALARM] = asyncio.ensure_future(self._alarm())

    def _first_done(self) -> Event | None:
        """The event of the most urgent source that has one."""
        for source in (_ACCOUNT, _ALARM, _MARKET):
            for task in [t for t in self._outside if t.done()] if source == _ALARM else []:
                self._outside.discard(task)
                if (event := task.result()) is not None:
                    return event
            pending = self._tasks.get(source)
            if pending is not None and pending.done():
                del self._tasks[source]
                event = pending.result()
                if event is not None:
                    return event
                if source != _ALARM:
                    self._ended.add(source)
        return None

    def _quiet(self) -> bool:
        """True when nobody who could still speak is left, or nobody but an account that has nothing to say."""
        if any(task.done() for task in self._outside):
            return False
        if _ACCOUNT in self._ended and _ACCOUNT not in self._tasks:
            return True  # time has ended: what waits for it outside waits in vain
        return not self._outside and not self._tasks[_ACCOUNT].done()

    async def _pull(self, source: int) -> Event | None:
        if source == _MARKET and self._before is not None:
            if (event := await anext(self._before, None)) is not None:
                return event
            self._before = None
        return await anext(self._streams[source], None)

    async def _alarm(self) -> Event | None:
        key, (ours_ns, ts_ns) = min(self._alarms.items(), key=lambda item: (item[1], item[0]))
        await self.clock.wait_until(ours_ns)
        del self._alarms[key]
        return Wake(ts_event=ts_ns, ts_seen=max(ts_ns, self.clock.now_ns()), key=key)
