"""A local order book kept exact by the venue's rules: a snapshot, then every change in an unbroken chain.

The first change applied must reach over the snapshot's id or name it as its predecessor, each later one must name its
predecessor's last id.
Anything else is a gap, and the book says so instead of guessing.
"""

from __future__ import annotations

from collections import deque
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from ares.errors import DataError
from ares.exchange.wire.depth import DepthFrame
from ares.exchange.wire.market import Depth
from ares.exchange.wire.numbers import to_ns
from ares.kernels.book import apply_levels, best_levels
from ares.market import OrderBook

__all__ = ["LocalBook"]

_BUFFERED = 5_000  # changes kept while waiting for a snapshot
_NAN = float("nan")
_CAPACITY = 4_096  # levels a side at first; it grows


class LocalBook:
    """The book of one symbol. Feed it `update` with every change, and `load` with a snapshot whenever it asks.

    Before a snapshot, and after a gap, changes are kept for the next one.
    """

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.last_update_id = -1  # of what it holds now; -1: nothing
        self.ts_ns = 0
        self.gaps = 0  # broken chains so far
        self._keys = [np.empty(_CAPACITY), np.empty(_CAPACITY)]  # bids, asks
        self._sizes = [np.empty(_CAPACITY), np.empty(_CAPACITY)]
        self._counts = [0, 0]
        self._first = True  # the next change is the first after the snapshot
        self._waiting: deque[DepthFrame] = deque(maxlen=_BUFFERED)

    @property
    def synced(self) -> bool:
        """True while the book equals the venue's as of `last_update_id`."""
        return self.last_update_id >= 0

    def load(self, snapshot: Depth) -> bool:
        """Take a snapshot, then the changes kept so far. False: it was too old or a gap remains; get another one."""
        self._counts = [0, 0]
        for side, pairs in enumerate((snapshot.bids, snapshot.asks)):
            numbers = np.fromiter(chain.from_iterable(pairs), np.float64, 2 * len(pairs))
            self._set(side, numbers, 0, len(pairs))
        self.last_update_id = snapshot.last_update_id
        self.ts_ns = to_ns(snapshot.time_ms or snapshot.event_ms)
        self._first = True
        kept = list(self._waiting)
        self._waiting.clear()
        for number, frame in enumerate(kept):
            if not self.update(frame):
                self._waiting.extend(kept[number + 1 :])
                return False
        return True

    def update(self, frame: DepthFrame) -> bool:
        """Apply one change. False: the chain is broken, or there is no snapshot yet; the change is kept for the next.

        A change older than the snapshot is skipped and counts as applied.
        """
        if self.last_update_id < 0:
            self._waiting.append(frame)
            return False
        if self._first:
            if frame.u < self.last_update_id:
                return True
            if self.last_update_id < frame.U and frame.pu != self.last_update_id:
                return self._gap(frame)
        elif frame.pu != self.last_update_id:
            return self._gap(frame)
        self._set(0, frame.levels, 0, frame.bids)
        self._set(1, frame.levels, frame.bids, frame.bids + frame.asks)
        self._first = False
        self.last_update_id = frame.u
        self.ts_ns = to_ns(frame.T)
        return True

    def forget(self) -> None:
        """The connection broke or a change could not be read: nothing is known until the next snapshot."""
        self.last_update_id = -1
        self._waiting.clear()

    def top(self, levels: int = 20) -> OrderBook:
        """The best levels. Raises DataError while the book is not synced."""
        if not self.synced:
            raise DataError(f"{self.symbol}: the local book waits for a snapshot", symbol=self.symbol)
        sides: list[NDArray[np.float64]] = []
        for side, sign in ((0, 1.0), (1, -1.0)):
            out = np.empty((levels, 2))
            n = best_levels(self._keys[side], self._sizes[side], self._counts[side], sign, out)
            sides.append(out[:n])
        return OrderBook(
            symbol=self.symbol,
            ts_ns=self.ts_ns,
            last_update_id=self.last_update_id,
            bids=sides[0],
            asks=sides[1],
        )

    def best(self) -> tuple[float, float, float, float]:
        """Best bid and its quantity, best ask and its quantity; NaN for an empty side. For those who look often."""
        bids, asks = self._counts
        return (
            self._keys[0].item(bids - 1) if bids else _NAN,
            self._sizes[0].item(bids - 1) if bids else _NAN,
            -self._keys[1].item(asks - 1) if asks else _NAN,
            self._sizes[1].item(asks - 1) if asks else _NAN,
        )

    def depth(self) -> tuple[int, int]:
        """Levels held of bids and asks."""
        return self._counts[0], self._counts[1]

    def _gap(self, frame: DepthFrame) -> bool:
        self.gaps += 1
        self.last_update_id = -1
        self._waiting.clear()
        self._waiting.append(frame)
        return False

    def _set(self, side: int, levels: NDArray[np.float64], begin: int, end: int) -> None:
        """Apply the levels from number `begin` to before number `end`."""
        sign = 1.0 if side == 0 else -1.0
        count = self._counts[side]
        if count + end - begin > self._keys[side].size:
            room = np.empty(2 * (count + end - begin) - self._keys[side].size)
            self._keys[side] = np.concatenate([self._keys[side], room])
            self._sizes[side] = np.concatenate([self._sizes[side], room])
        after = apply_levels(self._keys[side], self._sizes[side], count, sign, levels, 2 * begin, 2 * end)
        if after < 0:
            self.last_update_id = -1
            raise DataError(f"{self.symbol}: a level of the book cannot be", symbol=self.symbol)
        self._counts[side] = after
