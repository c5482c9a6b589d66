"""Settings of the simulated venue."""

from __future__ import annotations

from decimal import Decimal

from attrs import field, frozen
from attrs.validators import ge, lt

from ares.errors import InvalidInput

__all__ = ["VenueConfig"]


def _rate_or_none(_: object, __: object, value: Decimal | None) -> None:
    if value is not None and not abs(value) < 1:
        raise InvalidInput(f"a fee is a fraction of the notional, not {value}")


@frozen(kw_only=True)
class VenueConfig:
    """How the simulated venue treats us."""

    asset: str = "USDT"  # of the account; the quote asset of the first instrument, when there is one, decides
    start_balance: Decimal = field(default=Decimal(10_000), validator=ge(Decimal(0)))  # quote
    maker_fee: Decimal | None = field(default=None, validator=_rate_or_none)  # fraction; None: the instrument's
    taker_fee: Decimal | None = field(default=None, validator=_rate_or_none)  # fraction; None: the instrument's
    slippage: Decimal = field(default=Decimal("0.0001"), validator=[ge(Decimal(0)), lt(Decimal(1))])
    # fraction of the price that each taker fill is worse by: half the spread and the impact
    limit_through: int = field(default=1, validator=ge(0))  # ticks beyond a limit before it fills; 0: a touch fills
    leverage: int = field(default=20, validator=ge(1))  # of every symbol until it is set; at most the instrument's
