"""What the rule analyst learns is what really happened, and it knows nothing early."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from attrs import evolve
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st

from ares.analyst.config import AnalystConfig, RuleConfig
from ares.analyst.rules import RuleAnalyst
from ares.errors import DataError, InvalidInput
from ares.instruments import Side
from ares.kernels.barriers import triple_barrier_batch
from ares.kernels.outcomes import driftless_chances
from tests.analyst.walks import HOUR, question, reasons, rows_for, run, signal, walk
from tests.oracles.hypothetical_trades import tallies

# ---------------------------------------------------------------- what it learns


@settings(max_examples=40)
@hypothesis_given(
    seed=st.integers(0, 10**6),
    horizon=st.integers(1, 12),
    valid=st.integers(1, 3),
    target=st.floats(0.2, 2.0),
    stop=st.floats(0.2, 2.0),
)
def test_outcomes_are_those_of_plain_python(seed: int, horizon: int, valid: int, target: float, stop: float) -> None:
    config = AnalystConfig(horizon=horizon, valid_bars=valid, target_multiple=target, stop_multiple=stop)
    analyst = RuleAnalyst(signal, config=config)
    bars = walk(150, seed, gaps=True)
    rows = rows_for(bars, seed + 1)
    run(analyst, bars, rows)
    scale = math.sqrt(horizon)
    states = []
    for volatility, score in rows:
        cell = -1 if score == 0.0 else min(2, int(abs(score) * 3))
        sides = (1,) if score > 0 else (-1,)
        states.append((cell, sides, (target * volatility * scale, stop * volatility * scale)))
    expected, returns = tallies(bars, states, horizon, HOUR, valid)
    learned = analyst.tallies("ETHUSDT")
    timeouts = analyst.save_state()["symbols"]["ETHUSDT"]["tally"][:, 4:].reshape(3, 2, 2)
    for cell in range(3):
        for odd, side in enumerate((1, -1)):
            want = expected.get((cell, side), {"target": 0, "stop": 0, "timeout": 0})
            assert learned[cell, odd].tolist() == [want["target"], want["stop"], want["timeout"], sum(want.values())]
            found = np.array(returns.get((cell, side), []))
            assert timeouts[cell, odd] == pytest.approx([found.sum(), found @ found], abs=1e-9)


def test_on_real_bars_the_outcomes_are_those_of_the_labels(real_data: Path) -> None:
    """Two roads: the learner bar by bar, and the labels' kernel over the whole history."""
    frame = pd.read_parquet(real_data / "market" / "um_ETHUSDT_1h.parquet").iloc[20_000:26_000]
    times = frame["open_time"].astype("datetime64[ns, UTC]").astype("int64").to_numpy()
    prices = np.ascontiguousarray(frame[["open", "high", "low", "close"]].to_numpy(dtype=float).T)
    volatility = np.sqrt(pd.Series(np.log(prices[3])).diff().pow(2).ewm(span=128).mean()).to_numpy()
    bars = list(zip(times.tolist(), *prices.tolist(), frame["volume"].tolist(), strict=True))
    rows = np.column_stack([volatility, np.where(np.isnan(volatility), np.nan, 1.0)])
    analyst = RuleAnalyst(lambda row: Side.BUY, config=AnalystConfig(horizon=24))
    run(analyst, bars, rows)
    n = len(bars)
    event = np.arange(1, n)
    widths = np.repeat((volatility[1:] * math.sqrt(24))[:, None], 2, axis=1)
    place, result = np.zeros((n - 1, 8), np.int64), np.zeros((n - 1, 2))
    nothing = np.zeros((2, 0))
    tradable = frame["volume"].to_numpy() > 0
    triple_barrier_batch(
        times, prices, tradable, HOUR, event, np.ones(n - 1, np.int64), widths, 24, np.zeros(6),
        np.zeros(0, np.int64), nothing, place, result,
    )  # fmt: skip
    counts, i = [0, 0, 0], 0
    while i < n - 1 and place[i, 0] == 0:
        counts[{1: 0, -1: 1, 0: 2}[int(place[i, 1])]] += 1
        i = int(place[i, 4]) - 1  # event i is decided at bar i + 1
    assert analyst.tallies("ETHUSDT")[2, 0, :3].tolist() == counts
    assert sum(counts) > 200


def test_a_driftless_market_teaches_the_driftless_chance() -> None:
    bars = walk(6000, seed=5)
    analyst = RuleAnalyst(lambda row: Side.BUY, config=AnalystConfig(horizon=12))
    rows = np.column_stack([np.full(len(bars), 0.01), np.ones(len(bars))])
    last = run(analyst, bars, rows)[-1]
    targets, stops, timeouts, total = analyst.tallies("ETHUSDT")[2, 0]
    assert last.p_up is not None
    assert last.p_timeout is not None
    assert last.p_up == pytest.approx(0.31, abs=4 * math.sqrt(0.31 * 0.69 / total))
    assert last.p_timeout == pytest.approx(0.37, abs=4 * math.sqrt(0.37 * 0.63 / total))
    assert targets + stops + timeouts == total


