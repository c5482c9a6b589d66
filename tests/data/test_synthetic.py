"""The made-up market: lawful klines, the stylised facts of real ones, and an edge only where one was planted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ares.data.quality import validate_klines
from ares.data.synthetic import SyntheticConfig, SyntheticMarket, synthetic_market
from ares.errors import InvalidInput
from ares.simulation.tape import Tape

BARS = 60_000


@pytest.fixture(scope="module")
def blank() -> SyntheticMarket:
    return synthetic_market(11, BARS, "1h", SyntheticConfig(predictability=0.0))


@pytest.fixture(scope="module")
def planted() -> SyntheticMarket:
    return synthetic_market(11, BARS, "1h", SyntheticConfig(predictability=0.05))


def returns(market: SyntheticMarket) -> np.ndarray:
    return np.diff(np.log(market.klines["close"].to_numpy()))


def signals(market: SyntheticMarket) -> dict[str, np.ndarray]:
    """Averages of past flow and of past volatility-scaled returns, each known at the close before the return."""
    k = market.klines
    flow = (2 * k["taker_buy_volume"] / k["volume"] - 1).ewm(halflife=24).mean()
    change = np.log(k["close"]).diff()
    trend = (change / change.ewm(halflife=100).std().shift(1)).ewm(halflife=24).mean()
    return {"flow": flow.to_numpy()[:-1], "trend": trend.to_numpy()[:-1]}


def t_statistic(signal: np.ndarray, market: SyntheticMarket) -> float:
    """Of the slope of the next return, scaled to unit variance, on the signal."""
    change = returns(market) / market.truth["volatility"].to_numpy()[1:]
    known = np.isfinite(signal)
    x, y = signal[known] - signal[known].mean(), change[known] - change[known].mean()
    slope = x @ y / (x @ x)
    error = np.sqrt(np.sum((y - slope * x) ** 2) / (x.size - 2) / (x @ x))
    return float(slope / error)


def test_same_seed_same_bits_and_a_longer_market_begins_with_the_shorter() -> None:
    one, two, long = synthetic_market(5, 700), synthetic_market(5, 700), synthetic_market(5, 5000)
    for name in ("klines", "funding", "mark", "truth"):
        a, b, c = getattr(one, name), getattr(two, name), getattr(long, name)
        pd.testing.assert_frame_equal(a, b, check_exact=True)
        pd.testing.assert_frame_equal(a, c.iloc[: len(a)], check_exact=True, check_freq=False)
    assert not one.klines.equals(synthetic_market(6, 700).klines)


@pytest.mark.parametrize("interval", ["1m", "15m", "1h", "1d", "1w"])
def test_klines_are_lawful_at_every_interval(interval: str) -> None:
    market = synthetic_market(2, 3000, interval)
    frame, report = validate_klines(market.klines, interval)
    pd.testing.assert_frame_equal(frame, market.klines, check_freq=False)
    assert report.clean
    year = returns(market).std() * np.sqrt(market.interval.per_year)
    assert 0.3 < year < 1.2  # a volatility of 60 % a year, whatever the bar
    prices = market.klines[["open", "high", "low", "close"]].to_numpy()
    np.testing.assert_array_equal(prices, np.round(prices, 2))  # each the float nearest to a whole number of ticks
    opens, closes = market.klines["open"].to_numpy()[1:], market.klines["close"].to_numpy()[:-1]
    assert np.abs(opens - closes).max() < 0.0101  # a tick


@pytest.mark.parametrize("interval", ["1m", "1h"])
def test_a_million_bars_stay_a_market(interval: str) -> None:
    config = SyntheticConfig(predictability=0.0)
    market = synthetic_market(1, 1_000_000, interval, config)
    prices = market.klines[["open", "high", "low", "close"]].to_numpy()
    assert np.isfinite(prices).all()
    ticks = np.rint(prices * 100)
    np.testing.assert_array_equal(prices, ticks / 100)
    closes = prices[:, 3]
    assert prices.min() > config.price / config.reach / 12  # e^2.5: five standard deviations beyond the reach
    assert prices.max() < config.price * config.reach * 12
    assert 0.5 < returns(market)[-100_000:].std() / returns(market)[:100_000].std() < 2  # still moving at the end
    within = np.abs(np.log(np.concatenate(([config.price], closes[:-1])) / config.price)) < np.log(config.reach) - 0.01
    edge = market.truth["edge"].to_numpy()
    assert (edge[within] == 0).all()
    if interval == "1h":  # a century: without the pull the price would be worth a few ticks
        low = np.log(closes / config.price) < -np.log(config.reach)
        assert (edge[1:][low[:-1]] >= 0).all()
        assert low.any()
        slope = np.sum(edge[1:] * (returns(market) + market.truth["volatility"].to_numpy()[1:] ** 2 / 8760 / 2))
        error = np.sqrt(np.sum((edge[1:] * market.truth["volatility"].to_numpy()[1:]) ** 2) / 8760)
        assert abs(slope - np.sum(edge[1:] ** 2)) < 4 * error  # the truth says what the pull adds to the returns


def test_a_market_that_outlasts_the_calendar_is_refused() -> None:
    with pytest.raises(InvalidInput, match="after the year 2261"):
        synthetic_market(1, 1_000_000, "1d")


def test_without_predictability_the_price_is_a_martingale(blank: SyntheticMarket) -> None:
    change = returns(blank)
    assert (blank.truth["edge"] == 0).all()
    scaled = change / blank.truth["volatility"].to_numpy()[1:]
    scaled -= scaled.mean()
    autocorrelation = [scaled[lag:] @ scaled[:-lag] / (scaled @ scaled) for lag in range(1, 25)]
    assert np.abs(autocorrelation).max() < 3.5 / np.sqrt(BARS)  # 24 lags: 3.5 sigma is the 1 % bound
    for signal in signals(blank).values():
        assert abs(t_statistic(signal, blank)) < 3
    steps = [np.expm1(returns(synthetic_market(s, 4000, config=blank.config))) for s in range(40)]
    pooled = np.concatenate(steps)
    assert abs(pooled.mean()) < 3 * pooled.std() / np.sqrt(pooled.size)  # of the price itself, not of its logarithm


def test_a_planted_edge_is_found_where_it_was_planted(planted: SyntheticMarket) -> None:
    edge = planted.truth["edge"].to_numpy()[1:]
    weight = 1 / planted.truth["volatility"].to_numpy()[1:] ** 2
    slope = np.sum(weight * edge * returns(planted)) / np.sum(weight * edge * edge)
    error = 1 / np.sqrt(np.sum(weight * edge * edge) * 8760)
    assert abs(slope - 1) < 4 * error  # the stated truth is the expected return, neither more nor less
    scaled = edge / planted.truth["volatility"].to_numpy()[1:] * np.sqrt(8760)
    assert scaled.std() == pytest.approx(0.05, rel=0.05)  # the correlation that was asked for
    found = {name: t_statistic(signal, planted) for name, signal in signals(planted).items()}
    assert found["flow"] > 5
    assert found["trend"] > 4


def test_predictability_changes_the_drift_and_nothing_else(blank: SyntheticMarket, planted: SyntheticMarket) -> None:
    np.testing.assert_array_equal(blank.truth["tide"], planted.truth["tide"])
    np.testing.assert_array_equal(blank.truth["volatility"], planted.truth["volatility"])
    difference = returns(planted) - returns(blank)
    tick = 0.01 / min(blank.klines["close"].min(), planted.klines["close"].min())
    np.testing.assert_allclose(difference, planted.truth["edge"].to_numpy()[1:], atol=2 * tick)


def test_returns_have_fat_tails_and_clustered_volatility(blank: SyntheticMarket) -> None:
    change = returns(blank)
    centred = change - change.mean()
    assert np.mean(centred**4) / np.mean(centred**2) ** 2 > 6
    size = np.abs(change) - np.abs(change).mean()
    clustering = [size[lag:] @ size[:-lag] / (size @ size) for lag in (1, 12, 48)]
    assert clustering[0] > 0.15
    assert clustering[0] > clustering[1] > clustering[2] > 0.02


def test_ranges_agree_with_returns() -> None:
    """Parkinson 1980: E[ln(high/low)^2] = 4 ln 2 sigma^2 for Brownian motion; jumps, being rare, are switched off."""
    market = synthetic_market(4, BARS, config=SyntheticConfig(jumps_per_year=0.0, predictability=0.0))
    volatility = market.truth["volatility"].to_numpy()[1:]
    spread = np.log(market.klines["high"] / market.klines["low"]).to_numpy()[1:] / volatility
    change = returns(market) / market.truth["volatility"].to_numpy()[1:]
    assert np.mean(spread**2) / (4 * np.log(2)) == pytest.approx(np.mean(change**2), rel=0.03)


def test_volume_follows_volatility_and_takers_follow_price(blank: SyntheticMarket) -> None:
    k = blank.klines
    size = np.log(np.abs(returns(blank)) + 1e-6)
    assert np.corrcoef(np.log(k["quote_volume"].to_numpy()[1:]), size)[0, 1] > 0.3
    flow = (2 * k["taker_buy_volume"] / k["volume"] - 1).to_numpy()[1:]
    assert 0.4 < np.corrcoef(flow, returns(blank))[0, 1] < 0.9
    by_hour = np.log(k["volume"]).groupby(k.index.hour).mean()
    assert by_hour[15] - by_hour[3] > 0.3


def test_funding_every_eight_hours_and_mark_near_the_price(blank: SyntheticMarket) -> None:
    funding = blank.funding
    assert set(funding.index.hour) == {0, 8, 16}
    assert len(funding) == BARS // 8
    assert funding["funding_rate"].abs().max() <= 0.0075
    assert funding["funding_rate"].median() == pytest.approx(0.0001)
    assert 0.5 < (funding["funding_rate"] == 0.0001).mean() < 0.99
    assert (blank.mark["close"] / blank.klines["close"] - 1).abs().max() < 0.001
    at = blank.klines["close_time"].searchsorted(funding.index)
    np.testing.assert_array_equal(funding["mark_price"], blank.mark["close"].to_numpy()[at])


def test_the_tape_of_it_has_everything() -> None:
    tape = Tape.synthetic("ETHUSDT", "15m", bars=2000, seed=9, price=100.0)
    track = tape.tracks[0]
    assert (len(tape), tape.interval.name, track.has_funding, track.has_mark) == (2000, "15m", True, True)
    assert np.isfinite(track.taker_buy_volume).all()
    assert np.isfinite(track.funding_mark).all()
    assert np.isfinite(track.mark_high).all()
    assert 90 < track.open[0] < 110
    assert tape.sha256 == Tape.synthetic("ETHUSDT", "15m", bars=2000, seed=9, price=100.0).sha256
    assert tape.sha256 != Tape.synthetic("ETHUSDT", "15m", bars=2000, seed=10, price=100.0).sha256


def test_symbols_stand_on_their_grids_and_are_independent() -> None:
    eth, xrp = (Tape.synthetic(s, bars=4000, seed=1).tracks[0] for s in ("ETHUSDT", "XRPUSDT"))
    np.testing.assert_array_equal(xrp.close, np.round(xrp.close, 4))
    np.testing.assert_array_equal(xrp.volume, np.round(xrp.volume, 1))
    together = np.corrcoef(np.diff(np.log(eth.close)), np.diff(np.log(xrp.close)))[0, 1]
    assert abs(together) < 0.1
    with pytest.raises(InvalidInput, match="did you mean 'predictability'"):
        Tape.synthetic(predictabilty=0.0)
    with pytest.raises(InvalidInput, match="symbol"):
        Tape.synthetic("eth-usdt")


def test_nonsense_is_refused() -> None:
    with pytest.raises(InvalidInput):
        synthetic_market(1, 0)
    with pytest.raises(InvalidInput):
        synthetic_market(-1, 10)
    with pytest.raises(InvalidInput, match="2024-01-01"):
        synthetic_market(1, 10, config=SyntheticConfig(start="soon"))
    with pytest.raises(InvalidInput, match="each regime"):
        SyntheticConfig(regime_hours=(1.0,))
    with pytest.raises(ValueError, match="predictability"):
        SyntheticConfig(predictability=2.0)
