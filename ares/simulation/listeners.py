"""Who listens to a simulated exchange, and the rule that time moves only while all of them wait.

A simulation that owns time must not run ahead of its traders: the reply to a fill belongs before the next bar. So the
next thing happens only when whoever listens to the account is back in its `anext` with nothing left to read.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Protocol

from ares.clock import VirtualClock
from ares.errors import InvalidInput
from ares.events import Event, FillBooked, Funding, OrderUpdate, VenueSnapshot, Wake

__all__ = ["Listener", "Play", "Theatre", "is_private"]


_TURNS = 2  # of the event loop before anything happens: a task that was just started may begin to listen
_LOOKS = 60  # into which the patience with a reader is divided: a program that stood still has waited for one of them


class Play(Protocol):
    """Something that makes events in order and knows when the next one comes."""

    async def upcoming(self) -> int | None:
        """When the next event happens, ns UTC; None when there are no more."""
        ...

    def next_event(self) -> Event | None:
        """Do what comes next; its event, None when it has none to tell."""
        ...

    def wait_until(self, ts_ns: int) -> None:
        """Let time pass to `ts_ns`, which no event precedes."""
        ...


def is_private(event: Event) -> bool:
    """True for what concerns our account alone."""
    return isinstance(event, OrderUpdate | FillBooked | VenueSnapshot | Wake) or (
        isinstance(event, Funding) and event.amount is not None
    )


def _current() -> weakref.ref[asyncio.Task[object]] | None:
    """The running task, held weakly; None outside any."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return None
    return None if task is None else weakref.ref(task)


