"""Which market a command plays, and how it refuses one that does not exist."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ares.cli.market import DEFAULT_BARS, check_exchange_name, open_tape, symbol_of
from ares.errors import DataError, InvalidInput
from ares.simulation.tape import Tape

HOURS = "um_ETHUSDT_1h.parquet"


def opened(
    symbol: str = "ETHUSDT", tape: Path | None = None, interval: str | None = None, bars: int | None = None
) -> Tape:
    return open_tape(symbol, tape=tape, interval=interval, seed=3, bars=bars)


def test_without_a_tape_there_is_a_market_of_hours() -> None:
    tape = opened()
    assert (tape.symbols, tape.interval.name, len(tape)) == (("ETHUSDT",), "1h", DEFAULT_BARS)


def test_the_seed_decides_the_market() -> None:
    first, again = opened(bars=200), opened(bars=200)
    other = open_tape("ETHUSDT", tape=None, interval=None, seed=4, bars=200)
    assert np.array_equal(first.track("ETHUSDT").close, again.track("ETHUSDT").close)
    assert not np.array_equal(first.track("ETHUSDT").close, other.track("ETHUSDT").close)


def test_a_recording_keeps_its_interval_and_may_be_cut(real_data: Path) -> None:
    path = real_data / "market" / HOURS
    whole = opened(tape=path)
    assert whole.interval.name == "1h"
    cut = opened(tape=path, bars=100)
    assert len(cut) == 100
    assert np.array_equal(cut.track("ETHUSDT").close, whole.track("ETHUSDT").close[:100])
    with pytest.raises(InvalidInput, match="15m"):
        opened(tape=path, interval="15m")


@pytest.mark.parametrize(("symbol", "nearest"), [("ETHUSD", "ETHUSDT"), ("ethusdt", "ETHUSDT"), ("BTCUSTD", "BTCUSDT")])
def test_an_unknown_symbol_names_the_nearest(symbol: str, nearest: str) -> None:
    with pytest.raises(InvalidInput, match=f"did you mean '{nearest}'"):
        opened(symbol)


def test_a_tape_may_bring_a_symbol_of_its_own(tmp_path: Path) -> None:
    frame = opened(bars=50).frame().reset_index()
    path = tmp_path / "WIFUSDT-1h.csv"
    frame.to_csv(path, index=False)
    assert opened("WIFUSDT", tape=path).symbols == ("WIFUSDT",)
    with pytest.raises(InvalidInput, match="unknown symbol"):
        opened("WIXUSDT", tape=path)


def test_a_wrong_tape_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="nowhere"):
        opened(tape=tmp_path / "nowhere.parquet")
    empty = tmp_path / "ETHUSDT.csv"
    empty.write_text("open_time,open,high,low,close,volume\n")
    with pytest.raises(DataError, match=str(empty)):
        opened(tape=empty)


def test_what_was_found_in_a_recording_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = opened(bars=50).frame().reset_index().drop(index=[10, 11])
    path = tmp_path / "ETHUSDT.csv"
    frame.to_csv(path, index=False)
    opened(tape=path)
    out, err = capsys.readouterr()
    assert out == ""
    assert "2 bars missing" in err


@pytest.mark.parametrize("bars", [1, 2, 29])
def test_a_market_of_a_few_bars_is_too_short(bars: int, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="too few"):
        opened(bars=bars)
    path = tmp_path / "ETHUSDT.csv"
    opened(bars=50).frame().iloc[: bars + 1].to_csv(path)
    with pytest.raises(DataError, match="too few"):
        opened(tape=path, bars=bars)


def test_a_market_that_fits_no_memory_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at most 500,000"):
        opened(bars=10**11)


def test_a_directory_is_no_tape(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="directory"):
        opened(tape=tmp_path)


def test_funding_that_covers_a_part_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = opened(bars=480).frame()
    frame.to_csv(tmp_path / "ETHUSDT.csv")
    for first, said in ((0, ""), (240, "rates cover 10 of 20 days")):
        rates = frame.index[first::8]
        pd.DataFrame({"funding_time": rates, "funding_rate": 0.0001}).to_csv(tmp_path / "rates.csv", index=False)
        open_tape("ETHUSDT", tape=tmp_path / "ETHUSDT.csv", interval=None, funding=tmp_path / "rates.csv")
        err = " ".join(capsys.readouterr().err.split())
        assert said in err and ("rates cover" in err) == bool(said)


@pytest.mark.parametrize("name", ["SIM", "sim"])
def test_the_built_in_venue_is_there(name: str) -> None:
    check_exchange_name(name)


def test_other_venues_are_refused_plainly() -> None:
    with pytest.raises(InvalidInput, match="later version"):
        check_exchange_name("BINANCE")
    with pytest.raises(InvalidInput, match="did you mean 'BINANCE'"):
        check_exchange_name("BINANC")


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("um_BTCUSDT_1h.parquet", "BTCUSDT"),
        ("1000PEPEUSDT-1m-2024-05.zip", "1000PEPEUSDT"),
        ("SOLUSDC.csv", "SOLUSDC"),
        ("hours.parquet", "ETHUSDT"),
        ("myBTCUSDTs.csv", "ETHUSDT"),
    ],
)
def test_a_tape_is_of_the_symbol_its_file_is_named_after(name: str, symbol: str) -> None:
    assert symbol_of(None, Path("BTCUSDT") / name) == symbol
    assert symbol_of("LTCUSDT", Path(name)) == "LTCUSDT"


def test_a_file_named_after_another_symbol_is_pointed_out(capsys: pytest.CaptureFixture[str]) -> None:
    symbol_of("ETHUSDT", Path("um_BTCUSDT_1h.parquet"))
    assert "named after BTCUSDT" in capsys.readouterr().err
    symbol_of(None, Path("ftx_BTC-PERP_1m.parquet"))
    assert "named after no symbol, and played with the rules of ETHUSDT: see --symbol" in capsys.readouterr().err
    symbol_of("ETHUSDT", Path("um_ETHUSDT_1h.parquet"))
    symbol_of(None, Path("um_ETHUSDT_1h.parquet"))
    symbol_of("ETHUSDT", Path("hours.parquet"))
    symbol_of("ETHUSDT", None)
    assert capsys.readouterr().err == ""
