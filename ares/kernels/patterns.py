"""Candlestick patterns, with the proportions that TA-Lib uses.

A body is long, short or a doji, a shadow long or short, against the mean of the ten bars before it; "near" and "equal"
are shares of the mean range of the five bars before. A pattern is 1 when bullish, -1 when bearish, 0 when absent.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ares.kernels.jit import inner
from ares.kernels.layout import IN, LENGTH

NAN = np.nan

CANDLES, PATTERNS = range(120, 122)
LOOKBACK = 14  # rows before the first row of patterns: ten bars of averages before the first of up to five bars

NAMES = (
    "doji",
    "dragonfly_doji",
    "gravestone_doji",
    "spinning_top",
    "marubozu",
    "hammer",
    "hanging_man",
    "inverted_hammer",
    "shooting_star",
    "engulfing",
    "harami",
    "piercing",
    "dark_cloud_cover",
    "morning_star",
    "evening_star",
    "three_white_soldiers",
    "three_black_crows",
    "three_inside",
    "three_outside",
    "belt_hold",
)


@inner
def candles(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Means over the bars before each row: body of ten, range of ten, range of five."""
    open_ = m[t[k + IN] :]
    high = m[t[k + IN + 1] :]
    low = m[t[k + IN + 2] :]
    close = m[t[k + IN + 3] :]
    length = t[k + LENGTH]
    for i in range(max(lo, first + 10), hi):
        body = 0.0
        reach = 0.0
        near = 0.0
        for j in range(i - 10, i):
            b = abs(close[j] - open_[j])
            r = high[j] - low[j]
            body += b
            reach += r
            if j >= i - 5:
                near += r
        m[oo + i] = body / 10.0
        m[oo + length + i] = reach / 10.0
        m[oo + 2 * length + i] = near / 5.0


