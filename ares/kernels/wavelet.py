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
    All are NaN until every band has its window, and when there is no energy at all; a ratio or slope is NaN when a band
    it needs is empty.
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
            size = log(energy) if energy > 0.0 and total > 0.0 else NAN
            if j > 0:
                m[at + j * length + i] = size - before
            slope += (j + 1 - mid) * size
            before = size
        m[at + levels * length + i] = (slope / 0.6931471805599453 / spread_j + 2.0) / 2.0 if levels > 1 else NAN


@inner
def windowed(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Energies (sums of squares) of `pywt.wavedec(x[-w:], mode="symmetric")` at every row: D_1 .. D_J, then A_J.

    Parameters: window, levels, filter length; the decomposition high-pass then low-pass filter. The state is scratch.
    Each level's extended input is split into even and odd rows, so that the filters run over contiguous numbers.
    """
    w = t[k + INT]
    levels = t[k + INT + 1]
    taps = t[k + INT + 2]
    g = m[t[k + FLOATS] :]
    length = t[k + LENGTH]
    half = (w + 2 * taps) // 2 + 1
    even = m[so : so + half]
    odd = m[so + half : so + 2 * half]
    high = m[so + 2 * half : so + 3 * half]
    low = m[so + 3 * half : so + 4 * half]
    source = m[t[k + IN] :]
    for i in range(max(lo, first + w - 1), hi):
        n = w
        x = source[i - w + 1 : i + 1]
        for level in range(levels):
            size = (n + taps - 1) // 2
            pad = taps - 1
            count = min(2 * size + taps, 2 * half)
            for e in range(pad):
                at = pad - e - 1
                while at >= n or at < 0:
                    at = 2 * n - 1 - at if at >= n else -1 - at
                if e & 1:
                    odd[e >> 1] = x[at]
                else:
                    even[e >> 1] = x[at]
            for e in range(n):
                f = e + pad
                if f & 1:
                    odd[f >> 1] = x[e]
                else:
                    even[f >> 1] = x[e]
            for e in range(n + pad, count):
                at = 2 * n - 1 - (e - pad)
                while at >= n or at < 0:
                    at = 2 * n - 1 - at if at >= n else -1 - at
                if e & 1:
                    odd[e >> 1] = x[at]
                else:
                    even[e >> 1] = x[at]
            for c in range(size):
                high[c] = 0.0
                low[c] = 0.0
            for tap in range(taps):
                shift = pad + 1 - tap  # coefficient c meets row 2c + 1 - tap of the input
                rows = odd[shift >> 1 :] if shift & 1 else even[shift >> 1 :]
                h = g[tap]
                s = g[taps + tap]
                for c in range(size):
                    high[c] += h * rows[c]
                    low[c] += s * rows[c]
            energy = 0.0
            for c in range(size):
                energy += high[c] * high[c]
            m[oo + level * length + i] = energy
            n = size
            x = low[:size]
        energy = 0.0
        for c in range(n):
            energy += low[c] * low[c]
        m[oo + levels * length + i] = energy
