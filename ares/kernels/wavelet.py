"""Wavelets that look backward only.

The maximal-overlap transform (Percival and Walden 2000, chapter 5) filters past rows, so appending a row changes no
earlier one, and it does not move with the start of a window. The windowed transform repeats the textbook decomposition
of the last `w` rows at every row, for those who need its numbers.
"""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np

from ares.kernels.jit import inner
from ares.kernels.layout import FLOATS, IN, INT, LENGTH, N_IN

NAN = np.nan

MODWT_LEVEL, BANDS, WINDOWED = range(60, 63)


@inner
def modwt_level(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """One level: the details W_j and the smooth V_j of the smooth V_{j-1}, with taps `stride` rows apart.

    Parameters: filter length, stride 2^(j-1); the wavelet then the scaling filter, each divided by the root of 2.
    """
    taps = t[k + INT]
    stride = t[k + INT + 1]
    g = m[t[k + FLOATS] :]
    x = m[t[k + IN] :]
    start = min(max(lo, first + (taps - 1) * stride), hi)
    detail = m[oo + lo : oo + hi]
    smooth = m[oo + t[k + LENGTH] + lo : oo + t[k + LENGTH] + hi]
    for i in range(start - lo):
        detail[i] = NAN
        smooth[i] = NAN
    n = hi - start
    detail = m[oo + start : oo + hi]
    smooth = m[oo + t[k + LENGTH] + start : oo + t[k + LENGTH] + hi]
    now = x[start:hi]
    for i in range(n):
        detail[i] = g[0] * now[i]
        smooth[i] = g[taps] * now[i]
    for tap in range(1, taps):
        then = x[start - tap * stride :]
        high = g[tap]
        low = g[taps + tap]
        for i in range(n):
            detail[i] += high * then[i]
            smooth[i] += low * then[i]


@inner
def bands(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """From the energies E_1 .. E_J of the details and E_V of the smooth, all mean squares over one window.

    Outputs: E_1 .. E_J and E_V as shares of their sum, entropy of the shares over ln(J + 1) in [0, 1],
    ln(E_{j+1} / E_j) for j < J, and the least-squares slope of log2 E_j on j as a Hurst exponent, (slope + 2) / 2.
    All are NaN when there is no energy at all; a ratio or slope is NaN when a band it needs is empty.
    """
    levels = t[k + N_IN] - 1
    length = t[k + LENGTH]
    mid = (levels + 1) / 2.0
    spread_j = levels * (levels * float(levels) - 1.0) / 12.0
    top = log(levels + 1.0)
    for i in range(lo, hi):
        total = 0.0
        for j in range(levels + 1):
            total += m[t[k + IN + j] + i]
        entropy = 0.0
        for j in range(levels + 1):
            share = m[t[k + IN + j] + i] / total if total > 0.0 else NAN
            m[oo + j * length + i] = share
            entropy -= share * log(share) if share != 0.0 else 0.0
        at = oo + (levels + 1) * length
        m[at + i] = entropy / top
        before = NAN
        slope = 0.0
        for j in range(levels):
            energy = m[t[k + IN + j] + i]
            size = log(energy) if energy > 0.0 else NAN
            if j > 0:
                m[at + j * length + i] = size - before
            slope += (j + 1 - mid) * size
            before = size
        m[at + levels * length + i] = (slope / 0.6931471805599453 / spread_j + 2.0) / 2.0 if levels > 1 else NAN