@inner
def patterns(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """All patterns of `NAMES`, in that order. Inputs: open, high, low, close and the three means of `candles`."""
    o = m[t[k + IN] :]
    h = m[t[k + IN + 1] :]
    d = m[t[k + IN + 2] :]
    c = m[t[k + IN + 3] :]
    body10 = m[t[k + IN + 4] :]
    range10 = m[t[k + IN + 5] :]
    range5 = m[t[k + IN + 6] :]
    length = t[k + LENGTH]
    lo = max(lo, first + 4)
    for j in range(20):
        for i in range(lo, hi):
            m[oo + j * length + i] = 0.0
    for i in range(lo, hi):
        p = i - 1  # each price is read once: a read costs more to compile than all that is done with it
        q = i - 2
        o0 = o[i]
        o1 = o[p]
        o2 = o[q]
        h0 = h[i]
        h1 = h[p]
        h2 = h[q]
        d0 = d[i]
        d1 = d[p]
        d2 = d[q]
        c0 = c[i]
        c1 = c[p]
        c2 = c[q]
        usual0 = body10[i]
        usual1 = body10[p]
        usual2 = body10[q]
        reach0 = range10[i]
        reach1 = range10[p]
        reach2 = range10[q]
        near1 = range5[p]
        near2 = range5[q]
        body = abs(c0 - o0)
        body_p = abs(c1 - o1)
        body_q = abs(c2 - o2)
        side = 1.0 if c0 >= o0 else -1.0
        side_p = 1.0 if c1 >= o1 else -1.0
        side_q = 1.0 if c2 >= o2 else -1.0
        top = max(c0, o0)
        bottom = min(c0, o0)
        top_p = max(c1, o1)
        bottom_p = min(c1, o1)
        top_q = max(c2, o2)
        bottom_q = min(c2, o2)
        upper = h0 - top
        lower = bottom - d0
        tiny = 0.1 * reach0  # a shadow below this is very short
        doji = body <= 0.1 * reach0
        short = body < usual0
        long = body > usual0
        if doji:
            m[oo + i] = 1.0
            if upper < tiny and lower > tiny:
                m[oo + length + i] = 1.0
            if lower < tiny and upper > tiny:
                m[oo + 2 * length + i] = 1.0
        if short and upper > body and lower > body:
            m[oo + 3 * length + i] = side
        if long and upper < tiny and lower < tiny:
            m[oo + 4 * length + i] = side
        if short and lower > body and upper < tiny:
            if bottom <= d1 + 0.2 * near1:
                m[oo + 5 * length + i] = 1.0
            if bottom >= h1 - 0.2 * near1:
                m[oo + 6 * length + i] = -1.0
        if short and upper > body and lower < tiny:
            if top < bottom_p:
                m[oo + 7 * length + i] = 1.0
            if bottom > top_p:
                m[oo + 8 * length + i] = -1.0
        if side != side_p:
            covers = (c0 >= o1 and o0 < c1) or (c0 > o1 and o0 <= c1)
            covered = (o0 >= c1 and c0 < o1) or (o0 > c1 and c0 <= o1)
            if (side > 0.0 and covers) or (side < 0.0 and covered):
                full = o0 != c1 and c0 != o1
                m[oo + 9 * length + i] = side if full else 0.8 * side
        if body_p > usual1 and body <= usual0:
            if top < top_p and bottom > bottom_p:
                m[oo + 10 * length + i] = -side_p
            elif top <= top_p and bottom >= bottom_p:
                m[oo + 10 * length + i] = -0.8 * side_p
        if side_p < 0.0 and side > 0.0 and body_p > usual1 and long:
            if o0 < d1 and c0 < o1 and c0 > c1 + 0.5 * body_p:
                m[oo + 11 * length + i] = 1.0
        if side_p > 0.0 and side < 0.0 and body_p > usual1:
            if o0 > h1 and c0 > o1 and c0 < c1 - 0.5 * body_p:
                m[oo + 12 * length + i] = -1.0
        if body_q > usual2 and body_p <= usual1 and long:
            if side_q < 0.0 and top_p < bottom_q and side > 0.0 and c0 > c2 + 0.3 * body_q:
                m[oo + 13 * length + i] = 1.0
            if side_q > 0.0 and bottom_p > top_q and side < 0.0 and c0 < c2 - 0.3 * body_q:
                m[oo + 14 * length + i] = -1.0
        if side > 0.0 and side_p > 0.0 and side_q > 0.0:
            soft = h2 - c2 < 0.1 * reach2 and h1 - c1 < 0.1 * reach1 and h0 - c0 < tiny
            rising = c0 > c1 and c1 > c2
            opens_p = o1 > o2 and o1 <= c2 + 0.2 * near2
            opens = o0 > o1 and o0 <= c1 + 0.2 * near1
            sizes = body_p > body_q - 0.6 * near2 and body > body_p - 0.6 * near1
            if soft and rising and opens_p and opens and sizes and body > usual0:
                m[oo + 15 * length + i] = 1.0
        r = i - 3
        if side < 0.0 and side_p < 0.0 and side_q < 0.0 and c[r] >= o[r]:
            soft = c2 - d2 < 0.1 * reach2 and c1 - d1 < 0.1 * reach1 and c0 - d0 < tiny
            opens = o1 < o2 and o1 > c2 and o0 < o1 and o0 > c1
            if soft and opens and h[r] > c2 and c2 > c1 and c1 > c0:
                m[oo + 16 * length + i] = -1.0
        if body_q > usual2 and body_p <= usual1 and top_p < top_q and bottom_p > bottom_q:
            if side_q > 0.0 and side < 0.0 and c0 < o2:
                m[oo + 17 * length + i] = -1.0
            if side_q < 0.0 and side > 0.0 and c0 > o2:
                m[oo + 17 * length + i] = 1.0
        if side_p > 0.0 and side_q < 0.0 and c1 > o2 and o1 < c2 and c0 > c1:
            m[oo + 18 * length + i] = 1.0
        if side_p < 0.0 and side_q > 0.0 and o1 > c2 and c1 < o2 and c0 < c1:
            m[oo + 18 * length + i] = -1.0
        if long and ((side > 0.0 and lower < tiny) or (side < 0.0 and upper < tiny)):
            m[oo + 19 * length + i] = side
