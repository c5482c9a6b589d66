"""Trades, quotes and futures statistics gathered into the bar that closes, as their events come.

The rules by which a row stays what it was, whatever comes late:

- A trade belongs to the bar of its own time. What is told after its bar has closed does not change that bar.
- Trades are known by their number. A repeated number is ignored; numbers told in another order are put in order.
- A bar is NaN, not wrong, when its trades cannot be complete: their numbers skip one before a trade of the bar, the
  link to the market was down and nobody knows yet what was missed, the bar began before the first trade, or it has
  volume and no trade.
- A quote older than the newest one is ignored. So is a statistic that is not newer than the last of its name.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from ares.errors import DataError, unknown_name
from ares.events import AggTrades, BookTop, Event, Funding, FuturesStatistics, LinkChanged, MarkPrice
from ares.features.catalogue.flow import LARGE
from ares.features.sources import FUTURES_COLUMNS, longest_age_ns
from ares.instruments import Interval
from ares.kernels.volume import BOOK_COLUMNS, FLOW_COLUMNS, gather_book, gather_trades
from ares.market import LARGEST, SMALLEST, AggTrade

__all__ = ["LiveSources"]

_KINDS: dict[type, str] = {
    AggTrades: "agg_trades",
    BookTop: "book_top",
    FuturesStatistics: "futures",
    MarkPrice: "futures",
    Funding: "futures",
    LinkChanged: "agg_trades",
}
_COUNT = FLOW_COLUMNS.index("flow_count")
_MINUTE_NS = 60_000_000_000
_NAN = float("nan")
_NEVER = -(1 << 62)


@define
class _Columns:
    """Rows that grow, a few bytes each: a bar of a busy market holds hundreds of thousands of trades."""

    codes: str  # of `array`, one a column
    columns: list[array[Any]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.columns = [array(code) for code in self.codes]

    def __len__(self) -> int:
        return len(self.columns[0])

    def add(self, *values: float) -> None:
        for column, value in zip(self.columns, values, strict=True):
            column.append(value)

    def arrays(self) -> list[NDArray[Any]]:
        """Copies as numpy arrays."""
        return [np.array(column, dtype=code) for column, code in zip(self.columns, self.codes, strict=True)]

    def keep(self, arrays: list[NDArray[Any]]) -> None:
        """Hold these rows instead."""
        self.columns = [array(code, rows.tolist()) for code, rows in zip(self.codes, arrays, strict=True)]


@define
class LiveSources:
    """Gathers a symbol's trades, quotes and futures statistics, for `Stream.update(candle, columns)`.

    One instance a symbol. Tell it what comes, then take the columns when the bar closes. kinds: what `observe` takes.
    """

    interval: Interval
    kinds: frozenset[str] = frozenset({"agg_trades", "book_top", "futures"})
    _trades: _Columns = field(factory=lambda: _Columns("qqdb"), init=False)  # number, ns, base, buyer is maker
    _quotes: _Columns = field(factory=lambda: _Columns("qdddd"), init=False)  # ns, bid, size, ask, size
    _published: dict[str, _Columns] = field(factory=dict, init=False)  # ns, value
    _first_ns: int | None = field(default=None, init=False)  # time of the earliest trade told
    _last_id: int | None = field(default=None, init=False)  # highest number of the trades of closed bars
    _expected: int | None = field(default=None, init=False)  # number that shows that an interruption lost nothing

    # ------------------------------------------------------------ hearing

    def observe(self, event: Event) -> None:
        """Take what a market event of our `kinds` says; others are passed over.

        A mark price without an index price may be a simulation's own valuation at the last trade: no statistic.
        """
        if _KINDS.get(type(event)) not in self.kinds:
            return
        if isinstance(event, AggTrades):
            for trade in event.trades:
                self.trade(trade)
        elif isinstance(event, BookTop):
            self.quote(event.ts_event, event.bid, event.bid_quantity, event.ask, event.ask_quantity)
        elif isinstance(event, FuturesStatistics):
            for name, value in event.values.items():
                self.published(name, event.ts_event, value)
        elif isinstance(event, MarkPrice) and event.index is not None:
            self.published("mark_price", event.ts_event, event.price)
            self.published("index_price", event.ts_event, event.index)
        elif isinstance(event, Funding):
            self.published("funding_rate", event.ts_event, float(event.rate))
        elif isinstance(event, LinkChanged) and event.link == "market" and not event.up:
            self._interrupt()

    def trade(self, trade: AggTrade) -> None:
        """One aggregated trade. Raises DataError for a quantity that cannot be."""
        if not 0 <= trade.quantity <= LARGEST:
            raise DataError(f"aggTrades: quantity {trade.quantity} of trade {trade.agg_id}", agg_id=trade.agg_id)
        if self._first_ns is None or trade.ts_ns < self._first_ns:
            self._first_ns = trade.ts_ns
        if trade.agg_id == self._expected:
            self._expected = None
        self._trades.add(trade.agg_id, trade.ts_ns, trade.quantity, trade.buyer_is_maker)

    def quote(self, ts_ns: int, bid: float, bid_size: float, ask: float, ask_size: float) -> None:
        """One change of the best quotes; sizes in base. Raises DataError for a crossed quote or a negative size."""
        if not SMALLEST <= bid <= ask <= LARGEST:
            raise DataError(f"quotes: bid {bid} and ask {ask}", ts_ns=ts_ns)
        if not (0 <= bid_size <= LARGEST and 0 <= ask_size <= LARGEST):
            raise DataError(f"quotes: sizes {bid_size} and {ask_size}", ts_ns=ts_ns)
        times = self._quotes.columns[0]
        if not times or ts_ns >= times[-1]:
            self._quotes.add(ts_ns, bid, bid_size, ask, ask_size)

    def published(self, name: str, ts_ns: int, value: float) -> None:
        """A futures statistic (a column of `FUTURES_COLUMNS`) published at `ts_ns`; NaN: not published then.

        Raises: InvalidInput for another name, DataError for a value that cannot be.
        """
        if name not in FUTURES_COLUMNS:
            raise unknown_name("futures column", name, FUTURES_COLUMNS)
        rows = self._published.setdefault(name, _Columns("qd"))
        times, values = rows.columns
        if value != value or (times and ts_ns <= times[-1]):
            return
        if abs(value) > LARGEST:
            raise DataError(f"futures statistics: {name} is {value}", ts_ns=ts_ns)
        slot = min(self.interval.ns, _MINUTE_NS)  # no bar closes within one
        if times and -times[-1] // slot == -ts_ns // slot:
            times[-1], values[-1] = ts_ns, value  # no close lies between the two
        else:
            rows.add(ts_ns, value)

    def _interrupt(self) -> None:
        """From now on trades may be missed, until their numbers show that none was."""
        if self._first_ns is not None and self._expected is None:
            newest = max(self._trades.columns[0], default=-1)
            self._expected = 1 + (newest if self._last_id is None else max(newest, self._last_id))

    # ------------------------------------------------------------ at a bar's close

    def columns(self, open_ns: int, volume: float = 0.0) -> Mapping[str, float]:
        """The input columns of the bar that opened at `open_ns` and has just closed; forgets what is over.

        volume: the bar's own, base. When it has some and no trade came, trades were missed and their columns are NaN.
        """
        opens = np.array([open_ns], np.int64)
        found: dict[str, float] = {}
        if self._first_ns is not None:
            found.update(zip(FLOW_COLUMNS, self._flow(opens, volume), strict=True))
        if len(self._quotes):
            found.update(zip(BOOK_COLUMNS, self._book(opens), strict=True))
        close_ns = open_ns + self.interval.ns
        for name, rows in self._published.items():
            found[f"futures_{name}"] = self._latest(name, rows, close_ns)
        return found

    def _flow(self, opens: NDArray[np.int64], volume: float) -> list[float]:
        begin, end = int(opens[0]), int(opens[0]) + self.interval.ns
        rows = self._trades.arrays()
        over = rows[1] < end  # what belongs to later bars says nothing about this one
        self._trades.keep([x[~over] for x in rows])
        rows = [x[over] for x in rows]
        order = np.argsort(rows[0], kind="stable")
        numbers, times, quantities, makers = (x[order] for x in rows)
        steps = np.diff(numbers, prepend=numbers[:1] - 1 if self._last_id is None else self._last_id)
        fresh = steps > 0 if self._last_id is None else (steps > 0) & (numbers > self._last_id)
        numbers, times, quantities, makers = (x[fresh] for x in (numbers, times, quantities, makers))
        missing = self._missing_before(numbers, times >= begin)
        out = np.empty((len(FLOW_COLUMNS), 1))
        since = self._first_ns if self._first_ns is not None else end
        gather_trades(times, quantities, makers != 0, since, end, opens, self.interval.ns, LARGE, out)
        if missing or (out[_COUNT, 0] == 0 and volume > 0):
            out[:] = _NAN
        values: list[float] = out[:, 0].tolist()
        return values

    def _missing_before(self, numbers: NDArray[np.int64], inside: NDArray[np.bool_]) -> bool:
        """Whether trades of the bar are missing, by the rising numbers of all trades told since the last one closed."""
        missing = self._expected is not None
        if numbers.size:
            last = int(numbers[0]) - 1 if self._last_id is None else self._last_id
            missing = missing or bool(((np.diff(numbers, prepend=last) > 1) & inside).any())
            self._last_id = int(numbers[-1])
            if self._expected is not None and self._last_id > self._expected:
                self._expected = None  # what was missed lies behind
        return missing

    def _book(self, opens: NDArray[np.int64]) -> list[float]:
        rows = self._quotes.arrays()
        out = np.empty((len(BOOK_COLUMNS), 1))
        times, bids, bid_sizes, asks, ask_sizes = rows
        gather_book(times, bids, bid_sizes, asks, ask_sizes, opens, self.interval.ns, out)
        over = int(np.searchsorted(times, int(opens[0]) + self.interval.ns))
        self._quotes.keep([x[max(over - 1, 0) :] for x in rows])  # the last one is what the next is compared with
        values: list[float] = out[:, 0].tolist()
        return values

    def _latest(self, name: str, rows: _Columns, close_ns: int) -> float:
        times, values = rows.columns
        known = int(np.searchsorted(np.array(times, np.int64), close_ns, side="right"))
        if known == 0:
            return _NAN
        del times[: known - 1], values[: known - 1]
        return values[0] if close_ns - times[0] <= longest_age_ns(name, self.interval.ns) else _NAN

    # ------------------------------------------------------------ state

    def save_state(self) -> dict[str, Any]:
        """What a restart needs to give the same columns: numbers and arrays."""
        return {
            "trades": self._trades.arrays(),
            "quotes": self._quotes.arrays(),
            "published": {name: rows.arrays() for name, rows in self._published.items()},
            "first_ns": self._first_ns,
            "last_id": self._last_id,
            "expected": self._expected,
        }

    def load_state(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `save_state` gave."""
        self._trades.keep(saved["trades"])
        self._quotes.keep(saved["quotes"])
        self._published = {name: _Columns("qd") for name in saved["published"]}
        for name, rows in saved["published"].items():
            self._published[name].keep(rows)
        self._first_ns, self._last_id, self._expected = saved["first_ns"], saved["last_id"], saved["expected"]
