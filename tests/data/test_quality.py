"""Klines from anywhere: one frame comes out, repairs are told, and nothing is guessed."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares.data.columns import ARCHIVE_COLUMNS
from ares.data.quality import validate_klines
from ares.errors import DataError, InvalidInput
from ares.market import KLINE_COLUMNS

MINUTE = 60_000_000_000
START = pd.Timestamp("2024-01-01", tz="UTC").value  # a Monday


def good(rows: int = 12, step: int = MINUTE) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    close = 100 + rng.normal(size=rows).cumsum().round(2) / 10
    open_ = np.concatenate(([100.0], close[:-1]))
    opens = START + np.arange(rows) * step
    return pd.DataFrame(
        {
            "open_time": pd.DatetimeIndex(opens, tz="UTC"),
            "open": open_,
            "high": np.maximum(open_, close) + 0.05,
            "low": np.minimum(open_, close) - 0.05,
            "close": close,
            "volume": 1.0 + np.arange(rows),
            "close_time": pd.DatetimeIndex(opens + step, tz="UTC"),
            "quote_volume": 100.0 + np.arange(rows),
            "trades": np.arange(rows) + 5,
            "taker_buy_volume": 0.5 * np.arange(rows),
            "taker_buy_quote_volume": 50.0 * np.ones(rows),
            "ignore": np.zeros(rows, dtype=int),
        }
    )


def clean(frame: pd.DataFrame, **options: Any) -> pd.DataFrame:
    return validate_klines(frame, **options)[0]


def test_the_frame_has_the_documented_schema() -> None:
    frame, report = validate_klines(good())
    assert frame.index.name == "open_time"
    assert str(frame.index.dtype) == "datetime64[ns, UTC]"
    assert set(frame.columns) == set(KLINE_COLUMNS)
    assert {str(frame[c].dtype) for c in frame.columns if c not in ("trades", "close_time")} == {"float64"}
    assert str(frame["trades"].dtype) == "int64"
    assert (frame["close_time"] - frame.index == pd.Timedelta("1min")).all()
    assert report.clean
    assert not report.repaired
    assert report.interval == "1m"
    pd.testing.assert_frame_equal(clean(frame), frame)  # valid already: nothing changes
    minimal = clean(good()[["open_time", "open", "high", "low", "close", "volume"]])
    assert list(minimal.columns) == ["open", "high", "low", "close", "volume", "close_time"]


def _texts(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype({c: str for c in frame.columns if c not in ("open_time", "close_time")})


ns = good()["open_time"].astype("int64")
FORMS = {
    "ms": lambda f: f.assign(open_time=ns // 10**6, close_time=(ns + MINUTE) // 10**6 - 1),
    "us": lambda f: f.assign(open_time=ns // 10**3, close_time=(ns + MINUTE) // 10**3 - 1),
    "s": lambda f: f.assign(open_time=ns // 10**9, close_time=(ns + MINUTE) // 10**9 - 1),
    "ns": lambda f: f.assign(open_time=ns, close_time=ns + MINUTE - 1),
    "ms then us in one file": lambda f: f.assign(open_time=np.where(f.index < 6, ns // 10**6, ns // 10**3)),
    "float ms": lambda f: f.assign(open_time=(ns // 10**6).astype(float)),
    "text ms": lambda f: f.assign(open_time=(ns // 10**6).astype(str)),
    "ISO text": lambda f: f.assign(open_time=f["open_time"].astype(str)),
    "ISO text without a zone": lambda f: f.assign(open_time=f["open_time"].dt.tz_localize(None).astype(str)),
    "text with UTC": lambda f: f.assign(open_time=f["open_time"].dt.strftime("%Y-%m-%d %H:%M:%S UTC")),
    "Python datetimes": lambda f: f.assign(open_time=f["open_time"].astype(object)),
    "datetime64[s]": lambda f: f.assign(open_time=f["open_time"].dt.as_unit("s")),
    "naive datetime64[ms]": lambda f: f.assign(open_time=f["open_time"].dt.tz_localize(None).dt.as_unit("ms")),
    "another zone": lambda f: f.assign(open_time=f["open_time"].dt.tz_convert("Asia/Tokyo")),
    "index": lambda f: f.set_index("open_time"),
    "nameless index": lambda f: f.set_index("open_time").rename_axis(None),
    "index of ms": lambda f: f.assign(open_time=ns // 10**6).set_index("open_time"),
    "shuffled columns": lambda f: f[list(reversed(f.columns))],
    "capitals": lambda f: f.rename(columns=str.title),
    "an archive without header": lambda f: f.assign(
        open_time=ns // 10**6, close_time=(ns + MINUTE) // 10**6 - 1
    )[list(ARCHIVE_COLUMNS)].set_axis(range(12), axis="columns"),
    "names of the API": lambda f: f.rename(
        columns={
            "quote_volume": "quote_asset_volume",
            "trades": "number_of_trades",
            "taker_buy_volume": "taker_buy_base_asset_volume",
            "taker_buy_quote_volume": "taker_buy_quote_asset_volume",
            "open_time": "Open time",
        }
    ),
    "names of the archive": lambda f: f.rename(columns={"trades": "count"}),
    "numbers as text": _texts,
    "nullable columns": lambda f: f.assign(open_time=ns // 10**6).convert_dtypes(),
    "arrow columns": lambda f: f.convert_dtypes(dtype_backend="pyarrow"),
    "arrow columns, naive times": lambda f: f.assign(open_time=f["open_time"].dt.tz_localize(None)).convert_dtypes(
        dtype_backend="pyarrow"
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_common_form_is_the_same_frame(form: str) -> None:
    given_, before = FORMS[form](good()), FORMS[form](good())
    pd.testing.assert_frame_equal(clean(given_), clean(good()))
    pd.testing.assert_frame_equal(given_, before)  # the caller's frame is left alone


@given(st.permutations(range(12)), st.lists(st.integers(0, 11), max_size=5))
def test_disorder_and_exact_duplicates_are_repaired_and_counted(order: list[int], again: list[int]) -> None:
    rows = [*order, *again]
    frame, report = validate_klines(good().iloc[rows], "1m")
    pd.testing.assert_frame_equal(frame, clean(good()))
    assert report.duplicates == len(again)
    assert report.disordered == sum(a > b for a, b in zip(rows, rows[1:], strict=False))
    assert (report.first_duplicate_row is None) == (not again)
    if again:
        assert report.first_duplicate_row == min(i for i in range(12, len(rows)) if rows[i] in rows[:i])
    assert (report.rows_in, report.rows) == (len(rows), 12)


def test_gaps_and_silent_bars_are_kept_and_counted() -> None:
    frame = good(20).drop(index=[4, 5, 6, 12]).reset_index(drop=True)
    frame.loc[[2, 9], ["volume", "taker_buy_volume"]] = 0.0
    result, report = validate_klines(frame)
    assert len(result) == 16
    assert (report.gaps, report.missing_bars, report.longest_gap_bars) == (2, 4, 3)
    assert report.first_gap_ns == report.longest_gap_ns == START + 4 * MINUTE
    assert (report.zero_volume_bars, report.first_zero_volume_ns) == (2, START + 2 * MINUTE)
    assert any("2 gaps, 4 bars missing" in line and "2024-01-01 00:04" in line for line in report.summary())
    assert json.loads(json.dumps(report.to_dict()))["missing_bars"] == 4


def test_an_unfinished_last_bar_is_dropped() -> None:
    short = good()
    short.loc[11, "close_time"] -= pd.Timedelta("20s")
    result, report = validate_klines(short)
    assert (len(result), report.unfinished, report.repaired) == (11, 1, True)
    assert validate_klines(good(), now_ns=START + 12 * MINUTE)[1].unfinished == 0
    assert validate_klines(good(), now_ns=START + 12 * MINUTE - 1)[1].unfinished == 1
    both = pd.concat([good(), short.iloc[[11]].assign(volume=3.0)])  # the forming and the closed bar: not a conflict
    assert len(clean(both)) == 12
    within = good()
    within.loc[5, "close_time"] -= pd.Timedelta("20s")  # not the last: an outage, kept
    result, report = validate_klines(within)
    assert (len(result), report.irregular_closes, report.first_irregular_close_ns) == (12, 1, START + 5 * MINUTE)


FAULTS: dict[str, tuple[Any, str]] = {
    "NaN price": ({"close": np.nan}, "close is missing"),
    "zero price": ({"low": 0.0}, "low is 0"),
    "negative price": ({"open": -1.0}, "open is -1"),
    "infinite price": ({"high": np.inf}, "high is infinite"),
    "NaN volume": ({"volume": np.nan}, "volume is missing"),
    "negative volume": ({"volume": -1.0}, "volume is -1"),
    "high below close": ({"high": 98.0}, "high 98"),
    "low above open": ({"low": 102.0}, "low"),
    "takers bought more than was traded": ({"taker_buy_volume": 99.0}, "exceeds volume"),
    "takers spent more than was spent": ({"taker_buy_quote_volume": 1e6}, "exceeds quote_volume"),
    "infinite quote volume": ({"quote_volume": np.inf}, "infinite"),
    "off the grid": ({"open_time": pd.Timestamp("2024-01-01 00:07:13", tz="UTC")}, "grid"),
    "no time": ({"open_time": pd.NaT}, "time stamp"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("row", [0, 7, 11])
def test_the_first_offending_row_is_named(fault: str, row: int) -> None:
    change, words = FAULTS[fault]
    frame = good()
    for column, value in change.items():
        frame.loc[frame.index[[row, -1]], column] = value
    with pytest.raises(DataError, match=words) as caught:
        validate_klines(frame, "1m")
    assert caught.value.row == row
    assert f"row {row} " in str(caught.value)


def test_the_first_row_is_that_of_the_callers_order_whatever_the_fault() -> None:
    frame = good().iloc[::-1].reset_index(drop=True)
    frame.loc[9, "close"] = np.nan
    frame.loc[4, "high"] = 1.0
    with pytest.raises(DataError) as caught:
        validate_klines(frame)
    assert caught.value.row == 4


def test_text_that_is_no_number_is_named() -> None:
    frame = _texts(good())
    frame.loc[3, "close"] = "n/a!"
    with pytest.raises(DataError, match="close is not a number") as caught:
        validate_klines(frame)
    assert caught.value.row == 3


def test_conflicting_duplicates_are_refused_at_the_second() -> None:
    frame = pd.concat([good(), good().iloc[[3]].assign(volume=9.5)], ignore_index=True)
    with pytest.raises(DataError, match="other values") as caught:
        validate_klines(frame)
    assert caught.value.row == 12


@pytest.mark.parametrize("rows", [0, 1])
def test_empty_and_too_short_are_refused(rows: int) -> None:
    with pytest.raises(DataError):
        validate_klines(good().iloc[:rows])
    if rows:
        assert len(clean(good().iloc[:rows], min_rows=1)) == 1  # its close time tells the interval


def test_missing_columns_are_named() -> None:
    with pytest.raises(DataError, match="no column volume"):
        validate_klines(good().drop(columns="volume"))
    with pytest.raises(DataError, match="no column open_time"):
        validate_klines(good().drop(columns="open_time"))
    assert "volume" not in clean(good().drop(columns="volume"), required=("open", "high", "low", "close"))
    with pytest.raises(InvalidInput, match="DataFrame"):
        validate_klines([1, 2])  # type: ignore[arg-type]


def test_unknown_values_are_not_zero() -> None:
    frame = good().assign(quote_volume=np.nan)
    frame["trades"] = frame["trades"].astype(float)
    frame.loc[4, ["trades", "taker_buy_volume"]] = np.nan
    result = clean(frame)
    assert "quote_volume" not in result
    assert result["trades"].iloc[4] == -1
    assert np.isnan(result["taker_buy_volume"].iloc[4])


@pytest.mark.parametrize(("step", "name"), [(1, "1m"), (5, "5m"), (60, "1h"), (240, "4h"), (1440, "1d"), (10080, "1w")])
def test_the_interval_is_inferred(step: int, name: str) -> None:
    frame = good(30, step * MINUTE).drop(index=[3, 4, 11])
    assert validate_klines(frame)[1].interval == name
    assert validate_klines(frame, name)[1].missing_bars == 3


def test_another_interval_than_that_of_the_rows_is_refused() -> None:
    with pytest.raises(InvalidInput, match="interval='1m'"):
        validate_klines(good(), "1h")
    with pytest.raises(InvalidInput, match="interval='1h'"):
        validate_klines(good(12, 60 * MINUTE), "15m")
    with pytest.raises(InvalidInput, match="did you mean"):
        validate_klines(good(), "1hour")


@pytest.mark.parametrize("dtype", ["float64", "Int64", "object"])
def test_a_missing_stamp_is_named_in_numbers_too(dtype: str) -> None:
    frame = good().assign(open_time=(ns // 10**6).astype(dtype))
    frame.loc[4, "open_time"] = pd.NA if dtype == "Int64" else np.nan
    with pytest.raises(DataError, match="time stamp") as caught:
        validate_klines(frame)
    assert caught.value.row == 4


def test_several_symbols_and_foreign_columns() -> None:
    frame = good().assign(symbol="ETHUSDT", mood="calm")
    assert validate_klines(frame)[1].ignored_columns == ("mood",)
    frame.loc[5, "symbol"] = "BTCUSDT"
    with pytest.raises(DataError, match="several symbols") as caught:
        validate_klines(frame)
    assert caught.value.row == 5


def test_every_recorded_file_is_read_and_what_its_readme_says_is_found(real_data: Path) -> None:
    reports = {}
    for path in sorted((real_data / "market").glob("*.parquet")):
        source = pd.read_parquet(path)
        if {"open", "high", "low", "close", "volume"} <= set(source.columns):
            result, reports[path.stem] = validate_klines(source)
            np.testing.assert_array_equal(result["close"].to_numpy(), source["close"].to_numpy())
    assert len(reports) > 30
    outage = reports["spot_BTCUSDT_1h"]
    assert (outage.gaps, outage.missing_bars, outage.longest_gap_bars, outage.zero_volume_bars) == (20, 59, 10, 4)
    minutes = reports["um_ALGOUSDT_1m_full"]
    assert (minutes.gaps, minutes.missing_bars, minutes.longest_gap_bars) == (2, 750_240, 485_280)
    assert minutes.zero_volume_bars == 498
    assert reports["spot_BTCUSDT_1h_full_2023"].irregular_closes == 1


def test_a_row_more_costs_no_python_call_more() -> None:
    """Which is what keeps a million rows well under a second, on whatever machine."""

    def calls(rows: int) -> int:
        frame = pd.DataFrame({"open_time": START // 10**6 + np.arange(rows) * 60_000})
        for name, value in {"open": 100.0, "high": 101.0, "low": 99.0, "close": 100.5, "volume": 3.0}.items():
            frame[name] = value
        counted = 0

        def count(*_: object) -> None:
            nonlocal counted
            counted += 1

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            validate_klines(frame)
        finally:
            sys.setprofile(before)
        return counted

    calls(100)  # the first call imports
    few, many = calls(1_000), calls(1_000_000)
    assert few > 100, "the counter counts"
    assert many < few + 2_000, "the collector's own calls aside"


@pytest.mark.parametrize("form", ["%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%d.%m.%Y %H:%M"])
def test_dates_of_a_country_are_not_guessed_and_the_first_is_shown(form: str) -> None:
    """Of 3/4/2024 nobody knows whether it is in March or in April."""
    given = good()
    written = given["open_time"].dt.strftime(form)
    with pytest.raises(DataError, match=f"row 0: the time stamp '{re.escape(written[0])}' cannot be read") as error:
        validate_klines(given.assign(open_time=written))
    assert error.value.row == 0
