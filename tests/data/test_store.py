"""Files in, files out: what was saved is what is loaded, and a file that cannot be read says what to do."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from ares.data.columns import ARCHIVE_COLUMNS
from ares.data.store import load_funding, load_klines, save_klines
from ares.data.synthetic import synthetic_market
from ares.errors import DataError, InvalidInput

HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def klines() -> pd.DataFrame:
    return synthetic_market(3, 50).klines


def archive_text(klines: pd.DataFrame, header: bool) -> str:
    """The klines as Binance's archive writes them: ms stamps, inclusive close."""
    frame = klines.drop(columns="close_time")
    frame["open_time"] = klines.index.astype("int64") // 10**6
    frame["close_time"] = frame["open_time"] + HOUR_MS - 1
    frame["ignore"] = 0
    return str(frame[list(ARCHIVE_COLUMNS)].to_csv(index=False, header=header))


def test_parquet_round_trip_is_exact(tmp_path: Path, klines: pd.DataFrame) -> None:
    path = tmp_path / "folder" / "ETHUSDT_1h.parquet"
    report = save_klines(klines.iloc[::-1], path)
    loaded, again = load_klines(path)
    pd.testing.assert_frame_equal(loaded, klines, check_freq=False)
    assert report.disordered == 49
    assert again.clean
    assert b'"interval": "1h"' in pq.read_schema(path).metadata[b"ares"]
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_refused_save_leaves_the_old_file(tmp_path: Path, klines: pd.DataFrame) -> None:
    path = tmp_path / "a.parquet"
    save_klines(klines, path)
    before = path.read_bytes()
    with pytest.raises(DataError):
        save_klines(klines.assign(close=-1.0), path)
    assert path.read_bytes() == before
    with pytest.raises(InvalidInput, match=r"a\.parquet"):
        save_klines(klines, tmp_path / "a.csv")


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".zip"])
def test_archives_are_read_packed_and_plain_with_and_without_header(
    tmp_path: Path, klines: pd.DataFrame, ending: str, header: bool
) -> None:
    path, text = tmp_path / f"ETHUSDT-1h{ending}", archive_text(klines, header)
    if ending == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("ETHUSDT-1h.csv", text)
    else:
        path.write_bytes(gzip.compress(text.encode()) if ending.endswith("gz") else text.encode())
    loaded, _ = load_klines(path)
    pd.testing.assert_frame_equal(loaded, klines, check_freq=False)


def test_a_csv_with_text_dates(tmp_path: Path, klines: pd.DataFrame) -> None:
    path = tmp_path / "a.csv"
    klines[["open", "high", "low", "close", "volume"]].to_csv(path)
    pd.testing.assert_index_equal(load_klines(path)[0].index, klines.index, check_names=True, exact="equiv")


def test_what_cannot_be_read_says_what_to_do(tmp_path: Path, klines: pd.DataFrame) -> None:
    save_klines(klines, tmp_path / "ETHUSDT.parquet")
    with pytest.raises(InvalidInput, match=r"did you mean .*ETHUSDT\.parquet"):
        load_klines(tmp_path / "ETHUSD.parquet")
    with pytest.raises(InvalidInput, match="no folder"):
        load_klines(tmp_path / "nowhere" / "a.csv")
    (tmp_path / "a.xlsx").write_text("x")
    with pytest.raises(InvalidInput, match="Parquet"):
        load_klines(tmp_path / "a.xlsx")
    for name, content in {
        "cut.parquet": (tmp_path / "ETHUSDT.parquet").read_bytes()[:200],
        "empty.parquet": b"",
        "empty.csv": b"",
        "no.zip": b"PK nonsense",
        "no.csv.gz": b"nonsense",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match="fetch or export it again"):
            load_klines(tmp_path / name)
    (tmp_path / "odd.csv").write_text("1704067200000,1,2\n1704070800000,1,2\n")
    with pytest.raises(DataError, match="header"):
        load_klines(tmp_path / "odd.csv")


