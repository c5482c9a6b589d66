"""What may be sent now: request weight and order count with a reserve for protection, pauses and bans, clock offset.

Pure state without a clock of its own: every call is given the time, so it is tested without waiting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from statistics import median

from attrs import define, field, frozen
from attrs.validators import ge, gt, lt

from ares.errors import Retryable
from ares.exchange.wire.market import RateLimit
from ares.exchange.wire.requests import Request

__all__ = ["Budget", "Limits", "ServerClock"]

_SECOND = 1_000_000_000
_SPANS = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600, "DAY": 86_400}


@frozen(kw_only=True)
class Budget:
    """So many units in each window of so many seconds, as the venue counts: windows begin at whole multiples."""

    limit: int = field(validator=gt(0))
    seconds: int = field(validator=gt(0))
    header: str  # lower case; the venue's own count comes back in it


_WEIGHT = Budget(limit=2400, seconds=60, header="x-mbx-used-weight-1m")
_ORDERS = (
    Budget(limit=300, seconds=10, header="x-mbx-order-count-10s"),
    Budget(limit=1200, seconds=60, header="x-mbx-order-count-1m"),
)


@define
class _Count:
    budget: Budget
    window: int = -1
    used: int = 0

    def at(self, now_ns: int) -> int:
        """Units used in the window that holds `now_ns`."""
        window = now_ns // (self.budget.seconds * _SECOND)
        if window != self.window:
            self.window, self.used = window, 0
        return self.used

    def wait(self, now_ns: int) -> float:
        """Seconds until the next window."""
        span = self.budget.seconds * _SECOND
        return (span - now_ns % span) / _SECOND


@define
class Limits:
    """Budgets of one IP and one account. `reserve`: the fraction of each that only protective requests may use."""

    reserve: float = field(default=0.2, validator=[ge(0.0), lt(1.0)])
    weight: _Count = field(factory=lambda: _Count(_WEIGHT))
    orders: list[_Count] = field(factory=lambda: [_Count(b) for b in _ORDERS])
    paused_until_ns: int = 0  # 429: reads and risk orders wait, protection goes on from the reserve
    banned_until_ns: int = 0  # 418: nothing at all is sent
    refused: int = 0  # how often the venue said 429 or 418

    def adopt(self, rules: list[RateLimit]) -> None:
        """Take the venue's own limits."""
        for rule in rules:
            seconds = _SPANS.get(rule.interval, 0) * rule.interval_num
            if rule.limit <= 0 or seconds <= 0:
                continue
            if rule.rate_limit_type == "REQUEST_WEIGHT" and seconds == 60:
                self.weight = _Count(Budget(limit=rule.limit, seconds=60, header=_WEIGHT.header))
            elif rule.rate_limit_type == "ORDERS":
                for i, count in enumerate(self.orders):
                    if count.budget.seconds == seconds:
                        budget = Budget(limit=rule.limit, seconds=seconds, header=count.budget.header)
                        self.orders[i] = _Count(budget)

    def take(self, request: Request, now_ns: int) -> None:
        """Count a request that is about to be sent.

        Raises: Retryable, with the seconds to wait, when it may not be sent now. Nothing is counted then.
        """
        if now_ns < self.banned_until_ns:
            raise self._too_soon("the venue has banned this address", self.banned_until_ns - now_ns, banned=True)
        if now_ns < self.paused_until_ns and not request.protective:
            raise self._too_soon("the venue asked for a pause", self.paused_until_ns - now_ns)
        share = 1.0 if request.protective else 1.0 - self.reserve
        charges = [(self.weight, request.weight)] + [(count, request.orders) for count in self.orders]
        for count, units in charges:
            if units and count.at(now_ns) + units > count.budget.limit * share:
                wait = count.wait(now_ns)
                raise Retryable(
                    f"{request.what}: {count.used} of {count.budget.limit} used in {count.budget.seconds} s",
                    after=wait,
                    used=count.used,
                    limit=count.budget.limit,
                )
        for count, units in charges:
            if units:
                count.used += units

    def heard(self, headers: Mapping[str, str], now_ns: int) -> None:
        """Take the venue's own counts from an answer; the greater of theirs and ours holds."""
        for count in (self.weight, *self.orders):
            told = headers.get(count.budget.header, "")
            if told.isascii() and told.isdigit():
                count.used = max(count.at(now_ns), int(told))

    def told_to_wait(self, seconds: float, now_ns: int, *, banned: bool) -> None:
        """Remember a 429 or a 418."""
        self.refused += 1
        until = now_ns + round(seconds * _SECOND)
        if banned:
            self.banned_until_ns = max(self.banned_until_ns, until)
        else:
            self.paused_until_ns = max(self.paused_until_ns, until)

    def status(self, now_ns: int) -> dict[str, object]:
        """What is used, for people."""
        return {
            "weight_used": self.weight.at(now_ns),
            "weight_limit": self.weight.budget.limit,
            "orders_used": {c.budget.seconds: c.at(now_ns) for c in self.orders},
            "paused_seconds": max(0.0, (self.paused_until_ns - now_ns) / _SECOND),
            "banned_seconds": max(0.0, (self.banned_until_ns - now_ns) / _SECOND),
            "banned_until_ns": self.banned_until_ns,
            "refused": self.refused,
        }

    @staticmethod
    def _too_soon(message: str, left_ns: int, *, banned: bool = False) -> Retryable:
        return Retryable(message, after=left_ns / _SECOND, banned=banned)


@define
class ServerClock:
    """How far the venue's clock is ahead of ours, from probes: the median of the three quickest of the last nine."""

    _probes: deque[tuple[int, int]] = field(factory=lambda: deque(maxlen=9))  # round trip, offset; ns
    offset_ns: int = 0
    measured_ns: int = 0  # when the last probe came back; 0: never

    @property
    def offset_ms(self) -> float | None:
        """How far the venue's clock is ahead, ms; None: never measured."""
        return self.offset_ns / 1e6 if self.measured_ns else None

    def heard(self, sent_ns: int, received_ns: int, server_ns: int) -> None:
        """One probe: when it left, when its answer came, what time the venue said."""
        self._probes.append((received_ns - sent_ns, server_ns - (sent_ns + received_ns) // 2))
        quickest = sorted(self._probes)[:3]
        self.offset_ns = round(median(offset for _, offset in quickest))
        self.measured_ns = received_ns

    def forget(self) -> None:
        """Drop old probes: the venue said that our time is wrong."""
        self._probes.clear()

    def venue_ms(self, now_ns: int) -> int:
        """The venue's time, for a request's stamp."""
        return (now_ns + self.offset_ns) // 1_000_000
