"""Trades, quotes and futures statistics: none is known before its time, and quiet is not the same as missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ares.errors import DataError
from ares.features.config import FeatureConfig
from ares.features.live_sources import LiveSources
from ares.features.orchestrator import FeatureOrchestrator
from ares.features.sources import FUTURES_COLUMNS
from ares.instruments import Interval
from ares.market import AggTrade
from ares.testing.causality import check_causality
from tests.features.real import candles_of

MINUTE = pd.Timedelta("1min")
FLOW = FeatureConfig(groups=("flow",), timeframes=())


@pytest.fixture(scope="module")
def trades(real_data: Path) -> pd.DataFrame:
    """Every fortieth recorded trade of a day, so that a third of the minutes are quiet."""
    frame = pd.read_parquet(real_data / "market" / "um_APEUSDT_aggTrades_2024-10-18.parquet")
    return frame.iloc[::40].reset_index(drop=True).drop(columns="agg_id")  # what was left out is not missing


@pytest.fixture(scope="module")
def minutes(trades: pd.DataFrame) -> pd.DataFrame:
    """Minute bars made of the trades themselves; a quiet minute has no volume."""
    grouped = trades.set_index(pd.DatetimeIndex(trades.time).as_unit("ns")).resample("1min")
    bars = grouped.price.ohlc()
    bars["close"] = bars.close.ffill()
    for name in ("open", "high", "low"):
        bars[name] = bars[name].fillna(bars.close)
    bars["volume"] = grouped.quantity.sum()
    bars.index.name = "open_time"
    return bars


def test_flow_is_causal_also_where_it_is_quiet(trades: pd.DataFrame, minutes: pd.DataFrame) -> None:
    assert (minutes.volume == 0).mean() > 0.2
    quiet = np.flatnonzero((minutes.volume == 0).to_numpy())
    features = FeatureOrchestrator(FLOW)
    check_causality(features, minutes, cuts=20, also={"agg_trades_df": trades}).raise_for_leaks()
    whole = features.compute(minutes, trades)
    for n in (int(quiet[150]) + 1, int(quiet[300]) + 1):  # the last bar known is a quiet one
        known = trades[trades.time < minutes.index[n - 1] + MINUTE]
        part = features.compute(minutes.iloc[:n], known)
        np.testing.assert_array_equal(part.to_numpy(), whole.iloc[:n].to_numpy())


def test_missing_trades_are_missing_in_batch_and_live(trades: pd.DataFrame, minutes: pd.DataFrame) -> None:
    begin, end = minutes.index[600], minutes.index[620]
    kept = trades[(trades.time < begin) | (trades.time >= end)]
    features = FeatureOrchestrator(FLOW)
    got = features.compute(minutes, kept)["flow.delta_1"]
    lost = got.loc[begin : end - MINUTE]
    assert lost.isna().all() and (minutes.volume.loc[lost.index] > 0).any()
    live = LiveSources(Interval.parse("1m"))
    stream = features.stream("APEUSDT", "1m", sources=features.current_schema.sources)
    at = 0
    events = list(zip(pd.DatetimeIndex(kept.time).as_unit("ns").asi8, kept.quantity, kept.is_buyer_maker, strict=True))
    rows = []
    for candle in candles_of(minutes.iloc[:700], "1m", "APEUSDT"):
        while at < len(events) and events[at][0] < candle.close_ns:
            ns, quantity, maker = events[at]
            trade = {"symbol": "APEUSDT", "agg_id": at, "ts_ns": int(ns), "price": 1.0, "quantity": quantity}
            live.trade(AggTrade(**trade, buyer_is_maker=bool(maker)))
            at += 1
        rows.append(stream.update(candle, live.columns(candle.open_ns, candle.volume)).values)
    np.testing.assert_array_equal(np.array(rows), features.compute(minutes, kept).iloc[:700].to_numpy())


def test_quotes_are_causal(real_data: Path, minutes: pd.DataFrame) -> None:
    """Five recorded minutes of best quotes, their clock slowed down so that they fill as many hours."""
    quotes = pd.read_parquet(real_data / "market" / "um_BTCUSDT_20240808_bookticker.parquet")
    since = quotes.time - quotes.time.iloc[0]
    quotes["time"] = minutes.index[0] + since * 60
    quotes = quotes[(since.dt.total_seconds() % 20) < 17]  # some minutes without a quote
    check_causality(FeatureOrchestrator(FLOW), minutes.iloc[:330], also={"book_df": quotes}).raise_for_leaks()


def test_futures_statistics_are_causal(real_data: Path) -> None:
    market = real_data / "market"
    klines = pd.read_parquet(market / "um_BTCUSDT_1h.parquet").set_index("open_time").loc["2023-08-01":"2023-09-20"]
    klines.index = pd.DatetimeIndex(klines.index).as_unit("ns")
    funding = pd.read_parquet(market / "um_BTCUSDT_funding.parquet").set_index("funding_time").funding_rate
    interest = pd.read_parquet(market / "um_BTCUSDT_open_interest_5m_2023.parquet").set_index("time").sum_open_interest
    published = pd.DataFrame({"funding_rate": funding, "open_interest": interest}).sort_index()
    published = published.loc["2023-07-30":"2023-09-21"]
    features = FeatureOrchestrator(FeatureConfig(groups=("futures",)))
    report = check_causality(features, klines, cuts=6, also={"futures_df": published})
    report.raise_for_leaks()
    assert report.features >= 8
    late = published.set_axis(published.index - pd.Timedelta(hours=1))
    hour = features.compute(klines, futures_df=published)["futures.oi_change_1"]
    early = features.compute(klines, futures_df=late)["futures.oi_change_1"]
    assert hour.iloc[50] == early.iloc[49] != early.iloc[50]


def test_every_futures_column_grows_old() -> None:
    index = pd.date_range("2024-03-01", periods=400, freq="1h", tz="UTC", unit="ns", name="open_time")
    price = pd.Series(100.0 + np.sin(np.arange(400)), index=index)
    klines = pd.DataFrame({"open": price, "high": price, "low": price, "close": price, "volume": 1.0})
    once = pd.DataFrame({name: [1.5] for name in FUTURES_COLUMNS}, index=index[100:101])
    got = FeatureOrchestrator(FeatureConfig(groups=("futures",), timeframes=())).compute(klines, futures_df=once)
    shown = {"futures.funding": "funding_rate", "futures.premium": "mark_price", "futures.basis": "index_price"}
    for feature, column in shown.items():
        rows = np.flatnonzero(got[feature].notna())
        assert rows[0] == 99 and rows[-1] == 99 + int(FUTURES_COLUMNS[column])  # known at the close of bar 99


def test_unordered_or_impossible_events_are_refused(trades: pd.DataFrame, minutes: pd.DataFrame) -> None:
    features = FeatureOrchestrator(FLOW)
    wrong = trades.copy()
    wrong.loc[7, "quantity"] = -1.0
    with pytest.raises(DataError, match="quantity") as caught:
        features.compute(minutes, wrong)
    assert caught.value.row == 7
    quotes = pd.DataFrame({"bid_price": [2.0], "bid_qty": [1.0], "ask_price": [1.0], "ask_qty": [1.0]})
    with pytest.raises(DataError, match="UTC"):
        features.compute(minutes, book_df=quotes)
    with pytest.raises(DataError, match="bid"):
        features.compute(minutes, book_df=quotes.set_axis(minutes.index[:1]))
