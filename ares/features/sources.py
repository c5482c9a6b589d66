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
from ares.market import FUTURES_STATISTICS

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
    """Event times as int64 ns: the column `time`, else the index. Raises DataError when they fall."""
    import pandas as pd

    index = pd.DatetimeIndex(frame["time"]) if "time" in frame.columns else frame.index
    if not isinstance(index, pd.DatetimeIndex) or index.tz is None:
        raise DataError(f"{what} need a column `time` or an index of UTC timestamps")
    ns = np.ascontiguousarray(index.as_unit("ns").asi8)
    wrong = np.flatnonzero(ns[1:] < ns[:-1])
    if wrong.size:
        row = int(wrong[0]) + 1
        raise DataError(f"{what}: row {row} at {index[row]} is earlier than the row before; sort them", row=row)
    return ns


def _need(frame: pd.DataFrame, names: tuple[str, ...], what: str) -> list[NDArray[np.float64]]:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise InvalidInput(f"{what} lack the columns {', '.join(missing)}", missing=missing)
    return [np.ascontiguousarray(frame[name].to_numpy(dtype=np.float64)) for name in names]


def flow_columns(trades: pd.DataFrame, bars: Bars) -> Columns:
    """Aggregated trades into bars. Columns: quantity (base), is_buyer_maker (bool), and time, unless it is the index.

    A bar that begins before the first trade is NaN. A bar without trades is quiet, all 0, when its kline has no volume;
    when it has, its trades are missing: NaN. With a column `agg_id` its numbers must rise, and a bar in which they skip
    one is NaN: trades are missing. Raises InvalidInput, DataError.
    """
    time = _times(trades, "aggTrades")
    quantity, maker = _need(trades, ("quantity", "is_buyer_maker"), "aggTrades")
    bad = np.flatnonzero(~(quantity >= 0))
    if bad.size:
        raise DataError(f"aggTrades: quantity {quantity[bad[0]]} in row {int(bad[0])}", row=int(bad[0]))
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

    A bar without a quote is NaN. Raises InvalidInput, DataError (also for a crossed quote).
    """
    time = _times(quotes, "quotes")
    bid, bid_size, ask, ask_size = _need(quotes, ("bid_price", "bid_qty", "ask_price", "ask_qty"), "quotes")
    bad = np.flatnonzero(~((bid > 0) & (bid <= ask)))
    if bad.size:
        row = int(bad[0])
        raise DataError(f"quotes: bid {bid[row]} and ask {ask[row]} in row {row}", row=row)
    out = np.empty((len(BOOK_COLUMNS), bars.open_ns.size))
    gather_book(time, bid, bid_size, ask, ask_size, bars.open_ns, bars.interval.ns, out)
    return dict(zip(BOOK_COLUMNS, out, strict=True))


def futures_columns(frame: pd.DataFrame, bars: Bars) -> Columns:
    """The latest published futures statistics at each bar's close.

    frame: indexed by time of publication, UTC, any of the columns of `FUTURES_COLUMNS`; NaN means not published then.
    A value published after the close, be it a millisecond, is not known at the close. Too old a value is NaN.
    """
    from ares.features.frames import index_ns

    time = index_ns(frame.index, "futures statistics")
    close_ns = bars.open_ns + bars.interval.ns
    found: Columns = {}
    for name in frame.columns:
        if name not in FUTURES_COLUMNS:
            raise unknown_name("futures column", str(name), FUTURES_COLUMNS)
        value = np.ascontiguousarray(frame[name].to_numpy(dtype=np.float64, na_value=np.nan))
        out = np.empty(bars.open_ns.size)
        join_latest(time, value, close_ns, longest_age_ns(name, bars.interval.ns), out)
        found[f"futures_{name}"] = out
    return found
