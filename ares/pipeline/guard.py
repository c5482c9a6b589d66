"""The desk's mode: what may be sent at all. Each cause holds a latch; the mode is the tightest latch."""

from __future__ import annotations

from decimal import Decimal
from enum import IntEnum

from attrs import define, field

from ares.account import Account
from ares.pipeline.config import GuardConfig
from ares.protocols import Limits, Reason

__all__ = ["Guard", "GuardConfig", "Mode"]

_DAY_NS = 86_400_000_000_000


class Mode(IntEnum):
    """`RUN`: all orders. `REDUCE`: exits and stops only. `HALT`: nothing is sent; stops stay at the venue."""

    RUN = 0
    REDUCE = 1
    HALT = 2


@define
class Guard:
    """Latches and shared limits; fed with equity and alarms, asked before each entry."""

    config: GuardConfig
    latches: dict[str, Mode] = field(factory=dict)
    _alarms: dict[str, Reason] = field(factory=dict)  # symbol -> why its model is not believed
    _day: int = -1
    _day_equity: float = 0.0
    _peak: float = 0.0

    @property
    def mode(self) -> Mode:
        """The tightest latch; RUN when none is held."""
        return max(self.latches.values(), default=Mode.RUN)

    def hold(self, cause: str, mode: Mode) -> None:
        """Set a latch; one that is held already is never loosened by it."""
        self.latches[cause] = max(mode, self.latches.get(cause, mode))

    def release(self, cause: str) -> None:
        """Let a latch go; unknown causes are fine."""
        self.latches.pop(cause, None)

    def resume(self) -> None:
        """A person lets go of what was held, but for what is so still: a link that is down, a session that is stopping.

        These let go by themselves, when the link is back and when the session goes on.
        """
        self.latches = {c: mode for c, mode in self.latches.items() if c == "stopped" or c.startswith("link:")}

    def watch(self, equity: float, now_ns: int) -> Reason | None:
        """Take the account's equity (quote); the reason when a loss limit has just closed, else None.

        Loss latches are let go by the operator only.
        """
        day = now_ns // _DAY_NS
        if day != self._day:
            self._day, self._day_equity = day, equity
        self._peak = max(self._peak, equity)
        for cause, start, limit in (
            ("daily_loss", self._day_equity, self.config.daily_loss_limit),
            ("drawdown", self._peak, self.config.drawdown_limit),
        ):
            if limit is not None and cause not in self.latches and start > 0 and equity <= start * (1.0 - limit):
                self.hold(cause, Mode.REDUCE)
                return Reason(code=f"guard.{cause}", numbers={"loss": 1.0 - equity / start, "limit": limit})
        return None

    def doubt(self, symbol: str, alarm: Reason | None) -> bool:
        """Take what an analyst says of its own model; True when that has just closed entries.

        An alarm holds `model:SYMBOL` at REDUCE. It stays when the alarm is over, until the operator resumes or another
        model begins: a model that has failed once is not believed again by itself.
        """
        cause = f"model:{symbol}"
        if alarm is None or cause in self.latches:
            return False
        self.hold(cause, Mode.REDUCE)
        self._alarms[symbol] = alarm
        return True

    def begin_model(self) -> tuple[str, ...]:
        """Another model decides from now on: alarms of the old one are let go. The symbols that had one."""
        held = tuple(symbol for symbol in self._alarms if f"model:{symbol}" in self.latches)
        for symbol in held:
            self.release(f"model:{symbol}")
        self._alarms.clear()
        return held

    def limits(self, account: Account, committed: Decimal, positions: int) -> Limits:
        """What the next entry may use.

        committed: quote notional held, in flight and unknown, each at its worst case. positions: open or opening.
        """
        if self.mode is not Mode.RUN:
            numbers = {cause: float(mode) for cause, mode in self.latches.items()}
            why = (alarm for symbol, alarm in self._alarms.items() if f"model:{symbol}" in self.latches)
            return Limits(may_enter=False, reasons=(Reason(code="guard.not_running", numbers=numbers), *why))
        if positions >= self.config.max_positions:
            numbers = {"open": float(positions), "limit": float(self.config.max_positions)}
            return Limits(may_enter=False, reasons=(Reason(code="guard.too_many_positions", numbers=numbers),))
        room = Decimal(repr(self.config.max_gross_leverage)) * account.equity - committed
        if room <= 0:
            numbers = {"committed": float(committed), "equity": float(account.equity)}
            return Limits(may_enter=False, reasons=(Reason(code="guard.gross_exposure", numbers=numbers),))
        drawdown = max(0.0, 1.0 - float(account.equity) / self._peak) if self._peak > 0 else None
        return Limits(max_notional=room, max_leverage=self.config.max_leverage, drawdown=drawdown)
