"""Support and resistance: confirmed pivots gathered into levels, and a fading profile of volume by price."""

from __future__ import annotations

from math import exp, floor, log, log2
from typing import Any

import numpy as np

from ares.kernels.jit import inner
from ares.kernels.layout import FLOATS, IN, INT, LENGTH

NAN = np.nan

PIVOTS, PROFILE, GIVEN = range(160, 163)

LEVELS = 12  # levels kept; the weakest makes room
FAR = 10.0  # ATR; a level farther away counts as none
PIVOT_STATE = 4 * LEVELS + 1
PIVOT_OUTPUTS = 8
BINS = 64  # price bins of the volume profile
PROFILE_STATE = 2 * BINS + 3
PROFILE_OUTPUTS = 3


@inner
def pivots(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Levels from pivots: a high above the `wing` bars on both sides, or a low below them, known `wing` bars later.

    Inputs: high, low, close, ATR. Parameters: wing; by how much a row outweighs the one before. A pivot within half an
    ATR of a level joins it (strength + 1, touches + 1, price moved by the shares of strength); else it is a level of
    its own. Outputs for the nearest level above and the nearest below: distance in ATR (signed: level - close),
    strength, touches, freshness (1 at a touch, halved each half-life). A level farther than 10 ATR counts as none, and
    none is a distance of 10 or -10 with strength, touches and freshness 0. Instead of fading old strength, each row
    weighs more than the one before.
    """
    wing = t[k + INT]
    grow = m[t[k + FLOATS]]
    high = m[t[k + IN] :]
    low = m[t[k + IN + 1] :]
    close = m[t[k + IN + 2] :]
    atr = m[t[k + IN + 3] :]
    length = t[k + LENGTH]
    price_of = m[so : so + LEVELS]
    strength = m[so + LEVELS : so + 2 * LEVELS]
    touches = m[so + 2 * LEVELS : so + 3 * LEVELS]
    touched = m[so + 3 * LEVELS : so + 4 * LEVELS]  # the row's weight at the last touch
    weight = max(m[so + 4 * LEVELS], 1.0)
    for i in range(lo, hi):
        unit = atr[i]
        if not unit > 0.0 or i < first + 2 * wing:
            for c in range(PIVOT_OUTPUTS):
                m[oo + c * length + i] = NAN
            continue
        weight *= grow
        p = i - wing
        peak = True
        trough = True
        j = 1
        while j <= wing and (peak or trough):
            if high[p - j] >= high[p] or high[p + j] > high[p]:
                peak = False
            if low[p - j] <= low[p] or low[p + j] < low[p]:
                trough = False
            j += 1
        for side in range(2):
            if (side == 0 and peak) or (side == 1 and trough):
                price = high[p] if side == 0 else low[p]
                best = -1
                weakest = 0
                for v in range(LEVELS):
                    if strength[v] < strength[weakest]:
                        weakest = v
                    if touches[v] > 0.0 and abs(price_of[v] - price) <= 0.5 * unit:
                        if best < 0 or abs(price_of[v] - price) < abs(price_of[best] - price):
                            best = v
                if best >= 0:
                    strength[best] += weight
                    price_of[best] += (price - price_of[best]) * (weight / strength[best])
                    touches[best] += 1.0
                    touched[best] = weight
                else:
                    price_of[weakest] = price
                    strength[weakest] = weight
                    touches[weakest] = 1.0
                    touched[weakest] = weight
        now = close[i]
        above = FAR * unit
        below = -FAR * unit
        up = -1
        down = -1
        for v in range(LEVELS):
            if touches[v] > 0.0:
                gap = price_of[v] - now
                if 0.0 <= gap <= above:
                    above = gap
                    up = v
                if 0.0 > gap >= below:
                    below = gap
                    down = v
        m[oo + i] = above / unit
        m[oo + length + i] = strength[up] / weight if up >= 0 else 0.0
        m[oo + 2 * length + i] = touches[up] if up >= 0 else 0.0
        m[oo + 3 * length + i] = touched[up] / weight if up >= 0 else 0.0
        m[oo + 4 * length + i] = below / unit
        m[oo + 5 * length + i] = strength[down] / weight if down >= 0 else 0.0
        m[oo + 6 * length + i] = touches[down] if down >= 0 else 0.0
        m[oo + 7 * length + i] = touched[down] / weight if down >= 0 else 0.0
    m[so + 4 * LEVELS] = weight


@inner
def profile(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Volume by price, fading with age, in log-price bins about half an ATR wide.

    Inputs: high, low, close, volume, ATR. Each bar's volume goes evenly to the bins it spans. Outputs: distance in ATR
    from the close to the fullest bin's middle; share of all volume above the close's bin; share in the close's bin.
    The bin width is a power of two, fixed when the profile begins; at most 1, for after a crash the ATR may be many
    prices. Bins far from the price are given up for new ones.
    """
    grow = m[t[k + FLOATS]]
    high = m[t[k + IN] :]
    low = m[t[k + IN + 1] :]
    close = m[t[k + IN + 2] :]
    volume = m[t[k + IN + 3] :]
    atr = m[t[k + IN + 4] :]
    length = t[k + LENGTH]
    key = m[so : so + BINS]  # number of the bin that a cell holds
    sums = m[so + BINS : so + 2 * BINS]
    width = m[so + 2 * BINS]
    weight = m[so + 2 * BINS + 1]
    fullest = int(m[so + 2 * BINS + 2])  # cell
    for i in range(lo, hi):
        if not atr[i] > 0.0:
            for c in range(PROFILE_OUTPUTS):
                m[oo + c * length + i] = NAN
            continue
        if width == 0.0:
            width = 2.0 ** min(0.0, floor(log2(0.5 * atr[i] / close[i])))
            weight = 1.0
            for b in range(BINS):
                key[b] = -1e18
        weight *= grow
        bottom = int(floor(log(low[i]) / width))
        top = min(int(floor(log(high[i]) / width)), bottom + BINS - 1)
        part = volume[i] * weight / (top - bottom + 1)
        lost = False
        for b in range(bottom, top + 1):
            cell = b % BINS
            if key[cell] != b:
                lost = lost or cell == fullest
                key[cell] = b
                sums[cell] = 0.0
            sums[cell] += part
            if sums[cell] > sums[fullest]:
                fullest = cell
        if lost:
            for b in range(BINS):
                if sums[b] > sums[fullest]:
                    fullest = b
        here = floor(log(close[i]) / width)
        above = 0.0
        above_1 = 0.0
        total = 0.0
        total_1 = 0.0
        for b in range(0, BINS, 2):
            total += sums[b]
            total_1 += sums[b + 1]
            above += sums[b] if key[b] > here else 0.0
            above_1 += sums[b + 1] if key[b + 1] > here else 0.0
        total += total_1
        inside = sums[int(here) % BINS] if key[int(here) % BINS] == here else 0.0
        if total > 0.0:
            m[oo + i] = (exp((key[fullest] + 0.5) * width) - close[i]) / atr[i]
            m[oo + length + i] = (above + above_1) / total
            m[oo + 2 * length + i] = inside / total
        else:
            for c in range(PROFILE_OUTPUTS):
                m[oo + c * length + i] = NAN
    m[so + 2 * BINS] = width
    m[so + 2 * BINS + 1] = weight
    m[so + 2 * BINS + 2] = fullest


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
