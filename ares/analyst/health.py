"""Market health: how fit the market is for trading now, in [0, 1], from four documented parts.

| part | reads | 1 | 1/2 at |
|---|---|---|---|
| volatility | `volatility.ratio_8_64`, log of recent over longer volatility | usual or less | `volatility` |
| liquidity | `volume.relative_24`, else `volume.z_48` | the recent mean or more | `liquidity` |
| spread | the ticker | none | `spread` |
| stress | the last bar's return in deviations, `returns.scaled_1` | none | `stress` |

The last column names settings of `HealthConfig`. Liquidity is a power of the share of volume that is left; each other
part is `1 / (1 + (x / half)^2)` of its excess x. The score is the geometric mean of the parts that there are, so one
part near zero is not outvoted. A part whose input is missing is absent; without any there is no score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ares.analyst.config import HealthConfig
from ares.market import MarketView
from ares.values import HealthView

__all__ = ["HEALTH_COLUMNS", "health_of"]

HEALTH_COLUMNS = (
    "volatility.ratio_8_64",
    "volume.relative_24",
    "volume.z_48",
    "returns.scaled_1",
)


def _fading(excess: float, half: float) -> float:
    """1 at 0, a half at `half`, towards 0 beyond."""
    x = max(0.0, excess) / half
    return 1.0 / (1.0 + x * x)


def _liquidity(relative: float | None, z: float | None, half: float) -> float | None:
    """1 at the recent mean volume or more, a half where only the share `half` of it is left, 0 without volume."""
    if relative is not None:
        share = math.exp(min(relative, 0.0))  # the log of volume over its mean
    elif z is not None:
        share = 1.0 / (1.0 + max(0.0, -z))
    else:
        return None
    if share >= 1.0:
        return 1.0
    return float(share ** (math.log(0.5) / math.log(half)))


def health_of(values: Mapping[str, float], market: MarketView, config: HealthConfig) -> HealthView | None:
    """The market's health; None when nothing that it reads is known.

    values: the features of `HEALTH_COLUMNS` that there are, none of them NaN. Nothing later than the row is read.
    """
    parts: dict[str, float] = {}
    if (ratio := values.get("volatility.ratio_8_64")) is not None:
        parts["volatility"] = _fading(ratio, config.volatility)
    liquid = _liquidity(values.get("volume.relative_24"), values.get("volume.z_48"), config.liquidity)
    if liquid is not None:
        parts["liquidity"] = liquid
    if market.ticker is not None and market.ticker.spread >= 0.0:
        parts["spread"] = _fading(market.ticker.spread, config.spread)
    if (shock := values.get("returns.scaled_1")) is not None:
        parts["stress"] = _fading(abs(shock), config.stress)
    if not parts:
        return None
    product = math.prod(parts.values())
    return HealthView(score=min(1.0, product ** (1.0 / len(parts))), parts=parts)
