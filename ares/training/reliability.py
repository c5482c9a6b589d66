"""How good probabilities are: scores, their parts, the reliability curve, and intervals that respect overlap in
time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from attrs import evolve, frozen
from numpy.typing import ArrayLike, NDArray

from ares.errors import InvalidInput, TooShort
from ares.training.verdict import of_skill

__all__ = [
    "BrierParts",
    "Interval",
    "Reliability",
    "auc",
    "block_interval",
    "brier",
    "brier_parts",
    "calibration_error",
    "calibration_error_by_chance",
    "log_loss",
    "reliability",
    "reliability_curve",
    "spiegelhalter_z",
]

Floats = NDArray[np.float64]
Score = Callable[[Floats, Floats, Floats], float]

_NO_SPREAD = 1e-15  # a variance of shares below this is rounding


@frozen
class Interval:
    """An estimate with its bootstrap interval."""

    value: float
    low: float
    high: float

    def __contains__(self, x: float) -> bool:
        return self.low <= x <= self.high


@frozen(kw_only=True)
class BrierParts:
    """`brier = reliability - resolution + uncertainty + within`, exactly. Source: Murphy 1973; Stephenson et al.
    2008.
    """

    brier: float
    reliability: float  # squared distance of the bins' mean forecast from their outcome; less is better
    resolution: float  # squared distance of the bins' outcome from the base rate; more is better
    uncertainty: float  # of the outcome itself
    within: float  # what differs inside the bins; 0 when each bin holds one forecast value


@frozen(kw_only=True)
class Reliability:
    """A report on one class's probabilities, each score beside what the base rate alone would get."""

    n: int
    base_rate: float
    brier: Interval
    brier_skill: Interval  # 1 - brier / brier of the base rate: > 0 is better than knowing nothing
    log_loss: Interval
    calibration_error: Interval  # expected, in equally filled bins; biased upward in small samples
    calibration_error_by_chance: float  # what calibrated forecasts show in so small a sample, exceeded once in 20
    auc: Interval
    parts: BrierParts
    spiegelhalter_z: float
    spiegelhalter_p: float  # two-sided; small: the forecasts are not calibrated. Assumes independent outcomes
    curve: pd.DataFrame  # see `reliability_curve`; its intervals too respect overlap

    @property
    def verdict(self) -> str:
        """What the interval of the Brier skill says, in a sentence."""
        return of_skill(self.brier_skill.low, self.brier_skill.high)


def _checked(p: ArrayLike, y: ArrayLike, weight: ArrayLike | None) -> tuple[Floats, Floats, Floats]:
    given, hit = np.asarray(p, dtype=np.float64), np.asarray(y, dtype=np.float64)
    w = np.ones_like(given) if weight is None else np.asarray(weight, dtype=np.float64)
    if given.ndim != 1 or given.shape != hit.shape or given.shape != w.shape:
        raise InvalidInput(f"p, y and weight must be of one length: {given.shape}, {hit.shape}, {w.shape}")
    if given.size == 0:
        raise TooShort("no forecast to score", rows=0)
    if not ((given >= 0) & (given <= 1)).all() or not np.isin(hit, (0.0, 1.0)).all() or not (w >= 0).all():
        raise InvalidInput("p must lie in [0, 1], y be 0 or 1, and weights not negative; drop missing rows first")
    return given, hit, w


