"""Rule detectors and how often each has been right of late, counted on matured outcomes only."""

from __future__ import annotations

from typing import Any

import numpy as np

from ares.kernels.jit import inner
from ares.kernels.layout import IN, INT

NAN = np.nan

DETECT, SUCCESS = range(140, 142)

# detectors, in the order of their mode
CONTINUATION, EXHAUSTION, REVERSION, BREAKOUT, FAILED_BREAKOUT, EXPANSION, CLIMAX, PULLBACK = range(8)
ROUNDING = 1e-9  # by less than this nothing is beyond a threshold: it lies on it, but for rounding


@inner
def detect(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Signed intensity of one detector: the sign is the side it favours, 0 when it does not fire, NaN without inputs.

    Inputs by mode. Continuation: distance from a slow and a fast mean in ATR, ADX. Exhaustion: RSI, 8-bar return in
    volatilities. Reversion: Bollinger z. Breakout and failed breakout: high, low, close, highest and lowest of the
    channel before this bar, ATR. Expansion: Bollinger width over its mean one bar ago, body in ATR. Climax: volume z,
    body in ATR. Pullback: distance from a slow and a fast mean in ATR, RSI.
    """
    mode = t[k + INT]
    a = m[t[k + IN] :]
    b = m[t[k + IN + 1] :]
    c = m[t[k + IN + 2] :]
    d = m[t[k + IN + 3] :]
    e = m[t[k + IN + 4] :]
    f = m[t[k + IN + 5] :]
    y = m[oo:]
    for i in range(lo, hi):
        total = a[i] + b[i] + c[i] + d[i] + e[i] + f[i]
        if total != total:
            y[i] = NAN
            continue
        x = 0.0
        if mode == CONTINUATION:
            if c[i] > 0.25 and a[i] * b[i] > 0.0:
                x = a[i] * c[i]
        elif mode == EXHAUSTION:
            if a[i] - 0.7 > ROUNDING and b[i] > 2.0:
                x = -(a[i] - 0.7) / 0.3
            elif 0.3 - a[i] > ROUNDING and b[i] < -2.0:
                x = (0.3 - a[i]) / 0.3
        elif mode == REVERSION:
            if a[i] - 2.0 > ROUNDING:
                x = 2.0 - a[i]
            elif -2.0 - a[i] > ROUNDING:
                x = -2.0 - a[i]
        elif mode == BREAKOUT:
            if c[i] > d[i]:
                x = (c[i] - d[i]) / f[i]
            elif c[i] < e[i]:
                x = (c[i] - e[i]) / f[i]
        elif mode == FAILED_BREAKOUT:
            if a[i] > d[i] and c[i] < d[i]:
                x = -(a[i] - d[i]) / f[i]
            elif b[i] < e[i] and c[i] > e[i]:
                x = (e[i] - b[i]) / f[i]
        elif mode == EXPANSION:
            if 0.8 - a[i] > ROUNDING and abs(b[i]) > 1.0:
                x = b[i] * (0.8 - a[i])
        elif mode == CLIMAX:
            if a[i] - 2.0 > ROUNDING and abs(b[i]) > 1.0:
                x = -b[i] * (a[i] - 2.0)
        elif mode == PULLBACK:
            if a[i] > 1.0 and b[i] < 0.0 and c[i] < 0.5:
                x = -b[i]
            elif a[i] < -1.0 and b[i] > 0.0 and c[i] > 0.5:
                x = -b[i]
        y[i] = x if -1e300 < x < 1e300 else NAN


@inner
def success(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Share of a detector's signals that were followed by a move its way, of those matured in the last `w` rows.

    Inputs: signed intensity, log close. A signal of row j matures at row j + horizon, right when the log close has
    moved to its side by then; a signal less than `horizon` rows old counts for nothing. With h right of n: (h + 1) /
    (n + 2), so that no evidence is 0.5. Parameters: horizon, w. Counts are whole numbers: no drift.
    """
    horizon = t[k + INT]
    w = t[k + INT + 1]
    x = m[t[k + IN] :]
    price = m[t[k + IN + 1] :]
    y = m[oo:]
    right = m[so]
    known = m[so + 1]
    again = fresh != 0 or m[so + 2] == 0.0
    for i in range(max(lo, first + horizon + w - 1), hi):
        begin = i - w + 1 if again else i
        if again:
            right = 0.0
            known = 0.0
            again = False
            m[so + 2] = 1.0
        else:
            old = i - w
            s = x[old - horizon]
            if s != 0.0 and s == s:
                known -= 1.0
                if s * (price[old] - price[old - horizon]) > 0.0:
                    right -= 1.0
        for j in range(begin, i + 1):
            s = x[j - horizon]
            if s != 0.0 and s == s:
                known += 1.0
                if s * (price[j] - price[j - horizon]) > 0.0:
                    right += 1.0
        y[i] = (right + 1.0) / (known + 2.0)
    m[so] = right
    m[so + 1] = known
