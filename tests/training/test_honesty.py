"""Honesty: nothing is found where there is nothing, what is planted is found, and reality is reported as it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from attrs import evolve
from scipy.stats import norm, t

from ares.analyst.analyst import Analyst
from ares.analyst.config import AnalystConfig
from ares.analyst.rules import RuleAnalyst
from ares.backtesting.backtester import Backtester
from ares.data.synthetic import SyntheticConfig, synthetic_market
from ares.features.config import FeatureConfig
from ares.features.orchestrator import FeatureOrchestrator
from ares.simulation.tape import Tape
from ares.training.dataset import TrainConfig
from ares.training.folds import Estimators
from ares.training.schedule import ModelSchedule, ScheduleConfig, schedule_models
from ares.training.trainer import TrainedModel
from tests.training.markets import QUICK, market, orchestrator, quick, small_trees

WIDE = evolve(QUICK, resamples=200)
SURE = 4.0  # standard errors: chance goes so far once in 16,000


def brownian(bars: int, seed: int) -> pd.DataFrame:
    """Geometric Brownian motion in 12 steps an hour: open, high, low and close of each hour."""
    rng = np.random.default_rng(seed)
    path = np.exp(np.cumsum(rng.standard_normal(bars * 12 + 1) * 0.006 / np.sqrt(12)))
    inner = np.stack([path[k : k + 12 * bars : 12] for k in range(13)], axis=1) * 2000.0
    volume = rng.lognormal(8.0, 0.3, bars)
    index = pd.date_range("2022-01-01", periods=bars, freq="h", tz="UTC", name="open_time").as_unit("ns")
    columns = {"open": inner[:, 0], "high": inner.max(axis=1), "low": inner.min(axis=1), "close": inner[:, -1]}
    return pd.DataFrame({**columns, "volume": volume}, index=index)


@pytest.mark.parametrize(("seed", "stop"), [(1, 2.0), (4, 3.0)])
def test_a_rule_under_a_wide_stop_finds_next_to_nothing_in_brownian_motion(seed: int, stop: float) -> None:
    """Its timeouts lose, and how many and how much is not known for sure; else break-even would be low, and bets on
    nothing many."""
    bars = brownian(12_000, seed)
    result = Backtester(analyst=RuleAnalyst(config=AnalystConfig(stop_multiple=stop))).run(bars, symbol="ETHUSDT")
    assert (result.decisions["refused_by"] == "edge.below_break_even").mean() > 0.5, "it is the odds that refuse"
    assert len(result.trades) < 0.005 * len(bars)


def dealt(klines: pd.DataFrame, block: int, seed: int) -> pd.DataFrame:
    """The same bars in blocks of another order, prices joined: marginals and short memory kept, the order lost."""
    rng = np.random.default_rng(seed)
    n = len(klines) // block * block
    order = rng.permutation(n // block)[:, None] * block + np.arange(block)
    at = order.ravel()
    close = klines["close"].to_numpy()
    before = np.concatenate([[klines["open"].iloc[0]], close[:-1]])
    shape = {name: klines[name].to_numpy()[at] / before[at] for name in ("open", "high", "low", "close")}
    level = klines["open"].iloc[0] * np.concatenate([[1.0], np.cumprod(shape["close"])[:-1]])
    frame = pd.DataFrame({name: level * x for name, x in shape.items()}, index=klines.index[:n])
    return frame.assign(volume=klines["volume"].to_numpy()[at])


def every_bet(model: TrainedModel) -> tuple[float, float, float]:
    """A bet on each out-of-sample lean, whatever its confidence: what leaning adds to a coin's choice of side, the mean
    return after costs, and the standard error of both."""
    data, found = model.data, model.out_of_sample
    at = np.flatnonzero(found.tested & (found.side != 0))
    net = data.bets(found.side).net[at]
    coin = (data.long.net[at] + data.short.net[at]) / 2.0
    effective = at.size * data.uniqueness  # labels overlap
    return float((net - coin).mean()), float(net.mean()), float(net.std(ddof=1) / np.sqrt(effective))


def assert_nothing_found(model: TrainedModel) -> None:
    """No direction, no profit, and enough data that either would have shown."""
    direction = model.scores.direction_wide
    doubt = (direction.high - direction.low) / (2 * norm.ppf(0.995))
    assert abs(direction.value - 0.5) < SURE * doubt, direction
    assert SURE * doubt < 0.12, "too few bars to tell"
    added, net, error = every_bet(model)
    assert abs(added) < SURE * error, "leaning is better or worse than a coin"
    assert net < added, "a coin pays the costs"
    assert SURE * error < 0.005, "too few bets to tell"
    assert model.scores.trading.bets < 0.02 * model.scores.rows, "bets are taken on nothing"


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_found_in_brownian_motion(seed: int) -> None:
    assert_nothing_found(quick(brownian(30_000, seed), WIDE))


def test_nothing_is_found_in_real_returns_dealt_anew(real_data: Path) -> None:
    assert_nothing_found(quick(dealt(hours(real_data, "ETHUSDT"), 24, 5), WIDE))


@cache
def planted() -> TrainedModel:
    """Of a market with an edge, long enough for each of its figures to be plain."""
    return quick(market(20_000, 0.5).klines, WIDE)


def test_the_same_judgement_finds_a_planted_edge() -> None:
    added, net, error = every_bet(planted())
    assert added > SURE * error and net > 0.0


def test_a_planted_edge_is_found_and_pays() -> None:
    model = planted()
    assert model.scores.direction_wide.low > 0.5
    assert model.scores.confidence.brier_skill.value > 0.0
    bets = model.scores.trading
    assert bets.bets > 50
    assert bets.mean > 0.0
    assert bets.share_below > 0.99


def test_the_confidence_of_a_planted_edge_is_what_comes_true() -> None:
    """Its size is estimated: the mean confidence of the bets lies in the interval of their hits."""
    model = planted()
    frame = model.predictions
    chosen = frame[frame["low"] > frame["needed"]]
    hits = chosen["hit"].to_numpy(dtype=float)
    effective = max(5.0, hits.size * model.data.uniqueness)
    error = np.sqrt(hits.mean() * (1 - hits.mean()) / effective)
    assert abs(chosen["confidence"].mean() - hits.mean()) < SURE * error


def traded(predictability: float) -> tuple[float, np.ndarray]:
    """Returns and net profits through the whole bot, trained on the first part of three markets, traded on the rest."""
    total, nets = 0.0, []
    for seed in (4, 5, 9):
        klines = synthetic_market(seed, 6500, config=SyntheticConfig(predictability=predictability)).klines
        bot = Backtester(features=orchestrator(), analyst=Analyst(model=quick(klines.iloc[:5000])))
        result = bot.run(klines, start=int(klines.index[5000].value))
        total += float(result.stats["total_return"])
        nets.append(result.trades["net"].to_numpy(dtype=float))
    return total, np.concatenate(nets)


def test_through_the_whole_bot_an_edge_earns_and_nothing_earns_nothing() -> None:
    edge, _ = traded(0.5)
    assert edge > 0.0
    _, nets = traded(0.0)
    if nets.size > 1:  # few trades, so that their own spread is little known: Student's distribution
        sure = t.isf(norm.sf(SURE), nets.size - 1)
        assert nets.sum() - sure * nets.std(ddof=1) * np.sqrt(nets.size) <= 0.0


# ---------------------------------------------------------------- reality


@cache
def hours(folder: Path, symbol: str) -> pd.DataFrame:
    return Tape.from_file(folder / "market" / f"um_{symbol}_1h.parquet", symbol=symbol).frame(symbol)


def reality(folder: Path, symbol: str) -> ModelSchedule:
    """Five years of hours, the last three and more traded by models retrained twice a year."""
    groups = ("returns", "volatility", "trend", "momentum", "volume")
    return schedule_models(
        hours(folder, symbol).iloc[-43_800:],
        schedule=ScheduleConfig(first=8760, every=4380),
        config=TrainConfig(threads=1, resamples=100),
        features=FeatureOrchestrator(FeatureConfig(groups=groups)),
        estimators=Estimators(side=small_trees(), timing=small_trees(), meta=small_trees()),
    )


@pytest.mark.parametrize("symbol", ["ETHUSDT", "BTCUSDT"])
def test_calibration_on_real_hours_is_reported_good_or_bad(
    real_data: Path, symbol: str, record_property: Callable[[str, object], None]
) -> None:
    found = reality(real_data, symbol)
    tested = found.predictions.index
    assert tested[-1] - tested[0] > pd.Timedelta(days=3 * 365 - 30)
    figures = found.scores.figures()
    for name, value in figures.items():
        record_property(f"{symbol} {name}", value)
    c = found.scores.confidence
    assert c.brier_skill.low <= c.brier_skill.value <= c.brier_skill.high
    assert c.calibration_error.value < 0.1, "a calibrated confidence is not ten points off on average"
    assert 0.4 < found.scores.direction.value < 0.6, "a greater skill on real hours would be a leak, not a discovery"
    print(symbol, {name: round(value, 4) for name, value in figures.items()})
