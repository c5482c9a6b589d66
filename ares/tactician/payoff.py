"""What a trade is worth after costs, by the probabilities of its analysis."""

from __future__ import annotations

from attrs import frozen

from ares.instruments import Side
from ares.kernels.sizing import appraise
from ares.protocols import Reason, TacticsInput
from ares.tactician.config import TacticianConfig

__all__ = ["Payoff", "round_trip_cost", "value"]

_HOUR_NS = 3_600_000_000_000


@frozen(kw_only=True)
class Payoff:
    """A bet on the target, in fractions of its notional; `p` is the chance the decision is made on."""

    p: float  # lower bound of the chance that the target comes first; the chance itself when none was estimated
    p_timeout: float  # chance that neither barrier is touched
    gain: float  # at the target, before costs
    loss: float  # at the stop, before costs
    timeout_loss: float  # of a timeout on average, before costs
    cost: float  # of the round trip
    break_even: float  # the chance at which the bet pays nothing
    expected: float  # return after costs
    kelly: float  # growth-optimal notional, a multiple of equity

    @property
    def refusal(self) -> Reason | None:
        """Why the bet is not taken; None when it pays."""
        if self.gain <= self.cost:
            return Reason(code="payoff.eaten_by_costs", numbers={"gain": self.gain, "cost": self.cost})
        if self.p <= self.break_even:
            numbers = {"p": self.p, "needed": self.break_even, "expected": self.expected, "cost": self.cost}
            return Reason(code="payoff.below_break_even", numbers=numbers)
        if self.kelly <= 0.0:
            return Reason(code="kelly.no_edge", numbers={"kelly": self.kelly, "expected": self.expected})
        return None


def value(given: TacticsInput, side: Side, config: TacticianConfig) -> Payoff:
    """The payoff of entering on `side` now.

    The gain is that of the whole ladder as if each rung were as hard to reach as the last, so it is not overstated.
    """
    analysis = given.analysis
    p = analysis.confidence if analysis.confidence_low is None else analysis.confidence_low
    p_timeout = min(analysis.p_timeout or 0.0, 1.0 - p)
    cost = round_trip_cost(given, side, config)
    reach = sum(width * share for width, share in config.ladder)
    late = analysis.timeout_loss
    gain, loss, needed, expected, kelly = appraise(
        side.sign, analysis.target_width * reach, analysis.stop_width, p, p_timeout, cost, late
    )
    return Payoff(
        p=p,
        p_timeout=p_timeout,
        gain=gain,
        loss=loss,
        timeout_loss=late,
        cost=cost,
        break_even=needed,
        expected=expected,
        kelly=kelly,
    )


def round_trip_cost(given: TacticsInput, side: Side, config: TacticianConfig) -> float:
    """Cost of entering and leaving at market, a fraction of the notional: fees, slippage, spread, expected funding.

    Each of the two orders pays the taker fee, the slippage and half the spread. Funding counts when it is to be paid,
    for the share of funding intervals that the horizon covers; a rate that would be received is not counted on.
    """
    ticker = given.market.ticker
    spread = config.assumed_spread if ticker is None or not ticker.spread >= 0.0 else ticker.spread
    intervals = given.analysis.horizon_ns / (_HOUR_NS * given.instrument.funding_interval_hours)
    known = given.market.funding
    rate = config.assumed_funding if known is None else max(0.0, side.sign * float(known.rate))
    return 2.0 * (float(given.instrument.taker_fee) + config.slippage) + spread + rate * intervals
