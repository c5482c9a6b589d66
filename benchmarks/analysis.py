"""The analyst: one complete opinion, and training it walk-forward on five years of hours."""

from __future__ import annotations

import asyncio
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np

from ares.analyst.analyst import Analyst
from ares.data.synthetic import synthetic_market
from ares.features.orchestrator import FeatureOrchestrator
from ares.market import MarketView, candles_of
from ares.training.dataset import TrainConfig
from ares.training.schedule import ScheduleConfig, schedule_models
from ares.training.trainer import TrainedModel, train
from ares.values import AnalysisInput

OPINIONS = 2000


def run(quick: bool) -> list[dict[str, Any]]:
    """Default features, default models."""
    market = synthetic_market(1, 3000 if quick else 45_000)
    features = FeatureOrchestrator()
    model = train(market.klines.iloc[:3000], features=features, config=TrainConfig(resamples=20))
    return [_opinion(market, features, model), _training(market, quick)]


def _opinion(market: Any, features: FeatureOrchestrator, model: TrainedModel) -> dict[str, Any]:
    """The median time of `execute_analysis` with every part switched on; warm, bar after bar."""
    stream = features.stream("ETHUSDT", "1h", sources=tuple(market.klines.columns[:9]))
    analyst = Analyst(model=model)
    given = []
    played = market.klines.iloc[-min(len(market.klines), OPINIONS + 1000) :]
    for candle in candles_of(played, "ETHUSDT", market.interval):
        row = stream.update(candle)
        view = MarketView(symbol="ETHUSDT", now_ns=row.known_ns, candle=candle, mark_price=candle.close)
        given.append(AnalysisInput(symbol="ETHUSDT", now_ns=row.known_ns, row=row, market=view))

    async def play() -> list[float]:
        times = []
        for question in given:
            begin = perf_counter()
            await analyst.execute_analysis(question)
            times.append(perf_counter() - begin)
        return times

    times = asyncio.run(play())[-OPINIONS:]
    judged = [r for r in analyst.get_analysis_results()["ETHUSDT"] if r.p_up is not None]
    return {
        "workload": f"execute_analysis, {len(model.data.columns)} columns, all parts, median",
        "ours": median(times) * 1e6,
        "peer": None,
        "ratio": None,
        "unit": "us",
        "note": f"target 300; p99 {np.quantile(times, 0.99) * 1e6:.0f}; {len(judged)} of the last 100 judged",
    }


def _training(market: Any, quick: bool) -> dict[str, Any]:
    """Fitting, calibrating and scoring every model of a schedule."""
    plan = ScheduleConfig(first=900, every=500) if quick else ScheduleConfig(first=4380, every=2030)
    begin, busy = perf_counter(), process_time()
    found = schedule_models(market.klines, schedule=plan, config=TrainConfig())
    taken, busy = perf_counter() - begin, process_time() - busy
    return {
        "workload": f"walk-forward training, {len(market.klines):,} hourly bars, {len(found.models) + 2} refits",
        "ours": taken,
        "peer": None,
        "ratio": None,
        "unit": "s",
        "note": f"target 300 for 45,000 bars; {busy:.0f} s of one processor; {len(found.data.columns)} columns, "
        "side, timing and meta model each",
    }
