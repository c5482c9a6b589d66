"""Indicators and patterns beside TA-Lib on real klines. Where a convention differs, the difference is written here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from ares.features.config import FeatureConfig
from ares.features.orchestrator import FeatureOrchestrator

ta = pytest.importorskip("talib")

Array = np.ndarray
WARM = 1_500  # ours restarts its recursions, TA-Lib's run from the first bar: compared where both have forgotten


@pytest.fixture(scope="module", params=["um_ETHUSDT_1h", "spot_ETHUSDT_1m_2023"])
def bars(request: pytest.FixtureRequest, klines: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    return klines(request.param, 12_000)


@pytest.fixture(scope="module")
def got(bars: pd.DataFrame) -> pd.DataFrame:
    config = FeatureConfig(groups=("trend", "momentum", "volume", "volatility", "patterns"))
    return FeatureOrchestrator(config).compute(bars)


def inputs(bars: pd.DataFrame) -> tuple[Array, ...]:
    return tuple(np.ascontiguousarray(bars[c].to_numpy()) for c in ("open", "high", "low", "close", "volume"))


def oracle(bars: pd.DataFrame) -> dict[str, Array]:
    """Our feature name to the same thing built from TA-Lib's functions."""
    o, h, low, c, v = inputs(bars)
    atr, typical = ta.ATR(h, low, c, 14), ta.TYPPRICE(h, low, c)
    r = np.concatenate([[np.nan], np.diff(np.log(c))])
    macd, _, histogram = ta.MACD(c, 12, 26, 9)
    slow_k, slow_d = ta.STOCH(h, low, c, 14, 3, 0, 3, 0)
    aroon_down, aroon_up = ta.AROON(h, low, 25)
    std, mean = pd.Series(c).rolling(20).std(ddof=0).to_numpy(), ta.SMA(c, 20)  # TA-Lib's own cancels digits
    ewma = np.sqrt(pd.Series(r * r).ewm(alpha=2 / 33, adjust=False).mean().to_numpy())
    return {
        "trend.ema_distance_12": (c - ta.EMA(c, 12)) / atr,
        "trend.ema_distance_50": (c - ta.EMA(c, 50)) / atr,
        "trend.ema_distance_200": (c - ta.EMA(c, 200)) / atr,
        "trend.macd_12_26_9": macd / atr,  # in average true ranges
        "trend.macd_histogram_12_26_9": histogram / atr,
        "trend.bollinger_z_20": (c - mean) / std,
        "trend.bollinger_width_20": std / mean,
        "trend.adx_14": ta.ADX(h, low, c, 14) / 100,
        "trend.di_plus_14": ta.PLUS_DI(h, low, c, 14) / 100,
        "trend.di_minus_14": ta.MINUS_DI(h, low, c, 14) / 100,
        "trend.donchian_20": (c - ta.MIN(low, 20)) / (ta.MAX(h, 20) - ta.MIN(low, 20)),
        "trend.donchian_55": (c - ta.MIN(low, 55)) / (ta.MAX(h, 55) - ta.MIN(low, 55)),
        "trend.keltner_20_10": (c - ta.EMA(typical, 20)) / ta.ATR(h, low, c, 10),
        "trend.slope_24": ta.LINEARREG_SLOPE(np.log(c), 24) / ewma,
        "momentum.rsi_14": ta.RSI(c, 14) / 100,
        "momentum.stochastic_k_14_3": slow_k / 100,
        "momentum.stochastic_d_14_3_3": slow_d / 100,
        "momentum.williams_r_14": ta.WILLR(h, low, c, 14) / 100,
        "momentum.cci_20": ta.CCI(h, low, c, 20) * 0.015,  # without Lambert's divisor
        "momentum.roc_12": ta.ROCP(c, 12),
        "momentum.trix_15": ta.TRIX(c, 15) / 100 / ewma,
        "momentum.aroon_up_25": aroon_up / 100,
        "momentum.aroon_down_25": aroon_down / 100,
        "volatility.atr_14": atr / c,
        "volume.mfi_14": ta.MFI(h, low, c, v, 14) / 100,
        "volume.obv_slope_24": ta.LINEARREG_SLOPE(ta.OBV(c, v), 24) / ta.SMA(v, 24),
        "volume.vwap_distance_96": (c - ta.SUM(typical * v, 96) / ta.SUM(v, 96)) / atr,
        "volume.vwap_distance_24": (c - ta.SUM(typical * v, 24) / ta.SUM(v, 24)) / atr,
    }


