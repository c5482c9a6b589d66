"""Orders that were sent and of which the account's stream has not told: until it does, the venue is looked at often."""

from __future__ import annotations

from collections.abc import Callable

from ares.clock import Clock

__all__ = ["Sent"]

_LONGEST_NS = 60_000_000_000  # after this the usual looks are enough


class Sent:
    """By client id. `wake` is called for each new one, so that whoever waits for the stream looks sooner."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._orders: dict[str, tuple[str, int]] = {}  # client id -> symbol, when it was sent (ns)
        self.wake: Callable[[], None] = lambda: None

    def add(self, symbol: str, client_id: str) -> None:
        """An order is about to be sent."""
        self._orders[client_id] = (symbol, self._clock.now_ns())
        self.wake()

    def heard(self, client_id: str) -> None:
        """It was told of, or never came to be."""
        self._orders.pop(client_id, None)

    def waiting(self) -> list[tuple[str, str]]:
        """Symbol and client id of those still unheard, oldest first."""
        early = self._clock.now_ns() - _LONGEST_NS
        for client_id in [c for c, (_, at) in self._orders.items() if at < early]:
            del self._orders[client_id]
        return [(symbol, client_id) for client_id, (symbol, _) in self._orders.items()]
