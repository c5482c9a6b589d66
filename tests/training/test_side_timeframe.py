"""Sides decided on a higher timeframe, entries timed on the base bars: when each is asked, and what it may read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from attrs import evolve

from ares.analyst.active import bars_since_close
from ares.analyst.analyst import Analyst
from ares.analyst.config import AnalystConfig
from ares.analyst.dual_model import DualModel
from ares.analyst.memory import Memory
from ares.data.synthetic import SyntheticConfig, synthetic_market
from ares.errors import InvalidInput
from ares.features.config import AutoencoderConfig, FeatureConfig
from ares.features.orchestrator import FeatureOrchestrator
from ares.instruments import Interval
from ares.market import MarketView, candles_of
from ares.training.card import model_card
from ares.training.dataset import make_dataset
from ares.training.folds import Estimators, walk_forward
from ares.training.labels import BarrierConfig, Costs
from ares.training.placebo import importance
from ares.training.schedule import ScheduleConfig, schedule_models
from ares.training.trainer import TrainedModel, train
from ares.values import AnalysisInput, AnalysisResult, FeatureRow
from tests.training.markets import QUICK, small_trees

QUARTER, HOUR = 900 * 10**9, 3600 * 10**9
LIVES = 2  # bars after a close within which an entry may still come
FREE = Costs(taker_fee=0.0, maker_fee=0.0, half_spread=0.0, slippage=0.0, assumed_funding=0.0)  # so that bets are many
CONFIG = evolve(
    QUICK,
    side_timeframe="1h",
    time_to_live=LIVES,
    folds=3,
    bound_level=0.5,
    barriers=BarrierConfig(horizon=24, costs=FREE),
)
SETTINGS = FeatureConfig(
    groups=("returns", "volatility", "momentum", "autoencoder"),
    timeframes=("1h", "4h"),
    autoencoder=AutoencoderConfig(codes=2, hidden=8, max_iterations=10),
)
TRAINED, BARS = 6000, 6800


@cache
def klines() -> pd.DataFrame:
    return synthetic_market(1, BARS, "15m", config=SyntheticConfig(predictability=0.5)).klines


def features() -> FeatureOrchestrator:
    return FeatureOrchestrator(SETTINGS)


@cache
def model() -> TrainedModel:
    parts = {name: small_trees() for name in ("side", "timing", "meta")}
    return train(klines().iloc[:TRAINED], features=features(), config=CONFIG, **parts)


@cache
def opinions() -> list[tuple[FeatureRow, AnalysisResult]]:
    """What the analyst says at each bar that the model was not trained on."""
    stream, analyst = features().stream("ETHUSDT", "15m"), Analyst(AnalystConfig(round_trip_cost=0.0), model=model())
    said = []
    for number, candle in enumerate(candles_of(klines(), "ETHUSDT", Interval.parse("15m"))):
        row = stream.update(candle)
        if number >= TRAINED:
            view = MarketView(symbol="ETHUSDT", now_ns=row.known_ns, candle=candle, mark_price=candle.close)
            given = AnalysisInput(symbol="ETHUSDT", now_ns=row.known_ns, row=row, market=view)
            said.append((row, analyst.analyze(given)))
    return said


def judged() -> Iterator[tuple[int, FeatureRow, AnalysisResult, dict[str, float], set[str]]]:
    """Age of the decision, row, opinion, its numbers, and all reasons."""
    for row, result in opinions():
        numbers = next((r.numbers for r in result.reasons if r.code == "model.judged"), None)
        if numbers is not None:
            age = row.known_ns % HOUR // QUARTER
            yield int(age), row, result, dict(numbers), {r.code for r in result.reasons}


@pytest.mark.parametrize(("base", "higher"), [("15m", "1h"), ("1h", "1d"), ("1d", "1w")])
def test_a_higher_bar_closes_where_its_columns_change(base: str, higher: str) -> None:
    market = synthetic_market(2, 1800, base)
    only = FeatureConfig(groups=("returns",), timeframes=(higher,))
    table = FeatureOrchestrator(only).compute(market.klines)
    column = table[f"returns.log_1@{higher}"].to_numpy()
    opened = pd.DatetimeIndex(market.klines.index).as_unit("ns").asi8
    step = int(opened[1] - opened[0])
    length = {"1h": HOUR, "1d": 24 * HOUR, "1w": 168 * HOUR}[higher]
    age = bars_since_close(opened, step, length)
    changed = np.flatnonzero(np.isfinite(column[1:]) & (np.diff(column) != 0)) + 1
    assert changed.size > 50
    assert (age[changed] == 0).all()
    assert changed.size >= 0.98 * (age[changed[0] :] == 0).sum()


def test_sides_are_learnt_at_closes_and_timing_at_every_bar_of_the_time_to_live() -> None:
    data = model().data
    age = data.t0 % HOUR // QUARTER
    assert set(age.tolist()) == set(range(LIVES + 1))
    assert np.array_equal(data.decided, age == 0)
    assert all("@" in name for name in data.side_columns)
    assert not any("@" in name for name in data.timing_columns)
    assert model().bundle["side"].spec.columns == data.side_columns
    assert model().bundle["timing"].spec.columns == data.timing_columns
    between = ~data.decided[1:] & (np.diff(data.event) == 1)
    side = data.side_rows
    assert np.array_equal(side[1:][between], side[:-1][between], equal_nan=True), "a side stands until the next close"
    found = model().out_of_sample
    same = between & (np.diff(found.fold) == 0)
    assert np.array_equal(found.sides[1:][same], found.sides[:-1][same], equal_nan=True)


def test_outcomes_of_rows_that_decide_nothing_never_reach_the_side_model() -> None:
    data = model().data
    parts = {name: small_trees() for name in ("side", "timing", "meta")}
    dealt = np.where(data.decided, data.y, -data.y)
    usual = walk_forward(data, Estimators(side=parts["side"]), CONFIG)
    other = walk_forward(evolve(data, y=dealt), Estimators(side=parts["side"]), CONFIG)
    assert np.array_equal(usual.sides, other.sides, equal_nan=True)


def test_the_side_stands_between_closes_while_timing_is_asked_anew() -> None:
    lean: dict[int, set[tuple[float, float]]] = {}
    timing: dict[int, set[float]] = {}
    for _, row, _, numbers, _ in judged():
        decided = row.known_ns // HOUR
        lean.setdefault(decided, set()).add((numbers["side"], numbers["lean"]))
        timing.setdefault(decided, set()).add(numbers["timing"])
    assert len(lean) > 100
    assert all(len(found) == 1 for found in lean.values())
    assert sum(len(found) > 1 for found in timing.values()) > 0.8 * len(timing)


def test_an_entry_comes_at_its_moment_within_the_time_to_live_or_not_at_all() -> None:
    entered: dict[int, int] = dict.fromkeys(range(4), 0)
    waited = late = 0
    for age, _, result, numbers, codes in judged():
        wanted = result.side is not None or codes & {"timing.wait", "timing.lapsed"}
        if result.side is not None:
            entered[age] += 1
            assert numbers["timing"] >= 0.5
            assert numbers["low"] > numbers["needed"]
        elif wanted and age <= LIVES:
            waited += 1
            assert "timing.wait" in codes
            assert numbers["timing"] < 0.5
        elif wanted:
            late += 1
            assert "timing.lapsed" in codes
    assert entered[3] == 0
    assert entered[0] > 0
    assert entered[1] + entered[2] > 0, "asked again on the lower bars"
    assert waited > 0
    assert late > 0


def test_a_new_close_is_a_new_decision_and_a_lapsed_one_stays_lapsed() -> None:
    def asked(memory: Memory, quarter: int, timing: float, wanted: bool = True) -> str | None:
        row: Any = type("Row", (), {"open_ns": quarter * QUARTER, "known_ns": (quarter + 1) * QUARTER})
        age = (quarter + 1) % 4
        reason = memory.moment(row, LIVES, 1, timing, wanted=wanted, age=age)
        return None if reason is None else reason.code

    memory = Memory.fresh(AnalystConfig(), None)
    answers = [asked(memory, q, t) for q, t in ((3, 0.4), (4, 0.4), (5, 0.6), (6, 0.9), (7, 0.6), (8, 0.3), (9, 0.3))]
    expected = ["timing.wait", "timing.wait", None, "timing.lapsed", None, "timing.wait", "timing.wait"]
    assert answers == expected
    assert asked(memory, 10, float("nan")) == "timing.lapsed", "without a timing model the time to live ends as well"
    assert asked(memory, 11, float("nan")) is None


def test_a_session_says_what_the_walk_forward_code_says_bit_for_bit() -> None:
    data = make_dataset(klines(), CONFIG, features(), head=model().data.head)
    assert data.columns == model().data.columns == DualModel(bundle=model().bundle).columns
    batch = DualModel(bundle=model().bundle).judge(data.X)
    place = {int(ns): i for i, ns in enumerate(data.open_ns)}
    compared = 0
    for row, result in opinions():
        i = place.get(row.open_ns)
        if i is not None and result.p_up is not None:
            compared += 1
            assert (result.p_up, result.p_down) == (batch.p_up[i], batch.p_down[i])
    assert compared > 300


def test_a_schedule_of_such_models_scores_those_that_trade() -> None:
    parts = Estimators(side=small_trees(10), timing=small_trees(10), meta=small_trees(10))
    plan = ScheduleConfig(first=3000, every=900, delay=16)
    made = schedule_models(klines(), schedule=plan, config=CONFIG, features=features(), estimators=parts)
    for number, each in enumerate(made.models):
        rows = np.flatnonzero(made.out_of_sample.fold == number + 2)
        again = DualModel(bundle=each.loaded.model).judge(made.data.X[rows])
        assert np.array_equal(again.confidence, made.out_of_sample.confidence[rows])
    assert len(made.models) >= 2


def test_the_card_and_the_importance_speak_of_the_side_models_columns() -> None:
    text = model_card(model(), symbol="ETHUSDT").markdown()
    assert f"at {int(model().data.decided.sum()):,} closes of 1h" in text
    assert "asked at each 15m bar" in text
    groups = importance(model().data, small_trees(10), CONFIG, repeats=1).loss
    assert set(groups) == {name.partition(".")[0] for name in model().data.side_columns}


def test_what_cannot_be_is_refused() -> None:
    some = klines().iloc[:2000]
    with pytest.raises(InvalidInput, match="multiple"):
        make_dataset(some, evolve(CONFIG, side_timeframe="20m"), features())
    with pytest.raises(InvalidInput, match="timeframes"):
        make_dataset(some, evolve(CONFIG, side_timeframe="12h"), features())
    with pytest.raises(InvalidInput, match="every"):
        evolve(CONFIG, events="cusum")
