"""A stream that is told trades, quotes and statistics gives the batch's bits, whatever comes late, twice or never."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ares.errors import DataError, InvalidInput
from ares.events import AggTrades, BookTop, Event, Funding, FuturesStatistics, LinkChanged, MarkPrice
from ares.features.config import SOURCES, FeatureConfig
from ares.features.orchestrator import FeatureOrchestrator
from ares.features.sources import FUTURES_COLUMNS, input_columns
from ares.features.stream import Stream
from ares.market import AggTrade, Candle
from tests.features.real import candles_of, read_klines

APE = "APEUSDT"


def flow() -> FeatureOrchestrator:
    return FeatureOrchestrator(FeatureConfig(groups=("flow", "momentum"), timeframes=(), sources=("agg_trades",)))


@pytest.fixture(scope="module")
def trades(real_data: Path) -> pd.DataFrame:
    """45,342 recorded trades of one day."""
    return pd.read_parquet(real_data / "market" / "um_APEUSDT_aggTrades_2024-10-18.parquet")


def bars_of(trades: pd.DataFrame, step: str) -> pd.DataFrame:
    """Bars made of the trades themselves; one without trades has no volume."""
    grouped = trades.set_index(pd.DatetimeIndex(trades.time).as_unit("ns")).resample(step)
    bars = grouped.price.ohlc()
    bars["close"] = bars.close.ffill()
    for name in ("open", "high", "low"):
        bars[name] = bars[name].fillna(bars.close)
    bars["volume"] = grouped.quantity.sum()
    bars.index.name = "open_time"
    return bars


def told(trades: pd.DataFrame, symbol: str = APE) -> list[AggTrade]:
    times = pd.DatetimeIndex(trades.time).as_unit("ns").asi8.tolist()
    rows = zip(trades.agg_id.tolist(), times, trades.price, trades.quantity, trades.is_buyer_maker, strict=True)
    return [
        AggTrade(symbol=symbol, agg_id=n, ts_ns=t, price=p, quantity=q, buyer_is_maker=bool(m))
        for n, t, p, q, m in rows
    ]


def event_of(trades: list[AggTrade]) -> AggTrades:
    at = max(t.ts_ns for t in trades)
    return AggTrades(ts_event=at, ts_seen=at, symbol=trades[0].symbol, trades=tuple(trades))


def by_bar(trades: list[AggTrade], candles: list[Candle]) -> Iterator[tuple[Candle, list[AggTrade]]]:
    """Each bar with the trades that happened since the bar before it closed."""
    at = 0
    for candle in candles:
        first = at
        while at < len(trades) and trades[at].ts_ns < candle.close_ns:
            at += 1
        yield candle, trades[first:at]


def rows_of(stream: Stream, trades: list[AggTrade], candles: list[Candle]) -> np.ndarray:
    rows = []
    for candle, mine in by_bar(trades, candles):
        if mine:
            stream.observe(event_of(mine))
        rows.append(stream.update(candle).values)
    return np.array(rows)


@pytest.mark.parametrize(("step", "interval"), [("1min", "1m"), ("5min", "5m")])
def test_recorded_trades_give_the_batchs_bits(trades: pd.DataFrame, step: str, interval: str) -> None:
    bars = bars_of(trades, step)
    batch = flow()
    whole = batch.compute(bars, trades)
    stream = flow().stream(APE, interval)
    rows = rows_of(stream, told(trades), candles_of(bars, interval, APE))
    np.testing.assert_array_equal(rows, whole.to_numpy())
    assert stream.fingerprint == batch.fingerprint and stream.kinds == {"agg_trades"}
    assert np.isfinite(whole.filter(like="flow.").to_numpy()).mean() > 0.5


def test_recorded_quotes_and_trades_give_the_batchs_bits(real_data: Path) -> None:
    """Six recorded minutes of ETHUSDT; their clock is slowed thirty times so that they fill as many bars."""
    market = real_data / "market"
    raw = pd.read_parquet(market / "um_ETHUSDT_20240808_trades.parquet").rename(columns={"trade_id": "agg_id"})
    quotes = pd.read_parquet(market / "um_ETHUSDT_20240808_bookticker.parquet")
    begin = raw.time.iloc[0].floor("1min")
    for frame in (raw, quotes):
        frame["time"] = begin + (frame.time - begin) * 30
    config = FeatureConfig(groups=("flow",), timeframes=(), sources=("agg_trades", "book_top"))
    bars = bars_of(raw, "1min")
    batch = FeatureOrchestrator(config)
    whole = batch.compute(bars, raw, book_df=quotes)
    stream = FeatureOrchestrator(config).stream("ETHUSDT", "1m")
    at = 0
    times = pd.DatetimeIndex(quotes.time).as_unit("ns").asi8
    columns = [quotes[name].tolist() for name in ("bid_price", "bid_qty", "ask_price", "ask_qty")]
    rows = []
    for candle, mine in by_bar(told(raw, "ETHUSDT"), candles_of(bars, "1m")):
        if mine:
            stream.observe(event_of(mine))
        while at < times.size and times[at] < candle.close_ns:
            bid, bid_size, ask, ask_size = (column[at] for column in columns)
            ns = int(times[at])
            stream.observe(
                BookTop(ts_event=ns, ts_seen=ns, symbol="ETHUSDT", bid=bid, bid_quantity=bid_size, ask=ask,
                        ask_quantity=ask_size)
            )  # fmt: skip
            at += 1
        rows.append(stream.update(candle).values)
    np.testing.assert_array_equal(np.array(rows), whole.to_numpy())
    assert stream.fingerprint == batch.fingerprint
    assert whole["flow.ofi_1"].notna().sum() > 100


def test_recorded_statistics_give_the_batchs_bits(real_data: Path) -> None:
    """Open interest every five minutes, settled funding, the mark price by `MarkPrice`: three days of minutes."""
    market = real_data / "market"
    bars = read_klines(market / "um_BTCUSDT_1m_2023.parquet").loc["2023-08-01":"2023-08-03"]
    interest = pd.read_parquet(market / "um_BTCUSDT_open_interest_5m_2023.parquet").set_index("time").sum_open_interest
    funding = pd.read_parquet(market / "um_BTCUSDT_funding.parquet").set_index("funding_time").funding_rate
    mark = pd.read_parquet(market / "um_BTCUSDT_mark_8h.parquet").set_index("open_time").open
    frame = pd.DataFrame({"funding_rate": funding, "mark_price": mark, "index_price": mark * 0.9999,
                          "open_interest": interest}).sort_index().loc["2023-07-31":"2023-08-03"]  # fmt: skip
    frame.index = pd.DatetimeIndex(frame.index).as_unit("ns")
    config = FeatureConfig(groups=("futures",), timeframes=(), sources=("futures",))
    batch = FeatureOrchestrator(config)
    whole = batch.compute(bars, futures_df=frame)
    stream = FeatureOrchestrator(config).stream("BTCUSDT", "1m")
    events: list[tuple[int, Event]] = []
    for at, row in zip(frame.index.asi8.tolist(), frame.itertuples(index=False), strict=True):
        stamp = {"ts_event": at, "ts_seen": at, "symbol": "BTCUSDT"}
        if row.funding_rate == row.funding_rate:
            rate = Decimal(repr(float(row.funding_rate)))
            events.append((at, Funding(**stamp, rate=rate, mark_price=1.0)))
        if row.mark_price == row.mark_price:
            events.append((at, MarkPrice(**stamp, price=row.mark_price, index=row.index_price)))
        if row.open_interest == row.open_interest:
            events.append((at, FuturesStatistics(**stamp, values={"open_interest": row.open_interest})))
    done, rows = 0, []
    for candle in candles_of(bars, "1m", "BTCUSDT"):
        while done < len(events) and events[done][0] <= candle.close_ns:
            stream.observe(events[done][1])
            done += 1
        rows.append(stream.update(candle).values)
    np.testing.assert_array_equal(np.array(rows), whole.to_numpy())
    assert stream.fingerprint == batch.fingerprint
    assert {"futures.funding", "futures.basis", "futures.oi_change_24"} <= set(whole.columns[whole.notna().any()])


def test_order_repetition_and_lateness_change_nothing(trades: pd.DataFrame) -> None:
    """Trades of a bar told in any order, some twice, some again after its close, and some of the next bar early."""
    bars = bars_of(trades, "5min").iloc[:120]
    candles = candles_of(bars, "5m", APE)
    plain = rows_of(flow().stream(APE, "5m"), told(trades), candles)
    stream = flow().stream(APE, "5m")
    rng = np.random.default_rng(5)
    batches = [mine for _, mine in by_bar(told(trades), candles)]
    rows = []
    for n, candle in enumerate(candles):
        following = batches[n + 1] if n + 1 < len(batches) else []
        mixed = batches[n] + batches[n][::3] + following[: len(following) // 2]
        for part in np.array_split(rng.permutation(len(mixed)), 7):
            if part.size:
                stream.observe(event_of([mixed[i] for i in part]))
        rows.append(stream.update(candle).values)
        if batches[n]:
            stream.observe(event_of(batches[n][::5]))  # late
    np.testing.assert_array_equal(np.array(rows), plain)


def test_a_trade_at_or_after_the_close_never_changes_the_row(trades: pd.DataFrame) -> None:
    bars = bars_of(trades, "5min").iloc[:60]
    candles = candles_of(bars, "5m", APE)
    plain = rows_of(flow().stream(APE, "5m"), told(trades), candles)
    rng = np.random.default_rng(3)
    for n in rng.integers(30, 59, 6).tolist():
        stream = flow().stream(APE, "5m")
        for at, (candle, mine) in enumerate(by_bar(told(trades), candles[: n + 1])):
            if mine:
                stream.observe(event_of(mine))
            if at == n:  # the future: other numbers, other sizes, at the close and later
                first = mine[-1].agg_id + int(rng.integers(1, 9))
                stream.observe(event_of([
                    AggTrade(symbol=APE, agg_id=first + i, ts_ns=candle.close_ns + i * 10**6, price=1.0,
                             quantity=float(rng.uniform(1, 1e6)), buyer_is_maker=bool(i % 2)) for i in range(20)
                ]))  # fmt: skip
            row = stream.update(candle)
        np.testing.assert_array_equal(row.values, plain[n])


def test_a_missing_trade_is_a_missing_bar_in_batch_and_stream(trades: pd.DataFrame) -> None:
    bars = bars_of(trades, "5min").iloc[:120]
    candles = candles_of(bars, "5m", APE)
    lost = trades.index[(trades.time >= bars.index[70]) & (trades.time < bars.index[71])][20]
    kept = trades.drop(index=lost)
    whole = flow().compute(bars, kept)
    rows = rows_of(flow().stream(APE, "5m"), told(kept), candles)
    np.testing.assert_array_equal(rows, whole.to_numpy())
    assert np.flatnonzero(whole["flow.delta_1"].isna()).tolist() == [0, 70]  # 0 began before the first trade
    assert not flow().compute(bars, trades)["flow.delta_1"].isna().iloc[70]
    with pytest.raises(DataError, match="agg_id"):
        flow().compute(bars, pd.concat([trades.iloc[:50], trades.iloc[40:]]).sort_values("time", kind="stable"))


def test_an_interrupted_link_makes_bars_missing_until_the_numbers_go_on(trades: pd.DataFrame) -> None:
    bars = bars_of(trades, "5min").iloc[:120]
    candles = candles_of(bars, "5m", APE)
    down = LinkChanged(ts_event=0, ts_seen=0, link="market", up=False)

    def delta(lost: tuple[int, ...]) -> np.ndarray:
        """The link breaks in the middle of bar 60; the trades of the bars `lost` are never told, 60's only in part."""
        stream = flow().stream(APE, "5m")
        rows = []
        for n, (candle, mine) in enumerate(by_bar(told(trades), candles)):
            if n == 60:
                stream.observe(event_of(mine[: len(mine) // 2]))
                stream.observe(down)
                mine = [] if lost else mine[len(mine) // 2 :]
            if mine and n not in lost[1:]:
                stream.observe(event_of(mine))
            rows.append(stream.update(candle).values)
        return np.array(rows)[:, stream.feature_names.index("flow.delta_1")]

    whole = flow().compute(bars, trades)["flow.delta_1"].to_numpy()
    np.testing.assert_array_equal(delta(()), whole)  # nothing was lost: the numbers go on
    expected = whole.copy()
    expected[60:63] = np.nan  # two bars without their trades, and the bar in which the numbering goes on
    np.testing.assert_array_equal(delta((60, 61)), expected)


def test_a_stream_goes_on_from_its_saved_state_in_the_middle_of_a_bar(trades: pd.DataFrame) -> None:
    bars = bars_of(trades, "5min").iloc[:100]
    candles = candles_of(bars, "5m", APE)
    plain = rows_of(flow().stream(APE, "5m"), told(trades), candles)
    stream = flow().stream(APE, "5m")
    for n, (candle, mine) in enumerate(by_bar(told(trades), candles)):
        half = len(mine) // 2
        if half:
            stream.observe(event_of(mine[:half]))
        if n % 17 == 0:
            saved = stream.save_state()
            stream = flow().stream(APE, "5m")
            stream.load_state(saved)
        if mine:
            stream.observe(event_of(mine[half:]))
        np.testing.assert_array_equal(stream.update(candle).values, plain[n])


def test_sources_fix_the_schema_from_the_start(trades: pd.DataFrame) -> None:
    plain, with_flow = FeatureOrchestrator(), FeatureOrchestrator(FeatureConfig(sources=("agg_trades",)))
    assert plain.stream(APE, "5m").kinds == frozenset()
    names = set(with_flow.stream(APE, "5m").feature_names) - set(plain.stream(APE, "5m").feature_names)
    assert names and all(name.startswith("flow.") for name in names)
    bars = bars_of(trades, "5min").iloc[:60]
    bare = flow()
    missing = bare.compute(bars)  # the source is named, its data are not there: NaN, in the same columns
    stream = flow().stream(APE, "5m")
    stream.update(candles_of(bars, "5m", APE)[0])
    assert stream.fingerprint == bare.fingerprint
    assert missing.filter(like="flow.").isna().all().all() and missing.filter(like="flow.").shape[1] > 5
    assert set(SOURCES) == {"agg_trades", "book_top", "futures", *FUTURES_COLUMNS}
    assert input_columns(["open_interest"]) == {"futures_open_interest"}
    with pytest.raises(InvalidInput, match="agg_trades"):
        FeatureConfig(sources=("aggtrades",))


def test_what_no_feature_reads_is_neither_asked_for_nor_gathered(trades: pd.DataFrame) -> None:
    def stream(*groups: str) -> Stream:
        sources = ("agg_trades", "book_top", "open_interest")
        return FeatureOrchestrator(FeatureConfig(groups=groups, timeframes=(), sources=sources)).stream(APE, "5m")

    assert stream("momentum").kinds == frozenset()
    assert stream("momentum", "futures").kinds == {"futures"}
    assert stream("momentum", "flow").kinds == {"agg_trades", "book_top"}
    deaf, silent = stream("momentum"), stream("momentum")
    bars = bars_of(trades, "5min").iloc[:40]
    for candle, mine in by_bar(told(trades), candles_of(bars, "5m", APE)):
        if mine:
            deaf.observe(event_of(mine))
        np.testing.assert_array_equal(deaf.update(candle).values, silent.update(candle).values)
    assert deaf.save_state()["gathered"] is None


def test_trades_that_begin_out_of_order_are_counted_from_the_earliest(trades: pd.DataFrame) -> None:
    """The first bar begins with its first trade, so it is complete, in whatever order its trades are told."""
    bars = bars_of(trades, "5min").iloc[:30]
    candles = candles_of(bars, "5m", APE)
    begun = told(trades)
    begun[0] = AggTrade(symbol=APE, agg_id=begun[0].agg_id, ts_ns=candles[0].open_ns, price=begun[0].price,
                        quantity=begun[0].quantity, buyer_is_maker=begun[0].buyer_is_maker)  # fmt: skip
    frame = trades.copy()
    frame["time"] = pd.DatetimeIndex(frame.time).as_unit("ns")
    frame.loc[frame.index[0], "time"] = bars.index[0]
    whole = flow().compute(bars, frame)
    stream = flow().stream(APE, "5m")
    rows = []
    for candle, mine in by_bar(begun, candles):
        stream.observe(event_of(mine[::-1]))
        rows.append(stream.update(candle).values)
    np.testing.assert_array_equal(np.array(rows), whole.to_numpy())
    assert whole["flow.delta_1"].notna().iloc[0]
