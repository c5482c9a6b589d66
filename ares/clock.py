"""Time as a part that can be swapped. This is the only module that asks the machine what time it is.

A mode is a pair `(exchange, clock)`: `SystemClock` for paper and live on real data, `VirtualClock` for simulation.
Both count int64 nanoseconds since the epoch, UTC.
"""

from __future__ import annotations

import asyncio
import heapq
import operator
import time
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Protocol

from ares.errors import InvalidInput

__all__ = ["Clock", "SystemClock", "VirtualClock", "moment_ns"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_SET_BACK_NS = 1_000_000_000  # a wall clock that lags more behind the monotonic one than this was set back
_MAX_TURNS = 10_000  # event-loop turns granted to one woken task before its wait counts as a livelock


def moment_ns(moment: datetime | str | int) -> int:
    """Nanoseconds since the epoch of a moment as people give it: a datetime or ISO text (naive is UTC), or ns UTC.

    Raises: InvalidInput for anything else.

    >>> moment_ns("2024-08-05T01:10") == moment_ns(datetime(2024, 8, 5, 1, 10)) == 1722820200000000000
    True
    """
    try:
        if isinstance(moment, str):
            moment = datetime.fromisoformat(moment)
        if not isinstance(moment, datetime):
            return operator.index(moment)
    except (TypeError, ValueError):
        raise InvalidInput(
            f"{moment!r} is no time: give a datetime, text such as '2024-08-05T01:10', or whole nanoseconds UTC"
        ) from None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MICROSECOND * 1_000


class Clock(Protocol):
    """Where a program gets its time from."""

    def now_ns(self) -> int:
        """Nanoseconds since the epoch, UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return `seconds` later; on a virtual clock this moves time on."""
        ...

    async def wait_until(self, ts_ns: int) -> None:
        """Return once the time is `ts_ns` or later; never moves time itself."""
        ...


class SystemClock:
    """The machine's clock; sleeps on the monotonic clock, so a step of the wall clock cannot stretch a wait."""

    def now_ns(self) -> int:
        """Nanoseconds since the epoch, UTC."""
        return time.time_ns()

    async def sleep(self, seconds: float) -> None:
        """Suspend the calling task for `seconds`."""
        await asyncio.sleep(max(0.0, seconds))

    async def wait_until(self, ts_ns: int) -> None:
        """Suspend the calling task until the wall clock shows `ts_ns`, or would had nobody set it back meanwhile."""
        began, due = time.monotonic_ns(), ts_ns - time.time_ns()
        while (left := ts_ns - time.time_ns()) > 0:
            by_monotonic = due - (time.monotonic_ns() - began)
            if left > by_monotonic + _SET_BACK_NS:
                left = by_monotonic
            if left <= 0:
                return
            await asyncio.sleep(min(left / 1e9, 60.0))


class VirtualClock:
    """A clock that moves only when told to; waits are served in order of their time, then of their creation.

    `sleep` moves time on by itself. `wait_until` waits for somebody else to move it (a background task that looks
    every ten seconds must not drag the whole simulation along). The owner may route `sleep` through a simulation by
    setting `on_sleep`, so that everything due in between happens first.
    """

    def __init__(self, start_ns: int = 0) -> None:
        self._now = start_ns
        self._ids = count()
        self._waiting: list[tuple[int, int, asyncio.Future[None], asyncio.Task[object] | None]] = []
        self.on_sleep: _Mover | None = None

    def now_ns(self) -> int:
        """Nanoseconds since the epoch, UTC, of the simulated moment."""
        return self._now

    def next_deadline(self) -> int | None:
        """The earliest moment somebody waits for, or None."""
        while self._waiting and self._waiting[0][2].done():
            heapq.heappop(self._waiting)
        return self._waiting[0][0] if self._waiting else None

    async def sleep(self, seconds: float) -> None:
        """Move time on by `seconds`, waking everybody due on the way."""
        target = self._now + round(max(0.0, seconds) * 1e9)
        if self.on_sleep is not None:
            await self.on_sleep(target)
        else:
            await self.advance_to(target)

    async def wait_until(self, ts_ns: int) -> None:
        """Wait, without moving time, until the clock shows `ts_ns` or later."""
        if ts_ns <= self._now:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (ts_ns, next(self._ids), future, asyncio.current_task()))
        await future

    async def advance_to(self, ts_ns: int) -> None:
        """Move to `ts_ns`, stopping at every deadline on the way so that each waiter acts at its own time.

        Raises: InvalidInput when `ts_ns` lies in the past.
        """
        if ts_ns < self._now:
            raise InvalidInput("time moves forward only", now_ns=self._now, asked_ns=ts_ns)
        while (due := self.next_deadline()) is not None and due <= ts_ns:
            self._now = max(self._now, due)
            await self._wake_one()
        self._now = ts_ns

    def set_to(self, ts_ns: int) -> None:
        """Move without waking anybody: for a driver that has no tasks, and before the first task starts."""
        self._now = max(self._now, ts_ns)

    async def _wake_one(self) -> None:
        """Wake the earliest waiter and let it run until it waits again, sleeps or ends."""
        _, _, future, task = heapq.heappop(self._waiting)
        if future.done():
            return
        future.set_result(None)
        if task is None or task is asyncio.current_task():
            return
        for _ in range(_MAX_TURNS):
            await asyncio.sleep(0)
            if task.done() or any(entry[3] is task for entry in self._waiting):
                return


class _Mover(Protocol):
    async def __call__(self, target_ns: int) -> None: ...
