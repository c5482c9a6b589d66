"""A model trained on a tape with trades and statistics reads the columns that sessions give it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from attrs import evolve

from ares.analyst.analyst import Analyst
from ares.backtesting.backtester import Backtester
from ares.features.config import FeatureConfig
from ares.features.orchestrator import FeatureOrchestrator
from ares.protocols import AnalysisInput, AnalysisResult
from ares.simulation.tape import Tape
from ares.training.dataset import TrainConfig, make_dataset, recorded_of
from ares.training.labels import BarrierConfig
from ares.training.trainer import train
from tests.training.markets import small_trees

CONFIG = FeatureConfig(groups=("flow", "volatility"), timeframes=(), sources=("agg_trades",))
PLAN = TrainConfig(folds=3, barriers=BarrierConfig(horizon=6), timing=False, meta=False, first_share=0.3)


@pytest.fixture(scope="module")
def tape(real_data: Path) -> Tape:
    trades = pd.read_parquet(real_data / "market" / "um_APEUSDT_aggTrades_2024-10-18.parquet")
    grouped = trades.set_index(pd.DatetimeIndex(trades.time).as_unit("ns")).resample("1min")
    bars = grouped.price.ohlc()
    bars["close"] = bars.close.ffill()
    for name in ("open", "high", "low"):
        bars[name] = bars[name].fillna(bars.close)
    bars["volume"] = grouped.quantity.sum()
    bars.index.name = "open_time"
    return Tape.from_frame(bars, symbol="APEUSDT", agg_trades=trades)


def test_a_trained_model_decides_on_the_rows_it_was_trained_on(tape: Tape) -> None:
    model = train(tape, symbol="APEUSDT", features=FeatureOrchestrator(CONFIG), config=PLAN, side=small_trees(10))
    assert any(name.startswith("flow.") for name in model.data.columns)
    seen: dict[int, np.ndarray] = {}
    opinions: list[AnalysisResult] = []

    analyst = Analyst(model=model)

    class Watched:
        def analyze(self, given: AnalysisInput) -> AnalysisResult:
            assert given.row is not None and given.row.schema_id == model.data.fingerprint
            places = [given.row.names.index(name) for name in model.data.columns]
            seen[given.row.open_ns] = given.row.values[places]
            opinions.append(analyst.analyze(given))
            return opinions[-1]

        async def execute_analysis(self, given: AnalysisInput) -> AnalysisResult:
            return self.analyze(given)

    Backtester(features=FeatureOrchestrator(CONFIG), analyst=Watched()).run(tape)
    rows = np.array([seen[at] for at in model.data.open_ns.tolist()])
    np.testing.assert_array_equal(rows, model.data.X)
    assert sum(o.p_up is not None for o in opinions) > len(model.data) / 2


def test_a_frame_has_nothing_beside_it_and_a_default_set_asks_for_nothing(tape: Tape) -> None:
    assert recorded_of(tape.frame(), None, FeatureOrchestrator(CONFIG)) == {}
    assert recorded_of(tape, "APEUSDT", FeatureOrchestrator()) == {}
    features = FeatureOrchestrator(CONFIG)
    bare = make_dataset(tape.frame(), evolve(PLAN, first_share=0.3), features)
    assert not any(name.startswith("flow.") for name in bare.columns)  # all of it is missing
