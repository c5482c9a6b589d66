"""What a caller gave to be labelled, checked at the door: bars, events, sides, volatility, funding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ares.data.store import load_funding
from ares.errors import DataError, InvalidInput

__all__ = ["numbers", "positions", "rates", "sides", "with_columns"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def with_columns(klines: Any, *columns: str) -> pd.DataFrame:
    """The klines frame. Raises: InvalidInput when it is none or lacks one of these columns."""
    if not isinstance(klines, pd.DataFrame):
        raise InvalidInput(f"klines must be a frame, not {type(klines).__name__}")
    missing = [name for name in columns if name not in klines.columns]
    if missing:
        raise InvalidInput(f"klines lack the columns {', '.join(missing)}", missing=missing)
    return klines


def numbers(name: str, values: Any, rows: int) -> Floats:
    """(rows,) float64. Raises: InvalidInput for what is no number or of another length."""
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidInput(f"{name} must be numbers, one for each of the {rows} bars") from None
    if found.shape != (rows,):
        raise InvalidInput(f"{name} has shape {found.shape}, the klines have {rows} rows")
    return found


def positions(opened: Ints, events: ArrayLike | pd.DatetimeIndex | None) -> Ints:
    """Positions of the deciding bars, increasing: from positions, a mask of all bars, or open times; None: every bar.

    Raises: InvalidInput for anything else, for a bar that is not there, and out of time order.
    """
    if events is None:
        return np.arange(opened.size, dtype=np.int64)
    if isinstance(events, pd.DatetimeIndex):
        event = _of_times(opened, events)
    else:
        given = np.asarray(events)
        if given.dtype == bool:
            if given.shape != opened.shape:
                raise InvalidInput(f"the mask of events has shape {given.shape}, the klines have {opened.size} rows")
            return np.flatnonzero(given)
        if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
            raise InvalidInput(
                f"events must be positions of bars, a mask of all bars, or a DatetimeIndex, not {given.dtype} values"
            )
        event = given.astype(np.int64)
        if event.size and (event.min() < 0 or event.max() >= opened.size):
            raise InvalidInput(f"event positions must lie in [0, {opened.size}), not {event.min()}..{event.max()}")
    if (np.diff(event) < 0).any():
        raise InvalidInput("events must be in time order")
    return event


def _of_times(opened: Ints, times: pd.DatetimeIndex) -> Ints:
    wanted = times.as_unit("ns").asi8
    found = np.searchsorted(opened, wanted)
    missing = (found >= opened.size) | (opened[np.minimum(found, opened.size - 1)] != wanted)
    if missing.any():
        first = times[int(np.argmax(missing))]
        raise InvalidInput(f"{int(missing.sum())} events are no bar's open time, the first is {first}")
    return found.astype(np.int64)


def sides(side: Any, events: int) -> Ints:
    """(events,) of +1, -1 and 0; None: all 0. Raises: InvalidInput for other values and for another length."""
    given = np.asarray(0 if side is None else side)
    if given.dtype.kind not in "iuf" or not np.isin(given, (-1, 0, 1)).all():
        raise InvalidInput(f"side must be +1 (long), -1 (short) or 0 for each event, or one for all, not {side!r:.60}")
    if given.shape not in ((), (events,)):
        raise InvalidInput(f"side has shape {given.shape}, there are {events} events")
    return np.broadcast_to(given.astype(np.int64), (events,))


def rates(funding: pd.Series | pd.DataFrame) -> pd.Series:
    """Settled rates by time of settlement: a Series as it stands, or a frame as `load_funding` reads it.

    Raises: InvalidInput for anything else or an index that is not increasing times; DataError for a missing rate.
    """
    if isinstance(funding, pd.DataFrame):
        funding = load_funding(funding)["funding_rate"]
    if not isinstance(funding, pd.Series):
        raise InvalidInput(f"funding must be a Series or a frame of rates, not {type(funding).__name__}")
    if not isinstance(funding.index, pd.DatetimeIndex) or not funding.index.is_monotonic_increasing:
        raise InvalidInput("funding needs an increasing DatetimeIndex of settlement times")
    values = numbers("funding", funding, len(funding))
    if not np.isfinite(values).all():
        raise DataError("funding rates must not be missing", row=int(np.argmax(~np.isfinite(values))))
    return pd.Series(values, index=funding.index)
