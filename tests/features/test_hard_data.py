"""Flat prices, huge jumps, zero volume, missing bars, a million bars: finite or NaN by rule, and no drift."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ares.errors import DataError, InvalidInput, TooShort
from ares.features.config import FeatureConfig
from ares.features.orchestrator import FeatureOrchestrator
from tests.features.real import candles_of, differences


def frame_of(close: np.ndarray, volume: np.ndarray, keep: np.ndarray | None = None) -> pd.DataFrame:
    open_ = np.concatenate([close[:1], close[:-1]])
    index = pd.date_range("2024-01-01", periods=close.size, freq="1h", tz="UTC", unit="ns", name="open_time")
    data = {"open": open_, "high": np.maximum(open_, close), "low": np.minimum(open_, close), "close": close}
    frame = pd.DataFrame({**data, "volume": volume, "taker_buy_volume": volume / 3}, index=index)
    return frame if keep is None else frame[keep]


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["flat", "jumps", "quiet", "gaps", "tiny"]))
def test_every_value_is_finite_or_nan_and_both_rhythms_agree(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    n = 900
    steps = rng.normal(0, 0.01, n)
    volume = rng.lognormal(2, 1, n)
    keep = np.ones(n, bool)
    if kind == "flat":
        steps[rng.integers(0, n) :] = 0.0
    if kind == "jumps":
        steps[rng.integers(0, n, 6)] = rng.choice([-3.0, 3.0, 6.0], 6)
    if kind == "quiet":
        volume[rng.random(n) < 0.5] = 0.0
        steps[rng.random(n) < 0.5] = 0.0
    if kind == "gaps":
        keep = rng.random(n) < 0.8
    scale = 1e-7 if kind == "tiny" else 100.0
    frame = frame_of(scale * np.exp(np.cumsum(steps)), volume, keep)
    orchestrator = FeatureOrchestrator()
    got = orchestrator.compute(frame, interval="1h")
    assert not np.isinf(got.to_numpy()).any()
    shares = [c for c in got.columns if any(x in c for x in ("energy", "entropy", ".rsi_", ".mfi_", ".adx_"))]
    values = got[shares].to_numpy()
    assert ((values >= 0) & (values <= 1 + 1e-12) | np.isnan(values)).all()
    stream = orchestrator.stream("ETHUSDT", "1h", sources=[*frame.columns])
    rows = [stream.update(c).values for c in candles_of(frame, "1h")]
    assert differences(pd.DataFrame(rows, frame.index, got.columns), got) == []


def test_rolling_statistics_do_not_drift_over_a_million_bars() -> None:
    rng = np.random.default_rng(3)
    n = 1_000_000
    steps = rng.normal(0, 0.001, n)
    steps[::50_000] += 0.2  # jumps that leave large residues in naive running sums
    close = 30_000 * np.exp(np.cumsum(steps - steps.mean()))
    volume = rng.lognormal(3, 2, n)
    open_ = np.concatenate([close[:1], close[:-1]])
    index = pd.date_range("2022-01-01", periods=n, freq="1min", tz="UTC", unit="ns", name="open_time")
    frame = pd.DataFrame(
        {"open": open_, "high": np.maximum(open_, close), "low": np.minimum(open_, close), "close": close,
         "volume": volume}, index=index,
    )  # fmt: skip
    got = FeatureOrchestrator(FeatureConfig(groups=("volatility", "trend", "volume", "returns"), timeframes=()))
    tail = got.compute(frame).iloc[-2_000:]
    end = frame.iloc[-2_600:]
    r = np.log(end.close).diff()
    expected = {
        "volatility.realized_24": np.sqrt((r * r).rolling(24).mean()),
        "trend.bollinger_width_20": end.close.rolling(20).std(ddof=0) / end.close.rolling(20).mean(),
        "volume.z_48": (end.volume - end.volume.rolling(48).mean()) / end.volume.rolling(48).std(),
        "returns.skew_64": r.rolling(64).skew(),
        "returns.kurtosis_64": r.rolling(64).kurt(),
        "returns.autocorrelation_48": r.rolling(48).corr(r.shift()),
    }
    for name, values in expected.items():
        a, b = tail[name].to_numpy(), values.to_numpy()[-2_000:]
        assert np.abs(a - b).max() < 1e-9 * max(1.0, np.abs(b).max()), name


def test_a_missing_taker_value_leaves_when_its_window_leaves() -> None:
    rng = np.random.default_rng(0)
    frame = frame_of(100 * np.exp(np.cumsum(rng.normal(0, 0.01, 400))), rng.lognormal(1, 1, 400))
    frame.loc[frame.index[200], "taker_buy_volume"] = np.nan
    got = FeatureOrchestrator(FeatureConfig(groups=("volume",))).compute(frame)["volume.taker_ratio_24"]
    assert np.isnan(got.iloc[200:224]).all()
    assert np.isfinite(got.iloc[224:]).all()
    expected = frame.taker_buy_volume.rolling(24).sum() / frame.volume.rolling(24).sum()
    np.testing.assert_allclose(got.iloc[224:], expected.iloc[224:], rtol=1e-12)


def good() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return frame_of(100 * np.exp(np.cumsum(rng.normal(0, 0.01, 80))), rng.lognormal(1, 1, 80))


def test_bad_data_are_refused_with_their_row() -> None:
    features = FeatureOrchestrator()
    for column, value, words in (
        ("close", np.nan, "positive number"),
        ("low", -1.0, "positive number"),
        ("high", 1.0, "below"),
        ("volume", -1.0, "volume"),
    ):
        frame = good()
        frame.loc[frame.index[7], column] = value
        with pytest.raises(DataError, match=words) as caught:
            features.compute(frame)
        assert caught.value.row == 7
    frame = good()
    with pytest.raises(DataError, match="not later") as caught:
        features.compute(frame.iloc[[0, 1, 2, 2, 3]])
    assert caught.value.row == 3
    with pytest.raises(InvalidInput, match="volume"):
        features.compute(frame.drop(columns="volume"))
    with pytest.raises(DataError, match="UTC"):
        features.compute(frame.reset_index(drop=True))
    with pytest.raises(TooShort):
        features.compute(frame.iloc[:1])
    assert len(features.compute(frame.iloc[:1], interval="1h")) == 1


def test_a_stream_refuses_late_bars_and_stays_as_it_was() -> None:
    frame = good()
    candles = candles_of(frame, "1h")
    features = FeatureOrchestrator()
    stream = features.stream("ETHUSDT", "1h", sources=[*frame.columns])
    for candle in candles[:40]:
        stream.update(candle)
    with pytest.raises(DataError, match="not newer"):
        stream.update(candles[20])
    with pytest.raises(InvalidInput, match="BTCUSDT"):
        stream.update(candles_of(frame, "1h", "BTCUSDT")[41])
    rest = [stream.update(c).values for c in candles[40:]]
    whole = features.compute(frame)
    assert differences(pd.DataFrame(rest, frame.index[40:], whole.columns), whole.iloc[40:]) == []
    assert datetime.fromtimestamp(candles[-1].open_ns / 1e9, UTC) == frame.index[-1]
