"""Ranges of single bars, from which the range-based volatilities are averaged."""

from __future__ import annotations

from math import exp, log, sqrt
from typing import Any

import numpy as np

from ares.kernels.jit import inner
from ares.kernels.layout import IN, INT, LENGTH

NAN = np.nan

TRUE_RANGE, BAR_VARIANCE, YANG_ZHANG, CORWIN_SCHULTZ = range(40, 44)


@inner
def true_range(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """From the lower of low and previous close to the higher of high and previous close; quote currency."""
    high = m[t[k + IN] :]
    low = m[t[k + IN + 1] :]
    close = m[t[k + IN + 2] :]
    y = m[oo:]
    start = min(max(lo, first + 1), hi)
    h = high[start:hi]
    bottom = low[start:hi]
    before = close[start - 1 :]
    out = y[start:hi]
    for j in range(hi - start):
        out[j] = max(h[j], before[j]) - min(bottom[j], before[j])


@inner
def bar_variance(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """One bar's variance estimates from open, high, low, close, in squared log units.

    Outputs: Parkinson (1980), Garman-Klass (1980), Rogers-Satchell (1991), log(close / open).
    """
    length = t[k + LENGTH]
    open_ = m[t[k + IN] :]
    high = m[t[k + IN + 1] :]
    low = m[t[k + IN + 2] :]
    close = m[t[k + IN + 3] :]
    parkinson = m[oo:]
    garman_klass = m[oo + length :]
    rogers_satchell = m[oo + 2 * length :]
    body = m[oo + 3 * length :]
    for i in range(lo, hi):
        u = log(high[i] / open_[i])
        d = log(low[i] / open_[i])
        c = log(close[i] / open_[i])
        reach = u - d
        parkinson[i] = reach * reach / (4.0 * 0.6931471805599453)
        garman_klass[i] = 0.5 * reach * reach - (2.0 * 0.6931471805599453 - 1.0) * c * c
        rogers_satchell[i] = u * (u - c) + d * (d - c)
        body[i] = c


@inner
def yang_zhang(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Yang-Zhang (2000): root of opening variance + k * body variance + (1 - k) * mean Rogers-Satchell.

    Inputs: standard deviations of the opening jump and of the body (divisor w - 1), mean Rogers-Satchell.
    """
    w = t[k + INT]
    weight = 0.34 / (1.34 + (w + 1.0) / (w - 1.0))
    jump = m[t[k + IN] + lo : t[k + IN] + hi]
    body = m[t[k + IN + 1] + lo : t[k + IN + 1] + hi]
    range_ = m[t[k + IN + 2] + lo : t[k + IN + 2] + hi]
    y = m[oo + lo : oo + hi]
    for i in range(hi - lo):
        v = jump[i] * jump[i] + weight * body[i] * body[i] + (1.0 - weight) * max(range_[i], 0.0)
        y[i] = sqrt(v) if range_[i] == range_[i] else NAN


@inner
def corwin_schultz(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Corwin-Schultz (2012) spread of each pair of bars from high, low, close, a fraction; below zero is set to zero.

    The second bar is moved by the gap when the first close lies outside its range, as the authors do.
    """
    high = m[t[k + IN] :]
    low = m[t[k + IN + 1] :]
    close = m[t[k + IN + 2] :]
    y = m[oo:]
    scale = 3.0 - 2.0 * sqrt(2.0)
    for i in range(max(lo, first + 1), hi):
        h = high[i]
        bottom = low[i]
        before = close[i - 1]
        gap = 0.0
        if before > h:
            gap = before - h
        elif before < bottom:
            gap = before - bottom
        h += gap
        bottom += gap
        one = log(high[i - 1] / low[i - 1])
        two = log(h / bottom)
        both = log(max(h, high[i - 1]) / min(bottom, low[i - 1]))
        beta = one * one + two * two
        a = (sqrt(2.0 * beta) - sqrt(beta)) / scale - sqrt(both * both / scale)
        y[i] = max(2.0 * (exp(a) - 1.0) / (1.0 + exp(a)), 0.0)
