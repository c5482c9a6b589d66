"""When no entry is allowed at all, whatever it might be worth."""

from __future__ import annotations

import math

from ares.protocols import Reason, TacticsInput
from ares.tactician.config import TacticianConfig

__all__ = ["obstacles"]


def obstacles(given: TacticsInput, config: TacticianConfig) -> tuple[Reason, ...]:
    """Every reason that forbids an entry before its size is even asked for; empty when there is none."""
    analysis, market, limits = given.analysis, given.market, given.limits
    if analysis.side is None:
        return (Reason(code="analysis.abstained"), *analysis.reasons)
    found: list[Reason] = []
    if not limits.may_enter:
        found += [Reason(code="limits.closed"), *limits.reasons]
    held = given.account.position(given.instrument.symbol)
    if given.trade is not None or (held is not None and held.quantity != 0):
        quantity = given.trade.quantity if given.trade is not None else held.quantity if held is not None else 0
        found.append(Reason(code="trade.open", numbers={"quantity": float(quantity)}))
    if market.now_ns >= analysis.valid_until_ns:
        late = (market.now_ns - analysis.valid_until_ns) / 1e9
        found.append(Reason(code="analysis.expired", numbers={"seconds": late}))
    if not given.instrument.trading:
        found.append(Reason(code="instrument.not_trading"))
    if given.account.equity <= 0:
        found.append(Reason(code="account.empty", numbers={"equity": float(given.account.equity)}))
    if not (_positive(analysis.stop_width) and _positive(analysis.target_width)):
        widths = {"stop_width": analysis.stop_width, "target_width": analysis.target_width}
        found.append(Reason(code="payoff.unknown", numbers=widths))
    elif analysis.confidence <= 0.0:
        found.append(Reason(code="payoff.unknown", numbers={"confidence": analysis.confidence}))
    if (gap := price_gap(given)) > config.max_price_gap:
        found.append(Reason(code="market.disagrees", numbers={"gap": gap, "limit": config.max_price_gap}))
    return tuple(found)


def price_gap(given: TacticsInput) -> float:
    """Mark price against the last traded price, as a fraction of the latter; 0 when one of them is unknown."""
    market = given.market
    last = market.candle.close if market.candle is not None else 0.0
    if market.ticker is not None:
        last = market.ticker.last
    if market.mark_price is None or not _positive(last):
        return 0.0
    return abs(market.mark_price / last - 1.0)


def _positive(value: float) -> bool:
    return math.isfinite(value) and value > 0.0
