"""A tactician and a monitor of your own: a fifth of the equity in, and out in time or when the opinion has turned.

Each is a class with one verb. `check_stage` tries what the desk counts on: filters, margin, refusals, stops, exits.
"""

import asyncio
from decimal import Decimal
from math import exp

from ares import Assessment, AssessmentInput, Backtester, Tactician, TacticsInput, TacticsResult, Tape, TradePlan
from ares.protocols import Action, Leg, Reason
from ares.testing import check_stage


class FixedShare:
    """At market, at twice leverage, with the stop and the time barrier of the opinion."""

    async def execute_tactics(self, given: TacticsInput) -> TacticsResult:
        return self.decide(given)

    def decide(self, given: TacticsInput) -> TacticsResult:
        opinion, instrument, limits = given.analysis, given.instrument, given.limits
        allowed = limits.may_enter and instrument.trading and given.trade is None
        if opinion.side is None or not allowed or given.market.now_ns >= opinion.valid_until_ns:
            return TacticsResult(plan=None, reasons=(Reason(code="share.not_now"),))
        price, sign = given.market.price, opinion.side.sign
        fifth = given.account.available / 5
        notional = fifth if limits.max_notional is None else min(fifth, limits.max_notional)
        told = {"notional": float(notional), "price": price}
        quantity = instrument.order_quantity(notional / Decimal(price), Decimal(price))  # 0: less than the venue takes
        if quantity == 0:
            return TacticsResult(plan=None, reasons=(Reason(code="share.too_small", numbers=told),))
        plan = TradePlan(
            trade_id="",  # the desk names it
            symbol=opinion.symbol,
            side=opinion.side,
            legs=(Leg(quantity=quantity),),
            stop=instrument.stop_price(price * exp(-sign * opinion.stop_width), opinion.side.opposite),
            targets=(),
            leverage=2,
            valid_until_ns=opinion.valid_until_ns,
            exit_by_ns=opinion.now_ns + opinion.horizon_ns,
        )
        return TacticsResult(plan=plan, reasons=(Reason(code="share.taken", numbers=told),))


class Plain:
    """Holds until time is up, the opinion has turned, or the price is beyond a stop that does not rest."""

    def assess_position(self, given: AssessmentInput) -> Assessment:
        trade, verdict = given.trade, "plain.held"
        away = given.market.price - float(trade.initial_stop or 0)
        if trade.stop is None and trade.initial_stop is not None and away * trade.side.sign <= 0:
            verdict = "stop.missed"
        elif trade.exit_by_ns is not None and given.now_ns >= trade.exit_by_ns:
            verdict = "time.up"
        elif given.analysis is not None and given.analysis.side is trade.side.opposite:
            verdict = "opinion.turned"
        told = {"trade_id": trade.trade_id, "now_ns": given.now_ns, "reasons": (Reason(code=verdict),)}
        if verdict == "plain.held":
            return Assessment(action=Action.HOLD, risk=0.0, **told)
        return Assessment(action=Action.CLOSE, quantity=abs(given.position.quantity), risk=1.0, **told)


for stage in (FixedShare(), Plain()):
    report = asyncio.run(check_stage(stage))
    print(report)
    report.raise_for_failures()

tape = Tape.synthetic("ETHUSDT", "1h", bars=5_000, seed=7)
for tactician in (Tactician(), FixedShare()):
    result = Backtester(tactician=tactician, monitor=Plain()).run(tape)
    net, deepest = result.stats["total_return"], result.stats["max_drawdown"]
    print(f"\n{type(tactician).__name__}: {len(result.trades)} trades, {net:+.2%}, largest drawdown {deepest:.2%}")
    print(result.trades["exit_reason"].value_counts().to_string(header=False))
