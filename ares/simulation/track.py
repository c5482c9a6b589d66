"""One symbol's recording: arrays of bars, mark prices and funding, brought to one grid."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import field, fields, frozen
from numpy.typing import NDArray

from ares.data.quality import QualityReport, validate_klines
from ares.data.stamps import format_ns
from ares.data.store import load_funding
from ares.errors import InvalidInput, TooShort
from ares.instruments import Interval
from ares.market import MADE_UP, Candle
from ares.simulation.recording import Recording, statistics_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CANDLE_BLOCK", "Track", "track_of"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

CANDLE_BLOCK = 4096
"""Rows turned to Python objects at once: indexing numpy scalars one by one costs ten times as much."""


def _sealed(value: NDArray[Any]) -> NDArray[Any]:
    """The array itself, contiguous and read-only."""
    array = np.ascontiguousarray(value)
    if array.flags.writeable:
        array = array.view()
        array.setflags(write=False)
    return array


@frozen(kw_only=True, eq=False)
class Track:
    """One symbol's recording. Arrays are read-only, contiguous, oldest first; a value its source lacks is NaN.

    Arrays of bars have `len(track)` rows, those of funding one row per settlement.
    """

    symbol: str
    interval: Interval
    open_ns: IntArray = field(converter=_sealed, repr=False)  # ns UTC, strictly rising; gaps are left open
    open: FloatArray = field(converter=_sealed, repr=False)  # quote per base
    high: FloatArray = field(converter=_sealed, repr=False)
    low: FloatArray = field(converter=_sealed, repr=False)
    close: FloatArray = field(converter=_sealed, repr=False)
    volume: FloatArray = field(converter=_sealed, repr=False)  # base
    quote_volume: FloatArray = field(converter=_sealed, repr=False)  # quote
    taker_buy_volume: FloatArray = field(converter=_sealed, repr=False)  # base
    taker_buy_quote_volume: FloatArray = field(converter=_sealed, repr=False)  # quote
    trades: IntArray = field(converter=_sealed, repr=False)  # count; -1 unknown
    mark_open: FloatArray = field(converter=_sealed, repr=False)  # mark price at the bar's open
    mark_high: FloatArray = field(converter=_sealed, repr=False)
    mark_low: FloatArray = field(converter=_sealed, repr=False)
    mark_close: FloatArray = field(converter=_sealed, repr=False)
    funding_ns: IntArray = field(converter=_sealed, repr=False)  # ns UTC of each settlement, strictly rising
    funding_rate: FloatArray = field(converter=_sealed, repr=False)  # fraction of notional; positive: longs pay
    funding_mark: FloatArray = field(converter=_sealed, repr=False)  # quote per base at the settlement
    has_funding: bool  # False: no funding was recorded, which is not a rate of zero
    has_mark: bool
    report: QualityReport = field(repr=False)  # of the whole source, also after `slice`
    recordings: Mapping[str, Recording] = field(factory=dict, repr=False)  # by kind: agg_trades, book_top, futures
    made_up: bool = False  # the market was invented, such as the built-in one, and not recorded

    def __len__(self) -> int:
        return int(self.open_ns.size)

    @property
    def start_ns(self) -> int:
        """Open of the first bar."""
        return int(self.open_ns[0])

    @property
    def end_ns(self) -> int:
        """Close of the last bar, exclusive."""
        return int(self.open_ns[-1]) + self.interval.ns

    @cached_property
    def close_ns(self) -> IntArray:
        """(n,) exclusive end of each bar: when it is known."""
        return _sealed(self.open_ns + self.interval.ns)

    def closed_by(self, now_ns: int) -> int:
        """How many bars are known at `now_ns`: rows `[0, closed_by(now_ns))` have closed."""
        return int(np.searchsorted(self.open_ns, now_ns - self.interval.ns, side="right"))

    @cached_property
    def kinds(self) -> frozenset[str]:
        """What is known besides candles: of agg_trades, book_top, futures."""
        return frozenset({*self.recordings, *(("futures",) if self.has_funding or self.has_mark else ())})

    @cached_property
    def _published(self) -> Recording:
        """All futures statistics: those recorded, and what funding and mark price of the tape add to them."""
        more: dict[str, tuple[IntArray, FloatArray]] = {}
        if self.has_funding:
            more["funding_rate"] = (self.funding_ns, self.funding_rate)
        if self.has_mark:
            more["mark_price"] = (self.close_ns, self.mark_close)
        given = self.recordings.get("futures")
        return statistics_of(None if given is None else given.frame(), **more)

    def recording(self, kind: str) -> Recording:
        """What is known of one of `kinds`; the funding and mark price of the tape are futures statistics too."""
        return self._published if kind == "futures" else self.recordings[kind]

    def slice(self, start_ns: int, end_ns: int) -> Track:
        """The bars that open at or after `start_ns` and close by `end_ns`, with the funding settled while they last."""
        first, last = int(np.searchsorted(self.open_ns, start_ns)), self.closed_by(end_ns)
        if last <= first:
            raise TooShort(
                f"{self.symbol}: no {self.interval} bar between {format_ns(start_ns)} and {format_ns(end_ns)}; "
                f"the tape has {format_ns(self.start_ns)} to {format_ns(self.end_ns)}",
                symbol=self.symbol,
            )
        opens, closes = int(self.open_ns[first]), int(self.open_ns[last - 1]) + self.interval.ns
        paid = slice(*np.searchsorted(self.funding_ns, [opens, closes], side="right").tolist())
        cut = {
            f.name: getattr(self, f.name)[paid if f.name.startswith("funding_") else slice(first, last)]
            for f in fields(Track)
            if isinstance(getattr(self, f.name), np.ndarray)
        }
        return Track(
            symbol=self.symbol,
            interval=self.interval,
            has_funding=self.has_funding,
            has_mark=self.has_mark,
            report=self.report,
            recordings={k: r.within(opens, closes, self.interval.ns) for k, r in self.recordings.items()},
            made_up=self.made_up,
            **cut,
        )

    def frame(self) -> pd.DataFrame:
        """The klines frame; columns that the source lacks are left out."""
        import pandas as pd

        columns: dict[str, Any] = {}
        for name in (*_BAR_COLUMNS, "trades"):
            value = getattr(self, name)
            known = value >= 0 if name == "trades" else ~np.isnan(value)
            if known.any():
                columns[name] = value
        columns["close_time"] = pd.DatetimeIndex(self.close_ns, tz="UTC")
        made = pd.DataFrame(columns, index=pd.DatetimeIndex(self.open_ns, tz="UTC", name="open_time"))
        if self.made_up:
            made.attrs[MADE_UP] = True
        return made

    def candles(self, start: int = 0, stop: int | None = None) -> Iterator[Candle]:
        """Candles of the rows `[start, stop)`, oldest first."""
        end = len(self) if stop is None else min(stop, len(self))
        for first in range(start, end, CANDLE_BLOCK):
            yield from self.block(first, min(first + CANDLE_BLOCK, end))

    def block(self, first: int, last: int) -> list[Candle]:
        """Candles of the rows `[first, last)` at once."""
        symbol, interval, span = self.symbol, self.interval.name, self.interval.ns
        rows = zip(
            self.open_ns[first:last].tolist(),
            *(getattr(self, name)[first:last].tolist() for name in (*_BAR_COLUMNS, "trades")),
            strict=True,
        )
        return [
            Candle(
                symbol=symbol,
                interval=interval,
                open_ns=t,
                close_ns=t + span,
                open=o,
                high=h,
                low=lo,
                close=c,
                volume=v,
                quote_volume=q,
                taker_buy_volume=tb,
                taker_buy_quote_volume=tq,
                trades=n,
            )
            for t, o, h, lo, c, v, q, tb, tq, n in rows
        ]

    @cached_property
    def sha256(self) -> str:
        """Hex digest of symbol, interval and all recorded numbers."""
        digest = hashlib.sha256(f"{self.symbol} {self.interval.ns} {self.has_funding} {self.has_mark}".encode())
        for f in fields(Track):
            value = getattr(self, f.name)
            if isinstance(value, np.ndarray):
                digest.update(f"|{f.name} {value.size} ".encode())
                digest.update(value.astype(value.dtype.newbyteorder("<"), copy=False).tobytes())
        for _, recording in sorted(self.recordings.items()):
            recording.update(digest)
        return digest.hexdigest()


_BAR_COLUMNS = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "taker_buy_volume",
    "taker_buy_quote_volume",
)
_MARK_COLUMNS = ("mark_open", "mark_high", "mark_low", "mark_close")


def track_of(
    clean: pd.DataFrame,
    report: QualityReport,
    symbol: str,
    funding: pd.DataFrame | None,
    mark: pd.DataFrame | None,
    recordings: Sequence[Recording] = (),
) -> Track:
    """A track from a validated klines frame."""
    step = Interval.parse(report.interval)
    opens = clean.index.asi8  # type: ignore[attr-defined]
    unknown = _sealed(np.full(opens.size, np.nan))
    bars = {name: clean[name].to_numpy() if name in clean else unknown for name in _BAR_COLUMNS}
    trades = clean["trades"].to_numpy() if "trades" in clean else np.full(opens.size, -1)
    marks = dict.fromkeys(_MARK_COLUMNS, unknown) if mark is None else _align_mark(mark, opens, step)
    times, rates, at = np.empty(0, dtype=np.int64), np.empty(0), np.empty(0)
    if funding is not None:
        table = load_funding(funding, symbol if "symbol" in funding else None)
        times, rates = table.index.asi8, table["funding_rate"].to_numpy()  # type: ignore[attr-defined]
        at = table["mark_price"].to_numpy() if "mark_price" in table else np.full(times.size, np.nan)
        inside = (times > opens[0]) & (times <= opens[-1] + step.ns)
        times, rates, at = times[inside], rates[inside], at[inside]
        at = np.where(np.isnan(at), _mark_at(times, opens, step, marks), at)
    return Track(
        symbol=symbol,
        interval=step,
        open_ns=opens,
        trades=trades,
        funding_ns=times,
        funding_rate=rates,
        funding_mark=at,
        has_funding=funding is not None,
        has_mark=mark is not None,
        report=report,
        recordings={r.kind: r.within(int(opens[0]), int(opens[-1]) + step.ns, step.ns) for r in recordings},
        made_up=bool(clean.attrs.get(MADE_UP, False)),
        **bars,
        **marks,
    )


def _align_mark(mark: pd.DataFrame, opens: IntArray, step: Interval) -> dict[str, FloatArray]:
    """Mark-price klines brought to the bars that open at `opens`; NaN where they say nothing."""
    clean, report = validate_klines(mark, min_rows=1, required=("open", "high", "low", "close"))
    span, times = Interval.parse(report.interval), clean.index.asi8  # type: ignore[attr-defined]
    out = {name: np.full(opens.size, np.nan) for name in _MARK_COLUMNS}
    if step.ns % span.ns and span.ns % step.ns:
        raise InvalidInput(f"mark prices of {span} do not fit bars of {step}: neither divides the other")
    bar = np.searchsorted(opens, times, side="right") - 1  # the bar in which each mark bar opens
    within = (bar >= 0) & (times < opens[bar] + step.ns)
    begins = within & (times == opens[bar])
    out["mark_open"][bar[begins]] = clean["open"].to_numpy()[begins]
    last = np.searchsorted(opens, times + span.ns - step.ns)  # the bar that closes with each mark bar, if there is one
    ends = (last < opens.size) & (opens[np.minimum(last, opens.size - 1)] == times + span.ns - step.ns)
    out["mark_close"][last[ends]] = clean["close"].to_numpy()[ends]
    if span.ns <= step.ns and within.any():
        inside = bar[within]
        heads = np.flatnonzero(np.diff(inside, prepend=-1))
        out["mark_high"][inside[heads]] = np.maximum.reduceat(clean["high"].to_numpy()[within], heads)
        out["mark_low"][inside[heads]] = np.minimum.reduceat(clean["low"].to_numpy()[within], heads)
    return out


def _mark_at(times: IntArray, opens: IntArray, step: Interval, marks: dict[str, FloatArray]) -> FloatArray:
    """Mark price at `times` that are a bar's open or close; NaN elsewhere."""
    found = np.full(times.size, np.nan)
    for edge, column in ((opens + step.ns, marks["mark_close"]), (opens, marks["mark_open"])):
        row = np.minimum(np.searchsorted(edge, times), opens.size - 1)
        hit = (edge[row] == times) & ~np.isnan(column[row])
        found[hit] = column[row[hit]]
    return found
