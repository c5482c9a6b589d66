"""A simulated exchange whose time passes like ours, for watching a bot at work."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any

from ares.clock import SystemClock
from ares.events import Event
from ares.simulation.simulated_exchange import SimulatedExchange
from ares.simulation.tape import Tape

__all__ = ["RealTimeExchange"]


class RealTimeExchange(SimulatedExchange):
    """Its market stream waits until the machine's clock has gone on as far as the tape's, `speed` times faster."""

    def __init__(self, tape: Tape, *, speed: float, **settings: Any) -> None:
        super().__init__(tape, **settings)
        self._speed = speed
        self._machine = SystemClock()

    def stream_market(
        self, symbols: Sequence[str], interval: str, kinds: Collection[str] = ()
    ) -> AsyncIterator[Event]:
        """As the simulated exchange's, in the machine's time from the first event on."""
        return self._paced(super().stream_market(symbols, interval, kinds))

    async def _paced(self, stream: AsyncIterator[Event]) -> AsyncIterator[Event]:
        tape_began, we_began = self.session.now_ns, self._machine.now_ns()
        while True:
            upcoming = self.session.next_ns
            if upcoming is not None:
                await self._machine.wait_until(we_began + round((upcoming - tape_began) / self._speed))
            event = await anext(stream, None)
            if event is None:
                return
            yield event
