"""Wire the stages yourself: klines to features to opinion to plan to order, then let the monitor look after it.

The exchange here is simulated and owns a virtual clock, so a week passes in a moment. On another `Exchange` the same
lines trade for real.
"""

import asyncio

from ares import (
    AnalysisInput,
    FeatureOrchestrator,
    FeatureRow,
    PositionMonitor,
    RuleAnalyst,
    SimulatedExchange,
    Tactician,
    TacticsInput,
    Tape,
)
from ares.analyst.config import AnalystConfig, RuleConfig
from ares.market import MarketView

# A young rule knows few outcomes, so this one leans on a stated prior instead of abstaining until it has seen enough.
rules = AnalystConfig(rules=RuleConfig(min_matured=0, prior_win=0.7))


def dip(row: FeatureRow) -> float:
    """Buy what fell, sell what rose: a conviction in [-1, 1]."""
    return 1.0 if row["momentum.rsi_14"] < 0.5 else -1.0


async def main() -> None:
    tape = Tape.synthetic("ETHUSDT", "1h", bars=2_000, seed=11)
    analyst, tactician = RuleAnalyst(dip, config=rules), Tactician()
    async with SimulatedExchange(tape) as exchange:
        klines = await exchange.get_klines("ETHUSDT", "1h", 1000)
        ticker = await exchange.get_ticker("ETHUSDT")
        book = await exchange.get_order_book("ETHUSDT", 10)
        features = await FeatureOrchestrator().generate_all_features(klines_df=klines)

        now = exchange.clock.now_ns()
        market = MarketView(symbol="ETHUSDT", now_ns=now, ticker=ticker, book=book)
        row = FeatureRow.at(features, "ETHUSDT", "1h")
        analysis = await analyst.execute_analysis(AnalysisInput(symbol="ETHUSDT", now_ns=now, row=row, market=market))
        print("opinion:", analysis.side, f"{analysis.confidence:.2f}", *analysis.reasons)

        tactics = await tactician.execute_tactics(
            TacticsInput(
                analysis=analysis,
                instrument=await exchange.get_instrument("ETHUSDT"),
                account=await exchange.get_account(),
                market=market,
            )
        )
        print("plan:", *tactics.reasons, sep="\n  ")
        if tactics.plan is None:
            return
        monitor = PositionMonitor(exchange=exchange, analyst=analyst)
        order = await exchange.create_order(
            symbol="ETHUSDT", side=tactics.plan.side, order_type="MARKET", quantity=tactics.plan.quantity
        )
        monitor.add_position(order.order_id, await exchange.wait_filled(order))
        await monitor.start_monitoring()  # looks every 10 s, rests a stop at the venue, exits by itself
        await exchange.advance(bars=48)
        await monitor.stop_monitoring()
        status = monitor.get_position_status(order.order_id)
        print("position:", status["state"], status["action"], *status["assessments"][-1].reasons)
        print("equity:", (await exchange.get_account()).equity)


asyncio.run(main())
