"""The rule analyst: it abstains when it should, and goes on where it was saved."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from attrs import evolve

from ares.analyst.config import AnalystConfig, RuleConfig
from ares.analyst.reference import STATES
from ares.analyst.rules import RuleAnalyst
from ares.errors import InvalidInput, ModelError
from ares.instruments import Side
from ares.protocols import AnalysisResult, FeatureRow
from tests.analyst.walks import HOUR, NAMES, REFERENCE, question, reasons, rows_for, run, signal, walk

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
