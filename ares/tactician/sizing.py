"""Size as the least of named caps, each a notional in the quote asset."""

from __future__ import annotations

from decimal import Decimal

from ares.instruments import Side
from ares.kernels.sizing import drawdown_factor, size_caps
from ares.protocols import TacticsInput
from ares.tactician.config import TacticianConfig
from ares.tactician.payoff import Payoff

__all__ = ["account_caps", "bar_volatility", "decisive", "drawdown", "edge_caps", "to_lots"]

_YEAR_NS = 365 * 86_400e9


def edge_caps(given: TacticsInput, payoff: Payoff, stop: float, config: TacticianConfig) -> dict[str, float]:
    """What the edge, the risk rules, the bar's liquidity and the desk allow, before leverage and margin are known.

    stop: its distance as a fraction of entry. A cap whose input nobody knows (volatility, volume) is absent.
    """
    analysis, equity = given.analysis, float(given.account.equity)
    sigma = bar_volatility(given)
    per_year = _YEAR_NS * analysis.horizon / analysis.horizon_ns
    kelly, risk, volatility = size_caps(
        equity,
        payoff.kelly,
        config.kelly_fraction,
        config.risk_per_trade,
        stop,
        payoff.cost,
        sigma,
        per_year,
        config.volatility_target,
    )
    caps: dict[str, float] = {}
    if config.enable_position_sizing:
        caps["kelly"] = kelly
    elif config.fixed_notional is not None:
        caps["fixed_notional"] = float(config.fixed_notional)
    if config.enable_risk_management:
        caps["risk_per_trade"] = risk
        if sigma > 0.0:
            caps["volatility_target"] = volatility
    if (traded := _traded(given)) is not None:
        caps["liquidity"] = traded * config.liquidity_share
    if given.limits.max_notional is not None:
        caps["limits"] = max(0.0, float(given.limits.max_notional))
    return caps


def account_caps(given: TacticsInput, leverage: int, cost: float) -> dict[str, float]:
    """What equity and free margin carry at this leverage; margin pays for the costs of the round trip as well."""
    return {
        "leverage": float(given.account.equity) * leverage,
        "margin": float(given.account.available) / (1.0 / leverage + cost),
    }


def drawdown(given: TacticsInput, config: TacticianConfig) -> tuple[float, float]:
    """The account's drawdown and the share of size it leaves.

    The desk's figure when it tracks one, else the loss since the account began.
    """
    account = given.account
    lost = given.limits.drawdown
    if lost is None:
        lost = max(0.0, 1.0 - float(account.equity / account.start)) if account.start > 0 else 0.0
    return lost, drawdown_factor(lost, config.drawdown_start, config.drawdown_end)


def decisive(caps: dict[str, float]) -> str:
    """The name of the least cap; the first of equal ones."""
    return min(caps, key=caps.__getitem__)


def to_lots(given: TacticsInput, side: Side, notional: float, price: Decimal, stop: Decimal) -> Decimal:
    """Notional as a quantity that the venue accepts at market; 0 when there is none. It never exceeds the notional."""
    instrument = given.instrument
    quantity = instrument.quantity(notional / float(price), market=True)
    allowed = given.limits.max_notional
    if allowed is not None and quantity * price > allowed:
        quantity = instrument.quantity(quantity - instrument.lot_step, market=True)
    if quantity > 0 and instrument.violations(
        quantity=quantity, market=True, reduce_only=False, reference=price, stop_price=stop, side=side
    ):
        return Decimal(0)
    return quantity


def bar_volatility(given: TacticsInput) -> float:
    """Deviation of one bar's log return; 0 when the analysis does not know it."""
    known = given.analysis.volatility
    return known if known is not None and known > 0.0 else 0.0


def _traded(given: TacticsInput) -> float | None:
    """Quote volume of the last bar; None when unknown."""
    candle = given.market.candle
    if candle is None:
        return None
    traded = candle.quote_volume if candle.quote_volume >= 0.0 else candle.volume * candle.close
    return traded if traded >= 0.0 else None
