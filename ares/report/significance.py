"""How far a Sharpe ratio may be luck: probabilistic and deflated ratios, overfitting, bootstrap.

Sharpe ratios here are per period (per bar) unless said otherwise, kurtosis is raw (normal: 3), and what is not defined
is NaN. Sources: Bailey and Lopez de Prado 2012 and 2014; Bailey, Borwein, Lopez de Prado and Zhu 2015; Politis and
Romano 1992 and 1994.
"""

from __future__ import annotations

import math
from itertools import combinations
from statistics import NormalDist
from typing import Literal

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike, NDArray

from ares.errors import InvalidInput, TooShort

__all__ = [
    "Overfitting",
    "SharpeInterval",
    "deflated_sharpe_ratio",
    "expected_max_sharpe",
    "min_track_record_length",
    "moments",
    "probabilistic_sharpe_ratio",
    "probability_of_backtest_overfitting",
    "sharpe_interval",
]

FloatArray = NDArray[np.float64]
_NAN = float("nan")
_NORMAL = NormalDist()
_EULER = 0.5772156649015329


def moments(returns: ArrayLike) -> tuple[float, float]:
    """Skewness and raw kurtosis (population moments, as the sources use them); NaN without variance."""
    r = np.asarray(returns, dtype=np.float64)
    if r.size < 2:
        return _NAN, _NAN
    centred = r - r.mean()
    variance = float(np.mean(centred**2))
    if variance <= (1e-14 * max(1.0, float(np.abs(r).max()))) ** 2:
        return _NAN, _NAN
    return float(np.mean(centred**3)) / variance**1.5, float(np.mean(centred**4)) / variance**2


def _spread(sharpe: float, skew: float, kurtosis: float) -> float:
    """Variance of the Sharpe estimator times (n - 1); NaN where the moments cannot belong together."""
    value = 1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe * sharpe
    return value if value > 0 else _NAN


def probabilistic_sharpe_ratio(
    sharpe: float, observations: int, skew: float, kurtosis: float, benchmark: float = 0.0
) -> float:
    """Probability that the true Sharpe ratio exceeds `benchmark`, both per period, after `observations` periods.

    NaN for fewer than 2 observations or undefined moments. Source: Bailey and Lopez de Prado 2012.
    """
    if observations < 2 or math.isnan(sharpe):
        return _NAN
    deviation = math.sqrt(_spread(sharpe, skew, kurtosis))
    score = (sharpe - benchmark) * math.sqrt(observations - 1) / deviation
    return _NAN if math.isnan(score) else _NORMAL.cdf(score)


def expected_max_sharpe(variance: float, trials: int) -> float:
    """The best Sharpe ratio to expect of `trials` independent worthless strategies.

    variance: of the trials' Sharpe ratios, per period. 0 for one trial: nothing was chosen.
    Raises: InvalidInput unless trials >= 1 and variance >= 0. Source: Bailey and Lopez de Prado 2014.
    """
    if trials < 1 or not variance >= 0:
        raise InvalidInput(f"trials must be at least 1 and their variance at least 0, not {trials} and {variance}")
    if trials == 1:
        return 0.0
    usual, rare = _NORMAL.inv_cdf(1 - 1 / trials), _NORMAL.inv_cdf(1 - 1 / (trials * math.e))
    return math.sqrt(variance) * ((1 - _EULER) * usual + _EULER * rare)


def deflated_sharpe_ratio(
    sharpe: float, observations: int, skew: float, kurtosis: float, *, variance: float, trials: int
) -> float:
    """Probability that the true Sharpe ratio exceeds the best that luck gives in `trials` (independent) tries.

    variance: of the trials' Sharpe ratios, per period. Source: Bailey and Lopez de Prado 2014.
    """
    return probabilistic_sharpe_ratio(sharpe, observations, skew, kurtosis, expected_max_sharpe(variance, trials))


def min_track_record_length(
    sharpe: float, skew: float, kurtosis: float, benchmark: float = 0.0, confidence: float = 0.95
) -> float:
    """Periods needed before `sharpe` exceeds `benchmark` with `confidence`; infinite when it does not exceed it at all.

    Source: Bailey and Lopez de Prado 2012.
    """
    if not 0.5 < confidence < 1:
        raise InvalidInput(f"confidence must lie between 0.5 and 1, not {confidence}")
    if sharpe <= benchmark:
        return math.inf
    return 1 + _spread(sharpe, skew, kurtosis) * (_NORMAL.inv_cdf(confidence) / (sharpe - benchmark)) ** 2


@frozen(kw_only=True, eq=False)
class Overfitting:
    """Whether the choice of the best trial survives out of sample."""

    probability: float  # share of splits in which the best trial in sample ranks in the lower half out of sample
    logits: NDArray[np.float64]  # (splits,) ln(w / (1 - w)) of its relative rank w out of sample
    trials: int
    blocks: int