def test_a_file_of_another_format_than_its_name_says_which(tmp_path: Path, klines: pd.DataFrame) -> None:
    klines.to_csv(tmp_path / "text.parquet")
    klines.to_parquet(tmp_path / "binary.csv")
    klines.to_csv(tmp_path / "parted.csv", sep=";")
    (tmp_path / "nothing.csv").touch()
    for name, told in {
        "text.parquet": "looks like CSV: name it .csv",
        "binary.csv": "a Parquet file: name it .parquet",
        "parted.csv": "separated by ';': export it with commas",
        "nothing.csv": "it is empty",
    }.items():
        with pytest.raises(DataError, match=told):
            load_klines(tmp_path / name)


def test_an_offending_row_of_a_file_is_named_with_the_file(tmp_path: Path, klines: pd.DataFrame) -> None:
    broken = klines.drop(columns="close_time").reset_index()
    broken.loc[17, "low"] = 0.0
    broken.to_parquet(tmp_path / "broken.parquet")
    with pytest.raises(DataError, match=r"broken\.parquet: row 17") as caught:
        load_klines(tmp_path / "broken.parquet")
    assert caught.value.row == 17


def test_funding_comes_out_ordered_for_one_symbol() -> None:
    frame = pd.DataFrame(
        {
            "symbol": ["B", "A", "A", "A"],
            "fundingTime": [0, 8 * HOUR_MS + 7, 0, 0],
            "fundingRate": ["0.5", "0.2", "0.1", "0.1"],
            "markPrice": ["", "2000.5", "", ""],
        }
    )
    frame["fundingTime"] += 1_704_067_200_000
    result = load_funding(frame, "A")
    assert result.index.tolist() == [pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-01-01 08:00", tz="UTC")]
    assert result["funding_rate"].tolist() == [0.1, 0.2]
    np.testing.assert_array_equal(result["mark_price"], [np.nan, 2000.5])
    pd.testing.assert_frame_equal(load_funding(result), result)
    with pytest.raises(InvalidInput, match="say which"):
        load_funding(frame)
    with pytest.raises(DataError, match="no funding of C"):
        load_funding(frame, "C")
    with pytest.raises(DataError, match="two different rates") as caught:
        load_funding(frame.assign(fundingRate=[0.5, 0.2, 0.1, 0.3]), "A")
    assert caught.value.row == 3
    with pytest.raises(DataError, match="row 2") as caught:
        load_funding(frame.assign(fundingRate=["0.5", "0.2", "x", "0.3"]), "A")
    with pytest.raises(DataError, match="funding_rate"):
        load_funding(frame.drop(columns="fundingRate"))


def test_recorded_archives_are_read(real_data: Path) -> None:
    raw = real_data / "market" / "raw"
    december, _ = load_klines(raw / "spot-ETHUSDT-1h-2024-12.zip")  # ms, no header
    january, _ = load_klines(raw / "spot-ETHUSDT-1h-2025-01.zip")  # us, no header
    futures, report = load_klines(raw / "futures-um-klines-BTCUSDT-1h-2024-10-28.zip")  # ms, header
    assert (len(december), len(january), len(futures), report.zero_volume_bars) == (744, 744, 24, 1)
    assert january.index[0] - december.index[-1] == pd.Timedelta("1h")
    full = pd.read_parquet(real_data / "market" / "spot_ETHUSDT_1h_full.parquet").set_index("open_time")
    both = pd.concat([december, january])
    for column in ("open", "high", "low", "close", "volume", "trades", "taker_buy_volume"):
        np.testing.assert_array_equal(both[column], full.loc["2024-12-01":, column])
    funding = load_funding(real_data / "market" / "um_ETHUSDT_funding.parquet", "ETHUSDT")
    assert len(funding) == 2286
    assert (np.diff(funding.index.asi8) == 8 * HOUR_MS * 10**6).all()
