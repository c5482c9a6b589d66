"""What became of hypothetical trades: the memory of an analyst that learns from matured outcomes only.

There is one slot for each cell of a rule's state and each side. A slot holds at most one trade at a time, so that its
outcomes do not overlap and may be counted as separate trials. A trade is entered at the open of the next bar that
trades, ends at the first barrier touched (`barriers.touch`: what a bar opened beyond came first, and a stop wins a tie)
or at the time barrier, and is counted then and not before.

Memory, one row a slot: `when` (state, ns: entry at the latest, or time barrier), `level` (log widths of target and
stop, then their prices, then that of the entry), `tally` (targets, stops, timeouts, as they are weighted now; outcomes
ever counted; sums of the timeouts' returns before costs, in widths of the target, and of their squares, as weighted
now) and `low` (lower bound of the chance of the target, given that a barrier is touched).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ares.kernels.barriers import STOP, TARGET, TIMEOUT, UNTOUCHED, barrier_price, touch
from ares.kernels.beta import beta_quantile
from ares.kernels.jit import jit
from ares.kernels.sizing import break_even, gross_payoff

__all__ = ["driftless_chances", "driftless_time", "learn", "recount", "weigh"]

FREE, WAITING, OPEN = 0, 1, 2
BOTH, LONG, SHORT = 3, 1, 2  # sides, as a bit mask

F = NDArray[np.float64]
I = NDArray[np.int64]  # noqa: E741 - the usual letter beside F


@jit
def driftless_chances(target: float, stop: float) -> tuple[float, float, float]:
    """Chances (target first, stop first, neither) of a driftless walk within the horizon.

    target, stop: distances in deviations of the walk over the horizon. Without a horizon the first would be
    `stop / (target + stop)`.
    Source: exit of a Brownian motion from an interval, by its sine series (Borodin and Salminen, part II, 1.3).
    """
    width = target + stop
    up, out = stop / width, 1.0
    for k in range(1, 2000):
        weight = 2.0 / (k * math.pi) * math.exp(-0.5 * (k * math.pi / width) ** 2)
        wave = weight * math.sin(k * math.pi * stop / width)
        up += wave if k % 2 == 0 else -wave
        if k % 2 == 1:
            out -= 2.0 * wave
        if weight < 1e-18:
            break
    up = min(1.0, max(0.0, up))
    out = min(1.0, max(up, out))
    return up, out - up, 1.0 - out


@jit
def driftless_time(target: float, stop: float) -> float:
    """Mean time until a driftless walk touches one of two barriers or the horizon is over, in horizons.

    target, stop: distances in deviations of the walk over the horizon. It is also the mean square of where the walk is
    then, in these deviations (Wald's second identity). Source: as `driftless_chances`.
    """
    width, mean = target + stop, 0.0
    for k in range(1, 4000, 2):
        rate = 0.5 * (k * math.pi / width) ** 2
        wave = 4.0 / (k * math.pi) * (1.0 - math.exp(-rate)) / rate
        mean += wave * math.sin(k * math.pi * stop / width)
        if wave < 1e-12:
            break
    return min(1.0, max(0.0, mean))


@jit
def recount(tally: F, low: F, slot: int, prior_target: float, prior_stop: float, level: float) -> None:
    """Take the slot's lower bound afresh: the `1 - level` quantile of Beta(prior + targets, prior + stops)."""
    low[slot] = beta_quantile(1.0 - level, prior_target + tally[slot, 0], prior_stop + tally[slot, 1])


@jit
def learn(
    when: I,
    level: F,
    tally: F,
    low: F,
    open_ns: int,
    step_ns: int,
    open_: float,
    high: float,
    of_low: float,
    close: float,
    tradable: bool,
    horizon: int,
    forget: float,
    prior_target: float,
    prior_stop: float,
    confidence: float,
    cell: int,
    sides: int,
    target_width: float,
    stop_width: float,
    enter_before_ns: int,
) -> int:
    """Take one closed bar: enter, end and count trades, then order new ones in `cell` for the next bar.

    forget: what an older outcome of a slot still counts after a new one. cell: -1 orders nothing. sides: bit mask.
    enter_before_ns: an order whose next tradable bar opens then or later has expired and is dropped.
    Returns: how many outcomes were counted.
    """
    counted = 0
    for slot in range(when.shape[0]):
        side = 1 if slot % 2 == 0 else -1
        if when[slot, 0] == WAITING:
            if open_ns >= when[slot, 1]:
                when[slot, 0] = FREE
            elif tradable:
                when[slot, 0] = OPEN
                when[slot, 1] = open_ns + horizon * step_ns
                level[slot, 2] = barrier_price(open_, side, level[slot, 0])
                level[slot, 3] = barrier_price(open_, -side, level[slot, 1])
                level[slot, 4] = open_
        if when[slot, 0] == OPEN and tradable:
            outcome, left = UNTOUCHED, close
            if open_ns >= when[slot, 1]:
                outcome, left = TIMEOUT, open_
            else:
                outcome, _, _ = touch(side, level[slot, 2], level[slot, 3], open_, high, of_low)
                if outcome == UNTOUCHED and open_ns + step_ns == when[slot, 1]:
                    outcome = TIMEOUT
            if outcome != UNTOUCHED:
                when[slot, 0] = FREE
                for kind in range(3):
                    tally[slot, kind] *= forget
                tally[slot, 0 if outcome == TARGET else 1 if outcome == STOP else 2] += 1.0
                tally[slot, 3] += 1.0
                tally[slot, 4] *= forget
                tally[slot, 5] *= forget
                if outcome == TIMEOUT:
                    moved = side * (left / level[slot, 4] - 1.0) / level[slot, 0]
                    tally[slot, 4] += moved
                    tally[slot, 5] += moved * moved
                recount(tally, low, slot, prior_target, prior_stop, confidence)
                counted += 1
    if cell >= 0:
        for odd in range(2):
            slot = 2 * cell + odd
            if when[slot, 0] == FREE and sides & (1 << odd):
                when[slot, 0] = WAITING
                when[slot, 1] = enter_before_ns
                level[slot, 0] = target_width
                level[slot, 1] = stop_width
    return counted


@jit
def timeout_return(
    tally: F, cell: int, prior_timeout: float, prior_return: float, prior_square: float
) -> tuple[float, float]:
    """Mean return before costs of a cell's timeouts, and mean of its square, in widths of the target, with
    `prior_timeout` of `prior_return` and `prior_square`.

    Longs and shorts together, so that a drift of the market is not taken for it.
    """
    count, total, squares = prior_timeout, prior_timeout * prior_return, prior_timeout * prior_square
    for slot in range(2 * cell, 2 * cell + 2):
        count += tally[slot, 2]
        total += tally[slot, 4]
        squares += tally[slot, 5]
    return total / count, squares / count


@jit
def weigh(
    tally: F,
    low: F,
    cell: int,
    sides: int,
    prior_target: float,
    prior_stop: float,
    prior_timeout: float,
    prior_return: float,
    prior_square: float,
    target_width: float,
    stop_width: float,
    cost: float,
    deviations: float,
) -> tuple[int, float, float, float, float, float, float, float]:
    """The better side of a cell: (side, chance of target, of stop, of timeout, lower bound, break-even, outcomes, what
    a timeout loses before costs, a fraction of the notional).

    The chances are the means of a Dirichlet posterior. The better side is the one whose lower bound exceeds its
    break-even chance by more, in expected return; the long side wins a tie. A timeout loses what `timeout_return` says,
    and nothing when target and stop are equally wide: then one side's gain is the other's loss.

    With unequal widths a bound of the share of targets is not enough: how many bets time out, and what they lose, is as
    little known. The chance of the target is then held to what it is at the lower bound of the bet's mean return, so
    many `deviations` of that mean below it.
    """
    best = (0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    most = -math.inf
    late = square = 0.0
    unequal = target_width != stop_width
    if unequal:
        late, square = timeout_return(tally, cell, prior_timeout, prior_return, prior_square)
    timeout_loss = max(0.0, -late) * target_width
    for odd in range(2):
        if not sides & (1 << odd):
            continue
        slot, side = 2 * cell + odd, 1 - 2 * odd
        targets, stops = prior_target + tally[slot, 0], prior_stop + tally[slot, 1]
        timeouts = prior_timeout + tally[slot, 2]
        total = targets + stops + timeouts
        p_timeout = timeouts / total
        lower = (1.0 - p_timeout) * low[slot]
        gain, loss = gross_payoff(side, target_width, stop_width)
        if unequal:
            mean = (targets * gain - stops * loss + timeouts * late * target_width) / total
            squares = (targets * gain**2 + stops * loss**2 + timeouts * square * target_width**2) / total
            error = math.sqrt(max(0.0, squares - mean * mean) / total)
            lower = max(0.0, min(lower, targets / total - deviations * error / (gain + loss)))
        needed = break_even(gain, loss, cost, p_timeout, timeout_loss)
        worth = (lower - needed) * (gain + loss)
        if worth > most:
            most = worth
            best = (side, targets / total, stops / total, p_timeout, lower, needed, tally[slot, 3], timeout_loss)
    return best
