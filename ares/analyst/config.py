"""Settings of the analysts."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen
from attrs.converters import optional
from attrs.validators import ge, gt, le, lt

__all__ = ["AnalystConfig", "HealthConfig", "LiquidationConfig", "RuleConfig", "VigilanceConfig"]


@frozen(kw_only=True)
class RuleConfig:
    """How `RuleAnalyst` reads its state and learns what that state has been worth.

    The trend score is the sum of signs and sizes of the reference rule's columns, in [-1, 1]; the state is up at
    `trend_threshold` and above, down at its negative and below, else flat. The volatility state is calm, usual or wild
    by the ratio of short to long volatility.
    """

    volatility: str | None = None  # column with the deviation of one bar's log return; None: the default set's
    trend_threshold: float = field(default=0.35, validator=[gt(0.0), lt(1.0)])
    calm_below: float = field(default=0.85, validator=gt(0.0))  # ratio of short to long volatility
    wild_above: float = field(default=1.2, validator=gt(0.0))  # the same
    prior_strength: float = field(default=20.0, validator=gt(0.0))  # outcomes that the prior counts for
    prior_win: float | None = None  # target before stop, given that one is touched; None: that of a driftless walk
    min_matured: int = field(default=20, validator=ge(0))  # known outcomes below which the analyst abstains
    confidence_level: float = field(default=0.7, validator=[ge(0.5), lt(1.0)])  # of the one-sided lower bound
    memory: float | None = None  # outcomes after which an old one counts 1/e; None: all count alike

    def __attrs_post_init__(self) -> None:
        if not self.calm_below < self.wild_above:
            raise ValueError(f"calm_below {self.calm_below} must lie below wild_above {self.wild_above}")
        if self.prior_win is not None and not 0.0 < self.prior_win < 1.0:
            raise ValueError(f"prior_win must lie inside (0, 1), not {self.prior_win}")
        if self.memory is not None and not self.memory >= 1.0:
            raise ValueError(f"memory must be at least 1 outcome, not {self.memory}")


@frozen(kw_only=True)
class HealthConfig:
    """Where each part of the market's health is down to a half. See `ares.analyst.health`."""

    volatility: float = field(default=0.5, validator=gt(0.0))  # log ratio of recent to longer volatility
    liquidity: float = field(default=0.3, validator=[gt(0.0), lt(1.0)])  # bar's volume over its recent mean, as a share
    spread: float = field(default=0.001, validator=gt(0.0))  # fraction of the price
    stress: float = field(default=4.0, validator=gt(0.0))  # last bar's return, in deviations


@frozen(kw_only=True)
class LiquidationConfig:
    """The position whose liquidation is looked at while flat. See `ares.analyst.liquidation`."""

    leverage: int = field(default=5, validator=[ge(1), le(125)])
    notional: float = field(default=10_000.0, validator=gt(0.0))  # quote
    memory: int = field(default=1000, validator=ge(50))  # bars of returns that the empirical tail is made of


@frozen(kw_only=True)
class VigilanceConfig:
    """When a model is no longer believed in full. See `ares.analyst.vigilance`."""

    window: int = field(default=1000, validator=ge(50))  # recent bars that drift is judged on
    every: int = field(default=24, validator=ge(1))  # bars between two looks at drift
    drifted_index: float = field(default=0.25, validator=gt(0.0))  # stability index from which a column has changed
    half_share: float = field(default=0.5, validator=[gt(0.0), le(1.0)])  # of the columns changed: half size
    stop_share: float = field(default=0.8, validator=[gt(0.0), le(1.0)])  # the same: no new bets
    outcomes: int = field(default=1000, validator=ge(30))  # matured bets that calibration is judged on
    half_score: float = field(default=2.5, validator=gt(0.0))  # deviations of hits from their chances: half size
    stop_score: float = field(default=4.0, validator=gt(0.0))  # the same: no new bets
    outside_share: float = field(default=0.1, validator=[gt(0.0), le(1.0)])  # of a row's columns out of range
    margin: float = field(default=0.25, validator=ge(0.0))  # by which the training range is widened first

    def __attrs_post_init__(self) -> None:
        if not self.half_score < self.stop_score:
            raise ValueError(f"half_score {self.half_score} must lie below stop_score {self.stop_score}")
        if not self.half_share <= self.stop_share:
            raise ValueError(f"half_share {self.half_share} must not lie above stop_share {self.stop_share}")


@frozen(kw_only=True)
class AnalystConfig:
    """What an analyst computes, and the trade its probabilities are about.

    Widths are multiples of the volatility over the horizon, `volatility * sqrt(horizon)`, in log price. A trained model
    brings those that its labels were made with: horizon, multiples, side timeframe and time to live.
    """

    enable_dual_model_system: bool = True
    enable_market_health_analysis: bool = True
    enable_liquidation_risk_analysis: bool = True
    enable_feature_engineering: bool = True  # off: no column is read, so there is no opinion
    enable_ml_predictions: bool = True  # off: no probability and therefore no side
    enable_regime_classification: bool = True  # off: `regime` is None
    horizon: int = field(default=24, validator=[ge(1), le(10_000)])  # bars until the time barrier
    target_multiple: float = field(default=1.0, validator=gt(0.0))
    stop_multiple: float = field(default=1.0, validator=gt(0.0))
    side_timeframe: str | None = None  # of models to train: sides are decided at its closes; None: at each bar
    time_to_live: int = field(default=4, validator=ge(1))  # of models to train: bars that an entry may wait
    valid_bars: int = field(default=1, validator=ge(1))  # bars for which an opinion stands
    round_trip_cost: float = field(default=0.0015, validator=ge(0.0))  # fraction of notional: fees, spread, slippage
    max_results: int = field(default=100, validator=ge(1))  # recent results kept for each symbol
    enable_technical_analysis: bool = True  # off: `technical` is None
    model: Path | None = field(default=None, converter=optional(Path))  # folder of a trained one; None: the rules
    rules: RuleConfig = field(factory=RuleConfig)
    health: HealthConfig = field(factory=HealthConfig)
    liquidation: LiquidationConfig = field(factory=LiquidationConfig)
    vigilance: VigilanceConfig = field(factory=VigilanceConfig)
