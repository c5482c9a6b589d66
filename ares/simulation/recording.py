"""What was recorded beside the bars: trades, best quotes, futures statistics. Arrays; events are made when told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from ares.events import AggTrades, BookTop, Event, FuturesStatistics
from ares.market import QUOTE_SLOT_NS, AggTrade

if TYPE_CHECKING:
    import hashlib

    import pandas as pd

__all__ = ["Recording", "quotes_of", "statistics_of", "trades_of"]

_CHUNK = 10_000  # trades in one event
_DAY_NS = 86_400_000_000_000


def _sealed(columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    for column in columns.values():
        column.setflags(write=False)
    return columns


@frozen(kw_only=True, eq=False)
class Recording:
    """One kind of market data of one symbol, oldest first."""

    kind: str  # agg_trades, book_top or futures
    time_ns: NDArray[np.int64] = field(repr=False)  # of the trade, the quote, the publication
    columns: dict[str, NDArray[Any]] = field(converter=_sealed, repr=False)

    def __len__(self) -> int:
        return int(self.time_ns.size)

    def within(self, open_ns: int, close_ns: int, interval_ns: int) -> Recording:
        """What bars from `open_ns` to `close_ns` may use: statistics also from a day before, and at the very end."""
        if self.kind == "futures":
            early = open_ns - max(_DAY_NS, interval_ns)
            part = slice(*np.searchsorted(self.time_ns, [early, close_ns], side="right").tolist())
        else:
            part = slice(*np.searchsorted(self.time_ns, [open_ns, close_ns]).tolist())
        cut = {name: column[part] for name, column in self.columns.items()}
        return Recording(kind=self.kind, time_ns=self.time_ns[part], columns=cut)

    def known_by(self, close_ns: int) -> int:
        """How many rows are known when a bar closes: trades and quotes before, statistics also at the moment itself."""
        return int(np.searchsorted(self.time_ns, close_ns, side="right" if self.kind == "futures" else "left"))

    def frame(self) -> pd.DataFrame:
        """As `FeatureOrchestrator.compute` takes it."""
        import pandas as pd

        times = pd.DatetimeIndex(self.time_ns, tz="UTC", name="time")
        if self.kind == "futures":
            return pd.DataFrame(dict(self.columns), index=times)
        return pd.DataFrame({"time": times, **self.columns})

    def update(self, digest: hashlib._Hash) -> None:
        """Feed the content to a fingerprint."""
        for name, column in (("time_ns", self.time_ns), *sorted(self.columns.items())):
            digest.update(f"|{self.kind}.{name} {column.size} ".encode())
            digest.update(column.astype(column.dtype.newbyteorder("<"), copy=False).tobytes())

    def events(self, symbol: str, first: int, last: int, seen_ns: int, interval_ns: int) -> Iterator[Event]:
        """The rows `[first, last)`, told at `seen_ns`. Of statistics only the last of each name within a bar."""
        if self.kind == "agg_trades":
            for at in range(first, last, _CHUNK):
                yield self._trades(symbol, slice(at, min(at + _CHUNK, last)), seen_ns)
        elif self.kind == "book_top":
            rows = zip(*(c[first:last].tolist() for c in (self.time_ns, *self.columns.values())), strict=True)
            for ns, bid, bid_size, ask, ask_size in rows:
                yield BookTop(
                    ts_event=ns, ts_seen=seen_ns, symbol=symbol, bid=bid, bid_quantity=bid_size, ask=ask,
                    ask_quantity=ask_size,
                )  # fmt: skip
        else:
            yield from self._statistics(symbol, first, last, seen_ns, interval_ns)

    def _trades(self, symbol: str, part: slice, seen_ns: int) -> AggTrades:
        columns = (self.columns[name][part].tolist() for name in ("agg_id", "price", "quantity", "is_buyer_maker"))
        times = self.time_ns[part].tolist()
        trades = tuple(
            AggTrade(symbol=symbol, agg_id=number, ts_ns=ns, price=price, quantity=quantity, buyer_is_maker=maker)
            for ns, number, price, quantity, maker in zip(times, *columns, strict=True)
        )
        return AggTrades(ts_event=times[-1], ts_seen=seen_ns, symbol=symbol, trades=trades)

    def _statistics(self, symbol: str, first: int, last: int, seen_ns: int, interval_ns: int) -> Iterator[Event]:
        found: dict[int, dict[str, float]] = {}
        bars = -(-self.time_ns[first:last] // interval_ns)  # a value at a close belongs to the bar that closes
        for name, column in self.columns.items():
            there = np.flatnonzero(~np.isnan(column[first:last]))
            for row in there[np.append(np.diff(bars[there]) > 0, True)[: there.size]].tolist():
                found.setdefault(row, {})[name] = float(column[first + row])
        for row in sorted(found):
            ns = int(self.time_ns[first + row])
            yield FuturesStatistics(ts_event=ns, ts_seen=seen_ns, symbol=symbol, values=found[row])


def trades_of(frame: pd.DataFrame) -> Recording:
    """Trades as `ares.data.load_agg_trades` gives them."""
    names = ("agg_id", "price", "quantity", "is_buyer_maker")
    columns = {name: frame[name].to_numpy(copy=True) for name in names}
    return Recording(kind="agg_trades", time_ns=_ns(frame), columns=columns)


def quotes_of(frame: pd.DataFrame) -> Recording:
    """Quotes as `ares.data.load_quotes` gives them, the last of each quarter of a second: what a live stream tells."""
    times = _ns(frame)
    slots = times // QUOTE_SLOT_NS
    last = np.append(np.diff(slots) > 0, True)[: times.size]
    columns = {name: frame[name].to_numpy()[last] for name in ("bid_price", "bid_qty", "ask_price", "ask_qty")}
    return Recording(kind="book_top", time_ns=times[last], columns=columns)


def statistics_of(
    frame: pd.DataFrame | None, **more: tuple[NDArray[np.int64], NDArray[np.float64]]
) -> Recording:
    """Statistics as `ares.data.load_statistics` gives them. more: times and values of names that the frame lacks."""
    parts = {} if frame is None else {str(name): (_ns(frame), frame[name].to_numpy(np.float64)) for name in frame}
    parts = {**more, **parts}
    times = np.unique(np.concatenate([at for at, _ in parts.values()]))
    columns = {name: np.full(times.size, np.nan) for name in parts}
    for name, (at, values) in parts.items():
        columns[name][np.searchsorted(times, at)] = values
    return Recording(kind="futures", time_ns=times, columns=columns)


def _ns(frame: pd.DataFrame) -> NDArray[np.int64]:
    import pandas as pd

    times = pd.DatetimeIndex(frame.get("time", frame.index))
    return np.asarray(times.as_unit("ns").asi8)
