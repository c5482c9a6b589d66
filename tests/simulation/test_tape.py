"""The tape: what goes in comes out, in order, unchanged, and with a fingerprint of its content alone."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares.errors import DataError, InvalidInput, TooShort
from ares.simulation.tape import StepKind, Tape

HOUR = 3_600_000_000_000
START = pd.Timestamp("2024-01-01", tz="UTC").value


def klines(
    rows: int = 10, *, skip: tuple[int, ...] = (), start: int = START, step: int = HOUR, **more: object
) -> pd.DataFrame:
    keep = np.array([i for i in range(rows) if i not in skip])
    close = 100.0 + keep
    columns = {"open": close - 0.5, "high": close + 1, "low": close - 1, "close": close, "volume": keep + 1.0, **more}
    return pd.DataFrame(columns, index=pd.DatetimeIndex(start + keep * step, tz="UTC", name="open_time"))


def test_candles_are_the_rows_of_the_frame() -> None:
    frame = klines(9000, trades=np.arange(9000))
    tape = Tape.from_frame(frame, symbol="ETHUSDT")
    assert (len(tape), tape.symbols, tape.interval.name) == (9000, ("ETHUSDT",), "1h")
    for row in (0, 4095, 4096, 8999, 17):  # across the blocks, and back
        candle = tape.candle("ETHUSDT", row)
        open_ns = START + row * HOUR
        assert (candle.symbol, candle.interval) == ("ETHUSDT", "1h")
        assert (candle.open_ns, candle.close_ns) == (open_ns, open_ns + HOUR)
        prices = (candle.open, candle.high, candle.low, candle.close)
        assert prices == (99.5 + row, 101.0 + row, 99.0 + row, 100.0 + row)
        assert (candle.volume, candle.trades) == (row + 1.0, row)
        assert np.isnan([candle.quote_volume, candle.taker_buy_volume, candle.taker_buy_quote_volume]).all()
    assert [c.close for c in tape.tracks[0].candles(4090, 4100)] == [100.0 + i for i in range(4090, 4100)]
    for beyond in (-1, 9000):
        with pytest.raises(IndexError):
            tape.candle("ETHUSDT", beyond)


def test_the_tape_does_not_change_with_the_frame_it_came_from() -> None:
    frame = klines()
    tape = Tape.from_frame(frame, symbol="ETHUSDT")
    before = tape.sha256
    with pytest.raises(ValueError, match="read-only"):
        tape.tracks[0].close[0] = 1.0
    assert tape.slice().sha256 == before
    pd.testing.assert_frame_equal(tape.frame()[["open", "high", "low", "close", "volume"]], frame, check_freq=False)


def test_steps_put_closes_first_then_funding_then_opens_each_in_the_order_of_symbols() -> None:
    funding = pd.DataFrame({"funding_time": [START + 2 * HOUR], "funding_rate": [0.0001]})
    b = Tape.from_frame(klines(3), symbol="BTCUSDT", funding=funding)
    a = Tape.from_frame(klines(3), symbol="ETHUSDT", funding=funding)
    steps = list(Tape.merge(b, a).steps())
    assert steps[:2] == [(START, StepKind.OPEN, 0, 0), (START, StepKind.OPEN, 1, 0)]
    assert [s[1:] for s in steps if s[0] == START + 2 * HOUR] == [
        (StepKind.CLOSE, 0, 1),
        (StepKind.CLOSE, 1, 1),
        (StepKind.FUNDING, 0, 0),
        (StepKind.FUNDING, 1, 0),
        (StepKind.OPEN, 0, 2),
        (StepKind.OPEN, 1, 2),
    ]
    assert all(x[:3] < y[:3] for x, y in pairwise(steps))
    within = list(Tape.merge(b, a).steps(START + HOUR, START + 2 * HOUR))
    assert within == [s for s in steps if START + HOUR <= s[0] <= START + 2 * HOUR]


def shows_its_hours(holes: set[int]) -> bool:
    """Two bars of thirty stand an hour apart: else the rows are those of a longer interval, and refused as such."""
    return any(i not in holes and i + 1 not in holes for i in range(29))


@given(st.lists(st.sets(st.integers(1, 28), max_size=20).filter(shows_its_hours), min_size=1, max_size=3))
def test_every_bar_opens_and_closes_once_whatever_is_missing(holes: list[set[int]]) -> None:
    tape = Tape.merge(
        *(Tape.from_frame(klines(30, skip=tuple(h)), symbol=f"S{i}", interval="1h") for i, h in enumerate(holes))
    )
    steps = list(tape.steps())
    for number, track in enumerate(tape.tracks):
        own = [s for s in steps if s[2] == number]
        assert [s[1] for s in own] == [StepKind.OPEN, StepKind.CLOSE] * len(track)
        assert [s[3] for s in own] == [i for i in range(len(track)) for _ in range(2)]
        assert [s[0] for s in own[::2]] == track.open_ns.tolist()
    assert sorted(s[0] for s in steps) == [s[0] for s in steps]


def test_no_funding_given_is_no_funding_event_and_is_said() -> None:
    tape = Tape.from_frame(klines(), symbol="ETHUSDT")
    assert not any(kind == StepKind.FUNDING for _, kind, _, _ in tape.steps())
    assert not tape.tracks[0].has_funding
    assert "ETHUSDT: funding: not in data" in tape.summary()
    empty = pd.DataFrame({"funding_time": [START - 8 * HOUR], "funding_rate": [0.1]})
    assert "funding: none settled in this span" in " ".join(
        Tape.from_frame(klines(), symbol="ETHUSDT", funding=empty).summary()
    )


def test_funding_is_taken_for_its_symbol_with_late_stamps_and_the_mark_of_that_moment() -> None:
    times = [START + 8 * HOUR + 8_000_000, START, START + 16 * HOUR]
    funding = pd.DataFrame({"symbol": ["ETHUSDT"] * 3, "funding_time": times, "funding_rate": [0.1, 0.2, 0.3]})
    funding.loc[3] = ["BTCUSDT", START + 8 * HOUR, 0.9]
    marks = klines(4, step=8 * HOUR).drop(columns="volume")
    track = Tape.from_frame(klines(20), symbol="ETHUSDT", funding=funding, mark=marks).tracks[0]
    assert track.funding_ns.tolist() == [START + 8 * HOUR, START + 16 * HOUR]  # the first bar's open is before us
    assert track.funding_rate.tolist() == [0.1, 0.3]
    assert track.funding_mark.tolist() == [marks["open"].iloc[1], marks["open"].iloc[2]]
    with pytest.raises(DataError, match="SOLUSDT"):
        Tape.from_frame(klines(20), symbol="SOLUSDT", funding=funding)


def test_finer_mark_prices_give_each_bar_its_open_high_low_and_close() -> None:
    minutes = 60_000_000_000
    marks = klines(180, step=minutes, skip=tuple(range(60, 70))).drop(columns="volume")
    track = Tape.from_frame(klines(5), symbol="ETHUSDT", mark=marks).tracks[0]
    hourly = marks.resample("1h")
    assert track.mark_high[:3].tolist() == hourly["high"].max().tolist()
    assert track.mark_low[:3].tolist() == hourly["low"].min().tolist()
    assert track.mark_close[:3].tolist() == hourly["close"].last().tolist()
    assert track.mark_open[0] == marks["open"].iloc[0]
    assert np.isnan(track.mark_open[1])  # its first minutes are missing: nobody knows
    assert np.isnan([track.mark_open[3], track.mark_high[3], track.mark_low[3], track.mark_close[3]]).all()


def test_mark_prices_of_the_same_interval_are_the_mark_prices() -> None:
    marks = klines(10, skip=(4,))
    track = Tape.from_frame(klines(10), symbol="ETHUSDT", mark=marks).tracks[0]
    expected = marks.reindex(pd.DatetimeIndex(track.open_ns, tz="UTC"))
    for name in ("open", "high", "low", "close"):
        np.testing.assert_array_equal(getattr(track, f"mark_{name}"), expected[name])
    with pytest.raises(InvalidInput, match="neither divides"):
        Tape.from_frame(klines(10, step=2 * HOUR), symbol="X", mark=klines(10, step=3 * HOUR))


def test_a_slice_holds_whole_bars_and_their_funding() -> None:
    funding = pd.DataFrame({"funding_time": START + np.arange(10) * 8 * HOUR, "funding_rate": np.arange(10) / 1e4})
    tape = Tape.from_frame(klines(72), symbol="ETHUSDT", funding=funding)
    part = tape.slice("2024-01-01T07:30", pd.Timestamp("2024-01-02 00:30", tz="UTC"))
    track = part.tracks[0]
    assert (part.start_ns, part.end_ns) == (START + 8 * HOUR, START + 24 * HOUR)
    assert len(part) == 16
    assert track.funding_ns.tolist() == [START + 16 * HOUR, START + 24 * HOUR]
    assert part.sha256 == Tape.from_frame(klines(72).iloc[8:24], symbol="ETHUSDT", funding=funding).sha256
    assert part.sha256 != tape.sha256
    with pytest.raises(TooShort, match="2024-01-04 00:00"):
        tape.slice("2025-01-01")
    with pytest.raises(InvalidInput, match="no time"):
        tape.slice("yesterday")


def test_the_fingerprint_depends_on_content_only() -> None:
    frame = klines()
    tape = Tape.from_frame(frame, symbol="ETHUSDT")
    assert Tape.from_frame(frame.iloc[::-1], symbol="ETHUSDT").sha256 == tape.sha256
    assert Tape.from_frame(frame, symbol="BTCUSDT").sha256 != tape.sha256
    changed = frame.copy()
    changed.iloc[3, changed.columns.get_loc("close")] += 1e-9
    assert Tape.from_frame(changed, symbol="ETHUSDT").sha256 != tape.sha256
    rated = Tape.from_frame(frame, symbol="ETHUSDT", funding=pd.DataFrame({"time": [START], "funding_rate": [0.0]}))
    assert rated.sha256 != tape.sha256  # known to be none is not unknown


def test_what_is_known_when() -> None:
    track = Tape.from_frame(klines(10, skip=(3, 4)), symbol="ETHUSDT").tracks[0]
    for now in range(-1, 12):
        assert track.closed_by(START + now * HOUR) == np.count_nonzero(track.close_ns <= START + now * HOUR)


def test_bad_merges_and_names_are_refused() -> None:
    tape = Tape.from_frame(klines(), symbol="ETHUSDT")
    with pytest.raises(InvalidInput, match="twice"):
        Tape.merge(tape, tape)
    with pytest.raises(InvalidInput, match="one interval"):
        Tape.merge(tape, Tape.from_frame(klines(step=60_000_000_000), symbol="BTCUSDT"))
    with pytest.raises(InvalidInput, match="at least one"):
        Tape.merge()
    with pytest.raises(InvalidInput, match="did you mean 'ETHUSDT'"):
        tape.candle("ETHUSD", 0)


def test_recorded_files_play(real_data: Path) -> None:
    market = real_data / "market"
    source = pd.read_parquet(market / "um_ETHUSDT_1h.parquet")
    tape = Tape.from_file(
        market / "um_ETHUSDT_1h.parquet",
        symbol="ETHUSDT",
        funding=market / "um_ETHUSDT_funding.parquet",
        mark=market / "um_ETHUSDT_mark_8h.parquet",
    )
    track = tape.tracks[0]
    assert len(tape) == len(source)
    assert track.funding_ns.size == 2286  # as many as the file holds
    assert (track.funding_ns % (8 * HOUR) == 0).all()
    assert np.isfinite(track.funding_mark[:-1]).all()
    row = np.searchsorted(track.open_ns, track.funding_ns[:-1])
    assert np.abs(track.funding_mark[:-1] / track.open[row] - 1).max() < 0.02  # mark and last price stay close
    assert sum(1 for _ in tape.steps()) == 2 * len(tape) + 2286
    assert [c.close for c in track.candles()] == source["close"].tolist()


def test_a_tape_shows_itself_in_a_line() -> None:
    tape = Tape.synthetic("ETHUSDT", "1h", bars=500, seed=1)
    assert repr(tape).startswith("Tape(ETHUSDT, 500 bars of 1h, ")
    assert "array" not in repr(tape.tracks[0]) and "ETHUSDT" in repr(tape.tracks[0])
