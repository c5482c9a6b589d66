"""Rolling sums, moments and exponential means: the arithmetic under most features.

Every kernel here has the engine's signature `(m, t, k, so, oo, lo, hi, first, fresh)`: memory, table, the node's record
in the table, offset of its state, offset of its first output column, rows `lo <= i < hi` to compute, the first row
whose inputs exist, and whether carried sums are to be summed afresh. A row whose window is not full is NaN.

A NaN in a window makes the row NaN and nothing more: the sum is taken afresh once it has left. A window of equal values
has exactly that value as mean and exactly zero variance, whatever went before.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from ares.kernels.jit import inner
from ares.kernels.layout import FLOATS, IN, INT, LENGTH
from ares.kernels.native import fused

NAN = np.nan

MEAN, MEAN_SQUARE, SPREAD, SHAPE, EWM = range(5)


@inner
def window_sum(x: Any, i: int, w: int) -> float:
    """Sum of `x[i - w + 1 .. i]`, oldest first."""
    total = 0.0
    for j in range(i - w + 1, i + 1):
        total += x[j]
    return total


@inner
def equal_run(x: Any, i: int, w: int) -> int:
    """How many rows up to `i` hold the value of row `i`, at most `w`."""
    run = 1
    while run < w and x[i - run] == x[i]:
        run += 1
    return run


@inner
def mean(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Mean over `w` rows; its square root when the second parameter is 1."""
    w = t[k + INT]
    root = t[k + INT + 1]
    x = m[t[k + IN] :]
    y = m[oo:]
    start = min(max(lo, first + w - 1), hi)
    if start >= hi:
        return
    total = m[so]
    run = int(m[so + 1])
    if fresh or run == 0:
        total = window_sum(x, start, w)
        run = equal_run(x, start, w)
        if run >= w:
            total = w * x[start]
        y[start] = sqrt(max(total / w, 0.0)) if root else total / w
        start += 1
    now = x[start:hi]
    before = x[start - 1 :]
    old = x[start - w :]
    out = y[start:hi]
    for j in range(hi - start):
        value = now[j]
        total += value - old[j]
        run = run + 1 if value == before[j] else 1
        if run >= w:
            run = w
            total = w * value
        elif total != total:
            total = window_sum(x, start + j, w)
        out[j] = total / w
    if root:
        for j in range(hi - start):
            out[j] = sqrt(max(out[j], 0.0)) if out[j] == out[j] else NAN
    m[so] = total
    m[so + 1] = run


@inner
def square_sum(x: Any, i: int, w: int) -> float:
    """Sum of squares of `x[i - w + 1 .. i]`, oldest first."""
    total = 0.0
    for j in range(i - w + 1, i + 1):
        total += x[j] * x[j]
    return total


