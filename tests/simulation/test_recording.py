"""Trades, quotes and statistics on a tape: what is read, cut, fingerprinted, and when it is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ares.data import load_agg_trades, load_quotes, load_statistics
from ares.errors import DataError, InvalidInput
from ares.events import AggTrades, BookTop, CandleClosed, FuturesStatistics, MarkPrice
from ares.simulation.session import Session
from ares.simulation.simulated_exchange import SimulatedExchange
from ares.simulation.tape import Tape

SYMBOL, MINUTE = "APEUSDT", 60_000_000_000


@pytest.fixture(scope="module")
def trades(real_data: Path) -> pd.DataFrame:
    frame = pd.read_parquet(real_data / "market" / "um_APEUSDT_aggTrades_2024-10-18.parquet")
    return frame[frame.time < "2024-10-18 03:00"]


@pytest.fixture(scope="module")
def bars(trades: pd.DataFrame) -> pd.DataFrame:
    grouped = trades.groupby(pd.DatetimeIndex(trades.time).as_unit("ns").floor("5min"))
    frame = grouped.price.ohlc()
    frame["volume"] = grouped.quantity.sum()
    return frame


@pytest.fixture(scope="module")
def tape(trades: pd.DataFrame, bars: pd.DataFrame) -> Tape:
    futures = pd.DataFrame({"open_interest": np.arange(1.0, 37.0)}, index=bars.index + pd.Timedelta("2min"))
    return Tape.from_frame(
        bars, symbol=SYMBOL, agg_trades=trades, quotes=quotes_beside(trades), futures=futures, interval="5m"
    )


def quotes_beside(trades: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"time": trades.time, "bid_price": trades.price - 1e-4, "bid_qty": trades.quantity,
                         "ask_price": trades.price + 1e-4, "ask_qty": 5.0})  # fmt: skip


def test_each_bar_is_told_its_recordings_before_its_candle(tape: Tape, trades: pd.DataFrame) -> None:
    session = Session(tape, kinds=("agg_trades", "book_top", "futures"))
    heard: list[object] = []
    told = 0
    quotes = 0
    while (event := session.next_event()) is not None:
        heard.append(event)
        if isinstance(event, CandleClosed):
            candle = event.candle
            mine = [t for e in heard if isinstance(e, AggTrades) for t in e.trades]
            assert all(candle.open_ns <= t.ts_ns < candle.close_ns for t in mine)
            assert sum(t.quantity for t in mine) == pytest.approx(candle.volume)
            assert [type(e) for e in heard if isinstance(e, MarkPrice | AggTrades)] == [AggTrades, MarkPrice]
            assert all(candle.open_ns <= e.ts_event < candle.close_ns for e in heard if isinstance(e, BookTop))
            stats = [e for e in heard if isinstance(e, FuturesStatistics)]
            assert [e.ts_event for e in stats] == [candle.open_ns + 2 * MINUTE]
            told += len(mine)
            quotes += sum(isinstance(e, BookTop) for e in heard)
            heard = []
    assert told == len(trades)
    assert quotes == len(np.unique(pd.DatetimeIndex(trades.time).as_unit("ns").asi8 // 250_000_000))


def test_many_trades_come_in_bounded_parts(trades: pd.DataFrame, bars: pd.DataFrame) -> None:
    parts = 4 * [trades]
    many = pd.concat(parts).sort_values("time", kind="stable").drop(columns="agg_id")
    hours = bars.resample("1h").agg({"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"})
    session = Session(Tape.from_frame(hours, symbol=SYMBOL, agg_trades=many), kinds=("agg_trades",))
    told = []
    while (event := session.next_event()) is not None:
        if isinstance(event, AggTrades):
            told.append(len(event.trades))
    assert sum(told) == len(many) and max(told) <= 10_000 and len(told) > 3


def test_slice_merge_and_fingerprint_hold_them(tape: Tape, trades: pd.DataFrame, bars: pd.DataFrame) -> None:
    bare = Tape.from_frame(bars, symbol=SYMBOL, interval="5m")
    assert tape.sha256 != bare.sha256
    again = Tape.from_frame(bars, symbol=SYMBOL, agg_trades=trades, interval="5m")
    changed = trades.copy()
    changed.loc[changed.index[7], "is_buyer_maker"] ^= True
    assert again.sha256 != Tape.from_frame(bars, symbol=SYMBOL, agg_trades=changed, interval="5m").sha256
    part = tape.slice(int(tape.tracks[0].open_ns[6]), int(tape.tracks[0].open_ns[12]))
    cut = part.tracks[0]
    times = cut.recording("agg_trades").time_ns
    assert cut.start_ns <= times[0] and times[-1] < cut.end_ns
    inside = pd.DatetimeIndex(trades.time).as_unit("ns").asi8
    assert times.size == ((inside >= cut.start_ns) & (inside < cut.end_ns)).sum()
    assert cut.recording("futures").time_ns[0] < cut.start_ns  # what was known when the first bar began
    merged = Tape.merge(part, Tape.from_frame(bars, symbol="ETHUSDT", interval="5m"))
    assert merged.track(SYMBOL).kinds == {"agg_trades", "book_top", "futures"} and not merged.track("ETHUSDT").kinds
    with pytest.raises(InvalidInput, match="no agg_trades of ETHUSDT"):
        Session(merged, kinds=("agg_trades",))
    assert "agg_trades: " in " ".join(tape.summary())


def test_frames_come_back_as_the_features_take_them(tape: Tape, trades: pd.DataFrame) -> None:
    frames = tape.recorded()
    assert set(frames) == {"agg_trades_df", "book_df", "futures_df"}
    got = frames["agg_trades_df"]
    assert got.quantity.tolist() == trades.quantity.tolist() and got.agg_id.tolist() == trades.agg_id.tolist()
    assert (got.time.to_numpy() == pd.DatetimeIndex(trades.time).as_unit("ns")).all()
    assert tape.recorded(kinds=("futures",)).keys() == {"futures_df"}


async def test_recorded_trades_can_be_asked_for(tape: Tape, trades: pd.DataFrame) -> None:
    exchange = SimulatedExchange(tape, start=int(tape.tracks[0].open_ns[10]))
    known = trades[pd.DatetimeIndex(trades.time).as_unit("ns").asi8 < exchange.clock.now_ns()]
    last = await exchange.get_agg_trades(SYMBOL, 50)
    assert [t.agg_id for t in last] == known.agg_id.iloc[-50:].tolist()
    assert exchange.capabilities.on_request == {"agg_trades", "book_top", "futures"}


def test_files_of_other_spellings(tmp_path: Path, trades: pd.DataFrame) -> None:
    plain = load_agg_trades(trades)
    wire = trades.rename(columns={"agg_id": "agg_trade_id", "time": "transact_time"})
    wire["transact_time"] = wire.transact_time.astype("int64")
    wire["is_buyer_maker"] = wire.is_buyer_maker.map({True: "true", False: "false"})
    wire.sample(frac=1.0, random_state=1).to_csv(tmp_path / "trades.csv", index=False)
    pd.testing.assert_frame_equal(load_agg_trades(tmp_path / "trades.csv"), plain)
    metrics = pd.DataFrame({"create_time": ["2024-10-18 00:05:00", "2024-10-18 00:00:00"], "symbol": SYMBOL,
                            "sum_open_interest": [2.0, 1.0], "sum_open_interest_value": [9.0, 9.0]})  # fmt: skip
    got = load_statistics(metrics, SYMBOL)
    assert got.open_interest.tolist() == [1.0, 2.0] and list(got.columns) == ["open_interest"]
    assert len(load_quotes(quotes_beside(trades))) == len(trades)


def test_what_cannot_be_is_refused(trades: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="no column quantity"):
        load_agg_trades(trades.drop(columns="quantity"))
    wrong = trades.copy()
    wrong.loc[wrong.index[3], "price"] = -1.0
    with pytest.raises(DataError, match="row 3: price"):
        load_agg_trades(wrong)
    wrong = trades.copy()
    wrong["agg_id"] = wrong.agg_id.to_numpy()[::-1]
    with pytest.raises(DataError, match="lower agg_id"):
        load_agg_trades(wrong)
    with pytest.raises(DataError, match="bid above its ask"):
        load_quotes(quotes_beside(trades).assign(ask_price=0.1))
    with pytest.raises(DataError, match="none of the columns"):
        load_statistics(trades)
