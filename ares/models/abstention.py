"""When not to trade: the break-even probability, lower bounds of a probability, and adaptive conformal sets."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import field, frozen
from attrs.validators import ge, gt, lt
from numpy.typing import ArrayLike, NDArray

from ares.errors import InvalidInput, ModelError
from ares.models.model import Stored

__all__ = ["AdaptiveConformal", "ConformalSet", "LowerBound", "break_even"]

Floats = NDArray[np.float64]


def break_even(gain: float, loss: float, cost: float) -> float:
    """The chance of winning at which a bet pays nothing: (loss + cost) / (gain + loss).

    gain, loss: what the target brings and the stop takes, fractions of notional, > 0. cost: of the round trip, >= 0.
    Returns: may exceed 1, when even certainty would not pay. Raises: InvalidInput.
    """
    if not (gain > 0 and loss > 0 and cost >= 0):
        raise InvalidInput(f"need gain > 0, loss > 0, cost >= 0, not {gain}, {loss}, {cost}")
    return (loss + cost) / (gain + loss)


@frozen(kw_only=True, eq=False)
class LowerBound:
    """The least chance that a calibrated probability stands for, at a level of confidence, from past outcomes."""

    edges: Floats  # (bins - 1,) increasing; a probability at an edge belongs to the bin above
    bounds: Floats  # (bins,) not decreasing
    level: float  # one-sided confidence, such as 0.9

    def apply(self, p: ArrayLike) -> Floats:
        """The bound of each probability, never above the probability itself; NaN stays NaN."""
        given = np.asarray(p, dtype=np.float64)
        found = np.minimum(
            self.bounds[np.searchsorted(self.edges, given, side="right").clip(0, self.edges.size)], given
        )
        return np.asarray(found)

    def stored(self) -> Stored:
        """The bound as data."""
        return Stored(
            kind="lower_bound", meta={"level": self.level}, arrays={"edges": self.edges, "bounds": self.bounds}
        )

    @classmethod
    def restored(cls, stored: Stored) -> LowerBound:
        """The bound from data. Raises ModelError when its parts do not fit together."""
        edges = stored.array("edges", "<f8", (None,))
        bounds = stored.array("bounds", "<f8", (edges.size + 1,))
        inside = bool(((bounds >= 0) & (bounds <= 1)).all() and np.isfinite(edges).all())
        if not inside or (np.diff(edges) <= 0).any() or (np.diff(bounds) < 0).any():
            raise ModelError("the parts of this lower bound do not fit together", kind="lower_bound")
        return cls(edges=edges, bounds=bounds, level=float(stored.value("level", float)))


@frozen(kw_only=True)
class ConformalSet:
    """The classes that cannot be ruled out. A bet is worth thinking of only when one is left."""

    number: int  # names the prediction until its outcome is known
    members: tuple[bool, ...]  # by class

    @property
    def only(self) -> int | None:
        """Position of the one class left; None when there are more or none."""
        return self.members.index(True) if sum(self.members) == 1 else None


@frozen(kw_only=True)
class _Pending:
    t1_ns: int
    proba: tuple[float, ...]
    members: tuple[bool, ...]


class AdaptiveConformal:
    """Prediction sets whose long-run error is `target`, whatever the market does. Source: Gibbs and Candes 2021.

    A set is judged only when its label has matured: an error made today is learnt of a horizon later, never before.

    target: wished share of sets that miss the outcome. rate: how fast the level adapts. window: matured outcomes kept.
    least: outcomes below which nothing is ruled out.
    """

    def __init__(self, *, target: float = 0.1, rate: float = 0.02, window: int = 500, least: int = 50) -> None:
        self.config = _ConformalConfig(target=target, rate=rate, window=window, least=least)
        self.level = target
        self._scores: deque[float] = deque(maxlen=window)
        self._pending: dict[int, _Pending] = {}
        self._next = 0

    def issue(self, proba: ArrayLike, t1_ns: int) -> ConformalSet:
        """The set for one prediction whose outcome will be known at `t1_ns`. proba: (k,)."""
        given = tuple(float(p) for p in np.asarray(proba, dtype=np.float64))
        if not all(0.0 <= p <= 1.0 for p in given):
            raise InvalidInput(f"probabilities must lie in [0, 1]: {given}")
        limit = self._limit()
        members = tuple(1.0 - p <= limit for p in given)
        issued = ConformalSet(number=self._next, members=members)
        self._pending[self._next] = _Pending(t1_ns=t1_ns, proba=given, members=members)
        self._next += 1
        return issued

    def resolve(self, number: int, outcome: int, now_ns: int) -> None:
        """Tell the outcome, a class's position, of one prediction.

        Raises: InvalidInput when it has not matured at `now_ns`, or was never issued or is already resolved.
        """
        pending = self._pending.get(number)
        if pending is None:
            raise InvalidInput(f"prediction {number} was never issued or is already resolved", number=number)
        if now_ns < pending.t1_ns:
            raise InvalidInput(f"prediction {number} matures at {pending.t1_ns}, now is {now_ns}", number=number)
        if not 0 <= outcome < len(pending.proba):
            raise InvalidInput(f"outcome must be a class's position, 0..{len(pending.proba) - 1}, not {outcome}")
        del self._pending[number]
        missed = 0.0 if pending.members[outcome] else 1.0
        self.level += self.config.rate * (self.config.target - missed)
        self._scores.append(1.0 - pending.proba[outcome])

    def _limit(self) -> float:
        """Scores up to this stay in the set: the quantile with the finite-sample correction."""
        n = len(self._scores)
        if n < self.config.least or self.level <= 0.0:
            return math.inf
        if self.level >= 1.0:
            return -math.inf
        rank = math.ceil((n + 1) * (1.0 - self.level))
        return math.inf if rank > n else (sorted(self._scores)[rank - 1] if rank > 0 else -math.inf)

    def save_state(self) -> dict[str, Any]:
        """Everything it knows, as JSON values."""
        return {
            "level": self.level,
            "next": self._next,
            "scores": list(self._scores),
            "pending": [[n, p.t1_ns, list(p.proba), list(p.members)] for n, p in self._pending.items()],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `save_state` gave."""
        self.level = float(state["level"])
        self._next = int(state["next"])
        self._scores = deque(map(float, state["scores"]), maxlen=self.config.window)
        self._pending = {
            int(n): _Pending(t1_ns=int(t1), proba=tuple(proba), members=tuple(members))
            for n, t1, proba, members in state["pending"]
        }


@frozen(kw_only=True)
class _ConformalConfig:
    target: float = field(validator=[gt(0.0), lt(1.0)])
    rate: float = field(validator=[gt(0.0), lt(1.0)])
    window: int = field(validator=ge(1))
    least: int = field(validator=ge(1))
