"""The tactician: from an opinion to a plan that the venue accepts and the account can bear, or a refusal."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from math import exp

from attrs import frozen

from ares.errors import settings_or_default
from ares.instruments import Instrument, Side
from ares.orders import OrderType
from ares.protocols import Leg, Reason, TacticsInput, TacticsResult, Target, TradePlan
from ares.tactician.config import TacticianConfig
from ares.tactician.leverage import choose_leverage
from ares.tactician.limits import obstacles
from ares.tactician.payoff import Payoff, value
from ares.tactician.sizing import account_caps, decisive, drawdown, edge_caps, to_lots

__all__ = ["Tactician"]


@frozen(kw_only=True)
class _Prices:
    """Where a trade would enter, stop and take profit, on the instrument's grid."""

    entry: Decimal
    stop: Decimal
    targets: tuple[Target, ...]

    @property
    def stop_distance(self) -> float:
        """Fraction of the entry price."""
        return float(abs(self.entry - self.stop) / self.entry)


class Tactician:
    """Plans one entry at a time when flat: size is the least of named caps, the stop and targets come from volatility.

    An entry is refused unless the lower bound of the target's chance exceeds the break-even chance after fees, spread,
    slippage and expected funding. A decision depends on its input and the settings alone.
    """

    def __init__(self, config: TacticianConfig | None = None) -> None:
        self.config = settings_or_default(config, TacticianConfig)
        self._recent: deque[TacticsResult] = deque(maxlen=self.config.max_history)
        self._decided = 0
        self._planned = 0

    async def execute_tactics(self, given: TacticsInput) -> TacticsResult:
        """A plan, or the reasons why not."""
        return self.decide(given)

    def decide(self, given: TacticsInput) -> TacticsResult:
        """A plan, or the reasons why not: the plain twin of `execute_tactics`.

        Raises: InvalidInput when the market view holds no price.
        """
        result = self._decide(given)
        self._recent.append(result)
        self._decided += 1
        self._planned += result.plan is not None
        return result

    def get_status(self) -> Mapping[str, object]:
        """Decisions so far and the latest of them, newest last."""
        return {"decisions": self._decided, "plans": self._planned, "recent": tuple(self._recent)}

    def _decide(self, given: TacticsInput) -> TacticsResult:
        config, side = self.config, given.analysis.side
        found = obstacles(given, config)
        if found or side is None:
            return TacticsResult(plan=None, reasons=found)
        if not config.enable_position_sizing and config.fixed_notional is None:
            return _refused(Reason(code="sizing.off"))
        payoff = value(given, side, config)
        if payoff.refusal is not None:
            return _refused(payoff.refusal)
        prices = self._prices(given, side)
        if isinstance(prices, Reason):
            return _refused(prices)
        return self._sized(given, side, payoff, prices)

    def _prices(self, given: TacticsInput, side: Side) -> _Prices | Reason:
        analysis, instrument = given.analysis, given.instrument
        raw = given.market.price
        entry = instrument.price(raw)
        stop = instrument.stop_price(raw * exp(-side.sign * analysis.stop_width), side.opposite)
        targets = tuple(
            Target(price=_target(instrument, side, raw, analysis.target_width * width), fraction=share)
            for width, share in self.config.ladder
        )
        ordered = [entry, *(target.price for target in targets)]
        rising = all((b - a) * side.sign > 0 for a, b in zip(ordered, ordered[1:], strict=False))
        if (entry - stop) * side.sign <= 0 or not rising:
            numbers = {"entry": float(entry), "stop": float(stop), "tick": float(instrument.tick_size)}
            return Reason(code="prices.within_a_tick", numbers=numbers)
        return _Prices(entry=entry, stop=stop, targets=targets)

    def _sized(self, given: TacticsInput, side: Side, payoff: Payoff, prices: _Prices) -> TacticsResult:
        config, stop = self.config, prices.stop_distance
        caps = edge_caps(given, payoff, stop, config)
        if (name := decisive(caps)) and caps[name] <= 0.0:
            return _refused(Reason(code="size.nothing_allowed"), Reason(code=f"size.capped_by_{name}", numbers=caps))
        leverage = choose_leverage(given, side, min(caps.values()), stop, config)
        if leverage.refusal is not None:
            return _refused(leverage.refusal)
        caps |= account_caps(given, leverage.value, payoff.cost)
        lost, factor = drawdown(given, config)
        if config.enable_risk_management and factor < 1.0:
            caps["drawdown"] = factor * min(caps.values())
        if given.analysis.size_factor < 1.0:
            caps["alarm"] = given.analysis.size_factor * min(caps.values())
        name = decisive(caps)
        quantity = to_lots(given, side, caps[name], prices.entry, prices.stop)
        decided = Reason(code=f"size.capped_by_{name}", numbers=caps)
        if quantity <= 0:
            least = max(given.instrument.min_notional, given.instrument.min_quantity * prices.entry)
            numbers = {"notional": caps[name], "least": float(least), "drawdown": lost}
            return _refused(Reason(code="size.below_minimum", numbers=numbers), decided)
        worth = {"p": payoff.p, "needed": payoff.break_even, "expected": payoff.expected, "cost": payoff.cost}
        now = given.market.now_ns
        plan = TradePlan(
            trade_id="",
            symbol=given.instrument.symbol,
            side=side,
            legs=(Leg(order_type=OrderType.MARKET, quantity=quantity),),
            stop=prices.stop,
            targets=prices.targets,
            leverage=leverage.value,
            valid_until_ns=min(given.analysis.valid_until_ns, now + round(config.tactics_interval * 1e9)),
            exit_by_ns=given.analysis.now_ns + given.analysis.horizon_ns,
            caps=caps,
            reasons=(
                Reason(code="payoff.pays", numbers=worth),
                decided,
                Reason(
                    code="leverage.chosen",
                    numbers={"leverage": float(leverage.value), "liquidation_distance": leverage.distance},
                ),
            ),
        )
        return TacticsResult(plan=plan, reasons=plan.reasons)


def _target(instrument: Instrument, side: Side, entry: float, width: float) -> Decimal:
    """A target `width` (log) from entry, on the grid, rounded towards entry: not harder to reach than meant."""
    return instrument.price(entry * exp(side.sign * width), "down" if side is Side.BUY else "up")


def _refused(*reasons: Reason) -> TacticsResult:
    return TacticsResult(plan=None, reasons=reasons)
