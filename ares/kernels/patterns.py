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
        p = i - 1
        q = i - 2
        body = abs(c[i] - o[i])
        body_p = abs(c[p] - o[p])
        body_q = abs(c[q] - o[q])
        side = 1.0 if c[i] >= o[i] else -1.0
        side_p = 1.0 if c[p] >= o[p] else -1.0
        side_q = 1.0 if c[q] >= o[q] else -1.0
        top = max(c[i], o[i])
        bottom = min(c[i], o[i])
        top_p = max(c[p], o[p])
        bottom_p = min(c[p], o[p])
        top_q = max(c[q], o[q])
        bottom_q = min(c[q], o[q])
        upper = h[i] - top
        lower = bottom - d[i]
        tiny = 0.1 * range10[i]  # a shadow below this is very short
        doji = body <= 0.1 * range10[i]
        short = body < body10[i]
        long = body > body10[i]
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
            if bottom <= d[p] + 0.2 * range5[p]:
                m[oo + 5 * length + i] = 1.0
            if bottom >= h[p] - 0.2 * range5[p]:
                m[oo + 6 * length + i] = -1.0
        if short and upper > body and lower < tiny:
            if top < bottom_p:
                m[oo + 7 * length + i] = 1.0
            if bottom > top_p:
                m[oo + 8 * length + i] = -1.0
        if side != side_p:
            covers = (c[i] >= o[p] and o[i] < c[p]) or (c[i] > o[p] and o[i] <= c[p])
            covered = (o[i] >= c[p] and c[i] < o[p]) or (o[i] > c[p] and c[i] <= o[p])
            if (side > 0.0 and covers) or (side < 0.0 and covered):
                full = o[i] != c[p] and c[i] != o[p]
                m[oo + 9 * length + i] = side if full else 0.8 * side
        if body_p > body10[p] and body <= body10[i]:
            if top < top_p and bottom > bottom_p:
                m[oo + 10 * length + i] = -side_p
            elif top <= top_p and bottom >= bottom_p:
                m[oo + 10 * length + i] = -0.8 * side_p
        if side_p < 0.0 and side > 0.0 and body_p > body10[p] and long:
            if o[i] < d[p] and c[i] < o[p] and c[i] > c[p] + 0.5 * body_p:
                m[oo + 11 * length + i] = 1.0
        if side_p > 0.0 and side < 0.0 and body_p > body10[p]:
            if o[i] > h[p] and c[i] > o[p] and c[i] < c[p] - 0.5 * body_p:
                m[oo + 12 * length + i] = -1.0
        if body_q > body10[q] and body_p <= body10[p] and long:
            if side_q < 0.0 and top_p < bottom_q and side > 0.0 and c[i] > c[q] + 0.3 * body_q:
                m[oo + 13 * length + i] = 1.0
            if side_q > 0.0 and bottom_p > top_q and side < 0.0 and c[i] < c[q] - 0.3 * body_q:
                m[oo + 14 * length + i] = -1.0
        if side > 0.0 and side_p > 0.0 and side_q > 0.0:
            soft = h[q] - c[q] < 0.1 * range10[q] and h[p] - c[p] < 0.1 * range10[p] and h[i] - c[i] < tiny
            rising = c[i] > c[p] and c[p] > c[q]
            opens_p = o[p] > o[q] and o[p] <= c[q] + 0.2 * range5[q]
            opens = o[i] > o[p] and o[i] <= c[p] + 0.2 * range5[p]
            sizes = body_p > body_q - 0.6 * range5[q] and body > body_p - 0.6 * range5[p]
            if soft and rising and opens_p and opens and sizes and body > body10[i]:
                m[oo + 15 * length + i] = 1.0
        r = i - 3
        if side < 0.0 and side_p < 0.0 and side_q < 0.0 and c[r] >= o[r]:
            soft = c[q] - d[q] < 0.1 * range10[q] and c[p] - d[p] < 0.1 * range10[p] and c[i] - d[i] < tiny
            opens = o[p] < o[q] and o[p] > c[q] and o[i] < o[p] and o[i] > c[p]
            if soft and opens and h[r] > c[q] and c[q] > c[p] and c[p] > c[i]:
                m[oo + 16 * length + i] = -1.0
        if body_q > body10[q] and body_p <= body10[p] and top_p < top_q and bottom_p > bottom_q:
            if side_q > 0.0 and side < 0.0 and c[i] < o[q]:
                m[oo + 17 * length + i] = -1.0
            if side_q < 0.0 and side > 0.0 and c[i] > o[q]:
                m[oo + 17 * length + i] = 1.0
        if side_p > 0.0 and side_q < 0.0 and c[p] > o[q] and o[p] < c[q] and c[i] > c[p]:
            m[oo + 18 * length + i] = 1.0
        if side_p < 0.0 and side_q > 0.0 and o[p] > c[q] and c[p] < o[q] and c[i] < c[p]:
            m[oo + 18 * length + i] = -1.0
        if long and ((side > 0.0 and lower < tiny) or (side < 0.0 and upper < tiny)):
            m[oo + 19 * length + i] = side
