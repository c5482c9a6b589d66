"""Settings of the desk and of its guard."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge, gt, optional

__all__ = ["DeskConfig", "GuardConfig"]


@frozen(kw_only=True)
class GuardConfig:
    """Limits on the account as a whole. None switches a limit off; loss limits are fractions."""

    max_positions: int = field(default=10, validator=ge(1))
    max_gross_leverage: float = field(default=3.0, validator=gt(0.0))  # sum of notionals over equity
    max_leverage: int | None = field(default=None, validator=optional(ge(1)))
    daily_loss_limit: float | None = field(default=None, validator=optional(gt(0.0)))  # of the day's first equity
    drawdown_limit: float | None = field(default=None, validator=optional(gt(0.0)))  # of the highest equity


@frozen(kw_only=True)
class DeskConfig:
    """How the desk keeps time and limits; the stages have settings of their own."""

    look_every_ns: int = field(default=10_000_000_000, validator=gt(0))  # least time between two looks at a position
    protect_within_ns: int = field(default=3_000_000_000, validator=gt(0))  # a stop must be acknowledged by then
    stage_timeout_ns: int = field(default=200_000_000, validator=gt(0))  # a later answer of an outside stage is dropped
    guard: GuardConfig = field(factory=GuardConfig)
