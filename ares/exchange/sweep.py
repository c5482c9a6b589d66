"""All resting orders of a symbol at once: cancelled now, or by the venue itself when nobody is heard any more."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from ares.clock import Clock
from ares.errors import DataError, InvalidInput
from ares.exchange.rest import RestClient
from ares.exchange.wire.account import Countdown, Reply
from ares.exchange.wire.requests import cancel_all, countdown

__all__ = ["Sweep"]

_LONGEST = 24 * 3600.0  # seconds


class Sweep:
    """Cancels without naming orders. Knows until when each countdown runs."""

    def __init__(self, rest: RestClient, clock: Clock) -> None:
        self._rest, self._clock = rest, clock
        self._armed: dict[str, int] = {}  # when the venue will cancel, by symbol; ns of our clock

    async def cancel_all(self, symbol: str, *, conditional: bool) -> None:
        """Cancel every normal order of the symbol; with `conditional` the stops too, after them."""
        await self._rest.call(cancel_all(symbol, conditional=False), Reply)
        if conditional:
            await self._rest.call(cancel_all(symbol, conditional=True), Reply)

    async def after(self, symbol: str, seconds: float) -> None:
        """Have the venue cancel them in `seconds` unless it is told again before; 0 ends the countdown.

        Raises: DataError when the venue confirms another time.
        """
        if not 0 <= seconds <= _LONGEST:
            raise InvalidInput(f"a countdown takes from 0 (none) to {_LONGEST:g} seconds, not {seconds}")
        began, wanted = self._clock.now_ns(), round(seconds * 1000)
        answer = await self._rest.call(countdown(symbol, wanted), Countdown)
        if Decimal(answer.countdown_time) != wanted:
            raise DataError(
                f"{symbol}: the venue counts down from {answer.countdown_time} ms instead of {wanted}: ask again",
                symbol=symbol,
            )
        self._armed[symbol] = began + wanted * 1_000_000
        if wanted == 0:
            del self._armed[symbol]

    def countdowns(self, now_ns: int) -> Mapping[str, float]:
        """Seconds left of each countdown, by symbol; 0 once it has run out."""
        return {symbol: max(0.0, (until - now_ns) / 1e9) for symbol, until in self._armed.items()}
