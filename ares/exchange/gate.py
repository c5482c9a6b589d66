"""How many requests are under way at once: fewer when the venue is overloaded, and slowly more again.

Protective requests never wait for a place. Both kinds wait here before they are signed, so that no stamp grows old.
"""

from __future__ import annotations

import asyncio
from collections import deque

from attrs import define, field

from ares.clock import Clock
from ares.errors import Retryable
from ares.exchange.wire.requests import Request

__all__ = ["MOST_AT_ONCE", "Concurrency", "Gate"]

MOST_AT_ONCE = 8
"""Reads and risk orders under way at once while the venue is well."""
_LANE = 2 * MOST_AT_ONCE  # reads at once, and orders at once, with the protective ones
_QUIET_NS = 5_000_000_000  # so long without an overload gives one place back


@define
class Concurrency:
    """The number of places: halved by each overload, one more again for every five seconds without one.

    Requests that left before the last halving tell nothing new: what they met is what it was for. Pure: every call is
    given the time.
    """

    most: int = MOST_AT_ONCE
    halvings: int = 0
    _after: int = field(default=MOST_AT_ONCE, init=False)  # places right after the last halving
    _since_ns: int = field(default=0, init=False)  # when that was

    def places(self, now_ns: int) -> int:
        """Requests that may be under way now, at least one."""
        if self.halvings == 0:
            return self.most
        return min(self.most, self._after + max(0, now_ns - self._since_ns) // _QUIET_NS)

    def overloaded(self, left_ns: int, now_ns: int) -> None:
        """The venue has refused a request that left at `left_ns` because it is overloaded."""
        if self.halvings and left_ns < self._since_ns:
            return
        self._after = max(1, self.places(now_ns) // 2)
        self._since_ns = now_ns
        self.halvings += 1


class Gate:
    """Lets requests through in their order while there are places; protective ones past those that wait for one.

    Reads and orders go in lanes of their own: reads that hang, however many, keep no order and no cancel waiting.
    """

    def __init__(self, clock: Clock) -> None:
        self.concurrency = Concurrency()
        self.under_way = 0
        self._clock = clock
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._reads, self._orders = asyncio.Semaphore(_LANE), asyncio.Semaphore(_LANE)

    async def enter(self, request: Request, timeout: float) -> None:
        """Take a place; `leave` gives it back.

        Raises: Retryable when there was none for `timeout` seconds; nothing was sent then.
        """
        try:
            async with asyncio.timeout(timeout):
                if not request.protective:
                    await self._place()
                try:
                    await self._lane(request).acquire()
                except BaseException:
                    self._give_back(request)
                    raise
        except TimeoutError:
            raise Retryable(
                f"{request.what}: none of {self._places()} places free in {timeout:g} s; nothing was sent",
                sent=False,
                places=self._places(),
            ) from None

    def leave(self, request: Request) -> None:
        """The answer is there, or will not come."""
        self._lane(request).release()
        self._give_back(request)

    def _lane(self, request: Request) -> asyncio.Semaphore:
        return self._reads if request.method == "GET" else self._orders

    async def _place(self) -> None:
        """One of the places that protective requests need not have."""
        if not self._waiting and self.under_way < self._places():
            self.under_way += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif not turn.cancelled():  # it was given a place just as it gave up
                self._free()
            raise

    def _give_back(self, request: Request) -> None:
        if not request.protective:
            self._free()

    def _free(self) -> None:
        self.under_way -= 1
        while self._waiting and self.under_way < self._places():
            turn = self._waiting.popleft()
            if not turn.done():
                self.under_way += 1
                turn.set_result(None)

    def status(self) -> dict[str, object]:
        """For people."""
        return {"places": self._places(), "under_way": self.under_way, "waiting": len(self._waiting)}

    def _places(self) -> int:
        return self.concurrency.places(self._clock.now_ns())
