"""Figures of an equity curve and its trades, from plain arrays.

One rule for what is not defined (no bars, no trades, no variance, no losses): NaN, which `Statistics.to_dict` turns
into None. Nothing here raises because a result is empty.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from attrs import fields, frozen
from numpy.typing import ArrayLike, NDArray

from ares.errors import InvalidInput
from ares.report.significance import moments, probabilistic_sharpe_ratio

__all__ = [
    "Drawdown",
    "Statistics",
    "annual_return",
    "drawdown",
    "hit_rate",
    "performance",
    "profit_factor",
    "returns_of",
    "sharpe",
    "sortino",
    "volatility",
]

FloatArray = NDArray[np.float64]
_NAN = float("nan")
_DAY = 1 / 365  # years


def returns_of(equity: ArrayLike) -> FloatArray:
    """(n,) simple returns of an equity curve of n + 1 points; 0 after ruin (equity <= 0): there is nothing to lose.

    Raises: InvalidInput when the curve is not one-dimensional and finite.
    """
    curve = np.asarray(equity, dtype=np.float64)
    if curve.ndim != 1 or not np.isfinite(curve).all():
        raise InvalidInput("an equity curve is one-dimensional and finite", shape=curve.shape)
    before, after = curve[:-1], curve[1:]
    alive = before > 0
    return np.where(alive, after / np.where(alive, before, 1.0) - 1.0, 0.0)


def total_return(equity: ArrayLike) -> float:
    """Last over first, minus 1; NaN without points or with a start that is not positive."""
    curve = np.asarray(equity, dtype=np.float64)
    return float(curve[-1] / curve[0] - 1) if curve.size and curve[0] > 0 else _NAN


def annual_return(total: float, years: float) -> float:
    """The yearly rate that compounds to `total` in `years`; -1 after ruin; NaN for less than a day."""
    if not years >= _DAY or math.isnan(total):
        return _NAN
    if total <= -1:
        return -1.0
    exponent = math.log1p(total) / years
    return math.expm1(exponent) if exponent < 700 else math.inf


def volatility(returns: ArrayLike, per_year: float) -> float:
    """Yearly standard deviation (n - 1) of `returns`, of which there are `per_year` a year; NaN for fewer than 2."""
    r = np.asarray(returns, dtype=np.float64)
    return float(r.std(ddof=1)) * math.sqrt(per_year) if r.size > 1 else _NAN


def sharpe(returns: ArrayLike, per_year: float = 1.0) -> float:
    """Mean over standard deviation (n - 1), times sqrt(per_year), no riskless rate deducted; NaN without variance."""
    r = np.asarray(returns, dtype=np.float64)
    deviation = float(r.std(ddof=1)) if r.size > 1 else 0.0
    if deviation <= 1e-14 * max(1.0, float(np.abs(r).max(initial=0.0))):
        return _NAN
    return float(r.mean()) / deviation * math.sqrt(per_year)


def sortino(returns: ArrayLike, per_year: float = 1.0) -> float:
    """Mean over the root mean square of the negative returns (others count as 0); NaN when none is negative."""
    r = np.asarray(returns, dtype=np.float64)
    downside = math.sqrt(float(np.mean(np.minimum(r, 0.0) ** 2))) if r.size > 1 else 0.0
    return float(r.mean()) / downside * math.sqrt(per_year) if downside > 0 else _NAN


@frozen(kw_only=True)
class Drawdown:
    """The deepest fall of an equity curve below its highest point so far. Positions count from 0 in the curve."""

    depth: float  # fraction of the peak, positive: 0.25 lost a quarter
    peak: int | None  # None: the curve never fell
    trough: int | None
    recovered: int | None  # first point at or above the peak again; None: not yet
    longest: int  # points of the longest stay below an earlier peak, of any depth


def drawdown(equity: ArrayLike) -> Drawdown:
    """The deepest drawdown and the longest one; depth NaN for an empty curve, 0 for one that never fell."""
    curve = np.asarray(equity, dtype=np.float64)
    if curve.size == 0:
        return Drawdown(depth=_NAN, peak=None, trough=None, recovered=None, longest=0)
    highest = np.maximum.accumulate(curve)
    depth = 1.0 - curve / np.where(highest > 0, highest, np.nan)
    depth = np.where(np.isnan(depth), 0.0, depth)
    under = curve < highest
    edges = np.flatnonzero(np.diff(np.concatenate(([False], under, [False])).astype(np.int8)))
    longest = int((edges[1::2] - edges[::2]).max()) if edges.size else 0
    trough = int(np.argmax(depth))
    if depth[trough] <= 0:
        return Drawdown(depth=0.0, peak=None, trough=None, recovered=None, longest=longest)
    peak = int(np.flatnonzero(curve[: trough + 1] == highest[trough])[-1])
    again = np.flatnonzero(curve[trough:] >= highest[trough])
    return Drawdown(
        depth=float(depth[trough]),
        peak=peak,
        trough=trough,
        recovered=trough + int(again[0]) if again.size else None,
        longest=longest,
    )


def hit_rate(profits: ArrayLike) -> float:
    """Share of trades with a profit above zero, after costs; NaN without trades."""
    p = np.asarray(profits, dtype=np.float64)
    return float(np.mean(p > 0)) if p.size else _NAN


def profit_factor(profits: ArrayLike) -> float:
    """Sum of gains over sum of losses; infinite when nothing was lost, NaN when nothing was won either."""
    p = np.asarray(profits, dtype=np.float64)
    gained, lost = float(p[p > 0].sum()), float(-p[p < 0].sum())
    if lost > 0:
        return gained / lost
    return math.inf if gained > 0 else _NAN


@frozen(kw_only=True)
class Statistics:
    """Figures of one result after costs: fractions, years of 365 days, money in the quote asset. NaN: not defined."""

    bars: int
    years: float
    start_equity: float  # quote
    end_equity: float  # quote
    total_return: float
    annual_return: float
    volatility: float  # a year
    sharpe: float  # a year
    sortino: float  # a year
    max_drawdown: float  # positive: 0.25 lost a quarter from a peak
    longest_drawdown_bars: int
    calmar: float  # annual return over maximum drawdown
    skew: float  # of bar returns
    kurtosis: float  # of bar returns, raw: a normal distribution has 3
    psr: float  # probability that the true Sharpe ratio exceeds 0
    trades: int  # closed
    hit_rate: float
    profit_factor: float
    mean_trade: float  # quote, after costs
    best_trade: float  # quote
    worst_trade: float  # quote
    mean_holding_bars: float
    exposure: float  # share of bars with a position
    turnover: float  # a year: traded notional over mean equity
    fees: float  # quote, paid
    slippage: float  # quote, paid; part of the prices, not deducted again
    funding: float  # quote, received; negative: paid

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON: None for what is not defined or infinite."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(type(self))}


def _plain(value: float | int) -> float | int | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def performance(
    equity: ArrayLike,
    per_year: float,
    *,
    years: float | None = None,
    profits: ArrayLike = (),
    holding_bars: ArrayLike = (),
    in_position: ArrayLike = (),
    traded_notional: float = 0.0,
    fees: float = 0.0,
    slippage: float = 0.0,
    funding: float = 0.0,
) -> Statistics:
    """All figures of one result.

    equity: (n + 1,) quote; before the first bar and after each of the n bars, all costs included.
    per_year: bars a year, such as `Interval.per_year`. years: None takes n / per_year; pass it when bars are missing.
    profits: (k,) quote, of each closed trade after its costs. holding_bars: (k,). in_position: (n,) of truth values.
    traded_notional, fees, slippage: quote, sums, positive. funding: quote, what was received.
    Raises: InvalidInput when the curve is not finite.
    """
    curve = np.asarray(equity, dtype=np.float64)
    r = returns_of(curve)
    p, held = np.asarray(profits, dtype=np.float64), np.asarray(holding_bars, dtype=np.float64)
    busy = np.asarray(in_position)
    span = r.size / per_year if years is None else years
    total, fall = total_return(curve), drawdown(curve)
    yearly = annual_return(total, span)
    skew, kurtosis = moments(r)
    ratio = sharpe(r)
    return Statistics(
        bars=int(r.size),
        years=float(span),
        start_equity=float(curve[0]) if curve.size else _NAN,
        end_equity=float(curve[-1]) if curve.size else _NAN,
        total_return=total,
        annual_return=yearly,
        volatility=volatility(r, per_year),
        sharpe=ratio * math.sqrt(per_year),
        sortino=sortino(r, per_year),
        max_drawdown=fall.depth,
        longest_drawdown_bars=fall.longest,
        calmar=yearly / fall.depth if fall.depth > 0 else _NAN,
        skew=skew,
        kurtosis=kurtosis,
        psr=probabilistic_sharpe_ratio(ratio, r.size, skew, kurtosis),
        trades=int(p.size),
        hit_rate=hit_rate(p),
        profit_factor=profit_factor(p),
        mean_trade=float(p.mean()) if p.size else _NAN,
        best_trade=float(p.max()) if p.size else _NAN,
        worst_trade=float(p.min()) if p.size else _NAN,
        mean_holding_bars=float(held.mean()) if held.size else _NAN,
        exposure=float(np.mean(busy != 0)) if busy.size else (0.0 if p.size == 0 else _NAN),
        turnover=_turnover(traded_notional, curve, span),
        fees=float(fees),
        slippage=float(slippage),
        funding=float(funding),
    )


def _turnover(notional: float, curve: FloatArray, years: float) -> float:
    mean = float(curve.mean()) if curve.size else 0.0
    return notional / mean / years if years > 0 and mean > 0 else _NAN
