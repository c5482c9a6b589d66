"""Triple barriers, CUSUM events and the overlap of labels: the rules that turn prices into labels.

The scalar rules (`barrier_widths`, `barrier_price`, `touch`) are shared with whoever trades by the same barriers.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ares.kernels.jit import jit

__all__ = [
    "DONE",
    "NO_ENTRY",
    "STOP",
    "TARGET",
    "TIMEOUT",
    "UNMATURED",
    "UNTOUCHED",
    "attributed_returns",
    "barrier_price",
    "barrier_widths",
    "barrier_widths_batch",
    "concurrency",
    "cusum_events",
    "ewma_volatility",
    "touch",
    "triple_barrier_batch",
    "uniqueness",
]

TARGET = 1  # the barrier in the bet's favour; the upper one when there is no side
STOP = -1  # the barrier against it; the lower one when there is no side
TIMEOUT = 0  # the time barrier
UNTOUCHED = 2

DONE = 0
NO_ENTRY = 1  # no tradable bar follows the event
UNMATURED = 2  # the data end before a barrier does

F = NDArray[np.float64]
I = NDArray[np.int64]  # noqa: E741 - the usual letter beside F


@jit
def barrier_widths(sigma: float, horizon: int, target: float, stop: float) -> tuple[float, float]:
    """Log distances (target, stop) from entry: multiples of `sigma`, the deviation of a bar's log return, over
    `horizon` bars.
    """
    scale = sigma * math.sqrt(horizon)
    return target * scale, stop * scale


@jit
def barrier_widths_batch(sigma: F, horizon: int, target: float, stop: float, out: F) -> None:
    """`barrier_widths` for each row of `sigma`; out: (n, 2)."""
    for i in range(sigma.size):
        out[i, 0], out[i, 1] = barrier_widths(sigma[i], horizon, target, stop)


@jit
def barrier_price(entry: float, direction: int, width: float) -> float:
    """The price at log distance `width` from `entry`, above for direction +1, below for -1."""
    return entry * math.exp(direction * width)


@jit
def touch(side: int, target: float, stop: float, open_: float, high: float, low: float) -> tuple[int, float, bool]:
    """Which barrier one bar touches first: (outcome, exit price, tie).

    A bar that opens beyond a barrier has touched that one first; a stop then fills at the open, a target at its own
    price. A bar that reaches both without that is a tie, and the stop wins it. Without a side (0: target above, stop
    below) a tie
    pays neither direction: TIMEOUT with a NaN price.
    """
    s = 1 if side >= 0 else -1
    if s * (open_ - stop) <= 0.0:
        return STOP, open_, False
    if s * (open_ - target) >= 0.0:
        return TARGET, target, False
    reach = high if s > 0 else low
    against = low if s > 0 else high
    hit_target = s * (reach - target) >= 0.0
    hit_stop = s * (against - stop) <= 0.0
    if hit_target and hit_stop:
        if side == 0:
            return TIMEOUT, math.nan, True
        return STOP, stop, True
    if hit_stop:
        return STOP, stop, False
    if hit_target:
        return TARGET, target, False
    return UNTOUCHED, math.nan, False


@jit
def triple_barrier_batch(
    bar_ns: I,
    prices: F,
    tradable: NDArray[np.bool_],
    step_ns: int,
    event: I,
    side: I,
    widths: F,
    horizon: int,
    friction: F,
    funding_ns: I,
    funding_paid: F,
    place: I,
    outcome: F,
) -> None:
    """Fill `place` and `outcome` for each event; O(events * horizon).

    bar_ns: (n,) open times, increasing. prices: (4, n) open, high, low, close. tradable: (n,) bars one can trade in.
    event: (m,) positions of bars whose close is the decision. side: (m,) +1, -1 or 0. widths: (m, 2) log target and
    stop.
    friction: entry slip, taker exit slip, target exit slip, entry fee, taker exit fee, target exit fee; fractions of
    price.
    funding_ns: (k,) increasing; funding_paid: (2, k) what a long and a short pay there, quote per base.
    place: (m, 8) status, barrier, tie, first bar, last bar, entry ns, end ns, bars held.
    outcome: (m, 2) gross and net return on the entry's notional; net is NaN without a side.
    """
    n = bar_ns.size
    for k in range(event.size):
        place[k, :] = 0
        outcome[k, 0] = math.nan
        outcome[k, 1] = math.nan
        first = event[k] + 1
        while first < n and not tradable[first]:
            first += 1
        if first >= n:
            place[k, 0] = NO_ENTRY
            continue
        s = side[k]
        raw = prices[0, first]
        entry = raw * (1.0 + s * friction[0])
        direction = 1 if s >= 0 else -1
        target = barrier_price(entry, direction, widths[k, 0])
        stop = barrier_price(entry, -direction, widths[k, 1])
        deadline = bar_ns[first] + horizon * step_ns
        code = UNTOUCHED
        exit_price = math.nan
        tie = False
        end_ns = 0
        at_open = False
        j = first
        while j < n:
            if bar_ns[j] >= deadline:
                if tradable[j]:  # the bar that ended at the deadline is missing: out at the first price after it
                    code, exit_price, end_ns, at_open = TIMEOUT, prices[0, j], bar_ns[j], True
                    break
            else:
                if tradable[j]:
                    code, exit_price, tie = touch(s, target, stop, prices[0, j], prices[1, j], prices[2, j])
                if code == UNTOUCHED and bar_ns[j] + step_ns == deadline and tradable[j]:
                    code, exit_price = TIMEOUT, prices[3, j]
                if code != UNTOUCHED:
                    end_ns = bar_ns[j] + step_ns
                    if tie and s == 0:
                        exit_price = prices[3, j]
                    break
            j += 1
        if code == UNTOUCHED:
            place[k, 0] = UNMATURED
            continue
        place[k, 1] = code
        place[k, 2] = 1 if tie else 0
        place[k, 3] = first
        place[k, 4] = j
        place[k, 5] = bar_ns[first]
        place[k, 6] = end_ns
        place[k, 7] = j - first if at_open else j - first + 1
        outcome[k, 0] = direction * (exit_price / raw - 1.0)
        if s != 0:
            slip, fee = (friction[2], friction[5]) if code == TARGET else (friction[1], friction[4])
            fill = exit_price * (1.0 - s * slip)
            paid = _funding(funding_ns, funding_paid, s, bar_ns[first], bar_ns[j], end_ns, at_open)
            outcome[k, 1] = (s * (fill - entry) - friction[3] * entry - fee * fill - paid) / entry


@jit
def _funding(
    funding_ns: I, funding_paid: F, side: int, entry_ns: int, last_ns: int, end_ns: int, at_open: bool
) -> float:
    """Funding paid after the entry instant, quote per base. A settlement in the last bar may fall before or after
    the exit: it is charged when it costs and not credited when it pays."""
    row = 0 if side > 0 else 1
    total = 0.0
    for i in range(np.searchsorted(funding_ns, entry_ns, side="right"), funding_ns.size):
        if funding_ns[i] > end_ns:
            break
        paid = funding_paid[row, i]
        sure = funding_ns[i] < last_ns or (funding_ns[i] == last_ns and not at_open)
        if sure or paid > 0.0:
            total += paid
    return total


@jit
def ewma_volatility(bar_ns: I, close: F, step_ns: int, alpha: float, warmup: int, out: F) -> None:
    """Deviation of one bar's log return, known at each close: exponentially weighted root mean square with weight
    `alpha`.

    A return across a gap of g bars counts as g bars of its mean square. The first `warmup` rows are NaN.
    """
    mean = 0.0
    weight = 0.0
    seen = 0
    last = -1
    for t in range(close.size):
        if math.isfinite(close[t]) and close[t] > 0.0:
            if last >= 0:
                bars = max((bar_ns[t] - bar_ns[last]) / step_ns, 1.0)
                r = math.log(close[t] / close[last])
                mean = (1.0 - alpha) * mean + alpha * r * r / bars
                weight = (1.0 - alpha) * weight + alpha
                seen += 1
            last = t
        out[t] = math.sqrt(mean / weight) if seen >= warmup else math.nan


@jit
def cusum_events(log_price: F, threshold: F, event: I, direction: I) -> int:
    """Positions where the log price has moved by `threshold` since the last event on that side; returns their count.

    threshold: (n,) known at each row; NaN rows raise no event and restart both sums. event, direction: (n,) room for
    results.
    Source: Lopez de Prado 2018, section 2.5.
    """
    up = 0.0
    down = 0.0
    count = 0
    for t in range(1, log_price.size):
        step = log_price[t] - log_price[t - 1]
        if math.isnan(step) or math.isnan(threshold[t]):
            up = 0.0
            down = 0.0
            continue
        up = max(0.0, up + step)
        down = min(0.0, down + step)
        if down < -threshold[t]:
            down = 0.0
            event[count] = t
            direction[count] = -1
            count += 1
        elif up > threshold[t]:
            up = 0.0
            event[count] = t
            direction[count] = 1
            count += 1
    return count


@jit
def concurrency(first: I, last: I, out: I) -> None:
    """How many labels are alive at each bar, both ends included; a difference array, O(bars + labels)."""
    out[:] = 0
    for i in range(first.size):
        out[first[i]] += 1
        if last[i] + 1 < out.size:
            out[last[i] + 1] -= 1
    alive = 0
    for t in range(out.size):
        alive += out[t]
        out[t] = alive


@jit
def uniqueness(first: I, last: I, alive: I, total: F, out: F) -> None:
    """Mean of 1 / (labels alive) over each label's life. total: (bars + 1,) scratch. O(bars + labels)."""
    total[0] = 0.0
    for t in range(alive.size):
        total[t + 1] = total[t] + (1.0 / alive[t] if alive[t] > 0 else 0.0)
    for i in range(first.size):
        out[i] = (total[last[i] + 1] - total[first[i]]) / (last[i] - first[i] + 1)


@jit
def attributed_returns(first: I, last: I, alive: I, log_return: F, total: F, out: F) -> None:
    """Absolute sum over each label's life of the log return shared among the labels alive. total: (bars + 1,)
    scratch.
    """
    total[0] = 0.0
    for t in range(alive.size):
        shared = log_return[t] / alive[t] if alive[t] > 0 and math.isfinite(log_return[t]) else 0.0
        total[t + 1] = total[t] + shared
    for i in range(first.size):
        out[i] = abs(total[last[i] + 1] - total[first[i]])
