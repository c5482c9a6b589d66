"""The columns of klines from anywhere, under our names and as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ares.data.stamps import EARLIEST_STAMP
from ares.errors import DataError, InvalidInput
from ares.market import KLINE_COLUMNS, REQUIRED_COLUMNS

__all__ = ["ARCHIVE_COLUMNS", "Values", "name_columns", "numbers"]

Values = dict[str, NDArray[np.float64]]

ARCHIVE_COLUMNS = (
    "open_time",
    *REQUIRED_COLUMNS,
    "close_time",
    "quote_volume",
    "trades",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "ignore",
)
"""The twelve columns of a Binance kline archive, in its order; archives for the spot market have no header."""

_OTHER_NAMES = {
    "date": "open_time",
    "datetime": "open_time",
    "opentime": "open_time",
    "time": "open_time",
    "timestamp": "open_time",
    "closetime": "close_time",
    "vol": "volume",
    "quote_asset_volume": "quote_volume",
    "quotevolume": "quote_volume",
    "count": "trades",
    "number_of_trades": "trades",
    "num_trades": "trades",
    "taker_buy_base_asset_volume": "taker_buy_volume",
    "taker_buy_base_volume": "taker_buy_volume",
    "taker_buy_quote_asset_volume": "taker_buy_quote_volume",
}


def name_columns(frame: pd.DataFrame, required: Sequence[str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The columns that we know, under our names, on a counting index; and the names of those left aside."""
    if not isinstance(frame, pd.DataFrame):
        raise InvalidInput(f"klines must be a pandas DataFrame, not {type(frame).__name__}")
    names: list[str]
    if len(frame.columns) in (6, 12) and all(isinstance(c, int | np.integer) for c in frame.columns):
        names = list(ARCHIVE_COLUMNS[: len(frame.columns)])
    else:
        plain = [str(c).strip().lower().replace(" ", "_") for c in frame.columns]
        names = [_OTHER_NAMES.get(c, c) if _OTHER_NAMES.get(c, c) not in plain else c for c in plain]
    taken: dict[str, Any] = {}
    ignored = []
    for position, (name, original) in enumerate(zip(names, frame.columns, strict=True)):
        if name == "symbol":
            _refuse_many_symbols(frame.iloc[:, position])
        elif (name in KLINE_COLUMNS or name == "open_time") and name not in taken:
            taken[name] = frame.iloc[:, position].reset_index(drop=True)
        elif name != "ignore":
            ignored.append(str(original))
    if "open_time" not in taken and _is_time(frame.index):
        taken["open_time"] = frame.index.to_series().reset_index(drop=True)
    missing = [c for c in ("open_time", *required) if c not in taken]
    if missing:
        raise DataError(
            f"no column {', '.join(missing)}; the frame has {', '.join(map(str, frame.columns)) or 'no columns'}",
            missing=missing,
        )
    return pd.DataFrame(taken), tuple(ignored)


def _is_time(index: pd.Index[Any]) -> bool:
    """Whether an index holds times rather than row numbers."""
    if isinstance(index, pd.MultiIndex) or index.dtype.kind == "b":
        return False
    return index.dtype.kind not in "iuf" or (len(index) > 0 and bool(index[0] >= EARLIEST_STAMP))


def _refuse_many_symbols(column: pd.Series[Any]) -> None:
    other = np.flatnonzero((column != column.iloc[0]).to_numpy()) if len(column) else np.empty(0, dtype=np.int64)
    if other.size:
        row = int(other[0])
        raise DataError(
            f"row {row}: the klines hold several symbols ({column.iloc[0]}, {column.iloc[row]}); pass one at a time",
            row=row,
        )


def numbers(named: pd.DataFrame) -> tuple[Values, dict[str, NDArray[np.bool_]]]:
    """Columns as float64, and for those written as text the rows that hold no number."""
    values: Values = {}
    unreadable = {}
    for name in KLINE_COLUMNS:
        if name == "close_time" or name not in named:
            continue
        column = named[name]
        if column.dtype.kind in "iuf":
            values[name] = column.to_numpy(dtype=np.float64, na_value=np.nan)
            continue
        number = pd.to_numeric(column, errors="coerce")
        values[name] = number.to_numpy(dtype=np.float64, na_value=np.nan)
        empty = column.isna() | (column.astype("str").str.strip() == "")
        unreadable[name] = (number.isna() & ~empty).to_numpy()
    return values, unreadable
