"""Klines and funding in files: Parquet to keep, CSV (plain, gz or zip) to read what others keep."""

from __future__ import annotations

import json
import zipfile
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ares.data.columns import ARCHIVE_COLUMNS
from ares.data.quality import QualityReport, validate_klines
from ares.data.stamps import NOT_A_TIME, format_ns, stamps_to_ns
from ares.errors import DataError, InvalidInput
from ares.instruments import Interval
from ares.storage import atomic_path

__all__ = ["load_funding", "load_klines", "read_frame", "save_klines"]

_FORMATS = "Parquet (.parquet) or CSV (.csv, .csv.gz, .zip)"
_FUNDING_NAMES = {"calc_time": "funding_time", "fundingtime": "funding_time", "time": "funding_time"}
_RATE_NAMES = {"last_funding_rate": "funding_rate", "fundingrate": "funding_rate", "rate": "funding_rate"}


def load_klines(
    source: pd.DataFrame | Path | str,
    interval: Interval | str | None = None,
    *,
    now_ns: int | None = None,
    min_rows: int = 2,
) -> tuple[pd.DataFrame, QualityReport]:
    """Validated klines from a DataFrame or a file; see `validate_klines` for what is accepted, repaired and refused.

    source: Parquet, or CSV with or without a header (Binance's archive order), plain, gzipped or zipped.
    Raises: InvalidInput when there is no such file or its format is unknown; DataError when it is damaged, and
        whenever `validate_klines` does.
    """
    if isinstance(source, pd.DataFrame):
        return validate_klines(source, interval, now_ns=now_ns, min_rows=min_rows)
    path = Path(source)
    frame = read_frame(path)
    try:
        return validate_klines(frame, interval, now_ns=now_ns, min_rows=min_rows)
    except DataError as error:
        raise DataError(f"{path}: {error.message}", **error.facts) from error  # type: ignore[arg-type]


def save_klines(klines: pd.DataFrame, path: Path | str, interval: Interval | str | None = None) -> QualityReport:
    """Write klines as Parquet (zstd); the file is whole or absent. They are validated first, as by `validate_klines`.

    The interval and the quality report are stored in the file's metadata under `ares`.
    """
    target = Path(path)
    if target.suffix != ".parquet":
        raise InvalidInput(f"klines are written as Parquet: name the file {target.with_suffix('.parquet').name}")
    clean, report = validate_klines(klines, interval, min_rows=1)
    table = pa.Table.from_pandas(clean.reset_index(), preserve_index=False)
    note = json.dumps({"interval": report.interval, "quality": report.to_dict()}, sort_keys=True)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"ares": note.encode()})
    with atomic_path(target) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return report


def load_funding(source: pd.DataFrame | Path | str, symbol: str | None = None) -> pd.DataFrame:
    """Settled funding rates, oldest first.

    source: columns `funding_time` (any stamp form; or the index) and `funding_rate` (fraction per interval; positive:
        longs pay), optionally `symbol` and `mark_price`; Binance's archive and API names are understood.
    symbol: keep its rows; None when the source holds one symbol only.
    Returns: index `funding_time` datetime64[ns, UTC], strictly rising; float64 `funding_rate`, and `mark_price` (NaN:
        unknown) when the source has it. Venues stamp a few milliseconds late; stamps within a second of a whole minute
        are set to it. Exact duplicates are dropped.
    Raises: InvalidInput, DataError (with `row`) as `load_klines` does.
    """
    frame = source if isinstance(source, pd.DataFrame) else read_frame(Path(source))
    where = "funding" if isinstance(source, pd.DataFrame) else str(source)
    plain = [str(c).strip().lower() for c in frame.columns]
    names = [_FUNDING_NAMES.get(c, _RATE_NAMES.get(c, {"markprice": "mark_price"}.get(c, c))) for c in plain]
    named = frame.set_axis(names, axis="columns")
    if "funding_time" not in names and not isinstance(named.index, pd.RangeIndex):
        named = named.rename_axis("funding_time").reset_index()
    missing = [c for c in ("funding_time", "funding_rate") if c not in named.columns]
    if missing:
        raise DataError(f"{where}: no column {', '.join(missing)}; it has {', '.join(plain)}", missing=missing)
    rows = np.arange(len(named))
    if "symbol" in named.columns:
        rows = rows[_of_symbol(named["symbol"], symbol, where)]
    return _funding_frame(named, rows, where)


def _of_symbol(column: pd.Series[Any], symbol: str | None, where: str) -> Any:
    present = sorted(map(str, column.unique()))
    if symbol is None and len(present) > 1:
        raise InvalidInput(f"{where}: holds {', '.join(present)}; say which symbol", symbols=present)
    if symbol is not None and symbol not in present:
        raise DataError(f"{where}: no funding of {symbol}; it holds {', '.join(present) or 'nothing'}", symbols=present)
    return (column == (symbol if symbol is not None else column)).to_numpy()


