"""Settings of the position monitor."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge, gt, le, lt

__all__ = ["MonitorConfig"]


@frozen(kw_only=True)
class MonitorConfig:
    """When a position is watched, eased, protected and closed. Risk is a number in [0, 1], see `assessment`.

    R is the trade's initial risk: the distance from entry to its first stop.
    """

    position_monitoring_interval: float = field(default=10.0, validator=gt(0.0))  # seconds between looks
    max_assessment_history: int = field(default=1000, validator=ge(1))  # assessments kept for each position
    high_risk_threshold: float = field(default=0.8, validator=[gt(0.0), le(1.0)])  # from here a position is closed
    medium_risk_threshold: float = field(default=0.6, validator=[gt(0.0), le(1.0)])  # from here it is scaled down
    low_risk_threshold: float = field(default=0.3, validator=[gt(0.0), le(1.0)])  # below it nothing is wrong

    loss_weight: float = field(default=0.5, validator=ge(0.0))  # of the way from entry to the first stop
    doubt_weight: float = field(default=0.35, validator=ge(0.0))  # of the opinion against the position
    time_weight: float = field(default=0.15, validator=ge(0.0))  # of the trade's time that is used up
    opinion_half_life: float = field(default=4.0, validator=gt(0.0))  # bars after its end in which an opinion halves
    opposite_doubt: float = field(default=0.1, validator=[ge(0.0), lt(1.0)])  # from here an opposite opinion closes

    scale_down_to: float = field(default=0.5, validator=[gt(0.0), lt(1.0)])  # of the initial quantity
    break_even_after_target: bool = True  # after the first target the stop moves to entry plus costs
    trail_after: float = field(default=1.0, validator=ge(0.0))  # R of best profit from which the stop trails
    trail_sigmas: float = field(default=1.0, validator=gt(0.0))  # its distance in deviations over the horizon
    min_stop_move: float = field(default=0.1, validator=gt(0.0))  # R; a smaller improvement is not worth an order
    stop_overrun: float = field(default=0.5, validator=gt(0.0))  # R beyond a resting stop that tells it has failed

    default_stop: float = field(default=0.02, validator=[gt(0.0), lt(1.0)])  # fraction; stop when volatility is unknown
    default_interval: str = "1h"  # bars from which a position without a plan gets its stop and time barrier
    default_horizon: int = field(default=24, validator=ge(1))  # bars until such a position is closed
    default_stop_sigmas: float = field(default=1.0, validator=gt(0.0))  # its stop, deviations over that horizon

    def __attrs_post_init__(self) -> None:
        low, medium, high = self.low_risk_threshold, self.medium_risk_threshold, self.high_risk_threshold
        if not low < medium < high:
            raise ValueError(f"risk thresholds must rise: low {low}, medium {medium}, high {high}")
        total = self.loss_weight + self.doubt_weight + self.time_weight
        if abs(total - 1.0) > 1e-9:
            raise ValueError(f"loss_weight, doubt_weight and time_weight must sum to 1, not {total}")
