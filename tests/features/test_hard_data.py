"""Flat prices, huge jumps, zero volume, missing bars, a million bars: finite or NaN by rule, and no drift."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ares.data import load_klines
from ares.errors import DataError, InvalidInput, TooShort
from ares.features.config import FeatureConfig, WaveletConfig
from ares.features.orchestrator import FeatureOrchestrator
from ares.features.sources import FUTURES_COLUMNS
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


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("taker_buy_volume", -0.5, "negative or infinite taker_buy_volume"),
        ("taker_buy_volume", 1e9, "taker_buy_volume above volume"),
        ("quote_volume", -1.0, "negative or infinite quote_volume"),
        ("quote_volume", np.inf, "negative or infinite quote_volume"),
        ("taker_buy_quote_volume", 1e12, "taker_buy_quote_volume above quote_volume"),
        ("trades", -3, "negative or infinite trades"),
    ],
)
def test_amounts_that_cannot_be_are_refused_in_batch_stream_and_store(column: str, value: float, words: str) -> None:
    frame = good()
    frame["quote_volume"] = frame["volume"] * frame["close"]
    frame["taker_buy_quote_volume"] = frame["quote_volume"] / 3
    frame["trades"] = 5.0
    features = FeatureOrchestrator()
    features.compute(frame)
    features.compute(frame.assign(trades=-1.0))  # unknown, as everywhere
    frame.loc[frame.index[7], column] = value
    with pytest.raises(DataError, match=words) as caught:
        features.compute(frame)
    assert caught.value.row == 7
    stream = features.stream("ETHUSDT", "1h")
    candles = candles_of(frame, "1h")
    for candle in candles[:7]:
        stream.update(candle)
    with pytest.raises(DataError, match="cannot be"):
        stream.update(candles[7])
    with pytest.raises(DataError, match=column) as stored:
        load_klines(frame, "1h")
    assert stored.value.row == 7


@pytest.mark.parametrize(("column", "value"), [("high", 2e100), ("low", 1e-101), ("volume", 2e100), ("volume", 1e-101)])
def test_numbers_that_would_overflow_are_refused_in_both_rhythms(column: str, value: float) -> None:
    frame = good()
    frame.loc[frame.index[7], column] = value
    features = FeatureOrchestrator()
    with pytest.raises(DataError, match="outside of 1e-100 to") as caught:
        features.compute(frame)
    assert caught.value.row == 7
    stream = features.stream("ETHUSDT", "1h", sources=[*frame.columns])
    candles = candles_of(frame, "1h")
    for candle in candles[:7]:
        stream.update(candle)
    with pytest.raises(DataError, match="cannot be"):
        stream.update(candles[7])


@settings(max_examples=12)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["wild", "two prices", "steps", "far away"]))
def test_nothing_that_is_accepted_overflows(seed: int, kind: str) -> None:
    """Prices and volumes anywhere in the range that is accepted, side by side."""
    rng = np.random.default_rng(seed)
    n = 700
    wild = 10.0 ** rng.uniform(-99.9, 99.9, n)
    close = {
        "wild": wild,
        "two prices": np.where(rng.random(n) < 0.5, 1e-100, 1e100),
        "steps": np.repeat(wild[: n // 50], 50),
        "far away": np.exp(np.cumsum(rng.normal(0, 0.01, n))) * 10.0 ** rng.uniform(-98, 98),
    }[kind]
    volume = np.where(rng.random(n) < 0.3, 0.0, 10.0 ** rng.uniform(-99.9, 99.9, n))
    frame = frame_of(close, volume)
    published = pd.DataFrame({name: 10.0 ** rng.uniform(-99, 99, n) for name in FUTURES_COLUMNS}, index=frame.index)
    got = FeatureOrchestrator().compute(frame, futures_df=published, sr_levels=[1.0, 1e50])
    assert not np.isinf(got.to_numpy()).any(), got.columns[np.isinf(got.to_numpy()).any(axis=0)].tolist()


def test_rounding_is_no_fault() -> None:
    frame = good()
    frame["taker_buy_volume"] = frame["volume"] * (1 + 1e-12)
    FeatureOrchestrator().compute(frame)
    load_klines(frame, "1h")


def test_what_is_no_table_of_bars_is_refused_by_name() -> None:
    features, frame = FeatureOrchestrator(), good()
    for wrong in (None, [1, 2], np.ones((3, 5))):
        with pytest.raises(InvalidInput, match=f"frame, not {type(wrong).__name__}"):
            features.compute(wrong)  # type: ignore[arg-type]
    text = frame.astype({"close": object})
    text.iloc[9, text.columns.get_loc("close")] = "n/a"
    with pytest.raises(DataError, match="close in row 9 is 'n/a'") as caught:
        features.compute(text)
    assert caught.value.row == 9
    with pytest.raises(InvalidInput, match="2 columns named close"):
        features.compute(frame.iloc[:, [0, 1, 2, 3, 3, 4]])


def test_price_levels_may_be_any_sequence_of_numbers() -> None:
    features, frame = FeatureOrchestrator(), good()
    given = [95.0, 105.0]
    expected = features.compute(frame, sr_levels=given)
    for same in (np.array(given), pd.Series(given), tuple(given)):
        assert differences(features.compute(frame, sr_levels=same), expected) == []
    for wrong in (pd.DataFrame({"price": given}), np.ones((2, 2)), "95", 95.0):
        with pytest.raises(InvalidInput, match="sr_levels must be a sequence"):
            features.compute(frame, sr_levels=wrong)  # type: ignore[arg-type]


def test_no_rows_have_the_same_columns_and_fingerprint() -> None:
    features, frame = FeatureOrchestrator(), good()
    frame["trades"] = 7
    whole = features.compute(frame)
    fingerprint = features.fingerprint
    none = features.compute(frame.iloc[:0], interval="1h")
    assert none.shape == (0, whole.shape[1]) and features.fingerprint == fingerprint
    assert list(none.columns) == list(whole.columns)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"groups": "returns"}, "groups takes several names"),
        ({"exclude": "volume.*"}, "exclude takes several names"),
        ({"include": "momentum.rsi_21"}, "include takes several names"),
        ({"timeframes": "4h"}, "timeframes takes several names"),
        ({"sources": "futures"}, "sources takes several names"),
        ({"exclude": ("momentun.rsi_14",)}, "did you mean 'momentum.rsi_14'"),
        ({"exclude": ("nothing_*",)}, "pattern"),
    ],
)
def test_settings_that_name_nothing_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        FeatureOrchestrator(FeatureConfig(**settings)).schema("1h")  # type: ignore[arg-type]


def test_a_pattern_may_exclude_what_is_switched_off_or_has_no_data() -> None:
    config = FeatureConfig(groups=("returns", "volume"), exclude=("flow.*", "wavelet.*", "*@1d", "volume.*@4h"))
    names = FeatureOrchestrator(config).schema("1h").names
    assert names and not any(name.startswith("volume") and name.endswith("@4h") for name in names)


def test_too_many_wavelet_levels_are_refused_by_their_number() -> None:
    with pytest.raises(InvalidInput, match="at most 15, not 20"):
        WaveletConfig(levels=20)
    assert FeatureOrchestrator(FeatureConfig(groups=("wavelet",), wavelets=WaveletConfig(levels=15))).schema().names


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


def test_klines_in_another_form_are_refused_with_what_makes_them_right() -> None:
    frame = frame_of(np.linspace(100.0, 110.0, 50), np.ones(50))
    with pytest.raises(DataError, match=r"tz_localize\('UTC'\)"):
        FeatureOrchestrator().compute(frame.tz_localize(None))
    with pytest.raises(DataError, match=r"not a RangeIndex: .*Tape\.from_frame"):
        FeatureOrchestrator().compute(frame.reset_index())
    with pytest.raises(InvalidInput, match=r"lack the columns open, .*; they have Open, High"):
        FeatureOrchestrator().compute(frame.rename(columns=str.title))
