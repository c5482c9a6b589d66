"""The rule analyst: it learns what really happened, knows nothing early, and abstains when it should."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from attrs import evolve
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ares.analyst.config import AnalystConfig, RuleConfig
from ares.analyst.reference import STATES
from ares.analyst.rules import RuleAnalyst
from ares.errors import DataError, InvalidInput, ModelError
from ares.instruments import Side
from ares.kernels.barriers import triple_barrier_batch
from ares.kernels.outcomes import driftless_chances
from ares.market import Candle, MarketView
from ares.protocols import AnalysisInput, AnalysisResult, FeatureRow
from tests.oracles.hypothetical_trades import tallies

HOUR = 3_600_000_000_000
T0 = 1_699_999_200_000_000_000
NAMES = ("volatility.ewma_128", "signal")
REFERENCE = (
    "volatility.ewma_32",
    "volatility.ewma_128",
    "trend.ema_distance_50",
    "wavelet.db4_slope",
    "trend.ema_distance_50@4h",
    "trend.di_plus_14",
    "trend.di_minus_14",
)
Bar = tuple[int, float, float, float, float, float]


def question(bar: Bar, values: Sequence[float], names: tuple[str, ...] = NAMES, ready: bool = True) -> AnalysisInput:
    open_ns = bar[0]
    row = FeatureRow(
        symbol="ETHUSDT",
        interval="1h",
        open_ns=open_ns,
        known_ns=open_ns + HOUR,
        schema_id="|".join(names),
        values=np.array(values),
        ready=ready,
        names=names,
    )
    candle = Candle(
        symbol="ETHUSDT",
        interval="1h",
        open_ns=open_ns,
        close_ns=open_ns + HOUR,
        open=bar[1],
        high=bar[2],
        low=bar[3],
        close=bar[4],
        volume=bar[5],
    )
    market = MarketView(symbol="ETHUSDT", now_ns=open_ns + HOUR, candle=candle, mark_price=bar[4])
    return AnalysisInput(symbol="ETHUSDT", now_ns=open_ns + HOUR, row=row, market=market)


def walk(n: int, seed: int = 0, drift: float = 0.0, gaps: bool = False) -> list[Bar]:
    """Hourly bars of a random walk; with `gaps` some are missing, have no volume, or open away from the last close."""
    rng = np.random.default_rng(seed)
    bars: list[Bar] = []
    price, hour = 3000.0, 0
    for _ in range(n):
        hour += 1 if not gaps or rng.random() > 0.05 else int(rng.integers(2, 6))
        if gaps and rng.random() < 0.1:
            price *= math.exp(0.02 * rng.standard_normal())
        path = price * np.exp(np.cumsum(0.0025 * rng.standard_normal(16) + drift / 16))
        volume = 0.0 if gaps and rng.random() < 0.05 else 10.0
        high, low = max(price, path.max()), min(price, path.min())
        bars.append((T0 + hour * HOUR, price, float(high), float(low), float(path[-1]), volume))
        price = float(path[-1])
    return bars


def signal(row: FeatureRow) -> float | None:
    value = row["signal"]
    return None if value == 0.0 else value


def run(
    analyst: RuleAnalyst, bars: Sequence[Bar], rows: NDArray[np.float64], names: tuple[str, ...] = NAMES
) -> list[AnalysisResult]:
    return [analyst.analyze(question(bar, row, names)) for bar, row in zip(bars, rows, strict=True)]


def rows_for(bars: Sequence[Bar], seed: int = 1) -> NDArray[np.float64]:
    """Volatility near 0.01 and a signal that changes at random."""
    rng = np.random.default_rng(seed)
    signals = rng.choice([-0.9, -0.5, 0.0, 0.1, 0.5, 1.0], size=len(bars))
    return np.column_stack([0.01 * np.exp(0.2 * rng.standard_normal(len(bars))), signals])


def reasons(result: AnalysisResult) -> list[str]:
    return [reason.code for reason in result.reasons]


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
    timeouts = analyst.save_state()["symbols"]["ETHUSDT"]["tally"][:, 4].reshape(3, 2)
    for cell in range(3):
        for odd, side in enumerate((1, -1)):
            want = expected.get((cell, side), {"target": 0, "stop": 0, "timeout": 0})
            assert learned[cell, odd].tolist() == [want["target"], want["stop"], want["timeout"], sum(want.values())]
            assert timeouts[cell, odd] == pytest.approx(returns.get((cell, side), 0.0), abs=1e-9)


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


# ---------------------------------------------------------------- when it abstains


@pytest.mark.parametrize(
    ("values", "ready", "code"),
    [
        ((0.01, 1.0), False, "row.not_ready"),
        ((math.nan, 1.0), True, "volatility.unknown"),
        ((0.0, 1.0), True, "volatility.unknown"),
        ((0.01, math.nan), True, "row.has_nan"),
        ((0.01, 0.0), True, "rule.abstained"),
        ((0.01, 1.0), True, "outcomes.too_few"),
    ],
)
def test_abstaining_has_its_reason(values: tuple[float, float], ready: bool, code: str) -> None:
    result = RuleAnalyst(signal).analyze(question(walk(1)[0], values, ready=ready))
    assert result.side is None
    assert result.confidence == 0.0
    assert reasons(result)[-1] == code


@pytest.mark.parametrize("late", [0, 1, 90 * 10**9, 400 * HOUR])
def test_the_age_of_the_features_is_told_also_when_abstaining(late: int) -> None:
    asked = question(walk(1)[0], (0.01, 0.0))
    at = asked.row.known_ns + late
    given = evolve(asked, now_ns=at, market=evolve(asked.market, now_ns=at))
    told = RuleAnalyst(signal).analyze(given)
    assert told.side is None and told.feature_age_ns == late
    assert evolve(asked, now_ns=asked.row.known_ns - 5).feature_age_ns == 0, "a clock that is behind"


def test_an_input_of_several_symbols_is_refused() -> None:
    asked = question(walk(1)[0], (0.01, 0.0))
    for changed in (
        {"symbol": "BTCUSDT"},
        {"row": evolve(asked.row, symbol="BTCUSDT")},
        {"market": evolve(asked.market, symbol="BTCUSDT")},
    ):
        with pytest.raises(InvalidInput, match="BTCUSDT"):
            evolve(asked, **changed)


def test_a_row_of_a_frame_is_known_when_its_own_bar_closes() -> None:
    names = ["signal"]
    for noted in (True, False):
        index = pd.date_range("2024-01-01", periods=40, freq="1h", tz="UTC", unit="ns")
        frame = pd.DataFrame(np.zeros((40, 1)), index=index, columns=names)
        if noted:
            frame.attrs["interval"] = "1h"
        for make in (FeatureRow.at, FeatureRow.from_frame):
            assert make(frame, "ETHUSDT", "1h").known_ns == index[-1].value + HOUR
            for wrong in ("4h", "15m"):
                with pytest.raises(InvalidInput, match=f"apart, not {wrong}"):
                    make(frame, "ETHUSDT", wrong)
    gappy = frame.iloc[[0, 1, 2, 3, 9, 10, 30]]
    assert FeatureRow.at(gappy, "ETHUSDT", "1h").open_ns == index[30].value


def test_a_stale_row_makes_it_abstain() -> None:
    believer = AnalystConfig(rules=RuleConfig(prior_win=0.7, prior_strength=500.0, min_matured=0))
    bars = walk(2)
    asked = question(bars[1], (0.01, 1.0))
    assert RuleAnalyst(signal, config=believer).analyze(asked).side is Side.BUY
    old = evolve(asked, row=question(bars[0], (0.01, 1.0)).row)
    assert reasons(RuleAnalyst(signal, config=believer).analyze(old))[-1] == "row.stale"
    late = evolve(asked, now_ns=asked.now_ns + HOUR)
    assert reasons(RuleAnalyst(signal, config=believer).analyze(late))[-1] == "row.stale"


def test_a_stated_belief_trades_from_the_first_bar_and_is_unlearned() -> None:
    believer = AnalystConfig(rules=RuleConfig(prior_win=0.65, prior_strength=100.0, min_matured=0))
    bars = walk(6000, seed=9, drift=-0.0015)
    rows = np.column_stack([np.full(len(bars), 0.01), np.ones(len(bars))])
    opinions = run(RuleAnalyst(lambda row: Side.BUY, config=believer), bars, rows)
    assert opinions[0].side is Side.BUY
    assert opinions[-1].side is None


def test_an_answer_that_is_no_conviction_is_refused() -> None:
    asked = question(walk(1)[0], (0.01, 1.0))
    with pytest.raises(InvalidInput, match=r"\[-1, 1\]"):
        RuleAnalyst(lambda row: 2.0).analyze(asked)
    with pytest.raises(InvalidInput, match="signal"):
        RuleAnalyst(lambda row: row["signl"]).analyze(asked)
    with pytest.raises(InvalidInput, match="config="):
        RuleAnalyst(AnalystConfig())  # type: ignore[arg-type]


# ---------------------------------------------------------------- the reference rule


def state_of(**changes: float) -> AnalysisResult:
    values = {
        "volatility.ewma_32": 0.01,
        "volatility.ewma_128": 0.01,
        "trend.ema_distance_50": 0.0,
        "wavelet.db4_slope": 0.0,
        "trend.ema_distance_50@4h": 0.0,
        "trend.di_plus_14": 0.2,
        "trend.di_minus_14": 0.2,
    }
    asked = question(walk(1)[0], [{**values, **changes}[name] for name in REFERENCE], REFERENCE)
    return RuleAnalyst().analyze(asked)


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "flat.usual"),
        ({"volatility.ewma_32": 0.008}, "flat.calm"),
        ({"volatility.ewma_32": 0.013}, "flat.wild"),
        ({"trend.ema_distance_50": 6.0, "wavelet.db4_slope": 0.6}, "up.usual"),
        ({"trend.ema_distance_50": -6.0, "trend.ema_distance_50@4h": -6.0}, "down.usual"),
        ({"trend.ema_distance_50": 6.0, "trend.ema_distance_50@4h": -6.0}, "flat.usual"),
    ],
)
def test_states_of_the_reference_rule(changes: dict[str, float], state: str) -> None:
    result = state_of(**changes)
    assert result.regime is not None
    assert result.regime.state == state
    assert result.regime.probabilities == {state: 1.0}
    assert reasons(result)[0] == f"state.{state}"


@pytest.mark.parametrize("name", REFERENCE)
def test_a_missing_value_in_any_of_its_columns_silences_the_reference_rule(name: str) -> None:
    result = state_of(**{name: math.nan})
    assert result.side is None
    assert result.p_up is None
    assert result.regime is None
    assert reasons(result)[-1] in {"row.has_nan", "volatility.unknown"}


def test_the_reference_rule_abstains_and_names_a_column_it_lacks() -> None:
    volatile = ("volatility.ewma_32", "volatility.ewma_128")
    for names, missing in ((NAMES, "volatility.ewma_32"), (volatile, "trend.ema_distance_50")):
        analyst = RuleAnalyst()
        for bar in walk(3):
            result = analyst.analyze(question(bar, (0.01, 0.01), names))
            assert result.side is None and result.p_up is None
            assert [(r.code, list(r.numbers)) for r in result.reasons] == [("row.lacks_column", [missing])]


def test_a_column_that_the_settings_name_must_be_there() -> None:
    misspelt = AnalystConfig(rules=RuleConfig(volatility="volatility.ewma_12"))
    with pytest.raises(InvalidInput, match=r"did you mean 'volatility\.ewma_128"):
        RuleAnalyst(config=misspelt).analyze(question(walk(1)[0], [0.01] * len(REFERENCE), REFERENCE))


def test_switches_do_what_they_say() -> None:
    asked = question(walk(1)[0], [0.01, 0.01, 0, 0, 0, 0.2, 0.2], REFERENCE)

    def with_(**switches: bool) -> AnalysisResult:
        return RuleAnalyst(config=AnalystConfig(**switches)).analyze(asked)  # type: ignore[arg-type]

    assert with_(enable_regime_classification=False).regime is None
    silent = with_(enable_ml_predictions=False)
    assert (silent.p_up, silent.p_down, silent.p_timeout, silent.side) == (None, None, None, None)
    assert silent.regime is not None
    assert reasons(silent)[-1] == "predictions.off"
    assert reasons(with_(enable_feature_engineering=False)) == ["features.off"]
    full = with_()
    assert (full.health, full.liquidation, full.technical) == (None, None, None)
    assert len(STATES) == 9


# ---------------------------------------------------------------- state, twins, history


@pytest.mark.parametrize("rule", [signal, None])
def test_a_saved_analyst_goes_on_bit_for_bit(rule: Callable[[FeatureRow], float | None] | None) -> None:
    config = AnalystConfig(horizon=6, rules=RuleConfig(min_matured=3))
    bars = walk(300, seed=11, gaps=True)
    names = NAMES if rule is not None else REFERENCE
    rows = rows_for(bars)
    if rule is None:
        rng = np.random.default_rng(2)
        volatility = 0.01 * np.exp(0.2 * rng.standard_normal((300, 2)))
        rows = np.column_stack([volatility, rng.standard_normal((300, 3)), 0.2 + 0.1 * rng.random((300, 2))])
    whole = RuleAnalyst(rule, config=config)
    expected = run(whole, bars, rows, names)
    first, second = RuleAnalyst(rule, config=config), RuleAnalyst(rule, config=config)
    run(first, bars[:140], rows[:140], names)
    second.load_state(first.save_state())
    assert run(second, bars[140:], rows[140:], names) == expected[140:]
    saved, other = whole.save_state()["symbols"]["ETHUSDT"], second.save_state()["symbols"]["ETHUSDT"]
    for name in ("when", "level", "tally", "low"):
        np.testing.assert_array_equal(saved[name], other[name])


def test_a_state_of_another_rule_is_refused() -> None:
    with pytest.raises(ModelError, match="reference"):
        RuleAnalyst(signal).load_state(RuleAnalyst().save_state())
    analyst = RuleAnalyst(signal)
    analyst.analyze(question(walk(1)[0], (0.01, 1.0)))
    state = analyst.save_state()
    state["symbols"]["ETHUSDT"]["tally"] = np.zeros((4, 4))
    with pytest.raises(ModelError, match="shape"):
        RuleAnalyst(signal).load_state(state)


def test_learning_from_frames_is_learning_bar_by_bar() -> None:
    bars = walk(400, seed=12, gaps=True)
    rows = rows_for(bars)
    index = pd.to_datetime([b[0] for b in bars], utc=True)
    klines = pd.DataFrame([b[1:] for b in bars], index=index, columns=["open", "high", "low", "close", "volume"])
    features = pd.DataFrame(rows, index=index, columns=list(NAMES))
    one, other = RuleAnalyst(signal), RuleAnalyst(signal)
    for number, (bar, row) in enumerate(zip(bars, rows, strict=True)):
        one.analyze(question(bar, row, ready=number >= 50))
    counted = other.learn("ETHUSDT", "1h", klines, features, warmup=50)
    assert counted > 0
    np.testing.assert_array_equal(one.tallies("ETHUSDT"), other.tallies("ETHUSDT"))
    assert other.learn("ETHUSDT", "1h", klines.iloc[-1:], features.iloc[-1:]) == 0
    with pytest.raises(InvalidInput, match="same open times"):
        other.learn("ETHUSDT", "1h", klines, features.iloc[1:])


def test_the_verb_and_its_twin_agree_and_results_are_bounded() -> None:
    bars = walk(30)
    rows = rows_for(bars)
    config = AnalystConfig(max_results=5)
    one, other = RuleAnalyst(signal, config=config), RuleAnalyst(signal, config=config)
    expected = run(one, bars, rows)

    async def verbs() -> list[AnalysisResult]:
        return [await other.execute_analysis(question(b, r)) for b, r in zip(bars, rows, strict=True)]

    assert asyncio.run(verbs()) == expected
    assert one.get_analysis_results()["ETHUSDT"] == tuple(expected[-5:])
    status = one.get_analysis_status()
    assert status["symbols"]["ETHUSDT"]["last_open_ns"] == bars[-1][0]  # type: ignore[index]
