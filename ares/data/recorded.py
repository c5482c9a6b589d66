"""Recordings beside klines, from files or frames: aggregated trades, best quotes, futures statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ares.data.stamps import NOT_A_TIME, stamps_to_ns
from ares.data.store import read_frame
from ares.errors import DataError
from ares.market import FUTURES_STATISTICS

__all__ = ["load_agg_trades", "load_quotes", "load_statistics"]

_TIMES = ("time", "transact_time", "transaction_time", "funding_time", "calc_time", "create_time", "timestamp")
_TRADE_NAMES = {"agg_trade_id": "agg_id", "a": "agg_id", "p": "price", "q": "quantity", "m": "is_buyer_maker"}
_QUOTE_NAMES = {
    "best_bid_price": "bid_price",
    "best_bid_qty": "bid_qty",
    "best_ask_price": "ask_price",
    "best_ask_qty": "ask_qty",
}
_STATISTIC_NAMES = {
    "sum_open_interest": "open_interest",
    "count_long_short_ratio": "long_short_ratio",
    "sum_toptrader_long_short_ratio": "top_long_short_ratio",
    "sum_taker_long_short_vol_ratio": "taker_long_short_ratio",
    "last_funding_rate": "funding_rate",
}


def load_agg_trades(source: pd.DataFrame | Path | str, symbol: str | None = None) -> pd.DataFrame:
    """Aggregated trades in the order of their numbers.

    source: a file (Parquet, CSV), or a frame with price (quote per base), quantity (base), is_buyer_maker, and a time
        in any stamp form (`time`, or the index); `agg_id` when the venue numbers them, else they are numbered as they
        stand, and missing ones cannot be noticed. Binance's archive names are understood.
    symbol: keep its rows, when there is a column `symbol`.
    Returns: time (datetime64[ns, UTC], not falling), agg_id, price, quantity, is_buyer_maker; repetitions are dropped.
    Raises: InvalidInput for a file that is none; DataError (with `row`) for what is missing or cannot be.
    """
    frame, where = _named(source, _TRADE_NAMES, symbol)
    _need(frame, ("price", "quantity", "is_buyer_maker"), where)
    values = {name: _numbers(frame[name], where) for name in ("price", "quantity")}
    for name, column in values.items():
        _refuse(~((column > 0) & np.isfinite(column)), f"{name} that is not above 0", where)
    maker = frame["is_buyer_maker"]
    if maker.dtype.kind != "b":
        text = maker.astype(str).str.lower()
        unclear = ~text.isin(("true", "false", "1", "0")).to_numpy()
        _refuse(unclear, "is_buyer_maker that is neither true nor false", where)
        maker = text.isin(("true", "1"))
    times = _times(frame, where)
    if "agg_id" in frame.columns:
        numbers = _numbers(frame["agg_id"], where).astype(np.int64)
        order = np.unique(numbers, return_index=True)[1]
    else:
        order = np.argsort(times, kind="stable")
        numbers = np.empty(times.size, np.int64)
        numbers[order] = np.arange(times.size)
    rows = {"time": pd.DatetimeIndex(times[order], tz="UTC"), "agg_id": numbers[order]}
    rows |= {name: column[order] for name, column in values.items()}
    made = pd.DataFrame({**rows, "is_buyer_maker": maker.to_numpy(dtype=bool)[order]})
    _refuse(np.diff(times[order], prepend=times[order][:1]) < 0, "a time before that of a lower agg_id", where)
    return made


def load_quotes(source: pd.DataFrame | Path | str, symbol: str | None = None) -> pd.DataFrame:
    """Changes of the best quotes, oldest first.

    source: a file, or a frame with bid_price, bid_qty, ask_price, ask_qty, and a time in any stamp form.
    Returns: time (datetime64[ns, UTC], not falling), and these four as float64. Raises: InvalidInput, DataError, also
    for a crossed quote.
    """
    names = ("bid_price", "bid_qty", "ask_price", "ask_qty")
    frame, where = _named(source, _QUOTE_NAMES, symbol)
    _need(frame, names, where)
    bid, bid_size, ask, ask_size = (_numbers(frame[name], where) for name in names)
    wrong = ~((bid > 0) & (bid <= ask) & np.isfinite(ask))
    _refuse(wrong, "a bid above its ask, or a price that is not above 0", where)
    _refuse(~((bid_size >= 0) & (ask_size >= 0)), "a size below 0", where)
    times = _times(frame, where)
    order = np.argsort(times, kind="stable")
    columns = dict(zip(names, (x[order] for x in (bid, bid_size, ask, ask_size)), strict=True))
    return pd.DataFrame({"time": pd.DatetimeIndex(times[order], tz="UTC"), **columns})


def load_statistics(source: pd.DataFrame | Path | str, symbol: str | None = None) -> pd.DataFrame:
    """Futures statistics by the time of their publication, oldest first.

    source: a file, or a frame with columns of `ares.market.FUTURES_STATISTICS` and a time in any stamp form; the names
        of Binance's metrics archive are understood, other columns are left aside. NaN: not published then.
    Returns: index datetime64[ns, UTC], strictly rising; float64. Raises: InvalidInput, DataError.
    """
    frame, where = _named(source, _STATISTIC_NAMES, symbol)
    names = [name for name in FUTURES_STATISTICS if name in frame.columns]
    if not names:
        raise DataError(f"{where}: none of the columns {', '.join(FUTURES_STATISTICS)}", missing=FUTURES_STATISTICS)
    times = _times(frame, where)
    order = np.argsort(times, kind="stable")
    times = times[order]
    last = np.append(np.diff(times) > 0, True)[: times.size]  # of several rows at one time the last counts
    columns = {name: _numbers(frame[name], where, missing=True)[order][last] for name in names}
    return pd.DataFrame(columns, index=pd.DatetimeIndex(times[last], tz="UTC", name="time"))


def _named(
    source: pd.DataFrame | Path | str, names: dict[str, str], symbol: str | None
) -> tuple[pd.DataFrame, str]:
    """The frame under our names, with a column `time`, and what to call it."""
    frame = source if isinstance(source, pd.DataFrame) else read_frame(Path(source))
    where = "the frame" if isinstance(source, pd.DataFrame) else str(source)
    plain = [str(c).strip().lower() for c in frame.columns]
    frame = frame.set_axis([names.get(c, c) if names.get(c, c) not in plain else c for c in plain], axis="columns")
    if symbol is not None and "symbol" in frame.columns:
        frame = frame[(frame["symbol"] == symbol).to_numpy()]
    found = next((c for c in _TIMES if c in frame.columns), None)
    if found is None and isinstance(frame.index, pd.DatetimeIndex):
        frame, found = frame.rename_axis("time").reset_index(), "time"
    if found is None:
        raise DataError(f"{where}: no time; name a column `time`, it has {', '.join(plain)}", missing=["time"])
    if not len(frame):
        raise DataError(f"{where}: no rows{'' if symbol is None else f' of {symbol}'}", rows=0)
    return frame.rename(columns={found: "time"}), where


def _need(frame: pd.DataFrame, names: tuple[str, ...], where: str) -> None:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        has = ", ".join(map(str, frame.columns))
        raise DataError(f"{where}: no column {', '.join(missing)}; it has {has}", missing=missing)


def _times(frame: pd.DataFrame, where: str) -> NDArray[np.int64]:
    times = stamps_to_ns(frame["time"])[0]
    _refuse(times == NOT_A_TIME, "a time that cannot be read", where)
    return times


def _numbers(column: pd.Series[Any], where: str, *, missing: bool = False) -> NDArray[np.float64]:
    values = np.asarray(pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan))
    if not missing:
        _refuse(np.isnan(values), f"{column.name} that is no number", where)
    return values


def _refuse(bad: NDArray[np.bool_], what: str, where: str) -> None:
    rows = np.flatnonzero(bad)
    if rows.size:
        raise DataError(f"{where}: row {int(rows[0])}: {what} ({rows.size} such rows)", row=int(rows[0]))
