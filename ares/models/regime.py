"""The market's regime as a filtered hidden Markov model: what the past says about now, never what the future would
add.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike, NDArray

from ares.errors import InvalidInput, ModelError
from ares.kernels.hmm import RESTART, regime_batch, regime_step
from ares.models import registry
from ares.models.model import ModelSpec, Stored, matrix

__all__ = ["RegimeFilter", "RegimeModel", "RegimeNow"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@frozen(kw_only=True)
class RegimeNow:
    """Where the market is believed to be."""

    regime: str  # the one policy should follow: it changes late and stays a while
    probabilities: Mapping[str, float]  # filtered, by name; sum 1


@frozen(kw_only=True, eq=False)
class RegimeModel:
    """Gaussian states and the chances of moving between them. Fitted by `ares.training.fit_regimes`."""

    spec: ModelSpec  # `classes` are the names of the states
    low: Floats  # (d,) an observation is cut to low..high first
    high: Floats
    shift: Floats  # (d,) and becomes (x - shift) / scale
    scale: Floats
    log_start: Floats  # (k,) beliefs before the first bar: the chain's long-run shares
    log_move: Floats  # (k, k) from row to column
    mean: Floats  # (k, d) of the scaled observation
    whiten: Floats  # (k, d, d) lower triangular inverse of the covariance's Cholesky factor
    log_det: Floats  # (k,)
    enter: float = 0.7  # policy changes to a state whose probability reaches this
    leave: float = 0.4  # while the present one's has fallen under this
    dwell: int = 12  # and not before this many bars in the present one

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states."""
        return tuple(map(str, self.spec.classes))

    @property
    def settle(self) -> int:
        """Bars after which an answer no longer depends on where history began."""
        return 2 * RESTART

    def scaled(self, X: Any) -> Floats:
        """Observations as the states know them, (n, d); missing stays NaN."""
        rows = matrix(X, self.spec.columns)
        return np.ascontiguousarray((np.clip(rows, self.low, self.high) - self.shift) / self.scale)

    def filter(
        self, open_ns: ArrayLike, X: Any, interval_ns: int, *, period: int = RESTART
    ) -> tuple[Floats, Ints]:
        """Filtered probabilities, (n, k), and the policy's regime, (n,), at each bar; row t knows rows up to t.

        open_ns: (n,) open times. X: (n, d). interval_ns: length of a bar. period: bars, a divisor of `RESTART`; where
        history began is forgotten after two of them.
        """
        bars = np.asarray(open_ns, dtype=np.int64) // interval_ns * _restarts(period)
        rows = self.scaled(X)
        if bars.shape != (rows.shape[0],):
            raise InvalidInput(f"{bars.size} open times for {rows.shape[0]} rows")
        out = np.empty((bars.size, self.log_start.size))
        regime = np.empty(bars.size, dtype=np.int64)
        regime_batch(bars, rows, *self._arguments(), self._fresh(), out, regime)
        return out, regime

    def _arguments(self) -> tuple[Floats, Floats, Floats, Floats, Floats, float, float, int]:
        states = (self.log_start, self.log_move, self.mean, self.whiten, self.log_det)
        return (*states, self.enter, self.leave, self.dwell)

    def _fresh(self) -> Floats:
        return np.zeros((2, self.log_start.size + 3))

    def save(self, directory: Path | str) -> str:
        """Write it as data into a new directory; returns its id."""
        return registry.save(self, directory)

    @classmethod
    def load(cls, directory: Path | str) -> RegimeModel:
        """Read a model that `save` wrote."""
        return registry.load_as(cls, directory)

    def stored(self) -> Stored:
        """The model as data."""
        meta = {"enter": self.enter, "leave": self.leave, "dwell": self.dwell}
        return Stored(kind="regime", spec=self.spec, meta=meta, arrays={name: getattr(self, name) for name in _ARRAYS})

    @classmethod
    def restored(cls, stored: Stored) -> RegimeModel:
        """The model from data. Raises ModelError when its arrays do not fit together."""
        spec = stored.reads()
        k, d = len(spec.classes), len(spec.columns)
        shapes = {"log_start": (k,), "log_det": (k,), "log_move": (k, k), "mean": (k, d), "whiten": (k, d, d)}
        arrays = {name: stored.array(name, "<f8", shapes.get(name, (d,))) for name in _ARRAYS}
        model = cls(
            spec=spec,
            enter=float(stored.value("enter", float)),
            leave=float(stored.value("leave", float)),
            dwell=int(stored.value("dwell", int)),
            **arrays,
        )
        rows = np.exp(model.log_move).sum(axis=1)
        sound = (
            k >= 1
            and all(bool(np.isfinite(array).all()) for array in arrays.values())
            and bool((model.scale > 0).all() and (model.low <= model.high).all())
            and bool(np.allclose(rows, 1.0, atol=1e-6) and np.isclose(np.exp(model.log_start).sum(), 1.0, atol=1e-6))
            and bool((np.einsum("kii->ki", model.whiten) > 0).all())
        )
        if not sound:
            raise ModelError("the arrays of this regime model do not fit together", kind="regime")
        return model


def _restarts(period: int) -> int:
    """By what to multiply a bar's number so that the kernel, which begins anew each `RESTART`, does so each period."""
    if period < 1 or RESTART % period:
        raise InvalidInput(f"period must divide {RESTART}, {period} does not", period=period)
    return RESTART // period


_ARRAYS = ("low", "high", "shift", "scale", "log_start", "log_move", "mean", "whiten", "log_det")


class RegimeFilter:
    """A regime model moved on bar by bar; the same bits as `RegimeModel.filter`.

    interval_ns: length of a bar. period: as for `RegimeModel.filter`.
    """

    def __init__(self, model: RegimeModel, interval_ns: int, *, period: int = RESTART) -> None:
        if interval_ns <= 0:
            raise InvalidInput(f"interval_ns must be > 0, not {interval_ns}", interval_ns=interval_ns)
        self.model = model
        self._interval_ns = interval_ns
        self._restarts = _restarts(period)
        self._regime = 0
        self._state = model._fresh()
        self._out = np.empty(model.log_start.size)
        self._arguments = model._arguments()

    def update(self, open_ns: int, x: ArrayLike) -> RegimeNow:
        """One bar on. x: (d,) in the order of the model's columns; with a missing value the bar observes nothing."""
        chances, names = self.step(open_ns, x).tolist(), self.model.states
        return RegimeNow(regime=names[self._regime], probabilities=dict(zip(names, chances, strict=True)))

    def step(self, open_ns: int, x: ArrayLike) -> Floats:
        """The same as numbers: the probabilities in the order of the model's states, (k,)."""
        row = self.model.scaled(x)[0]
        number = open_ns // self._interval_ns * self._restarts
        self._regime = regime_step(number, row, *self._arguments, self._state, self._out)
        return self._out.copy()

    def save_state(self) -> dict[str, Any]:
        """Everything it knows, as JSON values."""
        return {"state": self._state.tolist()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `save_state` gave. Raises InvalidInput when it belongs to another model."""
        given = np.array(state["state"], dtype=np.float64)
        if given.shape != self._state.shape:
            raise InvalidInput(f"the state has shape {given.shape}, this model needs {self._state.shape}")
        self._state = given
