"""Time of day and week as numbers, from the bar's close."""

from __future__ import annotations

from math import cos, floor, pi, sin
from typing import Any

from ares.kernels.jit import inner
from ares.kernels.layout import FLOATS, IN, LENGTH

CALENDAR, UNTIL = range(80, 82)


@inner
def calendar(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Input: open time in seconds since the epoch; parameter: the bar's length in seconds. All times are UTC.

    Outputs: sine and cosine of the hour on a day's circle, of the day on a week's circle (Monday 00:00 is 0),
    weekend, and whether the close falls in the Asian (00-08), European (07-16) and American (13-22) hours.
    """
    length = t[k + LENGTH]
    step = m[t[k + FLOATS]]
    for i in range(lo, hi):
        now = m[t[k + IN] + i] + step
        days = floor(now / 86400.0)
        second = now - days * 86400.0
        weekday = (days + 3.0) % 7.0
        angle = 2.0 * pi * second / 86400.0
        week = 2.0 * pi * (weekday + second / 86400.0) / 7.0
        hour = second / 3600.0
        m[oo + i] = sin(angle)
        m[oo + length + i] = cos(angle)
        m[oo + 2 * length + i] = sin(week)
        m[oo + 3 * length + i] = cos(week)
        m[oo + 4 * length + i] = 1.0 if weekday >= 5.0 else 0.0
        m[oo + 5 * length + i] = 1.0 if hour < 8.0 else 0.0
        m[oo + 6 * length + i] = 1.0 if 7.0 <= hour < 16.0 else 0.0
        m[oo + 7 * length + i] = 1.0 if 13.0 <= hour < 22.0 else 0.0


@inner
def until(m: Any, t: Any, k: int, so: int, oo: int, lo: int, hi: int, first: int, fresh: int) -> None:
    """Share of a cycle left at the bar's close: 1 just after its beginning, 0 at its end. Cycles start at the epoch.

    Input: open time in seconds; parameters: the bar's length and the cycle's, in seconds.
    """
    step = m[t[k + FLOATS]]
    cycle = m[t[k + FLOATS] + 1]
    for i in range(lo, hi):
        now = m[t[k + IN] + i] + step
        left = -now % cycle
        m[oo + i] = left / cycle
