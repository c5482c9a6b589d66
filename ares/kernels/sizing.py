"""How much an edge is worth betting on: payoff, break-even, growth-optimal size, liquidation distance, leverage.

Pure functions of scalars, shared by the tactician and the compiled backtest. Fractions are of the notional (price times
quantity) unless they say otherwise; `sign` is +1 for a long, -1 for a short.
"""

from __future__ import annotations

from math import exp, floor, sqrt

from ares.kernels.jit import jit

__all__ = [
    "appraise",
    "break_even",
    "drawdown_factor",
    "expected_value",
    "gross_payoff",
    "growth_optimal",
    "liquidation_distance",
    "lever",
    "required_distance",
    "safe_leverage",
    "size_caps",
]

_HALVINGS = 80  # of the bracket in which the growth-optimal size lies: its error is below 1e-20 of the bracket


@jit
def gross_payoff(sign: int, target_width: float, stop_width: float) -> tuple[float, float]:
    """Gain at the target and loss at the stop before costs, both > 0, of widths given in log price."""
    if sign > 0:
        return exp(target_width) - 1.0, 1.0 - exp(-stop_width)
    return 1.0 - exp(-target_width), exp(stop_width) - 1.0


@jit
def break_even(gain: float, loss: float, cost: float, p_timeout: float, timeout_loss: float) -> float:
    """The chance of the target at which the bet pays nothing; `(loss + cost) / (gain + loss)` without timeouts.

    timeout_loss: what a bet that times out loses on average before costs. Between barriers at equal distances it is
    nothing, as the price is as likely above entry as below; under a stop wider than the target it is a loss.
    """
    return ((1.0 - p_timeout) * loss + cost + p_timeout * timeout_loss) / (gain + loss)


@jit
def expected_value(p: float, p_timeout: float, gain: float, loss: float, cost: float, timeout_loss: float) -> float:
    """Expected return after costs, a fraction of the notional; timeout_loss as in `break_even`."""
    return p * gain - (1.0 - p - p_timeout) * loss - cost - p_timeout * timeout_loss


@jit
def growth_optimal(p: float, p_timeout: float, gain: float, loss: float, cost: float, timeout_loss: float) -> float:
    """Kelly's notional as a multiple of equity for three outcomes after costs; negative or zero: do not bet.

    Maximises `p ln(1 + f (gain - cost)) + q ln(1 - f (loss + cost)) + p_timeout ln(1 - f (timeout_loss + cost))`,
    whose slope falls in f, by halving the interval between ruin by winning and ruin by losing.
    Source: Kelly 1956; without timeouts it is `p / (loss + cost) - q / (gain - cost)`.
    """
    win, lose, late = gain - cost, loss + cost, cost + timeout_loss
    q = max(0.0, 1.0 - p - p_timeout)
    if win <= 0.0:
        return 0.0
    if p_timeout <= 0.0 or (cost <= 0.0 and timeout_loss == 0.0 and p + q > 0.0):
        return (p / lose - q / win) / (p + q)
    low, high = -1.0 / win, 1.0 / max(lose, late)
    for _ in range(_HALVINGS):
        f = 0.5 * (low + high)
        slope = p * win / (1.0 + f * win) - q * lose / (1.0 - f * lose) - p_timeout * late / (1.0 - f * late)
        if slope > 0.0:
            low = f
        else:
            high = f
    return 0.5 * (low + high)


@jit
def drawdown_factor(drawdown: float, start: float, end: float) -> float:
    """1 up to a drawdown of `start`, 0 from `end`, straight in between."""
    return min(1.0, max(0.0, 1.0 - (drawdown - start) / (end - start)))


@jit
def liquidation_distance(sign: int, leverage: float, rate: float, cum: float, notional: float) -> float:
    """How far the mark price may go against an isolated position before it is liquidated, a fraction of entry.

    rate, cum: maintenance margin is `rate * notional - cum` (quote) in the tier that holds the notional.
    """
    return (1.0 / leverage + cum / notional - rate) / (1.0 - sign * rate)


@jit
def required_distance(stop: float, slippage: float, sigma: float, sigmas: float, gap: float, stops: float) -> float:
    """The least distance to liquidation that a stop at `stop` (fraction of entry) leaves room for.

    sigma: deviation of the log price over the horizon. gap: share of the way to liquidation kept beyond the stop.
    """
    return max(stop + slippage, sigmas * sigma, stop / (1.0 - gap), stops * stop)


@jit
def safe_leverage(sign: int, distance: float, rate: float, cum: float, notional: float, ceiling: int) -> int:
    """The highest whole leverage up to `ceiling` that keeps liquidation `distance` away; 0 when none does."""
    margin = distance * (1.0 - sign * rate) + rate - cum / notional  # initial margin, fraction of the notional
    if margin * ceiling <= 1.0:
        return ceiling
    return floor(1.0 / margin)


@jit
def appraise(
    sign: int, target_width: float, stop_width: float, p: float, p_timeout: float, cost: float, timeout_loss: float
) -> tuple[float, float, float, float, float]:
    """Gain, loss, break-even chance, expected value and growth-optimal size of a bet with one target.

    timeout_loss: what a bet that times out loses on average before costs, a fraction of the notional, >= 0.
    """
    gain, loss = gross_payoff(sign, target_width, stop_width)
    return (
        gain,
        loss,
        break_even(gain, loss, cost, p_timeout, timeout_loss),
        expected_value(p, p_timeout, gain, loss, cost, timeout_loss),
        growth_optimal(p, p_timeout, gain, loss, cost, timeout_loss),
    )


@jit
def size_caps(
    equity: float,
    kelly: float,
    kelly_fraction: float,
    risk_per_trade: float,
    stop: float,
    cost: float,
    sigma: float,
    bars_per_year: float,
    volatility_target: float,
) -> tuple[float, float, float]:
    """Notional (quote) allowed by fractional Kelly, by the risk per trade, and by the volatility target.

    kelly: growth-optimal multiple of equity, > 0. stop: fraction of entry. sigma: deviation of one bar's log return.
    """
    return (
        equity * kelly * kelly_fraction,
        equity * risk_per_trade / (stop + cost),
        equity * volatility_target / (sigma * sqrt(bars_per_year)),
    )


@jit
def lever(
    sign: int,
    stop: float,
    slippage: float,
    sigma: float,
    sigmas: float,
    gap: float,
    stops: float,
    rate: float,
    cum: float,
    notional: float,
    ceiling: int,
) -> tuple[int, float]:
    """The safe leverage and the distance to liquidation (fraction of entry) that was demanded of it."""
    distance = required_distance(stop, slippage, sigma, sigmas, gap, stops)
    return safe_leverage(sign, distance, rate, cum, notional, ceiling), distance