@inner
def mean_square(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Mean of squares over `w` rows; its square root when the second parameter is 1."""
    w = t[k + INT]
    root = t[k + INT + 1]
    x = m[t[k + IN] :]
    y = m[oo:]
    start = min(max(lo, first + w - 1), hi)
    if start >= hi:
        return
    total = m[so]
    run = int(m[so + 1])
    if fresh or run == 0:
        total = square_sum(x, start, w)
        run = equal_run(x, start, w)
        if run >= w:
            total = w * (x[start] * x[start])
        y[start] = sqrt(total / w) if root else total / w
        start += 1
    now = x[start:hi]
    before = x[start - 1 :]
    old = x[start - w :]
    out = y[start:hi]
    for j in range(hi - start):
        value = now[j]
        total += value * value - old[j] * old[j]
        run = run + 1 if value == before[j] else 1
        if run >= w:
            run = w
            total = w * (value * value)
        elif not old[j] * old[j] <= 1e6 * total:
            total = square_sum(x, start + j, w)
        out[j] = total / w
    if root:
        for j in range(hi - start):
            out[j] = sqrt(out[j])
    m[so] = total
    m[so + 1] = run


@inner
def spread(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Mean and standard deviation over `w` rows (divisor `w - ddof`), by sliding Welford updates."""
    w = t[k + INT]
    share = 1.0 / (w - t[k + INT + 1])
    x = m[t[k + IN] :]
    y = m[oo:]
    z = m[oo + t[k + LENGTH] :]
    start = min(max(lo, first + w - 1), hi)
    if start >= hi:
        return
    average = m[so]
    squares = m[so + 1]
    run = int(m[so + 2])
    inverse = 1.0 / w
    again = fresh != 0 or run == 0
    at = t[k + IN] + start
    now = m[at:]
    before = m[at - 1 :]
    then = m[at - w :]
    out = y[start:hi]
    sigma = z[start:hi]
    for row in range(hi - start):
        value = now[row]
        if not again:
            old = then[row]
            step = value - old
            moved = average + step * inverse
            squares += step * (value - moved + old - average)
            average = moved
            run = run + 1 if value == before[row] else 1
            again = squares != squares or step * step > 1e6 * squares
        if again:
            i = start + row
            run = equal_run(x, i, w)
            average = window_sum(x, i, w) * inverse
            squares = 0.0
            for j in range(i - w + 1, i + 1):
                squares += (x[j] - average) * (x[j] - average)
            again = False
        if run >= w:
            run = w
            average = value
            squares = 0.0
        out[row] = average
        sigma[row] = sqrt(squares * share) if squares > 0.0 else (0.0 if squares <= 0.0 else NAN)
    m[so] = average
    m[so + 1] = squares
    m[so + 2] = run


@inner
def shape(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Skewness and excess kurtosis over `w` rows, with the small-sample corrections of pandas; NaN when all are equal.

    Sums of powers of the distance to a fixed point near the window, moved to the window's mean at each fresh start.
    """
    w = t[k + INT]
    x = m[t[k + IN] :]
    y = m[oo:]
    z = m[oo + t[k + LENGTH] :]
    start = min(max(lo, first + w - 1), hi)
    if start >= hi:
        return
    s1 = m[so]
    s2 = m[so + 1]
    s3 = m[so + 2]
    s4 = m[so + 3]
    run = int(m[so + 4])
    middle = m[so + 5]
    again = fresh != 0 or run == 0
    n = float(w)
    f_skew = sqrt(n * (n - 1.0)) / (n - 2.0)
    f_kurt = (n - 1.0) / ((n - 2.0) * (n - 3.0))
    for i in range(start, hi):
        if not again:
            d = x[i] - middle
            e = x[i - w] - middle
            s1 += d - e
            s2 += d * d - e * e
            s3 += d * d * d - e * e * e
            s4 += d * d * d * d - e * e * e * e
            run = run + 1 if x[i] == x[i - 1] else 1
            again = s4 != s4 or e * e * e * e > 1e4 * s4
        if again:
            run = equal_run(x, i, w)
            middle = window_sum(x, i, w) / n
            s1 = 0.0
            s2 = 0.0
            s3 = 0.0
            s4 = 0.0
            for j in range(i - w + 1, i + 1):
                d = x[j] - middle
                s1 += d
                s2 += d * d
                s3 += d * d * d
                s4 += d * d * d * d
            again = False
        if run >= w:
            run = w
            y[i] = NAN
            z[i] = NAN
            continue
        mu = s1 / n
        m2 = s2 / n - mu * mu
        m3 = s3 / n - 3.0 * mu * (s2 / n) + 2.0 * mu * mu * mu
        m4 = s4 / n - 4.0 * mu * (s3 / n) + 6.0 * mu * mu * (s2 / n) - 3.0 * mu * mu * mu * mu
        if m2 > 0.0:
            y[i] = f_skew * m3 / (m2 * sqrt(m2))
            z[i] = f_kurt * ((n + 1.0) * m4 / (m2 * m2) - 3.0 * (n - 1.0))
        else:
            y[i] = NAN
            z[i] = NAN
    m[so] = s1
    m[so + 1] = s2
    m[so + 2] = s3
    m[so + 3] = s4
    m[so + 4] = run
    m[so + 5] = middle


@inner
def whole(x: Any, lo: int, hi: int) -> bool:
    """True when none of rows [lo, hi) is NaN: a recursion need not look at each, which it would have to wait for."""
    missing = 0
    for i in range(lo, hi):
        missing += 1 if x[i] != x[i] else 0
    return missing == 0


@inner
def ewm(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Exponential mean with weight `alpha` for the newest row, begun as the plain mean of its first `w` rows.

    Second parameter: 0 as is, 1 the mean of squares, 2 its root. A NaN row is NaN and does not move the mean.
    """
    w = t[k + INT]
    power = t[k + INT + 1]
    alpha = m[t[k + FLOATS]]
    keep = 1.0 - alpha
    x = m[t[k + IN] + lo : t[k + IN] + hi]
    y = m[oo + lo : oo + hi]
    e = m[so]
    count = m[so + 1]
    n = hi - lo
    i = 0
    while i < n and count < w:
        value = x[i] * x[i] if power else x[i]
        if value == value:
            e += value
            count += 1.0
            if count == w:
                e /= w
        y[i] = e if count == w and value == value else NAN
        i += 1
    for j in range(i, n):
        y[j] = alpha * (x[j] * x[j] if power else x[j])
    if whole(y, i, n):
        for j in range(i, n):
            e = fused(keep, e, y[j])
            y[j] = e
    else:
        for j in range(i, n):
            if y[j] == y[j]:
                e = fused(keep, e, y[j])
                y[j] = e
    if power == 2:
        for j in range(n):
            y[j] = sqrt(y[j])
    m[so] = e
    m[so + 1] = count