def _funding_frame(named: pd.DataFrame, rows: Any, where: str) -> pd.DataFrame:
    times = stamps_to_ns(named["funding_time"].iloc[rows])[0]
    rates = _floats(named["funding_rate"].iloc[rows])
    bad = np.flatnonzero((times == NOT_A_TIME) | ~np.isfinite(rates))
    if bad.size:
        row = int(rows[bad[0]])
        raise DataError(f"{where}: row {row}: time or rate of the funding cannot be read", row=row)
    if times.size == 0:
        raise DataError(f"{where}: no funding rows", rows=0)
    minute, second = 60_000_000_000, 1_000_000_000
    nearest = (times + minute // 2) // minute * minute
    times = np.where(np.abs(times - nearest) <= second, nearest, times)
    columns = {"funding_rate": rates}
    if "mark_price" in named.columns:
        mark = _floats(named["mark_price"].iloc[rows])
        columns["mark_price"] = np.where(mark > 0, mark, np.nan)
    order = np.argsort(times, kind="stable")
    times = times[order]
    again = np.flatnonzero(np.diff(times) == 0) + 1
    unlike = again[rates[order][again] != rates[order][again - 1]]
    if unlike.size:
        row = int(rows[order[unlike[0]]])
        raise DataError(f"{where}: row {row}: two different rates at {format_ns(int(times[unlike[0]]))}", row=row)
    kept = np.setdiff1d(np.arange(times.size), again)
    index = pd.DatetimeIndex(times[kept], tz="UTC", name="funding_time")
    return pd.DataFrame({name: value[order][kept] for name, value in columns.items()}, index=index)


def _floats(column: pd.Series[Any]) -> NDArray[np.float64]:
    return np.asarray(pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan))


def read_frame(path: Path) -> pd.DataFrame:
    """A table from a Parquet or CSV file as it stands, headerless CSV with numbered columns.

    Raises: InvalidInput when there is no such file or its ending is unknown; DataError when it cannot be read.
    """
    if path.is_dir():
        raise InvalidInput(f"{path} is a directory: name a file in it", path=str(path))
    if not path.is_file():
        raise InvalidInput(f"no file {path}{_nearest(path)}", path=str(path))
    name = path.name.lower()
    if not name.endswith((".parquet", ".pq", ".csv", ".csv.gz", ".zip")):
        raise InvalidInput(f"{path}: the ending says no known format; use {_FORMATS}", path=str(path))
    try:
        if name.endswith((".parquet", ".pq")):
            return pd.read_parquet(path)
        return _read_csv(path)
    except (pa.ArrowException, OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: cannot be read ({reason}); {_advice(path)}", path=str(path)) from error


def _advice(path: Path) -> str:
    """What to do about a file that cannot be read: it may be another format than its name says."""
    again = "fetch or export it again"
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
    except OSError:
        return "give the right to read it"
    if not head:
        return f"it is empty: {again}"
    if head.startswith(b"PAR1") and not path.name.lower().endswith((".parquet", ".pq")):
        return "it is a Parquet file: name it .parquet"
    if path.name.lower().endswith((".parquet", ".pq")) and head.isascii() and b"," in head and b"\0" not in head:
        return "it looks like CSV: name it .csv"
    return again


def _read_csv(path: Path) -> pd.DataFrame:
    """CSV; a first line that starts with a number is data, not a header."""
    head = pd.read_csv(path, header=None, nrows=1, dtype=str)
    first = str(head.iloc[0, 0]).strip()
    parted = next((mark for mark in (";", "\t", "|") if mark in first), None)
    if len(head.columns) == 1 and parted is not None:
        raise DataError(f"{path}: its columns are separated by {parted!r}: export it with commas", path=str(path))
    headerless = first.replace(".", "", 1).isdigit() or (len(head.columns) in (6, 12) and first[:4].isdigit())
    frame = pd.read_csv(path, header=None if headerless else "infer")
    if headerless and len(frame.columns) not in (6, len(ARCHIVE_COLUMNS)):
        raise DataError(
            f"{path}: {len(frame.columns)} columns without a header; only 6 (open time, OHLC, volume) or the "
            f"{len(ARCHIVE_COLUMNS)} of an archive can be told apart: add a header line",
            path=str(path),
        )
    return frame


def _nearest(path: Path) -> str:
    if not path.parent.is_dir():
        return f"; there is no folder {path.parent} either"
    close = get_close_matches(path.name, sorted(p.name for p in path.parent.iterdir() if p.is_file()), n=1)
    return f"; did you mean {path.parent / close[0]}?" if close else ""