def test_indicators_are_talibs(bars: pd.DataFrame, got: pd.DataFrame) -> None:
    with np.errstate(all="ignore"):
        oracles = oracle(bars)
    for name, expected in oracles.items():
        warm = 4_200 if name.endswith("_200") else WARM
        a, b = got[name].to_numpy()[warm:], expected[warm:]
        # TA-Lib gives 0 where a range or the movement is zero; ours is NaN there, because there is nothing to say
        undefined = np.isnan(a)
        assert undefined.sum() < 200, name
        scale = np.abs(b[~undefined]).mean()
        worst = np.abs(a - b)[~undefined].max()
        assert worst <= 3e-7 * scale, f"{name}: {worst:.3g} of {scale:.3g}"


def test_where_nothing_moves_we_say_nothing(bars: pd.DataFrame, got: pd.DataFrame) -> None:
    _, h, low, _, _ = inputs(bars)
    flat = ta.MAX(h, 14) == ta.MIN(low, 14)
    rows = got["momentum.williams_r_14"].to_numpy()
    assert np.isnan(rows[14:][flat[14:]]).all()
    assert not np.isnan(rows[14:][~flat[14:]]).any()


PATTERNS = {
    "doji": "CDLDOJI",
    "dragonfly_doji": "CDLDRAGONFLYDOJI",
    "gravestone_doji": "CDLGRAVESTONEDOJI",
    "spinning_top": "CDLSPINNINGTOP",
    "marubozu": "CDLMARUBOZU",
    "hammer": "CDLHAMMER",
    "hanging_man": "CDLHANGINGMAN",
    "inverted_hammer": "CDLINVERTEDHAMMER",
    "shooting_star": "CDLSHOOTINGSTAR",
    "engulfing": "CDLENGULFING",
    "harami": "CDLHARAMI",
    "piercing": "CDLPIERCING",
    "dark_cloud_cover": "CDLDARKCLOUDCOVER",
    "morning_star": "CDLMORNINGSTAR",
    "evening_star": "CDLEVENINGSTAR",
    "three_white_soldiers": "CDL3WHITESOLDIERS",
    "three_black_crows": "CDL3BLACKCROWS",
    "three_inside": "CDL3INSIDE",
    "three_outside": "CDL3OUTSIDE",
    "belt_hold": "CDLBELTHOLD",
}


def test_every_pattern_has_an_oracle(got: pd.DataFrame) -> None:
    assert {f"patterns.{name}" for name in PATTERNS} == {c for c in got.columns if c.startswith("patterns.")}


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_are_talibs(bars: pd.DataFrame, got: pd.DataFrame, name: str) -> None:
    o, h, low, c, _ = inputs(bars)
    expected = getattr(ta, PATTERNS[name])(o, h, low, c)[50:] / 100
    mine = got[f"patterns.{name}"].to_numpy()[50:]
    wrong = np.flatnonzero(mine != expected)
    # TA-Lib keeps a running sum of the ten bars, ours adds them each time: equality of a body with its mean may differ
    assert wrong.size <= 6, [(int(i) + 50, mine[i], expected[i]) for i in wrong[:5]]


def test_real_klines_show_the_patterns(klines: Callable[..., pd.DataFrame]) -> None:
    frame = klines("spot_ETHUSDT_1h")
    found = FeatureOrchestrator(FeatureConfig(groups=("patterns",))).compute(frame)
    counts = (found.fillna(0) != 0).sum()
    assert (counts.drop("patterns.dark_cloud_cover") > 0).sum() >= 17
