"""How a model's kind did out of sample, each figure with its interval and beside what knowing nothing would get."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from ares.training.dataset import Bets, Dataset, TrainConfig
from ares.training.folds import OutOfSample
from ares.training.reliability import Interval, Reliability, auc, block_interval, reliability
from ares.training.verdict import verdict_of

__all__ = ["Scores", "Trading", "score", "trade"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@frozen(kw_only=True, eq=False)
class Trading:
    """The bets that would have been taken, one at a time, and the same bets begun at random times."""

    bets: int
    net: Floats  # (bets,) fraction of notional each, after all costs
    t0: Ints  # (bets,) ns, the decisions
    chance: Floats  # (draws,) mean net of as many bets with the same sides at random rows

    @property
    def mean(self) -> float:
        """Mean net return of a bet; NaN without bets."""
        return float(self.net.mean()) if self.bets else math.nan

    @property
    def total(self) -> float:
        """Sum of net returns, each bet of the same notional."""
        return float(self.net.sum())

    @property
    def sharpe(self) -> float:
        """Mean over deviation of the bets; NaN for fewer than 2."""
        spread = float(self.net.std(ddof=1)) if self.bets > 1 else 0.0
        return self.mean / spread if spread > 0 else math.nan

    @property
    def mean_interval(self) -> Interval:
        """`mean` with its 95 % interval by Student's t: bets are one after another, and so share no bar."""
        from scipy.stats import t

        reach = math.nan
        if self.bets > 1:
            reach = float(t.ppf(0.975, self.bets - 1) * self.net.std(ddof=1) / math.sqrt(self.bets))
        return Interval(self.mean, self.mean - reach, self.mean + reach)

    @property
    def sharpe_interval(self) -> Interval:
        """`sharpe` with its 95 % interval, skew and fat tails counted. Source: Mertens 2002; Opdyke 2007."""
        value, reach = self.sharpe, math.nan
        if self.bets > 2 and math.isfinite(value):
            z = (self.net - self.net.mean()) / self.net.std()
            spread = 1.0 - float((z**3).mean()) * value + (float((z**4).mean()) - 1.0) / 4.0 * value**2
            reach = 1.959964 * math.sqrt(max(spread, 0.0) / (self.bets - 1))
        return Interval(value, value - reach, value + reach)

    @property
    def share_below(self) -> float:
        """Share of the random draws that earned less; near 0.5 the timing was worth nothing. NaN without bets."""
        return float((self.chance < self.mean).mean()) if self.bets and self.chance.size else math.nan


@frozen(kw_only=True, eq=False)
class Scores:
    """Everything on rows whose models, calibration and threshold were fixed before them."""

    rows: int
    folds: int
    confidence: Reliability  # of the chance that the bet's target comes first
    direction: Interval  # AUC of up against down, where one of both targets was touched; 95 %
    direction_wide: Interval  # the same, 99 %
    timing: Interval | None  # AUC of the timing model; None: there is none
    meta: Interval | None  # AUC of the meta model
    trading: Trading

    @property
    def verdict(self) -> str:
        """What the intervals of the Brier skill and of the direction say, a sentence each, and of bets that lose."""
        return verdict_of(self.figures())

    def figures(self) -> dict[str, float]:
        """The main figures by name; one that is not defined is left out."""
        c = self.confidence
        values: dict[str, float] = {
            "rows": float(self.rows),
            "base_rate": c.base_rate,
            "spiegelhalter_p": c.spiegelhalter_p,
            "calibration_error_by_chance": c.calibration_error_by_chance,
            "bets": float(self.trading.bets),
            "net_total": self.trading.total,
            "share_of_random_below": self.trading.share_below,
        }
        intervals = {
            "auc_confidence": c.auc,
            "auc_direction": self.direction,
            "auc_timing": self.timing,
            "auc_meta": self.meta,
            "brier": c.brier,
            "brier_skill": c.brier_skill,
            "log_loss": c.log_loss,
            "calibration_error": c.calibration_error,
            "net_per_bet": self.trading.mean_interval,
            "sharpe_per_bet": self.trading.sharpe_interval,
        }
        for name, found in intervals.items():
            if found is not None:
                values |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
        return {name: float(value) for name, value in values.items() if math.isfinite(value)}


def score(data: Dataset, found: OutOfSample, config: TrainConfig) -> Scores:
    """The scores of walk-forward opinions."""
    at = np.flatnonzero(found.tested & (found.side != 0))
    bets = data.bets(found.side)
    block = min(2 * config.barriers.horizon, at.size)
    ups = np.flatnonzero(found.tested & (data.y != 0))

    def area(p: Floats, z: Any, rows: Ints, level: float = 0.95) -> Interval:
        near = min(block, rows.size)
        return block_interval(
            auc, p[rows], z[rows], block=near, level=level, resamples=config.resamples, seed=config.seed
        )

    lean_up = found.sides[:, 2] / np.maximum(found.sides[:, 0] + found.sides[:, 2], 1e-12)
    agrees = np.where(found.side < 0, 1 - data.rises, data.rises)
    return Scores(
        rows=int(at.size),
        folds=int(np.unique(found.fold[at]).size),
        confidence=reliability(
            found.confidence[at],
            bets.hit[at],
            block=block,
            resamples=config.resamples,
            seed=config.seed,
        ),
        direction=area(lean_up, data.y > 0, ups),
        direction_wide=area(lean_up, data.y > 0, ups, 0.99),
        timing=area(found.timing, agrees, at) if np.isfinite(found.timing[at]).all() else None,
        meta=area(found.meta, bets.net > 0, at) if np.isfinite(found.meta[at]).all() else None,
        trading=trade(data, found, bets, seed=config.seed),
    )


def trade(data: Dataset, found: OutOfSample, bets: Bets, *, draws: int = 1000, seed: int = 0) -> Trading:
    """Take the bets one after another, none before the last is over; and draw matched random entries."""
    taken: list[int] = []
    free = -1
    for row in np.flatnonzero(found.taken):
        if data.t0[row] >= free:
            taken.append(int(row))
            free = int(bets.t1[row])
    rows = np.array(taken, dtype=np.int64)
    rng = np.random.default_rng(seed)
    pool = np.flatnonzero(found.tested)
    chance = np.empty(0)
    if rows.size and pool.size:
        longs = int((found.side[rows] > 0).sum())
        chance = np.empty(draws)
        for i in range(draws):
            drawn = rng.choice(pool, rows.size)
            chance[i] = (data.long.net[drawn[:longs]].sum() + data.short.net[drawn[longs:]].sum()) / rows.size
    return Trading(bets=int(rows.size), net=bets.net[rows], t0=data.t0[rows], chance=chance)
