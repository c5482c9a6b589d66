"""Health, liquidation, technical reading and vigilance, against their definitions."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st

from ares.account import liquidation_price
from ares.analyst.config import HealthConfig, LiquidationConfig, VigilanceConfig
from ares.analyst.health import HEALTH_COLUMNS, health_of
from ares.analyst.liquidation import Excursions, liquidation_of, touch_probability
from ares.analyst.technical import TECHNICAL_COLUMNS, technical_of
from ares.analyst.vigilance import Vigilance
from ares.errors import ModelError
from ares.instrument_tables import default_instrument
from ares.instruments import Side
from ares.market import Candle, MarketView, Ticker
from ares.training.drift import population_stability, reference_of

HOUR = 3_600_000_000_000
ETH = default_instrument("ETHUSDT", 2500.0)
BARE = MarketView(symbol="ETHUSDT", now_ns=0)

# ---------------------------------------------------------------- health


def quoted(spread: float) -> MarketView:
    bid, ask = 100.0 * (1 - spread / 2), 100.0 * (1 + spread / 2)
    ticker = Ticker(symbol="ETHUSDT", ts_ns=0, bid=bid, ask=ask, bid_quantity=1.0, ask_quantity=1.0, last=100.0)
    return MarketView(symbol="ETHUSDT", now_ns=0, ticker=ticker)


def test_each_part_is_a_half_where_the_settings_say() -> None:
    config = HealthConfig()
    values = {
        "volatility.ratio_8_64": config.volatility,
        "volume.relative_24": math.log(config.liquidity),
        "returns.scaled_1": -config.stress,
    }
    view = health_of(values, quoted(config.spread), config)
    assert view is not None
    assert view.parts == pytest.approx(dict.fromkeys(("volatility", "liquidity", "spread", "stress"), 0.5), abs=1e-12)
    assert view.score == pytest.approx(0.5, abs=1e-12)


@hypothesis_given(st.dictionaries(st.sampled_from(HEALTH_COLUMNS), st.floats(-50, 50)), st.floats(0, 0.5))
def test_health_lies_in_the_unit_interval_and_so_do_its_parts(values: dict[str, float], spread: float) -> None:
    view = health_of(values, quoted(spread), HealthConfig())
    assert view is not None
    assert all(0.0 <= part <= 1.0 for part in view.parts.values())
    assert view.score == pytest.approx(math.prod(view.parts.values()) ** (1 / len(view.parts)))


def test_a_calm_market_is_healthy_and_nothing_known_is_no_score() -> None:
    calm = {"volatility.ratio_8_64": -0.1, "volume.relative_24": 0.2, "returns.scaled_1": 0.0}
    view = health_of(calm, BARE, HealthConfig())
    assert view is not None
    assert view.score == 1.0
    assert health_of({}, BARE, HealthConfig()) is None


# ---------------------------------------------------------------- liquidation


def test_the_price_is_the_venue_s_tiered_formula() -> None:
    config = LiquidationConfig(leverage=10, notional=25_000.0)
    for side in (Side.BUY, Side.SELL):
        view, reason = liquidation_of(2500.0, side, ETH, None, 0.006, 0.03, Excursions(24, 100), config)
        exact = liquidation_price(
            side=side, quantity=Decimal(10), entry_price=Decimal(2500), margin=Decimal(2500), tiers=ETH.tiers
        )
        assert view is not None
        assert exact is not None
        assert view.price == pytest.approx(float(exact), rel=1e-12)
        assert view.distance == pytest.approx(side.sign * (1 - float(exact) / 2500.0))
        assert reason is not None
        away = abs(math.log(float(exact) / 2500.0))
        assert reason.numbers["stops"] == pytest.approx(away / 0.03)
        assert reason.numbers["deviations"] == pytest.approx(away / (0.006 * math.sqrt(24)))


def test_touching_is_twice_as_likely_as_ending_beyond() -> None:
    """The reflection principle, and a simulated walk in fine steps."""
    rng = np.random.default_rng(0)
    steps = rng.standard_normal((4000, 2400)) * 0.006 / 10
    touched = (np.cumsum(steps, axis=1).min(axis=1) <= -0.03).mean()
    assert touch_probability(0.03, 0.006, 24) == pytest.approx(touched, abs=0.03)
    assert touch_probability(0.0, 0.006, 24) == 1.0


def test_excursions_are_the_worst_moves_of_past_horizons() -> None:
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(rng.standard_normal(400) * 0.01))
    high, low = close * np.exp(rng.uniform(0, 0.01, 400)), close * np.exp(-rng.uniform(0, 0.01, 400))
    past = Excursions(24, 1000)
    for bar in zip(high, low, close, strict=True):
        past.update(*bar, 0.01)
    scale = 0.01 * math.sqrt(24)
    starts = range(400 - 24)
    down = [max(0.0, math.log(close[t] / low[t + 1 : t + 25].min()) / scale) for t in starts]
    up = [max(0.0, math.log(high[t + 1 : t + 25].max() / close[t]) / scale) for t in starts]
    for side, moves in ((Side.BUY, down), (Side.SELL, up)):
        limit = float(np.quantile(moves, 0.7))
        share = past.share_beyond(side, limit)
        assert share == pytest.approx((np.array(moves) >= limit).mean(), abs=0.01)
    far = past.share_beyond(Side.BUY, 3 * max(down))
    assert far is not None
    assert 0.0 < far < 0.01, "the tail goes on beyond what was seen"


def test_a_fat_tail_speaks_louder_than_the_walk() -> None:
    rng = np.random.default_rng(2)
    past = Excursions(24, 1000)
    price = 100.0
    for r in rng.standard_t(2, 3000) * 0.004:
        before, price = price, price * math.exp(r)
        past.update(max(before, price), min(before, price), price, 0.006)
    view, _ = liquidation_of(price, Side.BUY, ETH, None, 0.006, 0.03, past, LiquidationConfig(leverage=5))
    assert view is not None
    away = abs(math.log(view.price / price))
    assert view.probability > touch_probability(away, 0.006, 24)


def test_excursions_go_on_from_saved_state() -> None:
    rng = np.random.default_rng(3)
    one, two = Excursions(5, 60), Excursions(5, 60)
    closes = 100 * np.exp(np.cumsum(rng.standard_normal(300) * 0.01))
    for c in closes[:150]:
        one.update(c * 1.01, c * 0.99, c, 0.01)
    two.load_state(one.save_state())
    for c in closes[150:]:
        one.update(c * 1.01, c * 0.99, c, 0.01)
        two.update(c * 1.01, c * 0.99, c, 0.01)
    assert one.share_beyond(Side.BUY, 1.0) == two.share_beyond(Side.BUY, 1.0)


# ---------------------------------------------------------------- technical


@hypothesis_given(st.dictionaries(st.sampled_from(TECHNICAL_COLUMNS), st.floats(-1, 1), min_size=1))
def test_the_score_lies_between_bear_and_bull_and_has_its_evidence(values: dict[str, float]) -> None:
    view = technical_of(values)
    assert view is not None
    assert -1.0 <= view.score <= 1.0
    votes = [reason.numbers["vote"] for reason in view.evidence]
    assert all(abs(v) <= 1.0 for v in votes)
    assert [abs(v) for v in votes] == sorted((abs(v) for v in votes), reverse=True)
    if votes and min(votes) > 0:
        assert view.score > 0
    if not votes:
        assert view.score == 0.0


def test_a_hammer_is_bullish_and_an_overbought_market_is_not() -> None:
    bull, bear = technical_of({"patterns.hammer": 1.0}), technical_of({"momentum.rsi_14": 0.9})
    assert bull is not None
    assert bear is not None
    assert bull.score > 0 > bear.score
    assert bull.evidence[0].code == "technical.patterns.hammer"
    assert technical_of({"unrelated": 1.0}) is None


# ---------------------------------------------------------------- vigilance


def bar(number: int, price: float, low: float, high: float) -> Candle:
    prices = {"open": price, "high": high, "low": low, "close": price}
    times = {"open_ns": number * HOUR, "close_ns": (number + 1) * HOUR}
    return Candle(symbol="ETHUSDT", interval="1h", volume=1.0, **prices, **times)


def test_the_drifted_share_is_that_of_the_stability_index() -> None:
    rng = np.random.default_rng(4)
    train = rng.standard_normal((4000, 6))
    reference = reference_of(train)
    config = VigilanceConfig(window=400, every=1)
    watch = Vigilance(reference, 24, 0.1, config)
    now = rng.standard_normal((900, 6)) + np.array([0.0, 0.0, 0.0, 0.0, 1.0, 2.0])
    for x in now:
        watch.row(x)
    expected = population_stability(reference, now[-400:]) >= config.drifted_index
    assert watch.drift == expected.mean() == pytest.approx(2 / 6)


@pytest.mark.parametrize(
    ("gone", "factor", "code"), [(2, 1.0, None), (3, 0.5, "drift.alarm"), (5, 0.0, "drift.severe")]
)
def test_columns_that_no_longer_have_a_value_have_changed(gone: int, factor: float, code: str | None) -> None:
    """A model that reads less than it learned from knows less, and bets no more for it."""
    rng = np.random.default_rng(5)
    watch = Vigilance(reference_of(rng.standard_normal((4000, 6))), 24, 0.1, VigilanceConfig(window=400, every=1))
    for number in range(900):
        row = rng.standard_normal(6)
        row[: gone if number >= 400 else 0] = np.nan
        watch.row(row)
        if number == 399:
            assert watch.drift == 0.0
    assert watch.drift == gone / 6
    told = watch.size_factor()
    assert told[0] == factor and [reason.code for reason in told[1]] == ([] if code is None else [code])


def test_bets_mature_by_the_barrier_they_touch_and_honest_chances_raise_no_alarm() -> None:
    rng = np.random.default_rng(5)
    watch = Vigilance(None, 4, 1.0, VigilanceConfig(outcomes=400))
    hits = []
    for i in range(400):
        watch.bet(1, 0.02, 0.02, 0.6)
        up = rng.random() < 0.6
        hits.append(up)
        watch.bar(bar(i, 100.0, 99.0 if up else 97.0, 103.0 if up else 101.0))
    spread = math.sqrt(400 * 0.6 * 0.4)
    assert watch.surprise == pytest.approx((sum(hits) - 240) / spread)
    assert watch.size_factor() == (1.0, ())


def test_chances_that_do_not_come_true_halve_the_size_and_then_stop_it() -> None:
    factors = {}
    for share in (0.53, 0.3):
        watch = Vigilance(None, 4, 1.0, VigilanceConfig(outcomes=400))
        for i in range(400):
            watch.bet(1, 0.02, 0.02, 0.6)
            up = (i * 0.6180339887) % 1.0 < share
            watch.bar(bar(i, 100.0, 99.0 if up else 97.0, 103.0 if up else 101.0))
        factors[share] = watch.size_factor()
    assert factors[0.53][0] == 0.5
    assert factors[0.3][0] == 0.0
    assert factors[0.3][1][-1].code == "calibration.broken"


def test_alarms_that_stop_a_model_are_told_with_their_numbers() -> None:
    rng = np.random.default_rng(4)
    reference = reference_of(rng.standard_normal((4000, 6)))
    for moved, factor, stopped in ((2, 1.0, False), (3, 0.5, False), (5, 0.0, True)):
        watch = Vigilance(reference, 24, 0.1, VigilanceConfig(window=400, every=1))
        for x in rng.standard_normal((900, 6)) + 2.0 * (np.arange(6) < moved):
            watch.row(x)
        alarm = watch.alarm()
        assert watch.size_factor()[0] == factor
        assert (alarm is not None) is stopped
        if alarm is not None:
            assert (alarm.code, dict(alarm.numbers)) == ("drift.severe", {"share": moved / 6, "limit": 0.8})


def test_overlapping_bets_count_as_fewer() -> None:
    scores = []
    for uniqueness in (1.0, 0.25):
        watch = Vigilance(None, 4, uniqueness, VigilanceConfig(outcomes=100))
        for i in range(100):
            watch.bet(-1, 0.02, 0.02, 0.6)
            watch.bar(bar(i, 100.0, 99.0, 103.0))  # against a short: its stop
        scores.append(watch.surprise)
    assert scores[1] == pytest.approx(scores[0] / 2)


def test_a_bet_without_a_touch_ends_with_its_horizon_as_a_miss() -> None:
    watch = Vigilance(None, 3, 1.0, VigilanceConfig(outcomes=30))
    watch.bet(1, 0.5, 0.5, 0.5)
    for i in range(3):
        watch.bar(bar(i, 100.0, 99.9, 100.1))
    state = watch.save_state()
    assert state["count"] == 1
    assert state["matured"][0].tolist() == [0.5, 0.0]
    other = Vigilance(None, 5, 1.0, VigilanceConfig(outcomes=30))
    with pytest.raises(ModelError):
        other.load_state(state)


def test_a_stranger_is_a_row_outside_the_widened_range() -> None:
    train = np.random.default_rng(6).uniform(0, 1, (2000, 10))
    watch = Vigilance(reference_of(train), 24, 0.1, VigilanceConfig())
    inside, edge = np.full(10, 0.5), np.full(10, 0.5)
    edge[0] = 1.2
    assert watch.stranger(inside) is None
    assert watch.stranger(edge) is None
    edge[0] = 1.3
    assert watch.stranger(edge) is not None
