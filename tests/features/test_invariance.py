"""The promise: no feature knows the future, none remembers where history began, both rhythms give the same bits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from ares.features.config import FeatureConfig, WaveletConfig
from ares.features.orchestrator import FeatureOrchestrator
from tests.features.real import candles_of, differences

Klines = Callable[..., pd.DataFrame]

INTERVALS = {
    "um_ETHUSDT_1h": "1h",  # without gaps
    "spot_ETHUSDT_1h": "1h",  # some bars are missing
    "um_ALGOUSDT_1m_full": "1m",  # months are missing
}
FILES = list(INTERVALS)
LEVELS = (1500.0, 2000.0, 3000.0)


def everything() -> FeatureOrchestrator:
    """All default features, exact wavelets and a second family besides."""
    return FeatureOrchestrator(FeatureConfig(wavelets=WaveletConfig(families=("db4", "haar"), window=128, exact=True)))


def slice_with_gap(klines: Klines, name: str) -> pd.DataFrame:
    frame = klines(name)
    return frame.iloc[30_000:48_000] if name == "um_ALGOUSDT_1m_full" else frame.iloc[:18_000]


@pytest.mark.parametrize("name", FILES)
def test_a_prefix_gives_the_same_rows(klines: Klines, name: str) -> None:
    frame = slice_with_gap(klines, name)
    whole = everything().compute(frame, sr_levels=LEVELS)
    for n in (1, 700, 9_001):
        part = everything().compute(frame.iloc[:n], sr_levels=LEVELS, interval=INTERVALS[name])
        assert differences(part, whole.iloc[:n]) == []


@pytest.mark.parametrize("name", FILES)
def test_the_future_changes_nothing(klines: Klines, name: str) -> None:
    frame = slice_with_gap(klines, name)
    whole = everything().compute(frame)
    cut = 11_111
    other = frame.copy()
    rng = np.random.default_rng(5)
    factor = np.exp(rng.normal(0, 0.3, len(frame) - cut))
    for column in ("open", "high", "low", "close"):
        other.iloc[cut:, other.columns.get_loc(column)] *= factor
    busier = rng.uniform(0, 9, len(frame) - cut)
    for column in {"volume", "taker_buy_volume", "quote_volume", "taker_buy_quote_volume"} & set(other.columns):
        other.iloc[cut:, other.columns.get_loc(column)] *= busier
    assert differences(everything().compute(other).iloc[:cut], whole.iloc[:cut]) == []


@pytest.mark.parametrize("name", FILES)
def test_where_history_began_is_forgotten_after_settle(klines: Klines, name: str) -> None:
    frame = slice_with_gap(klines, name)
    orchestrator = everything()
    whole = orchestrator.compute(frame)
    schema = orchestrator.schema(INTERVALS[name], [c for c in frame.columns if frame[c].notna().any()])
    for begin in (1, 1024, 1337, 7_777):
        part = orchestrator.compute(frame.iloc[begin:])
        for column, settle in zip(schema.names, schema.plan.settle.tolist(), strict=True):
            a, b = part[[column]].iloc[settle:], whole[[column]].iloc[begin + settle :]
            assert differences(a, b) == [], f"{column} after {settle} bars from {begin}"


@pytest.mark.parametrize("name", ["spot_ETHUSDT_1h", "um_ALGOUSDT_1m_full"])
def test_stream_and_batch_are_the_same_bits(klines: Klines, name: str) -> None:
    frame = klines(name)
    frame = frame.iloc[38_000:44_000] if name == "um_ALGOUSDT_1m_full" else frame.iloc[2_500:7_500]
    interval = INTERVALS[name]
    orchestrator = everything()
    whole = orchestrator.compute(frame)
    stream = orchestrator.stream("ETHUSDT", interval)
    rows = [stream.update(candle) for candle in candles_of(frame, interval)]
    assert stream.feature_names == tuple(whole.columns)
    streamed = pd.DataFrame(np.array([row.values for row in rows]), whole.index, whole.columns)
    assert differences(streamed, whole) == []
    assert rows[-1].known_ns == rows[-1].open_ns + stream.interval.ns
    ready = np.array([row.ready for row in rows])
    assert not ready[: stream.warmup].any() and ready[stream.warmup :].all()


def test_two_threads_give_the_bits_of_one(klines: Klines) -> None:
    frame = klines("um_ALGOUSDT_1m_full")
    one = FeatureOrchestrator(FeatureConfig()).compute(frame)
    two = FeatureOrchestrator(FeatureConfig(parallel=2)).compute(frame)
    assert differences(one, two) == []


def test_declared_warmup_is_when_values_begin(klines: Klines) -> None:
    frame = klines("spot_ETHUSDT_1h_full", 4_000)
    orchestrator = everything()
    values = orchestrator.compute(frame)
    plan = orchestrator.schema("1h", frame.columns).plan
    for name, warmup in zip(plan.names, plan.warmup.tolist(), strict=True):
        finite = np.flatnonzero(np.isfinite(values[name].to_numpy()))
        assert finite.size, f"{name} never has a value"
        if "@" in name:
            assert warmup - 6 <= finite[0] <= warmup, name
        elif not name.startswith(("momentum.rsi", "volume.", "patterns.")):
            assert finite[0] == warmup, name
        assert np.isnan(values[name].to_numpy()[: finite[0]]).all()


def test_a_higher_bar_is_seen_when_it_has_closed_also_across_gaps(klines: Klines) -> None:
    frame = klines("spot_ETHUSDT_1h", 4_000)  # bars are missing in it
    got = FeatureOrchestrator(FeatureConfig(groups=("returns",))).compute(frame)["returns.log_1@4h"]
    bucket = frame.index.floor("4h")
    higher = frame.groupby(bucket).close.last()
    higher = higher[higher.index >= frame.index[0].ceil("4h")]
    change = np.log(higher).diff()
    for i in range(8, len(frame), 7):
        close = frame.index[i] + pd.Timedelta("1h")
        done = change[change.index + pd.Timedelta("4h") <= close]
        assert got.iloc[i] == done.iloc[-1] or abs(got.iloc[i] - done.iloc[-1]) < 1e-15


def test_weeks_begin_on_mondays() -> None:
    days = pd.date_range("2023-11-01", periods=200, freq="1D", tz="UTC", unit="ns", name="open_time")
    rng = np.random.default_rng(2)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, 200)))
    columns = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close, "volume": 1.0}
    frame = pd.DataFrame(columns, index=days)
    got = FeatureOrchestrator(FeatureConfig(groups=("returns",))).compute(frame)["returns.log_1@1w"]
    sundays = frame.close[frame.index.day_of_week == 6]
    expected = np.log(sundays).diff().dropna().iloc[1:]
    np.testing.assert_allclose(got.reindex(expected.index), expected, rtol=1e-12)
    changed = np.flatnonzero(got.diff().fillna(0.0) != 0)
    assert set(days[changed].day_of_week) == {6}  # only the bar that ends a week brings a new value
