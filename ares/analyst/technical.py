"""Technical reading: what patterns, trend, momentum and levels say, each with its evidence.

Every line of the table turns one feature into a vote in [-1, 1], positive for rising. The score is the weighted sum of
the votes over one plus the weights of those that spoke, so that a single voice does not shout. It describes; the
calibrated probability decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from ares.values import Reason, TechnicalView

__all__ = ["TECHNICAL_COLUMNS", "technical_of"]

Vote = Callable[[float], float]
_LEAST = 0.05  # a vote weaker than this is no evidence


def _squashed(scale: float) -> Vote:
    return lambda x: x / (scale + abs(x))


def _stretched(low: float, high: float) -> Vote:
    """Towards the middle from both extremes: over `high` it is overbought, under `low` oversold, between silent."""

    def vote(x: float) -> float:
        if x > high:
            return -min(1.0, (x - high) / (1.0 - high))
        return min(1.0, (low - x) / low) if x < low else 0.0

    return vote


def _near(x: float) -> float:
    """How near a level is, 1 at it and 0 from two average true ranges."""
    return max(0.0, 1.0 - abs(x) / 2.0)


_PATTERNS = (
    "dragonfly_doji", "gravestone_doji", "marubozu", "hammer", "hanging_man", "inverted_hammer", "shooting_star",
    "engulfing", "harami", "piercing", "dark_cloud_cover", "morning_star", "evening_star", "three_white_soldiers",
    "three_black_crows", "three_inside", "three_outside", "belt_hold",
)  # fmt: skip
_BEARISH_SHAPES = frozenset({"gravestone_doji"})  # marked 1 where they occur, whichever way they point


def _pattern(name: str) -> Vote:
    return (lambda x: -abs(x)) if name in _BEARISH_SHAPES else (lambda x: x)


_TABLE: dict[str, tuple[float, Vote]] = {
    "trend.ema_distance_50": (1.0, _squashed(1.5)),
    "trend.ema_distance_200": (0.5, _squashed(3.0)),
    "trend.ema_distance_50@4h": (1.0, _squashed(1.5)),
    "trend.supertrend_10_3": (0.5, _squashed(2.0)),
    "trend.macd_histogram_12_26_9": (0.5, _squashed(0.2)),
    "momentum.rsi_14": (0.5, _stretched(0.3, 0.7)),
    "trend.bollinger_z_20": (0.5, lambda x: -math.copysign(max(0.0, min(1.0, abs(x) - 2.0)), x)),
    "levels.support_distance_5_256": (0.5, _near),
    "levels.resistance_distance_5_256": (0.5, lambda x: -_near(x)),
    **{f"patterns.{name}": (0.5, _pattern(name)) for name in _PATTERNS},
}
TECHNICAL_COLUMNS = tuple(_TABLE)
_RARE = frozenset(f"patterns.{name}" for name in _PATTERNS)  # mostly 0, which is silence


def technical_of(values: Mapping[str, float]) -> TechnicalView | None:
    """The reading of the features there are, none of them NaN; None when none of the table's is among them."""
    evidence: list[Reason] = []
    total = weights = 0.0
    seen = False
    for name, value in values.items():
        line = _TABLE.get(name)
        if line is None:
            continue
        seen = True
        if value == 0.0 and name in _RARE:
            continue
        weight, vote = line
        spoken = vote(value)
        if abs(spoken) >= _LEAST:
            total += weight * spoken
            weights += weight
            evidence.append(Reason(code=f"technical.{name}", numbers={"value": value, "vote": spoken}))
    if not seen:
        return None
    evidence.sort(key=lambda reason: (-abs(reason.numbers["vote"]), reason.code))
    return TechnicalView(score=max(-1.0, min(1.0, total / (1.0 + weights))), evidence=tuple(evidence))
