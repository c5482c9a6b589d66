"""Waits that take no time: a program that runs whole in one process goes by its event loop's clock alone.

A test that waits for real seconds is slow, and on a busy machine it may see a limit of half a second run out before the
work that it was granted for was done. Here time stands still while anything computes, and jumps to the next timer when
nothing is left to do: every limit is exact, however slow the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ares.clock import SystemClock

BEGIN_NS = 1_714_978_800_000_000_000  # 2024-05-06 07:00:00 UTC: an hour before funding, whatever the day's time


class LoopClock(SystemClock):
    """Shows the same time whenever it is made, stands still until the loop turns, and then goes on as the loop does."""

    def __init__(self, begin_ns: int = BEGIN_NS) -> None:
        self._begin_ns = begin_ns
        self._since: float | None = None  # of the loop's clock
        asyncio.get_running_loop().call_soon(self._go)

    def now_ns(self) -> int:
        if self._since is None:
            return self._begin_ns
        return self._begin_ns + round((asyncio.get_running_loop().time() - self._since) * 1e9)

    def _go(self) -> None:
        self._since = asyncio.get_running_loop().time()

    async def wait_until(self, ts_ns: int) -> None:
        while (left := ts_ns - self.now_ns()) > 0:
            await asyncio.sleep(max(left / 1e9, 1e-6))


@contextmanager
def at_once() -> Iterator[None]:
    """The running loop waits for no timer: with nothing else to do, the next one is due.

    Only for what stays in the loop: an answer from a socket, a thread or another process comes in real time, of which
    none would pass. The loop's clock begins alike each time, and so whatever hangs on its last bit is alike too: a
    `LoopClock` is made inside, or before with nothing awaited in between.
    """
    loop: Any = asyncio.get_running_loop()
    selector, real = loop._selector, loop.time
    now = real() if "time" in vars(loop) else 1000.0  # goes on where an earlier one ended
    ready = selector.select

    def select(timeout: float | None = None) -> Any:
        nonlocal now
        if timeout is None:
            return ready(None)
        found = ready(0)
        if not found:
            now += max(0.0, timeout)
        return found

    selector.select, loop.time = select, lambda: now
    try:
        yield
    finally:
        ahead = loop.time() - real()
        del selector.select
        loop.time = lambda: real() + ahead  # from here on as fast as ours


def stand_still(seconds: float) -> None:
    """Inside `at_once`: the whole program is held up for so long, by a compiler or a busy machine, here and now."""
    loop: Any = asyncio.get_running_loop()
    time = loop.time
    loop.time = lambda: time() + seconds
