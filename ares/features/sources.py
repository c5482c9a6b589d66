"""Other sources than klines, gathered into the bars: aggregated trades, best quotes, futures statistics.

Each becomes input columns of the table. `LiveSources` gathers the same columns, with the same kernels, as events come.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from ares.errors import DataError, InvalidInput, unknown_name
from ares.features.catalogue.flow import LARGE
from ares.instruments import Interval
from ares.kernels.volume import BOOK_COLUMNS, FLOW_COLUMNS, gather_book, gather_trades, join_latest
from ares.market import AggTrade

if TYPE_CHECKING:
    import pandas as pd

    from ares.features.frames import Bars

__all__ = ["FUTURES_COLUMNS", "LiveSources", "book_columns", "flow_columns", "futures_columns"]

Columns = dict[str, NDArray[np.float64]]

# column of the futures frame to the longest age, in hours, at which it still counts
FUTURES_COLUMNS: dict[str, float] = {
    "funding_rate": 24.0,
    "mark_price": 8.0,
    "index_price": 8.0,
    "open_interest": 24.0,
    "long_short_ratio": 24.0,
    "top_long_short_ratio": 24.0,
    "taker_long_short_ratio": 24.0,
}
_HOUR_NS = 3_600_000_000_000
_COUNT = FLOW_COLUMNS.index("flow_count")
_EVER = (1 << 63) - 1


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
    when it has, its trades are missing: NaN. Raises InvalidInput, DataError.
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
    return dict(zip(FLOW_COLUMNS, out, strict=True))


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
        most = max(int(FUTURES_COLUMNS[name] * _HOUR_NS), bars.interval.ns)
        join_latest(time, value, close_ns, most, out)
        found[f"futures_{name}"] = out
    return found


@define
class LiveSources:
    """Gathers a symbol's trades, quotes and futures statistics as they come, for `Stream.update(candle, columns)`.

    One instance a symbol. Feed events in order of their time, then take the columns when the bar closes.
    """

    interval: Interval
    _trades: list[tuple[int, float, bool]] = field(factory=list, init=False)
    _quotes: list[tuple[int, float, float, float, float]] = field(factory=list, init=False)
    _latest: dict[str, list[tuple[int, float]]] = field(factory=dict, init=False)
    _first_trade_ns: int | None = field(default=None, init=False)

    def trade(self, trade: AggTrade) -> None:
        """One aggregated trade."""
        if self._first_trade_ns is None:
            self._first_trade_ns = trade.ts_ns
        self._trades.append((trade.ts_ns, trade.quantity, trade.buyer_is_maker))

    def quote(self, ts_ns: int, bid: float, bid_size: float, ask: float, ask_size: float) -> None:
        """One change of the best quotes; sizes in base."""
        self._quotes.append((ts_ns, bid, bid_size, ask, ask_size))

    def published(self, name: str, ts_ns: int, value: float) -> None:
        """A futures statistic (a column of `FUTURES_COLUMNS`) published at `ts_ns`."""
        if name not in FUTURES_COLUMNS:
            raise unknown_name("futures column", name, FUTURES_COLUMNS)
        self._latest.setdefault(name, []).append((ts_ns, value))

    def columns(self, open_ns: int, volume: float = 0.0) -> Mapping[str, float]:
        """The input columns of the bar that opened at `open_ns` and has just closed; forgets what is over.

        volume: the bar's own, base. When it has some and no trade came, trades were missed and their columns are NaN.
        """
        close_ns = open_ns + self.interval.ns
        found: dict[str, float] = {}
        opens = np.array([open_ns], np.int64)
        if self._first_trade_ns is not None:
            time = np.array([row[0] for row in self._trades], np.int64)
            quantity = np.array([row[1] for row in self._trades])
            maker = np.array([row[2] for row in self._trades], np.bool_)
            out = np.empty((len(FLOW_COLUMNS), 1))
            gather_trades(
                time, quantity, maker, self._first_trade_ns, close_ns, opens, self.interval.ns, LARGE, out
            )
            if out[_COUNT, 0] == 0 and volume > 0:
                out[:] = np.nan
            found.update(zip(FLOW_COLUMNS, out[:, 0].tolist(), strict=True))
        if self._quotes:
            array = np.array(self._quotes)
            time = np.array([row[0] for row in self._quotes], np.int64)
            bid, bid_size, ask, ask_size = (np.ascontiguousarray(array[:, j]) for j in range(1, 5))
            out = np.empty((len(BOOK_COLUMNS), 1))
            gather_book(time, bid, bid_size, ask, ask_size, opens, self.interval.ns, out)
            found.update(zip(BOOK_COLUMNS, out[:, 0].tolist(), strict=True))
            before = [row for row in self._quotes if row[0] < close_ns]
            self._quotes = before[-1:] + self._quotes[len(before) :]
        self._trades = [row for row in self._trades if row[0] >= close_ns]
        for name, rows in self._latest.items():
            most = max(int(FUTURES_COLUMNS[name] * _HOUR_NS), self.interval.ns)
            known = [row for row in rows if row[0] <= close_ns]
            del rows[: max(len(known) - 1, 0)]
            fresh = bool(known) and close_ns - known[-1][0] <= most
            found[f"futures_{name}"] = known[-1][1] if fresh else float("nan")
        return found