def brier(p: ArrayLike, y: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Weighted mean of (p - y) squared; 0 is perfect."""
    given, hit, w = _checked(p, y, weight)
    return float(w @ (given - hit) ** 2 / w.sum())


def log_loss(p: ArrayLike, y: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Weighted mean of -ln(probability of what happened), in nats; probabilities are read as at least 1e-15."""
    given, hit, w = _checked(p, y, weight)
    q = np.clip(np.where(hit > 0, given, 1.0 - given), 1e-15, 1.0)
    return float(-(w @ np.log(q)) / w.sum())


def auc(p: ArrayLike, y: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Chance that a random hit was given a higher probability than a random miss, ties counting half; NaN without
    both.
    """
    given, hit, w = _checked(p, y, weight)
    values, at = np.unique(given, return_inverse=True)
    plus = np.bincount(at, w * hit, values.size)
    minus = np.bincount(at, w * (1.0 - hit), values.size)
    below = np.cumsum(minus) - minus
    pairs = plus.sum() * minus.sum()
    return float((plus @ (below + minus / 2.0)) / pairs) if pairs > 0 else float("nan")


_RANGE: dict[Callable[..., float], tuple[float, float]] = {  # beyond which no interval reaches
    brier: (0.0, 1.0),
    log_loss: (0.0, np.inf),
    auc: (0.0, 1.0),
}


def _bins(p: Floats, w: Floats, bins: int) -> NDArray[np.int64]:
    """Bin of each forecast; bins hold equal weight, and equal forecasts share a bin."""
    if bins < 1:
        raise InvalidInput(f"bins must be at least 1, not {bins}")
    order = np.argsort(p, kind="stable")
    middle = (np.cumsum(w[order]) - w[order] / 2.0) / max(float(w.sum()), 1e-300)
    sorted_p = p[order]
    first = np.searchsorted(sorted_p, sorted_p, side="left")
    last = np.searchsorted(sorted_p, sorted_p, side="right") - 1
    place = np.empty(p.size, dtype=np.int64)
    place[order] = np.minimum(((middle[first] + middle[last]) / 2.0 * bins).astype(np.int64), bins - 1)
    return place


def brier_parts(p: ArrayLike, y: ArrayLike, weight: ArrayLike | None = None, bins: int = 10) -> BrierParts:
    """The Brier score taken apart over equally filled bins."""
    given, hit, w = _checked(p, y, weight)
    place = _bins(given, w, bins)
    mass = np.bincount(place, w, bins)
    used = mass > 0
    share = mass[used] / w.sum()
    forecast = np.bincount(place, w * given, bins)[used] / mass[used]
    outcome = np.bincount(place, w * hit, bins)[used] / mass[used]
    base = float(w @ hit / w.sum())
    score = float(w @ (given - hit) ** 2 / w.sum())
    rel = float(share @ (forecast - outcome) ** 2)
    res = float(share @ (outcome - base) ** 2)
    unc = base * (1.0 - base)
    return BrierParts(brier=score, reliability=rel, resolution=res, uncertainty=unc, within=score - rel + res - unc)


def calibration_error(p: ArrayLike, y: ArrayLike, weight: ArrayLike | None = None, bins: int = 10) -> float:
    """Expected calibration error: mean distance of bins' outcome from their mean forecast, in equally filled bins."""
    given, hit, w = _checked(p, y, weight)
    place = _bins(given, w, bins)
    return float(np.abs(np.bincount(place, w * (hit - given), bins)).sum() / w.sum())


def _bin_draws(
    given: Floats, hit: Floats, w: Floats, place: NDArray[np.int64], bins: int, blocks: Iterable[NDArray[np.int64]]
) -> tuple[Floats, Floats]:
    """Observed share and calibration gap times mass of each bin in each resample, (resamples, bins); NaN: empty."""
    shares, gaps = [], []
    for at in blocks:
        mass = np.bincount(place[at], w[at], bins)
        hits = np.bincount(place[at], w[at] * hit[at], bins)
        shares.append(np.divide(hits, mass, out=np.full(bins, np.nan), where=mass > 0))
        gaps.append((hits - np.bincount(place[at], w[at] * given[at], bins)) / w[at].sum())
    return np.array(shares), np.array(gaps)


def _resampled(n: int, block: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Rows of each resample, (n,): blocks of neighbours, wrapped at the end. One at a time: all would not fit."""
    if not 1 <= block <= n:
        raise InvalidInput(f"block must lie in 1..{n}, not {block}", block=block)
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        starts = rng.integers(0, n, -(-n // block))
        yield ((starts[:, None] + np.arange(block)) % n).ravel()[:n]


def _widening(n: int, block: int, level: float) -> float:
    """By how much a spread seen over resampled blocks is too small for an interval when there are few of them.

    So much wider than the normal quantile is Student's, with a degree of freedom less than there are blocks, and the
    blocks of one sample spread less than those of all samples. NaN for a single block, which tells of no spread.
    """
    from scipy.stats import norm, t

    blocks, at = n / block, 0.5 + level / 2.0
    return float(t.ppf(at, blocks - 1.0) / norm.ppf(at) * np.sqrt(blocks / (blocks - 1.0))) if blocks > 1.0 else np.nan


def reliability_curve(
    p: ArrayLike,
    y: ArrayLike,
    weight: ArrayLike | None = None,
    bins: int = 10,
    level: float = 0.95,
    *,
    block: int = 1,
    resamples: int = 500,
    seed: int = 0,
) -> pd.DataFrame:
    """One row a bin: count, mean forecast, observed share, and the share's Wilson interval `low`..`high`.

    block: rows whose labels overlap, as resampled (twice the horizon); above 1 the interval counts as many independent
    outcomes as the spread of the share over resampled blocks stands for, never more than the bin has. Where nothing
    spreads, as where all came true or none, as few in proportion as in the bin with the fewest; when no bin spreads,
    one for every half block.
    """
    from scipy.stats import norm

    given, hit, w = _checked(p, y, weight)
    place = _bins(given, w, bins)
    z = float(norm.ppf(0.5 + level / 2.0))
    mass = np.bincount(place, w, bins)
    used = np.flatnonzero(mass > 0)
    mass = mass[used]
    share = np.bincount(place, w * hit, bins)[used] / mass
    forecast = np.bincount(place, w * given, bins)[used] / mass
    n = mass**2 / np.bincount(place, w * w, bins)[used]
    if block > 1:
        draws, _ = _bin_draws(given, hit, w, place, bins, _resampled(given.size, block, resamples, seed))
        n = _independent(n, share, np.nanvar(draws[:, used], axis=0) * _widening(given.size, block, level) ** 2, block)
    middle, spread = share + z * z / (2 * n), z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = (middle - spread) / (1 + z * z / n), (middle + spread) / (1 + z * z / n)
    count = np.bincount(place, minlength=bins)[used]
    return pd.DataFrame({"count": count, "forecast": forecast, "observed": share, "low": low, "high": high})


def _independent(n: Floats, share: Floats, spread: Floats, block: int) -> Floats:
    """Independent outcomes in each bin of `n` rows, as the variance of its share over resampled blocks tells.

    A share of 0 or 1 has no variance and tells nothing: such a bin overlaps like the worst of the others.
    """
    told = spread > _NO_SPREAD
    alone = np.ones(n.size)
    alone[told] = np.minimum(1.0, share[told] * (1.0 - share[told]) / spread[told] / n[told])
    alone[~told] = alone[told].min() if told.any() else min(1.0, 2.0 / block)
    return np.maximum(1.0, n * alone)


def spiegelhalter_z(p: ArrayLike, y: ArrayLike) -> float:
    """Standard normal if the forecasts are calibrated and the outcomes independent. Source: Spiegelhalter 1986."""
    given, hit, _ = _checked(p, y, None)
    lean = 1.0 - 2.0 * given
    spread = float(np.sqrt(((lean**2) * given * (1.0 - given)).sum()))
    return float(((hit - given) * lean).sum() / spread) if spread > 0 else float("nan")


def block_interval(
    score: Score,
    p: ArrayLike,
    y: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    block: int = 1,
    level: float = 0.95,
    resamples: int = 500,
    seed: int = 0,
    centred: bool = False,
) -> Interval:
    """A score and its percentile interval from resampled blocks of `block` neighbouring rows, wrapped at the end.

    Overlapping labels make neighbours alike: take a block of at least the labels' horizon. The fewer blocks there are,
    the more is added to what resampling them shows; a single one shows nothing, and the interval is NaN. Source:
    Politis and Romano 1992.
    centred: move the resampled scores so that their mean is the score. For one that noise drives upward, such as a
    calibration error: each resample adds noise of its own, so that the plain interval may lie above the score itself.
    """
    given, hit, w = _checked(p, y, weight)
    value = score(given, hit, w)
    draws = np.array([score(given[at], hit[at], w[at]) for at in _resampled(given.size, block, resamples, seed)])
    wider = _widening(given.size, block, level)
    if not np.isfinite(wider) or not np.isfinite(draws).any():
        return Interval(value, np.nan, np.nan)
    middle, tail = np.nanmean(draws), (1.0 - level) / 2.0
    ends = np.nanquantile(draws - middle, [tail, 1.0 - tail]) * wider + (value if centred else middle)
    low, high = np.clip(ends, *_RANGE.get(score, (-np.inf, np.inf)))
    return Interval(value, float(low), float(high))


def calibration_error_by_chance(
    p: ArrayLike,
    y: ArrayLike,
    weight: ArrayLike | None = None,
    bins: int = 10,
    *,
    block: int = 1,
    level: float = 0.95,
    resamples: int = 500,
    seed: int = 0,
) -> float:
    """The expected calibration error that calibrated forecasts exceed only with probability `1 - level` in a sample
    like this: the noise alone of the bins' gaps, from resampled blocks less what they are resampled from. NaN for a
    single block.
    """
    given, hit, w = _checked(p, y, weight)
    place = _bins(given, w, bins)
    every = [np.arange(given.size)]
    _, gap = _bin_draws(given, hit, w, place, bins, every)
    _, draws = _bin_draws(given, hit, w, place, bins, _resampled(given.size, block, resamples, seed))
    noise = np.abs(draws - gap).sum(axis=1) * _widening(given.size, block, 2.0 * level - 1.0)
    return float(np.quantile(noise, level))


def reliability(
    p: ArrayLike,
    y: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    bins: int = 10,
    block: int = 1,
    level: float = 0.95,
    resamples: int = 500,
    seed: int = 0,
) -> Reliability:
    """Everything worth knowing about one class's probabilities. p: (n,). y: (n,) 0 or 1. Rows in time order.

    block: rows whose labels overlap, see `block_interval`. Raises: InvalidInput, TooShort.
    """
    from scipy.stats import norm

    given, hit, w = _checked(p, y, weight)

    def skill(q: Floats, z: Floats, v: Floats) -> float:
        base = float(v @ z / v.sum())
        known_nothing = base * (1.0 - base)
        return 1.0 - brier(q, z, v) / known_nothing if known_nothing > 0 else float("nan")

    drawn: dict[str, Any] = {"block": block, "resamples": resamples, "seed": seed}

    def interval(score: Score, *, centred: bool = False) -> Interval:
        return block_interval(score, given, hit, w, level=level, centred=centred, **drawn)

    error = interval(lambda q, o, v: calibration_error(q, o, v, bins), centred=True)
    z = spiegelhalter_z(given, hit)
    return Reliability(
        n=given.size,
        base_rate=float(w @ hit / w.sum()),
        brier=interval(brier),
        brier_skill=interval(skill),
        log_loss=interval(log_loss),
        calibration_error=evolve(error, low=max(error.low, 0.0)),
        calibration_error_by_chance=calibration_error_by_chance(given, hit, w, bins, **drawn),
        auc=interval(auc),
        parts=brier_parts(given, hit, w, bins),
        spiegelhalter_z=z,
        spiegelhalter_p=float(2.0 * norm.sf(abs(z))),
        curve=reliability_curve(given, hit, w, bins, level, **drawn),
    )
