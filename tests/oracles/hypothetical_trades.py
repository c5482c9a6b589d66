"""Slow plain Python: the outcomes a rule's states had, by looking at the whole history at once."""

from __future__ import annotations

import math
from collections.abc import Sequence


def outcome_of(
    bars: Sequence[tuple[int, float, float, float, float, float]],
    start: int,
    side: int,
    widths: tuple[float, float],
    horizon: int,
    step_ns: int,
    valid_bars: int,
) -> tuple[str, int, float]:
    """How a trade decided at the close of bar `start` ends, at which bar, and a timeout's return before costs.

    bars: (open_ns, open, high, low, close, volume). Answers: "target", "stop", "timeout", "none" (it was never
    entered; the bar is where that became certain) or "pending" (the history ends first).
    """
    expires = bars[start][0] + step_ns * (1 + valid_bars)
    entry = None
    for i in range(start + 1, len(bars)):
        open_ns, open_, high, low, close, volume = bars[i]
        if entry is None:
            if open_ns >= expires:
                return "none", i, 0.0
            if volume == 0:
                continue
            entry = open_
            deadline = open_ns + horizon * step_ns
            target = entry * math.exp(side * widths[0])
            stop = entry * math.exp(-side * widths[1])
        if volume == 0:
            continue
        if open_ns >= deadline:
            return "timeout", i, side * (open_ - entry) / entry
        beyond_stop = open_ <= stop if side > 0 else open_ >= stop
        beyond_target = open_ >= target if side > 0 else open_ <= target
        reached_stop = low <= stop if side > 0 else high >= stop
        reached_target = high >= target if side > 0 else low <= target
        if beyond_stop:
            return "stop", i, 0.0
        if beyond_target:
            return "target", i, 0.0
        if reached_stop:
            return "stop", i, 0.0
        if reached_target:
            return "target", i, 0.0
        if open_ns + step_ns == deadline:
            return "timeout", i, side * (close - entry) / entry
    return "pending", len(bars), 0.0


def tallies(
    bars: Sequence[tuple[int, float, float, float, float, float]],
    states: Sequence[tuple[int, tuple[int, ...], tuple[float, float]]],
    horizon: int,
    step_ns: int,
    valid_bars: int,
) -> tuple[dict[tuple[int, int], dict[str, int]], dict[tuple[int, int], list[float]]]:
    """Counts by (cell, side) of non-overlapping trades: a new one may be decided at the bar where the last one ended.
    And the returns of their timeouts, in widths of the target.

    states: for each bar its cell (-1: none), the sides considered, and the widths known there.
    """
    counts: dict[tuple[int, int], dict[str, int]] = {}
    returns: dict[tuple[int, int], list[float]] = {}
    free_from: dict[tuple[int, int], int] = {}
    for i, (cell, sides, widths) in enumerate(states):
        for side in sides if cell >= 0 else ():
            slot = (cell, side)
            if i < free_from.get(slot, 0):
                continue
            result, end, gross = outcome_of(bars, i, side, widths, horizon, step_ns, valid_bars)
            free_from[slot] = end
            if result in ("target", "stop", "timeout"):
                found = counts.setdefault(slot, {"target": 0, "stop": 0, "timeout": 0})
                found[result] += 1
                if result == "timeout":
                    returns.setdefault(slot, []).append(gross / widths[0])
    return counts, returns
