"""Settings of the tactician."""

from __future__ import annotations

from decimal import Decimal

from attrs import field, frozen
from attrs.validators import ge, gt, le, lt

__all__ = ["TacticianConfig"]


@frozen(kw_only=True)
class TacticianConfig:
    """How much to risk, how far to lever, and what a round trip is assumed to cost.

    Every limit is a cap on the notional; the least one decides. Fractions, not percent.
    """

    tactics_interval: float = field(default=30.0, validator=gt(0.0))  # seconds for which a plan's entry stands
    max_history: int = field(default=100, validator=ge(1))  # recent results kept for the status
    enable_position_sizing: bool = True  # off: only `fixed_notional` sizes; without it nothing is planned
    enable_leverage_optimization: bool = True  # off: `fixed_leverage` is used as it stands
    enable_risk_management: bool = True  # off: no cap by risk, volatility or drawdown, no distance to liquidation kept

    fixed_notional: Decimal | None = None  # quote; the size when position sizing is off
    fixed_leverage: int = field(default=1, validator=ge(1))  # when leverage optimisation is off

    kelly_fraction: float = field(default=0.25, validator=[gt(0.0), le(1.0)])  # of the growth-optimal size
    risk_per_trade: float = field(default=0.005, validator=[gt(0.0), lt(1.0)])  # of equity, lost at the stop with costs
    volatility_target: float = field(default=0.5, validator=gt(0.0))  # yearly volatility of equity from one position
    liquidity_share: float = field(default=0.01, validator=[gt(0.0), le(1.0)])  # of the last bar's quote volume
    drawdown_start: float = field(default=0.1, validator=[ge(0.0), lt(1.0)])  # drawdown at which size begins to shrink
    drawdown_end: float = field(default=0.3, validator=[gt(0.0), le(1.0)])  # ... and where it reaches nothing

    max_leverage: int = field(default=5, validator=[ge(1), le(125)])
    liquidation_gap: float = field(default=0.3, validator=[ge(0.3), lt(1.0)])  # of the way to liquidation, kept free
    liquidation_stops: float = field(default=2.0, validator=ge(1.0))  # liquidation this many stop distances off
    liquidation_sigmas: float = field(default=3.0, validator=ge(0.0))  # ... and this many deviations over the horizon

    slippage: float = field(default=0.0002, validator=ge(0.0))  # fraction lost by each market order
    assumed_spread: float = field(default=0.0001, validator=ge(0.0))  # fraction; used when nobody sent quotes
    assumed_funding: float = field(default=0.0001, validator=ge(0.0))  # per funding interval; used when nobody sent one
    max_price_gap: float = field(default=0.02, validator=gt(0.0))  # mark against last price; wider: no entry

    ladder: tuple[tuple[float, float], ...] = ((1.0, 1.0),)  # targets: (share of the target width, share of the size)

    def __attrs_post_init__(self) -> None:
        if not self.drawdown_start < self.drawdown_end:
            raise ValueError(f"drawdown_start {self.drawdown_start} must lie below drawdown_end {self.drawdown_end}")
        if self.fixed_notional is not None and not self.fixed_notional > 0:
            raise ValueError(f"fixed_notional must be positive, not {self.fixed_notional}")
        if not 1 <= len(self.ladder) <= 3 or any(len(rung) != 2 for rung in self.ladder):
            raise ValueError("ladder takes one to three pairs of (share of the target width, share of the size)")
        widths = [width for width, _ in self.ladder]
        shares = [share for _, share in self.ladder]
        if widths != sorted(set(widths)) or not widths[0] > 0.0 or widths[-1] > 1.0:
            raise ValueError(f"ladder widths must rise within (0, 1], not {widths}")
        if min(shares) <= 0.0 or abs(sum(shares) - 1.0) > 1e-9:
            raise ValueError(f"ladder shares must be positive and sum to 1, not {shares}")
