"""How an open position stands: its risk in [0, 1], what its opinion is still worth, and where its stop belongs.

Pure functions of scalars, shared by the monitor and the compiled backtest. `sign` is +1 for a long, -1 for a short;
prices are in quote per base, NaN when unknown. Nothing here depends on how often it is asked.
"""

from __future__ import annotations

from math import ceil, exp, isnan, nan

from ares.kernels.jit import inner, jit

__all__ = ["aged_doubt", "driftless_share", "position_risk", "tightened_stop"]


@inner
def _unit(x: float) -> float:
    """`x` held in [0, 1]; NaN is 0."""
    return 0.0 if isnan(x) else min(1.0, max(0.0, x))


@jit
def driftless_share(width: float, other_width: float) -> float:
    """How often a driftless walk touches the barrier at `width` before the one at `other_width`, of all touches."""
    return other_width / (width + other_width)


@jit
def aged_doubt(share: float, base: float, late_ns: int, bar_ns: int, half_life: float) -> tuple[float, float]:
    """What an opinion says against a position, and how much of that opinion is left, both in [0, 1].

    share: chance that the barrier against the position is touched first, of all touches; NaN: no opinion.
    base: the same for a driftless walk, which is doubt 0; certainty is doubt 1.
    late_ns: how long ago the opinion ended, <= 0 while it stands. It loses weight once a bar, at the first moment
    after its end and then at whole bars, and half of it in `half_life` bars.
    """
    bars = ceil(late_ns / bar_ns) if late_ns > 0 else 0
    left = 0.5 ** (bars / half_life)
    return left * _unit((share - base) / (1.0 - base)), left


@jit
def position_risk(
    sign: int,
    entry: float,
    mark: float,
    first_stop: float,
    liquidation: float,
    protected: bool,
    doubt: float,
    time_used: float,
    loss_weight: float,
    doubt_weight: float,
    time_weight: float,
) -> tuple[float, float, float]:
    """Risk, and two of its parts: the way to the first stop and the way to liquidation that is already gone.

    risk = max(way to liquidation, weighted mean of way to the stop, doubt and time used); without a stop at the venue
    the way to the stop counts in full. Each part lies in [0, 1] and an unknown one counts 0.
    """
    adverse = sign * (entry - mark)
    loss = _unit(adverse / (sign * (entry - first_stop)))
    near = _unit(adverse / (sign * (entry - liquidation)))
    mean = loss_weight * loss + doubt_weight * _unit(doubt) + time_weight * _unit(time_used)
    risk = max(near, mean)
    if not protected:
        risk = max(risk, loss)
    return min(1.0, risk), loss, near


@jit
def tightened_stop(
    sign: int,
    entry: float,
    mark: float,
    best: float,
    stop: float,
    first_stop: float,
    trail: float,
    trail_after: float,
    break_even: float,
    tick: float,
    least_move: float,
) -> float:
    """A better stop than the present one, off the grid; NaN when there is none worth an order.

    trail: log distance behind the best price, applied once the best profit has reached `trail_after` times the initial
    risk. break_even: the price a stop may be moved to, NaN when not yet. least_move: in units of the initial risk.
    A stop only ever tightens, and it stays at least a tick on its side of the mark.
    """
    unit = sign * (entry - first_stop)
    best = max(best, mark) if sign > 0 else min(best, mark)
    wanted = nan
    if not isnan(break_even) and sign * (mark - break_even) > tick:
        wanted = break_even
    if unit > 0.0 and sign * (best - entry) >= trail_after * unit:
        trailed = best * exp(-sign * trail)
        if sign * (mark - trailed) > tick and (isnan(wanted) or sign * (trailed - wanted) > 0.0):
            wanted = trailed
    if isnan(wanted) or not sign * (wanted - stop) >= max(tick, least_move * unit):
        return nan
    return wanted
