"""Arithmetic on rows as they are, or on a row and an earlier one."""

from __future__ import annotations

from math import log, sqrt
from typing import Any

import numpy as np

from ares.kernels.jit import inner
from ares.kernels.layout import FLOATS, IN, INT, N_IN

NAN = np.nan

COMBINE, LAGGED = range(180, 182)

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
def one(mode: int, a: float, b: float, c: float, p: float, q: float) -> float:
    """One row in the less frequent modes."""
    y = NAN
    if mode == TIMES:
        y = a * b
    elif mode == PLUS:
        y = a + b
    elif mode == LOG:
        if a > 0.0:
            y = log(a)
    elif mode == LOG_RATIO:
        if a > 0.0 and b > 0.0:
            y = log(a / b)
    elif mode == ROOT:
        if a >= 0.0:
            y = sqrt(a)
    elif mode == SQUARE:
        y = a * a
    elif mode == RATIO_LESS_ONE:
        if b != 0.0:
            y = a / b - 1.0
    elif mode == SHARE:  # a's share of a + b
        if a + b != 0.0:
            y = a / (a + b)
    elif mode == ABSOLUTE:
        y = abs(a)
    elif mode == HALF_SPREAD:  # 2 sqrt(-a), 0 for a above 0
        if a == a:
            y = 2.0 * sqrt(max(-a, 0.0))
    elif a == a:
        if mode == CLIP:
            y = min(max(a, p), q)
        elif mode == SIGN:
            y = 1.0 if a > 0.0 else (-1.0 if a < 0.0 else 0.0)
    return y


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
    elif mode == POSITION:  # where a lies between b (0) and c (1)
        for i in range(n):
            y[i] = (a[i] - b[i]) / (c[i] - b[i]) if c[i] - b[i] != 0.0 else NAN
    elif mode == AFFINE:
        for i in range(n):
            y[i] = p * a[i] + q
    elif mode == THIRD:  # mean of three
        for i in range(n):
            y[i] = (a[i] + b[i] + c[i]) / 3.0
    else:
        for i in range(n):
            y[i] = one(mode, a[i], b[i], c[i], p, q)


@inner
def lagged(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Row `i` against row `i - w`: mode 0 the difference, 1 the ratio less one, 2 the earlier value itself."""
    w = t[k + INT]
    mode = t[k + INT + 1]
    x = m[t[k + IN] :]
    y = m[oo:]
    start = min(max(lo, first + w), hi)
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