class Listener(AsyncIterator[Event]):
    """One subscriber's stream; an async iterator. Dropping it or `aclose` ends the subscription."""

    def __init__(
        self,
        theatre: Theatre,
        *,
        private: bool,
        symbols: Collection[str] = (),
        first: Callable[[], Awaitable[Event]] | None = None,
        ready: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.private = private
        self._theatre = theatre
        self._symbols = frozenset(symbols)
        self._first = first  # makes the event that every stream of this kind begins with
        self._ready = ready  # awaited once, before the first read
        self._queue: deque[Event] = deque()
        self._waiting = False  # somebody is in __anext__ and has nothing to read
        self._maker = _current()  # who subscribed
        self._task: weakref.ref[asyncio.Task[object]] | None = None  # who read last
        self._closed = False

    def wants(self, event: Event) -> bool:
        """Is this event for this stream?"""
        if is_private(event) != self.private:
            return False
        symbol = getattr(event, "symbol", None) or getattr(getattr(event, "candle", None), "symbol", None)
        return self.private or symbol is None or symbol in self._symbols

    def push(self, event: Event) -> None:
        """Give it one event; before its first read, the first event will tell all that came until then."""
        if self._first is None or not self.private:
            self._queue.append(event)

    @property
    def at_rest(self) -> bool:
        """True while its reader waits and has nothing left to read."""
        return self._closed or (self._waiting and not self._queue)

    def reader(self) -> asyncio.Task[object] | None:
        """The task that read last, if it still runs."""
        task = self._task() if self._task is not None else None
        return None if task is None or task.done() else task

    def made_by(self, task: asyncio.Task[object] | None) -> bool:
        """Did this task subscribe?"""
        return task is not None and self._maker is not None and self._maker() is task

    @property
    def unread(self) -> bool:
        """True until somebody reads for the first time."""
        return self._task is None

    @property
    def has_more(self) -> bool:
        """True while events wait to be read."""
        return bool(self._queue)

    def __aiter__(self) -> Listener:
        return self

    async def __anext__(self) -> Event:
        self._task = _current()
        if self._ready is not None:
            await self._ready()
            self._ready = None
        if self._first is not None:
            event = await self._first()
            self._first = None
            return event
        self._waiting = True
        self._theatre.stir()
        try:
            while not self._queue:
                if self._closed or not await self._theatre.wait_for_more(self):
                    raise StopAsyncIteration
            return self._queue.popleft()
        finally:
            self._waiting = False

    async def aclose(self) -> None:
        """End the subscription; a pending read ends too."""
        self._closed = True
        self._theatre.stir()


class Theatre:
    """Moves one play on, for all its listeners. `stuck_after`: seconds of real time it waits for a reader."""

    def __init__(self, play: Play, clock: VirtualClock | None, stuck_after: float) -> None:
        """clock: the virtual clock whose sleepers are woken on the way; None: time is not ours to move."""
        self._play = play
        self._clock = clock
        self._stuck_after = stuck_after
        self._listeners: list[weakref.ref[Listener]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._moving = asyncio.Lock()
        self._stirred = asyncio.Event()
        self.ended = False

    def add(self, listener: Listener) -> Listener:
        """Subscribe."""
        self._listeners.append(weakref.ref(listener))
        return listener

    def listeners(self) -> list[Listener]:
        """Those that are still held by somebody."""
        held = [(ref, ref()) for ref in self._listeners]
        self._listeners = [ref for ref, listener in held if listener is not None]
        return [listener for _, listener in held if listener is not None]

    def tell(self, event: Event) -> None:
        """Give an event to everybody whom it concerns."""
        for listener in self.listeners():
            if listener.wants(event):
                listener.push(event)
        self.stir()

    def stir(self) -> None:
        """Have everybody who waits look again."""
        self._stirred.set()

    async def wait_for_more(self, listener: Listener) -> bool:
        """Return once `listener` may have something to read; False when nothing will ever come.

        A market listener moves time itself; an account listener waits for somebody else to do so.
        """
        self._bind()
        if listener.private:
            if self.ended:
                return False
            self._stirred.clear()
            await self._stirred.wait()
            return True
        return await self.move(mover=listener) or listener.has_more

    async def move(self, *, mover: Listener | None = None, limit_ns: int | None = None) -> bool:
        """Let one more thing happen, at `limit_ns` at the latest. False: nothing does before then, or ever again.

        Raises: InvalidInput when a listener keeps everybody waiting longer than `stuck_after`.
        """
        self._bind()
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        while True:
            await self._silence(mover)
            if mover is not None and mover.has_more:
                return True
            async with self._moving:
                if mover is not None and mover.has_more:
                    return True
                if self._loudest(mover) is not None:
                    continue  # somebody got something to read while we waited for our turn
                upcoming = await self._play.upcoming()
                if self._clock is not None and await self._wake_sleepers(self._clock, upcoming, limit_ns):
                    continue
                if upcoming is None:
                    self.ended = True
                    self.stir()
                    return False
                if limit_ns is not None and upcoming > limit_ns:
                    self._play.wait_until(limit_ns)
                    return False
                event = self._play.next_event()
                if event is not None:
                    self.tell(event)
                return True

    def _bind(self) -> None:
        """Belong to the running event loop: an exchange may be used in one `asyncio.run` after another."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._moving, self._stirred = loop, asyncio.Lock(), asyncio.Event()

    async def _wake_sleepers(self, clock: VirtualClock, upcoming: int | None, limit_ns: int | None) -> bool:
        """Wake whoever asked for a moment before the next event. True when somebody was."""
        due = clock.next_deadline()
        if due is None or (upcoming is None and limit_ns is None):
            return False
        if due > min(t for t in (upcoming, limit_ns) if t is not None):
            return False
        self._play.wait_until(max(due, clock.now_ns()))
        await clock.advance_to(max(due, clock.now_ns()))
        return True

    def _loudest(self, mover: Listener | None) -> Listener | None:
        """A listener that must first read and answer; None: everybody waits."""
        if self._clock is None:
            return None
        current = asyncio.current_task()
        for listener in self.listeners():
            if listener is mover or listener.at_rest:
                continue
            reader = listener.reader()
            if reader is not None and reader is not current:
                return listener
            if reader is None and listener.private and mover is not None and not listener.unread:
                if not listener.made_by(current):  # read by tasks that end with each event: the answer is on its way
                    return listener
            # nobody reads yet, or whoever does is the one who moves time now and cannot wait for himself
        return None

    async def _silence(self, mover: Listener | None) -> None:
        """Wait until all who listen wait too."""
        looks = 0
        while (loud := self._loudest(mover)) is not None:
            if mover is not None and mover.has_more:
                return
            self._stirred.clear()
            try:
                async with asyncio.timeout(self._stuck_after / _LOOKS):
                    await self._stirred.wait()
                looks = 0
            except TimeoutError:
                looks += 1
                if looks < _LOOKS:
                    continue
                kind = "an account" if loud.private else "a market"
                raise InvalidInput(
                    f"the simulation is stuck: time waits for {kind} stream whose reader has not come back for "
                    f"{self._stuck_after:g} s; read it in a task of its own, or close it with aclose()",
                    seconds=self._stuck_after,
                ) from None
