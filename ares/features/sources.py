"""Other sources than klines, gathered into the bars: aggregated trades, best quotes, futures statistics.

Each becomes input columns of the table. `ares.features.live_sources` gathers the same columns, with the same kernels,
as events come.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ares.errors import DataError, InvalidInput, unknown_name
from ares.features.catalogue.flow import LARGE
from ares.kernels.volume import BOOK_COLUMNS, FLOW_COLUMNS, gather_book, gather_trades, join_latest
from ares.market import FUTURES_STATISTICS, LARGEST, SMALLEST

if TYPE_CHECKING:
    import pandas as pd

    from ares.features.frames import Bars

__all__ = [
    "FUTURES_COLUMNS",
    "book_columns",
    "flow_columns",
    "futures_columns",
    "input_columns",
    "kinds_of",
    "longest_age_ns",
]

Columns = dict[str, NDArray[np.float64]]

# column of the futures frame to the longest age, in hours, at which it still counts
FUTURES_COLUMNS: dict[str, float] = {name: 8.0 if name.endswith("_price") else 24.0 for name in FUTURES_STATISTICS}
_HOUR_NS = 3_600_000_000_000
_COUNT = FLOW_COLUMNS.index("flow_count")
_EVER = (1 << 63) - 1


def input_columns(sources: Collection[str]) -> frozenset[str]:
    """The input columns that come from `sources`, names of `ares.features.config.SOURCES`."""
    found: set[str] = set()
    for name in sources:
        if name == "agg_trades":
            found.update(FLOW_COLUMNS)
        elif name == "book_top":
            found.update(BOOK_COLUMNS)
        else:
            found.update(f"futures_{x}" for x in (FUTURES_COLUMNS if name == "futures" else (name,)))
    return frozenset(found)


def kinds_of(sources: Collection[str]) -> frozenset[str]:
    """The kinds of market events that `sources` are gathered from: agg_trades, book_top, futures."""
    return frozenset(name if name in ("agg_trades", "book_top") else "futures" for name in sources)


def longest_age_ns(name: str, interval_ns: int) -> int:
    """How old a futures statistic may be at a bar's close; at least one bar."""
    return max(int(FUTURES_COLUMNS[name] * _HOUR_NS), interval_ns)


def _times(frame: pd.DataFrame, what: str) -> NDArray[np.int64]:
    """Event times as int64 ns. Raises: InvalidInput, DataError when they fall."""
    index = _index(frame, what)
    ns = np.ascontiguousarray(index.as_unit("ns").asi8)
    wrong = np.flatnonzero(ns[1:] < ns[:-1])
    if wrong.size:
        row = int(wrong[0]) + 1
        raise DataError(f"{what}: row {row} at {index[row]} is earlier than the row before; sort them", row=row)
    return ns


def _index(frame: pd.DataFrame, what: str) -> pd.DatetimeIndex:
    """When each row was: the column `time`, else the index. Raises InvalidInput, DataError."""
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise InvalidInput(f"{what} must be a frame, not {type(frame).__name__}")
    found = frame.index
    if "time" in frame.columns and frame["time"].dtype.kind == "M":
        found = pd.DatetimeIndex(frame["time"])
    if not isinstance(found, pd.DatetimeIndex) or found.tz is None:
        raise DataError(f"{what} need a column `time` or an index of UTC timestamps")
    return found


def _need(frame: pd.DataFrame, names: tuple[str, ...], what: str) -> list[NDArray[np.float64]]:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise InvalidInput(f"{what} lack the columns {', '.join(missing)}", missing=missing)
    from ares.features.frames import numbers

    return [np.ascontiguousarray(numbers(frame[name], name, what)) for name in names]


