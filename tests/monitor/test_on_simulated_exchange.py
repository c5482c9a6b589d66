"""The flow a user writes by hand: stages wired to a simulated exchange, and the monitor exits by itself."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ares.analyst.config import AnalystConfig, RuleConfig
from ares.analyst.rules import RuleAnalyst
from ares.features.config import FeatureConfig
from ares.features.orchestrator import FeatureOrchestrator
from ares.instruments import Side
from ares.market import MarketView
from ares.monitor.config import MonitorConfig
from ares.monitor.position_monitor import PositionMonitor
from ares.protocols import AnalysisInput, Exchange, FeatureRow, TacticsInput, TradePlan
from ares.simulation.simulated_exchange import SimulatedExchange
from ares.simulation.tape import Tape
from ares.tactician.tactician import Tactician

FEW = FeatureConfig(groups=("returns", "volatility", "trend"), timeframes=())
BELIEVER = AnalystConfig(horizon=12, rules=RuleConfig(prior_win=0.75, prior_strength=200.0, min_matured=0))


async def planned(exchange: Exchange, side: Side) -> TradePlan:
    """The first six steps of the pipeline, by hand."""
    klines = await exchange.get_klines("ETHUSDT", "1h", 400)
    features = await FeatureOrchestrator(FEW).generate_all_features(klines_df=klines)
    ticker = await exchange.get_ticker("ETHUSDT")
    opened = int(klines.index.as_unit("ns").asi8[-1])  # type: ignore[attr-defined]
    now = opened + 3_600_000_000_000
    row = FeatureRow(
        symbol="ETHUSDT",
        interval="1h",
        open_ns=opened,
        known_ns=now,
        schema_id="frame",
        values=features.iloc[-1].to_numpy(),
        ready=True,
        names=tuple(features.columns),
    )
    market = MarketView(symbol="ETHUSDT", now_ns=now, ticker=ticker)
    analyst = RuleAnalyst(lambda row: side, config=BELIEVER)
    analysis = await analyst.execute_analysis(AnalysisInput(symbol="ETHUSDT", now_ns=now, row=row, market=market))
    instrument, account = await exchange.get_instrument("ETHUSDT"), await exchange.get_account()
    tactics = await Tactician().execute_tactics(
        TacticsInput(analysis=analysis, instrument=instrument, account=account, market=market)
    )
    assert tactics.plan is not None, tactics.reasons
    return tactics.plan


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
@pytest.mark.parametrize("with_plan", [True, False])
async def test_a_position_is_protected_watched_and_closed(side: Side, with_plan: bool) -> None:
    tape = Tape.synthetic("ETHUSDT", "1h", bars=700, seed=3)
    async with SimulatedExchange(tape, start=int(tape.tracks[0].open_ns[500])) as exchange:
        plan = await planned(exchange, side)
        await exchange.set_leverage("ETHUSDT", plan.leverage)
        order = await exchange.create_order(
            symbol="ETHUSDT", side=plan.side, order_type="MARKET", quantity=plan.quantity
        )
        position = await exchange.wait_filled(order)
        monitor = PositionMonitor(MonitorConfig(default_horizon=12), exchange=exchange)
        monitor.add_position(order.order_id, position, plan=plan if with_plan else None)
        await monitor.start_monitoring()
        (stop,) = await exchange.get_open_orders("ETHUSDT")
        assert stop.reduce_only
        assert stop.quantity == plan.quantity
        assert stop.side is side.opposite
        if with_plan:
            assert stop.stop_price == plan.stop
        await exchange.advance(bars=30)
        assert await exchange.get_positions("ETHUSDT") == ()
        assert await exchange.get_open_orders("ETHUSDT") == ()
        status = monitor.get_position_status(order.order_id)
        assert (status["state"], status["error"]) == ("closed", "")
        account = await exchange.get_account()
        assert account.realised - account.fees + account.funding == account.wallet - account.start
        assert account.fees > Decimal(0)
        await monitor.stop_monitoring()
