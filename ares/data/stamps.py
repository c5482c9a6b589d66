"""Time stamps of any common form to int64 nanoseconds UTC."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["EARLIEST_STAMP", "NOT_A_TIME", "format_ns", "stamps_to_ns"]

NOT_A_TIME = np.iinfo(np.int64).min
"""Stands in the result where a stamp could not be read."""

EARLIEST_STAMP = 100_000_000
"""Seconds of 1973; smaller numbers are row counters or dates written as integers, not times."""


def stamps_to_ns(values: Any) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Nanoseconds since the epoch, and the units in which the stamps were written.

    values: a Series, Index or array of datetimes at any resolution (naive ones are UTC), of numbers in s, ms, us or
        ns (told apart by size, each for itself: archives changed from ms to us in mid-file), or of text (numbers or
        ISO 8601).
    Returns: (n,) int64, `NOT_A_TIME` where a stamp cannot be read; the units, such as ("ms", "us").
    """
    column = pd.Series(values).reset_index(drop=True)
    if isinstance(column.dtype, pd.DatetimeTZDtype) or column.dtype.kind == "M":
        return _from_datetimes(column), (_resolution(column),)
    if column.dtype.kind in "iuf":
        complete = not column.hasnans
        return _from_numbers(column.to_numpy() if complete else column.to_numpy(dtype=np.float64, na_value=np.nan))
    number = pd.to_numeric(column, errors="coerce")
    if number.notna().any() and not _holds_datetimes(column):
        return _from_numbers(number.to_numpy())
    if not _holds_datetimes(column):
        column = column.astype("str").str.strip().str.removesuffix(" UTC")
        parsed = pd.to_datetime(column, utc=True, errors="coerce", format="ISO8601")
    else:
        parsed = pd.to_datetime(column, utc=True, errors="coerce")
    return _from_datetimes(parsed), ("text",)


def _holds_datetimes(column: pd.Series[Any]) -> bool:
    known = column.dropna()
    return len(known) > 0 and hasattr(known.iloc[0], "year")


def _resolution(column: pd.Series[Any]) -> str:
    return str(np.datetime_data(_wall(column).dtype)[0])


def _wall(column: pd.Series[Any]) -> NDArray[np.datetime64]:
    """UTC wall time; a naive stamp is UTC."""
    return (column.dt.tz_convert("UTC").dt.tz_localize(None) if column.dt.tz is not None else column).to_numpy()


def _from_datetimes(column: pd.Series[Any]) -> NDArray[np.int64]:
    """A stamp that does not fit in int64 nanoseconds (before 1678, after 2262) is not a time."""
    stamps = _wall(column)
    unit = np.datetime_data(stamps.dtype)[0]
    per_unit = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}[unit]
    counts = stamps.view(np.int64)
    fits = np.abs(counts.astype(np.float64)) < 9.2e18 / per_unit
    return np.where(fits & ~np.isnat(stamps), counts * per_unit, NOT_A_TIME)


def _from_numbers(values: NDArray[Any]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    if values.dtype.kind == "f":
        whole = np.isfinite(values) & (values == np.floor(values)) & (np.abs(values) < 9.2e18)
        counts = np.where(whole, values, 0).astype(np.int64)
    else:
        counts = values.astype(np.int64)
        whole = values <= np.iinfo(np.int64).max
    nanoseconds = np.full(counts.size, NOT_A_TIME)
    units = []
    low = EARLIEST_STAMP
    for unit, high, scale in (
        ("s", 10**11, 10**9),
        ("ms", 10**14, 10**6),
        ("us", 10**17, 10**3),
        ("ns", np.iinfo(np.int64).max, 1),
    ):
        inside = whole & (counts >= low) & (counts < high)
        if inside.any():
            units.append(unit)
            fits = inside & (counts < np.iinfo(np.int64).max // scale)
            nanoseconds[fits] = counts[fits] * scale
        low = high
    return nanoseconds, tuple(units)


def format_ns(ns: int) -> str:
    """A stamp for people: `2024-08-05 01:10` UTC, with seconds and their parts only where they are not zero."""
    if ns == NOT_A_TIME:
        return "no time"
    text = np.datetime_as_string(np.datetime64(ns, "ns"), unit="ns").replace("T", " ")
    text = text.rstrip("0").rstrip(".") if not text.endswith(".000000000") else text[:19]
    return text[:16] if text.endswith(":00") and len(text) == 19 else text
