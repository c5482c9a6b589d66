"""How the local venue walks through a bar: by the trades that were recorded of it, else along a path of its own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from attrs import frozen

from ares.simulation.track import Track

__all__ = ["Tick", "Walk"]

_NONE: tuple[float, ...] = ()


@frozen
class Tick:
    """One step of one symbol. kind: "price", "close" (the bar is complete) or "funding"."""

    market_ns: int
    order: int
    kind: str
    symbol: str
    row: int
    price: float = 0.0
    mark: float = 0.0  # 0: the tape does not say
    quantity: float | None = None  # base, that was traded; None: the tape knows no trades of this bar
    buyer_makes: bool = False  # in that trade


@frozen
class Walk:
    """The steps of one symbol's bars.

    A bar of which trades were recorded is told by them. Any other goes from its open to both extremes and to its close
    in equal steps. The mark price goes its own such way where its extremes are known.
    """

    track: Track
    number: int  # of the symbol, which orders what happens at one time
    symbols: int
    steps: int  # of a bar without trades
    shift_ns: int  # market time less tape time

    def bar(self, row: int) -> Iterator[Tick]:
        """What happens in a bar, and its end."""
        track, length = self.track, self.track.interval.ns
        opened = int(track.open_ns[row])
        marks = self._marks(row)
        symbol, at = track.symbol, opened + self.shift_ns
        first, last = self._trades(opened, opened + length)
        if first == last:
            for step, price in enumerate(_path(*self._corners(row), self.steps)):
                mark = marks[step] if marks else self._opening(row) if step == 0 else 0.0
                yield Tick(at + length * step // self.steps, self.number, "price", symbol, row, price, mark)
        for i in range(first, last):
            trades = track.recordings["agg_trades"]
            then = int(trades.time_ns[i])
            mark = marks[(then - opened) * self.steps // length] if marks else self._opening(row) if i == first else 0.0
            price, quantity = float(trades.columns["price"][i]), float(trades.columns["quantity"][i])
            makes = bool(trades.columns["is_buyer_maker"][i])
            yield Tick(then + self.shift_ns, self.number, "price", symbol, row, price, mark, quantity, makes)
        traded = None if first == last else 0.0
        yield Tick(at + length, self.number - self.symbols, "close", symbol, row, quantity=traded)

    def _trades(self, opened: int, closed: int) -> tuple[int, int]:
        """The recorded trades of a bar, as a range of rows."""
        trades = self.track.recordings.get("agg_trades")
        if trades is None:
            return 0, 0
        first, last = np.searchsorted(trades.time_ns, [opened, closed]).tolist()
        return int(first), int(last)

    def _corners(self, row: int) -> tuple[float, float, float, float]:
        track = self.track
        return float(track.open[row]), float(track.high[row]), float(track.low[row]), float(track.close[row])

    def _marks(self, row: int) -> tuple[float, ...] | list[float]:
        track = self.track
        found = [float(a[row]) for a in (track.mark_open, track.mark_high, track.mark_low, track.mark_close)]
        return _path(found[0], found[1], found[2], found[3], self.steps) if all(m > 0 for m in found) else _NONE

    def _opening(self, row: int) -> float:
        opened = float(self.track.mark_open[row])
        return opened if opened > 0 else 0.0


def _path(opening: float, high: float, low: float, close: float, steps: int) -> list[float]:
    """Prices of a bar in `steps` equal steps: to the extreme away from the close first, then to the other one."""
    corners = [opening, low, high, close] if close >= opening else [opening, high, low, close]
    at = np.linspace(0.0, 3.0, steps, endpoint=False)
    path: list[float] = np.interp(at, [0.0, 1.0, 2.0, 3.0], corners).tolist()
    for corner in (1, 2):  # the extremes are reached exactly
        path[int(np.argmin(np.abs(at - corner)))] = corners[corner]
    return path
