"""Vigilance: is the model still where it was trained, and do its chances still come true?

Two alarms, both from what is known at the bar. Drift: the share of columns whose recent distribution differs from
training by a population stability index over a limit, or that have no value left. Calibration: the hits of matured bets
against their chances, in deviations; bets that overlap are counted as fewer. An alarm halves the size; a broken
calibration or a drift of most columns stops new bets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ares.analyst.config import VigilanceConfig
from ares.errors import ModelError
from ares.kernels.barriers import TARGET, UNTOUCHED, barrier_price, touch
from ares.kernels.jit import jit
from ares.market import Candle
from ares.models.reference import DriftReference
from ares.values import Reason

__all__ = ["Vigilance"]

Floats = NDArray[np.float64]
_FREE, _WAITING, _OPEN = 0, 1, 2


@jit
def _count(x: Floats, edges: Floats, ring: Any, counts: Any, at: int, full: bool) -> None:
    """Put one row into the window: its bins counted, those of the row it replaces no longer."""
    bins = counts.shape[1]
    for k in range(x.size):
        if full and ring[at, k] < bins:
            counts[k, ring[at, k]] -= 1
        place = bins
        if not math.isnan(x[k]):
            place = 0
            while place < edges.shape[1] and x[k] >= edges[k, place]:
                place += 1
            counts[k, place] += 1
        ring[at, k] = place


@jit
def _changed(counts: Any, share: Floats, limit: float, index: Floats) -> int:
    """How many columns have a stability index of at least `limit`, or no value left; the indexes go into `index`."""
    changed = 0
    for k in range(counts.shape[0]):
        total = 0
        for b in range(counts.shape[1]):
            total += counts[k, b]
        index[k] = math.nan
        if total > 0:
            index[k] = 0.0
            for b in range(counts.shape[1]):
                q = max(counts[k, b] / total, 1e-4)
                p = max(share[k, b], 1e-4)
                index[k] += (q - p) * math.log(q / p)
        if total == 0 or index[k] >= limit:
            changed += 1
    return changed


@jit
def _outside(x: Floats, low: Floats, high: Floats, margin: float) -> int:
    """How many values lie outside the training range, widened by `margin` of its width."""
    count = 0
    for k in range(x.size):
        room = margin * (high[k] - low[k])
        if x[k] < low[k] - room or x[k] > high[k] + room:
            count += 1
    return count


@jit
def _mature(state: Any, level: Floats, bar: Floats, open_ns: int, close_ns: int, span: int, done: Floats) -> int:
    """Move the bets under way through one bar; chance and hit of those that ended go into `done`. Returns how many.

    state: (slots, 3) phase, side, deadline ns. level: (slots, 4) target, stop (widths, then prices), chance, unused.
    """
    ended = 0
    for i in range(state.shape[0]):
        if state[i, 0] == _FREE or bar[4] == 0.0:
            continue
        side = state[i, 1]
        if state[i, 0] == _WAITING:
            level[i, 0] = barrier_price(bar[0], side, level[i, 0])
            level[i, 1] = barrier_price(bar[0], -side, level[i, 1])
            state[i, 0] = _OPEN
            state[i, 2] = open_ns + span
        if open_ns >= state[i, 2]:
            outcome = 0
        else:
            outcome, _, _ = touch(side, level[i, 0], level[i, 1], bar[0], bar[1], bar[2])
            if outcome == UNTOUCHED and close_ns >= state[i, 2]:
                outcome = 0
        if outcome != UNTOUCHED:
            done[ended, 0] = level[i, 2]
            done[ended, 1] = 1.0 if outcome == TARGET else 0.0
            ended += 1
            state[i, 0] = _FREE
    return ended


class Vigilance:
    """The two alarms of one model on one symbol. It moves on with closed bars in order."""

    def __init__(
        self, reference: DriftReference | None, horizon: int, uniqueness: float, config: VigilanceConfig
    ) -> None:
        """reference: None leaves drift and the training range unwatched. uniqueness: of the training labels."""
        self.config = config
        self._reference = reference
        self._uniqueness = uniqueness
        self._horizon = horizon
        columns = reference.low.size if reference is not None else 0
        bins = reference.share.shape[1] if reference is not None else 1
        self._ring = np.zeros((config.window if columns else 0, columns), dtype=np.uint8)
        self._counts = np.zeros((columns, bins), dtype=np.int64)
        self._index = np.full(columns, math.nan)
        self._rows = 0
        self._changed = 0
        self._state = np.zeros((horizon + 2, 3), dtype=np.int64)
        self._level = np.zeros((horizon + 2, 4))
        self._done = np.empty((horizon + 2, 2))
        self._matured = np.full((config.outcomes, 2), math.nan)
        self._count = 0
        self._surprise = (0, 0.0)  # when how many had matured, and what came of them

    # ------------------------------------------------------------ what it sees

    def bar(self, candle: Candle) -> None:
        """A closed bar: bets under way may end in it."""
        if not self._state[:, 0].any():
            return
        span = self._horizon * (candle.close_ns - candle.open_ns)
        prices = np.array((candle.open, candle.high, candle.low, candle.close, candle.volume))
        ended = _mature(self._state, self._level, prices, candle.open_ns, candle.close_ns, span, self._done)
        for pair in self._done[:ended]:
            self._matured[self._count % self.config.outcomes] = pair
            self._count += 1

    def bet(self, side: int, target: float, stop: float, chance: float) -> None:
        """Follow a bet that begins at the next bar's open; `chance` that its target comes first."""
        free = np.flatnonzero(self._state[:, 0] == _FREE)
        if free.size and side != 0 and chance == chance:
            self._state[free[0], :2] = _WAITING, side
            self._level[free[0], :3] = target, stop, chance

    def row(self, x: Floats) -> None:
        """A row of the model's columns, (columns,)."""
        if self._reference is None:
            return
        window = self.config.window
        _count(x, self._reference.edges, self._ring, self._counts, self._rows % window, self._rows >= window)
        self._rows += 1
        if self._rows >= window and self._rows % self.config.every == 0:
            share, limit = self._reference.share, self.config.drifted_index
            self._changed = int(_changed(self._counts, share, limit, self._index))

    # ------------------------------------------------------------ what it says

    @property
    def drift(self) -> float:
        """Share of the columns that have changed; 0 until the window has filled once."""
        return self._changed / self._index.size if self._index.size else 0.0

    @property
    def surprise(self) -> float:
        """Hits less their chances in deviations; 0 until a quarter of the wanted outcomes have matured."""
        if self._surprise[0] != self._count:
            known = self._matured[: min(self._count, self.config.outcomes)]
            spread = float(np.sum(known[:, 0] * (1.0 - known[:, 0]))) / self._uniqueness
            enough = known.shape[0] >= self.config.outcomes / 4 and spread > 0.0
            score = float(np.sum(known[:, 1] - known[:, 0])) / math.sqrt(spread) if enough else 0.0
            self._surprise = (self._count, score)
        return self._surprise[1]

    def size_factor(self) -> tuple[float, tuple[Reason, ...]]:
        """The share of the usual size that the alarms leave, and the alarms; too many hits raise none."""
        stop = self.alarm()
        if stop is not None:
            return 0.0, (stop,)
        factor, reasons = 1.0, list[Reason]()
        if self.drift >= self.config.half_share:
            factor = 0.5
            numbers = {"share": self.drift, "limit": self.config.half_share}
            reasons.append(Reason(code="drift.alarm", numbers=numbers))
        surprise = self.surprise
        if surprise <= -self.config.half_score:
            factor *= 0.5
            reasons.append(Reason(code="calibration.alarm", numbers={"score": surprise}))
        return factor, tuple(reasons)

    def alarm(self) -> Reason | None:
        """Why the model is not to be believed at all; None while it is."""
        if self.surprise <= -self.config.stop_score:
            numbers = {"score": self.surprise, "limit": -self.config.stop_score}
            return Reason(code="calibration.broken", numbers=numbers)
        if self.drift >= self.config.stop_share:
            return Reason(code="drift.severe", numbers={"share": self.drift, "limit": self.config.stop_share})
        return None

    def stranger(self, x: Floats) -> Reason | None:
        """Why a row is too unlike the training rows to bet on; None when it is not."""
        if self._reference is None:
            return None
        count = _outside(x, self._reference.low, self._reference.high, self.config.margin)
        if count < self.config.outside_share * x.size:
            return None
        return Reason(code="row.outside_training", numbers={"columns": float(count), "of": float(x.size)})

    # ------------------------------------------------------------ state

    def save_state(self) -> dict[str, Any]:
        """Everything it knows, as plain values and arrays."""
        numbers = {name: getattr(self, f"_{name}") for name in ("rows", "changed", "count")}
        return {**numbers, **{name: getattr(self, f"_{name}").copy() for name in _ARRAYS}}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `save_state` gave. Raises ModelError when it is of another shape."""
        for name in _ARRAYS:
            own = getattr(self, f"_{name}")
            array = np.array(state[name], dtype=own.dtype)
            if array.shape != own.shape:
                raise ModelError(f"{name} of shape {array.shape} does not fit {own.shape}", part=name)
            setattr(self, f"_{name}", array)
        self._surprise = (-1, 0.0)
        self._rows, self._changed, self._count = (int(state[name]) for name in ("rows", "changed", "count"))


_ARRAYS = ("ring", "counts", "index", "state", "level", "matured")
