"""Lines through the rows of a window, and how two columns move together."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from ares.kernels.jit import inner
from ares.kernels.layout import IN, INT, LENGTH
from ares.kernels.moving import equal_run, window_sum

NAN = np.nan

SLOPE, COVARY = range(220, 222)


@inner
def slope(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Least-squares line through the last `w` rows: slope per row, and R squared (NaN when all rows are equal)."""
    w = t[k + INT]
    x = m[t[k + IN] :]
    y = m[oo:]
    z = m[oo + t[k + LENGTH] :]
    start = min(max(lo, first + w - 1), hi)
    if start >= hi:
        return
    s = m[so]
    s2 = m[so + 1]
    sk = m[so + 2]  # sum of (position in the window, from 0) times value
    run = int(m[so + 3])
    middle = m[so + 4]
    again = fresh != 0 or run == 0
    mid = (w - 1) / 2.0
    by_spread = 12.0 / (w * (w * float(w) - 1.0))
    by_w = 1.0 / w
    at = t[k + IN] + start
    now = m[at:]
    before = m[at - 1 :]
    then = m[at - w :]
    out = y[start:hi]
    squared = z[start:hi]
    for row in range(hi - start):
        if not again:
            d = now[row] - middle
            e = then[row] - middle
            sk += (w - 1) * d - (s - e)
            s += d - e
            s2 += d * d - e * e
            run = run + 1 if now[row] == before[row] else 1
            again = s != s or e * e > 1e4 * s2 or s * s > 0.999 * w * s2
        if again:
            i = start + row
            run = equal_run(x, i, w)
            middle = window_sum(x, i, w) / w
            s = 0.0
            s2 = 0.0
            sk = 0.0
            for j in range(w):
                d = x[i - w + 1 + j] - middle
                s += d
                s2 += d * d
                sk += j * d
            again = False
        if run >= w:
            run = w
            out[row] = 0.0
            squared[row] = NAN
            continue
        covariance = sk - mid * s
        variance = s2 - s * s * by_w
        slope_ = covariance * by_spread
        out[row] = slope_
        squared[row] = min(covariance * slope_ / variance, 1.0) if variance > 0.0 else NAN
    m[so] = s
    m[so + 1] = s2
    m[so + 2] = sk
    m[so + 3] = run
    m[so + 4] = middle


@inner
def covary(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Covariance (divisor w) and correlation of two inputs over `w` rows; correlation is NaN when one does not vary."""
    w = t[k + INT]
    x = m[t[k + IN] :]
    z = m[t[k + IN + 1] :]
    covariance = m[oo:]
    correlation = m[oo + t[k + LENGTH] :]
    start = min(max(lo, first + w - 1), hi)
    if start >= hi:
        return
    sx = m[so]
    sz = m[so + 1]
    sxx = m[so + 2]
    szz = m[so + 3]
    sxz = m[so + 4]
    x_run = int(m[so + 5])
    z_run = int(m[so + 6])
    mx = m[so + 7]
    mz = m[so + 8]
    again = fresh != 0 or x_run == 0
    for i in range(start, hi):
        if not again:
            a = x[i] - mx
            b = z[i] - mz
            c = x[i - w] - mx
            d = z[i - w] - mz
            sx += a - c
            sz += b - d
            sxx += a * a - c * c
            szz += b * b - d * d
            sxz += a * b - c * d
            x_run = min(x_run + 1, w) if x[i] == x[i - 1] else 1
            z_run = min(z_run + 1, w) if z[i] == z[i - 1] else 1
            again = sxz != sxz or c * c > 1e4 * sxx or d * d > 1e4 * szz
        if again:
            x_run = equal_run(x, i, w)
            z_run = equal_run(z, i, w)
            mx = window_sum(x, i, w) / w
            mz = window_sum(z, i, w) / w
            sx = 0.0
            sz = 0.0
            sxx = 0.0
            szz = 0.0
            sxz = 0.0
            for j in range(i - w + 1, i + 1):
                a = x[j] - mx
                b = z[j] - mz
                sx += a
                sz += b
                sxx += a * a
                szz += b * b
                sxz += a * b
            again = False
        if x_run >= w or z_run >= w:
            covariance[i] = 0.0
            correlation[i] = NAN
            continue
        both = sxz - sx * sz / w
        vx = sxx - sx * sx / w
        vz = szz - sz * sz / w
        covariance[i] = both / w
        correlation[i] = min(max(both / sqrt(vx * vz), -1.0), 1.0) if vx > 0.0 and vz > 0.0 else NAN
    m[so] = sx
    m[so + 1] = sz
    m[so + 2] = sxx
    m[so + 3] = szz
    m[so + 4] = sxz
    m[so + 5] = x_run
    m[so + 6] = z_run
    m[so + 7] = mx
    m[so + 8] = mz
