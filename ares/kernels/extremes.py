"""Highest and lowest rows of a window, and how long ago they were."""

from __future__ import annotations

from typing import Any

import numpy as np

from ares.kernels.jit import inner
from ares.kernels.layout import IN, INT, LENGTH

NAN = np.nan

EXTREMES, AGES = range(200, 202)


@inner
def extremes(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Highest of the first input and lowest of the second over `w` rows.

    Rows are taken in runs of `w` (van Herk 1992): the window is the tail of the last run, whose extremes to its end are
    kept, and the head of the present one, whose extremes so far are carried. Two comparisons a row for any window.
    """
    w = t[k + INT]
    above = m[t[k + IN] :]
    below = m[t[k + IN + 1] :]
    top = m[oo:]
    bottom = m[oo + t[k + LENGTH] :]
    tail_top = m[so + 3 : so + 3 + w]
    tail_bottom = m[so + 3 + w : so + 3 + 2 * w]
    start = min(max(lo, first + w - 1), hi)
    if start >= hi:
        return
    a = m[so]
    b = m[so + 1]
    taken = int(m[so + 2])  # rows of the present run; 0 before the first
    i = start
    if taken == 0:  # the first full window is the first run
        a = above[i]
        b = below[i]
        for j in range(i - w + 1, i):
            a = max(a, above[j])
            b = min(b, below[j])
        top[i] = a
        bottom[i] = b
        taken = w
        i += 1
    while i < hi:
        if taken == w:
            a = -np.inf
            b = np.inf
            for j in range(w - 1, -1, -1):
                a = max(a, above[i - w + j])
                b = min(b, below[i - w + j])
                tail_top[j] = a
                tail_bottom[j] = b
            a = -np.inf
            b = np.inf
            taken = 0
        count = min(hi - i, w - taken)
        x = above[i : i + count]
        z = below[i : i + count]
        rest = min(count, w - 1 - taken)
        c = tail_top[taken + 1 :]
        d = tail_bottom[taken + 1 :]
        y = top[i : i + count]
        u = bottom[i : i + count]
        for j in range(rest):
            a = max(a, x[j])
            b = min(b, z[j])
            y[j] = max(a, c[j])
            u[j] = min(b, d[j])
        if rest < count:
            a = max(a, x[rest])
            b = min(b, z[rest])
            y[rest] = a
            u[rest] = b
        i += count
        taken += count
    m[so] = a
    m[so + 1] = b
    m[so + 2] = taken


@inner
def ages(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """How many rows ago the highest of the first input, and the lowest of the second, was last reached in `w` rows.

    In runs, as `extremes`; beside each extreme stands its row's position in its run.
    """
    w = t[k + INT]
    above = m[t[k + IN] :]
    below = m[t[k + IN + 1] :]
    top_age = m[oo:]
    bottom_age = m[oo + t[k + LENGTH] :]
    tail = m[so + 5 : so + 5 + 4 * w]  # highest to the run's end, where from that end; lowest, where
    start = min(max(lo, first + w - 1), hi)
    if start >= hi:
        return
    a = m[so]
    b = m[so + 1]
    a_at = m[so + 2]
    b_at = m[so + 3]
    taken = int(m[so + 4])
    i = start
    if taken == 0:
        a = -np.inf
        b = np.inf
        for j in range(w):
            x = above[i - w + 1 + j]
            z = below[i - w + 1 + j]
            if x >= a:
                a = x
                a_at = float(j)
            if z <= b:
                b = z
                b_at = float(j)
        top_age[i] = w - 1 - a_at
        bottom_age[i] = w - 1 - b_at
        taken = w
        i += 1
    while i < hi:
        if taken == w:
            a = -np.inf
            b = np.inf
            for j in range(w - 1, -1, -1):
                x = above[i - w + j]
                z = below[i - w + j]
                a_at = float(j) if x > a else a_at
                a = x if x > a else a
                b_at = float(j) if z < b else b_at
                b = z if z < b else b
                tail[j] = a
                tail[w + j] = a_at - w
                tail[2 * w + j] = b
                tail[3 * w + j] = b_at - w
            a = -np.inf
            b = np.inf
            taken = 0
        count = min(hi - i, w - taken)
        rest = min(count, w - 1 - taken)
        ups = above[i : i + count]
        downs = below[i : i + count]
        high = tail[taken + 1 :]
        high_at = tail[w + taken + 1 :]
        low = tail[2 * w + taken + 1 :]
        low_at = tail[3 * w + taken + 1 :]
        y = top_age[i : i + count]
        u = bottom_age[i : i + count]
        for j in range(count):
            x = ups[j]
            z = downs[j]
            now = float(taken + j)
            a_at = now if x >= a else a_at
            a = x if x >= a else a
            b_at = now if z <= b else b_at
            b = z if z <= b else b
            if j < rest:
                y[j] = now - (high_at[j] if high[j] > a else a_at)
                u[j] = now - (low_at[j] if low[j] < b else b_at)
            else:
                y[j] = now - a_at
                u[j] = now - b_at
        i += count
        taken += count
    m[so] = a
    m[so + 1] = b
    m[so + 2] = a_at
    m[so + 3] = b_at
    m[so + 4] = taken
