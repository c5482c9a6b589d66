"""Rolling sums, moments, extremes and exponential means: the arithmetic under most features.

Every kernel here has the engine's signature `(m, t, k, so, oo, lo, hi, first, fresh)`: memory, table, the node's record
in the table, offset of its state, offset of its first output column, rows `lo <= i < hi` to compute, the first row
whose inputs exist, and whether carried sums are to be summed afresh. A row whose window is not full is NaN.

A NaN in a window makes the row NaN and nothing more: the sum is taken afresh once it has left. A window of equal values
has exactly that value as mean and exactly zero variance, whatever went before.
"""

from __future__ import annotations

from math import log, sqrt
from typing import Any

import numpy as np

from ares.kernels.jit import inner
from ares.kernels.layout import FLOATS, IN, INT, LENGTH, N_IN

NAN = np.nan

COMBINE, LAGGED, MEAN, MEAN_SQUARE, SPREAD, SHAPE, EXTREMES, AGES, EWM, SLOPE, COVARY = range(11)

# modes of `combine`
(
    MINUS,
    OVER,
    DISTANCE,
    TIMES,
    LOG,
    LOG_RATIO,
    ROOT,
    AFFINE,
    SQUARE,
    POSITION,
    RATIO_LESS_ONE,
    SHARE,
    ABSOLUTE,
    CLIP,
    SIGN,
    THIRD,
    HALF_SPREAD,
    PLUS,
) = range(18)


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
def combine(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Row by row arithmetic on up to three columns; a division by zero or a logarithm of nothing is NaN."""
    n = hi - lo
    mode = t[k + INT]
    a = m[t[k + IN] + lo : t[k + IN] + hi]
    b = a
    c = a
    if t[k + N_IN] > 1:
        b = m[t[k + IN + 1] + lo : t[k + IN + 1] + hi]
    if t[k + N_IN] > 2:
        c = m[t[k + IN + 2] + lo : t[k + IN + 2] + hi]
    p = m[t[k + FLOATS]]
    q = m[t[k + FLOATS] + 1]
    y = m[oo + lo : oo + hi]
    if mode == MINUS:
        for i in range(n):
            y[i] = a[i] - b[i]
    elif mode == OVER:
        for i in range(n):
            y[i] = a[i] / b[i] if b[i] != 0.0 else NAN
    elif mode == DISTANCE:
        for i in range(n):
            y[i] = (a[i] - b[i]) / c[i] if c[i] != 0.0 else NAN
    elif mode == TIMES:
        for i in range(n):
            y[i] = a[i] * b[i]
    elif mode == LOG:
        for i in range(n):
            y[i] = log(a[i]) if a[i] > 0.0 else NAN
    elif mode == LOG_RATIO:
        for i in range(n):
            y[i] = log(a[i] / b[i]) if a[i] > 0.0 and b[i] > 0.0 else NAN
    elif mode == ROOT:
        for i in range(n):
            y[i] = sqrt(a[i]) if a[i] >= 0.0 else NAN
    elif mode == AFFINE:
        for i in range(n):
            y[i] = p * a[i] + q
    elif mode == SQUARE:
        for i in range(n):
            y[i] = a[i] * a[i]
    elif mode == POSITION:  # where a lies between b (0) and c (1)
        for i in range(n):
            width = c[i] - b[i]
            y[i] = (a[i] - b[i]) / width if width != 0.0 else NAN
    elif mode == RATIO_LESS_ONE:
        for i in range(n):
            y[i] = a[i] / b[i] - 1.0 if b[i] != 0.0 else NAN
    elif mode == SHARE:  # a's share of a + b
        for i in range(n):
            both = a[i] + b[i]
            y[i] = a[i] / both if both != 0.0 else NAN
    elif mode == ABSOLUTE:
        for i in range(n):
            y[i] = abs(a[i])
    elif mode == CLIP:
        for i in range(n):
            y[i] = min(max(a[i], p), q) if a[i] == a[i] else NAN
    elif mode == SIGN:
        for i in range(n):
            y[i] = (1.0 if a[i] > 0.0 else (-1.0 if a[i] < 0.0 else 0.0)) if a[i] == a[i] else NAN
    elif mode == THIRD:  # mean of three
        for i in range(n):
            y[i] = (a[i] + b[i] + c[i]) / 3.0
    elif mode == HALF_SPREAD:  # 2 sqrt(-a), 0 for a above 0
        for i in range(n):
            y[i] = 2.0 * sqrt(max(-a[i], 0.0)) if a[i] == a[i] else NAN
    elif mode == PLUS:
        for i in range(n):
            y[i] = a[i] + b[i]


@inner
def lagged(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Row `i` against row `i - w`: mode 0 the difference, 1 the ratio less one, 2 the earlier value itself."""
    w = t[k + INT]
    mode = t[k + INT + 1]
    x = m[t[k + IN] :]
    y = m[oo:]
    start = min(max(lo, first + w), hi)
    for i in range(lo, start):
        y[i] = NAN
    now = x[start:hi]
    then = x[start - w :]
    out = y[start:hi]
    n = hi - start
    if mode == 0:
        for j in range(n):
            out[j] = now[j] - then[j]
    elif mode == 1:
        for j in range(n):
            out[j] = now[j] / then[j] - 1.0 if then[j] != 0.0 else NAN
    else:
        for j in range(n):
            out[j] = then[j]


@inner
def mean(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Mean over `w` rows; its square root when the second parameter is 1."""
    w = t[k + INT]
    root = t[k + INT + 1]
    x = m[t[k + IN] :]
    y = m[oo:]
    start = min(max(lo, first + w - 1), hi)
    for i in range(lo, start):
        y[i] = NAN
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
    for i in range(lo, start):
        y[i] = NAN
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
    divisor = w - t[k + INT + 1]
    x = m[t[k + IN] :]
    y = m[oo:]
    z = m[oo + t[k + LENGTH] :]
    start = min(max(lo, first + w - 1), hi)
    for i in range(lo, start):
        y[i] = NAN
        z[i] = NAN
    if start >= hi:
        return
    average = m[so]
    squares = m[so + 1]
    run = int(m[so + 2])
    inverse = 1.0 / w
    again = fresh != 0 or run == 0
    for i in range(start, hi):
        value = x[i]
        if not again:
            old = x[i - w]
            step = value - old
            moved = average + step * inverse
            squares += step * (value - moved + old - average)
            average = moved
            run = run + 1 if value == x[i - 1] else 1
            again = squares != squares or step * step > 1e6 * squares
        if again:
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
        y[i] = average
        z[i] = sqrt(squares / divisor) if squares > 0.0 else (0.0 if squares <= 0.0 else NAN)
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
    for i in range(lo, start):
        y[i] = NAN
        z[i] = NAN
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
def extremes(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Highest of the first input and lowest of the second over `w` rows.

    Rows are taken in runs of `w` (van Herk 1992): the window is the tail of the last run, whose extremes to its end are
    kept, and the head of the present one, whose extremes so far are carried. Two comparisons a row for any window.
    """
    w = t[k + INT]
    above = m[t[k + IN] :]
    below = m[t[k + IN + 1] :]
    top = m[oo:]
    bottom = m[oo + t[k + LENGTH] :]
    tail_top = m[so + 3 : so + 3 + w]
    tail_bottom = m[so + 3 + w : so + 3 + 2 * w]
    start = min(max(lo, first + w - 1), hi)
    for i in range(lo, start):
        top[i] = NAN
        bottom[i] = NAN
    if start >= hi:
        return
    a = m[so]
    b = m[so + 1]
    taken = int(m[so + 2])  # rows of the present run; 0 before the first
    i = start
    if taken == 0:  # the first full window is the first run
        a = above[i]
        b = below[i]
        for j in range(i - w + 1, i):
            a = max(a, above[j])
            b = min(b, below[j])
        top[i] = a
        bottom[i] = b
        taken = w
        i += 1
    while i < hi:
        if taken == w:
            a = -np.inf
            b = np.inf
            for j in range(w - 1, -1, -1):
                a = max(a, above[i - w + j])
                b = min(b, below[i - w + j])
                tail_top[j] = a
                tail_bottom[j] = b
            a = -np.inf
            b = np.inf
            taken = 0
        count = min(hi - i, w - taken)
        x = above[i : i + count]
        z = below[i : i + count]
        rest = min(count, w - 1 - taken)
        c = tail_top[taken + 1 :]
        d = tail_bottom[taken + 1 :]
        y = top[i : i + count]
        u = bottom[i : i + count]
        for j in range(rest):
            a = max(a, x[j])
            b = min(b, z[j])
            y[j] = max(a, c[j])
            u[j] = min(b, d[j])
        if rest < count:
            a = max(a, x[rest])
            b = min(b, z[rest])
            y[rest] = a
            u[rest] = b
        i += count
        taken += count
    m[so] = a
    m[so + 1] = b
    m[so + 2] = taken


@inner
def ages(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """How many rows ago the highest of the first input, and the lowest of the second, was last reached in `w` rows.

    In runs, as `extremes`; beside each extreme stands its row's position in its run.
    """
    w = t[k + INT]
    above = m[t[k + IN] :]
    below = m[t[k + IN + 1] :]
    top_age = m[oo:]
    bottom_age = m[oo + t[k + LENGTH] :]
    tail = m[so + 5 : so + 5 + 4 * w]  # highest to the run's end, where; lowest to the run's end, where
    start = min(max(lo, first + w - 1), hi)
    for i in range(lo, start):
        top_age[i] = NAN
        bottom_age[i] = NAN
    if start >= hi:
        return
    a = m[so]
    b = m[so + 1]
    a_at = m[so + 2]
    b_at = m[so + 3]
    taken = int(m[so + 4])
    i = start
    if taken == 0:
        a = -np.inf
        b = np.inf
        for j in range(w):
            x = above[i - w + 1 + j]
            z = below[i - w + 1 + j]
            if x >= a:
                a = x
                a_at = float(j)
            if z <= b:
                b = z
                b_at = float(j)
        top_age[i] = w - 1 - a_at
        bottom_age[i] = w - 1 - b_at
        taken = w
        i += 1
    while i < hi:
        if taken == w:
            a = -np.inf
            b = np.inf
            for j in range(w - 1, -1, -1):
                if above[i - w + j] > a:
                    a = above[i - w + j]
                    a_at = float(j)
                if below[i - w + j] < b:
                    b = below[i - w + j]
                    b_at = float(j)
                tail[j] = a
                tail[w + j] = a_at
                tail[2 * w + j] = b
                tail[3 * w + j] = b_at
            a = -np.inf
            b = np.inf
            taken = 0
        x = above[i]
        z = below[i]
        now = float(taken)
        a_at = now if x >= a else a_at
        a = max(a, x)
        b_at = now if z <= b else b_at
        b = min(b, z)
        taken += 1
        top_age[i] = now - a_at
        bottom_age[i] = now - b_at
        if taken < w:
            if tail[taken] > a:
                top_age[i] = now + w - tail[w + taken]
            if tail[2 * w + taken] < b:
                bottom_age[i] = now + w - tail[3 * w + taken]
        i += 1
    m[so] = a
    m[so + 1] = b
    m[so + 2] = a_at
    m[so + 3] = b_at
    m[so + 4] = taken


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
    if power:
        for j in range(i, n):
            value = x[j] * x[j]
            if value == value:
                e = alpha * value + keep * e
                y[j] = e
            else:
                y[j] = NAN
    else:
        for j in range(i, n):
            value = x[j]
            if value == value:
                e = alpha * value + keep * e
                y[j] = e
            else:
                y[j] = NAN
    if power == 2:
        for j in range(n):
            y[j] = sqrt(y[j])
    m[so] = e
    m[so + 1] = count


@inner
def slope(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Least-squares line through the last `w` rows: slope per row, and R squared (NaN when all rows are equal)."""
    w = t[k + INT]
    x = m[t[k + IN] :]
    y = m[oo:]
    z = m[oo + t[k + LENGTH] :]
    start = min(max(lo, first + w - 1), hi)
    for i in range(lo, start):
        y[i] = NAN
        z[i] = NAN
    if start >= hi:
        return
    s = m[so]
    s2 = m[so + 1]
    sk = m[so + 2]  # sum of (position in the window, from 0) times value
    run = int(m[so + 3])
    middle = m[so + 4]
    again = fresh != 0 or run == 0
    mid = (w - 1) / 2.0
    spread_k = w * (w * float(w) - 1.0) / 12.0
    for i in range(start, hi):
        if not again:
            d = x[i] - middle
            e = x[i - w] - middle
            sk += (w - 1) * d - (s - e)
            s += d - e
            s2 += d * d - e * e
            run = run + 1 if x[i] == x[i - 1] else 1
            again = s != s or e * e > 1e4 * s2 or s * s > 0.999 * w * s2
        if again:
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
            y[i] = 0.0
            z[i] = NAN
            continue
        covariance = sk - mid * s
        variance = s2 - s * s / w
        y[i] = covariance / spread_k
        z[i] = min(covariance * covariance / (spread_k * variance), 1.0) if variance > 0.0 else NAN
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
    for i in range(lo, start):
        covariance[i] = NAN
        correlation[i] = NAN
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
