"""Oscillators that are recursions of their own: relative strength, directional movement."""

from __future__ import annotations

from typing import Any

import numpy as np

from ares.kernels.jit import inner
from ares.kernels.layout import FLOATS, IN, INT, LENGTH

NAN = np.nan

RSI, DIRECTION, CCI, SUPERTREND, MFI = range(20, 25)


@inner
def rsi(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Wilder's relative strength index of the input's differences over `w` rows, in [0, 1]; NaN when nothing moved."""
    w = t[k + INT]
    x = m[t[k + IN] :]
    y = m[oo:]
    up = m[so]
    down = m[so + 1]
    count = m[so + 2]
    alpha = 1.0 / w
    keep = 1.0 - alpha
    i = lo
    while i < hi and count < w:
        y[i] = NAN
        if i > first:
            d = x[i] - x[i - 1]
            if d == d:
                up += max(d, 0.0)
                down += max(-d, 0.0)
                count += 1.0
            if count == w:
                up /= w
                down /= w
                y[i] = up / (up + down) if up + down > 0.0 else NAN
        i += 1
    if i < hi:
        now = x[i:hi]
        before = x[i - 1 :]
        out = y[i:hi]
        for j in range(hi - i):
            d = now[j] - before[j]
            if d == d:
                up = alpha * max(d, 0.0) + keep * up
                down = alpha * max(-d, 0.0) + keep * down
                both = up + down
                out[j] = up / both if both > 0.0 else NAN
            else:
                out[j] = NAN
    m[so] = up
    m[so + 1] = down
    m[so + 2] = count


@inner
def direction(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Wilder's directional movement over `w` rows from high, low, close: ADX, +DI, -DI, each in [0, 1]."""
    w = t[k + INT]
    length = t[k + LENGTH]
    high = m[t[k + IN] :]
    low = m[t[k + IN + 1] :]
    close = m[t[k + IN + 2] :]
    adx = m[oo:]
    plus_out = m[oo + length :]
    minus_out = m[oo + 2 * length :]
    plus = m[so]
    minus = m[so + 1]
    reach = m[so + 2]
    count = m[so + 3]
    mean = m[so + 4]
    seen = m[so + 5]
    keep = 1.0 - 1.0 / w
    alpha = 1.0 / w
    for i in range(lo, hi):
        adx[i] = NAN
        plus_out[i] = NAN
        minus_out[i] = NAN
        if i <= first:
            continue
        rise = high[i] - high[i - 1]
        fall = low[i - 1] - low[i]
        before = close[i - 1]
        true_range = max(high[i], before) - min(low[i], before)
        p = rise if rise > fall and rise > 0.0 else 0.0
        q = fall if fall > rise and fall > 0.0 else 0.0
        count += 1.0
        if count < w:  # Wilder's sums are begun with the first w - 1 moves
            plus += p
            minus += q
            reach += true_range
            continue
        plus = keep * plus + p
        minus = keep * minus + q
        reach = keep * reach + true_range
        if reach <= 0.0:
            continue
        plus_out[i] = plus / reach
        minus_out[i] = minus / reach
        both = plus + minus
        apart = abs(plus - minus) / both if both > 0.0 else 0.0
        if seen >= w:
            mean = alpha * apart + keep * mean
            adx[i] = mean
        else:
            mean += apart
            seen += 1.0
            if seen == w:
                mean /= w
                adx[i] = mean
    m[so] = plus
    m[so + 1] = minus
    m[so + 2] = reach
    m[so + 3] = count
    m[so + 4] = mean
    m[so + 5] = seen


@inner
def cci(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Distance of the input from its mean over `w` rows, in mean absolute deviations; 0 when all are equal."""
    w = t[k + INT]
    x = m[t[k + IN] :]
    y = m[oo:]
    even = w - w % 4
    for i in range(max(lo, first + w - 1), hi):
        z = x[i - w + 1 : i + 1]
        a = 0.0  # four sums side by side: the order of addition is part of the definition
        b = 0.0
        c = 0.0
        d = 0.0
        for j in range(0, even, 4):
            a += z[j]
            b += z[j + 1]
            c += z[j + 2]
            d += z[j + 3]
        for j in range(even, w):
            a += z[j]
        total = (a + b) + (c + d)
        middle = total / w
        a = 0.0
        b = 0.0
        c = 0.0
        d = 0.0
        for j in range(0, even, 4):
            a += abs(z[j] - middle)
            b += abs(z[j + 1] - middle)
            c += abs(z[j + 2] - middle)
            d += abs(z[j + 3] - middle)
        for j in range(even, w):
            a += abs(z[j] - middle)
        apart = (a + b) + (c + d)
        y[i] = (x[i] - middle) * w / apart if apart > 1e-12 * abs(total) else (0.0 if apart == apart else NAN)


@inner
def supertrend(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """The trailing band that price must cross to turn the trend: inputs high, low, close, ATR; outputs band and side.

    The upper band only falls and the lower only rises until the close crosses it. Begun as rising.
    """
    factor = m[t[k + FLOATS]]
    high = m[t[k + IN] :]
    low = m[t[k + IN + 1] :]
    close = m[t[k + IN + 2] :]
    atr = m[t[k + IN + 3] :]
    band = m[oo:]
    side_out = m[oo + t[k + LENGTH] :]
    upper = m[so]
    lower = m[so + 1]
    side = m[so + 2]
    for i in range(lo, hi):
        if not atr[i] == atr[i]:
            band[i] = NAN
            side_out[i] = NAN
            continue
        middle = (high[i] + low[i]) / 2.0
        above = middle + factor * atr[i]
        below = middle - factor * atr[i]
        if side == 0.0:
            upper = above
            lower = below
            side = 1.0
        else:
            before = close[i - 1]
            upper = above if above < upper or before > upper else upper
            lower = below if below > lower or before < lower else lower
            if side > 0.0 and close[i] < lower:
                side = -1.0
                upper = above
            elif side < 0.0 and close[i] > upper:
                side = 1.0
                lower = below
        band[i] = lower if side > 0.0 else upper
        side_out[i] = side
    m[so] = upper
    m[so + 1] = lower
    m[so + 2] = side


@inner
def mfi(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Share of money flow (inputs: typical price, volume) on rising rows over `w` rows, in [0, 1]; NaN without flow.

    Typical prices that differ by less than 1e-12 of their size are equal: the sum of three prices is rounded.
    """
    w = t[k + INT]
    x = m[t[k + IN] :]
    volume = m[t[k + IN + 1] :]
    y = m[oo:]
    up = m[so]
    down = m[so + 1]
    again = fresh != 0 or m[so + 2] == 0.0
    for i in range(max(lo, first + w), hi):
        if not again:
            flow = x[i] * volume[i]
            step = x[i] - x[i - 1]
            least = 1e-12 * x[i]
            up += flow if step > least else 0.0
            down += flow if step < -least else 0.0
            j = i - w
            flow = x[j] * volume[j]
            step = x[j] - x[j - 1]
            least = 1e-12 * x[j]
            up -= flow if step > least else 0.0
            down -= flow if step < -least else 0.0
            again = not flow <= 1e4 * (up + down)
        if again:
            up = 0.0
            down = 0.0
            for j in range(i - w + 1, i + 1):
                flow = x[j] * volume[j]
                step = x[j] - x[j - 1]
                least = 1e-12 * x[j]
                up += flow if step > least else 0.0
                down += flow if step < -least else 0.0
            again = False
            m[so + 2] = 1.0
        both = up + down
        y[i] = min(max(up / both, 0.0), 1.0) if both > 0.0 else NAN
    m[so] = up
    m[so + 1] = down
