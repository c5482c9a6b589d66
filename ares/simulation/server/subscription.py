"""What one stream connection gets: the streams it asked for, wrapped as it asked, with the faults of the plan."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec

from ares.simulation.faults import Fault, FaultKind
from ares.simulation.server.local_venue import LocalVenue

__all__ = ["Subscription"]

_PUBLIC = ("@bookTicker", "!bookTicker", "@depth", "@rpiDepth", "@trade")
_MOST_WAITING = 20_000


class Subscription:
    """Streams of one connection. `take` is called with every frame of the venue; `next` gives what to send."""

    def __init__(
        self, venue: LocalVenue, category: str, *, wrapped: bool, events: frozenset[str] = frozenset()
    ) -> None:
        """category: public, market or private; any other is an address that gives no data.

        events: the only private events that are wanted; none named: all.
        """
        self._venue, self._category, self._wrapped = venue, category, wrapped
        self.names: set[str] = set()  # those that it wants now
        self._events = [b'"e":"%s"' % name.encode() for name in sorted(events)]
        self._queue: deque[bytes | None] = deque()
        self._there = asyncio.Event()
        self._silent_until = 0.0
        self._held: list[bytes] = []  # reordered frames, told after their successor
        self._late: set[asyncio.Task[None]] = set()

    def add(self, names: Iterable[str]) -> None:
        """Subscribe. A stream on the wrong path gives no data, as on the real venue."""
        for name in names:
            if self._category == "private":
                self.names.add(f"private:{name}")
            elif self._category == ("public" if any(part in name for part in _PUBLIC) else "market"):
                self.names.add(name)

    def asked(self, text: str) -> None:
        """A message of the client: SUBSCRIBE, UNSUBSCRIBE or LIST_SUBSCRIPTIONS; ids may be numbers or text."""
        try:
            message = msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.MsgspecError:
            self._reply({"error": {"code": 3, "msg": "Invalid JSON"}, "id": None})
            return
        number, given = message.get("id"), message.get("params")
        names = [str(n) for n in given] if isinstance(given, list) else []
        if message.get("method") == "SUBSCRIBE":
            self.add(names)
        elif message.get("method") == "UNSUBSCRIBE":
            self.names -= {n if self._category != "private" else f"private:{n}" for n in names}
        elif message.get("method") == "LIST_SUBSCRIPTIONS":
            self._reply({"result": sorted(n.removeprefix("private:") for n in self.names), "id": number})
            return
        else:
            self._reply({"error": {"code": 2, "msg": "Invalid request: unknown method"}, "id": number})
            return
        self._reply({"result": None, "id": number})

    def take(self, stream: str, frame: bytes) -> None:
        """A frame of the venue."""
        if stream not in self.names:
            return
        private = stream.startswith("private:")
        if private and self._events and not any(name in frame[:80] for name in self._events):
            return
        name = stream.removeprefix("private:")
        data = b'{"stream":"%s","data":%s}' % (name.encode(), frame) if self._wrapped else frame
        fault = self._venue.faults.for_frame("private" if private else name)
        loop = asyncio.get_running_loop()
        if fault is not None:
            self._spoil(fault, data, loop)
        elif loop.time() >= self._silent_until:
            self._put(data)
            while self._held:
                self._put(self._held.pop())

    async def next(self) -> bytes | None:
        """The next frame to send; None: close the connection."""
        while not self._queue:
            self._there.clear()
            await self._there.wait()
        return self._queue.popleft()

    def _spoil(self, fault: Fault, data: bytes, loop: asyncio.AbstractEventLoop) -> None:
        if fault.kind is FaultKind.DROPPED:
            self._put(None)
        elif fault.kind is FaultKind.STALLED:
            self._silent_until = loop.time() + fault.seconds
        elif fault.kind is FaultKind.DUPLICATED:
            self._put(data)
            self._put(data)
        elif fault.kind is FaultKind.REORDERED:
            self._held.append(data)
        elif fault.kind is FaultKind.TRUNCATED:
            self._put(data[: len(data) // 2])
        elif fault.kind is FaultKind.LATE:
            task = asyncio.ensure_future(self._put_later(data, fault.seconds))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
        elif fault.kind is FaultKind.LISTEN_KEY_EXPIRED:
            for trader in self._venue.traders.values():
                if f"private:{trader.listen_key}" in self.names:
                    self._put(data)
                    self._venue.end_listen_key(trader)

    async def _put_later(self, data: bytes, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._put(data)

    def _reply(self, message: dict[str, Any]) -> None:
        self._put(msgspec.json.encode(message))

    def _put(self, data: bytes | None) -> None:
        if len(self._queue) >= _MOST_WAITING:
            self._queue.clear()
            data = None  # a reader this slow is cut off
        self._queue.append(data)
        self._there.set()
