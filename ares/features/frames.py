"""The border between pandas and the engine: frames in, checked, as plain arrays; arrays out as a frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from attrs import field, frozen
from numpy.typing import NDArray

from ares.errors import DataError, InvalidInput, TooShort
from ares.instruments import Interval
from ares.market import LARGEST, REQUIRED_COLUMNS, SMALLEST, exceeds

__all__ = ["Bars", "index_ns", "numbers", "read_bars", "write_frame"]

OPTIONAL = ("quote_volume", "taker_buy_volume", "taker_buy_quote_volume", "trades")


@frozen(eq=False)
class Bars:
    """Klines as the engine takes them."""

    interval: Interval
    open_ns: NDArray[np.int64]  # rising
    columns: dict[str, NDArray[np.float64]] = field(repr=False)

    @property
    def sources(self) -> frozenset[str]:
        """Names of the columns that hold data."""
        return frozenset(self.columns)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Bar numbers since the epoch."""
        return self.open_ns // self.interval.ns


def index_ns(index: pd.Index, what: str) -> NDArray[np.int64]:
    """A UTC time index as int64 ns. Raises DataError when it has no time zone or does not rise."""
    if not isinstance(index, pd.DatetimeIndex):
        raise DataError(
            f"{what} must have a DatetimeIndex in UTC, not a {type(index).__name__}: for klines of any other form "
            "`Tape.from_frame(frame, symbol=...).frame()` makes it"
        )
    if index.tz is None:
        raise DataError(f"{what} must say that their times are UTC: `frame.tz_localize('UTC')`")
    ns = np.ascontiguousarray(index.as_unit("ns").asi8)
    wrong = np.flatnonzero(ns[1:] <= ns[:-1])
    if wrong.size:
        row = int(wrong[0]) + 1
        raise DataError(
            f"{what}: row {row} at {index[row]} is not later than the row before; sort and remove duplicates", row=row
        )
    return ns


def read_bars(klines: pd.DataFrame, interval: Interval | str | None = None) -> Bars:
    """Check a klines frame and take its columns (see `ares.market.KLINE_COLUMNS`); nothing is repaired.

    interval: None infers it as the commonest step between rows.
    An optional column that is absent or, with rows, entirely NaN is no source; `trades` of -1 are unknown. Raises:
    TooShort for fewer than two rows without an interval, InvalidInput for missing or repeated columns, DataError with
    the first offending row for disorder, text, NaN or non-positive prices, a high below or a low above the bar's other
    prices, negative amounts, prices and volumes beyond `ares.market.SMALLEST` and `LARGEST`, more bought by takers than
    traded.
    """
    if not isinstance(klines, pd.DataFrame):
        raise InvalidInput(f"klines must be a frame, not {type(klines).__name__}")
    missing = [name for name in REQUIRED_COLUMNS if name not in klines.columns]
    if missing:
        there = ", ".join(map(str, klines.columns)) or "none"
        raise InvalidInput(f"klines lack the columns {', '.join(missing)}; they have {there}", missing=missing)
    open_ns = index_ns(klines.index, "klines")
    if interval is None:
        if open_ns.size < 2:
            raise TooShort(f"{open_ns.size} klines: name the interval, it cannot be inferred", rows=int(open_ns.size))
        steps, counts = np.unique(np.diff(open_ns), return_counts=True)
        interval = Interval.of_ns(int(steps[np.argmax(counts)]))
    interval = Interval.parse(interval)
    early = np.flatnonzero(np.diff(open_ns) < interval.ns)
    if early.size:
        row = int(early[0]) + 1
        raise DataError(f"klines: row {row} opens less than {interval} after the row before", row=row)
    columns = {}
    for name in (*REQUIRED_COLUMNS, *OPTIONAL):
        if name in klines.columns:
            values = numbers(klines[name], name, "klines")
            if name == "trades":
                values = np.where(values == -1.0, np.nan, values)
            if name in REQUIRED_COLUMNS or not values.size or not np.isnan(values).all():
                columns[name] = values
    _check_prices(columns, klines.index)
    columns["time"] = (open_ns // 1_000_000_000).astype(np.float64)
    return Bars(interval, open_ns, columns)


def numbers(column: Any, name: str, what: str) -> NDArray[np.float64]:
    """A column as float64. Raises: InvalidInput when there are two of its name, DataError at the first text in it."""
    if isinstance(column, pd.DataFrame):
        raise InvalidInput(f"{what} have {column.shape[1]} columns named {name}", column=name)
    try:
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
    except (TypeError, ValueError):
        text = pd.to_numeric(column, errors="coerce").isna() & column.notna()
        row = int(np.argmax(text.to_numpy(dtype=bool)))
        raise DataError(f"{what}: {name} in row {row} is {column.iloc[row]!r:.40}, no number", row=row) from None


def _check_prices(columns: dict[str, NDArray[np.float64]], index: pd.Index) -> None:
    o, h, low, c, v = (columns[name] for name in REQUIRED_COLUMNS)
    checks = (
        ("a price that is not a positive number", ~((o > 0) & (h > 0) & (low > 0) & (c > 0) & np.isfinite(o + h + c))),
        (f"a price outside of {SMALLEST:g} to {LARGEST:g}", (low < SMALLEST) | (h > LARGEST)),
        ("a high below or a low above its other prices", (h < np.maximum(o, c)) | (low > np.minimum(o, c))),
        ("a volume that is negative or no number", ~((v >= 0) & np.isfinite(v))),
        (f"a volume outside of {SMALLEST:g} to {LARGEST:g}", ((v > 0) & (v < SMALLEST)) | (v > LARGEST)),
        *_amounts(columns),
    )
    for what, bad in checks:
        rows = np.flatnonzero(bad)
        if rows.size:
            row = int(rows[0])
            raise DataError(f"klines: {what} in row {row} at {index[row]} ({rows.size} such rows)", row=row)


def _amounts(columns: dict[str, NDArray[np.float64]]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """What the optional columns may not hold, each with the rows that do; NaN is unknown and may stand."""
    for name in OPTIONAL:
        if name in columns:
            yield f"a negative or infinite {name}", (columns[name] < 0) | np.isinf(columns[name])
    for part, whole in (("taker_buy_volume", "volume"), ("taker_buy_quote_volume", "quote_volume")):
        if part in columns and whole in columns:
            yield f"a {part} above {whole}", exceeds(columns[part], columns[whole])


def write_frame(values: NDArray[np.float64], names: Sequence[str], index: pd.Index) -> pd.DataFrame:
    """A frame over `values` (features, rows) without copying them."""
    frame = pd.DataFrame(values.T, index=index, columns=pd.Index(names), copy=False)
    frame.index.name = "open_time"
    return frame