@pytest.mark.parametrize("sides", [(1.0, 1.0), (1.0, -1.0)])
def test_a_timeout_under_a_wide_stop_is_learned_as_a_loss_and_between_equal_widths_as_none(
    sides: tuple[float, float],
) -> None:
    """A driftless walk gains nothing: what its targets bring and its stops do not take, its timeouts lose."""
    bars = walk(6000, seed=5)
    rows = np.column_stack([np.full(len(bars), 0.01), np.resize(sides, len(bars))])
    width, wide = 0.01 * math.sqrt(12), 2.0 * 0.01 * math.sqrt(12)
    analyst = RuleAnalyst(signal, config=AnalystConfig(horizon=12, stop_multiple=2.0))
    last = run(analyst, bars, rows)[-1]
    target, stop, timeout = driftless_chances(1.0, 2.0)
    fair = (target * width - stop * wide) / timeout
    total = float(analyst.tallies("ETHUSDT")[2, :, 2].sum())
    assert total > 100
    assert last.timeout_loss == pytest.approx(fair, abs=4.0 * 0.7 * width / math.sqrt(total))
    assert last.timeout_loss > 0.1 * width
    equal = run(RuleAnalyst(signal, config=AnalystConfig(horizon=12)), bars, rows)
    assert {opinion.timeout_loss for opinion in equal} == {0.0}


def test_a_drift_is_found_and_traded_and_its_opposite_is_not() -> None:
    bars = walk(6000, seed=6, drift=0.0015)
    rows = np.column_stack([np.full(len(bars), 0.01), np.ones(len(bars))])
    long = run(RuleAnalyst(lambda row: Side.BUY), bars, rows)[-1]
    short = run(RuleAnalyst(lambda row: Side.SELL), bars, rows)[-1]
    assert long.side is Side.BUY
    assert long.confidence_low is not None
    assert 0.0 < long.confidence_low < long.confidence == long.p_up
    assert short.side is None
    assert "edge.below_break_even" in reasons(short)
    assert short.confidence == 0.0


def test_old_outcomes_fade_when_memory_is_short() -> None:
    bars = walk(2000, seed=7)
    rows = np.column_stack([np.full(len(bars), 0.01), np.ones(len(bars))])
    analyst = RuleAnalyst(lambda row: 1.0, config=AnalystConfig(rules=RuleConfig(memory=20.0)))
    run(analyst, bars, rows)
    faded = analyst.tallies("ETHUSDT")[2, 0]
    assert faded[:3].sum() == pytest.approx(1.0 / (1.0 - math.exp(-1 / 20.0)), rel=0.05)
    assert faded[3] > 60


# ---------------------------------------------------------------- what it may not know


@settings(max_examples=25)
@hypothesis_given(seed=st.integers(0, 10**6), cut=st.integers(20, 120))
def test_the_future_changes_no_past_opinion(seed: int, cut: int) -> None:
    config = AnalystConfig(horizon=6, rules=RuleConfig(min_matured=3, confidence_level=0.5))
    bars, other = walk(160, seed, gaps=True), walk(160, seed + 1, gaps=True)
    moved = [(b[0] + bars[cut - 1][0], *b[1:]) for b in other[: 160 - cut]]
    changed = bars[:cut] + moved
    rows = rows_for(bars, seed)
    first = run(RuleAnalyst(signal, config=config), bars, rows)
    second = run(RuleAnalyst(signal, config=config), changed, rows)  # type: ignore[arg-type]
    assert first[:cut] == second[:cut]


def test_a_bar_counts_once_and_its_opinion_stays_the_same() -> None:
    bars = walk(200, seed=3)
    rows = rows_for(bars)
    once, twice = RuleAnalyst(signal), RuleAnalyst(signal)
    for bar, row in zip(bars, rows, strict=True):
        expected = once.analyze(question(bar, row))
        assert twice.analyze(question(bar, row)) == expected
        assert twice.analyze(question(bar, row)) == expected
    np.testing.assert_array_equal(once.tallies("ETHUSDT"), twice.tallies("ETHUSDT"))


def test_bars_from_the_future_are_refused_and_those_of_the_past_get_no_opinion() -> None:
    bars = walk(3)
    analyst = RuleAnalyst(signal, config=AnalystConfig(rules=RuleConfig(prior_win=0.9, min_matured=0)))
    late = question(bars[1], (0.01, 1.0))
    with pytest.raises(DataError, match="cannot be known"):
        analyst.analyze(evolve(late, now_ns=late.now_ns - 1))
    assert analyst.analyze(late).side is Side.BUY
    before = analyst.save_state()["symbols"]["ETHUSDT"]
    past = analyst.analyze(question(bars[0], (0.01, 1.0)))
    assert (past.side, past.p_up, reasons(past)) == (None, None, ["row.outdated"])
    after = analyst.save_state()["symbols"]["ETHUSDT"]
    assert repr(before) == repr(after)
    with pytest.raises(InvalidInput, match="1h bars"):
        analyst.analyze(evolve(late, row=evolve(late.row, interval="4h")))