def flow_columns(trades: pd.DataFrame, bars: Bars) -> Columns:
    """Aggregated trades into bars. Columns: quantity (base), is_buyer_maker (bool), and time, unless it is the index.

    A bar that begins before the first trade is NaN. A bar without trades is quiet, all 0, when its kline has no volume;
    when it has, its trades are missing: NaN. With a column `agg_id` its numbers must rise, and a bar in which they skip
    one is NaN: trades are missing. Raises InvalidInput, DataError.
    """
    time = _times(trades, "aggTrades")
    quantity, maker = _need(trades, ("quantity", "is_buyer_maker"), "aggTrades")
    bad = np.flatnonzero(~((quantity >= 0) & (quantity <= LARGEST)))
    if bad.size:
        raise DataError(f"aggTrades: quantity {quantity[bad[0]]} in row {int(bad[0])}", row=int(bad[0]))
    unknown = np.flatnonzero(np.isnan(maker))
    if unknown.size:
        raise DataError(f"aggTrades: is_buyer_maker is unknown in row {int(unknown[0])}", row=int(unknown[0]))
    out = np.empty((len(FLOW_COLUMNS), bars.open_ns.size))
    since, until = (int(time[0]), _EVER) if time.size else (1, 0)
    gather_trades(time, quantity, maker != 0, since, until, bars.open_ns, bars.interval.ns, LARGE, out)
    out[:, (out[_COUNT] == 0) & (bars.columns["volume"] > 0)] = np.nan
    if "agg_id" in trades.columns:
        out[:, _with_gaps(trades, time, bars)] = np.nan
    return dict(zip(FLOW_COLUMNS, out, strict=True))


def _with_gaps(trades: pd.DataFrame, time: NDArray[np.int64], bars: Bars) -> NDArray[np.int64]:
    """Positions of the bars that hold a trade before which others are missing."""
    step = np.diff(trades["agg_id"].to_numpy(dtype=np.int64))
    wrong = np.flatnonzero(step < 1)
    if wrong.size:
        row = int(wrong[0]) + 1
        raise DataError(f"aggTrades: agg_id in row {row} is not above the row before; sort, drop repetitions", row=row)
    after = time[1:][step > 1]
    at = np.searchsorted(bars.open_ns, after, side="right") - 1
    inside = (at >= 0) & (after < bars.open_ns[at] + bars.interval.ns)
    return np.unique(at[inside])


def book_columns(quotes: pd.DataFrame, bars: Bars) -> Columns:
    """Best quotes into bars. Columns: bid_price, bid_qty, ask_price, ask_qty, and time, unless it is the index.

    A bar without a quote is NaN. Raises InvalidInput, DataError (also for a crossed quote or a negative size).
    """
    time = _times(quotes, "quotes")
    bid, bid_size, ask, ask_size = _need(quotes, ("bid_price", "bid_qty", "ask_price", "ask_qty"), "quotes")
    bad = np.flatnonzero(~((bid >= SMALLEST) & (bid <= ask) & (ask <= LARGEST)))
    if bad.size:
        row = int(bad[0])
        raise DataError(f"quotes: bid {bid[row]} and ask {ask[row]} in row {row}", row=row)
    least, most = np.minimum(bid_size, ask_size), np.maximum(bid_size, ask_size)
    bad = np.flatnonzero(~((least >= 0) & (most <= LARGEST)))
    if bad.size:
        row = int(bad[0])
        raise DataError(f"quotes: sizes {bid_size[row]} and {ask_size[row]} in row {row}", row=row)
    out = np.empty((len(BOOK_COLUMNS), bars.open_ns.size))
    gather_book(time, bid, bid_size, ask, ask_size, bars.open_ns, bars.interval.ns, out)
    return dict(zip(BOOK_COLUMNS, out, strict=True))


def futures_columns(frame: pd.DataFrame, bars: Bars) -> Columns:
    """The latest published futures statistics at each bar's close.

    frame: any of the columns of `FUTURES_COLUMNS`, NaN where not published, and the time of publication, UTC: a column
    `time`, else the index. A value published after the close, be it a millisecond, is not known at the close. Too old a
    value is NaN. Raises InvalidInput, DataError.
    """
    from ares.features.frames import index_ns, numbers

    what = "futures statistics"
    time = index_ns(_index(frame, what), what)
    close_ns = bars.open_ns + bars.interval.ns
    found: Columns = {}
    for name in frame.columns.drop("time", errors="ignore"):
        if name not in FUTURES_COLUMNS:
            raise unknown_name("futures column", str(name), FUTURES_COLUMNS)
        value = np.ascontiguousarray(numbers(frame[name], str(name), what))
        bad = np.flatnonzero(np.abs(value) > LARGEST)
        if bad.size:
            raise DataError(f"{what}: {name} in row {int(bad[0])} is {value[bad[0]]}", row=int(bad[0]))
        out = np.empty(bars.open_ns.size)
        join_latest(time, value, close_ns, longest_age_ns(name, bars.interval.ns), out)
        found[f"futures_{name}"] = out
    return found
