"""Support and resistance: confirmed pivots gathered into levels, and a fading profile of volume by price."""

from __future__ import annotations

from math import floor, log, log2
from typing import Any

import numpy as np

from ares.kernels.jit import inner
from ares.kernels.layout import FLOATS, IN, INT, LENGTH

NAN = np.nan

PIVOTS, PROFILE, GIVEN = range(160, 163)

LEVELS = 12  # levels kept; the weakest makes room
FAR = 10.0  # ATR; a level farther away counts as none
LEVEL = 4  # price, strength, touches, rows since the last touch
PIVOT_OUTPUTS = 8
BINS = 64  # price bins of the volume profile
PROFILE_OUTPUTS = 3


@inner
def pivots(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Levels from pivots: a high above the `wing` bars on both sides, or a low below them, known `wing` bars later.

    Inputs: high, low, close, ATR. Parameters: wing; by how much strength fades a row. A pivot within half an ATR of a
    level joins it (strength + 1, touches + 1, price moved by the shares of strength); else it is a level of its own.
    Outputs for the nearest level above and the nearest below: distance in ATR (signed: level - close), strength,
    touches, freshness (1 at a touch, halved each half-life). A level farther than 10 ATR counts as none, and none is
    a distance of 10 or -10 with strength, touches and freshness 0.
    """
    wing = t[k + INT]
    fade = m[t[k + FLOATS]]
    high = m[t[k + IN] :]
    low = m[t[k + IN + 1] :]
    close = m[t[k + IN + 2] :]
    atr = m[t[k + IN + 3] :]
    length = t[k + LENGTH]
    for i in range(lo, hi):
        for c in range(PIVOT_OUTPUTS):
            m[oo + c * length + i] = NAN
        unit = atr[i]
        if not unit > 0.0:
            continue
        for v in range(LEVELS):
            m[so + v * LEVEL + 1] *= fade
            m[so + v * LEVEL + 3] += 1.0
        if i >= first + 2 * wing:
            p = i - wing
            peak = True
            trough = True
            for j in range(1, wing + 1):
                if high[p - j] >= high[p] or high[p + j] > high[p]:
                    peak = False
                if low[p - j] <= low[p] or low[p + j] < low[p]:
                    trough = False
            for side in range(2):
                if (side == 0 and peak) or (side == 1 and trough):
                    price = high[p] if side == 0 else low[p]
                    best = -1
                    weakest = 0
                    for v in range(LEVELS):
                        r = so + v * LEVEL
                        if m[r + 1] < m[so + weakest * LEVEL + 1]:
                            weakest = v
                        if m[r + 2] > 0.0 and abs(m[r] - price) <= 0.5 * unit:
                            if best < 0 or abs(m[r] - price) < abs(m[so + best * LEVEL] - price):
                                best = v
                    if best >= 0:
                        r = so + best * LEVEL
                        m[r] += (price - m[r]) / (m[r + 1] + 1.0)
                        m[r + 1] += 1.0
                        m[r + 2] += 1.0
                        m[r + 3] = float(wing)
                    else:
                        r = so + weakest * LEVEL
                        m[r] = price
                        m[r + 1] = 1.0
                        m[r + 2] = 1.0
                        m[r + 3] = float(wing)
        above = -1
        below = -1
        for v in range(LEVELS):
            r = so + v * LEVEL
            if m[r + 2] > 0.0:
                if m[r] >= close[i] and (above < 0 or m[r] < m[so + above * LEVEL]):
                    above = v
                if m[r] < close[i] and (below < 0 or m[r] > m[so + below * LEVEL]):
                    below = v
        for side in range(2):
            v = above if side == 0 else below
            at = oo + 4 * side * length + i
            r = so + max(v, 0) * LEVEL
            gap = (m[r] - close[i]) / unit if v >= 0 else FAR + 1.0
            near = abs(gap) <= FAR
            m[at] = gap if near else (FAR if side == 0 else -FAR)
            m[at + length] = m[r + 1] if near else 0.0
            m[at + 2 * length] = m[r + 2] if near else 0.0
            m[at + 3 * length] = fade ** m[r + 3] if near else 0.0


@inner
def profile(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Volume by price, fading with age, in log-price bins about half an ATR wide.

    Inputs: high, low, close, volume, ATR. Each bar's volume goes evenly to the bins it spans. Outputs: distance in ATR
    from the close to the fullest bin's middle; share of all volume above the close's bin; share in the close's bin.
    The bin width is a power of two, fixed when the profile begins.
    """
    grow = m[t[k + FLOATS]]
    high = m[t[k + IN] :]
    low = m[t[k + IN + 1] :]
    close = m[t[k + IN + 2] :]
    volume = m[t[k + IN + 3] :]
    atr = m[t[k + IN + 4] :]
    length = t[k + LENGTH]
    head = so + 2 * BINS  # bin numbers come first, then volumes, then width and weight
    for i in range(lo, hi):
        for c in range(PROFILE_OUTPUTS):
            m[oo + c * length + i] = NAN
        if not atr[i] > 0.0:
            continue
        if m[head] == 0.0:
            m[head] = 2.0 ** floor(log2(0.5 * atr[i] / close[i]))
            m[head + 1] = 1.0
            for b in range(BINS):
                m[so + b] = -1e18
        width = m[head]
        m[head + 1] *= grow
        bottom = int(floor(log(low[i]) / width))
        top = int(floor(log(high[i]) / width))
        if top - bottom >= BINS:
            top = bottom + BINS - 1
        part = volume[i] * m[head + 1] / (top - bottom + 1)
        for b in range(bottom, top + 1):
            at = so + b % BINS
            if m[at] != b:
                m[at] = b
                m[at + BINS] = 0.0
            m[at + BINS] += part
        here = floor(log(close[i]) / width)
        total = 0.0
        above = 0.0
        inside = 0.0
        most = -1.0
        fullest = 0.0
        for b in range(BINS):
            if m[so + b] > -1e17:
                v = m[so + BINS + b]
                total += v
                if m[so + b] > here:
                    above += v
                elif m[so + b] == here:
                    inside += v
                if v > most:
                    most = v
                    fullest = m[so + b]
        if total > 0.0:
            middle = np.exp((fullest + 0.5) * width)
            m[oo + i] = (middle - close[i]) / atr[i]
            m[oo + length + i] = above / total
            m[oo + 2 * length + i] = inside / total


@inner
def given(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Distance in ATR (level - close) to the nearest given level above and below, within 10. Inputs: close, ATR."""
    count = t[k + INT]
    levels = m[t[k + FLOATS] :]
    close = m[t[k + IN] :]
    atr = m[t[k + IN + 1] :]
    above = m[oo:]
    below = m[oo + t[k + LENGTH] :]
    for i in range(lo, hi):
        if not atr[i] > 0.0:
            above[i] = NAN
            below[i] = NAN
            continue
        above[i] = FAR
        below[i] = -FAR
        for j in range(count):
            gap = (levels[j] - close[i]) / atr[i]
            if 0.0 <= gap < above[i]:
                above[i] = gap
            if 0.0 > gap > below[i]:
                below[i] = gap
