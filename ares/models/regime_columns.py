"""The regime as columns of a feature row: filtered probabilities, the same bits in training and in every session."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ares.errors import ModelError
from ares.models.regime import RegimeFilter, RegimeModel

__all__ = ["OBSERVED", "PERIOD", "PREFIX", "RegimeColumns", "regime_columns", "regime_names"]

Floats = NDArray[np.float64]
OBSERVED = ("volatility.ewma_32", "volatility.ratio_8_64", "returns.scaled_48")  # what regimes are told by
PREFIX = "regime.p_"  # of the columns, before the name of the state
PERIOD = 256  # bars: an answer has forgotten where history began after two of them


def regime_names(model: RegimeModel) -> tuple[str, ...]:
    """The columns, one a state."""
    return tuple(PREFIX + state for state in model.states)


def regime_columns(model: RegimeModel, open_ns: ArrayLike, X: Any, interval_ns: int) -> Floats:
    """Filtered probabilities at each bar, (n, k): the bits of `RegimeColumns`; row t knows rows up to t.

    open_ns: (n,) open times of bars whose features are warm. X: (n, d) their `OBSERVED`. interval_ns: of a bar.
    """
    return model.filter(open_ns, X, interval_ns, period=PERIOD)[0]


class RegimeColumns:
    """The columns of one symbol, bar by bar, for the model in use or for one that comes later.

    It keeps what was observed since the filter that answers began, at most two periods of it, so a model that begins in
    the middle of a session gives the bits of one that was there from the session's first bar.
    """

    def __init__(self) -> None:
        self._kept: deque[tuple[int, int, Floats]] = deque()  # open time, length of the bar, what was observed
        self._older = 0  # how many of them lie before the last multiple of the period
        self._filter: RegimeFilter | None = None
        self._model: RegimeModel | None = None
        self._last_ns = -1
        self._values = np.empty(0)

    def use(self, model: RegimeModel | None) -> None:
        """Follow this model from now on, as if it had been followed since the session began. None: no columns."""
        self._model, self._filter = model, None
        self._last_ns, self._values = -1, np.full(0 if model is None else len(model.states), np.nan)
        for open_ns, interval_ns, x in self._kept:
            self._follow(open_ns, interval_ns, x)

    def update(self, open_ns: int, interval_ns: int, x: Floats) -> None:
        """One warm bar on. x: (d,) its `OBSERVED`, NaN where missing."""
        if open_ns // interval_ns % PERIOD == 0:
            for _ in range(self._older):
                self._kept.popleft()
            self._older = len(self._kept)
        self._kept.append((open_ns, interval_ns, x))
        self._follow(open_ns, interval_ns, x)

    def at(self, open_ns: int) -> Floats:
        """The columns of the last bar, (k,); NaN when it opened at another time than `open_ns`."""
        return self._values if open_ns == self._last_ns else np.full(self._values.size, np.nan)

    def save_state(self) -> dict[str, Any]:
        """What was observed, as plain values and arrays; the columns follow from it."""
        times = np.array([kept[:2] for kept in self._kept], dtype=np.int64).reshape(-1, 2)
        rows = np.array([kept[2] for kept in self._kept], dtype=np.float64).reshape(-1, len(OBSERVED))
        return {"times": times, "rows": rows, "older": self._older}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `save_state` gave. Raises ModelError when it is of another shape."""
        times, rows = np.array(state["times"], dtype=np.int64), np.array(state["rows"], dtype=np.float64)
        if times.shape != (rows.shape[0], 2) or rows.shape[1:] != (len(OBSERVED),):
            raise ModelError(f"observations of shape {rows.shape} at times of shape {times.shape} do not fit")
        self._kept = deque((int(at), int(step), row) for (at, step), row in zip(times, rows, strict=True))
        self._older = int(state["older"])
        self.use(self._model)

    def _follow(self, open_ns: int, interval_ns: int, x: Floats) -> None:
        if self._model is None:
            return
        if self._filter is None:
            self._filter = RegimeFilter(self._model, interval_ns, period=PERIOD)
        self._values, self._last_ns = self._filter.step(open_ns, x), open_ns