def probability_of_backtest_overfitting(returns: ArrayLike, blocks: int = 16) -> Overfitting:
    """Combinatorially symmetric cross-validation over all splits of `blocks` blocks of time into halves.

    returns: (periods, trials), every trial that was made, on one clock; surplus periods at the end are left out.
    Trials are ranked by Sharpe ratio; one without variance ranks by 0.
    Raises: InvalidInput for an odd number of blocks, fewer than 2 trials or numbers that are not finite; TooShort for
        fewer than 2 periods a block. Source: Bailey, Borwein, Lopez de Prado and Zhu 2015.
    """
    r = np.asarray(returns, dtype=np.float64)
    if r.ndim != 2 or r.shape[1] < 2 or not np.isfinite(r).all():
        raise InvalidInput("returns must be finite, of shape (periods, trials) with at least 2 trials", shape=r.shape)
    if blocks < 2 or blocks % 2 or blocks > 20:
        raise InvalidInput(f"blocks must be an even number from 2 to 20, not {blocks}", blocks=blocks)
    periods, trials = r.shape[0] // blocks, r.shape[1]
    if periods < 2:
        raise TooShort(f"{r.shape[0]} periods are too few for {blocks} blocks: at least {2 * blocks} are needed")
    parts = r[: periods * blocks].reshape(blocks, periods, trials)
    sums, squares = parts.sum(axis=1), (parts**2).sum(axis=1)
    halves = list(combinations(range(blocks), blocks // 2))
    inside = np.zeros((len(halves), blocks))
    inside[np.arange(len(halves))[:, None], np.array(halves)] = 1.0
    count = periods * blocks // 2
    logits = []
    for chosen in np.array_split(inside, max(1, len(halves) * trials // 4_000_000)):
        fit, test = (_sharpes(w @ sums, w @ squares, count) for w in (chosen, 1.0 - chosen))
        best = test[np.arange(len(chosen)), fit.argmax(axis=1)][:, None]
        rank = (test < best).sum(axis=1) + ((test == best).sum(axis=1) + 1) / 2
        relative = rank / (trials + 1)
        logits.append(np.log(relative / (1 - relative)))
    joined = np.concatenate(logits)
    return Overfitting(probability=float(np.mean(joined <= 0)), logits=joined, trials=trials, blocks=blocks)


def _sharpes(sums: FloatArray, squares: FloatArray, count: int) -> FloatArray:
    """Sharpe ratios from sums and sums of squares of `count` returns; 0 without variance."""
    mean = sums / count
    variance = (squares - count * mean * mean) / (count - 1)
    enough = variance > 1e-15 * np.maximum(squares / count, 1e-300)
    return np.where(enough, mean / np.sqrt(np.where(enough, variance, 1.0)), 0.0)


@frozen(kw_only=True)
class SharpeInterval:
    """Bootstrap percentiles of a yearly Sharpe ratio; NaN when it is not defined."""

    low: float
    high: float
    confidence: float
    block: float  # periods, mean length
    draws: int


def sharpe_interval(
    returns: ArrayLike,
    per_year: float,
    *,
    confidence: float = 0.95,
    block: float | None = None,
    kind: Literal["stationary", "circular"] = "stationary",
    draws: int = 2000,
    seed: int = 0,
) -> SharpeInterval:
    """A confidence interval of the yearly Sharpe ratio that respects dependence between neighbouring returns.

    block: mean length of the blocks that are drawn, in periods; None takes 2 * n^(1/3), and at least the mean holding
        time is a good choice. kind: "stationary" draws geometric lengths (Politis and Romano 1994), "circular" equal
        ones (1992). The same seed gives the same interval.
    Returns: NaN bounds for fewer than 10 returns or no variance.
    """
    r = np.asarray(returns, dtype=np.float64)
    n = r.size
    known = kind in ("stationary", "circular")
    if not (0 < confidence < 1 and draws >= 1 and known and (block is None or block >= 1)):
        raise InvalidInput(f"no interval with confidence={confidence}, draws={draws}, kind={kind!r}, block={block}")
    length = float(min(2.0 * n ** (1 / 3) if block is None else block, max(n, 1)))
    if n < 10 or math.isnan(moments(r)[0]):
        return SharpeInterval(low=_NAN, high=_NAN, confidence=confidence, block=length, draws=draws)
    generator = np.random.Generator(np.random.PCG64(seed))
    twice = np.concatenate((r, r))  # blocks run over the end into the beginning
    sums = np.concatenate(([0.0], np.cumsum(twice)))
    squares = np.concatenate(([0.0], np.cumsum(twice**2)))
    most = math.ceil(n / length) if kind == "circular" else math.ceil(n / length + 8 * math.sqrt(n / length) + 8)
    at_once = max(1, 2_000_000 // most)
    found = []
    for first in range(0, draws, at_once):
        shape = (min(at_once, draws - first), most)
        equal = kind == "circular"
        lengths = np.full(shape, math.ceil(length)) if equal else np.minimum(generator.geometric(1 / length, shape), n)
        ends = np.minimum(np.cumsum(lengths, axis=1), n)
        taken = np.diff(ends, axis=1, prepend=0)
        taken[:, -1] += n - ends[:, -1]  # in the rare case that the blocks do not fill the sample
        starts = generator.integers(0, n, shape)
        total = (sums[starts + taken] - sums[starts]).sum(axis=1)
        total_squares = (squares[starts + taken] - squares[starts]).sum(axis=1)
        found.append(_sharpes(total, total_squares, n))
    low, high = np.quantile(np.concatenate(found), [(1 - confidence) / 2, (1 + confidence) / 2]) * math.sqrt(per_year)
    return SharpeInterval(low=float(low), high=float(high), confidence=confidence, block=length, draws=draws)
