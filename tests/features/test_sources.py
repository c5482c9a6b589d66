"""Order flow, books and futures statistics against pandas on recorded data; the live gatherer beside the batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ares.errors import DataError, InvalidInput
from ares.features.config import FeatureConfig
from ares.features.live_sources import LiveSources
from ares.features.orchestrator import FeatureOrchestrator
from ares.instruments import Interval
from ares.market import AggTrade
from tests.features.real import candles_of

FLOW = FeatureOrchestrator(FeatureConfig(groups=("flow",)))
FUTURES = FeatureOrchestrator(FeatureConfig(groups=("futures",)))


@pytest.fixture(scope="module")
def trades(real_data: Path) -> pd.DataFrame:
    return pd.read_parquet(real_data / "market" / "um_APEUSDT_aggTrades_2024-10-18.parquet")


@pytest.fixture(scope="module")
def minutes(trades: pd.DataFrame) -> pd.DataFrame:
    """Five-minute bars made of the trades themselves."""
    index = pd.DatetimeIndex(trades.time).as_unit("ns").floor("5min")
    grouped = trades.groupby(index)
    bars = grouped.price.ohlc()
    bars["volume"] = grouped.quantity.sum()
    bars.index.name = "open_time"
    return bars


def test_flow_features_are_their_definitions(trades: pd.DataFrame, minutes: pd.DataFrame) -> None:
    got = FLOW.compute(minutes, trades)
    index = pd.DatetimeIndex(trades.time).as_unit("ns").floor("5min")
    bought = trades.quantity.where(~trades.is_buyer_maker, 0.0).groupby(index).sum()
    sold = trades.quantity.where(trades.is_buyer_maker, 0.0).groupby(index).sum()
    count = trades.groupby(index).size()
    mean = trades.quantity.groupby(index).transform("mean")
    large = trades.quantity.where(trades.quantity >= 5 * mean, 0.0).groupby(index).sum()
    same = (trades.is_buyer_maker == trades.is_buyer_maker.shift()) & (index == pd.Series(index).shift().to_numpy())
    repeats = same.groupby(index).sum()
    delta, total, pairs = bought - sold, bought + sold, count - 1
    r = np.log(minutes.close).diff()

    def over(a: pd.Series, b: pd.Series, n: int) -> pd.Series:
        return a.rolling(n).sum() / b.rolling(n).sum()

    share = delta / total
    expected = {
        "flow.delta_1": share,
        "flow.delta_24": over(delta, total, 24),
        "flow.delta_z_48": (share - share.rolling(48).mean()) / share.rolling(48).std(),
        "flow.large_share_1": large / total,
        "flow.large_share_24": over(large, total, 24),
        "flow.arrival_24": np.log(count / count.rolling(24).mean()),
        "flow.sign_autocorrelation_1": 2 * repeats / pairs - 1,
        "flow.sign_autocorrelation_24": 2 * over(repeats, pairs, 24) - 1,
        "flow.imbalance_toxicity_50": over(delta.abs(), total, 50),
        "flow.impact_48": r.rolling(48).corr(delta),
    }
    assert set(expected) == set(got.columns)
    for name, values in expected.items():
        a, b = got[name].to_numpy()[60:], values.to_numpy()[60:]  # the first bar begins before its first trade
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12, err_msg=name)
    assert np.isnan(got["flow.delta_1"].iloc[0])


def test_book_features_are_their_definitions(real_data: Path, klines: Callable[..., pd.DataFrame]) -> None:
    quotes = pd.read_parquet(real_data / "market" / "um_ETHUSDT_20240808_bookticker.parquet")
    quotes = quotes.sort_values("time", kind="stable").iloc[:40_000]
    index = pd.DatetimeIndex(quotes.time).as_unit("ns").floor("1min")
    mid = (quotes.bid_price + quotes.ask_price) / 2
    bars = mid.groupby(index).ohlc()
    bars["volume"] = 1.0
    bars = bars.reindex(pd.date_range(bars.index[0] - pd.Timedelta("40min"), bars.index[-1], freq="1min")).bfill()
    wobble = 1 + 1e-4 * np.sin(np.arange(len(bars)))
    for column in ("open", "high", "low", "close"):
        bars[column] *= wobble
    got = FLOW.compute(bars, book_df=quotes, interval="1m")
    last = quotes.groupby(index).last()
    imbalance = (last.bid_qty - last.ask_qty) / (last.bid_qty + last.ask_qty)
    b, a = quotes.bid_price.to_numpy(), quotes.ask_price.to_numpy()
    bq, aq = quotes.bid_qty.to_numpy(), quotes.ask_qty.to_numpy()
    e = np.zeros(len(quotes))
    e[1:] = (b[1:] >= b[:-1]) * bq[1:] - (b[1:] <= b[:-1]) * bq[:-1]
    e[1:] += (a[1:] >= a[:-1]) * aq[:-1] - (a[1:] <= a[:-1]) * aq[1:]
    flow = pd.Series(e).groupby(index.to_numpy()).sum()
    touch = pd.Series(bq + aq).groupby(index.to_numpy()).mean()
    seen = imbalance.index
    np.testing.assert_allclose(got["flow.book_imbalance"].reindex(seen), imbalance, rtol=1e-12)
    np.testing.assert_allclose(got["flow.ofi_1"].reindex(seen), flow.to_numpy() / touch.to_numpy(), rtol=1e-9)
    r = np.log(bars.close).diff()
    sigma = np.sqrt((r * r).ewm(alpha=2 / 33, adjust=False).mean())
    spread = (last.ask_price - last.bid_price) / ((last.ask_price + last.bid_price) / 2)
    ratio = got["flow.spread"].reindex(seen) * sigma.reindex(seen) / spread
    assert (ratio.dropna() - 1).abs().max() < 0.3  # the seed of the exponential mean differs while it is young
    micro = got["flow.microprice"].reindex(seen)
    assert (np.sign(micro) == np.sign(imbalance)).all()


def statistics(index: pd.DatetimeIndex) -> pd.DataFrame:
    """Statistics published at odd moments, some of them missing."""
    rng = np.random.default_rng(5)
    times = index[0] + pd.to_timedelta(np.sort(rng.uniform(0, len(index) * 3600, len(index) // 2)), unit="s")
    data = {
        "funding_rate": rng.normal(1e-4, 5e-5, times.size),
        "mark_price": 2_000 * np.exp(rng.normal(0, 0.001, times.size)),
        "index_price": 2_000 * np.exp(rng.normal(0, 0.001, times.size)),
        "open_interest": 1e6 * np.exp(np.cumsum(rng.normal(0, 0.01, times.size))),
        "long_short_ratio": np.exp(rng.normal(0, 0.2, times.size)),
        "top_long_short_ratio": np.exp(rng.normal(0, 0.2, times.size)),
        "taker_long_short_ratio": np.exp(rng.normal(0, 0.2, times.size)),
    }
    frame = pd.DataFrame(data, index=times.as_unit("ns"))
    frame.loc[frame.index[::3], "open_interest"] = np.nan
    return frame[~frame.index.duplicated()]


def test_futures_are_joined_on_publication_and_grow_old(klines: Callable[..., pd.DataFrame]) -> None:
    bars = klines("um_ETHUSDT_1h", 1_500)
    frame = statistics(pd.DatetimeIndex(bars.index))
    got = FUTURES.compute(bars, futures_df=frame)
    close = (bars.index + pd.Timedelta("1h")).as_unit("ns")

    def known(name: str, hours: float) -> pd.Series:
        published = frame[name].dropna()
        at = published.index.searchsorted(close, side="right") - 1
        value = np.where(at >= 0, published.to_numpy()[at], np.nan)
        age = (close - published.index[at]).total_seconds() / 3600
        return pd.Series(np.where((at >= 0) & (age <= hours), value, np.nan), bars.index)

    funding, interest = known("funding_rate", 24), known("open_interest", 24)
    mark, index_price = known("mark_price", 8), known("index_price", 8)
    c = bars.close
    up = np.sign(np.log(c).diff(24)), np.sign(np.log(interest).diff(24))
    expected = {
        "futures.funding": funding,
        "futures.funding_z_336": (funding - funding.rolling(336).mean()) / funding.rolling(336).std(),
        "futures.basis": mark / index_price - 1,
        "futures.premium": c / mark - 1,
        "futures.oi_change_1": np.log(interest).diff(),
        "futures.oi_change_24": np.log(interest).diff(24),
        "futures.oi_volume_24": np.log(interest / bars.volume.rolling(24).mean()),
        "futures.long_build_24": (up[0] > 0) & (up[1] > 0),
        "futures.short_build_24": (up[0] < 0) & (up[1] > 0),
        "futures.short_cover_24": (up[0] > 0) & (up[1] < 0),
        "futures.long_unwind_24": (up[0] < 0) & (up[1] < 0),
        "futures.long_short": np.log(known("long_short_ratio", 24)),
        "futures.top_long_short": np.log(known("top_long_short_ratio", 24)),
        "futures.taker_long_short": np.log(known("taker_long_short_ratio", 24)),
    }
    for name in ("long_short", "top_long_short", "taker_long_short"):
        level = expected[f"futures.{name}"]
        expected[f"futures.{name}_z_168"] = (level - level.rolling(168).mean()) / level.rolling(168).std()
    basis = expected["futures.basis"]
    expected["futures.basis_z_168"] = (basis - basis.rolling(168).mean()) / basis.rolling(168).std()
    assert set(got.columns) == {*expected, "futures.funding_clock"}
    for name, values in expected.items():
        a, b = got[name].to_numpy(), values.to_numpy().astype(float)
        there = ~np.isnan(a) & (np.arange(len(a)) > 400)
        # prices older than eight hours are NaN, so few windows of a week are whole
        assert there.sum() > (10 if name == "futures.basis_z_168" else 500), name
        np.testing.assert_allclose(a[there], b[there], rtol=1e-7, atol=1e-12, err_msg=name)
    left = (-(close.asi8 // 10**9) % 28_800) / 28_800
    np.testing.assert_allclose(got["futures.funding_clock"].dropna(), left[~got["futures.funding_clock"].isna()])


def test_a_millisecond_late_is_not_known(klines: Callable[..., pd.DataFrame]) -> None:
    bars = klines("um_ETHUSDT_1h", 60)
    at = bars.index[20] + pd.Timedelta("1h")
    for late, first in ((0, 20), (1, 21)):
        moments = pd.DatetimeIndex([at + pd.Timedelta(late, "ms")]).as_unit("ns")
        frame = pd.DataFrame({"funding_rate": [1e-4]}, index=moments)
        funding = FUTURES.compute(bars, futures_df=frame)["futures.funding"]
        assert np.flatnonzero(funding.notna())[0] == first
        assert funding.notna().sum() <= 25  # after a day it is too old


def test_real_funding_and_open_interest(real_data: Path, klines: Callable[..., pd.DataFrame]) -> None:
    bars = klines("um_BTCUSDT_1h")
    market = real_data / "market"
    funding = pd.read_parquet(market / "um_BTCUSDT_funding.parquet").set_index("funding_time")[["funding_rate"]]
    funding.index = funding.index.as_unit("ns")
    got = FUTURES.compute(bars.loc[funding.index[0] :], futures_df=funding)
    assert set(got.columns) == {"futures.funding", "futures.funding_z_336", "futures.funding_clock"}
    assert got["futures.funding"].notna().mean() > 0.9


def test_live_gathering_gives_the_batch_columns(trades: pd.DataFrame, minutes: pd.DataFrame) -> None:
    features = FeatureOrchestrator(FeatureConfig(groups=("flow", "futures", "momentum"), timeframes=()))
    frame = statistics(pd.DatetimeIndex(minutes.index[::12])).loc[: minutes.index[-1]]
    whole = features.compute(minutes, trades, frame)
    schema = features.current_schema
    stream = features.stream("APEUSDT", "5m", sources=schema.sources)
    live = LiveSources(Interval.parse("5m"))
    times = pd.DatetimeIndex(trades.time).as_unit("ns").asi8
    rows_of = zip(times, trades.agg_id, trades.quantity, trades.is_buyer_maker, strict=True)
    events = [(int(t), "trade", (n, q, m)) for t, n, q, m in rows_of]
    for name in frame.columns:
        events += [(t.value, name, v) for t, v in frame[name].dropna().items()]
    events.sort(key=lambda event: event[0])
    at = 0
    rows = []
    for candle in candles_of(minutes, "5m", "APEUSDT"):
        while at < len(events) and events[at][0] <= candle.close_ns:
            ns, kind, value = events[at]
            if kind == "trade":
                live.trade(AggTrade(symbol="APEUSDT", agg_id=int(value[0]), ts_ns=ns, price=1.0, quantity=value[1],
                                    buyer_is_maker=bool(value[2])))  # fmt: skip
            else:
                live.published(kind, ns, value)
            at += 1
        rows.append(stream.update(candle, live.columns(candle.open_ns)).values)
    np.testing.assert_array_equal(np.array(rows), whole.to_numpy())


def test_bad_sources_are_refused(trades: pd.DataFrame, minutes: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="earlier"):
        FLOW.compute(minutes, trades.iloc[::-1])
    with pytest.raises(InvalidInput, match="quantity"):
        FLOW.compute(minutes, trades.drop(columns="quantity"))
    wrong = pd.DataFrame({"fundng_rate": [1.0]}, index=minutes.index[:1])
    with pytest.raises(InvalidInput, match="funding_rate"):
        FUTURES.compute(minutes, futures_df=wrong)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("quantity", "many", "quantity in row 3 is 'many', no number"),
        ("quantity", np.inf, "quantity inf in row 3"),
        ("is_buyer_maker", "True", "is_buyer_maker in row 3 is 'True', no number"),
        ("is_buyer_maker", None, "is_buyer_maker is unknown in row 3"),
    ],
)
def test_a_trade_that_cannot_be_is_named_by_its_row(
    trades: pd.DataFrame, minutes: pd.DataFrame, column: str, value: object, words: str
) -> None:
    wrong = trades.astype({column: object})
    wrong.iloc[3, wrong.columns.get_loc(column)] = value
    with pytest.raises(DataError, match=words):
        FLOW.compute(minutes, wrong)


def test_quotes_and_statistics_that_cannot_be_are_refused_in_both_rhythms(minutes: pd.DataFrame) -> None:
    times = minutes.index[:4]
    quotes = pd.DataFrame({"bid_price": 1.0, "bid_qty": 2.0, "ask_price": 1.1, "ask_qty": 3.0}, index=times)
    live = LiveSources(Interval.parse("5m"))
    for size in (-1.0, np.nan, np.inf):
        with pytest.raises(DataError, match=r"sizes 2\.0 and"):
            FLOW.compute(minutes, book_df=quotes.assign(ask_qty=size))
        with pytest.raises(DataError, match=r"sizes 2\.0 and"):
            live.quote(1, 1.0, 2.0, 1.1, size)
    with pytest.raises(DataError, match="open_interest in row 0 is inf"):
        FUTURES.compute(minutes, futures_df=pd.DataFrame({"open_interest": np.inf}, index=times))
    with pytest.raises(DataError, match="open_interest is inf"):
        live.published("open_interest", 1, np.inf)
    with pytest.raises(DataError, match="quantity inf"):
        live.trade(AggTrade(symbol="X", agg_id=1, price=1.0, quantity=np.inf, ts_ns=1, buyer_is_maker=True))
    for name in ("agg_trades_df", "book_df", "futures_df"):
        with pytest.raises(InvalidInput, match="must be a frame, not list"):
            FLOW.compute(minutes, **{name: [1.0]})


def test_the_time_of_publication_may_be_a_column(minutes: pd.DataFrame) -> None:
    frame = pd.DataFrame({"funding_rate": [1e-4, 2e-4]}, index=minutes.index[[3, 90]])
    as_index = FUTURES.compute(minutes, futures_df=frame)
    as_column = FUTURES.compute(minutes, futures_df=frame.rename_axis("time").reset_index())
    pd.testing.assert_frame_equal(as_column, as_index)
    assert as_index["futures.funding"].notna().any()
