"""Liquidation risk: where a position would be liquidated, how far that is, and how likely it is to be touched.

The price is the venue's tiered formula (`ares.account.liquidation_price`). The probability of touching it within the
horizon is the greater of two: that of a driftless walk, `2 Phi(-d / s)` with d the log distance and s the deviation
over the horizon; and the share of past horizons whose worst move, in deviations known at their beginning, went that
far, with a power law beyond the largest tenth. Prices have fatter tails than a walk, and so the second usually decides.
Source: reflection principle; Hill 1975.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np

from ares.account import Position, liquidation_price
from ares.analyst.config import LiquidationConfig
from ares.errors import InvalidInput
from ares.instruments import Instrument, Side
from ares.values import LiquidationView, Reason

__all__ = ["Excursions", "liquidation_of", "touch_probability"]

_TAIL = 0.1  # share of the largest excursions that the power law is fitted to
_LEAST = 50  # excursions below which only the walk speaks
_MOST = 0.999


class Excursions:
    """The worst moves of past horizons, down and up, in deviations over the horizon as known at their beginning."""

    def __init__(self, horizon: int, memory: int) -> None:
        if horizon < 1 or memory < 1:
            raise InvalidInput(f"horizon and memory must be at least 1, not {horizon} and {memory}")
        self.horizon, self.memory = horizon, memory
        self._start = np.full(horizon, math.nan)  # log close at the beginning of each horizon under way
        self._scale = np.full(horizon, math.nan)
        self._low = np.full(horizon, math.nan)
        self._high = np.full(horizon, math.nan)
        self._at = 0
        self._order: deque[tuple[float, float]] = deque()
        self._sorted: tuple[list[float], list[float]] = ([], [])

    def update(self, high: float, low: float, close: float, volatility: float) -> None:
        """One closed bar on; `volatility`: deviation of a bar's log return known at its close, NaN when unknown."""
        np.fmin(self._low, math.log(low), out=self._low)
        np.fmax(self._high, math.log(high), out=self._high)
        at, start = self._at, float(self._start[self._at])
        if not math.isnan(start):
            self._keep((start - float(self._low[at])) / self._scale[at], (self._high[at] - start) / self._scale[at])
        known = volatility > 0.0
        log_close = math.log(close)
        self._start[at] = log_close if known else math.nan
        self._scale[at] = volatility * math.sqrt(self.horizon) if known else math.nan
        self._low[at] = self._high[at] = log_close
        self._at = (at + 1) % self.horizon

    def _keep(self, down: float, up: float) -> None:
        pair = (max(0.0, float(down)), max(0.0, float(up)))
        self._order.append(pair)
        for values, value in zip(self._sorted, pair, strict=True):
            insort(values, value)
        if len(self._order) > self.memory:
            for values, value in zip(self._sorted, self._order.popleft(), strict=True):
                del values[bisect_left(values, value)]

    def share_beyond(self, side: Side, deviations: float) -> float | None:
        """Share of past horizons that went so far against `side`; None while too few are known."""
        values = self._sorted[0 if side is Side.BUY else 1]
        n = len(values)
        if n < _LEAST:
            return None
        beyond = n - bisect_left(values, deviations)
        count = max(2, int(n * _TAIL))
        threshold = values[n - count]
        if deviations <= threshold or threshold <= 0.0:
            return (beyond + 0.5) / (n + 1.0)
        spread = float(np.log(np.array(values[n - count :])).mean()) - math.log(threshold)
        if not spread > 0.0:
            return (beyond + 0.5) / (n + 1.0)
        return float(count / n * (deviations / threshold) ** (-1.0 / spread))

    def save_state(self) -> dict[str, Any]:
        """Everything it knows, as plain values and arrays."""
        arrays = {name: getattr(self, f"_{name}").copy() for name in ("start", "scale", "low", "high")}
        return {**arrays, "at": self._at, "kept": [list(pair) for pair in self._order]}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `save_state` gave."""
        for name in ("start", "scale", "low", "high"):
            setattr(self, f"_{name}", np.array(state[name], dtype=np.float64))
        self._at = int(state["at"])
        self._order = deque((float(a), float(b)) for a, b in state["kept"])
        self._sorted = (sorted(a for a, _ in self._order), sorted(b for _, b in self._order))


def touch_probability(distance: float, volatility: float, horizon: int) -> float:
    """Chance that a driftless walk touches a price `distance` (log) away within `horizon` bars.

    volatility: deviation of a bar's log return, > 0.
    """
    return min(1.0, math.erfc(max(0.0, distance) / (volatility * math.sqrt(2.0 * horizon))))


def liquidation_of(
    price: float,
    side: Side,
    instrument: Instrument,
    position: Position | None,
    volatility: float,
    stop_width: float,
    excursions: Excursions,
    config: LiquidationConfig,
) -> tuple[LiquidationView | None, Reason | None]:
    """The liquidation risk of the open position, or of a new one of the usual leverage on `side`.

    price: now, quote per base. volatility: of a bar. stop_width: log. None when no price above 0 liquidates; the
    reason carries the distance in stops and in deviations over the horizon.
    """
    if position is not None and position.quantity != 0:
        side = position.side or side
        level = position.liquidation_price
    else:
        entry = Decimal(repr(price))
        notional = Decimal(repr(config.notional))
        level = liquidation_price(
            side=side,
            quantity=notional / entry,
            entry_price=entry,
            margin=notional / config.leverage,
            tiers=instrument.tiers,
        )
    if level is None:
        return None, Reason(code="liquidation.out_of_reach")
    distance = max(0.0, side.sign * (1.0 - float(level) / price))
    away = abs(math.log(float(level) / price)) if distance > 0.0 else 0.0
    horizon = excursions.horizon
    chance = 1.0 if distance == 0.0 else 0.0
    numbers = {"distance": distance, "stops": away / stop_width if stop_width > 0.0 else math.nan}
    if distance > 0.0 and volatility > 0.0:
        deviations = away / (volatility * math.sqrt(horizon))
        chance = touch_probability(away, volatility, horizon)
        past = excursions.share_beyond(side, deviations)
        chance = min(_MOST, max(chance, past if past is not None else 0.0))
        numbers["deviations"] = deviations
    view = LiquidationView(price=float(level), distance=distance, probability=chance)
    return view, Reason(code="liquidation.distance", numbers=numbers)
