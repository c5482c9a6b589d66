"""Oscillators that are recursions of their own: relative strength, directional movement."""

from __future__ import annotations

from typing import Any

import numpy as np

from ares.kernels.jit import inner
from ares.kernels.layout import FLOATS, IN, INT, LENGTH
from ares.kernels.moving import whole
from ares.kernels.native import fused

NAN = np.nan

RSI, DIRECTION, CCI, SUPERTREND, MFI = range(20, 25)

CHUNK = 64  # rows of `cci` that are worked on side by side
CCI_STATE = 2 * CHUNK


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
        n = hi - i
        for j in range(n):
            out[j] = alpha * (now[j] - before[j])
        if whole(out, 0, n):
            for j in range(n):
                up = fused(keep, up, max(out[j], 0.0))
                down = fused(keep, down, max(-out[j], 0.0))
                both = up + down
                out[j] = up / both if both > 0.0 else NAN
        else:
            for j in range(n):
                if out[j] == out[j]:
                    up = fused(keep, up, max(out[j], 0.0))
                    down = fused(keep, down, max(-out[j], 0.0))
                    both = up + down
                    out[j] = up / both if both > 0.0 else NAN
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
    alpha = 1.0 / w
    keep = 1.0 - alpha
    i = lo
    while i < hi and (i <= first or count < w - 1.0):  # Wilder's sums are begun with the first w - 1 moves
        adx[i] = NAN
        plus_out[i] = NAN
        minus_out[i] = NAN
        if i > first:
            rise = high[i] - high[i - 1]
            fall = low[i - 1] - low[i]
            plus += max(rise, 0.0) if rise > fall else 0.0
            minus += max(fall, 0.0) if fall > rise else 0.0
            reach += max(high[i], close[i - 1]) - min(low[i], close[i - 1])
            count += 1.0
        i += 1
    n = hi - i
    if n > 0:
        top = high[i:hi]
        top_before = high[i - 1 :]
        bottom = low[i:hi]
        bottom_before = low[i - 1 :]
        before = close[i - 1 :]
        p = plus_out[i:hi]  # moves, then their sums, then indicators: each step in its own loop, side by side
        q = minus_out[i:hi]
        r = adx[i:hi]
        for j in range(n):
            rise = top[j] - top_before[j]
            fall = bottom_before[j] - bottom[j]
            p[j] = max(rise, 0.0) if rise > fall else 0.0
        for j in range(n):
            rise = top[j] - top_before[j]
            fall = bottom_before[j] - bottom[j]
            q[j] = max(fall, 0.0) if fall > rise else 0.0
        for j in range(n):
            r[j] = max(top[j], before[j]) - min(bottom[j], before[j])
        for j in range(n):
            plus = fused(keep, plus, p[j])
            minus = fused(keep, minus, q[j])
            reach = fused(keep, reach, r[j])
            p[j] = plus
            q[j] = minus
            r[j] = reach
        for j in range(n):
            both = p[j] + q[j]
            apart = abs(p[j] - q[j]) / both if both > 0.0 else 0.0
            share = 1.0 / r[j] if r[j] > 0.0 else NAN
            p[j] *= share
            q[j] *= share
            r[j] = apart if share == share else NAN
        for j in range(n):
            apart = r[j]
            if apart == apart:
                if seen >= w:
                    mean = fused(keep, mean, alpha * apart)
                    r[j] = mean
                else:
                    mean += apart
                    seen += 1.0
                    r[j] = NAN
                    if seen == w:
                        mean /= w
                        r[j] = mean
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
    total = m[so : so + CHUNK]
    apart = m[so + CHUNK : so + 2 * CHUNK]
    even = w - w % 4
    begin = max(lo, first + w - 1)
    while begin < hi:  # rows side by side; the order of addition within a row is part of the definition
        n = min(hi - begin, CHUNK)
        oldest = begin - w + 1
        for i in range(n):
            total[i] = 0.0
            apart[i] = 0.0
        for j in range(oldest, oldest + even, 4):
            a = x[j:]
            b = x[j + 1 :]
            c = x[j + 2 :]
            d = x[j + 3 :]
            for i in range(n):
                total[i] += (a[i] + b[i]) + (c[i] + d[i])
        for j in range(oldest + even, oldest + w):
            a = x[j:]
            for i in range(n):
                total[i] += a[i]
        for i in range(n):
            total[i] /= w
        for j in range(oldest, oldest + even, 4):
            a = x[j:]
            b = x[j + 1 :]
            c = x[j + 2 :]
            d = x[j + 3 :]
            for i in range(n):
                z = total[i]
                apart[i] += (abs(a[i] - z) + abs(b[i] - z)) + (abs(c[i] - z) + abs(d[i] - z))
        for j in range(oldest + even, oldest + w):
            a = x[j:]
            for i in range(n):
                apart[i] += abs(a[i] - total[i])
        now = x[begin:hi]
        out = y[begin:hi]
        for i in range(n):
            z = total[i]
            least = 1e-12 * abs(w * z)
            out[i] = (now[i] - z) * w / apart[i] if apart[i] > least else (0.0 if apart[i] == apart[i] else NAN)
        begin += n


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
            elif side < 0.0 and close[i] > upper:
                side = 1.0
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
    start = min(max(lo, first + w), hi)
    at = t[k + IN] + start
    now = m[at:]
    before = m[at - 1 :]
    then = m[at - w :]
    then_before = m[at - w - 1 :]
    traded = m[t[k + IN + 1] + start :]
    traded_then = m[t[k + IN + 1] + start - w :]
    out = y[start:hi]
    for row in range(hi - start):
        if not again:
            flow = now[row] * traded[row]
            step = now[row] - before[row]
            least = 1e-12 * now[row]
            old = then[row] * traded_then[row]
            back = then[row] - then_before[row]
            lesser = 1e-12 * then[row]
            up += (flow if step > least else 0.0) - (old if back > lesser else 0.0)
            down += (flow if step < -least else 0.0) - (old if back < -lesser else 0.0)
            again = not old <= 1e4 * (up + down)
        if again:
            i = start + row
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
        out[row] = min(max(up / both, 0.0), 1.0) if both > 0.0 else NAN
    m[so] = up
    m[so + 1] = down
