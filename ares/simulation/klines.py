"""Klines frames out of a tape: what had closed by a moment, never more."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np

from ares.clock import moment_ns
from ares.errors import InvalidInput
from ares.instruments import Interval
from ares.simulation.track import Track

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["klines_at", "ns_of"]

_MONDAY = 4 * 86_400 * 10**9  # the epoch was a Thursday; weeks open on Mondays
_HOW = {"open": "first", "high": "max", "low": "min", "close": "last"}  # every other column is summed


def klines_at(
    track: Track,
    frame: pd.DataFrame,
    interval: Interval,
    now_ns: int,
    limit: int,
    *,
    start: dt.datetime | None = None,
    end: dt.datetime | None = None,
    closed_only: bool = True,
) -> pd.DataFrame:
    """The klines known at `now_ns`: the last `limit`, or the first `limit` from `start`; open times up to `end`.

    interval: the track's, or a multiple of it, made from the bars there are. closed_only False adds the forming bar
    as far as it is known: of one bar of the tape only its open is. Raises InvalidInput.
    """
    if limit < 1:
        raise InvalidInput(f"limit must be at least 1, not {limit}", limit=limit)
    if interval.ns % track.interval.ns:
        raise InvalidInput(f"{interval} klines cannot be made from a tape of {track.interval} bars")
    known = track.closed_by(now_ns)
    first = 0
    if start is None and end is None:  # older bars cannot be among the last `limit`
        oldest = now_ns - (limit + 2) * interval.ns
        first = min(int(track.open_ns.searchsorted(oldest)), max(0, known - limit * (interval.ns // track.interval.ns)))
    base = frame.iloc[first:known]
    if not closed_only and known < len(track) and int(track.open_ns[known]) <= now_ns:
        base = _with_forming(base, frame.iloc[known : known + 1])
    made = base.copy() if interval.ns == track.interval.ns else _joined(base, interval)
    if closed_only:
        made = made[ns_of(made["close_time"]) <= now_ns]
    if start is not None:
        made = made[ns_of(made.index) >= moment_ns(start)]
    if end is not None:
        made = made[ns_of(made.index) <= moment_ns(end)]
    return made.head(limit) if start is not None else made.tail(limit)


def ns_of(times: Any) -> Any:
    """int64 nanoseconds of an index or a column of time stamps."""
    return np.asarray(times, dtype="datetime64[ns]").astype(np.int64)


def _with_forming(base: pd.DataFrame, bar: pd.DataFrame) -> pd.DataFrame:
    """`base` and the bar that has only opened: its open is all that is known, nothing was traded yet."""
    import pandas as pd

    forming = bar.copy()
    for column in ("high", "low", "close"):
        forming[column] = forming["open"]
    for column in forming.columns.difference(["open", "high", "low", "close", "close_time"]):
        forming[column] = 0
    return pd.concat([base, forming.astype(base.dtypes.to_dict())])


def _joined(base: pd.DataFrame, interval: Interval) -> pd.DataFrame:
    """Bars of a longer interval from the bars there are."""
    import pandas as pd

    offset = _MONDAY if interval.ns % (7 * 86_400 * 10**9) == 0 else 0
    opens = ns_of(base.index)
    opens = (opens - offset) // interval.ns * interval.ns + offset
    values = base.drop(columns="close_time")
    made = values.groupby(opens).agg({c: _HOW.get(c, "sum") for c in values.columns})
    made.index = pd.DatetimeIndex(made.index.to_numpy().astype("datetime64[ns]"), tz="UTC", name="open_time")
    made["close_time"] = made.index + pd.Timedelta(interval.ns, unit="ns")
    return made
