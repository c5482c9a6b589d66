"""Klines from anywhere to the klines frame, and an honest account of what was found on the way.

Repaired and reported: exact duplicates, disorder, an unfinished last bar. Kept and reported: gaps, zero-volume bars,
bars whose recorded close time is not their interval's end. Refused with the first offending row: everything that
would have to be guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from attrs import asdict, field, frozen
from numpy.typing import NDArray

from ares.data.columns import Values, name_columns, numbers
from ares.data.stamps import NOT_A_TIME, format_ns, stamps_to_ns
from ares.errors import DataError, InvalidInput
from ares.instruments import Interval
from ares.market import KLINE_COLUMNS, MADE_UP, REQUIRED_COLUMNS, exceeds

__all__ = ["QualityReport", "validate_klines"]

_PRICES = ("open", "high", "low", "close")
_WEEK_NS = 604_800_000_000_000
_DAY_NS = 86_400_000_000_000
_MONDAY_NS = 4 * _DAY_NS  # the epoch was a Thursday

@frozen(kw_only=True)
class QualityReport:
    """What `validate_klines` found. Rows count from 0 in the caller's frame; None: there was no such row or bar."""

    interval: str
    rows_in: int  # rows of the caller's frame
    rows: int  # bars kept
    start_ns: int  # open of the first bar
    end_ns: int  # close of the last bar, exclusive
    stamp_units: tuple[str, ...]  # how times were written, such as ("ms", "us")
    duplicates: int  # exact copies, dropped
    first_duplicate_row: int | None
    disordered: int  # rows older than the row before them; sorted
    first_disordered_row: int | None
    unfinished: int  # forming bars at the end, dropped
    gaps: int  # places where bars are missing; nothing is filled in
    missing_bars: int
    longest_gap_bars: int
    longest_gap_ns: int | None  # where the first missing bar of the longest gap would open
    first_gap_ns: int | None  # where the first missing bar would open
    zero_volume_bars: int
    first_zero_volume_ns: int | None  # open of that bar
    irregular_closes: int  # recorded close time is not the interval's end
    first_irregular_close_ns: int | None  # open of that bar
    ignored_columns: tuple[str, ...] = field(default=())

    @property
    def repaired(self) -> bool:
        """Whether rows were dropped or moved."""
        return bool(self.duplicates or self.disordered or self.unfinished)

    @property
    def clean(self) -> bool:
        """Whether nothing at all is to be said about the data."""
        return len(self.summary()) == 1

    def summary(self) -> tuple[str, ...]:
        """Lines for a person; the first says what there is, each further one names something out of the ordinary."""
        return tuple(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{_count(self.rows, 'bar')} of {self.interval}, {_at(self.start_ns)} to {_at(self.end_ns)} UTC"
        if self.duplicates:
            yield f"{_count(self.duplicates, 'exact duplicate')} dropped, the first is row {self.first_duplicate_row}"
        if self.disordered:
            yield f"{_count(self.disordered, 'row')} out of order, sorted; the first is row {self.first_disordered_row}"
        if self.unfinished:
            yield f"{_count(self.unfinished, 'unfinished bar')} dropped at the end"
        if self.gaps:
            yield (
                f"{_count(self.gaps, 'gap')}, {_count(self.missing_bars, 'bar')} missing, left as they are; "
                f"the longest has {_count(self.longest_gap_bars, 'bar')} from {_at(self.longest_gap_ns)}"
            )
        if self.zero_volume_bars:
            yield f"{_count(self.zero_volume_bars, 'bar')} without volume, first {_at(self.first_zero_volume_ns)}"
        if self.irregular_closes:
            closes = _count(self.irregular_closes, "bar")
            yield f"{closes} with a close time off the grid, first {_at(self.first_irregular_close_ns)}"
        if len(self.stamp_units) > 1:
            yield f"time stamps change unit: {', '.join(self.stamp_units)}"
        if self.ignored_columns:
            yield f"columns not used: {', '.join(self.ignored_columns)}"

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return {**asdict(self), "stamp_units": list(self.stamp_units), "ignored_columns": list(self.ignored_columns)}


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _at(ns: int | None) -> str:
    return "none" if ns is None else format_ns(ns)


def validate_klines(
    frame: pd.DataFrame,
    interval: Interval | str | None = None,
    *,
    now_ns: int | None = None,
    min_rows: int = 2,
    required: Sequence[str] = REQUIRED_COLUMNS,
) -> tuple[pd.DataFrame, QualityReport]:
    """The klines frame, and a report of what was repaired and what was found.

    frame: `open_time` as a column or the index, in any form that `stamps_to_ns` reads; columns in any order, by our
        names, by those of Binance's archives and API, or headerless (numbered) in the archive's order.
    interval: None infers it: the commonest distance between neighbours.
    now_ns: bars that close after it are unfinished and dropped; None leaves only a short `close_time` to tell.
    min_rows: fewer bars are refused. required: columns that must be there and finite (mark prices have no volume).
    Returns: index `open_time` datetime64[ns, UTC], strictly rising; float64 columns, int64 `trades` (-1: unknown),
        `close_time` = open + interval, exclusive. Columns without any value are left out. The input is not changed.
        That the market is made up (`attrs`) goes with it.
    Raises: DataError with `row`, the position in `frame` of the first offending row: missing columns, too few rows,
        unreadable or off-grid stamps, NaN, infinite or non-positive prices, impossible OHLC, a negative volume or
        count, taker volume above volume, conflicting duplicates. InvalidInput when `interval` is unknown or not that of
        the rows.
    """
    named, ignored = name_columns(frame, required)
    if len(named) == 0:
        raise DataError("the klines are empty", rows=0)
    opens, units = stamps_to_ns(named["open_time"])
    readable = opens != NOT_A_TIME
    if not readable.any():
        raise DataError(f"row 0: {_unread(named['open_time'], 0)}", row=0)
    step = _interval(opens[readable], named, readable, None if interval is None else Interval.parse(interval))
    closes = _recorded_closes(named)
    keep = ~_unfinished(opens, closes, step.ns, now_ns) & readable
    values, unreadable = numbers(named)
    order = np.flatnonzero(keep)
    if np.any(np.diff(opens[order]) < 0):
        order = order[np.argsort(opens[order], kind="stable")]
    twins = np.flatnonzero(np.diff(opens[order]) == 0)
    copies = _equal_rows(values, order[twins], order[twins + 1])
    conflicts = np.zeros(opens.size, dtype=bool)
    conflicts[np.maximum(order[twins], order[twins + 1])[~copies]] = True
    _refuse_faults(opens, named["open_time"], keep, values, unreadable, conflicts, step, required)

    distinct = np.ones(order.size, dtype=bool)
    distinct[twins + 1] = False
    kept = order[distinct]
    if kept.size < min_rows:
        found = _count(kept.size, "bar")
        raise DataError(f"{found} of {step}: too few, at least {min_rows} are needed", rows=int(kept.size))
    clean = _frame(opens[kept], {name: value[kept] for name, value in values.items()}, step, required)
    if frame.attrs.get(MADE_UP, False):
        clean.attrs[MADE_UP] = True
    report = _report(opens, kept, keep, order[twins + 1], values, closes, step, units, ignored)
    return clean, report


def _interval(
    opens: NDArray[np.int64], named: pd.DataFrame, readable: NDArray[np.bool_], given: Interval | None
) -> Interval:
    """The interval that is given, checked against the rows, or the one the rows show."""
    times = np.sort(opens)
    steps = times[1:] - times[:-1]
    steps = steps[steps > 0]
    if given is not None:
        apart = _commonest(steps) if steps.size else given.ns
        coarser = apart < given.ns and given.ns % apart == 0
        finer = steps.size > 1 and bool(np.all((steps > given.ns) & (steps % given.ns == 0)))
        if coarser or finer:
            raise InvalidInput(
                f"the bars are {_span(apart)} apart, not {given}: pass interval={_span(apart)!r} or other data",
                interval=given.name,
                found=_span(apart),
            )
        return given
    if steps.size:
        commonest = _commonest(steps)
    elif "close_time" in named and opens.size:
        first = int(np.flatnonzero(readable)[0])
        commonest = int(_recorded_closes(named)[first] - opens[0])
    else:
        raise DataError("too few bars to tell their interval: pass it, such as interval='1h'", rows=int(opens.size))
    try:
        return Interval.of_ns(commonest)
    except InvalidInput:
        raise DataError(f"the bars are {commonest} ns apart, which is no whole number of seconds", row=0) from None


def _commonest(steps: NDArray[np.int64]) -> int:
    """The most frequent step; of equally frequent ones the smallest."""
    if np.all(steps == steps[0]):
        return int(steps[0])
    distinct, counts = np.unique(steps, return_counts=True)
    return int(distinct[np.argmax(counts)])


def _span(ns: int) -> str:
    try:
        return Interval.of_ns(ns).name
    except InvalidInput:
        return f"{ns} ns"


def _recorded_closes(named: pd.DataFrame) -> NDArray[np.int64]:
    if "close_time" not in named:
        return np.full(len(named), NOT_A_TIME)
    return stamps_to_ns(named["close_time"])[0]


def _irregular(opens: NDArray[np.int64], closes: NDArray[np.int64], step_ns: int) -> NDArray[np.bool_]:
    """Whether a recorded close is neither the interval's end nor its last millisecond, second, or part of these."""
    early = opens + step_ns - closes
    fits = ((early >= 0) & (early <= 1_000_000)) | (early == 1_000_000_000)
    return np.asarray((closes != NOT_A_TIME) & ~fits)


def _unfinished(
    opens: NDArray[np.int64], closes: NDArray[np.int64], step_ns: int, now_ns: int | None
) -> NDArray[np.bool_]:
    """Bars still forming: they end after now, or are the last one and were closed before their time."""
    found = np.zeros(opens.size, dtype=bool)
    if opens.size:
        found = (opens == opens.max()) & _irregular(opens, closes, step_ns) & (closes < opens + step_ns)
    if now_ns is not None:
        found |= (opens != NOT_A_TIME) & (opens > now_ns - step_ns)
    return found


def _equal_rows(values: Values, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.bool_]:
    equal = np.ones(left.size, dtype=bool)
    for value in values.values():
        a, b = value[left], value[right]
        equal &= (a == b) | (np.isnan(a) & np.isnan(b))
    return equal


Fault = tuple[NDArray[np.bool_], Callable[[int], str]]


def _faults(values: Values, required: Sequence[str]) -> Iterator[Fault]:
    """Rows whose numbers cannot be a bar's, each kind with the sentence that says so."""
    for name, value in values.items():
        if name in required:
            yield np.isnan(value), lambda i, n=name: f"{n} is missing"  # type: ignore[misc]
        yield np.isinf(value), lambda i, n=name: f"{n} is infinite"  # type: ignore[misc]
        if name in _PRICES:
            yield value <= 0, lambda i, n=name, v=value: f"{n} is {v[i]:g}; a price is positive"  # type: ignore[misc]
        else:
            below = (value < 0) & (value != -1) if name == "trades" else value < 0  # -1 trades are unknown
            yield below, lambda i, n=name, v=value: f"{n} is {v[i]:g}; it cannot be negative"  # type: ignore[misc]
    o, h, low, c = (values[name] for name in _PRICES)
    yield h < low, lambda i: f"high {h[i]:g} is below low {low[i]:g}"
    yield h < np.maximum(o, c), lambda i: f"high {h[i]:g} is below open {o[i]:g} or close {c[i]:g}"
    yield low > np.minimum(o, c), lambda i: f"low {low[i]:g} is above open {o[i]:g} or close {c[i]:g}"
    for part, whole in (("taker_buy_volume", "volume"), ("taker_buy_quote_volume", "quote_volume")):
        if part in values and whole in values:
            p, w = values[part], values[whole]
            text = f"{part} {{:g}} exceeds {whole} {{:g}}"
            yield exceeds(p, w), lambda i, t=text, p=p, w=w: t.format(p[i], w[i])  # type: ignore[misc]


def _refuse_faults(
    opens: NDArray[np.int64],
    stamps: pd.Series[Any],
    keep: NDArray[np.bool_],
    values: Values,
    unreadable: dict[str, NDArray[np.bool_]],
    conflicts: NDArray[np.bool_],
    step: Interval,
    required: Sequence[str],
) -> None:
    """Raise DataError for the earliest row, in the caller's order, that has any fault."""
    readable = opens != NOT_A_TIME
    phase = _phase(opens, readable, step)
    faults: list[Fault] = [
        (~readable, lambda i: _unread(stamps, i)),
        (keep & ((opens - phase) % step.ns != 0), lambda i: f"the bar does not open on the {step} grid"),
    ]
    for name, mask in unreadable.items():
        faults.append((keep & mask, lambda i, n=name: f"{n} is not a number"))  # type: ignore[misc]
    faults.extend((keep & mask, text) for mask, text in _faults(values, required))
    faults.append((conflicts, lambda i: "another row has the same time and other values; keep one of them"))
    first: tuple[int, str] | None = None
    for mask, text in faults:
        row = int(np.argmax(mask))
        if mask[row] and (first is None or row < first[0]):
            first = (row, text(row))
    if first is not None:
        row, reason = first
        raise DataError(f"row {row} ({format_ns(int(opens[row]))}): {reason}", row=row, open_ns=int(opens[row]))


def _unread(stamps: pd.Series[Any], row: int) -> str:
    return (
        f"the time stamp {str(stamps.iloc[row])!r} cannot be read: write ISO 8601, such as '2024-01-31 13:00', or whole "
        "s, ms, us or ns since 1970"
    )


def _phase(opens: NDArray[np.int64], readable: NDArray[np.bool_], step: Interval) -> int:
    """Where the grid starts: the epoch; Monday for weeks; the first bar's midnight for other spans of days."""
    if step.ns == _WEEK_NS:
        return _MONDAY_NS
    if step.ns > _DAY_NS and step.ns % _DAY_NS == 0 and readable.any():
        return int(opens[readable][0]) // _DAY_NS * _DAY_NS % step.ns
    return 0


def _frame(opens: NDArray[np.int64], values: Values, step: Interval, required: Sequence[str]) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for name in KLINE_COLUMNS:
        if name == "close_time":
            columns[name] = pd.DatetimeIndex(opens + step.ns, tz="UTC")
        elif name in values and (name in required or not np.isnan(values[name]).all()):
            value = values[name]
            columns[name] = np.where(np.isnan(value), -1, value).astype(np.int64) if name == "trades" else value
    return pd.DataFrame(columns, index=pd.DatetimeIndex(opens, tz="UTC", name="open_time"))


def _report(
    opens: NDArray[np.int64],
    kept: NDArray[np.int64],
    keep: NDArray[np.bool_],
    copies: NDArray[np.int64],
    values: Values,
    closes: NDArray[np.int64],
    step: Interval,
    units: tuple[str, ...],
    ignored: tuple[str, ...],
) -> QualityReport:
    bars = opens[kept]
    missing = np.diff(bars) // step.ns - 1
    holes = np.flatnonzero(missing)
    longest = int(holes[np.argmax(missing[holes])]) if holes.size else None
    backwards = np.flatnonzero(np.diff(opens) < 0) + 1
    silent = np.flatnonzero(values["volume"][kept] == 0) if "volume" in values else np.empty(0, dtype=np.int64)
    odd = np.flatnonzero(_irregular(bars, closes[kept], step.ns))
    return QualityReport(
        interval=step.name,
        rows_in=int(opens.size),
        rows=int(kept.size),
        start_ns=int(bars[0]),
        end_ns=int(bars[-1]) + step.ns,
        stamp_units=units,
        duplicates=int(copies.size),
        first_duplicate_row=int(copies.min()) if copies.size else None,
        disordered=int(backwards.size),
        first_disordered_row=int(backwards[0]) if backwards.size else None,
        unfinished=int(np.count_nonzero(~keep)),
        gaps=int(holes.size),
        missing_bars=int(missing.sum()),
        longest_gap_bars=int(missing.max()) if holes.size else 0,
        longest_gap_ns=int(bars[longest]) + step.ns if longest is not None else None,
        first_gap_ns=int(bars[holes[0]]) + step.ns if holes.size else None,
        zero_volume_bars=int(silent.size),
        first_zero_volume_ns=int(bars[silent[0]]) if silent.size else None,
        irregular_closes=int(odd.size),
        first_irregular_close_ns=int(bars[odd[0]]) if odd.size else None,
        ignored_columns=ignored,
    )
