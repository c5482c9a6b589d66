"""Looks after the account's modes while we run: what somebody changed by hand ends new risk, or all trading."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ares.clock import Clock
from ares.errors import AresError
from ares.events import Event, LinkChanged, OperatorOrder
from ares.exchange.modes import ModeDifference
from ares.log import get_logger

__all__ = ["ModeWatch"]

_EVERY_NS = 3_600_000_000_000
_SOON_NS = 2_000_000_000  # after the venue told of a change: by then our own change has been confirmed to us
_AGAIN_NS = 60_000_000_000  # after a look that failed, and while something differs
_log = get_logger("ares.exchange")


class ModeWatch:
    """Hourly, soon after the venue tells of a change, and each minute while something is not as it should be.

    A difference is told as a lost link: no new risk. One under which our orders may mean something else is an order to
    halt too, which only a person takes back. When all is well again the link is told as back.
    """

    def __init__(
        self,
        differences: Callable[[], Awaitable[tuple[ModeDifference, ...]]],
        clock: Clock,
        tell: Callable[[Event], None],
    ) -> None:
        """differences: reads the account and says what is not as it should be."""
        self._differences, self._clock, self._tell = differences, clock, tell
        self._due_ns = clock.now_ns() + _EVERY_NS  # the start has looked already
        self._well = True
        self._halted = False

    def look_soon(self) -> None:
        """Something of the account's settings has changed."""
        self._due_ns = min(self._due_ns, self._clock.now_ns() + _SOON_NS)

    async def look(self) -> None:
        """Look, if it is time. A look that fails is made again in a minute."""
        if self._clock.now_ns() < self._due_ns:
            return
        try:
            found = await self._differences()
        except AresError as error:
            self._due_ns = self._clock.now_ns() + _AGAIN_NS
            _log.warning("account.modes_unread", text=error.message)
            return
        now = self._clock.now_ns()
        self._due_ns = now + (_AGAIN_NS if found else _EVERY_NS)
        if found:
            _log.error("account.modes_changed", differences=[difference.text for difference in found])
        if bool(found) is self._well:
            self._well = not found
            self._tell(LinkChanged(ts_event=now, ts_seen=now, link="modes", up=self._well))
        halts = any(difference.halts for difference in found)
        if halts and not self._halted:
            self._tell(OperatorOrder(ts_event=now, ts_seen=now, action="halt"))
        self._halted = halts
