"""The reference rule: where the trend stands, and whether the market is calm, usual or wild.

Trend score, in [-1, 1]: the mean of those of these parts that the features offer, each squashed by `x / (s + |x|)`:

| part | column | s |
|---|---|---|
| distance from the slow mean | `trend.ema_distance_50` | 1.5 average true ranges |
| smoothed return | `wavelet.db4_slope` | 0.15 deviations |
| distance on the higher timeframe | `trend.ema_distance_50@...` | 1.5 average true ranges |
| balance of directional movement | `(di_plus - di_minus) / (di_plus + di_minus)` of `trend.di_*_14` | none |

Volatility ratio: `volatility.ewma_32 / volatility.ewma_128`. The state is one of nine cells: trend down, flat or up,
times calm, usual or wild.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ares.analyst.config import RuleConfig
from ares.errors import InvalidInput, unknown_name
from ares.kernels.jit import jit

__all__ = ["CELLS", "STATES", "VOLATILITY", "Columns", "Reading", "columns", "read"]

VOLATILITY = "volatility.ewma_128"
SHORT_VOLATILITY = "volatility.ewma_32"
DISTANCE = "trend.ema_distance_50"
SLOPE = "wavelet.db4_slope"
PLUS, MINUS = "trend.di_plus_14", "trend.di_minus_14"

STATES = tuple(f"{trend}.{mood}" for trend in ("down", "flat", "up") for mood in ("calm", "usual", "wild"))
CELLS = len(STATES)


@frozen(kw_only=True)
class Reading:
    """What a rule makes of one row."""

    cell: int  # of the rule's states; -1: nothing can be said
    sides: int  # which sides are considered, as a bit mask: 1 long, 2 short
    volatility: float  # deviation of one bar's log return; NaN when unknown
    score: float  # in [-1, 1], NaN when unknown
    ratio: float  # of short to long volatility; NaN when the rule has none
    nan_read: str = ""  # a column that was read and held no value


@frozen(kw_only=True)
class Columns:
    """Positions of the rule's columns in a row; -1 for a part that the features do not offer."""

    volatility: int
    places: NDArray[np.int64]  # short, long volatility, distance, slope, higher distance, plus, minus


def columns(names: Sequence[str], config: RuleConfig) -> Columns:
    """Find the rule's columns by name.

    Raises: InvalidInput when a volatility or every part of the trend score is missing.
    """
    if not names:
        raise InvalidInput("the feature row carries no column names, so no rule can read it")
    index = {name: i for i, name in enumerate(names)}
    higher = next((name for name in names if name.startswith(f"{DISTANCE}@")), "")
    wanted = (SHORT_VOLATILITY, VOLATILITY, DISTANCE, SLOPE, higher, PLUS, MINUS)
    places = np.array([index.get(name, -1) for name in wanted], dtype=np.int64)
    for missing in (lacking(names), config.volatility or VOLATILITY):
        if missing and missing not in index:
            raise unknown_name("feature", missing, names)
    return Columns(volatility=index[config.volatility or VOLATILITY], places=places)


def lacking(names: Sequence[str]) -> str:
    """The first column that the rule cannot do without and `names` lacks; empty when it has all it needs."""
    if absent := next((name for name in (SHORT_VOLATILITY, VOLATILITY) if name not in names), ""):
        return absent
    parts = (DISTANCE, SLOPE, PLUS, MINUS)
    return "" if any(name in parts or name.startswith(f"{DISTANCE}@") for name in names) else DISTANCE


def read(values: NDArray[np.float64], found: Columns, config: RuleConfig) -> Reading:
    """The state of one row, with both sides considered."""
    cell, score, ratio, volatility = _state(
        values, found.places, found.volatility, config.trend_threshold, config.calm_below, config.wild_above
    )
    return Reading(cell=cell, sides=3, volatility=volatility, score=score, ratio=ratio)


@jit
def _squash(x: float, scale: float) -> float:
    return x / (scale + abs(x))


@jit
def _state(
    values: NDArray[np.float64],
    places: NDArray[np.int64],
    volatility_at: int,
    threshold: float,
    calm: float,
    wild: float,
) -> tuple[int, float, float, float]:
    """(cell, trend score, volatility ratio, volatility); cell -1 when a value that is needed is NaN."""
    volatility = values[volatility_at]
    total, parts = 0.0, 0
    for k, scale in ((2, 1.5), (3, 0.15), (4, 1.5)):
        if places[k] >= 0:
            total += _squash(values[places[k]], scale)
            parts += 1
    if places[5] >= 0 and places[6] >= 0:
        plus, minus = values[places[5]], values[places[6]]
        total += (plus - minus) / (plus + minus) if plus + minus > 0.0 else 0.0 * (plus + minus)
        parts += 1
    score = total / parts
    ratio = values[places[0]] / values[places[1]]
    if math.isnan(score) or not (volatility > 0.0 and ratio > 0.0 and ratio < math.inf):
        return -1, score, ratio, volatility
    trend = 2 if score >= threshold else 0 if score <= -threshold else 1
    mood = 0 if ratio < calm else 2 if ratio > wild else 1
    return 3 * trend + mood, score, ratio, volatility
