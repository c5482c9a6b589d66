"""Leverage from the distance to liquidation: as much as leaves the stop enough room, never more."""

from __future__ import annotations

from decimal import Decimal

from attrs import frozen

from ares.instruments import Side
from ares.kernels.sizing import lever
from ares.protocols import Reason, TacticsInput
from ares.tactician.config import TacticianConfig
from ares.tactician.sizing import bar_volatility

__all__ = ["Leverage", "choose_leverage"]


@frozen(kw_only=True)
class Leverage:
    """The chosen leverage; 0 when even the least lets liquidation come too near the stop."""

    value: int
    distance: float  # to liquidation, fraction of entry, that was demanded
    ceiling: int  # the least of the user's, the desk's and the tier's limit

    @property
    def refusal(self) -> Reason | None:
        """Why no leverage fits; None when one does."""
        if self.value >= 1:
            return None
        return Reason(code="leverage.unsafe", numbers={"distance": self.distance, "ceiling": float(self.ceiling)})


def choose_leverage(
    given: TacticsInput, side: Side, notional: float, stop: float, config: TacticianConfig
) -> Leverage:
    """The highest whole leverage at which an isolated position of `notional` (quote) is liquidated late enough.

    stop: its distance as a fraction of entry. The margin tier is the one that holds the notional at the far end of
    the way to liquidation, where a short is larger. With leverage optimisation off the fixed leverage is taken, and
    with risk management on it is still refused when it is unsafe.
    """
    instrument, limits = given.instrument, given.limits
    sigma = bar_volatility(given) * given.analysis.horizon**0.5
    reach = max(1.0, 1.0 - side.sign * max(stop * config.liquidation_stops, config.liquidation_sigmas * sigma))
    tier = instrument.tier(Decimal(repr(notional * reach))) if instrument.tiers else None
    ceiling = config.max_leverage if config.enable_leverage_optimization else config.fixed_leverage
    ceiling = min(ceiling, tier.max_leverage if tier is not None else 1)
    if limits.max_leverage is not None:
        ceiling = min(ceiling, limits.max_leverage)
    if not config.enable_risk_management:
        return Leverage(value=ceiling, distance=0.0, ceiling=ceiling)
    value, distance = lever(
        side.sign,
        stop,
        config.slippage,
        sigma,
        config.liquidation_sigmas,
        config.liquidation_gap,
        config.liquidation_stops,
        float(tier.rate) if tier is not None else 0.0,
        float(tier.cum) if tier is not None else 0.0,
        notional,
        ceiling,
    )
    if not config.enable_leverage_optimization and value < ceiling:
        value = 0
    return Leverage(value=value, distance=distance, ceiling=ceiling)
